use std::path::PathBuf;

use super::super::lock::{lock_file, lock_path};
use super::*;
use crate::store::{Admission, Btoken, Change, Engine, operator_suite};

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("passmate.db")
}

/// A server's engine, and an operator beside it.
fn both(dir: &tempfile::TempDir) -> (Sqlite, SqliteOperator) {
    let engine = Sqlite::open(&path(dir)).unwrap();
    (engine, SqliteOperator::open(&path(dir)).unwrap())
}

fn auth(byte: u8) -> AuthHash {
    AuthHash([byte; 32])
}

fn invite(byte: u8) -> Invite {
    Invite {
        auth: auth(byte),
        note: "Ada's phone".to_owned(),
        made_at: 0,
        expires_at: 100,
    }
}

fn create(byte: u8, btoken: &[u8]) -> Change {
    Change::Create {
        account: AccountNumber::from_bytes([byte; 8]).unwrap(),
        auth: auth(byte),
        btoken: Btoken::new(btoken.to_vec()),
        accounts_max: 100,
        admission: Admission::Invited,
        at: 5,
    }
}

fn is_in_a_file(dir: &tempfile::TempDir, wanted: &[u8]) -> bool {
    std::fs::read_dir(dir.path()).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(wanted.len()).any(|part| part == wanted)
    })
}

#[test]
fn it_passes_the_operator_suite() {
    let dirs = std::cell::RefCell::new(Vec::new());
    operator_suite::check(|| {
        let dir = tempfile::tempdir().unwrap();
        let both = both(&dir);
        dirs.borrow_mut().push(dir);
        both
    });
}

#[test]
fn the_note_of_a_used_invite_is_in_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (mut engine, mut operator) = both(&dir);
    operator.invite(&invite(1)).unwrap();
    assert!(is_in_a_file(&dir, b"Ada's phone"));
    engine.commit(&[create(1, b"a")]).unwrap();
    engine.tidy().unwrap();
    assert!(!is_in_a_file(&dir, b"Ada's phone"));
}

#[test]
fn the_btoken_of_a_deleted_account_is_in_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (mut engine, mut operator) = both(&dir);
    operator.invite(&invite(1)).unwrap();
    let sealed = b"sealed in this way and no other".repeat(200);
    engine.commit(&[create(1, &sealed)]).unwrap();
    assert!(is_in_a_file(&dir, b"sealed in this way"));
    let number = AccountNumber::from_bytes([1; 8]).unwrap();
    assert!(operator.delete_account(number).unwrap());
    assert!(!is_in_a_file(&dir, b"sealed in this way"));
}

#[test]
fn the_first_schema_is_upgraded_unless_a_server_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(&dir);
    assert!(matches!(
        SqliteOperator::open(&path),
        Err(StoreError::Missing { .. })
    ));
    crate::store::make_first_schema(&path);
    let server = lock_file(lock_path(&path)).unwrap();
    assert!(matches!(
        SqliteOperator::open(&path),
        Err(StoreError::OlderServer { .. })
    ));
    drop(server);
    let mut operator = SqliteOperator::open(&path).unwrap();
    operator.invite(&invite(1)).unwrap();
    assert_eq!(operator.invites(5).unwrap().0.len(), 1);
}
