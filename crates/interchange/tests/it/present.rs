//! Stamps from the future in an imported file.

use passmate_interchange::{Format, Imported, Outcome};
use passmate_vault::record::{Change, Domain, FieldKey, Stamp, TIME_MAX, Value, is_ahead};
use passmate_vault::{RecordId, Vault};

use crate::{NOW, import, put, shown};

fn id() -> RecordId {
    RecordId::from("A")
}

fn insert(vault: &mut Vault, key: FieldKey, value: Value, seconds: i64) {
    let change = Change {
        key,
        stamp: Stamp::from_seconds(seconds),
        value,
    };
    vault.insert(&id(), change);
}

/// A vault with one record and these values of a field.
fn file(values: &[(&str, i64)]) -> Vault {
    let mut vault = Vault::new();
    insert(&mut vault, FieldKey::path(), text("mail"), 1000);
    for (value, seconds) in values {
        insert(&mut vault, FieldKey::user("f"), text(value), *seconds);
    }
    vault
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// Imports the vault of a file twice; returns the number of clamped changes.
#[track_caller]
fn bring_in(file: &Vault, vault: &mut Vault, now: i64) -> usize {
    let imported = Imported {
        vault: file.clone(),
        ..Imported::default()
    };
    let first = put(&imported, vault, Format::Passmate2, now);
    let before = vault.clone();
    let again = put(&imported, vault, Format::Passmate2, now + 100);
    assert_eq!((again.changes, again.clamped), (0, 0));
    assert_eq!(
        again.count(Outcome::Unchanged) + again.count(Outcome::Deleted),
        1
    );
    assert_eq!(*vault, before);
    first.clamped
}

/// The values and stamps of the field, where a stamp counts from `NOW`.
fn history(vault: &Vault) -> Vec<(String, i64)> {
    let record = vault.record(&id()).unwrap();
    let history = record.history(Domain::User, &"f".into());
    let since_now = |change: &Change| change.stamp.seconds().unwrap() - NOW;
    history
        .iter()
        .map(|change| {
            (
                change.value.shown().unwrap().to_string_lossy().into_owned(),
                since_now(change),
            )
        })
        .collect()
}

#[track_caller]
fn check_history(vault: &Vault, expected: &[(&str, i64)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(v, s)| ((*v).to_owned(), *s))
        .collect();
    assert_eq!(history(vault), expected);
}

#[test]
fn an_edit_wins_over_changes_from_the_year_9999() {
    let mut vault = Vault::new();
    let file = file(&[("a", NOW - 9), ("z", TIME_MAX - 1), ("b", TIME_MAX)]);
    assert_eq!(bring_in(&file, &mut vault, NOW), 2);
    check_history(&vault, &[("a", -9), ("z", 0), ("b", 1)]);
    assert_eq!(vault.set(&id(), "f", "mine", NOW + 5), Ok(NOW + 5));
    assert_eq!(shown(&vault), "mail\n  f: \"mine\"\n");
    // The file does not undo it, and brings only what is new in it.
    assert_eq!(bring_in(&file, &mut vault, NOW + 10), 0);
    let mut newer = file;
    insert(&mut newer, FieldKey::user("g"), text("new"), TIME_MAX);
    assert_eq!(bring_in(&newer, &mut vault, NOW + 20), 1);
    assert_eq!(shown(&vault), "mail\n  f: \"mine\"\n  g: \"new\"\n");
}

#[test]
fn a_deletion_from_the_future_can_be_undone() {
    let mut file = file(&[("a", TIME_MAX - 5), ("b", TIME_MAX - 4)]);
    insert(&mut file, FieldKey::path(), Value::Absent, TIME_MAX);
    let mut vault = Vault::new();
    assert_eq!(bring_in(&file, &mut vault, NOW), 3);
    assert_eq!(shown(&vault), "", "the deletion is still the newest change");
    assert_eq!(vault.rename(&id(), "mail", NOW + 9), Ok(NOW + 9));
    assert_eq!(bring_in(&file, &mut vault, NOW + 10), 0);
    assert_eq!(shown(&vault), "mail\n  f: \"b\"\n");
}

#[test]
fn a_value_that_the_field_had_is_not_added_again() {
    let mut vault = file(&[("a", NOW - 9), ("b", NOW - 8)]);
    assert_eq!(bring_in(&file(&[("a", TIME_MAX)]), &mut vault, NOW), 0);
    check_history(&vault, &[("a", -9), ("b", -8)]);
    // After a new value it was set once more.
    let values = [("a", TIME_MAX - 2), ("c", TIME_MAX - 1), ("b", TIME_MAX)];
    assert_eq!(bring_in(&file(&values), &mut vault, NOW), 2);
    check_history(&vault, &[("a", -9), ("b", -8), ("c", 0), ("b", 1)]);
}

#[test]
fn a_present_stamp_is_unused_and_newer_than_the_other_changes() {
    let mut vault = file(&[("z", NOW)]);
    let values = [("y", NOW + 7), ("x", TIME_MAX - 1), ("w", TIME_MAX)];
    assert_eq!(bring_in(&file(&values), &mut vault, NOW), 2);
    check_history(&vault, &[("z", 0), ("y", 7), ("x", 8), ("w", 9)]);
}

#[test]
fn a_change_that_was_purged_does_not_come_back_from_the_future() {
    let mut vault = file(&[("a", NOW - 9), ("b", TIME_MAX)]);
    let is_b = |change: &Change| change.value == text("b");
    vault.purge(&id(), is_b, NOW).unwrap();
    let before = vault.clone();
    assert_eq!(bring_in(&file(&[("b", TIME_MAX)]), &mut vault, NOW), 0);
    assert_eq!(vault, before);
}

#[test]
fn stamps_that_are_not_from_the_future_stay() {
    let mut vault = Vault::new();
    let mut file = file(&[("a", NOW + 24 * 3600), ("b", TIME_MAX + 1)]);
    insert(&mut file, FieldKey::user("f"), Value::Purged, TIME_MAX);
    assert_eq!(bring_in(&file, &mut vault, NOW), 0);
    assert_eq!(vault, file);
}

#[test]
fn many_changes_from_the_future_are_not_far_ahead() {
    let values: Vec<_> = (0..100_000)
        .map(|n| (n.to_string(), TIME_MAX - 100_000 + n))
        .collect();
    let values: Vec<_> = values
        .iter()
        .map(|(value, seconds)| (value.as_str(), *seconds))
        .collect();
    let mut vault = Vault::new();
    assert_eq!(bring_in(&file(&values), &mut vault, NOW), 100_000);
    assert_eq!(vault.change_count(), 100_001);
    let changes = vault.record(&id()).unwrap().changes();
    let mut seconds = changes.iter().filter_map(|change| change.stamp.seconds());
    assert!(seconds.all(|seconds| !is_ahead(seconds, NOW)));
    assert_eq!(shown(&vault), "mail\n  f: \"99999\"\n");
}

#[test]
fn items_from_the_future_are_counted() {
    let item = |id, date| {
        format!(r#"{{"id":"{id}","type":1,"name":"{id}","revisionDate":"{date}","login":{{}}}}"#)
    };
    let (future, past) = (
        item("x", "9000-01-01T00:00:00Z"),
        item("y", "2020-01-01T00:00:00Z"),
    );
    let file = format!(r#"{{"encrypted":false,"items":[{future},{past}]}}"#);
    let mut vault = Vault::new();
    let mut clamped = || import(Format::Bitwarden, file.as_bytes(), None, &mut vault, NOW).clamped;
    assert_eq!((clamped(), clamped()), (1, 0));
}
