//! The script that starts a cluster.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::script;

#[test]
fn the_script_names_what_is_missing_and_how_to_get_it() {
    let programs = tempfile::tempdir().unwrap();
    for name in ["env", "python3", "id"] {
        let path = Path::new("/usr/bin").join(name);
        symlink(path, programs.path().join(name)).unwrap();
    }
    let output = script().env("PATH", programs.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let (missing, hint) = text.split_once('\n').unwrap();
    assert!(
        missing.contains("not installed: etcd-server, postgresql"),
        "{text}"
    );
    assert!(hint.contains("apt-get install"), "{text}");
}

#[test]
fn the_script_refuses_wrong_arguments() {
    let wrong: [&[&str]; 5] = [
        &["-x"],
        &["--"],
        &["leader"],
        &["kill", "n1"],
        &["--asynchronous", "x"],
    ];
    for words in wrong {
        let output = script()
            .args(words)
            .env_remove("PASSMATE_HA_RIG")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{words:?}: {text}"
        );
        assert!(
            text.starts_with("scripts/ha-rig: error: ") && text.contains("hint: "),
            "{text}"
        );
    }
}

#[test]
#[ignore = "starts a cluster of its own"]
fn an_interrupted_script_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::TERM] {
        let words = ["--", "sh", "-c", "echo $PASSMATE_HA_RIG; exec sleep 1000"];
        let mut child = script().args(words).stdout(Stdio::piped()).spawn().unwrap();
        let mut folder = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut folder).unwrap();
        let folder = Path::new(folder.trim());
        assert!(folder.join("n1/data").exists(), "{}", folder.display());
        assert!(count_processes(folder) > 10);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(128 + signal.as_raw()));
        assert!(!folder.exists());
        assert_eq!(count_processes(folder), 0);
    }
}

/// Processes that run in a folder, or below it.
fn count_processes(folder: &Path) -> usize {
    let processes = fs::read_dir("/proc").unwrap();
    let places = processes.filter_map(|one| fs::read_link(one.ok()?.path().join("cwd")).ok());
    places.filter(|place| place.starts_with(folder)).count()
}
