//! What operators did, in `passmate-server log` and in the log of the server.

use std::process::Command;

use serde_json::Value;

use crate::support::{failed, ok, operate, start, text};

fn log(data_dir: &std::path::Path, more: &[&str]) -> Vec<Value> {
    let words = [&["log", "--json"], more].concat();
    let object: Value = serde_json::from_str(&ok(operate(data_dir, &words))).unwrap();
    object["actions"].as_array().unwrap().clone()
}

fn hex(account: [u8; 8]) -> String {
    account.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn the_log_names_accounts_and_the_servers_log_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    let account = hex(program.create(b"sealed"));
    let mut disable = Command::new(env!("CARGO_BIN_EXE_passmate-server"));
    disable
        .env_clear()
        .env("PASSMATE_SERVER_DATA_DIR", dir.path())
        .env("SUDO_UID", "4711")
        .args(["account", "disable", &account]);
    ok(disable.output().unwrap());
    ok(operate(
        dir.path(),
        &["account", "delete", &account, "--yes"],
    ));
    let shown = ok(operate(dir.path(), &["log"]));
    let uid = rustix::process::getuid().as_raw();
    assert!(
        shown.lines().count() == 2
            && shown.contains(&format!("account disable  {account}\n"))
            && shown.contains("by sudo of 4711")
            && shown.contains(&format!("UTC  {uid}")),
        "{shown}"
    );
    program.wait_for_log("account delete");
    let log_of_server = program.log();
    assert!(
        log_of_server.contains("INFO an operator changed something action=\"account disable\""),
        "{log_of_server}"
    );
    assert!(!log_of_server.contains(&account), "{log_of_server}");
    let records = log(dir.path(), &["--since", "1h"]);
    assert_eq!(records.len(), 2);
    assert_eq!(records[1]["account"], account.as_str());
    assert_eq!(
        (&records[0]["uid"], &records[0]["sudo_uid"]),
        (&uid.into(), &4711.into())
    );
    assert!(log(dir.path(), &["--since", "2999-01-01"]).is_empty());
    let mistyped = operate(dir.path(), &["log", "--since", "yesterday"]);
    failed(&mistyped, 2, "a time ago like 24h");
}

#[test]
fn a_backup_and_a_restore_are_recorded() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = place.path().join("backup");
    start(dir.path(), &[]).stop();
    ok(operate(dir.path(), &["backup", text(&file)]));
    let copy = place.path().join("salvaged");
    ok(operate(dir.path(), &["backup", text(&copy), "--salvage"]));
    let action = |record: &Value| record["action"].as_str().unwrap().to_owned();
    let actions: Vec<String> = log(dir.path(), &[]).iter().map(action).collect();
    assert_eq!(actions, ["backup", "backup --salvage"]);
    ok(operate(dir.path(), &["restore", text(&file), "--force"]));
    let records = log(dir.path(), &[]);
    assert_eq!(records.len(), 1, "the backup was made before its record");
    assert_eq!(action(&records[0]), "restore");
    assert!(records[0]["detail"].as_str().unwrap().contains(text(&file)));
    // It was done while no server ran, and is logged once.
    let program = start(dir.path(), &[]);
    program.wait_for_log("action=\"restore\"");
    program.stop();
    let program = start(dir.path(), &[]);
    let account = hex(program.create(b"x"));
    ok(operate(dir.path(), &["account", "disable", &account]));
    program.wait_for_log("account disable");
    assert!(!program.log().contains("restore"));
}

#[test]
fn a_store_of_an_older_version_is_served_by_commands_as_it_is() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = rusqlite::Connection::open(dir.path().join("passmate.db")).unwrap();
    for step in ["0001_accounts", "0002_invites", "0003_disabled"] {
        let path = format!(
            "{}/migrations/sqlite/{step}.sql",
            env!("CARGO_MANIFEST_DIR")
        );
        old.execute_batch(&std::fs::read_to_string(path).unwrap())
            .unwrap();
    }
    old.execute_batch("PRAGMA user_version = 3; PRAGMA application_id = 0x50615372;")
        .unwrap();
    drop(old);
    let schema = || {
        let store = rusqlite::Connection::open(dir.path().join("passmate.db")).unwrap();
        store
            .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let open = operate(
        dir.path(),
        &["invite", "open", "--seats", "1", "--for", "1h"],
    );
    let warning = String::from_utf8_lossy(&open.stderr).into_owned();
    assert!(warning.contains("will not show this"), "{warning}");
    ok(open);
    assert!(ok(operate(dir.path(), &["invite", "list"])).starts_with("open: 1 account"));
    failed(&operate(dir.path(), &["log"]), 24, "has schema 3");
    // A restore keeps the schema, so that the older version can go on with the store.
    let file = place.path().join("backup");
    ok(operate(dir.path(), &["backup", text(&file)]));
    ok(operate(dir.path(), &["verify", text(&file)]));
    let said = ok(operate(dir.path(), &["restore", text(&file), "--force"]));
    assert!(
        said.contains("until then the older version can use it"),
        "{said}"
    );
    ok(operate(dir.path(), &["account", "list"]));
    ok(operate(dir.path(), &["verify"]));
    assert_eq!(schema(), 3);
    start(dir.path(), &[]).stop();
    assert!(schema() > 3);
    assert!(log(dir.path(), &[]).is_empty());
}
