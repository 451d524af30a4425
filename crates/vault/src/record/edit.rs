//! Edits. Each edit adds one change, with a stamp that makes it win over all changes that this
//! device knows.
//!
//! A clock may be wrong, may have been set back, or may return the same second twice. An edit is
//! therefore stamped with the later of the clock and one second after the change that it replaces.
//! So it never loses against the value that the person saw, and two edits of one field on one
//! device never share a stamp.
//!
//! A change that is stamped more than a day after the present must not win for ever. Before an edit
//! replaces it, it is purged, and its value is kept in the history under the present time.

use std::collections::BTreeMap;

use super::{
    Change, Domain, FieldKey, Record, RecordId, Stamp, TIME_MAX, TIME_MIN, Text, Value, Vault,
    is_ahead,
};

/// Why an edit is impossible. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EditError {
    /// There is no record with this id.
    #[error("there is no such record")]
    NoSuchRecord,
    /// A record with this id exists. The caller draws another id.
    #[error("the record's id is in use")]
    IdTaken,
    /// A path or a field name is empty.
    #[error("a path and a field's name must not be empty")]
    NameEmpty,
    /// A new path or field name has a control character, which can be neither typed nor shown.
    #[error("a path and a field's name must not contain control characters")]
    NameHasControl,
    /// The device's clock is beyond the year 9999.
    #[error("the clock is beyond the year 9999")]
    ClockOutOfRange,
    /// The newest change has the last valid stamp, so no change can be newer.
    #[error("the field was changed at the end of the year 9999, nothing can be newer")]
    StampsExhausted,
}

impl Vault {
    /// Makes a record with a path and without fields; returns the stamp.
    ///
    /// `now` is the time in seconds since 1970. A path that is in use is accepted, because another
    /// device could do the same at any time: the view gives clashing records different paths.
    pub fn create_record(
        &mut self,
        id: RecordId,
        path: impl Into<Text>,
        now: i64,
    ) -> Result<i64, EditError> {
        let path = path.into();
        check_name(&path)?;
        if self.records.contains_key(&id) {
            return Err(EditError::IdTaken);
        }
        let seconds = Record::default().stamp_for(&FieldKey::path(), None, now)?;
        self.insert(&id, change(FieldKey::path(), Value::Text(path), seconds));
        Ok(seconds)
    }

    /// Sets a user field; returns the stamp.
    ///
    /// If the record is deleted, the change is newer than the deletion, so the record lives again.
    pub fn set(
        &mut self,
        id: &RecordId,
        name: impl Into<Text>,
        value: impl Into<Text>,
        now: i64,
    ) -> Result<i64, EditError> {
        self.change_field(id, name.into(), Value::Text(value.into()), now)
    }

    /// Unsets a user field; returns the stamp. The old value stays in the history.
    pub fn unset(
        &mut self,
        id: &RecordId,
        name: impl Into<Text>,
        now: i64,
    ) -> Result<i64, EditError> {
        self.change_field(id, name.into(), Value::Absent, now)
    }

    /// Gives a record another path; returns the stamp. A deleted record lives again.
    pub fn rename(
        &mut self,
        id: &RecordId,
        path: impl Into<Text>,
        now: i64,
    ) -> Result<i64, EditError> {
        let path = path.into();
        check_name(&path)?;
        let record = self.records.get_mut(id).ok_or(EditError::NoSuchRecord)?;
        record.move_to_present(|change| change.key.is_path(), now);
        let key = FieldKey::path();
        let seconds = record.stamp_for(&key, record.last(&key), now)?;
        record.insert(change(key, Value::Text(path), seconds));
        Ok(seconds)
    }

    /// Deletes a record; returns the stamp, which is newer than all of the record's changes.
    ///
    /// The fields stay in the history. A later change by another device brings the record back.
    pub fn delete(&mut self, id: &RecordId, now: i64) -> Result<i64, EditError> {
        let record = self.records.get_mut(id).ok_or(EditError::NoSuchRecord)?;
        record.move_to_present(|_| true, now);
        let last = record
            .changes
            .iter()
            .filter(|change| change.decides())
            .filter_map(|change| change.stamp.deciding_seconds())
            .max();
        let key = FieldKey::path();
        let seconds = match record.stamp_for(&key, last, now) {
            // A change of a field in the last valid second does not outlive a deletion in the same
            // second, so the deletion only has to be newer than the path.
            Err(EditError::StampsExhausted)
                if record.last(&key) < Some(TIME_MAX)
                    && record.unpurged_second(&key, TIME_MAX) == TIME_MAX =>
            {
                TIME_MAX
            }
            other => other?,
        };
        record.insert(change(key, Value::Absent, seconds));
        Ok(seconds)
    }

