//! The earlier values of a field become its history.
//!
//! The rules are:
//!  - they are older than the newest value of the field, whatever the source says, so they are
//!    never seen as the present one;
//!  - their order is that of the times in the source, and no two have the same stamp;
//!  - a value that the field had at any time is not added again;
//!  - a field of which something was purged gets none, because it may be what was purged.

use std::collections::{BTreeMap, BTreeSet};

use passmate_vault::record::{Change, Domain, FieldKey, PATH, Record, Stamp, TIME_MIN, Value};
use passmate_vault::{RecordId, Text, Vault};

use super::newest_purged;
use crate::read::item::{Earlier, Item};

/// Adds the earlier values of an item to the history of its record.
pub(super) fn add(vault: &mut Vault, id: &RecordId, item: &Item) {
    add_all(vault, id, item.earlier.iter());
}

/// Adds earlier values to the history of a record.
pub(super) fn add_all<'e>(
    vault: &mut Vault,
    id: &RecordId,
    all: impl Iterator<Item = &'e Earlier>,
) {
    let mut by_field: BTreeMap<&str, Vec<&Earlier>> = BTreeMap::new();
    for earlier in all {
        by_field.entry(&earlier.name).or_default().push(earlier);
    }
    for (name, mut earlier) in by_field {
        // What has no time is older than what has one.
        earlier.sort_by_key(|earlier| earlier.since);
        let changes = vault
            .record(id)
            .map(|record| changes(record, name, &earlier));
        for change in changes.unwrap_or_default() {
            vault.insert(id, change);
        }
    }
}

/// The changes that a field lacks. `earlier` has the oldest first.
fn changes(record: &Record, name: &str, earlier: &[&Earlier]) -> Vec<Change> {
    if newest_purged(record, name).is_some() {
        return Vec::new();
    }
    let key = FieldKey::user(Text::from(name));
    let history = record.history(Domain::User, &key.name);
    let mut had: BTreeSet<String> = history
        .iter()
        .filter_map(|change| Some(change.value.shown()?.as_str()?.to_owned()))
        .collect();
    let mut used: BTreeSet<i64> = seconds(history).collect();
    let mut changes = Vec::new();
    let change = |seconds, value| Change {
        key: key.clone(),
        stamp: Stamp::from_seconds(seconds),
        value,
    };
    let mut before = used.last().copied().unwrap_or_else(|| {
        // The field has no value now: it was unset when the record was written.
        let written = seconds(record.history(Domain::Meta, &Text::from(PATH))).max();
        written.unwrap_or(TIME_MIN)
    });
    let had_nothing = used.is_empty();
    let absent = change(before, Value::Absent);
    for earlier in earlier.iter().rev() {
        let since = earlier.since.filter(|since| *since >= TIME_MIN);
        let wanted = since.unwrap_or(i64::MAX).min(before - 1);
        let unused = (TIME_MIN..=wanted).rev().find(|time| !used.contains(time));
        // Before the first second there is no room, which takes a record from 1970.
        let Some(seconds) = unused else { continue };
        before = before.min(seconds);
        if had.insert(earlier.value.to_string()) {
            used.insert(seconds);
            let value = Value::Text(Text::from(earlier.value.as_str()));
            changes.push(change(seconds, value));
        }
    }
    if had_nothing && !changes.is_empty() {
        changes.push(absent);
    }
    changes
}

