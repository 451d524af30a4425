//! Operator commands for accounts while the server runs, and their effect on devices.

use std::path::Path;

use serde_json::Value;

use crate::support::{Program, failed, ok, operate, start, text};
use passmate_testkit::wire::{End, TOKEN, create, reset, update, upload};

fn hex(account: [u8; 8]) -> String {
    account.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn a_disabled_account_is_refused_like_a_wrong_key() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    let account = program.create(b"sealed");
    let number = hex(account);
    // This client has fetched already, and will upload later.
    let mut early = program.greeted();
    early.send(&update(account, TOKEN));
    assert_eq!(early.take_btoken().unwrap(), b"sealed");
    assert_eq!(
        ok(operate(&program.data_dir, &["account", "disable", &number])),
        format!("{number} is disabled\n")
    );
    early.send(&[upload(b"new").as_slice(), &account].concat());
    assert_eq!(early.end(), End::cut());
    for action in [
        update(account, TOKEN),
        reset(account, TOKEN),
        update(account, [1; 32]),
        update([3; 8], TOKEN),
    ] {
        let mut client = program.greeted();
        client.send(&action);
        assert_eq!(client.end(), End::cut());
    }
    assert!(ok(operate(&program.data_dir, &["account", "list"])).ends_with("  disabled\n"));
    ok(operate(
        &program.data_dir,
        &["account", "enable", &number.to_lowercase()],
    ));
    assert_eq!(program.fetch(account).unwrap(), b"sealed");
    let log = program.log();
    assert_eq!(log.matches("unknown_account_or_token").count(), 4, "{log}");
}

#[test]
fn accounts_are_managed_while_the_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    assert_eq!(ok(operate(&program.data_dir, &["account", "list"])), "");
    let (one, other) = (program.create(b"one"), program.create(&[7; 5000]));
    let list = ok(operate(&program.data_dir, &["account", "list"]));
    assert!(
        list.lines().count() == 2 && list.contains(&hex(one)) && list.contains(" 5000 bytes"),
        "{list}"
    );
    let json: Value = serde_json::from_str(&ok(operate(
        &program.data_dir,
        &["account", "show", &hex(other), "--json"],
    )))
    .unwrap();
    assert_eq!(
        (&json["version"], &json["size"], &json["disabled"]),
        (&1.into(), &5000.into(), &false.into())
    );
    assert!(json["created"].as_i64().unwrap() > 1_700_000_000);
    let shown = ok(operate(&program.data_dir, &["account", "show", &hex(one)]));
    assert!(
        shown.contains("size: 3 bytes\n") && shown.contains("state: in use\n"),
        "{shown}"
    );

    failed(
        &operate(&program.data_dir, &["account", "delete", &hex(one)]),
        3,
        "nobody can confirm the deletion",
    );
    assert_eq!(program.fetch(one).unwrap(), b"one");
    ok(operate(
        &program.data_dir,
        &["account", "delete", &hex(one), "--yes"],
    ));
    assert!(program.fetch(one).is_none());
    assert_eq!(program.fetch(other).unwrap(), [7; 5000]);
    failed(
        &operate(
            &program.data_dir,
            &["account", "delete", &hex(one), "--yes"],
        ),
        10,
        "no such account",
    );
    failed(
        &operate(&program.data_dir, &["account", "show", &hex(one)]),
        10,
        "no such account",
    );
    let mistyped = operate(&program.data_dir, &["account", "show", "0000000000000000"]);
    assert_eq!(mistyped.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&mistyped.stderr).contains("16 hex digits"),
        "{mistyped:?}"
    );
}

fn json(data_dir: &Path, words: &[&str]) -> Value {
    serde_json::from_str(&ok(operate(data_dir, &[words, &["--json"]].concat()))).unwrap()
}

/// The numbers that a list has, in its order.
fn listed(data_dir: &Path, more: &[&str]) -> Vec<String> {
    let list = json(data_dir, &[&["account", "list"], more].concat());
    let accounts = list["accounts"].as_array().unwrap().iter();
    accounts
        .map(|account| account["account"].as_str().unwrap().to_owned())
        .collect()
}

