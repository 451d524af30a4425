use std::path::Path;

use passmate_proto::AccountNumber;
use rusqlite::Connection;

use super::super::connection::PAGE_LEN;
use super::super::schema::schema_newest;
use super::super::sql::one;
use crate::store::sqlite::{Sqlite, SqliteInspector};
use crate::store::{Admission, AuthHash, Btoken, Change, Engine, Inspector, Sum};

fn number(byte: u8) -> AccountNumber {
    AccountNumber::from_bytes([byte; 8]).unwrap()
}

fn create(byte: u8) -> Change {
    Change::Create {
        account: number(byte),
        auth: AuthHash([byte; 32]),
        btoken: Btoken::of(vec![byte; 5000]),
        accounts_max: 100,
        admission: Admission::Anyone,
        at: 5,
    }
}

/// The copy of the accounts that are whole, and what is not in it.
fn salvaged(store: &SqliteInspector, path: &Path) -> (SqliteInspector, Vec<String>) {
    let mut lost = Vec::new();
    store.salvage_to(path, &mut |what| lost.push(what)).unwrap();
    let copied = SqliteInspector::open(path).unwrap();
    copied.check(&mut |finding| panic!("{finding}")).unwrap();
    (copied, lost)
}

#[test]
fn an_account_that_no_store_may_hold_is_not_salvaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passmate.db");
    let mut engine = Sqlite::open(&path).unwrap();
    engine.commit(&[create(1), create(2), create(3)]).unwrap();
    let flipped = "PRAGMA ignore_check_constraints = ON;
        UPDATE account SET disabled = 4 WHERE number = x'0202020202020202';
        INSERT INTO opening (seats, made_at, expires_at) VALUES (-1, 5, 5), (3, 5, 5);";
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(flipped).unwrap();
    let store = SqliteInspector::open(&path).unwrap();
    let (copied, lost) = salvaged(&store, &dir.path().join("copy.db"));
    assert_eq!(copied.sum().unwrap().accounts, 2);
    assert_eq!(copied.invites(0).unwrap().1.len(), 1);
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(
        lost[0].starts_with("account 0202020202020202 is not one: CHECK"),
        "{lost:?}"
    );
    assert!(
        lost[1].starts_with("a part of the table opening"),
        "{lost:?}"
    );
}

#[test]
fn a_changed_byte_of_a_note_hides_no_account() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passmate.db");
    let mut engine = Sqlite::open(&path).unwrap();
    engine.commit(&[create(1), create(2)]).unwrap();
    let flipped = "UPDATE account SET note = CAST(x'41ff' AS TEXT)
        WHERE number = x'0101010101010101'";
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(flipped).unwrap();
    let store = SqliteInspector::open(&path).unwrap();
    let (copied, lost) = salvaged(&store, &dir.path().join("copy.db"));
    assert_eq!(lost, Vec::<String>::new());
    for store in [store, copied] {
        let notes = store.accounts().unwrap().into_iter();
        let notes: Vec<String> = notes.map(|account| account.note).collect();
        assert_eq!(notes, ["A\u{fffd}", ""]);
    }
}

#[test]
fn a_copy_is_the_store_at_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passmate.db");
    let mut engine = Sqlite::open(&path).unwrap();
    engine.commit(&[create(1), create(2), create(3)]).unwrap();
    let store = SqliteInspector::open(&path).unwrap();
    let copy = dir.path().join("copy.db");
    store.copy_to(&copy).unwrap();
    let delete = Change::Delete {
        account: number(1),
        auth: AuthHash([1; 32]),
    };
    engine.commit(&[delete]).unwrap();

    let copied = SqliteInspector::open(&copy).unwrap();
    let sum = Sum {
        accounts: 3,
        btoken_bytes: 15_000,
    };
    assert_eq!(copied.sum().unwrap(), sum);
    assert_eq!(copied.schema().unwrap(), schema_newest());
    copied.check(&mut |finding| panic!("{finding}")).unwrap();
    assert_eq!(store.sum().unwrap().accounts, 2);
    assert!(store.copy_to(&copy).is_err(), "the file exists already");
}

#[test]
fn an_earlier_store_keeps_its_pages_and_its_copy_has_longer_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("passmate.db"), dir.path().join("copy.db"));
    Connection::open(&path)
        .unwrap()
        .execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL;")
        .unwrap();
    let mut engine = Sqlite::open(&path).unwrap();
    engine.commit(&[create(1)]).unwrap();
    let store = SqliteInspector::open(&path).unwrap();
    store.copy_to(&copy).unwrap();
    let page_len = |path: &Path| -> usize {
        let connection = Connection::open(path).unwrap();
        let len: i64 = one(&connection, "PRAGMA page_size", []).unwrap();
        usize::try_from(len).unwrap()
    };
    assert_eq!((page_len(&path), page_len(&copy)), (4096, PAGE_LEN));
}
