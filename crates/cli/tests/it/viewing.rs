//! What `show --reveal` shows on a terminal is gone when the person leaves it.

use std::process::Command;

use crate::typed::{Home, Terminal};

const LEAVE: &[u8] = b"\x1b[?1049l";

fn home() -> Home {
    let home = Home::new();
    home.ok_with(&["set", "web/shop", "password"], "battery staple");
    home.ok_with(&["set", "web/shop", "user"], "bob");
    home
}

#[test]
fn a_revealed_secret_is_on_the_alternate_screen_alone() {
    let home = home();
    for (args, end) in [
        (&["show", "web/shop", "--reveal"][..], "\r"),
        (&["show", "web/shop", "password", "--reveal"], "q"),
        (&["show", "web/shop", "--reveal"], "\u{3}"),
    ] {
        let mut terminal = Terminal::start(&home, args);
        terminal.wait_for("battery staple");
        terminal.wait_for("Enter or q leaves");
        assert!(terminal.is_alternate());
        terminal.type_keys(end);
        let (text, code) = terminal.finish();
        assert_eq!(code, 0, "{text}");
        assert!(
            !terminal.is_alternate() && !text.contains("staple"),
            "{text}"
        );
    }
}

#[test]
fn a_signal_leaves_nothing_on_the_screen_either() {
    let home = home();
    let mut terminal = Terminal::start(&home, &["show", "web/shop", "--reveal"]);
    terminal.wait_for("battery staple");
    let id = terminal.process_id().to_string();
    let killed = Command::new("kill").args(["-TERM", &id]).status();
    assert!(killed.unwrap().success());
    let (text, _) = terminal.finish();
    assert!(
        !terminal.is_alternate() && !text.contains("staple"),
        "{text}"
    );
    assert!(
        terminal
            .raw
            .windows(LEAVE.len())
            .any(|bytes| bytes == LEAVE)
    );
}

#[test]
fn what_needs_no_hiding_is_printed_as_ever() {
    let home = home();
    for args in [
        &["show", "web/shop", "--reveal", "--no-pager"][..],
        &["show", "web/shop", "user", "--reveal"],
        &["show", "web/shop"],
        &["show", "web/shop", "--reveal", "--no-input"],
        &["show", "web/shop", "--reveal", "--json"],
    ] {
        let mut terminal = Terminal::start(&home, args);
        let (text, code) = terminal.finish();
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("bob"), "{args:?}: {text}");
        let left = terminal
            .raw
            .windows(LEAVE.len())
            .any(|bytes| bytes == LEAVE);
        assert!(!left, "{args:?}");
    }
}

#[test]
fn a_code_for_a_camera_is_on_the_alternate_screen_alone() {
    let home = home();
    let mut terminal = Terminal::start(&home, &["qr", "web/shop"]);
    terminal.wait_for("Enter or q leaves");
    assert!(terminal.is_alternate());
    terminal.type_keys("q");
    let (text, code) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(!terminal.is_alternate() && !text.contains('▀'), "{text}");
    let mut terminal = Terminal::start(&home, &["qr", "web/shop", "--no-pager"]);
    let (text, _) = terminal.finish();
    assert!(text.contains('▀'), "{text}");
}

#[test]
fn a_mask_is_shown_without_reading_the_field() {
    let home = home();
    home.ok_with(&["unlock"], "");
    home.ok_with(&["set", "web/bank", "password"], "hunter2");
    home.ok_with(&["set", "web/bank", "tags"], "ask");
    let mut terminal = Terminal::start(&home, &["show", "web/bank", "password"]);
    let (text, code) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("********") && !text.contains("must agree"),
        "{text}"
    );
    let mut terminal = Terminal::start(&home, &["show", "web/bank", "pin"]);
    let (text, code) = terminal.finish();
    assert_eq!(code, 10, "{text}");
    home.ok(&["agent", "stop"]);
}