/// Changes the database as no command does.
fn change(data_dir: &Path, sql: &str) {
    let database = rusqlite::Connection::open(data_dir.join("passmate.db")).unwrap();
    database.execute_batch(sql).unwrap();
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    program.create(b"sealed");
    program.stop();
    let (reading, writing) = rustix::pipe::pipe().unwrap();
    drop(reading);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_passmate-server"))
        .args(["account", "list", "--data-dir", text(dir.path())])
        .stdout(writing)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("error"), "{said}");
}

#[test]
fn a_fetch_is_seen_as_the_last_sync() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    let account = program.create(b"sealed");
    program.stop();
    change(dir.path(), "UPDATE account SET synced_at = NULL");
    let show = || ok(operate(dir.path(), &["account", "show", &hex(account)]));
    assert!(show().contains("last sync: unknown\n"), "{}", show());
    let program = start(dir.path(), &[]);
    assert_eq!(program.fetch(account).unwrap(), b"sealed");
    program.stop();
    let shown = show();
    let day = shown
        .lines()
        .find_map(|line| line.strip_prefix("last sync: "));
    assert_eq!(day.unwrap().len(), "2026-11-24".len(), "{shown}");
}

#[test]
fn accounts_are_sorted_and_filtered() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    let mut numbers = [b"a".as_slice(), b"bbb", b"cc"].map(|btoken| hex(program.create(btoken)));
    program.stop();
    numbers.sort();
    let [one, two, three] = &numbers;
    let day = 86_400;
    for (number, created, changed, synced) in [(one, 5, 9, 1), (two, 9, 9, 3), (three, 7, 12, 2)] {
        let (created, changed, synced) = (created * day, changed * day, synced * day);
        change(
            dir.path(),
            &format!(
                "UPDATE account SET created_at = {created}, changed_at = {changed}, \
                 synced_at = {synced}, btoken_len = btoken_len WHERE hex(number) = '{number}'"
            ),
        );
    }
    ok(operate(dir.path(), &["account", "disable", two]));
    ok(operate(
        dir.path(),
        &["account", "note", one, "Ada's phone"],
    ));
    let sorted = |by| listed(dir.path(), &["--sort", by]);
    assert_eq!(sorted("number"), numbers);
    assert_eq!(sorted("created"), [two, three, one].map(String::as_str));
    assert_eq!(sorted("synced"), [two, three, one].map(String::as_str));
    assert_eq!(sorted("changed")[0], *three);
    let sizes = json(dir.path(), &["account", "list", "--sort", "size"]);
    let sizes: Vec<_> = sizes["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["size"])
        .collect();
    assert_eq!(sizes, [3, 2, 1]);
    assert_eq!(listed(dir.path(), &["--disabled"]), [two.as_str()]);
    assert_eq!(listed(dir.path(), &["--note", "ADA"]), [one.as_str()]);
    assert_eq!(listed(dir.path(), &["--never-updated"]), [two.as_str()]);
    assert_eq!(listed(dir.path(), &["--older-than", "1d"]).len(), 3);
    change(dir.path(), "UPDATE account SET created_at = unixepoch()");
    assert!(listed(dir.path(), &["--older-than", "1d"]).is_empty());
}

#[test]
fn a_note_is_shown_without_what_acts_on_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    let number = hex(program.create(b"sealed"));
    program.stop();
    let note = |text: &str| operate(dir.path(), &["account", "note", &number, text]);
    assert_eq!(ok(note("Grace")), format!("{number} has the note Grace\n"));
    assert!(ok(operate(dir.path(), &["account", "list"])).ends_with("  note Grace\n"));
    failed(&note("two\nlines"), 2, "one line");
    failed(&note(&"x".repeat(201)), 2, "at most 200");
    // Somebody else wrote into the database.
    change(
        dir.path(),
        "UPDATE account SET note = 'a' || char(27, 8238, 10) || 'b'",
    );
    for words in [
        &["account", "list"] as &[&str],
        &["account", "show", &number],
        &["account", "list", "--json"],
    ] {
        let shown = ok(operate(dir.path(), words));
        let acts = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(
            !shown.contains(acts) && !shown.contains("a\nb"),
            "{shown:?}"
        );
    }
    let account = json(dir.path(), &["account", "show", &number]);
    assert_eq!(account["note"], "a\u{1b}\u{202e}\nb");
    ok(note(""));
    assert!(!ok(operate(dir.path(), &["account", "list"])).contains("note"));
}

