//! How far back a history goes, where a person cut it because it had become too long.
//!
//! A vault that keeps its history *since* a time has, for each field, every change after that time,
//! and of those before it the one that held then: what a password was when the history begins is
//! known, what it had been before is not. The rules are:
//!  - the time travels with the vault, and of two vaults that become one the later time counts. So
//!    a device that still has the whole history, and meets one that has not, ends with the same as
//!    everybody;
//!  - nothing that is seen goes, and nothing that the trash gives back: of a path the newest that
//!    was set stays too;
//!  - a change whose stamp never decides stays;
//!  - cutting commutes with the union, so a merge is commutative, associative and idempotent still.
//!
//! Whoever cuts keeps what goes somewhere else first: in here it is just gone.

use std::borrow::Cow;

use crate::record::{Change, Record, TIME_MAX, TIME_MIN, Vault};

impl Vault {
    /// The time, in seconds since 1970, since which the whole history is here; `None` if it was
    /// never cut.
    pub fn history_since(&self) -> Option<i64> {
        self.since
    }

    /// This vault with its history since a time, in seconds since 1970; one that begins later stays
    /// as it is.
    ///
    /// A time outside 1970..=9999 is taken for the nearest one inside.
    #[must_use]
    pub fn with_history_since(mut self, time: i64) -> Self {
        self.merge(&Self {
            since: Some(time.clamp(TIME_MIN, TIME_MAX)),
            ..Self::new()
        });
        self
    }

    /// The same changes, as a vault that nobody cut: for what is to be kept as it is, and for what
    /// comes from elsewhere and has no say in how far back a history goes.
    #[must_use]
    pub fn with_whole_history(self) -> Self {
        Self {
            since: None,
            ..self
        }
    }

    /// What of this vault stays when it and `other` become one.
    pub fn truncated_with(&self, other: &Self) -> Cow<'_, Self> {
        let Some(since) = self.since.max(other.since) else {
            return Cow::Borrowed(self);
        };
        let mut kept = self.clone();
        kept.truncate(since, other);
        Cow::Owned(kept)
    }

    /// Drops what does not stay when this vault and `other` become one with its history since then;
    /// gives the number of changes that went.
    pub(crate) fn truncate(&mut self, since: i64, other: &Self) -> usize {
        self.since = Some(since);
        let before = self.change_count();
        for (id, record) in &mut self.records {
            truncate_record(record, since, other.records.get(id));
        }
        before - self.change_count()
    }
}

fn truncate_record(record: &mut Record, since: i64, other: Option<&Record>) {
    // Of most records nothing goes, and so nothing is copied.
    let is_truncated = |field: &[Change]| {
        let bases = Bases::of(field, since, other);
        field.iter().any(|change| !bases.keep(change, since))
    };
    if !record.fields().any(is_truncated) {
        return;
    }
    let mut kept = Vec::with_capacity(record.changes.len());
    for field in record.fields() {
        let bases = Bases::of(field, since, other);
        kept.extend(
            field
                .iter()
                .filter(|change| bases.keep(change, since))
                .cloned(),
        );
    }
    record.changes = kept;
}

/// What of one field stays of the time before the history begins.
struct Bases<'a> {
    /// The change that held when it begins.
    newest: Option<&'a Change>,
    /// Of a path: the newest one by which the record was seen.
    newest_set: Option<&'a Change>,
}

impl<'a> Bases<'a> {
    /// Of a field's changes, here and in the other record.
    fn of(field: &'a [Change], since: i64, other: Option<&'a Record>) -> Self {
        let Some(first) = field.first() else {
            return Self {
                newest: None,
                newest_set: None,
            };
        };
        let theirs = other.map_or(&[][..], |other| {
            other.history(first.key.domain, &first.key.name)
        });
        let newest_where = |is_meant: &dyn Fn(&Change) -> bool| {
            let newest = |history: &'a [Change]| {
                history
                    .iter()
                    .rev()
                    .find(|change| is_before(change, since) && is_meant(change))
            };
            newest(field).max(newest(theirs))
        };
        let newest_set = if first.key.is_path() {
            newest_where(&|change| !change.value.shows_nothing())
        } else {
            None
        };
        Self {
            newest: newest_where(&|_| true),
            newest_set,
        }
    }

    fn keep(&self, change: &Change, since: i64) -> bool {
        !is_before(change, since) || self.newest == Some(change) || self.newest_set == Some(change)
    }
}