fn seconds(history: &[Change]) -> impl Iterator<Item = i64> {
    history
        .iter()
        .filter_map(|change| change.stamp.deciding_seconds())
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn item(earlier: &[(&str, &str, Option<i64>)]) -> Item {
        let earlier = earlier.iter().map(|(name, value, since)| Earlier {
            name: (*name).to_owned(),
            value: Zeroizing::new((*value).to_owned()),
            since: *since,
        });
        Item {
            source_id: String::new(),
            path: "x".to_owned(),
            fields: Vec::new(),
            earlier: earlier.collect(),
            modified: None,
        }
    }

    /// A record that got the path and the password at 1000.
    fn vault() -> Vault {
        let mut vault = Vault::new();
        vault.create_record("A".into(), "x", 1000).unwrap();
        vault.set(&"A".into(), "password", "now", 1000).unwrap();
        vault
    }

    /// The values of a field, `-` for absent ones, with their stamps.
    fn history(vault: &Vault, name: &str) -> Vec<(String, i64)> {
        let record = vault.record(&"A".into()).unwrap();
        let changes = record.history(Domain::User, &Text::from(name)).iter();
        let shown = |change: &Change| {
            let text = change.value.shown();
            let text = text.map_or("-".into(), |text| text.to_string_lossy().into_owned());
            (text, change.stamp.deciding_seconds().unwrap())
        };
        changes.map(shown).collect()
    }

    #[track_caller]
    fn check(vault: &Vault, name: &str, expected: &[(&str, i64)]) {
        let history = history(vault, name);
        let history: Vec<_> = history
            .iter()
            .map(|(value, seconds)| (value.as_str(), *seconds))
            .collect();
        assert_eq!(history, expected);
    }

    #[test]
    fn earlier_values_are_older_than_the_present_one_and_keep_their_order() {
        let mut vault = vault();
        let item = item(&[
            ("password", "c", Some(900)),
            ("password", "a", None),
            ("password", "now", Some(100)),
            ("password", "e", Some(5000)),
            ("password", "b", Some(800)),
            ("password", "d", Some(900)),
            ("password", "f", Some(-7)),
        ]);
        add(&mut vault, &"A".into(), &item);
        let expected = [
            ("a", 98),
            ("f", 99),
            ("b", 800),
            ("c", 899),
            ("d", 900),
            ("e", 999),
            ("now", 1000),
        ];
        check(&vault, "password", &expected);
        let before = vault.clone();
        add(&mut vault, &"A".into(), &item);
        assert_eq!(vault, before);
    }

    #[test]
    fn a_field_that_has_no_value_now_has_none() {
        let mut vault = vault();
        add(&mut vault, &"A".into(), &item(&[("pin", "1", Some(10))]));
        check(&vault, "pin", &[("1", 10), ("-", 1000)]);
        let view = vault.view();
        assert!(view.get("x").unwrap().field(&"pin".into()).is_none());
    }

    #[test]
    fn a_later_file_adds_what_is_new_between_the_values_that_are_known() {
        let mut vault = vault();
        add(
            &mut vault,
            &"A".into(),
            &item(&[("password", "a", Some(10))]),
        );
        vault.set(&"A".into(), "password", "newest", 3000).unwrap();
        let values = [("password", "a", Some(10)), ("password", "b", Some(2000))];
        add(&mut vault, &"A".into(), &item(&values));
        let expected = [("a", 10), ("now", 1000), ("b", 2000), ("newest", 3000)];
        check(&vault, "password", &expected);
    }

    #[test]
    fn nothing_comes_back_into_a_field_whose_history_was_purged() {
        let mut vault = vault();
        let values = item(&[("password", "a", Some(10)), ("password", "b", Some(20))]);
        add(&mut vault, &"A".into(), &values);
        let is_a = |change: &Change| change.stamp == Stamp::from_seconds(10);
        vault.purge(&"A".into(), is_a, 2000).unwrap();
        let before = vault.clone();
        add(&mut vault, &"A".into(), &values);
        add(
            &mut vault,
            &"A".into(),
            &item(&[("password", "c", Some(30))]),
        );
        assert_eq!(vault, before);
    }

    #[test]
    fn a_record_of_1970_has_no_room_for_more() {
        let mut vault = Vault::new();
        vault.create_record("A".into(), "x", 2).unwrap();
        vault.set(&"A".into(), "pin", "now", 2).unwrap();
        let values = item(&[("pin", "a", Some(0)), ("pin", "b", Some(9))]);
        add(&mut vault, &"A".into(), &values);
        check(&vault, "pin", &[("b", 1), ("now", 2)]);
    }
}