    fn change_field(
        &mut self,
        id: &RecordId,
        name: Text,
        value: Value,
        now: i64,
    ) -> Result<i64, EditError> {
        let record = self.records.get(id).ok_or(EditError::NoSuchRecord)?;
        // An existing field stays editable, whatever its name.
        if record.history(Domain::User, &name).is_empty() {
            check_name(&name)?;
        }
        self.change_value(id, FieldKey::user(name), value, now)
    }

    /// Gives a field any value, under any name. For values that come from a history.
    pub fn change_value(
        &mut self,
        id: &RecordId,
        key: FieldKey,
        value: Value,
        now: i64,
    ) -> Result<i64, EditError> {
        let stamps = self.change_values(id, BTreeMap::from([(key, value)]), now)?;
        Ok(stamps.into_iter().next().unwrap_or(now))
    }

    /// Gives fields any values, like [`change_value`](Self::change_value), in time nearly linear in
    /// the size of the record. Returns the stamps, in the order of the fields. If one of the
    /// changes is impossible, none is made.
    pub fn change_values(
        &mut self,
        id: &RecordId,
        values: BTreeMap<FieldKey, Value>,
        now: i64,
    ) -> Result<Vec<i64>, EditError> {
        let record = self.records.get_mut(id).ok_or(EditError::NoSuchRecord)?;
        record.move_to_present(
            |change| change.key.is_path() || values.contains_key(&change.key),
            now,
        );
        let deleted_at = record.deleted_at();
        let (mut changes, mut stamps) = (Vec::with_capacity(values.len()), Vec::new());
        for (key, value) in values {
            let seconds = record.stamp_for(&key, record.last(&key).max(deleted_at), now)?;
            stamps.push(seconds);
            changes.push(change(key, value, seconds));
        }
        record.insert_all(changes);
        Ok(stamps)
    }
}

impl Record {
    /// The newest deciding stamp of a field. The stamp of an edit must be greater.
    fn last(&self, key: &FieldKey) -> Option<i64> {
        self.newest(key.domain, &key.name)?.stamp.deciding_seconds()
    }

    /// When the record was deleted, if that is the newest change of its path.
    fn deleted_at(&self) -> Option<i64> {
        let path = self.newest(Domain::Meta, &Text::from(super::PATH))?;
        path.value.shows_nothing().then_some(())?;
        path.stamp.deciding_seconds()
    }

    /// The stamp of an edit of a field: the later of `now` and the second after the last change. A
    /// clock before 1970 counts as 1970. A second whose change was purged stays unused.
    fn stamp_for(&self, key: &FieldKey, last: Option<i64>, now: i64) -> Result<i64, EditError> {
        if now > TIME_MAX {
            return Err(EditError::ClockOutOfRange);
        }
        let after = last.map_or(TIME_MIN, |last| last.saturating_add(1));
        let seconds = self.unpurged_second(key, after.max(now));
        if seconds > TIME_MAX {
            Err(EditError::StampsExhausted)
        } else {
            Ok(seconds)
        }
    }

    /// The first second from this one on in which no change of a field was purged.
    pub(crate) fn unpurged_second(&self, key: &FieldKey, from: i64) -> i64 {
        let history = self.history(key.domain, &key.name);
        let first = Stamp::from_seconds(from);
        let later = history.partition_point(|change| change.stamp < first);
        let mut second = from;
        for change in history.get(later..).unwrap_or_default() {
            // A purged change is the only one of its time.
            if !change.is_purged() || change.stamp != Stamp::from_seconds(second) {
                break;
            }
            second += 1;
        }
        second
    }

