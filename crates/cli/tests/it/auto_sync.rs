//! With `sync.auto` every command that changes records syncs. Each command of the program stands in
//! one table below; a new command that does not fails the test.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::PROGRAM;

/// What a command does to records.
enum Effect {
    /// It changes none.
    None,
    /// Each of these calls changes some; the text is its standard input.
    Changes(&'static [(&'static [&'static str], &'static str)]),
}

use Effect::{Changes, None as Nothing};

/// Every command of the program. Calls are made in this order, in one vault.
const COMMANDS: &[(&str, Effect)] = &[
    (
        "add",
        Changes(&[(&["add", "web/added", "--generate", "--user", "bob"], "")]),
    ),
    ("new", Changes(&[(&["new", "web/shop"], "")])),
    (
        "set",
        Changes(&[
            (&["set", "web/shop", "user"], "bob"),
            (&["set", "mail", "password"], "one"),
        ]),
    ),
    (
        "gen",
        Changes(&[
            (&["gen", "web/shop", "password"], ""),
            (&["gen", "web/other"], ""),
        ]),
    ),
    (
        "code",
        Changes(&[
            (
                &["set", "web/shop", "otp"],
                "otpauth://hotp/x?secret=GEZDGNBVGY3TQOJQ&counter=0",
            ),
            // A code that follows a counter is used up.
            (&["code", "web/shop"], ""),
        ]),
    ),
    ("unset", Changes(&[(&["unset", "web/shop", "user"], "")])),
    ("mv", Changes(&[(&["mv", "web/shop", "web/market"], "")])),
    ("cp", Changes(&[(&["cp", "web/market", "web/copy"], "")])),
    ("edit", Changes(&[(&["edit", "web/market"], "")])),
    (
        "import",
        Changes(&[(&["import", "chrome-csv", "logins.csv"], "")]),
    ),
    (
        "restore",
        Changes(&[
            (&["set", "mail", "password"], "two"),
            (&["restore", "mail", "password"], ""),
            (&["rm", "mail", "--yes"], ""),
            (&["restore", "mail"], ""),
            (&["restore", "mail", "password", "--at", "2"], ""),
        ]),
    ),
    ("rm", Changes(&[(&["rm", "web/other", "--yes"], "")])),
    ("undo", Changes(&[(&["undo"], ""), (&["undo"], "")])),
    ("redo", Changes(&[(&["redo"], "")])),
    (
        "purge",
        Changes(&[(&["purge", "mail", "password", "--at", "2", "--yes"], "")]),
    ),
    ("init", Nothing),
    ("ls", Nothing),
    ("show", Nothing),
    ("find", Nothing),
    ("qr", Nothing),
    ("copy", Nothing),
    ("type", Nothing),
    ("read", Nothing),
    (
        "git-credential",
        Changes(&[
            (
                &["git-credential", "store"],
                "protocol=https\nhost=git.example\nusername=bob\npassword=token\n\n",
            ),
            (
                &["git-credential", "erase"],
                "protocol=https\nhost=git.example\nusername=bob\npassword=token\n\n",
            ),
        ]),
    ),
    (
        "docker-credential",
        Changes(&[
            (
                &["docker-credential", "store"],
                r#"{"ServerURL":"ghcr.example","Username":"bob","Secret":"token"}"#,
            ),
            (&["docker-credential", "erase"], "ghcr.example"),
        ]),
    ),
    ("scan", Nothing),
    ("inject", Nothing),
    ("run", Nothing),
    ("history", Nothing),
    ("audit", Nothing),
    ("config", Nothing),
    ("doctor", Nothing),
    ("export", Nothing),
    ("passwd", Nothing),
    ("recover", Nothing),
    ("profiles", Nothing),
    ("completions", Nothing),
    // The commands in it do.
    ("shell", Nothing),
    ("man", Nothing),
    // It is the sync.
    ("sync", Nothing),
    ("unlock", Nothing),
    ("lock", Nothing),
    ("log", Nothing),
    ("agent", Nothing),
    ("help", Nothing),
];

/// A person with a vault, a shared folder, and `sync.auto`.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        home.write("passphrase", "correct horse battery staple\n");
        home.write(".config/passmate/config.toml", "sync.auto = true\n");
        home.write(
            "logins.csv",
            "name,url,username,password,note\nbank,https://bank.example,alice,one,\n",
        );
        home.write("cloud/readme", "");
        home.run(&["init"], "");
        home.run(&["sync", "setup", "--folder", "cloud"], "");
        home
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        let output = self.try_run(args, input);
        assert!(output.status.success(), "{args:?}: {output:?}");
        output
    }

    fn try_run(&self, args: &[&str], input: &str) -> Output {
        let mut child = Command::new(PROGRAM)
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("PASSMATE_PASSPHRASE_FILE", "passphrase")
            .env("EDITOR", "sed -i s/market/bazaar/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// This device's copy in the shared folder. Each copy has an IV of its own, so one that was
    /// written again differs.
    fn copy(&self) -> Vec<u8> {
        let is_copy = |path: &PathBuf| path.extension().is_some_and(|suffix| suffix == "pmcopy");
        let files = fs::read_dir(self.dir.path().join("cloud")).unwrap();
        let mut copies = files.map(|entry| entry.unwrap().path()).filter(is_copy);
        fs::read(copies.next().unwrap()).unwrap()
    }
}

/// The commands that `passmate --help` lists.
fn commands(home: &Home) -> BTreeSet<String> {
    let help = String::from_utf8(home.run(&["--help"], "").stdout).unwrap();
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    // What a command does may take several lines.
    let begins = lines.filter_map(|line| {
        line.strip_prefix("  ")
            .filter(|line| !line.starts_with(' '))
    });
    let names = begins.filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[test]
fn every_command_that_changes_records_syncs() {
    let home = Home::new();
    let known: BTreeSet<_> = COMMANDS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(commands(&home), known, "each command stands in the table");
    for (_, effect) in COMMANDS {
        let Changes(calls) = effect else {
            continue;
        };
        for (args, input) in *calls {
            let before = home.copy();
            home.run(args, input);
            assert!(home.copy() != before, "{args:?} did not sync");
        }
    }
}

#[test]
fn a_change_is_saved_though_its_sync_fails() {
    let home = Home::new();
    fs::remove_dir_all(home.dir.path().join("cloud")).unwrap();
    let output = home.run(&["gen", "web/shop"], "");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("saved and not synced"), "{told}");
    home.run(&["show", "web/shop", "password"], "");
    // A change that fails changes nothing, and is not synced.
    assert_eq!(
        home.try_run(&["new", "web/shop"], "").status.code(),
        Some(12)
    );
}
