//! Transcripts in Markdown: fenced blocks marked `console`, with commands after `$ ` and below each
//! what it answers on either stream, then `[code]` if that is not 0. A file's blocks are one shell
//! session.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::Server;
use super::program::{Home, finish};

/// Stands between the answers of two commands.
const MARK: &str = "-- next --\n";

/// Commands, each with what it answers.
fn steps(markdown: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    let mut in_block = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            in_block = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| in_block) {
            steps.push((command.to_owned(), String::new()));
        } else if in_block {
            writeln!(
                steps.last_mut().expect("a block begins with a command").1,
                "{line}"
            )
            .unwrap();
        }
    }
    steps
}

/// Runs the transcript in a home of its own, with `$PIN` for `server`, and holds each answer to
/// what is written.
#[track_caller]
pub(crate) fn check(file: &Path, server: &Server) {
    let steps = steps(&std::fs::read_to_string(file).unwrap());
    assert!(steps.len() > 3, "{} shows nothing", file.display());
    let mut script = String::new();
    for (command, _) in &steps {
        // The usual port may be taken on the machine that runs this.
        let command = command.replace(
            "localhost",
            &format!("localhost:{}", server.address().port()),
        );
        writeln!(
            script,
            "{{ {command}\n}} 2>&1; code=$?; [ $code = 0 ] || echo \"[$code]\"; echo '{}'",
            MARK.trim()
        )
        .unwrap();
    }
    let home = Home::new();
    let bin = home.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    symlink(env!("CARGO_BIN_EXE_e2e-passmate"), bin.join("passmate")).unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &script])
        .current_dir(home.path())
        .env_clear()
        .env(
            "PATH",
            format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()),
        )
        .env("HOME", home.path())
        .env("PASSMATE_PASSPHRASE_FILE", home.path().join("passphrase"))
        .env("PIN", server.pin.to_string());
    let said = finish(&mut shell, "");
    // The home's name is chance.
    let out = said.out.replace(home.path().to_str().unwrap(), "/home/me");
    let answers: Vec<&str> = out.split_terminator(MARK).collect();
    assert_eq!(answers.len(), steps.len(), "{}", said.err);
    let mut wrong = String::new();
    for ((command, expected), answer) in steps.iter().zip(answers) {
        if answer != expected {
            writeln!(wrong, "$ {command}\n{answer}instead of\n{expected}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{}:\n{wrong}", file.display());
}
