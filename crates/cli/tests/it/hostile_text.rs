//! No text of a record acts on a terminal, whatever command shows it and wherever its output goes.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use passmate_core::answer::Consent;
use passmate_core::api::VaultApi;
use passmate_core::edit::Edit;
use passmate_core::escape::escape;
use passmate_core::session::{Session, VaultLocation};
use passmate_vault::format::container::Params;
use passmate_vault::record::{Change, FieldKey, Stamp, Value};
use passmate_vault::{Passphrase, RecordId};
use tempfile::TempDir;

use crate::support::PROGRAM;

/// A name with a C0 and a C1 control character, a delete, a change of direction, a tag, a line feed
/// and text that looks like an escape.
const HOSTILE: &str = "x\u{1b}]0;t\u{7}\u{9b}31m\u{7f}\u{202e}\u{e0041}\r\n\\n\u{85}y";

/// Calls that read or name the hostile record, `PATH` in it standing for its path; and those that
/// fail while they name it.
const CALLS: &[&[&str]] = &[
    &["ls"],
    &["ls", "--flat"],
    &["ls", "--deleted"],
    &["show", "PATH"],
    &["show", "PATH", "none"],
    &["show", "PATH."],
    &["find", "x"],
    &["history", "PATH"],
    &["history", "PATH", "none"],
    &["code", "PATH"],
    &["qr", "PATH", "none"],
    &["copy", "PATH"],
    &["copy", "PATH", "none"],
    &["copy", "PATH", "--otp"],
    &["copy", "PATH", "--osc52"],
    &["type", "PATH"],
    &["type", "PATH", "none"],
    &["read", "PATH"],
    &["read", "passmate://PATH/none"],
    &["read", "passmate://PATH/PATH?code"],
    &["inject", "-i", "PATH"],
    &["inject", "-o", "PATH/none"],
    &["inject", "--fifo", "PATH/none"],
    &["scan", "PATH"],
    &["git-credential", "PATH"],
    &["git-credential", "get"],
    &["docker-credential", "PATH"],
    &["docker-credential", "list"],
    &["run", "PATH"],
    &["run", "--env", "PATH", "true"],
    &["run", "--env", "X=passmate://PATH/none", "true"],
    &["run", "--env-file", "PATH", "true"],
    &["set", "PATH", "user"],
    &["set", "PATH", "otp"],
    &["add", "PATH", "--generate"],
    &[
        "add",
        "PATH.",
        "--generate",
        "--user",
        "PATH",
        "--url",
        "https://PATH/",
        "-v",
    ],
    &["add", "x", "--rule", "PATH"],
    &["add", "x", "--template", "ssh", "--key-file", "PATH"],
    &["new", "PATH"],
    &["gen", "PATH", "user"],
    &["unset", "PATH", "user"],
    &["unset", "PATH", "none"],
    &["restore", "PATH", "user"],
    &["restore", "PATH"],
    &["restore", "PATH", "user", "--at", "77"],
    &["mv", "PATH", "PATH"],
    &["mv", "PATH", "web/free"],
    &["undo"],
    &["redo"],
    &["cp", "PATH", "web/copy"],
    &["cp", "PATH", "PATH"],
    &["edit", "PATH"],
    &["rm", "PATH"],
    &["rm", "PATH", "--yes"],
    &["purge", "PATH", "user"],
    &["purge", "PATH", "user", "--yes"],
    &["import", "PATH", "PATH"],
    &["import", "chrome-csv", "PATH"],
    &["export", "csv", "PATH/none"],
    &["audit"],
    &["audit", "--breached", "PATH"],
    &["config", "show", "--origin", "--vault", "PATH"],
    &["config", "get", "PATH"],
    &["config", "get", "profile"],
    &["config", "set", "color", "PATH"],
    &["config", "set", "PATH", "PATH"],
    &["config", "set", "passphrase-command", "PATH"],
    &["config", "unset", "passphrase-command"],
    &["doctor"],
    &["doctor", "--vault", "PATH"],
    &["profiles"],
    &["log"],
    &["ls", "--reason", "PATH"],
    &["recover"],
    &["recover", "PATH"],
    &["sync"],
    &["sync", "status"],
    &["sync", "setup", "PATH"],
    &["sync", "setup", "--folder", "PATH"],
    &["sync", "trust", "PATH"],
    &["ls", "--vault", "PATH"],
    &["ls", "--profile", "PATH"],
    &["ls", "--config", "PATH"],
    &["ls", "--passphrase-file", "PATH"],
    &["PATH"],
    &["completions", "PATH"],
    &["shell"],
    &["man", "PATH"],
    &["agent", "status"],
    &["agent", "stop"],
    &["agent", "PATH"],
    &["lock"],
    &["unlock", "--vault", "PATH"],
    &["init"],
    &["passwd"],
];

