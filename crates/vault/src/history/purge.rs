//! Purges changes: their values are gone, on every device and in the btoken.
//!
//! A purge leaves an empty change ([`Value::Purged`]) in the place of all changes of one field with
//! one stamp. It merges like the rest of the vault, so a purge may reach a device before the change
//! that it purges. The rules are:
//!  - a purged change decides nothing, whatever its stamp is, and it never comes back;
//!  - what people see after a purge is written anew, so that it does not depend on changes that a
//!    device may have truncated;
//!  - of a value, a purge keeps neither the text nor a hash, which could be guessed.

use std::collections::BTreeSet;

use crate::record::{
    Change, EditError, FieldKey, Record, RecordId, Stamp, TIME_MIN, Text, Value, Vault,
};
use crate::view::State;

impl Vault {
    /// Purges those changes of a record for which `is_meant` is true. Returns their number.
    ///
    /// If an older value of a field becomes visible by that, it is written anew, at the present
    /// time `now`, in seconds since 1970.
    ///
    /// # Errors
    /// See [`EditError`]; nothing was changed.
    pub fn purge(
        &mut self,
        id: &RecordId,
        is_meant: impl Fn(&Change) -> bool,
        now: i64,
    ) -> Result<usize, EditError> {
        let before = self.record(id).ok_or(EditError::NoSuchRecord)?;
        let meant = before.changes().iter().filter(|change| !change.is_purged());
        let mut vault = self.clone();
        let (mut visible, mut count) = (BTreeSet::new(), 0);
        for change in meant.filter(|change| is_meant(change)) {
            if before.newest(change.key.domain, &change.key.name) == Some(change) {
                visible.insert(change.key.clone());
            }
            vault.insert(id, purged(change));
            count += 1;
        }
        for key in visible {
            vault.write_anew(id, key, now)?;
        }
        *self = vault;
        Ok(count)
    }

    /// All purges of this vault, and nothing else.
    #[must_use]
    pub fn purges(&self) -> Self {
        let mut purges = Self::new();
        for (id, record) in self.records() {
            for change in record.changes().iter().filter(|change| change.is_purged()) {
                purges.insert(id, change.clone());
            }
        }
        purges
    }

    /// Gives the value that a field shows the present time.
    fn write_anew(&mut self, id: &RecordId, key: FieldKey, now: i64) -> Result<(), EditError> {
        let newest = self
            .record(id)
            .and_then(|record| record.newest(key.domain, &key.name));
        if let Some(value) = newest.map(|change| change.value.clone()) {
            self.change_value(id, key, value, now)?;
        }
        Ok(())
    }

    /// Changes that undo what `theirs` would do to these records, once they are merged together with
    /// `theirs`. They purge all changes of `theirs` that this vault does not have. A change of this
    /// vault that a purge of `theirs` would remove is repeated at an unused second before it.
    ///
    /// # Errors
    /// See [`EditError`].
    pub fn refusal<'a>(
        &self,
        theirs: &Self,
        records: impl IntoIterator<Item = &'a RecordId>,
        now: i64,
    ) -> Result<Self, EditError> {
        let mut merged = self.clone();
        merged.merge(theirs);
        let none = Record::default();
        let records: Vec<_> = records
            .into_iter()
            .filter_map(|id| Some((id, self.record(id).unwrap_or(&none), theirs.record(id)?)))
            .collect();
        for (id, ours, theirs) in &records {
            for change in ours.new_in(theirs) {
                merged.insert(id, purged(change));
                let lost = ours.changes().iter();
                for our in lost.filter(|our| our.is_of_one_time(change) && !our.is_purged()) {
                    if let Some(stamp) = merged.unused_stamp_before(id, our) {
                        merged.insert(
                            id,
                            Change {
                                stamp,
                                ..our.clone()
                            },
                        );
                    }
                }
            }
        }
        // In a truncated history a purge may be what was in effect when the history begins.
        if merged.since.is_some() {
            merged.merge(&merged.clone());
        }
        let mut refusal = Self::new();
        for (id, ours, _) in &records {
            merged.revert_record(id, self, now)?;
            // It can be restored under the path that it had.
            if let Some(path) = deleted_path(ours)
                && merged.record(id).and_then(deleted_path).as_ref() != Some(&path)
            {
                merged.change_value(id, FieldKey::path(), Value::Text(path), now)?;
                merged.delete(id, now)?;
            }
            let undone = merged.record(id).map(|record| ours.new_in(record));
            for change in undone.into_iter().flatten() {
                refusal.insert(id, change.clone());
            }
        }
        Ok(refusal)
    }

    /// The last second before a change at which its field has no change.
    fn unused_stamp_before(&self, id: &RecordId, change: &Change) -> Option<Stamp> {
        let time = change.stamp.deciding_seconds()?;
        let record = self.record(id)?;
        let history = record.history(change.key.domain, &change.key.name);
        let is_unused = |stamp: &Stamp| !history.iter().any(|known| known.stamp == *stamp);
        let earlier = (TIME_MIN..time).rev().map(Stamp::from_seconds);
        // Among more seconds than there are changes, one is unused.
        earlier.take(history.len() + 1).find(is_unused)
    }
}

impl Record {
    /// The changes of another record that this one does not have.
    fn new_in<'a>(&self, other: &'a Self) -> impl Iterator<Item = &'a Change> {
        let changes = other.changes().iter();
        changes.filter(|change| self.changes().binary_search(change).is_err())
    }
}