/// The number with which an update ends, or the cut.
fn replace(program: &Program, account: [u8; 8], len: usize) -> End {
    let mut client = program.greeted();
    client.send(&update(account, TOKEN));
    client.take_btoken().unwrap();
    client.send(&[upload(&vec![7; len]).as_slice(), &account].concat());
    client.end()
}

#[test]
fn a_limit_of_an_account_is_kept_by_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let limits = ["--account-limit", "1000", "--btoken-max", "3000"];
    let program = start(dir.path(), &limits);
    // A longer btoken than all accounts may have makes no account.
    let mut client = program.greeted();
    client.send(&create(&[7; 1001]));
    assert_eq!(client.end(), End::cut());
    let account = program.create(&[7; 1000]);
    let number = hex(account);
    let limit = |bytes: &str| ok(operate(dir.path(), &["account", "limit", &number, bytes]));
    assert_eq!(replace(&program, account, 1001), End::cut());
    assert_eq!(limit("2000"), format!("{number} may store 2000 bytes\n"));
    assert_eq!(replace(&program, account, 2001), End::cut());
    assert_eq!(replace(&program, account, 2000), End::clean());
    // What is larger already may shrink, and does not grow.
    assert!(limit("1KiB").contains("may not grow"));
    assert_eq!(replace(&program, account, 2001), End::cut());
    assert_eq!(replace(&program, account, 1999), End::clean());
    assert_eq!(replace(&program, account, 2000), End::cut());
    let shown = json(dir.path(), &["account", "show", &number]);
    assert_eq!(
        (&shown["limit"], &shown["size"]),
        (&1024.into(), &1999.into())
    );
    limit("none");
    assert_eq!(replace(&program, account, 1000), End::clean());
    assert_eq!(replace(&program, account, 1001), End::cut());
    // No account may store more than --btoken-max.
    limit("4000");
    assert_eq!(replace(&program, account, 3000), End::clean());
    assert_eq!(replace(&program, account, 3001), End::cut());
    let log = program.log();
    assert_eq!(log.matches("btoken_too_long").count(), 7, "{log}");
    let wrong = operate(dir.path(), &["account", "limit", &number, "1MB"]);
    failed(&wrong, 2, "is not a size");
}

#[test]
fn unused_accounts_are_pruned_after_a_confirmation() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    let (unused, used) = (program.create(&[0xC7; 9000]), program.create(b"used"));
    let prune = |more: &[&str]| {
        let words = [&["account", "prune", "--older-than", "30d"], more].concat();
        operate(dir.path(), &words)
    };
    let said = ok(prune(&["--dry-run"]));
    assert!(
        said.contains("0 accounts") && said.contains("knows only since"),
        "{said}"
    );
    change(
        dir.path(),
        "UPDATE property SET value = 0 WHERE name = 'syncs_known_since';
         UPDATE account SET created_at = created_at - 60 * 86400;
         UPDATE account SET changed_at = created_at, synced_at = created_at - created_at % 86400
             WHERE btoken_len = 9000;",
    );
    let said = ok(prune(&["--dry-run"]));
    assert!(
        said.contains("1 accounts with 8.8 KiB (9000 bytes)"),
        "{said}"
    );
    let checked = operate(dir.path(), &["check"]).stdout;
    let checked = String::from_utf8(checked).unwrap();
    assert!(
        checked.contains("note: 1 accounts with 8.8 KiB were never updated"),
        "{checked}"
    );
    failed(&prune(&[]), 3, "nobody can confirm");
    assert_eq!(program.fetch(used).unwrap(), b"used");
    assert_eq!(listed(dir.path(), &[]).len(), 2);
    assert_eq!(
        ok(prune(&["--yes"])),
        "1 accounts with 9000 bytes are deleted\n"
    );
    assert!(program.fetch(unused).is_none());
    let is_left = std::fs::read_dir(dir.path()).unwrap().any(|file| {
        // The control socket cannot be read.
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        bytes.windows(100).any(|part| part == [0xC7; 100])
    });
    assert!(!is_left, "the bytes are gone from all files");
    assert!(ok(prune(&["--yes"])).starts_with("0 accounts"));
    let too_soon = operate(dir.path(), &["account", "prune", "--older-than", "23h"]);
    failed(&too_soon, 2, "at least 1d");
}