    /// Gives the present time to those changes that are stamped more than a day after it.
    fn move_to_present(&mut self, is_meant: impl Fn(&Change) -> bool, now: i64) {
        let is_ahead = |change: &Change| {
            let seconds = change.stamp.deciding_seconds();
            seconds.is_some_and(|seconds| is_ahead(seconds, now))
        };
        let ahead = self.changes.iter();
        let ahead = ahead.filter(|change| change.decides() && is_ahead(change) && is_meant(change));
        let ahead: Vec<Change> = ahead.cloned().collect();
        if ahead.is_empty() {
            return;
        }
        let purges = ahead.iter().map(|change| Change {
            value: Value::Purged,
            ..change.clone()
        });
        self.insert_all(purges.collect());
        let mut moved: Vec<Change> = Vec::with_capacity(ahead.len());
        for change in ahead {
            // The changes of a field are adjacent.
            let last = match moved.last() {
                Some(last) if last.key == change.key => last.stamp.deciding_seconds(),
                _ => self.last(&change.key),
            };
            // It was beyond the present, so the present has a stamp.
            if let Ok(seconds) = self.stamp_for(&change.key, last, now) {
                moved.push(Change {
                    stamp: Stamp::from_seconds(seconds),
                    ..change
                });
            }
        }
        self.insert_all(moved);
    }
}

fn change(key: FieldKey, value: Value, seconds: i64) -> Change {
    Change {
        key,
        stamp: Stamp::from_seconds(seconds),
        value,
    }
}

