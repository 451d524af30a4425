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
    Change, Domain, EditError, FieldKey, Record, RecordId, Stamp, TIME_MAX, TIME_MIN, Text, Value,
    Vault, is_ahead,
};
use crate::view::State;

/// How many seconds after the present a value may be repeated where no earlier second is left. It
/// is far from what counts as the future.
const LATER_MAX: i64 = 3600;

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
        let (mut visible, mut purges) = (BTreeSet::new(), Vec::new());
        for change in meant.filter(|change| is_meant(change)) {
            if before.newest(change.key.domain, &change.key.name) == Some(change) {
                visible.insert(change.key.clone());
            }
            purges.push(purged(change));
        }
        let count = purges.len();
        if let Some(record) = vault.records.get_mut(id) {
            record.insert_all(purges);
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
        let mut marks = Self::new();
        let mut affected = Vec::new();
        for (id, record) in theirs.records() {
            let ours = self.record(id).unwrap_or(&none);
            let new = ours.new_in(record);
            let refused = new.filter(|change| is_refused(id, change));
            let refused: Vec<Change> = refused.map(purged).collect();
            if !refused.is_empty() {
                affected.push(id);
                marks
                    .records
                    .insert(id.clone(), Record::from_changes(refused));
            }
        }
        let mut merged = target.clone();
        merged.merge(&marks);
        let mut repeated = Self::new();
        for id in affected.iter().copied() {
            let left = merged.record(id).unwrap_or(&none);
            let wanted = target.record(id).unwrap_or(&none);
            let again = left.repeated(wanted, self.since, now);
            repeated
                .records
                .insert(id.clone(), Record::from_changes(again));
        }
        merged.merge(&repeated);
        // In a truncated history a purge may take the place of what was in effect at its beginning.
        if let Some(since) = merged.since {
            let mut repeated = Self::new();
            for id in affected.iter().copied() {
                let left = merged.record(id).unwrap_or(&none);
                let wanted = target.record(id).unwrap_or(&none);
                let again = left.repeated_after(wanted, since, now);
                repeated
                    .records
                    .insert(id.clone(), Record::from_changes(again));
            }
            merged.merge(&repeated);
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
            merged.revive_like(id, wanted, now)?;
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

    /// Makes a live record count as revived if and only if it does in `wanted`: a revived record
    /// yields its path to another one.
    fn revive_like(&mut self, id: &RecordId, wanted: &Record, now: i64) -> Result<(), EditError> {
        let State::Live { path, revived } = wanted.state() else {
            return Ok(());
        };
        let found = self.record(id).map(Record::state);
        let Some(State::Live { revived: found, .. }) = found else {
            return Ok(());
        };
        match (revived, found) {
            (false, true) => {
                let path = Value::Text(path.into_owned());
                self.change_value(id, FieldKey::path(), path, now)?;
            }
            // A deletion, and a later edit that changes nothing.
            (true, false) => {
                let key = wanted.fields().filter_map(|field| field.last());
                let mut keys = key.map(|change| &change.key);
                let key = keys.find(|key| key.domain == Domain::User);
                let record = self.record(id);
                let edited = key.zip(record).map(|(key, record)| {
                    let newest = record.newest(key.domain, &key.name);
                    let value = newest.map_or(Value::Absent, |newest| newest.value.clone());
                    (key.clone(), value)
                });
                if let Some((key, value)) = edited {
                    self.delete(id, now)?;
                    self.change_value(id, key, value, now)?;
                }
            }
            _ => {}
        }
        Ok(())
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
}

impl Record {
    /// The changes of `wanted` that are purged here, each with the nearest second before its own at
    /// which its field has no change; if there is none, with a later one, up to the present. One
    /// from the future has a present second.
    fn repeated(&self, wanted: &Self, since: Option<i64>, now: i64) -> Vec<Change> {
        let mut repeated = Vec::new();
        for field in wanted.fields() {
            let lost = field.iter().filter(|change| {
                change.stamp.decides() && self.changes().binary_search(change).is_err()
            });
            let lost: Vec<&Change> = lost.collect();
            let Some(first) = lost.first() else {
                continue;
            };
            let left = self.history(first.key.domain, &first.key.name);
            let mut seconds = Seconds::without(left, lost.iter().copied());
            let mut without_room = Vec::new();
            let (mut before, mut full) = (TIME_MAX, None);
            for change in lost.iter().rev() {
                let Some(time) = change.stamp.deciding_seconds() else {
                    continue;
                };
                let floor = since.filter(|since| *since < time);
                let floor = floor.map_or(TIME_MIN, |since| since.saturating_add(1));
                let latest = if is_ahead(time, now) { now } else { time - 1 };
                let latest = latest.min(before.saturating_sub(1));
                let is_full = full == Some(floor);
                let unused = (!is_full).then(|| seconds.last_unused(floor, latest));
                if let Some(second) = unused.flatten() {
                    before = second;
                    repeated.push(at(second, change));
                } else {
                    full = Some(floor);
                    without_room.push(*change);
                }
            }
            let mut after = first.stamp.deciding_seconds().unwrap_or(TIME_MIN);
            for change in without_room.iter().rev() {
                if let Some(second) = seconds.first_unused(after, now) {
                    after = second.saturating_add(1);
                    repeated.push(at(second, change));
                }
            }
        }
        repeated
    }

    /// The values of `wanted` that are missing here, each at a second after the history begins, or
    /// shortly after the present if it begins so late that there is no other.
    fn repeated_after(&self, wanted: &Self, since: i64, now: i64) -> Vec<Change> {
        let mut repeated = Vec::new();
        for field in wanted.fields() {
            let Some(first) = field.first() else {
                continue;
            };
            let left = self.history(first.key.domain, &first.key.name);
            let mut there: BTreeSet<&Value> = left.iter().map(|change| &change.value).collect();
            let mut seconds = Seconds::without(left, []);
            let mut after = since.saturating_add(1);
            let latest = now.saturating_add(LATER_MAX);
            for change in field {
                if change.decides()
                    && change.value.shown().is_some()
                    && there.insert(&change.value)
                    && let Some(second) = seconds.first_unused(after, latest)
                {
                    after = second.saturating_add(1);
                    repeated.push(at(second, change));
                }
            }
        }
        repeated
    }

    /// The changes of another record that this one does not have.
    fn new_in<'a>(&self, other: &'a Self) -> impl Iterator<Item = &'a Change> {
        other.changes().iter().filter(|change| !self.has(change))
    }
}

