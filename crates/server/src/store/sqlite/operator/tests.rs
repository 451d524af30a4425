use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::super::connection::PAGE_LEN;
use super::super::engine::Sqlite;
use super::*;
use sha2::Digest as _;

use crate::store::{Admission, Btoken, Change, Engine, operator_suite};

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("passmate.db")
}

/// A server's engine, and an operator beside it.
fn both(dir: &tempfile::TempDir) -> (Sqlite, SqliteOperator) {
    let engine = Sqlite::open(&path(dir)).unwrap();
    (engine, operator(dir))
}

fn operator(dir: &tempfile::TempDir) -> SqliteOperator {
    SqliteOperator::open(&path(dir), operator_suite::actor()).unwrap()
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

fn opening() -> Opening {
    Opening {
        seats: 1,
        made_at: 0,
        expires_at: 100,
    }
}

fn create(byte: u8, btoken: &[u8]) -> Change {
    Change::Create {
        account: AccountNumber::from_bytes([byte; 8]).unwrap(),
        auth: auth(byte),
        btoken: Btoken::of(btoken.to_vec()),
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
fn a_command_does_what_an_older_schema_allows_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(&dir);
    assert!(matches!(
        SqliteInspector::open(&path),
        Err(StoreError::Missing { .. })
    ));
    crate::store::make_first_schema(&path);
    let insert = "INSERT INTO btoken VALUES (1, x'00');
        INSERT INTO account VALUES (x'0101010101010101', zeroblob(32), zeroblob(32), 1, 1, 5, 6);
        UPDATE totals SET accounts = 1, btoken_bytes = 1;";
    let mut old = operator(&dir);
    old.inspector.connection.execute_batch(insert).unwrap();
    let account = old.look().accounts().unwrap().remove(0);
    assert_eq!((account.changed_at, account.is_disabled), (6, false));
    assert!(old.look().invites(0).unwrap().0.is_empty());
    assert!(matches!(
        old.set_access(account.number, Access::Disabled),
        Err(StoreError::OlderSchema {
            found: 1,
            needed: 3
        })
    ));
    assert!(matches!(
        old.look().audit(0),
        Err(StoreError::OlderSchema { .. })
    ));
    assert_eq!(old.unrecorded(), None);
    assert!(old.delete_account(account.number).unwrap());
    assert_eq!(old.unrecorded(), Some(Unrecorded::OlderSchema));
    assert_eq!(old.look().schema().unwrap(), 1);
}

#[test]
fn an_older_store_is_salvaged_with_its_schema() {
    let dir = tempfile::tempdir().unwrap();
    crate::store::make_first_schema(&path(&dir));
    let old = SqliteInspector::open(&path(&dir)).unwrap();
    let hash: [u8; 32] = sha2::Sha256::digest(b"whole").into();
    let insert = "INSERT INTO account VALUES (x'0101010101010101', zeroblob(32), ?1, 5, 1, 5, 6)";
    old.connection
        .execute("INSERT INTO btoken VALUES (1, CAST('whole' AS BLOB))", [])
        .unwrap();
    old.connection.execute(insert, [hash]).unwrap();
    let copy = dir.path().join("salvaged.db");
    old.salvage_to(&copy, &mut |lost| panic!("{lost}")).unwrap();
    let copy = SqliteInspector::open(&copy).unwrap();
    assert_eq!(copy.schema().unwrap(), 1);
    assert_eq!(copy.accounts().unwrap().len(), 1);
    copy.check(&mut |finding| panic!("{finding}")).unwrap();
}

#[test]
fn a_damaged_record_prevents_no_change() {
    let dir = tempfile::tempdir().unwrap();
    let (mut engine, mut operator) = both(&dir);
    operator.open_seats(opening()).unwrap();
    engine.commit(&[create(1, b"a")]).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'audit'";
    let page: u32 = one(&operator.inspector.connection, sql, []).unwrap();
    drop((engine, operator));
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(path(&dir))
        .unwrap();
    let place = u64::from(page - 1) * PAGE_LEN as u64;
    file.write_all_at(&[0xEE; PAGE_LEN], place).unwrap();
    let mut operator = self::operator(&dir);
    let number = AccountNumber::from_bytes([1; 8]).unwrap();
    assert!(operator.delete_account(number).unwrap());
    assert_eq!(operator.unrecorded(), Some(Unrecorded::Damaged));
    assert!(operator.look().account(number).unwrap().is_none());
}
