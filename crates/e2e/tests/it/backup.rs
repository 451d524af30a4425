//! A server that was restored from an older backup gets newer changes from its devices.

use crate::support::program::Home;
use crate::support::{Server, data, operate};

#[test]
fn devices_send_again_what_a_restored_server_forgot() {
    let dir = tempfile::tempdir().unwrap();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("backup");
    let server = Server::start(dir.path());
    let (address, pin) = (server.address().to_string(), server.pin.to_string());
    let (first, second) = (Home::new(), Home::new());
    for home in [&first, &second] {
        home.run(&["init"]).ok();
    }
    first
        .run_with(&["set", "mail", "password"], "before the backup")
        .ok();
    first.run(&["sync", "setup", &address, "--pin", &pin]).ok();
    let key = second.write("key", first.run(&["sync", "key"]).ok());
    second
        .run(&[
            "sync",
            "setup",
            &address,
            "--pin",
            &pin,
            "--key-file",
            key.to_str().unwrap(),
        ])
        .ok();
    operate(dir.path(), &["backup", file.to_str().unwrap()]).ok();
    first
        .run_with(&["set", "mail", "password"], "after the backup")
        .ok();
    first.run_with(&["set", "bank", "pin"], "1234").ok();
    first.run(&["sync"]).ok();
    server.stop();

    data::restore(dir.path(), &file);
    let server = Server::start_with(dir.path(), &["--listen", &address]);
    assert_eq!(
        server.pin.to_string(),
        pin,
        "restore did not touch the key in the data dir"
    );
    // The second device never saw the new password, so it cannot miss it. The first device did: it
    // reports the rollback and sends the changes again.
    second.run(&["sync"]).ok();
    assert_eq!(
        second.run(&["show", "mail", "password"]).ok(),
        "before the backup\n"
    );
    let said = first.run(&["sync"]);
    assert!(said.err.contains("3 changes"), "{said:?}");
    assert_eq!(said.code, 25);
    first.run(&["sync"]).ok();
    second.run(&["sync"]).ok();
    assert_eq!(
        second.run(&["show", "mail", "password"]).ok(),
        "after the backup\n"
    );
    assert_eq!(second.run(&["show", "bank", "pin"]).ok(), "1234\n");
}

/// Whoever has the key of an account that its owner deleted gets another account, which no device
/// of the owner knows.
#[test]
fn a_thief_cannot_make_a_deleted_account_anew() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (address, pin) = (server.address().to_string(), server.pin.to_string());
    let (owner, late, thief) = (Home::new(), Home::new(), Home::new());
    for home in [&owner, &late, &thief] {
        home.run(&["init"]).ok();
    }
    owner.run_with(&["set", "mail", "password"], "one").ok();
    owner.run(&["sync", "setup", &address, "--pin", &pin]).ok();
    let key = owner.run(&["sync", "key"]).ok();
    for home in [&late, &thief] {
        let key = home.write("key", &key);
        let key = key.to_str().unwrap();
        home.run(&["sync", "setup", &address, "--pin", &pin, "--key-file", key])
            .ok();
    }
    owner.run(&["sync", "rotate", "--lost", "--yes"]).ok();
    thief.run(&["sync", "setup", "--again"]).ok();
    assert_ne!(thief.run(&["sync", "key"]).ok(), key);
    // A device that has not left yet is refused, and stores nothing there.
    late.run_with(&["set", "bank", "pin"], "1234").ok();
    late.run(&["sync"]).failed(22);
    thief.run(&["sync"]).ok();
    thief.run(&["show", "bank", "pin"]).failed(10);
}

#[test]
fn a_server_that_lost_its_data_gets_it_back_from_one_device() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let address = server.address().to_string();
    let pin = server.pin.to_string();
    let (first, second) = (Home::new(), Home::new());
    for home in [&first, &second] {
        home.run(&["init"]).ok();
    }
    first.run_with(&["set", "mail", "password"], "one").ok();
    first.run(&["sync", "setup", &address, "--pin", &pin]).ok();
    let key = second.write("key", first.run(&["sync", "key"]).ok());
    let key = key.to_str().unwrap();
    second
        .run(&["sync", "setup", &address, "--pin", &pin, "--key-file", key])
        .ok();
    let still = first.run(&["sync", "setup", "--again"]).failed(12);
    assert!(still.contains("still has the account"), "{still}");
    server.stop();
    data::lose(dir.path());
    let server = Server::start_with(dir.path(), &["--listen", &address]);
    let refused = first.run(&["sync"]);
    assert!(
        refused.err.contains("`passmate sync setup --again`"),
        "{refused:?}"
    );
    refused.failed(22);
    let said = first.run(&["sync", "setup", "--again"]);
    assert!(said.err.contains("another number"), "{said:?}");
    said.ok();
    // The second device joins with the new key, and brings along what it changed.
    second.run_with(&["set", "bank", "pin"], "1234").ok();
    second.run(&["sync"]).failed(22);
    second.run(&["sync", "leave", "--yes"]).ok();
    second.write("key", first.run(&["sync", "key"]).ok());
    second
        .run(&["sync", "setup", &address, "--pin", &pin, "--key-file", key])
        .ok();
    first.run(&["sync"]).ok();
    assert_eq!(first.run(&["show", "bank", "pin"]).ok(), "1234\n");
    assert_eq!(second.run(&["show", "mail", "password"]).ok(), "one\n");
    server.stop();
}
