//! Edits. Each edit adds one change, with a stamp that makes it win over all changes that this
//! device knows.
//!
//! A clock may be wrong, may have been set back, or may return the same second twice. An edit is
//! therefore stamped with the later of the clock and one second after the change that it replaces.
//! So it never loses against the value that the person saw, and two edits of one field on one
//! device never share a stamp.

use super::{
    Change, Domain, FieldKey, Record, RecordId, Stamp, TIME_MAX, TIME_MIN, Text, Value, Vault,
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
        let seconds = stamp_after(None, now)?;
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
        let seconds = stamp_after(record.last(&FieldKey::path()), now)?;
        record.insert(change(FieldKey::path(), Value::Text(path), seconds));
        Ok(seconds)
    }

    /// Deletes a record; returns the stamp, which is newer than all of the record's changes.
    ///
    /// The fields stay in the history. A later change by another device brings the record back.
    pub fn delete(&mut self, id: &RecordId, now: i64) -> Result<i64, EditError> {
        let record = self.records.get_mut(id).ok_or(EditError::NoSuchRecord)?;
        let last = record
            .changes
            .iter()
            .filter_map(|change| change.stamp.deciding_seconds())
            .max();
        let seconds = match stamp_after(last, now) {
            // A change of a field in the last valid second does not outlive a deletion in the same
            // second, so the deletion only has to be newer than the path.
            Err(EditError::StampsExhausted) if record.last(&FieldKey::path()) < Some(TIME_MAX) => {
                TIME_MAX
            }
            other => other?,
        };
        record.insert(change(FieldKey::path(), Value::Absent, seconds));
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
        let record = self.records.get_mut(id).ok_or(EditError::NoSuchRecord)?;
        let path = record.newest(Domain::Meta, &Text::from(super::PATH));
        let deleted_at = path
            .filter(|path| path.value.shows_nothing())
            .and_then(|path| path.stamp.deciding_seconds());
        let seconds = stamp_after(record.last(&key).max(deleted_at), now)?;
        record.insert(change(key, value, seconds));
        Ok(seconds)
    }
}

impl Record {
    /// The newest deciding stamp of a field. The stamp of an edit must be greater.
    fn last(&self, key: &FieldKey) -> Option<i64> {
        self.newest(key.domain, &key.name)?.stamp.deciding_seconds()
    }
}

fn change(key: FieldKey, value: Value, seconds: i64) -> Change {
    Change {
        key,
        stamp: Stamp::from_seconds(seconds),
        value,
    }
}

/// The stamp of an edit: the later of `now` and the second after the last change. A clock before
/// 1970 counts as 1970.
fn stamp_after(last: Option<i64>, now: i64) -> Result<i64, EditError> {
    if now > TIME_MAX {
        return Err(EditError::ClockOutOfRange);
    }
    let seconds = last
        .map_or(TIME_MIN, |last| last.saturating_add(1))
        .max(now);
    if seconds > TIME_MAX {
        Err(EditError::StampsExhausted)
    } else {
        Ok(seconds)
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
        assert_eq!(vault.set(&id, "f", "v", TIME_MAX), Ok(TIME_MAX));
        assert_eq!(
            vault.set(&id, "f", "w", NOW),
            Err(EditError::StampsExhausted)
        );
        assert_eq!(vault.unset(&id, "f", NOW), Err(EditError::StampsExhausted));
        assert_eq!(shown(&vault, "p", "f").as_deref(), Some("v"));
        assert_eq!(vault.delete(&id, NOW), Ok(TIME_MAX));
        assert!(vault.view().get("p").is_none());
        assert_eq!(vault.delete(&id, NOW), Err(EditError::StampsExhausted));
        assert_eq!(vault.rename(&id, "q", NOW), Err(EditError::StampsExhausted));
        assert_eq!(
            vault.set(&id, "g", "w", TIME_MAX + 1),
            Err(EditError::ClockOutOfRange)
        );
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
