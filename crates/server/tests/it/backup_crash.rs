//! Backups and restores that are killed at any moment.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Program, ok, operate, start, text};

#[test]
fn a_killed_restore_leaves_the_old_store_or_the_new_one() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = place.path().join("backup");
    let program = start(dir.path(), &[]);
    let account = program.create(&[1; 100_000]);
    ok(operate(dir.path(), &["backup", text(&file)]));
    program.replace(account, b"newer");
    // The server is killed, so that a log is left beside the store.
    drop(program);
    for micros in (0..40_000).step_by(1_500) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passmate-server"));
        command
            .env_clear()
            .args(["restore", text(&file), "--force", "--data-dir"])
            .arg(dir.path());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(micros));
        let _ = child.kill();
        child.wait().unwrap();
        ok(operate(dir.path(), &["verify"]));
        let program = start(dir.path(), &[]);
        let there = program.fetch(account).unwrap();
        assert!(there == [1; 100_000] || there == b"newer", "{micros}");
        if there != b"newer" {
            program.replace(account, b"newer");
        }
    }
}

/// System calls that change the disk.
const CHANGES: [&str; 13] = [
    "rename",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "fsync",
    "fdatasync",
    "ftruncate",
    "pwrite64",
    "write",
    "copy_file_range",
];

/// Runs a command repeatedly, each time in a fresh folder, and kills it at the first, second, third
/// of each of these calls, until the command finishes. Returns the number of kills. `None`: strace
/// is not available here.
fn killed_at_every_change(
    base: &Path,
    words: impl Fn(&Path) -> Vec<String>,
    mut check: impl FnMut(&Path, &str),
) -> Option<u32> {
    let strace = |words: &[&str]| {
        Command::new("strace")
            .args(["-f", "-o", "/dev/null"])
            .args(words)
            .output()
    };
    if !strace(&["-e", "trace=none", "true"]).is_ok_and(|output| output.status.success()) {
        eprintln!("not run: needs strace, and leave to use it");
        return None;
    }
    let mut kills = 0;
    for call in CHANGES {
        for number in 1.. {
            let dir = tempfile::tempdir().unwrap();
            for entry in fs::read_dir(base).unwrap() {
                let entry = entry.unwrap();
                if !entry.file_type().unwrap().is_file() {
                    // The control socket of the server that was killed.
                    continue;
                }
                let path = entry.path();
                fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
            }
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let words = words(dir.path());
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let all = [
                &["-e", inject.as_str(), env!("CARGO_BIN_EXE_passmate-server")],
                words.as_slice(),
            ]
            .concat();
            let output = strace(&all).unwrap();
            check(dir.path(), &format!("{call} {number}"));
            if output.status.success() {
                break;
            }
            use std::os::unix::process::ExitStatusExt;
            assert_eq!(output.status.signal(), Some(9), "{output:?}");
            kills += 1;
        }
    }
    Some(kills)
}

#[test]
fn a_restore_killed_at_any_syscall_leaves_a_usable_server() {
    let (dir, other, place) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let file = place.path().join("backup");
    let new = start(other.path(), &[]);
    let account = new.create(b"of the backup");
    ok(operate(
        other.path(),
        &["backup", text(&file), "--with-key"],
    ));
    let pin = |program: &Program| {
        program
            .greeting
            .lines()
            .find(|line| line.starts_with("pin "))
            .unwrap()
            .to_owned()
    };
    // The server is killed, so that confirmed changes are in the log beside the store.
    let old = start(dir.path(), &[]);
    let before = old.create(b"there before");
    let pins = [pin(&old), pin(&new)];
    drop(old);
    let mut seen = [0; 2];
    let words = |dir: &Path| {
        ["restore", text(&file), "--force", "--data-dir", text(dir)]
            .map(str::to_owned)
            .to_vec()
    };
    let kills = killed_at_every_change(dir.path(), words, |dir, at| {
        assert!(
            ok(operate(dir, &["verify"])).contains(": 1 accounts"),
            "{at}"
        );
        let program = start(dir, &[]);
        let [old, new] = [before, account].map(|account| program.fetch(account));
        let is_new = new.is_some();
        match (old.as_deref(), new.as_deref()) {
            (Some(b"there before"), None) | (None, Some(b"of the backup")) => {}
            other => panic!("{at}: {other:?}"),
        }
        seen[usize::from(is_new)] += 1;
        assert!(pins.contains(&pin(&program)), "{at}");
        // The key is replaced after the store.
        assert!(is_new || pin(&program) == pins[0], "{at}");
    });
    assert!(
        kills.is_none_or(|kills| kills > 30 && seen.iter().all(|count| *count > 10)),
        "{kills:?} {seen:?}"
    );
}

#[test]
fn a_backup_killed_at_any_syscall_leaves_a_valid_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("backup");
    let program = start(dir.path(), &[]);
    program.create(b"first");
    ok(operate(dir.path(), &["backup", text(&file)]));
    program.create(b"second");
    drop(program);
    let mut seen = [0; 2];
    let words = |dir: &Path| {
        ["backup", text(&dir.join("backup")), "--data-dir", text(dir)]
            .map(str::to_owned)
            .to_vec()
    };
    let kills = killed_at_every_change(dir.path(), words, |dir, at| {
        let said = ok(operate(dir, &["verify", text(&dir.join("backup"))]));
        let is_new = said.contains(": 2 accounts");
        assert!(is_new || said.contains(": 1 accounts"), "{at}: {said}");
        seen[usize::from(is_new)] += 1;
        assert!(
            ok(operate(dir, &["verify"])).contains(": 2 accounts"),
            "{at}"
        );
    });
    assert!(
        kills.is_none_or(|kills| kills > 20 && seen.iter().all(|count| *count > 0)),
        "{kills:?} {seen:?}"
    );
}

#[test]
fn a_killed_change_of_the_key_counts_no_old_copy() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = start(dir.path(), &[]);
    let old = program.pin().to_owned();
    program.stop();
    let file = place.path().join("backup");
    ok(operate(dir.path(), &["backup", text(&file), "--with-key"]));
    ok(operate(dir.path(), &["cert", "new", "--new-key"]));
    let words = |dir: &Path| {
        let words = ["cert", "new", "--new-key", "--now", "--data-dir", text(dir)];
        words.map(str::to_owned).to_vec()
    };
    let mut changed = 0;
    let kills = killed_at_every_change(dir.path(), words, |dir, at| {
        let shown = ok(operate(dir, &["cert", "show"]));
        let checked = operate(dir, &["check", "--json"]).stdout;
        let checked = String::from_utf8(checked).unwrap();
        if !shown.contains(&old) {
            changed += 1;
            assert!(
                checked.contains("the only copy of the TLS key"),
                "{at}: {checked}"
            );
        }
    });
    assert!(kills.is_none_or(|kills| kills > 5 && changed > 5));
}
