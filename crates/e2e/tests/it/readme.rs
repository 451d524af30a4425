//! The transcript in the README is what happens.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::Server;
use crate::support::program::{Home, finish};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
/// Stands between the answers of two commands.
const MARK: &str = "-- next --";

/// Commands of the transcript, each with what it answers.
fn transcript() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(README).unwrap();
    let (_, block) = readme.split_once("```console\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => steps.push((command.to_owned(), String::new())),
            None => writeln!(steps.last_mut().unwrap().1, "{line}").unwrap(),
        }
    }
    steps
}

#[test]
fn the_transcript_in_the_readme_is_what_happens() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let home = Home::new();
    let bin = home.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    symlink(env!("CARGO_BIN_EXE_e2e-passmate"), bin.join("passmate")).unwrap();
    let steps = transcript();
    assert!(steps.len() > 10);
    let mut script = String::from("set -e\n");
    for (command, _) in &steps {
        // The usual port may be taken on the machine that runs this.
        let command = command.replace("localhost", &format!("localhost:{}", server.address().port()));
        writeln!(script, "{command}\necho '{MARK}'").unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(&script)
        .current_dir(home.path())
        .env_clear()
        .env("PATH", path)
        .env("HOME", home.path())
        .env("PASSMATE_PASSPHRASE_FILE", home.path().join("passphrase"))
        .env("PIN", server.pin.to_string());
    let said = finish(&mut shell, "");
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    let answers: Vec<&str> = said.out.split_inclusive(&format!("{MARK}\n")).collect();
    assert_eq!(answers.len(), steps.len());
    for ((command, expected), answer) in steps.iter().zip(answers) {
        assert_eq!(answer.strip_suffix(&format!("{MARK}\n")).unwrap(), expected, "$ {command}");
    }
}

#[test]
fn the_two_commands_of_the_readme_are_there() {
    let readme = std::fs::read_to_string(README).unwrap();
    assert!(readme.contains("\n    cargo run --release --locked -p passmate-server -- serve\n"));
    assert!(readme.contains("\n    scripts/test\n"));
    let ci = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.ci/run")).unwrap();
    assert!(ci.lines().any(|line| line == "scripts/test"), "CI runs the command that users run");
}