fn change(session: &mut Session, edit: &Edit) {
    let changed = session.change(edit, &Consent::none(), &mut |_| {});
    assert!(changed.unwrap().edited.changes < 2);
}

struct Home {
    dir: TempDir,
    path: PathBuf,
    vault: Vec<u8>,
}

impl Home {
    /// A vault with a hostile record, and a deleted one, as another device could send them.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("passphrase"), "correct horse battery\n").unwrap();
        let path = dir.path().join(".local/share/passmate/vault.pmdb");
        let passphrase = Passphrase::from("correct horse battery".to_owned());
        // A cheap container: the commands below open it often.
        let location = VaultLocation::new(&path).with_params(Params::new(4, 1, 1).unwrap());
        let mut session = Session::create(location, passphrase).unwrap();
        session.edit(|vault, now| {
            for (id, is_deleted) in [("A", false), ("B", true)] {
                let mut insert = |key, value, seconds| {
                    let stamp = Stamp::from_seconds(seconds);
                    vault.insert(&RecordId::from(id), Change { key, value, stamp });
                };
                let text = |text: &str| Value::Text(text.into());
                insert(FieldKey::path(), text(HOSTILE), now);
                for name in ["user", HOSTILE] {
                    insert(FieldKey::user(name), text("one"), now);
                    insert(FieldKey::user(name), text(HOSTILE), now + 1);
                }
                if is_deleted {
                    insert(FieldKey::path(), Value::Absent, now + 2);
                }
            }
        });
        session.save().unwrap();
        // A step to undo and one to redo, each with hostile names.
        for (field, value) in [(HOSTILE, HOSTILE), ("note", "two"), (HOSTILE, "two")] {
            let (path, field) = (HOSTILE.to_owned(), field.to_owned());
            let value = value.to_owned().into();
            let edit = Edit::Set { path, field, value };
            change(&mut session, &edit);
        }
        change(&mut session, &Edit::Undo);
        let vault = fs::read(&path).unwrap();
        Self { dir, path, vault }
    }

    /// Each call finds the vault as it was made.
    fn run(&self, args: &[String]) -> Output {
        fs::write(&self.path, &self.vault).unwrap();
        Command::new(PROGRAM)
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("PASSMATE_PASSPHRASE_FILE", "passphrase")
            .env("EDITOR", "true")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

#[track_caller]
fn assert_harmless(args: &[String], output: &Output) {
    for bytes in [&output.stdout, &output.stderr] {
        let text = str::from_utf8(bytes).unwrap();
        for line in text.split('\n') {
            assert_eq!(line, escape(line), "{args:?}");
        }
        assert!(!text.contains("panicked"), "{args:?}: {text}");
    }
}

#[test]
fn no_command_shows_a_character_that_acts_on_a_terminal() {
    let home = Home::new();
    for json in [false, true] {
        for call in CALLS {
            let mut args: Vec<_> = call
                .iter()
                .map(|word| word.replace("PATH", HOSTILE))
                .collect();
            if json {
                args.push("--json".to_owned());
            }
            let output = home.run(&args);
            assert_harmless(&args, &output);
            // git and docker say in which form they are answered.
            let is_helper = args[0].ends_with("-credential");
            if json && output.status.success() && !is_helper {
                serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
            }
        }
    }
}

#[test]
fn a_flat_list_has_one_line_for_each_record_and_each_line_is_its_path() {
    let home = Home::new();
    let args = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let list = String::from_utf8(home.run(&args(&["ls", "--flat"])).stdout).unwrap();
    let lines: Vec<_> = list.lines().collect();
    let [line] = lines.as_slice() else {
        panic!("{list}");
    };
    let found = home.run(&args(&["find", "x"])).stdout;
    assert_eq!(found, list.as_bytes());
    let shown = home.run(&args(&["show", line, "user"]));
    // A single value goes to a pipe as it is stored.
    assert_eq!(shown.stdout, format!("{HOSTILE}\n").as_bytes());
    let json = home.run(&args(&["show", line, "--json"])).stdout;
    let object: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(object["path"], HOSTILE);
    assert_eq!(object["fields"][HOSTILE], HOSTILE);
}
