//! `passmate add`: a whole record in one go.

use crate::typed::{Home, Terminal};
use std::process::Command;

#[test]
fn a_script_adds_a_login_in_one_command() {
    let home = Home::new();
    let options = ["--user", "bob", "--url", "https://shop.example/login"];
    home.ok_with(&[&["add", "web/shop"], &options[..]].concat(), "one\n");
    assert_eq!(
        home.ok(&["show", "web/shop"]),
        "user: bob\npassword: one\nurl: https://shop.example/login\n"
    );
    home.ok(&["undo"]);
    assert_eq!(home.ok(&["ls", "--flat"]), "", "it was one change");
}

#[test]
fn a_path_that_is_taken_is_refused_with_a_way_to_change_it() {
    let home = Home::new();
    home.ok_with(&["add", "web/shop"], "one");
    let told = home.fails(12, &["add", "web/shop"], "two");
    assert!(told.contains("`passmate edit web/shop`"), "{told}");
    assert_eq!(home.ok(&["show", "web/shop", "password"]), "one\n");
}

#[test]
fn a_password_follows_the_rule_of_its_site() {
    let home = Home::new();
    let rule = "minlength: 5; maxlength: 6; required: digit;";
    let url = "https://bank.example/";
    home.ok(&["add", "bank/a", "--generate", "--url", url, "--rule", rule]);
    let other = "https://BANK.example/other";
    home.ok(&["add", "bank/b", "--generate", "--url", other]);
    home.ok(&["add", "mail", "--generate", "--url", "https://example/"]);
    let length = |path: &str| home.ok(&["show", path, "password"]).trim().len();
    assert_eq!((length("bank/a"), length("bank/b")), (6, 6));
    assert_eq!(home.ok(&["show", "bank/b", "password rule"]).trim(), rule);
    assert_eq!(length("mail"), 15);
}

#[test]
fn fields_come_as_json_and_a_fault_shows_none_of_them() {
    let home = Home::new();
    let card = r#"{"card number": "4111", "pin": "12\n34"}"#;
    home.ok_with(&["add", "card", "--template", "card", "--fields"], card);
    assert_eq!(home.ok(&["show", "card", "pin"]), "12\n34\n");
    for fields in [
        r#"{"password": hunter2}"#,
        r#"{"password": ["hunter2"]}"#,
        r#"{"otp": "hunter2!"}"#,
        // The user is given by an option, and --generate makes the password.
        r#"{"user": "hunter2"}"#,
        r#"{"password": "hunter2"}"#,
        "",
    ] {
        let args = ["add", "x", "--fields", "--user", "u", "--generate"];
        let told = home.fails(2, &args, fields);
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert_eq!(home.ok(&["ls", "--flat"]), "card\n");
}

#[test]
fn what_only_a_person_can_say_is_not_guessed() {
    let home = Home::new();
    for (code, args) in [
        (2, &["add", "x"][..]),
        (2, &["add", "x", "--template", "note"]),
        (2, &["add", "x", "--template", "card", "--generate"]),
        (4, &["add", "x", "--template", "card"]),
        (4, &["add", "x", "--template", "wifi", "--no-input"]),
    ] {
        home.fails(code, args, "");
    }
    assert_eq!(home.ok(&["ls", "--flat"]), "");
}

#[test]
fn a_person_is_asked_for_all_fields_in_one_run() {
    let home = Home::new();
    let mut terminal = Terminal::start(&home, &["add", "web/shop"]);
    terminal.answer("url: ", "https://shop.example");
    terminal.answer("user: ", "bob");
    terminal.answer("password (Enter generates one): ", "");
    terminal.answer("otp: ", "not base32!");
    // It is asked again, and what was typed before is kept.
    terminal.answer("makes no one-time codes", "GEZDGNBVGY3TQOJQ");
    let (text, code) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("made web/shop"), "{text}");
    let raw = String::from_utf8_lossy(&terminal.raw).into_owned();
    assert!(!raw.contains("base32!") && !raw.contains("GEZD"), "{raw}");
    let shown = home.ok(&["show", "web/shop"]);
    assert!(shown.contains("user: bob\n"), "{shown}");
    assert_eq!(home.ok(&["show", "web/shop", "password"]).len(), 16);
    assert_eq!(home.ok(&["code", "web/shop"]).trim().len(), 6);

    let mut terminal = Terminal::start(&home, &["add", "home", "--template", "wifi"]);
    terminal.answer("ssid: ", "net");
    terminal.answer("password: ", "one");
    terminal.answer("The same again: ", "two");
    terminal.answer("The two differ. password: ", "");
    assert_eq!(terminal.finish().1, 0);
    assert_eq!(home.ok(&["show", "home"]), "ssid: net\n");
}

#[test]
fn nothing_is_stored_of_a_run_that_is_ended() {
    let home = Home::new();
    for end in ["\u{3}", "\u{4}"] {
        let mut terminal = Terminal::start(&home, &["add", "web/shop"]);
        terminal.answer("url: ", "https://shop.example");
        terminal.wait_for("user: ");
        terminal.type_keys(end);
        assert_ne!(terminal.finish().1, 0);
    }
    let mut terminal = Terminal::start(&home, &["add", "n", "--template", "note"]);
    terminal.answer("notes: ", "");
    assert_eq!(terminal.finish().1, 3);
    assert_eq!(home.ok(&["ls", "--flat"]), "");
}

#[test]
fn a_key_of_ssh_comes_in_from_its_file() {
    let home = Home::new();
    let made = Command::new("ssh-keygen")
        .args([
            "-q", "-a", "2", "-t", "ed25519", "-N", "hunter2", "-C", "bob", "-f",
        ])
        .arg(home.path().join("key"))
        .status();
    if made.is_err() {
        eprintln!("not run: ssh-keygen is not installed");
        return;
    }
    let args = ["add", "ssh/home", "--template", "ssh", "--key-file"];
    let with = |file| [&args[..], &[file]].concat();
    home.fails(4, &with("key"), "");
    home.fails(2, &with("key.pub"), "");
    home.fails(7, &with("none"), "");
    home.fails(2, &args[..4], "");
    home.fails(2, &["add", "x", "--key-file", "key"], "");
    let mut terminal = Terminal::start(&home, &with("key"));
    terminal.answer("Passphrase of the key key: ", "wrong");
    terminal.answer("Passphrase of the key key: ", "hunter2");
    assert_eq!(terminal.finish().1, 0);
    let public = std::fs::read_to_string(home.path().join("key.pub")).unwrap();
    assert_eq!(home.ok(&["show", "ssh/home", "public key"]), public);
    let private = home.ok(&["show", "ssh/home", "private key"]);
    assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
    assert!(private.ends_with("-----END OPENSSH PRIVATE KEY-----\n"));
    // What is stored needs no passphrase.
    home.ok_with(
        &["add", "again", "--template", "ssh", "--key-file", "-"],
        &private,
    );
}
