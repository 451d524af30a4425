//! The harness works: a short run has all figures. The tests do not check the values.
#![cfg(test)]

use std::process::Command;

#[test]
fn a_short_run_has_every_figure_and_every_plot() {
    let dir = tempfile::tempdir().unwrap();
    let (json, plots) = (dir.path().join("figures.json"), dir.path().join("plots"));
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["run", "--short", "--dir"])
        .arg(dir.path())
        .arg("--json")
        .arg(&json)
        .arg("--plots")
        .arg(&plots)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let table = String::from_utf8(output.stdout).unwrap();
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let figures = all["figures"].as_array().unwrap();
    // The first build is measured alone.
    for number in (1..=23).filter(|number| *number != 17) {
        let of_number = |figure: &&serde_json::Value| figure["id"] == number.to_string().as_str();
        let samples: usize = figures
            .iter()
            .filter(of_number)
            .map(|figure| figure["samples"].as_array().unwrap().len())
            .sum();
        // The kernel does not count the flushes of every disk.
        assert!(samples > 0 || number == 6, "no figure {number}");
        assert!(
            number == 6 || table.contains(&format!("\n| {number} |")),
            "no row for figure {number}"
        );
    }
    for plot in ["concurrency", "size", "idle"] {
        let svg = std::fs::read_to_string(plots.join(format!("{plot}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("</svg>"), "{plot}");
    }
}

#[test]
fn a_short_soak_ends_with_a_summary() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["soak", "--time", "2s", "--every", "300ms", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("exchanges in")
    );
}

#[test]
fn updates_succeed_beside_silent_and_slow_clients() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args([
            "crowd", "--active", "50", "--idle", "1000", "--slow", "1000", "--time", "1s",
            "--rounds", "1", "--dir",
        ])
        .arg(dir.path())
        .output()
        .unwrap();
    // The command fails if a single update fails.
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("beside the slow")
    );
}

#[test]
fn versions_are_drawn_beside_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let plots = dir.path().join("plots");
    let earlier = format!("earlier={}", env!("CARGO_BIN_EXE_bench-passmate-server"));
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["versions", &earlier, "--sizes", "4,64", "--clients", "1,2"])
        .args(["--rounds", "1", "--time", "200ms", "--dir"])
        .arg(dir.path())
        .arg("--plots")
        .arg(&plots)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    for plot in ["versions-size", "versions-clients"] {
        let svg = std::fs::read_to_string(plots.join(format!("{plot}.svg"))).unwrap();
        assert!(svg.contains("earlier") && svg.contains("now"), "{plot}");
    }
}
