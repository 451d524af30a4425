//! What `deploy/` offers to other programs is what those programs accept. A test whose program is not
//! installed checks nothing; `scripts/test` installs them where it can, and says what is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn deployed(name: &str) -> String {
    let path = deploy().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a program of another project can be run. Debian keeps some where users do not look.
fn has(program: &str) -> bool {
    let is_there = find(program).is_some();
    if !is_there {
        eprintln!("NOT CHECKED: {program} is not installed");
    }
    is_there
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

#[test]
fn promtool_agrees_when_each_alert_fires() {
    let tests = deployed("prometheus-alerts.test.yml");
    let alerts = deployed("prometheus-alerts.yml");
    let mut count = 0;
    for name in alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        let fires = format!("        alertname: {name}\n        exp_alerts:");
        assert!(tests.contains(&fires), "no test in which {name} fires");
        count += 1;
    }
    assert!(count > 8);
    if has("promtool") {
        let output = Command::new("promtool")
            .args(["test", "rules", "prometheus-alerts.test.yml"])
            .current_dir(deploy())
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    }
}
