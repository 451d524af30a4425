//! Operator commands for accounts while the server runs, and their effect on devices.

use crate::support::{failed, ok, operate, start};
use passmate_testkit::wire::{End, TOKEN, reset, update, upload};

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
    let json: serde_json::Value = serde_json::from_str(&ok(operate(
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
