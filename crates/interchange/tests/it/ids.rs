//! Which record an item becomes, in one vault and on several devices.

use getrandom::SysRng;
use passmate_interchange::{ExportFormat, Format, Imported, Outcome, WriteOptions, write};
use passmate_vault::compat::Original;
use passmate_vault::format::container::Params;
use passmate_vault::history::undo::{Step, StepKind, UndoLog};
use passmate_vault::record::{Change, FieldKey, Stamp, Value};
use passmate_vault::{RecordId, Vault};
use rand_core::UnwrapErr;

use crate::{NOW, import_chrome, paths, put, secret, shown};

const ROWS: &str = "a,https://a,u,p1,\nb,https://b,u,p1,\n";
fn key_record() -> RecordId {
    RecordId::from("import")
}

fn vault_with(rows: &str) -> Vault {
    let mut vault = Vault::new();
    import_chrome(rows, &mut vault, NOW);
    vault
}

fn merged(one: &Vault, other: &Vault) -> Vault {
    let mut merged = one.clone();
    merged.merge(other);
    merged
}

/// The ids of the live records.
fn ids(vault: &Vault) -> Vec<RecordId> {
    let view = vault.view();
    let ids = view.records().iter().map(|record| record.id.clone());
    ids.collect()
}

/// The vault on a device that got the records without the import key.
fn without_key(vault: &Vault) -> Vault {
    let part = vault.part_for(Original::Passmate2);
    assert!(part.record(&key_record()).is_none());
    part
}

#[test]
fn a_number_in_two_tables_is_no_common_id() {
    let mut vault = Vault::new();
    for row in ["1,a,u,p", "1,b,u,p"] {
        let table = format!("uuid,name,user,password\n{row}\n");
        let format = Format::from_word("csv").unwrap();
        let options = passmate_interchange::ReadOptions::default();
        let imported = passmate_interchange::parse(format, table.as_bytes(), options).unwrap();
        put(&imported, &mut vault, format, NOW);
    }
    assert_eq!(paths(&vault), ["a", "b"]);
}

#[test]
fn two_vaults_get_different_ids_for_one_file() {
    let (one, other) = (vault_with(ROWS), vault_with(ROWS));
    assert_eq!(shown(&one), shown(&other));
    assert!(ids(&one).iter().all(|id| !ids(&other).contains(id)));
}

#[test]
fn a_synced_device_finds_the_records_and_gives_the_same_ids() {
    let mut one = vault_with(ROWS);
    let mut other = merged(&Vault::new(), &one);
    let before = other.clone();
    assert_eq!(import_chrome(ROWS, &mut other, NOW + 9).changes, 0);
    assert_eq!(other, before);
    let more = format!("{ROWS}c,https://c,u,p1,\n");
    for vault in [&mut one, &mut other] {
        let applied = import_chrome(&more, vault, NOW + 20);
        assert_eq!(applied.count(Outcome::Created), 1);
    }
    assert_eq!(one, other);
}

#[test]
fn records_are_found_under_every_key() {
    let (one, other) = (vault_with(ROWS), vault_with("b,https://b,u,p1,\n"));
    let mut vault = merged(&one, &other);
    assert_eq!(vault.view().records().len(), 3, "b was imported twice");
    let before = vault.clone();
    let applied = import_chrome(ROWS, &mut vault, NOW + 9);
    assert_eq!((applied.changes, applied.count(Outcome::Unchanged)), (0, 2));
    assert_eq!(vault, before);
    // A changed row reaches one record for each row.
    let applied = import_chrome(&ROWS.replace("p1", "p2"), &mut vault, NOW + 9);
    assert_eq!((applied.changes, applied.count(Outcome::Changed)), (2, 2));
}

#[test]
fn nobody_sees_the_import_key() {
    let vault = vault_with(ROWS);
    assert!(vault.record(&key_record()).is_some());
    assert_eq!(paths(&vault), ["a", "b"]);
    assert_eq!(vault.view().deleted().len(), 0);
    assert!(vault.resolution().is_empty());
    for program in [Original::Passmate2, Original::Desktop] {
        assert_eq!(vault.part_for(program).records().len(), 2);
    }
    let passphrase = secret("x");
    let options = WriteOptions {
        passphrase: &passphrase,
        params: Params::new(1, 1, 1).unwrap(),
    };
    for format in [
        ExportFormat::Passmate,
        ExportFormat::Passmate2,
        ExportFormat::Bitwarden,
        ExportFormat::Csv,
    ] {
        let written = write(format, &vault, options, &mut UnwrapErr(SysRng)).unwrap();
        assert_eq!(written.losses, [], "{format:?}");
    }
}

