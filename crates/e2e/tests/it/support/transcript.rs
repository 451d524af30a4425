//! Transcripts in Markdown. A fenced block marked `console` has commands after `$ `. Below each
//! command stands its output on either stream, then `[code]` if the exit code is not 0. All blocks
//! of a file are one shell session.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::Server;
use super::program::{Home, finish};

/// Separates the outputs of two commands.
const MARK: &str = "-- next --\n";

/// Commands, each with its expected output.
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

/// Runs the transcript in a home directory of its own, with the pin of `server` in `$PIN`, and
/// compares each output with the expected one.
#[track_caller]
pub(crate) fn check(file: &Path, server: &Server) {
    let steps = steps(&std::fs::read_to_string(file).unwrap());
    assert!(
        steps.len() > 3,
        "{} has hardly any commands",
        file.display()
    );
    let mut script = String::new();
    for (command, _) in &steps {
        // The default port may be in use on this machine.
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
    // The name of the home directory is random.
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
