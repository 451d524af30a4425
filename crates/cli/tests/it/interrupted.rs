//! A person who ends a command is told what became of it, and is asked for nothing in vain.

use std::fs::File;
use std::net::TcpListener;

use crate::typed::{Home, Terminal};

const CTRL_C: &str = "\x03";

/// A save that waits for another program, which has the lock.
fn save(home: &Home) -> (File, Terminal) {
    let lock = home.vault().with_added_extension("lock");
    let lock = File::options().write(true).open(lock).unwrap();
    lock.lock().unwrap();
    let mut terminal = Terminal::start(home, &["set", "web/shop", "user"]);
    terminal.answer("user of web/shop: ", "alice");
    terminal.wait_for("saving the vault");
    terminal.type_keys(CTRL_C);
    terminal.wait_for("the same again ends this at once");
    (lock, terminal)
}

#[test]
fn an_interrupted_save_ends_and_says_so() {
    let home = Home::new();
    home.ok_with(&["set", "web/shop", "user"], "bob");
    let (lock, mut terminal) = save(&home);
    lock.unlock().unwrap();
    let (text, code) = terminal.finish();
    assert!(text.contains("set user of web/shop"), "{text}");
    assert!(text.contains("interrupted: the change is saved"), "{text}");
    assert_ne!(code, 0);
    assert_eq!(home.ok(&["show", "web/shop", "user"]), "alice\n");
}

#[test]
fn a_save_that_is_interrupted_twice_ends_at_once() {
    let home = Home::new();
    home.ok_with(&["set", "web/shop", "user"], "bob");
    let (lock, mut terminal) = save(&home);
    terminal.type_keys(CTRL_C);
    let (text, code) = terminal.finish();
    assert!(text.contains("the change may be saved or not"), "{text}");
    assert_ne!(code, 0);
    drop(lock);
    assert_eq!(home.ok(&["show", "web/shop", "user"]), "bob\n");
}

#[test]
fn nobody_types_a_key_for_a_server_that_does_not_answer() {
    let home = Home::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    for args in [
        &["sync", "setup", &address][..],
        &["sync", "setup", &address, "--key-file", "-"],
    ] {
        let (text, code) = Terminal::start(&home, args).finish();
        assert_eq!(code, 20, "{text}");
        assert!(text.contains("connection refused"), "{text}");
        assert!(!text.contains("Sync key"), "{text}");
    }
}
