//! `passmate sync rotate`, with the whole history or a part of it.

use std::time::{SystemTime, UNIX_EPOCH};

use passmate_testkit::noise::noise;
use passmate_testkit::wait::until;

use crate::support::Server;
use crate::support::program::{Home, Said};

fn join(home: &Home, server: &Server, key: &str, more: &[&str]) -> Said {
    let key = home.write("key", key);
    let (address, pin) = (server.address().to_string(), server.pin.to_string());
    let set_up = [
        "sync",
        "setup",
        &address,
        "--pin",
        &pin,
        "--key-file",
        key.to_str().unwrap(),
    ];
    home.run(&[&set_up, more].concat())
}

/// Waits until every change made so far is older than the present second, if no field was changed
/// twice since the last wait: the second change has a time in the next second then.
fn wait_for_the_next_second() {
    let second = || {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        since_1970.unwrap().as_secs()
    };
    let before = second();
    until("the next second", || second() > before);
}

fn archives(home: &Home) -> Vec<String> {
    let files = std::fs::read_dir(home.path().join(".local/share/passmate"))
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string());
    files
        .filter(|name| name.contains(".history-") && name.ends_with(".pmdb"))
        .collect()
}

#[test]
fn a_vault_too_large_for_its_server_rotates_to_less_history() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(
        dir.path(),
        &["--listen", "127.0.0.1:0", "--btoken-max", "9000"],
    );
    let (address, pin) = (server.address().to_string(), server.pin.to_string());
    let (first, second) = (Home::new(), Home::new());
    for home in [&first, &second] {
        home.run(&["init"]).ok();
    }
    first
        .run_with(&["set", "mail", "password"], "the very first")
        .ok();
    first.run(&["sync", "setup", &address, "--pin", &pin]).ok();
    join(&second, &server, &first.run(&["sync", "key"]).ok(), &[]).ok();
    let note = |number: u64| noise(number, 2900);
    for number in 0..2 {
        first.run_with(&["set", "mail", "note"], &note(number)).ok();
        wait_for_the_next_second();
    }
    // The change that makes the vault too large is named, and needs a yes.
    let said = first.run_with(&["set", "mail", "note"], &note(2));
    assert!(said.err.contains("accepts 8.7 KiB"), "{said:?}");
    said.failed(23);
    assert_eq!(first.run(&["show", "mail", "note"]).ok().trim(), note(1));
    first
        .run_with(&["set", "mail", "note", "--yes"], &note(2))
        .ok();
    let said = first.run(&["sync"]);
    assert!(said.err.contains("--keep-history"), "{said:?}");
    let purge = "note of mail takes most, 11.5 KiB: `passmate purge mail note --earlier`";
    assert!(said.err.contains(purge), "{said:?}");
    said.failed(23);

    // A time that is not in the past is refused. Without a confirmation, nothing changes.
    first
        .run(&["sync", "rotate", "--keep-history", "2999-01-01", "--yes"])
        .failed(2);
    first
        .run(&["sync", "rotate", "--keep-history", "soon", "--yes"])
        .failed(2);
    let said = first.run(&["sync", "rotate", "--keep-history", "1m", "--yes"]);
    assert!(said.err.contains("6mo"), "{said:?}");
    said.failed(2);
    first
        .run(&["--no-input", "sync", "rotate", "--keep-history", "0d"])
        .failed(3);
    // A history that begins in the second of the last change keeps the value before it too.
    wait_for_the_next_second();
    let said = first.run(&["sync", "rotate", "--keep-history", "0d", "--yes"]);
    let [archive] = &archives(&first)[..] else {
        panic!("{:?}", archives(&first))
    };
    assert!(said.err.contains(archive.as_str()), "{said:?}");
    said.ok();

    assert!(
        first
            .run(&["sync", "status"])
            .ok()
            .contains("history: since 2")
    );
    // Current values are still there, earlier values are in the archive, and the btoken fits again.
    assert_eq!(
        first.run(&["show", "mail", "password"]).ok(),
        "the very first\n"
    );
    assert_eq!(
        first
            .run(&["history", "mail", "note", "--json"])
            .ok()
            .matches("\"time\"")
            .count(),
        1
    );
    let history = first
        .run(&["--vault", archive, "history", "mail", "note", "--json"])
        .ok();
    assert_eq!(history.matches("\"time\"").count(), 3, "{history}");
    first.run(&["sync"]).ok();

    // The other device saves its whole history too, and then has the same vault as the first.
    second.run_with(&["set", "mail", "user"], "me").ok();
    second.run(&["sync"]).failed(22);
    second.run(&["sync", "leave", "--yes"]).ok();
    second
        .run_with(&["set", "mail", "password"], "another")
        .ok();
    second
        .run_with(&["set", "mail", "password"], "and another")
        .ok();
    // It cuts the history of this device too, which a person must agree to.
    let key = first.run(&["sync", "key"]).ok();
    let said = join(&second, &server, &key, &[]);
    assert!(
        said.err.contains("would cut off a part of the history"),
        "{said:?}"
    );
    said.failed(26);
    second.run(&["sync", "status"]).failed(10);
    join(&second, &server, &key, &["--yes"]).ok();
    first.run(&["sync"]).ok();
    let fingerprint = |home: &Home| {
        let status = home.run(&["sync", "status"]).ok();
        status
            .lines()
            .find(|line| line.starts_with("fingerprint"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(fingerprint(&first), fingerprint(&second));
    assert_eq!(
        first.run(&["show", "mail", "password"]).ok(),
        "and another\n"
    );
    assert_eq!(first.run(&["show", "mail", "user"]).ok(), "me\n");
}

#[test]
fn a_loss_that_was_declared_without_a_network_is_dealt_with_by_the_next_sync() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (address, pin) = (server.address().to_string(), server.pin.to_string());
    let (home, other) = (Home::new(), Home::new());
    for home in [&home, &other] {
        home.run(&["init"]).ok();
    }
    home.run_with(&["set", "mail", "password"], "one").ok();
    home.run(&["sync", "setup", &address, "--pin", &pin]).ok();
    let old_key = home.run(&["sync", "key"]).ok();
    join(&other, &server, &old_key, &[]).ok();
    server.stop();

    let said = home.run(&["sync", "rotate", "--lost", "--yes"]);
    assert_eq!(said.code, 20, "{said:?}");
    let status = home.run(&["sync", "status"]).ok();
    assert!(status.contains("a device was lost"), "{status}");

    let _server = Server::start_with(dir.path(), &["--listen", &address]);
    let said = home.run(&["sync"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("this vault has a new key"), "{said:?}");
    assert_ne!(home.run(&["sync", "key"]).ok(), old_key);
    assert_eq!(other.run(&["sync"]).code, 22, "the old account is gone");
    let said = home.run(&["sync"]);
    assert!(!said.err.contains("new key"), "{said:?}");
}
