//! Sharing with the original programs: an account with the desktop client, and a folder with the
//! original Passmate program.

use std::path::{Path, PathBuf};
use std::process::Command;

use passmate_core::net::trust::TlsTrust;
use passmate_core::net::{Address, Server as Remote};
use passmate_core::sync::Transport;
use passmate_proto::{AccountNumber, AuthToken};
use passmate_vault::format::btoken;
use passmate_vault::format::{BtokenShape, decode_btoken};
use passmate_vault::{Secret, SyncKey, Trust, Vault};

use crate::support::Server;
use crate::support::program::Home;

/// An account that the desktop client made.
struct Account {
    key: SyncKey,
    remote: Remote,
}

impl Account {
    /// Creates an account as the desktop client does. Some bytes of its key are zero; the desktop
    /// client itself cannot use such a key.
    fn create(server: &Server, plaintext: &[u8]) -> Self {
        let trust = TlsTrust::new(&Trust::Pins {
            current: server.pin,
            next: None,
        })
        .unwrap();
        let address = Address::new("127.0.0.1", server.address().port()).unwrap();
        let mut remote = Remote::new(address, trust);
        let mut secret = [0xA5; 32];
        (secret[0], secret[17]) = (0, 0);
        let unnumbered = SyncKey::from_parts([0; 8], Secret::from_bytes(secret));
        let auth_token = AuthToken::new(*unnumbered.derive_auth_token().as_bytes());
        let btoken = btoken::seal(
            plaintext,
            &unnumbered,
            &mut rand_core::UnwrapErr(getrandom::SysRng),
        );
        let created = remote.connect().unwrap().create(auth_token, btoken);
        let created = created.ok().unwrap();
        let account = *created.account().as_bytes();
        created.finish();
        Self {
            key: SyncKey::from_parts(account, Secret::from_bytes(secret)),
            remote,
        }
    }

    fn fetch(&mut self) -> (Vault, BtokenShape) {
        let account = AccountNumber::from_bytes(self.key.account()).unwrap();
        let auth_token = AuthToken::new(*self.key.derive_auth_token().as_bytes());
        let fetched = self.remote.connect().unwrap().update(account, auth_token);
        let fetched = fetched.ok().unwrap();
        let opened = btoken::open(fetched.btoken(), &self.key).unwrap();
        fetched.leave();
        let btoken = decode_btoken(&opened).unwrap();
        (btoken.vault, btoken.shape)
    }
}

#[test]
fn a_desktop_account_is_shared_until_it_is_upgraded() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(
        dir.path(),
        &["--listen", "none", "--listen-v2", "127.0.0.1:0"],
    );
    let plaintext =
        br#"{"42":[["PATH",1500000000,"web/mail"],["_password",1500000001,"one"],["_note",1500000002,"a","b"]]}"#;
    let mut account = Account::create(&server, plaintext);

    let home = Home::new();
    home.run(&["init"]).ok();
    home.write("key", account.key.to_text().as_bytes());
    let (host, pin) = (server.address().to_string(), server.pin.to_string());
    home.run(&[
        "sync",
        "setup",
        &host,
        "--pin",
        &pin,
        "--key-file",
        home.path().join("key").to_str().unwrap(),
    ])
    .ok();
    assert_eq!(home.run(&["show", "web/mail", "note"]).ok(), "a\nb\n");
    home.run_with(&["set", "web/mail", "password"], "two\n")
        .ok();
    assert_eq!(
        home.run(&["sync"]).ok(),
        "synced with 127.0.0.1: 0 received, 1 sent, 0 conflicts resolved\n"
    );
    assert!(
        home.run(&["sync", "status"])
            .ok()
            .contains("shared with: the original desktop client\n")
    );
    // The desktop client would refuse another checksum.
    let key = home.run(&["sync", "key"]).ok();
    assert_eq!(key.trim_end(), account.key.to_desktop_text().as_str());
    let (there, shape) = account.fetch();
    assert_eq!(shape, BtokenShape::Desktop);
    assert_eq!(
        there
            .view()
            .get("web/mail")
            .unwrap()
            .field(&"password".into())
            .unwrap()
            .value
            .to_string_lossy(),
        "two"
    );

    home.run(&["sync", "upgrade", "--no-input"]).failed(3);
    home.run(&["sync", "upgrade", "--yes"]).ok();
    assert_eq!(account.fetch(), (there, BtokenShape::Passmate2));
    assert!(!home.run(&["sync", "status"]).ok().contains("desktop"));
    let key = home.run(&["sync", "key"]).ok();
    assert_eq!(key.trim_end(), account.key.to_text().as_str());
}

/// The Python with the original program, if `scripts/test` has installed it.
fn original_python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/original/bin/python");
    let found = python.is_file().then_some(python);
    if found.is_none() {
        eprintln!("not run: passmate 0.4.1 from PyPI is not installed; scripts/test installs it");
    }
    found
}

