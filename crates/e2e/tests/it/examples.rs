//! The examples in the help of each command work, one after the other, for one person.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use passmate::examples::EXAMPLES;

use crate::support::Server;
use crate::support::program::{Home, finish};

/// Separates the outputs of two examples.
const MARK: &str = "-- next --";

/// What a command needs before its examples, in the same shell.
fn preparation(command: &str) -> &'static str {
    match command {
        // What the examples speak of.
        "ls" => {
            "passmate unlock
             echo bob | passmate set web/shop user
             echo hunter2 | passmate set web/shop password
             echo 'hunter3 of the shop' | passmate set web/shop password
             echo JBSWY3DPEHPK3PXP | passmate set web/shop otp
             echo https://shop.example | passmate set web/shop url
             echo later | passmate set web/shop notes
             echo money | passmate set web/bank user"
        }
        "unset" => "passmate agent stop; passmate unlock",
        "docker-credential" => {
            "echo '{\"ServerURL\":\"https://index.example\",\"Username\":\"bob\",\"Secret\":\"x\"}' |
             passmate docker-credential store"
        }
        "restore" => "echo hunter4 | passmate set web/shop password",
        "passwd" => "echo 'another correct horse' > new.txt",
        "recover" => "cp new.txt passphrase; passmate unlock",
        // The programs of the last examples end the agent.
        "agent status" | "unlock" => "passmate unlock",
        _ => "",
    }
}

/// Examples that cannot be run here, and why.
fn is_left_out(example: &str) -> bool {
    [
        // There is no display.
        "passmate copy",
        "passmate type",
        // It asks on a terminal.
        "passmate agent approve",
        // A server announces its next key first: `registration.rs` and `rotate.rs` have one.
        "passmate sync trust",
        // The account is shared with an original desktop client first: `originals.rs` has one.
        "passmate sync upgrade",
        // It asks for lines on a terminal.
        "passmate shell",
        "passmate --profile work shell",
        // One agent runs already.
        "passmate agent run",
    ]
    .iter()
    .any(|begin| example.starts_with(begin))
}

fn shim(bin: &Path, name: &str, script: &str) {
    let path = bin.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn every_example_works() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let home = Home::new();
    let bin = home.path().join("bin");
    for folder in [
        "bin",
        "run",
        "src",
        "pages",
        "Sync/passmate",
        ".local/share/bash-completion/completions",
        ".config/fish/completions",
    ] {
        fs::create_dir_all(home.path().join(folder)).unwrap();
    }
    fs::set_permissions(home.path().join("run"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink(env!("CARGO_BIN_EXE_e2e-passmate"), bin.join("passmate")).unwrap();
    for (name, script) in [
        ("psql", "true"),
        ("code", "true"),
        ("man", "test -s \"$1\""),
        ("setsid", "true"),
    ] {
        shim(&bin, name, script);
    }
    shim(home.path(), "deploy", "cat > /dev/null");
    for (file, text) in [
        ("user.txt", "alice"),
        (".env", "TOKEN=passmate://web/shop/password"),
        ("config.tpl", "token = '{{ passmate://web/shop/password }}'"),
        ("src/main.c", "int main(void) { return 0; }"),
        ("hashes.txt", "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:3"),
        (
            "export.csv",
            "Group,Title,Username,Password,URL,Notes\nweb,Mail,bob,x,https://mail.example,",
        ),
    ] {
        fs::write(home.path().join(file), format!("{text}\n")).unwrap();
    }
    let mut script = String::new();
    let mut run = Vec::new();
    for (command, examples) in EXAMPLES {
        writeln!(script, "{}", preparation(command)).unwrap();
        for example in examples {
            if is_left_out(example) {
                continue;
            }
            let port = server.address().port();
            let line = example.replace("localhost --pin", &format!("localhost:{port} --pin"));
            writeln!(script, "{{ {line}\n}} 2>&1; echo \"[$?]\"; echo '{MARK}'").unwrap();
            run.push(*example);
        }
    }
    let mut shell = Command::new("timeout");
    let path = std::env::var("PATH").unwrap();
    // One that asks somebody would wait for ever.
    shell
        .args(["120", "sh", "-c", &script])
        .current_dir(home.path())
        .env_clear()
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path().join("run"))
        .env("EDITOR", "true")
        .env("PASSMATE_PASSPHRASE_FILE", home.path().join("passphrase"))
        .env("PIN", server.pin.to_string());
    let said = finish(&mut shell, "");
    let answers: Vec<_> = said.out.split(MARK).collect();
    assert_eq!(answers.len(), run.len() + 1, "{} {}", said.out, said.err);
    let mut failed = String::new();
    for (example, answer) in run.iter().zip(answers) {
        // Findings are an answer too.
        let is_fine = ["[0]", "[30]", "[31]"]
            .iter()
            .any(|end| answer.trim_end().ends_with(end));
        if !is_fine {
            writeln!(failed, "$ {example}\n{}", answer.trim()).unwrap();
        }
    }
    let stop = home.path().join("bin/passmate");
    let mut stop = Command::new(stop);
    stop.args(["agent", "stop"])
        .env_clear()
        .env("HOME", home.path());
    finish(stop.env("XDG_RUNTIME_DIR", home.path().join("run")), "");
    assert!(failed.is_empty(), "{failed}");
}
