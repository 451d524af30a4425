//! A store of `pass` is decrypted by a real gpg.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::program::{Home, finish};

/// gpg with a folder of keys of its own. Its agent ends with it.
struct Gpg {
    folder: PathBuf,
}

impl Gpg {
    fn new(folder: PathBuf) -> Self {
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .unwrap();
        Self { folder }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--yes", "--trust-model", "always"]);
        command.arg("--homedir").arg(&self.folder).args(words);
        command
    }

    /// Makes a key. `protection` is a line that says whether it has a passphrase.
    fn make_key(&self, email: &str, protection: &str) {
        let parameters = format!(
            "Key-Type: eddsa\nKey-Curve: ed25519\nSubkey-Type: ecdh\n\
             Subkey-Curve: cv25519\nName-Email: {email}\nExpire-Date: 0\n\
             {protection}\n"
        );
        finish(&mut self.command(&["--gen-key"]), &parameters).ok();
    }

    fn encrypt(&self, to: &str, file: &Path, content: &[u8]) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut gpg = self.command(&["--encrypt", "--recipient", to, "--output"]);
        let mut gpg = gpg.arg(file).stdin(Stdio::piped()).spawn().unwrap();
        gpg.stdin.take().unwrap().write_all(content).unwrap();
        assert!(gpg.wait().unwrap().success());
    }

    fn end_agent(&self) {
        let mut gpgconf = Command::new("gpgconf");
        gpgconf.arg("--homedir").arg(&self.folder);
        let _ = gpgconf.args(["--kill", "gpg-agent"]).status();
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        self.end_agent();
    }
}

#[test]
fn what_gpg_opens_is_imported_and_the_rest_is_named() {
    if Command::new("gpg").arg("--version").output().is_err() {
        eprintln!("not run: gpg is not installed");
        return;
    }
    let home = Home::new();
    let gpg = Gpg::new(home.path().join(".gnupg"));
    gpg.make_key("me@x.example", "%no-protection");
    gpg.make_key("asks@x.example", "Passphrase: typed");
    let colleague = Gpg::new(home.path().join("colleague"));
    colleague.make_key("other@x.example", "%no-protection");
    let key = finish(
        &mut colleague.command(&["--armor", "--export", "other@x.example"]),
        "",
    )
    .ok();
    finish(&mut gpg.command(&["--import"]), &key).ok();
    // The agent knows the passphrase of the key that it made.
    gpg.end_agent();

    let store = home.path().join("store");
    let put = |name: &str, to: &str, content: &[u8]| {
        gpg.encrypt(to, &home.path().join(name), content);
    };
    put("store/mine.gpg", "me@x.example", b"one\nUsername: bob\n");
    put("store/theirs.gpg", "other@x.example", b"two\n");
    put("store/asks.gpg", "asks@x.example", b"three\n");
    put("store/latin.gpg", "me@x.example", b"caf\xe9\n");
    put(
        "team/web/yaml.gpg",
        "me@x.example",
        b"four\n---\nlogin: alice\npin: 0123\n",
    );
    put("locked/theirs.gpg", "other@x.example", b"two\n");
    symlink("../team", store.join("team")).unwrap();
    symlink("gone.gpg", store.join("gone.gpg")).unwrap();

    home.run(&["init"]).ok();
    let said = home.run(&["--no-input", "import", "pass", store.to_str().unwrap()]);
    let lines: Vec<&str> = said.err.lines().collect();
    let has = |begin: &str| lines.iter().filter(|line| line.starts_with(begin)).count() == 1;
    for begin in [
        "passmate: warning: not imported: theirs: the whole item: gpg cannot decrypt it: ",
        "passmate: warning: not imported: asks: the whole item: gpg cannot decrypt it: ",
        "passmate: warning: not imported: latin: the whole item: it is not text in UTF-8",
        "passmate: warning: not imported: gone: the whole item: it is a link that leads nowhere",
    ] {
        assert!(has(begin), "{begin}: {said:?}");
    }
    assert!(said.ok().contains("2 new"));
    let show = |path: &str| home.run(&["show", "--reveal", path]).ok();
    assert_eq!(show("mine"), "user: bob\npassword: one\n");
    assert_eq!(
        show("team/web/yaml"),
        "user: alice\npassword: four\npin: 0123\n"
    );

    let locked = home.path().join("locked");
    let said = home.run(&["--no-input", "import", "pass", locked.to_str().unwrap()]);
    assert!(said.failed(1).starts_with("gpg cannot decrypt "));
}