#[test]
fn an_import_is_undone_and_repeated_under_the_same_key() {
    let mut vault = vault_with(ROWS);
    let mut log = UndoLog::default();
    log.push(Step::between(StepKind::Import, NOW, &Vault::new(), &vault).unwrap());
    log.undo(&mut vault, NOW + 1).unwrap();
    assert_eq!(paths(&vault), [""; 0]);
    let applied = import_chrome(ROWS, &mut vault, NOW + 2);
    assert_eq!((applied.changes, applied.count(Outcome::Deleted)), (0, 2));
}

#[test]
fn an_imported_vault_does_not_bring_its_key() {
    let mut theirs = vault_with(ROWS);
    let imported = |vault: &Vault| Imported {
        vault: vault.clone(),
        ..Imported::default()
    };
    let mut vault = Vault::new();
    let applied = put(&imported(&theirs), &mut vault, Format::Passmate2, NOW);
    assert_eq!(applied.records.len(), 2);
    assert_eq!(applied.changes, vault.change_count());
    assert!(vault.record(&key_record()).is_none());
    assert_eq!(ids(&vault), ids(&theirs));
    // If another program gave a record this id, only the key is left out.
    let path = Change {
        key: FieldKey::path(),
        stamp: Stamp::from_seconds(NOW),
        value: Value::Text("mine".into()),
    };
    theirs.insert(&key_record(), path.clone());
    put(&imported(&theirs), &mut vault, Format::Passmate2, NOW);
    assert_eq!(paths(&vault), ["a", "b", "mine"]);
    assert_eq!(vault.record(&key_record()).unwrap().changes(), [path]);
    // It can hold a key all the same.
    let more = "c,https://c,u,p1,\n";
    import_chrome(more, &mut vault, NOW);
    assert_eq!(paths(&vault), ["a", "b", "c", "mine"]);
    assert_eq!(import_chrome(more, &mut vault, NOW).changes, 0);
}

#[test]
fn without_the_key_a_record_is_found_by_its_content() {
    let mut vault = without_key(&vault_with(&format!("{ROWS}b,https://c,u,p1,\n")));
    let rows = "b,https://c,u,p1,\nb,https://b,u,p1,\na,https://a,u,p1,\n";
    let before = vault.clone();
    let applied = import_chrome(rows, &mut vault, NOW + 9);
    assert_eq!((applied.changes, applied.count(Outcome::Unchanged)), (0, 3));
    assert_eq!(vault, before);
    // Edits, also on the other device, do not matter.
    let [a, b, c] = ids(&vault).try_into().unwrap();
    vault.set(&a, "password", "mine", NOW + 10).unwrap();
    vault.rename(&b, "elsewhere", NOW + 10).unwrap();
    vault.delete(&c, NOW + 10).unwrap();
    let before = vault.clone();
    let applied = import_chrome(rows, &mut vault, NOW + 11);
    assert_eq!((applied.changes, applied.count(Outcome::Deleted)), (0, 1));
    assert_eq!(vault, before);
}

#[test]
fn without_the_key_a_changed_item_becomes_another_record() {
    let mut vault = without_key(&vault_with(ROWS));
    let changed = ROWS.replace("a,u,p1", "a,u,p2");
    let applied = import_chrome(&changed, &mut vault, NOW + 9);
    assert_eq!(applied.count(Outcome::Created), 1);
    assert_eq!(paths(&vault), ["a", "a (u)", "b"]);
    for rows in [ROWS, &changed] {
        let applied = import_chrome(rows, &mut vault, NOW + 10);
        assert_eq!(applied.count(Outcome::Created), 0);
    }
}

#[test]
fn equal_items_are_found_by_their_content_one_by_one() {
    let rows = "a,https://a,u,p1,\n".repeat(3);
    let mut vault = without_key(&vault_with(&rows));
    assert_eq!(import_chrome(&rows, &mut vault, NOW + 9).changes, 0);
    let rows = "a,https://a,u,p1,\n".repeat(4);
    let applied = import_chrome(&rows, &mut vault, NOW + 9);
    assert_eq!(applied.count(Outcome::Created), 1);
    assert_eq!(import_chrome(&rows, &mut vault, NOW + 10).changes, 0);
}
