//! Other password managers, asked for one password of the same 10,000 records. Only those that are
//! installed take part.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::process::{Command, Stdio};

use crate::vault::{Home, timed};

/// A name for the table, and what prints the password of the record at `path`.
pub(crate) fn installed(home: &Home, path: &str) -> anyhow::Result<Vec<(&'static str, Command)>> {
    let mut peers = Vec::new();
    if exists("keepassxc-cli") {
        peers.push(("`keepassxc-cli show` ÷ `true`", keepassxc(home, path)?));
    }
    if exists("pass") && exists("gpg") {
        peers.push((
            "`pass show`, its key without a passphrase ÷ `true`",
            pass(home)?,
        ));
    }
    Ok(peers)
}

fn exists(program: &str) -> bool {
    let mut command = Command::new(program);
    let silent = command.arg("--version").stdout(Stdio::null());
    silent.stderr(Stdio::null()).status().is_ok()
}

/// The same records, with the key derivation that our export takes for a KeePass file.
fn keepassxc(home: &Home, path: &str) -> anyhow::Result<Command> {
    timed(&mut home.command("no-agent", &["export", "kdbx", "all.kdbx"])?)?;
    let mut command = Command::new("sh");
    let line = r#"keepassxc-cli show -q -s -a Password all.kdbx "$1" < passphrase"#;
    command.args(["-c", line, "sh", path]);
    command.current_dir(home.path()).env("HOME", home.path());
    command.env("QT_QPA_PLATFORM", "offscreen");
    timed(&mut command)?;
    Ok(command)
}

/// One record: pass has a file for each, and reads no other.
fn pass(home: &Home) -> anyhow::Result<Command> {
    let keys = home.path().join("gnupg");
    DirBuilder::new().mode(0o700).create(&keys)?;
    let with_keys = |mut command: Command| {
        command.env("GNUPGHOME", &keys);
        command.env("PASSWORD_STORE_DIR", home.path().join("pass"));
        command
    };
    let mut key = Command::new("gpg");
    key.args(["--batch", "--quiet", "--passphrase", ""]);
    key.args(["--quick-gen-key", "bench", "default", "default", "never"]);
    timed(&mut with_keys(key))?;
    let mut init = Command::new("pass");
    init.args(["init", "bench"]);
    timed(&mut with_keys(init))?;
    let mut insert = Command::new("sh");
    insert.args(["-c", "echo battery-staple-42 | pass insert -e site"]);
    timed(&mut with_keys(insert))?;
    let mut show = Command::new("pass");
    show.args(["show", "site"]);
    Ok(with_keys(show))
}

/// Ends the agent that gpg has started for these keys.
pub(crate) fn end(home: &Home) {
    let keys = home.path().join("gnupg");
    if fs::exists(&keys).unwrap_or(false) {
        let mut end = Command::new("gpgconf");
        let _ = end.args(["--kill", "all"]).env("GNUPGHOME", keys).status();
    }
}