/// Runs the original program, which syncs, makes these changes and saves. Returns the records that
/// it then shows.
fn original(python: &Path, home: &Path, shared: &Path, changes: &[&str]) -> serde_json::Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/original_passmate.py");
    let output = Command::new(python)
        .arg(script)
        .args([home, shared])
        .args(["alpha", "correct horse battery staple"])
        .args(changes)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    said["view"].clone()
}

fn next_second() {
    std::thread::sleep(std::time::Duration::from_millis(1100));
}

#[test]
fn the_original_program_shares_a_folder_with_ours() {
    let Some(python) = original_python() else {
        return;
    };
    let (dir, home) = (tempfile::tempdir().unwrap(), Home::new());
    let shared = dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let original = |changes: &[&str]| original(&python, dir.path(), &shared, changes);

    original(&["web/mail", "user", "me", "web/mail", "password", "one"]);
    home.run(&["init"]).ok();
    home.run_with(&["set", "bank", "pin"], "1234\n").ok();
    let folder = shared.to_str().unwrap();
    let said = home.run(&["sync", "setup", "--folder", folder]).ok();
    assert_eq!(
        said,
        format!("synced with {folder}: 3 received, 2 sent, 0 conflicts resolved\n")
    );
    assert_eq!(home.run(&["show", "web/mail", "password"]).ok(), "one\n");
    let view = original(&[]);
    assert_eq!(
        view,
        serde_json::json!({"bank": {"pin": "1234"}, "web/mail": {"user": "me", "password": "one"}})
    );

    // Before they sync, both programs change the same field, and both make a record with the same
    // path.
    next_second();
    home.run_with(&["set", "web/mail", "password"], "ours\n")
        .ok();
    home.run_with(&["set", "shop", "user"], "ours\n").ok();
    next_second();
    original(&["web/mail", "password", "theirs", "shop", "user", "theirs"]);
    let said = home.run(&["sync"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(home.run(&["show", "web/mail", "password"]).ok(), "theirs\n");
    // The original program cannot list two records with the same path, so ours moved one of them.
    let view = original(&[]);
    let shops: Vec<&String> = view
        .as_object()
        .unwrap()
        .keys()
        .filter(|path| path.starts_with("shop"))
        .collect();
    assert!(
        matches!(shops.as_slice(), [shop, other] if *shop == "shop" && other.starts_with("shop~")),
        "{shops:?}"
    );
    let ours: Vec<String> = home
        .run(&["ls", "--flat"])
        .ok()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        ours,
        view.as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(
        home.run(&["sync"]).ok(),
        format!("synced with {folder}: 0 received, 0 sent, 0 conflicts resolved\n")
    );
}

#[test]
fn unreadable_files_in_a_folder_are_reported_and_skipped() {
    let (dir, home) = (tempfile::tempdir().unwrap(), Home::new());
    let folder = dir.path().to_str().unwrap();
    home.run(&["init"]).ok();
    home.run_with(&["set", "bank", "pin"], "1234\n").ok();
    home.run(&["sync"]).failed(10);
    home.run(&[
        "sync",
        "setup",
        "--folder",
        dir.path().join("away").to_str().unwrap(),
    ])
    .failed(7);
    home.run(&["sync", "setup", "localhost", "--folder", folder])
        .failed(2);
    home.run(&["sync", "setup", "--folder", folder, "--with-original"])
        .ok();
    home.run(&["sync", "setup", "--folder", folder]).failed(12);

    std::fs::write(dir.path().join("empty.pmdb"), "").unwrap();
    std::fs::write(
        dir.path().join("notes\u{1b}[31m.pmdb"),
        "no container at all",
    )
    .unwrap();
    std::fs::create_dir(dir.path().join("dir.pmdb")).unwrap();
    let said = home.run(&["sync"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (
            0,
            format!("synced with {folder}: 0 received, 0 sent, 0 conflicts resolved\n").as_str()
        )
    );
    let complaints: Vec<&str> = said.err.lines().collect();
    assert_eq!(complaints.len(), 3, "{complaints:?}");
    assert!(
        complaints
            .iter()
            .all(|line| line.contains("is skipped: ") && !line.contains('\u{1b}')),
        "{complaints:?}"
    );
    let object: serde_json::Value =
        serde_json::from_str(&home.run(&["sync", "--json", "-q"]).ok()).unwrap();
    assert_eq!(
        object["folder"]["skipped"].as_array().unwrap().len(),
        3,
        "{object}"
    );
    assert!(object.get("host").is_none(), "{object}");

    let status = home.run(&["sync", "status"]).ok();
    assert!(
        status.contains(&format!("folder: {folder}\n")) && status.contains("fingerprint: "),
        "{status}"
    );
    home.run(&["sync", "leave"]).failed(3);
    home.run(&["sync", "leave", "--delete", "--yes"]).ok();
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 3, "only the device's own copy is deleted");
    home.run(&["sync", "status"]).failed(10);
}

#[test]
fn a_sync_passes_changes_between_server_and_folder() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let shared = tempfile::tempdir().unwrap();
    let folder = shared.path().to_str().unwrap();
    let (first, second, third) = (Home::new(), Home::new(), Home::new());
    let (host, pin) = (server.address().to_string(), server.pin.to_string());
    for home in [&first, &second, &third] {
        home.run(&["init"]).ok();
    }
    // The first device uses the server, the third one the folder, and the second one uses both.
    first.run_with(&["set", "mail", "user"], "me\n").ok();
    first.run(&["sync", "setup", &host, "--pin", &pin]).ok();
    second.write("key", first.run(&["sync", "key"]).ok());
    second
        .run(&[
            "sync",
            "setup",
            &host,
            "--pin",
            &pin,
            "--key-file",
            second.path().join("key").to_str().unwrap(),
        ])
        .ok();
    second.run(&["sync", "setup", "--folder", folder]).ok();
    third.run_with(&["set", "bank", "pin"], "1234\n").ok();
    let key = third.write("key", second.run(&["sync", "key", "--folder"]).ok());
    let key = key.to_str().unwrap();
    third
        .run(&["sync", "setup", "--folder", folder, "--key-file", key])
        .ok();
    assert_eq!(third.run(&["show", "mail", "user"]).ok(), "me\n");
    let said = second.run(&["sync"]).ok();
    assert_eq!(
        said,
        format!(
            "synced with 127.0.0.1: 0 received, 2 sent, 0 conflicts resolved\nsynced with {folder}: 2 received, 0 sent, 0 conflicts resolved\n"
        )
    );
    first.run(&["sync"]).ok();
    assert_eq!(first.run(&["show", "bank", "pin"]).ok(), "1234\n");

    // When the server cannot be reached, the folder still syncs.
    third.run_with(&["set", "bank", "pin"], "4321\n").ok();
    third.run(&["sync"]).ok();
    server.kill();
    let said = second.run(&["sync"]);
    assert_eq!(said.code, 20, "{said:?}");
    assert_eq!(second.run(&["show", "bank", "pin"]).ok(), "4321\n");
    let said = second.run(&["sync", "--offline"]).ok();
    assert_eq!(
        said,
        format!("synced with {folder}: 0 received, 0 sent, 0 conflicts resolved\n")
    );
}

/// A home with files of both original programs: one of the desktop client, and a vault of Passmate.
fn used_home() -> (Home, Vec<u8>, Vec<u8>) {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
    let desktop = std::fs::read(vectors.join("old_pmate/basic.pmate")).unwrap();
    let live = std::fs::read(vectors.join("pmdb/doc_minimal.pmdb")).unwrap();
    let home = Home::new();
    std::fs::create_dir_all(home.path().join(".local/share/passmate/sync")).unwrap();
    home.write(".pmate", &desktop);
    home.write(".local/share/passmate/local.pmdb", &live);
    (home, desktop, live)
}

#[test]
fn init_takes_over_original_files_and_leaves_them_unchanged() {
    let (home, desktop, live) = used_home();
    // Without a terminal, the first command says what to do instead of asking.
    let said = home.run(&["ls"]);
    assert!(
        said.err
            .contains("offers to import what the original program has"),
        "{said:?}"
    );
    said.failed(10);
    let said = home.run(&["init"]);
    assert!(
        said.err.contains("passmate import pmate ")
            && said.err.contains("passmate import passmate2 "),
        "{said:?}"
    );
    said.ok();
    assert_eq!(home.run(&["ls", "--flat"]).ok(), "");
    std::fs::remove_file(home.path().join(".local/share/passmate/vault.pmdb")).unwrap();

    // --yes takes over the files that the same passphrase opens, and names the others.
    home.write("passphrase", "correct horse\n");
    let said = home.run(&["init", "--yes"]);
    assert!(
        said.err.contains("local.pmdb") && said.err.contains("tries that again"),
        "{said:?}"
    );
    assert!(said.ok().contains("imported from pmate: 2 new"));
    assert_eq!(home.run(&["ls", "--flat"]).ok(), "web/site\nx\n");
    // `init` of a named vault takes nothing over, because that vault may have another purpose.
    let said = home.run(&["--profile", "work", "init", "--yes"]);
    assert!(!said.err.contains("original"), "{said:?}");
    said.ok();
    assert_eq!(std::fs::read(home.path().join(".pmate")).unwrap(), desktop);
    assert_eq!(
        std::fs::read(home.path().join(".local/share/passmate/local.pmdb")).unwrap(),
        live
    );
}
