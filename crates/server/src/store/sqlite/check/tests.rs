use std::fs;
use std::path::Path;

use passmate_proto::AccountNumber;

use super::super::connection::PAGE_LEN;
use crate::files::with_suffix;
use crate::store::sqlite::{Sqlite, SqliteInspector};
use crate::store::{
    Admission, AuthHash, Btoken, Change, Engine, EngineError, Inspector, StoreError,
};

/// Makes a closed store with three accounts.
fn fill(path: &Path) {
    let mut engine = Sqlite::open(path).unwrap();
    let create = |byte: u8| Change::Create {
        account: AccountNumber::from_bytes([byte; 8]).unwrap(),
        auth: AuthHash([byte; 32]),
        btoken: Btoken::of(vec![byte; 5000]),
        accounts_max: 100,
        admission: Admission::Anyone,
        at: 5,
    };
    engine.commit(&[create(1), create(2), create(3)]).unwrap();
}

fn findings(store: &SqliteInspector) -> Vec<String> {
    let mut findings = Vec::new();
    store.check(&mut |finding| findings.push(finding)).unwrap();
    store
        .check_texts(&mut |finding| findings.push(finding))
        .unwrap();
    findings
}

#[track_caller]
fn check(damage: &str, part: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passmate.db");
    fill(&path);
    let store = SqliteInspector::open(&path).unwrap();
    assert_eq!(findings(&store), Vec::<String>::new());
    store.connection.execute_batch(damage).unwrap();
    let found = findings(&store);
    assert!(
        found.iter().any(|finding| finding.contains(part)),
        "{damage}: {found:?}"
    );
}

#[test]
fn every_kind_of_damage_is_found_and_named() {
    check(
        "UPDATE btoken SET content = zeroblob(5000) WHERE id = 2",
        "0202020202020202: its btoken does not match",
    );
    check(
        "UPDATE btoken SET content = zeroblob(4999) WHERE id = 2",
        "0202020202020202: its btoken does not have the stored length",
    );
    check(
        "PRAGMA foreign_keys = OFF; DELETE FROM btoken WHERE id = 2",
        "0202020202020202: its btoken is missing",
    );
    check(
        "UPDATE account SET note = CAST(x'41ff' AS TEXT) WHERE number = x'0202020202020202'",
        "1 rows of account have a damaged note",
    );
    check("UPDATE totals SET accounts = 4", "the stored totals");
    check("UPDATE totals SET btoken_bytes = 1", "the stored totals");
}

#[test]
fn a_flipped_bit_anywhere_is_harmless_or_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passmate.db");
    fill(&path);
    let whole = fs::read(&path).unwrap();
    // Only the btokens are long runs of one byte.
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
    // The whole header, the beginning of each page, and a sample of the rest.
    let is_tried = |place: &usize| place % PAGE_LEN < 120 || place.is_multiple_of(61);
    for place in (0..whole.len()).filter(is_tried) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(with_suffix(&path, suffix));
        }
        fs::write(&path, &flipped).unwrap();
        let mut findings = Vec::new();
        let checked = SqliteInspector::open(&path)
            .and_then(|store| store.check(&mut |finding| findings.push(finding)));
        match checked {
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
