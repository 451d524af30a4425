//! `scan`: values of the vault in files.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::support::Home;

fn home() -> Home {
    let home = Home::with(&[
        ("web/shop", "password", "correct horse"),
        ("web/shop", "password", "battery staple"),
        ("web/shop", "user", "alice@example.org"),
        ("db", "pin", "12345"),
        ("x y", "token", "hostile token"),
    ]);
    home.write("tree/clean", "alice@example.org 12345\n");
    home
}

#[test]
fn a_value_in_a_file_is_found_and_not_shown() {
    let home = home();
    assert_eq!(home.answer(&["scan", "tree"]), "");
    home.write(
        "tree/.git/config",
        "x\n\nurl = https://a:battery%20staple@b\n",
    );
    home.write(
        "tree/a/\u{9b}b",
        "\0\"battery staple\" YmF0dGVyeSBzdGFwbGU=\nhostile token",
    );
    let output = home.run(&["scan", "tree"]);
    assert_eq!(output.status.code(), Some(30));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said,
        "tree/.git/config:3: password of web/shop, percent\n\
         tree/a/\\u{9b}b:1: password of web/shop\n\
         tree/a/\\u{9b}b:1: password of web/shop, base64\n\
         tree/a/\\u{9b}b:2: token of x y\n"
    );
    let output = home.run(&["scan", "tree", "--json"]);
    assert_eq!(output.status.code(), Some(30));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["files"], 3);
    assert_eq!(json["findings"][0]["file"], "tree/.git/config");
    assert_eq!(json["findings"][0]["line"], 3);
    assert_eq!(json["findings"][0]["path"], "web/shop");
    assert_eq!(json["findings"][0]["field"], "password");
    assert_eq!(json["findings"][3]["path"], "x y");
}

#[test]
fn shorter_and_former_values_are_found_if_asked_for() {
    let home = home();
    home.write("tree/former", "correct horse 12345");
    assert_eq!(home.answer(&["scan", "tree"]), "");
    let said = |args: &[&str]| {
        let output = home.run(&[&["scan", "tree/former"], args].concat());
        assert_eq!(output.status.code(), Some(30));
        String::from_utf8(output.stdout).unwrap()
    };
    let former = "tree/former:1: password of web/shop, a former value\n";
    assert_eq!(said(&["--history"]), former);
    assert_eq!(said(&["--min-length", "5"]), "tree/former:1: pin of db\n");
    assert_eq!(home.failure(&["scan", "--min-length", "3"]).0, 2);
}

#[test]
fn what_is_no_file_is_not_read_and_what_cannot_be_read_is_told() {
    let home = home();
    let tree = home.path().join("tree");
    mkfifoat(CWD, tree.join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
    home.write("elsewhere", "battery staple");
    symlink("../elsewhere", tree.join("link")).unwrap();
    symlink(".", tree.join("circle")).unwrap();
    symlink("nowhere", tree.join("dangling")).unwrap();
    assert_eq!(home.answer(&["scan", "tree"]), "");
    // A link that a person names is followed.
    assert_eq!(home.run(&["scan", "tree/link"]).status.code(), Some(30));
    assert_eq!(home.failure(&["scan", "none"]).0, 7);
    // So is a pipe, and what is named and not read is no clean answer.
    let pipe = tree.join("pipe");
    let writer = std::thread::spawn(move || fs::write(pipe, "x battery staple"));
    assert_eq!(home.run(&["scan", "tree/pipe"]).status.code(), Some(30));
    writer.join().unwrap().unwrap();
    let unread: &[&str] = match cfg!(target_os = "linux") {
        true => &["/dev/null", "/proc"],
        false => &["/dev/null"],
    };
    for named in unread {
        assert_eq!(home.run(&["scan", named]).status.code(), Some(7), "{named}");
    }
    let closed = tree.join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let output = home.run(&["scan", "tree"]);
    // Nothing is closed to root.
    if fs::read_dir(&closed).is_err() {
        assert_eq!(output.status.code(), Some(7));
    }
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
}
