use passmate_proto::{AccountNumber, AuthToken};

use super::super::schema::schema_newest;
use super::*;
use crate::store::{Admission, Btoken, Change, Engine, EngineError, Sqlite};

fn number(byte: u8) -> AccountNumber {
    AccountNumber::from_bytes([byte; 8]).unwrap()
}

fn foreign(byte: u8, btoken: &[u8]) -> ForeignAccount {
    ForeignAccount {
        number: number(byte),
        auth_token: AuthToken::new([byte; 32]),
        btoken: btoken.to_vec(),
        at: 7,
    }
}

fn filled(path: &Path) -> Sqlite {
    let mut engine = Sqlite::open(path).unwrap();
    let create = |byte: u8| Change::Create {
        account: number(byte),
        auth: AuthHash([byte; 32]),
        btoken: Btoken::new(vec![byte; 5000]),
        accounts_max: 100,
        admission: Admission::Anyone,
        at: 5,
    };
    engine.commit(&[create(1), create(2), create(3)]).unwrap();
    engine
}

fn findings(store: &AdminStore) -> Vec<String> {
    let mut findings = Vec::new();
    store.check(&mut |finding| findings.push(finding)).unwrap();
    findings
}

#[test]
fn a_copy_is_the_store_at_one_moment_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passmate.db");
    let mut engine = filled(&path);
    let store = AdminStore::open(&path).unwrap();
    let copy = dir.path().join("copy.db");
    store.copy_to(&copy).unwrap();
    engine
        .commit(&[Change::Delete {
            account: number(1),
            auth: AuthHash([1; 32]),
        }])
        .unwrap();
    let copied = AdminStore::open(&copy).unwrap();
    assert_eq!(
        copied.sum().unwrap(),
        Sum {
            accounts: 3,
            btoken_bytes: 15_000
        }
    );
    assert_eq!(
        (findings(&copied), copied.schema().unwrap()),
        (vec![], schema_newest())
    );
    assert_eq!(store.sum().unwrap().accounts, 2);
    assert!(store.copy_to(&copy).is_err(), "it is there already");
}

#[test]
fn every_kind_of_damage_is_found_and_named() {
    for (sql, part) in [
        (
            "UPDATE btoken SET content = zeroblob(5000) WHERE id = 2",
            "0202020202020202: its btoken is not what",
        ),
        (
            "UPDATE btoken SET content = zeroblob(4999) WHERE id = 2",
            "0202020202020202: its btoken has another length",
        ),
        (
            "PRAGMA foreign_keys = OFF; DELETE FROM btoken WHERE id = 2",
            "0202020202020202: its btoken is gone",
        ),
        ("UPDATE totals SET accounts = 4", "the sums"),
        ("UPDATE totals SET btoken_bytes = 1", "the sums"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passmate.db");
        drop(filled(&path));
        let store = AdminStore::open(&path).unwrap();
        assert_eq!(findings(&store), Vec::<String>::new());
        store.connection().execute_batch(sql).unwrap();
        let found = findings(&store);
        assert!(
            found.iter().any(|finding| finding.contains(part)),
            "{sql}: {found:?}"
        );
    }
}

#[test]
fn a_flipped_bit_anywhere_is_harmless_or_found_and_never_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passmate.db");
    drop(filled(&path));
    let whole = fs::read(&path).unwrap();
    // The btokens are long runs of one byte; nothing else is.
    let is_btoken = |place: usize| {
        let around = whole
            .get(place.saturating_sub(64)..place + 64)
            .unwrap_or_default();
        around
            .iter()
            .all(|byte| *byte == whole[place] && (1..=3).contains(byte))
            && !around.is_empty()
    };
    let mut of_btokens = 0;
    // All of the header and of what a page begins with, and a byte here and there.
    let in_head = |place: &usize| place % 4096 < 120 || place.is_multiple_of(37);
    for place in (0..whole.len()).filter(in_head) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(with_suffix(&path, suffix));
        }
        fs::write(&path, &flipped).unwrap();
        let mut findings = Vec::new();
        let looked = AdminStore::open(&path)
            .and_then(|store| store.check(&mut |finding| findings.push(finding)));
        match looked {
            Ok(_) if findings.is_empty() => assert!(!is_btoken(place), "byte {place}"),
            Ok(_)
            | Err(StoreError::Engine(EngineError::Damaged(_)) | StoreError::NotOurs { .. }) => {
                of_btokens += usize::from(is_btoken(place));
            }
            // The number of the schema.
            Err(StoreError::NewerSchema { .. }) if (60..64).contains(&place) => {}
            Err(error) => panic!("byte {place}: {error}"),
        }
    }
    assert!(of_btokens > 200, "{of_btokens}");
}

#[test]
fn an_account_of_another_server_is_taken_over_once_and_touches_none_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passmate.db");
    let engine = filled(&path);
    let mut store = AdminStore::open(&path).unwrap();
    let all = [foreign(1, b"other"), foreign(4, b"new"), foreign(5, b"")];
    assert_eq!(store.take_over(&all).unwrap(), [false, true, true]);
    assert_eq!(store.take_over(&all).unwrap(), [false; 3]);
    assert_eq!(findings(&store), Vec::<String>::new());
    use crate::store::Reader;
    let mut reader = engine.reader().unwrap();
    assert_eq!(&*reader.read(number(1)).unwrap().unwrap().btoken, [1; 5000]);
    assert_eq!(&*reader.read(number(4)).unwrap().unwrap().btoken, b"new");
    assert!(
        reader
            .read_head(&[4; 8])
            .unwrap()
            .unwrap()
            .auth
            .ct_eq(&AuthHash::of(&AuthToken::new([4; 32])))
    );
}
