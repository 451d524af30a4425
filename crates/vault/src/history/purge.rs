//! Purges changes: their values are gone, on every device and in the btoken.
//!
//! A purge leaves an empty change ([`Value::Purged`]) in the place of all changes of one field with
//! one stamp. It merges like the rest of the vault, so a purge may reach a device before the change
//! that it purges. The rules are:
//!  - a purged change decides nothing, whatever its stamp is, and it never comes back;
//!  - in a truncated history, a value that a purge makes visible is written anew, because other
//!    devices may have dropped it;
//!  - of a value, a purge keeps neither the text nor a hash, which could be guessed.

use std::collections::BTreeSet;

use crate::merge::MergeSummary;
use crate::record::{
    Change, EditError, FieldKey, Record, RecordId, Stamp, TIME_MAX, TIME_MIN, Text, Value, Vault,
};
use crate::view::State;

impl Vault {
    /// Purges those changes of a record for which `is_meant` is true. Returns their number.
    ///
    /// In a truncated history, an older value of a field that becomes visible by that is written
    /// anew, at the present time `now`, in seconds since 1970.
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
        if self.since.is_some() {
            for key in visible {
                vault.write_anew(id, key, now)?;
            }
        }
        *self = vault;
        Ok(count)
    }

    /// Truncates the history to the changes since a time, and writes anew what would not show any
    /// more because a later value was purged. Both times are in seconds since 1970.
    ///
    /// # Errors
    /// See [`EditError`]; nothing was changed.
    pub fn cut_history(&mut self, since: i64, now: i64) -> Result<MergeSummary, EditError> {
        let mut vault = self.clone();
        for (id, record) in self.records() {
            for field in record.fields() {
                if let Some(last) = field.last().filter(|last| last.is_purged()) {
                    vault.write_anew(id, last.key.clone(), now)?;
                }
            }
        }
        let cut = Self {
            since: Some(since.clamp(TIME_MIN, TIME_MAX)),
            ..Self::new()
        };
        let summary = vault.merge(&cut);
        *self = vault;
        Ok(summary)
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

    /// Changes that undo those changes of `theirs` for which `is_refused` is true, once they are
    /// merged together with `theirs`. They purge these changes. A change of this vault, or one of
    /// `theirs` that is not refused, is repeated at another second if a purge would remove it.
    ///
    /// # Errors
    /// See [`EditError`].
    pub fn refusal(
        &self,
        theirs: &Self,
        is_refused: impl Fn(&RecordId, &Change) -> bool,
        now: i64,
    ) -> Result<Self, EditError> {
        let none = Record::default();
        let mut target = self.clone();
        target.merge(&theirs.filtered(|id, change| !is_refused(id, change)));
        let mut merged = target.clone();
        let mut affected = Vec::new();
        for (id, record) in theirs.records() {
            let ours = self.record(id).unwrap_or(&none);
            let new = ours.new_in(record);
            let refused: Vec<&Change> = new.filter(|change| is_refused(id, change)).collect();
            if refused.is_empty() {
                continue;
            }
            affected.push(id);
            for change in &refused {
                merged.insert(id, purged(change));
            }
            let left = merged.record(id).unwrap_or(&none);
            let wanted = target.record(id).unwrap_or(&none);
            let lost: Vec<Change> = left.new_in(wanted).cloned().collect();
            for lost in &lost {
                if let Some(stamp) = merged.unused_stamp_near(id, lost, now) {
                    let repeated = Change {
                        stamp,
                        ..lost.clone()
                    };
                    merged.insert(id, repeated);
                }
            }
        }
        // In a truncated history a purge may take the place of what was in effect at its beginning.
        if let Some(since) = merged.since {
            merged.merge(&merged.clone());
            for id in &affected {
                if let Some(wanted) = target.record(id) {
                    merged.repeat_after(id, wanted, since);
                }
            }
        }
        let mut refusal = Self::new();
        for id in affected {
            merged.revert_record(id, &target, now)?;
            let wanted = target.record(id).unwrap_or(&none);
            // It can be restored under the path that it had.
            if let Some(path) = deleted_path(wanted)
                && merged.record(id).and_then(deleted_path).as_ref() != Some(&path)
            {
                merged.change_value(id, FieldKey::path(), Value::Text(path), now)?;
                merged.delete(id, now)?;
            }
            for change in merged
                .record(id)
                .into_iter()
                .flat_map(|all| wanted.new_in(all))
            {
                refusal.insert(id, change.clone());
            }
        }
        Ok(refusal)
    }

    /// The changes for which `is_kept` is true. The start of the history stays.
    #[must_use]
    pub fn filtered(&self, is_kept: impl Fn(&RecordId, &Change) -> bool) -> Self {
        let mut kept = Self {
            since: self.since,
            ..Self::new()
        };
        for (id, record) in self.records() {
            let changes = record.changes().iter();
            let changes: Vec<Change> = changes.filter(|one| is_kept(id, one)).cloned().collect();
            if !changes.is_empty() {
                kept.records.insert(id.clone(), Record { changes });
            }
        }
        kept
    }

    /// Repeats the values of a record that are missing here, shortly after the history begins. A
    /// value that would become the newest of its field is left out.
    fn repeat_after(&mut self, id: &RecordId, wanted: &Record, since: i64) {
        for change in wanted
            .changes()
            .iter()
            .filter(|one| one.value.shown().is_some())
        {
            let field = self.record(id).map_or(&[][..], |record| {
                record.history(change.key.domain, &change.key.name)
            });
            let is_there = field.iter().any(|one| one.value == change.value);
            let next = field
                .iter()
                .find(|one| one.stamp > change.stamp && one.decides());
            let Some(next) = next.and_then(|next| next.stamp.deciding_seconds()) else {
                continue;
            };
            let is_unused = |stamp: &Stamp| !field.iter().any(|one| one.stamp == *stamp);
            let after = (since.saturating_add(1)..next).map(Stamp::from_seconds);
            let stamp = after.take(field.len() + 1).find(is_unused);
            if let Some(stamp) = stamp.filter(|_| !is_there) {
                let repeated = Change {
                    stamp,
                    ..change.clone()
                };
                self.insert(id, repeated);
            }
        }
    }

    /// The last second before a change at which its field has no change; if there is none, the first
    /// one between it and the present.
    fn unused_stamp_near(&self, id: &RecordId, change: &Change, now: i64) -> Option<Stamp> {
        let time = change.stamp.deciding_seconds()?;
        let record = self.record(id)?;
        let history = record.history(change.key.domain, &change.key.name);
        let is_unused = |stamp: &Stamp| !history.iter().any(|known| known.stamp == *stamp);
        let mut earlier = (TIME_MIN..time).rev().map(Stamp::from_seconds);
        let mut later = (time..now).map(Stamp::from_seconds);
        // Among more seconds than there are changes, one is unused.
        let most = history.len() + 1;
        let before = earlier.by_ref().take(most).find(is_unused);
        before.or_else(|| later.by_ref().take(most).find(is_unused))
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
    fn without_the_value_that_shows_the_one_before_it_shows() {
        let mut vault = vault();
        vault.purge(&id(), has("three"), NOW + 9).unwrap();
        assert_eq!(shown(&vault).as_deref(), Some("two"));
        assert_eq!(values(&vault), ["mail", "one", "two"]);
        // It still does when the history is truncated.
        let summary = vault.cut_history(NOW + 5, NOW + 10).unwrap();
        assert_eq!(shown(&vault).as_deref(), Some("two"));
        assert_eq!(
            (values(&vault), summary.dropped),
            (vec!["mail".into(), "two".into()], 2)
        );
        vault.set(&id(), "password", "four", NOW + 20).unwrap();
        vault.purge(&id(), has("four"), NOW + 30).unwrap();
        assert_eq!(shown(&vault).as_deref(), Some("two"));
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
        let refusal = ours.refusal(&theirs, |_, _| true, NOW + 20).unwrap();
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
