//! The harness works: each figure of a short run is there with its baseline. What it measures is
//! not looked at.
#![cfg(test)]

use std::process::Command;

#[test]
fn a_short_run_brings_every_figure_and_every_plot() {
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
    for number in 1..=14 {
        let of_number = |figure: &&serde_json::Value| figure["id"] == number.to_string().as_str();
        let samples: usize = figures
            .iter()
            .filter(of_number)
            .map(|figure| figure["samples"].as_array().unwrap().len())
            .sum();
        // Flushes are counted only where the disk is one that the kernel counts them for.
        assert!(samples > 0 || number == 6, "no figure {number}");
        assert!(
            number == 6 || table.contains(&format!("\n| {number} |")),
            "no line for figure {number}"
        );
    }
    for plot in ["concurrency", "size", "idle"] {
        let svg = std::fs::read_to_string(plots.join(format!("{plot}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("</svg>"), "{plot}");
    }
}

#[test]
fn a_short_soak_ends_and_says_what_it_saw() {
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
fn fifty_clients_get_through_beside_a_thousand_silent_and_a_thousand_slow_ones() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args([
            "crowd", "--active", "50", "--idle", "1000", "--slow", "1000", "--time", "1s",
            "--rounds", "1", "--dir",
        ])
        .arg(dir.path())
        .output()
        .unwrap();
    // It fails if one update of the fifty does.
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