fn is_before(change: &Change, since: i64) -> bool {
    change
        .stamp
        .deciding_seconds()
        .is_some_and(|time| time <= since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{FieldKey, RecordId, Stamp, Value};

    fn id() -> RecordId {
        RecordId::from("A")
    }

    fn vault(values: &[(&str, i64)]) -> Vault {
        let mut vault = Vault::new();
        vault.create_record(id(), "old name", 100).unwrap();
        vault.rename(&id(), "name", 110).unwrap();
        for (value, time) in values {
            vault.set(&id(), "password", *value, *time).unwrap();
        }
        vault
    }

    fn history(vault: &Vault) -> Vec<String> {
        let changes = vault.record(&id()).unwrap().changes().iter();
        changes
            .filter_map(|change| Some(change.value.shown()?.to_string_lossy().into_owned()))
            .collect()
    }

    #[test]
    fn what_held_when_the_history_begins_stays_with_all_that_came_later() {
        let cut = vault(&[("one", 200), ("two", 300), ("three", 400), ("four", 500)])
            .with_history_since(350);
        assert_eq!(history(&cut), ["name", "two", "three", "four"]);
        assert_eq!(cut.history_since(), Some(350));
        let later = cut.clone().with_history_since(400);
        assert_eq!(history(&later), ["name", "three", "four"]);
        assert_eq!(
            later.clone().with_history_since(10),
            later,
            "it does not grow again"
        );
    }

    #[test]
    fn an_edit_after_the_cut_leaves_the_value_before_it() {
        let mut cut = vault(&[("one", 200), ("two", 300)]).with_history_since(1000);
        cut.set(&id(), "password", "three", 2000).unwrap();
        cut.merge(&cut.clone());
        assert_eq!(history(&cut), ["name", "two", "three"]);
    }

    #[test]
    fn a_deleted_record_can_be_brought_back_with_its_path_and_values() {
        let mut whole = vault(&[("one", 200), ("two", 300)]);
        whole.delete(&id(), 400).unwrap();
        let cut = whole.clone().with_history_since(1000);
        assert_eq!(history(&cut), ["name", "two"]);
        let paths = |vault: &Vault| {
            vault
                .view()
                .deleted()
                .iter()
                .map(|one| one.path.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(paths(&cut), paths(&whole));
    }

    #[test]
    fn a_change_that_never_decides_stays() {
        let mut whole = vault(&[("one", 200), ("two", 300)]);
        let key = FieldKey::user("password");
        let change = Change {
            key,
            stamp: Stamp::from_seconds(-5),
            value: Value::Text("odd".into()),
        };
        whole.insert(&id(), change);
        assert_eq!(
            history(&whole.with_history_since(1000)),
            ["name", "odd", "two"]
        );
    }

    #[test]
    fn a_vault_with_the_whole_history_ends_with_the_same_as_one_that_was_cut() {
        let whole = vault(&[("one", 200), ("two", 300), ("three", 400)]);
        let mut late = whole.clone();
        let (key, stamp) = (FieldKey::user("password"), Stamp::from_seconds(320));
        late.insert(
            &id(),
            Change {
                key,
                stamp,
                value: Value::Text("late".into()),
            },
        );
        let cut = whole.with_history_since(350);
        let (mut ours, mut theirs) = (late.clone(), cut.clone());
        let summary = ours.merge(&cut);
        assert_eq!(
            (summary.received, summary.dropped),
            (0, 3),
            "the old name, one and two"
        );
        let summary = theirs.merge(&late);
        assert_eq!(
            (summary.received, summary.dropped),
            (1, 3),
            "two gave way to late"
        );
        assert_eq!(ours, theirs);
        assert_eq!(late.truncated_with(&cut).missing_from(&cut), 1);
        assert!(cut.truncated_with(&late).missing_from(&late) == 0);
    }
}