fn check_name(name: &Text) -> Result<(), EditError> {
    if name.is_empty() {
        return Err(EditError::NameEmpty);
    }
    if name.has_control() {
        return Err(EditError::NameHasControl);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::record::PRESENT_MIN;

    const NOW: i64 = 1_700_000_000;

    fn vault_with(path: &str) -> (Vault, RecordId) {
        let (mut vault, id) = (Vault::new(), RecordId::from("A"));
        vault.create_record(id.clone(), path, NOW).unwrap();
        (vault, id)
    }

    fn shown(vault: &Vault, path: &str, field: &str) -> Option<String> {
        let view = vault.view();
        let value = view.get(path)?.field(&field.into())?.value;
        Some(value.to_string_lossy().into_owned())
    }

    #[test]
    fn an_edit_with_a_clock_set_back_still_wins() {
        let (mut vault, id) = vault_with("p");
        assert_eq!(vault.set(&id, "f", "1", NOW), Ok(NOW));
        assert_eq!(vault.set(&id, "f", "0", NOW), Ok(NOW + 1));
        assert_eq!(vault.set(&id, "f", "", NOW - 500), Ok(NOW + 2));
        assert_eq!(vault.unset(&id, "f", i64::MIN), Ok(NOW + 3));
        assert_eq!(shown(&vault, "p", "f"), None);
        assert_eq!(vault.set(&id, "f", "z", 0), Ok(NOW + 4));
        assert_eq!(shown(&vault, "p", "f").as_deref(), Some("z"));
        assert_eq!(vault.rename(&id, "q", 0), Ok(NOW + 1));
        assert_eq!(shown(&vault, "q", "f").as_deref(), Some("z"));
    }

    #[test]
    fn a_clock_before_1970_stamps_the_first_second() {
        let mut vault = Vault::new();
        assert_eq!(vault.create_record("A".into(), "p", 0), Ok(TIME_MIN));
        assert!(vault.view().get("p").is_some());
    }

    #[test]
    fn a_stamp_that_never_decides_does_not_count_as_last() {
        let (mut vault, id) = vault_with("p");
        let far = Change {
            stamp: Stamp::from_seconds(i64::MAX),
            ..change(FieldKey::user("f"), Value::Absent, 1)
        };
        vault.insert(&id, far);
        assert_eq!(vault.set(&id, "f", "v", NOW), Ok(NOW));
        assert_eq!(vault.delete(&id, NOW), Ok(NOW + 1));
    }

    #[test]
    fn a_deletion_is_newer_than_every_change_of_its_record() {
        let (mut vault, id) = vault_with("p");
        vault.set(&id, "f", "v", NOW + 1000).unwrap();
        assert_eq!(vault.delete(&id, NOW), Ok(NOW + 1001));
        assert!(vault.view().get("p").is_none());
    }

    #[test]
    fn an_edit_after_a_deletion_revives_the_record() {
        let (mut vault, id) = vault_with("p");
        vault.delete(&id, NOW + 1000).unwrap();
        assert_eq!(vault.set(&id, "f", "v", NOW), Ok(NOW + 1001));
        assert_eq!(shown(&vault, "p", "f").as_deref(), Some("v"));
    }

    #[test]
    fn in_the_last_valid_second_only_a_deletion_works() {
        let (mut vault, id) = vault_with("p");
        let last = TIME_MAX;
        assert_eq!(vault.set(&id, "f", "v", last), Ok(last));
        let exhausted = Err(EditError::StampsExhausted);
        assert_eq!(vault.set(&id, "f", "w", last), exhausted);
        assert_eq!(vault.unset(&id, "f", last), exhausted);
        assert_eq!(shown(&vault, "p", "f").as_deref(), Some("v"));
        assert_eq!(vault.delete(&id, last), Ok(last));
        assert!(vault.view().get("p").is_none());
        assert_eq!(vault.delete(&id, last), exhausted);
        assert_eq!(vault.rename(&id, "q", last), exhausted);
        assert_eq!(
            vault.set(&id, "g", "w", TIME_MAX + 1),
            Err(EditError::ClockOutOfRange)
        );
    }

    #[test]
    fn an_edit_moves_a_change_from_the_future_to_the_present() {
        let (mut vault, id) = vault_with("p");
        let now = PRESENT_MIN + 1000;
        vault.set(&id, "f", "mine", now).unwrap();
        vault.set(&id, "f", "theirs", TIME_MAX).unwrap();
        vault.set(&id, "g", "theirs", TIME_MAX).unwrap();
        vault.delete(&id, TIME_MAX).unwrap();

        // The record lives again, and its fields are as they were.
        vault.rename(&id, "p", now + 5).unwrap();
        assert_eq!(shown(&vault, "p", "f").as_deref(), Some("theirs"));
        assert_eq!(vault.set(&id, "f", "new", now + 6), Ok(now + 7));
        assert_eq!(shown(&vault, "p", "f").as_deref(), Some("new"));
        let history = vault
            .record(&id)
            .unwrap()
            .history(Domain::User, &"f".into());
        let values: Vec<_> = history.iter().map(|change| change.value.clone()).collect();
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(
            values,
            [text("mine"), text("theirs"), text("new"), Value::Purged]
        );
        // Whoever still has the change from the future agrees.
        let mut old = vault_with("p").0;
        old.set(&id, "f", "theirs", TIME_MAX).unwrap();
        old.merge(&vault);
        assert_eq!(old, vault);
        // A deletion wins over all fields.
        let deleted = vault.delete(&id, now + 20).unwrap();
        assert!(deleted < now + 30, "{deleted}");
        assert!(vault.view().get("p").is_none());
    }

    #[test]
    fn each_impossible_edit_has_its_error() {
        let (mut vault, id) = vault_with("p");
        let before = vault.clone();
        assert_eq!(
            vault.create_record(id.clone(), "q", NOW),
            Err(EditError::IdTaken)
        );
        assert_eq!(
            vault.create_record("B".into(), "", NOW),
            Err(EditError::NameEmpty)
        );
        assert_eq!(
            vault.create_record("B".into(), "a\nb", NOW),
            Err(EditError::NameHasControl)
        );
        assert_eq!(vault.rename(&id, "", NOW), Err(EditError::NameEmpty));
        assert_eq!(vault.set(&id, "", "v", NOW), Err(EditError::NameEmpty));
        assert_eq!(
            vault.set(&id, "\u{7f}", "v", NOW),
            Err(EditError::NameHasControl)
        );
        assert_eq!(
            vault.set(&"B".into(), "f", "v", NOW),
            Err(EditError::NoSuchRecord)
        );
        assert_eq!(
            vault.unset(&"B".into(), "f", NOW),
            Err(EditError::NoSuchRecord)
        );
        assert_eq!(vault.delete(&"B".into(), NOW), Err(EditError::NoSuchRecord));
        assert_eq!(vault, before);
    }

    #[test]
    fn an_existing_field_with_an_odd_name_can_be_edited() {
        let (mut vault, id) = vault_with("p");
        vault.insert(
            &id,
            change(FieldKey::user("\n"), Value::Text("v".into()), NOW),
        );
        vault.set(&id, "\n", "w", NOW).unwrap();
        assert_eq!(shown(&vault, "p", "\n").as_deref(), Some("w"));
    }
}