/// The last path of a deleted record.
fn deleted_path(record: &Record) -> Option<Text> {
    match record.state() {
        State::Deleted { path, .. } => Some(path.into_owned()),
        State::Live { .. } | State::Pathless => None,
    }
}

fn purged(change: &Change) -> Change {
    Change {
        value: Value::Purged,
        ..change.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn id() -> RecordId {
        RecordId::from("A")
    }

    fn vault() -> Vault {
        let mut vault = Vault::new();
        vault.create_record(id(), "mail", NOW).unwrap();
        for (seconds, value) in [(1, "one"), (2, "two"), (3, "three")] {
            vault.set(&id(), "password", value, NOW + seconds).unwrap();
        }
        vault
    }

    fn has(value: &'static str) -> impl Fn(&Change) -> bool {
        move |change| change.value == Value::Text(value.into())
    }

    fn merged(a: &Vault, b: &Vault) -> Vault {
        let mut merged = a.clone();
        merged.merge(b);
        merged
    }

    fn values(vault: &Vault) -> Vec<String> {
        let changes = vault.record(&id()).unwrap().changes().iter();
        let shown = changes.filter_map(|change| Some(change.value.shown()?.into_owned()));
        shown
            .map(|text| text.to_string_lossy().into_owned())
            .collect()
    }

    fn shown(vault: &Vault) -> Option<String> {
        let view = vault.view();
        let field = view.get("mail")?.field(&"password".into())?;
        Some(field.value.to_string_lossy().into_owned())
    }

    #[test]
    fn a_purged_value_is_gone_and_stays_gone() {
        let whole = vault();
        let mut vault = whole.clone();
        assert_eq!(vault.purge(&id(), has("two"), NOW + 9), Ok(1));
        assert_eq!(values(&vault), ["mail", "one", "three"]);
        assert_eq!(shown(&vault).as_deref(), Some("three"));
        let summary = vault.merge(&whole);
        assert_eq!((summary.received, summary.purged), (0, vec![]));
        assert_eq!(values(&vault), ["mail", "one", "three"]);
        // On the other side the purge arrives.
        let mut other = whole;
        let summary = other.merge(&vault);
        assert_eq!((summary.received, summary.purged), (1, vec![id()]));
        assert_eq!(other, vault);
        assert_eq!(
            (vault.missing_from(&other), other.missing_from(&vault)),
            (0, 0)
        );
        assert_eq!(
            vault.purge(&id(), has("two"), NOW + 10),
            Ok(0),
            "nothing is left of it"
        );
    }

    #[test]
    fn a_purge_may_arrive_before_what_it_purges() {
        let whole = vault();
        let mut purges = Vault::new();
        let changes = whole.record(&id()).unwrap().changes();
        let two = changes.iter().find(|change| has("two")(change)).unwrap();
        purges.insert(&id(), purged(two));
        assert!(!purges.insert(&id(), two.clone()), "it is purged already");
        assert_eq!(merged(&purges, &whole), merged(&whole, &purges));
        assert_eq!(values(&merged(&purges, &whole)), ["mail", "one", "three"]);
    }

    #[test]
    fn without_the_value_that_shows_the_one_before_it_is_written_anew() {
        let mut vault = vault();
        vault.purge(&id(), has("three"), NOW + 9).unwrap();
        assert_eq!(shown(&vault).as_deref(), Some("two"));
        assert_eq!(values(&vault), ["mail", "one", "two", "two"]);
        // So a device that had truncated its history shows the same.
        let cut = vault.clone().with_history_since(NOW + 5);
        assert_eq!(shown(&cut).as_deref(), Some("two"));
    }

    #[test]
    fn a_record_that_is_purged_as_a_whole_is_not_even_deleted() {
        let mut vault = vault();
        vault.delete(&id(), NOW + 5).unwrap();
        assert_eq!(vault.purge(&id(), |_| true, NOW + 9), Ok(5));
        let view = vault.view();
        assert_eq!((view.records().len(), view.deleted().len()), (0, 0));
        assert_eq!(values(&vault), Vec::<String>::new());
    }

    #[test]
    fn a_refusal_undoes_what_came_for_good() {
        let ours = vault();
        let mut theirs = ours.clone();
        theirs
            .set(&id(), "password", "evil", 253_402_300_799)
            .unwrap();
        theirs.delete(&id(), 253_402_300_799).unwrap();
        theirs.purge(&id(), has("two"), NOW + 8).unwrap();
        theirs.purge(&id(), has("mail"), NOW + 8).unwrap();
        theirs.create_record("B".into(), "mail", NOW + 7).unwrap();
        let records = [id(), RecordId::from("B")];
        let refusal = ours.refusal(&theirs, &records, NOW + 20).unwrap();
        for mut vault in [merged(&ours, &theirs), theirs.clone()] {
            vault.merge(&refusal);
            assert_eq!(shown(&vault).as_deref(), Some("three"));
            assert_eq!(vault.view().records().len(), 1);
            let values = values(&vault);
            assert!(
                ["one", "two"]
                    .iter()
                    .all(|old| values.contains(&(*old).to_owned()))
            );
            assert!(!values.contains(&"evil".to_owned()), "{values:?}");
            // Whatever is done with it later has the present time.
            assert_eq!(vault.set(&id(), "password", "new", NOW + 30), Ok(NOW + 30));
        }
    }
}