/// The last path of a deleted record.
fn deleted_path(record: &Record) -> Option<Text> {
    match record.state() {
        State::Deleted { path, .. } => Some(path.into_owned()),
        State::Live { .. } | State::Pathless => None,
    }
}

/// The seconds at which a field has changes.
struct Seconds(BTreeSet<i64>);

impl Seconds {
    fn without<'a>(changes: &'a [Change], more: impl IntoIterator<Item = &'a Change>) -> Self {
        let all = changes.iter().chain(more);
        Self(all.filter_map(|change| change.stamp.seconds()).collect())
    }

    /// The last second from `floor` to `latest` without a change. It is taken from now on.
    fn last_unused(&mut self, floor: i64, latest: i64) -> Option<i64> {
        let unused = (floor..=latest).rev().find(|time| !self.0.contains(time))?;
        self.0.insert(unused);
        Some(unused)
    }

    /// The first second from `floor` to `latest` without a change. It is taken from now on.
    fn first_unused(&mut self, floor: i64, latest: i64) -> Option<i64> {
        let unused = (floor..=latest).find(|time| !self.0.contains(time))?;
        self.0.insert(unused);
        Some(unused)
    }
}

fn at(second: i64, change: &Change) -> Change {
    Change {
        stamp: Stamp::from_seconds(second),
        ..change.clone()
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
    fn after_a_refusal_a_revived_record_still_yields_its_path() {
        let mut ours = vault();
        ours.delete(&id(), NOW + 4).unwrap();
        let successor = RecordId::from("B");
        ours.create_record(successor.clone(), "mail", NOW + 4)
            .unwrap();
        ours.set(&id(), "user", "bob", NOW + 5).unwrap();
        assert_eq!(ours.view().get("mail").unwrap().id, &successor);
        let mut theirs = ours.clone();
        let is_user = |change: &Change| change.key == FieldKey::user("user");
        theirs.purge(&id(), is_user, NOW + 6).unwrap();
        let refusal = ours.refusal(&theirs, |_, _| true, NOW + 7).unwrap();
        let after = merged(&merged(&ours, &theirs), &refusal);
        let view = after.view();
        assert_eq!(view.get("mail").unwrap().id, &successor);
        let shown = view.records().iter().find(|record| *record.id == id());
        let shown = shown.unwrap();
        assert!(shown.revived && shown.field(&"user".into()).is_some());
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

    fn put(vault: &mut Vault, key: FieldKey, seconds: i64, value: Value) {
        let stamp = Stamp::from_seconds(seconds);
        vault.insert(&id(), Change { key, stamp, value });
    }

    #[test]
    fn a_refusal_gives_no_weight_to_a_path_that_never_decided() {
        let (mut ours, mut theirs) = (Vault::new(), Vault::new());
        put(&mut ours, FieldKey::path(), 0, Value::Text("a".into()));
        put(&mut ours, FieldKey::path(), 100, Value::Absent);
        let ours = ours.with_history_since(0);
        put(&mut theirs, FieldKey::path(), 0, Value::Absent);
        let refusal = ours.refusal(&theirs, |_, _| true, NOW).unwrap();
        let after = merged(&merged(&ours, &theirs), &refusal);
        assert_eq!(ours.view().deleted().len(), 0);
        assert_eq!(after.view().deleted().len(), 0);
    }

    #[test]
    fn a_refusal_finds_another_second_for_each_value_that_a_purge_took() {
        let password = || FieldKey::user("password");
        let future = NOW + 4 * crate::record::AHEAD_SECONDS;
        let mut ours = vault();
        for second in 1..2000 {
            let value = Value::Text(format!("old {second}").as_str().into());
            put(&mut ours, password(), second, value);
        }
        ours.set(&id(), "password", "from a wrong clock", future)
            .unwrap();
        let mut theirs = ours.clone();
        theirs
            .purge(&id(), |change| change.key == password(), NOW + 5)
            .unwrap();
        for (ours, since) in [(ours.clone(), None), (ours.clone(), Some(1500))] {
            let ours = since.map_or(ours.clone(), |since| ours.with_history_since(since));
            let refusal = ours.refusal(&theirs, |_, _| true, NOW + 20).unwrap();
            let after = merged(&merged(&ours, &theirs), &refusal);
            assert_eq!(shown(&after).as_deref(), Some("from a wrong clock"));
            let (before, after) = (values(&ours), values(&after));
            assert!(before.iter().all(|value| after.contains(value)));
            let last = refusal.records().flat_map(|(_, record)| record.changes());
            let last = last.filter(|change| !change.is_purged());
            let last = last
                .filter_map(|change| change.stamp.deciding_seconds())
                .max();
            assert!(last <= Some(NOW + 20), "{last:?}");
        }
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
