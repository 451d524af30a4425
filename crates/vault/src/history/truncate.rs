//! Truncates a history that has become too long.
//!
//! A vault with its history *since* a time has, for each field, every change after that time and
//! the one change before it that was in effect then. The value of a password when the history
//! begins is known; the values that it had before are not. The rules are:
//!  - the vault carries the time with it. When two vaults merge, the later time counts. So all
//!    devices end with the same history, even if one of them had the whole history before;
//!  - truncating changes nothing that people see, and a deleted record can still be restored: the
//!    newest path that was set stays too;
//!  - a change whose stamp never decides stays;
//!  - a purged change counts as a change: it may be the one that was in effect;
//!  - truncating commutes with the union, so a merge stays commutative, associative and idempotent.
//!
//! The dropped changes are gone. The caller must save them elsewhere first.

use std::borrow::Cow;

use crate::record::{Change, Record, TIME_MAX, TIME_MIN, Vault};

impl Vault {
    /// The time at which the history begins, in seconds since 1970; `None` if it was never
    /// truncated.
    pub fn history_since(&self) -> Option<i64> {
        self.since
    }

    /// Truncates the history to the changes since a time, in seconds since 1970. A history that
    /// begins later stays as it is.
    ///
    /// A time outside 1970..=9999 counts as the nearest time inside.
    #[must_use]
    pub fn with_history_since(mut self, time: i64) -> Self {
        self.merge(&Self {
            since: Some(time.clamp(TIME_MIN, TIME_MAX)),
            ..Self::new()
        });
        self
    }

    /// The same changes in a vault that counts as never truncated. For copies that must stay as
    /// they are, and for imports, which must not truncate the vault into which they are merged.
    #[must_use]
    pub fn with_whole_history(self) -> Self {
        Self {
            since: None,
            ..self
        }
    }

    /// The part of this vault that stays when it is merged with `other`.
    pub fn truncated_with(&self, other: &Self) -> Cow<'_, Self> {
        let Some(since) = self.since.max(other.since) else {
            return Cow::Borrowed(self);
        };
        let mut kept = self.clone();
        kept.truncate(since, other);
        Cow::Owned(kept)
    }

    /// A vault without records whose history begins when this one's does.
    #[must_use]
    pub fn start_alone(&self) -> Self {
        Self {
            since: self.since,
            ..Self::new()
        }
    }

    /// Drops the changes that do not stay when this vault is merged with `other` and the history
    /// begins at `since`. Returns the number of dropped changes.
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
    // Most records lose no change, so nothing is copied.
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

/// The changes of one field that stay although they are older than the history.
struct Bases<'a> {
    /// The change that was in effect when the history begins.
    newest: Option<&'a Change>,
    /// For a path: the newest change that set it.
    newest_set: Option<&'a Change>,
}

impl<'a> Bases<'a> {
    /// Finds them among the changes of a field, here and in the other record.
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
            // A purged path counts as set, so that it does not matter whether a device truncated
            // the history before it learned of the purge.
            newest_where(&|change| change.is_purged() || !change.value.shows_nothing())
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
    fn the_value_in_effect_and_all_later_changes_stay() {
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
    fn an_edit_after_truncation_keeps_the_value_before_it() {
        let mut cut = vault(&[("one", 200), ("two", 300)]).with_history_since(1000);
        cut.set(&id(), "password", "three", 2000).unwrap();
        cut.merge(&cut.clone());
        assert_eq!(history(&cut), ["name", "two", "three"]);
    }

    #[test]
    fn a_deleted_record_can_be_restored_after_truncation() {
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
    fn a_whole_history_that_meets_a_truncated_one_is_truncated() {
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
