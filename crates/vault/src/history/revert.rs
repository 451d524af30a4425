//! Reverting to an earlier state. A revert removes nothing from the history: it makes new edits
//! that restore the earlier values. They sync like all edits and can be reverted in turn.

use std::collections::BTreeMap;

use crate::record::{Domain, EditError, FieldKey, Record, RecordId, Value, Vault};

impl Vault {
    /// The vault as it was at a time, in seconds since 1970: its changes up to then.
    ///
    /// Changes with a stamp that never decides are left out.
    pub fn at(&self, seconds: i64) -> Self {
        let mut vault = Self::new();
        for (id, record) in self.records() {
            let is_past = |stamp: Option<i64>| stamp.is_some_and(|stamp| stamp <= seconds);
            for change in record
                .changes()
                .iter()
                .filter(|change| is_past(change.stamp.deciding_seconds()))
            {
                vault.insert(id, change.clone());
            }
        }
        vault
    }

    /// Reverts one record to its state in `before`, and deletes it if it was not live there.
    /// Returns the number of fields that changed, where the path counts as a field.
    ///
    /// # Errors
    /// See [`EditError`]. Some fields may have been changed then.
    pub fn revert_record(
        &mut self,
        id: &RecordId,
        before: &Self,
        now: i64,
    ) -> Result<usize, EditError> {
        let then = before.record(id);
        let Some(record) = self.record(id) else {
            return Ok(0);
        };
        let mut wanted: BTreeMap<FieldKey, Value> = BTreeMap::new();
        for field in record
            .fields()
            .chain(then.into_iter().flat_map(Record::fields))
        {
            let Some(key) = field.first().map(|change| &change.key) else {
                continue;
            };
            let value = value_of(then, key);
            if key.domain == Domain::User && value.shown() != value_of(Some(record), key).shown() {
                wanted.insert(key.clone(), value);
            }
        }
        let path = then.and_then(|record| record.live_path());
        let is_other_path = path != record.live_path();
        let changed = wanted.len() + usize::from(is_other_path);
        self.change_values(id, wanted, now)?;
        match path {
            // Another program may have given it a path that a person could not type.
            Some(path) if is_other_path => {
                self.change_value(id, FieldKey::path(), Value::Text(path), now)?;
            }
            // Last, because a deletion is newer than all of the record's changes.
            None if is_other_path => drop(self.delete(id, now)?),
            _ => {}
        }
        Ok(changed)
    }
}

fn value_of(record: Option<&Record>, key: &FieldKey) -> Value {
    let newest = record.and_then(|record| record.newest(key.domain, &key.name));
    newest.map_or(Value::Absent, |change| change.value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Change, Stamp, Text, work};

    /// Reverts every record to its state in `before`.
    fn revert(vault: &mut Vault, before: &Vault, now: i64) -> Result<usize, EditError> {
        let ids: Vec<RecordId> = vault.records().map(|(id, _)| id.clone()).collect();
        ids.iter().try_fold(0, |changed, id| {
            Ok(changed + vault.revert_record(id, before, now)?)
        })
    }

    const NOW: i64 = 1_700_000_000;

    fn id(text: &str) -> RecordId {
        RecordId::from(text)
    }

    /// The paths and fields that people see.
    fn shown(vault: &Vault) -> Vec<(String, Vec<(String, String)>)> {
        let text = |text: &Text| text.to_string_lossy().into_owned();
        let view = vault.view();
        let fields = |record: &crate::view::ViewRecord<'_>| {
            record
                .fields()
                .map(|field| (text(field.name), text(&field.value)))
                .collect()
        };
        view.records()
            .iter()
            .map(|record| (text(&record.path), fields(record)))
            .collect()
    }

    fn vault() -> Vault {
        let mut vault = Vault::new();
        vault.create_record(id("A"), "web/a", NOW).unwrap();
        vault.set(&id("A"), "user", "bob", NOW + 1).unwrap();
        vault.create_record(id("B"), "web/b", NOW + 2).unwrap();
        vault.set(&id("B"), "password", "one", NOW + 3).unwrap();
        vault
    }

    #[test]
    fn a_revert_undoes_all_edits_and_forgets_nothing() {
        let before = vault();
        let mut after = before.clone();
        after.set(&id("A"), "user", "eve", NOW + 10).unwrap();
        after.set(&id("A"), "note", "new", NOW + 10).unwrap();
        after.rename(&id("A"), "web/moved", NOW + 11).unwrap();
        after.delete(&id("B"), NOW + 12).unwrap();
        after.create_record(id("C"), "web/c", NOW + 13).unwrap();
        let history = after.clone();
        assert_eq!(revert(&mut after, &before, NOW + 20).unwrap(), 5);
        assert_eq!(shown(&after), shown(&before));
        assert_eq!(history.missing_from(&after), 0, "nothing was taken out");
        assert_eq!(
            revert(&mut after, &before, NOW + 21).unwrap(),
            0,
            "there is nothing left to undo"
        );
        // A revert can be reverted.
        revert(&mut after, &history, NOW + 30).unwrap();
        assert_eq!(shown(&after), shown(&history));
    }

    #[test]
    fn a_revert_wins_although_the_clock_was_set_back() {
        let before = vault();
        let mut after = before.clone();
        after.set(&id("A"), "user", "eve", NOW + 500).unwrap();
        after.delete(&id("B"), NOW + 500).unwrap();
        revert(&mut after, &before, NOW - 1000).unwrap();
        assert_eq!(shown(&after), shown(&before));
    }

    #[test]
    fn the_vault_at_an_earlier_time_shows_what_it_showed_then() {
        let mut vault = vault();
        vault.set(&id("B"), "password", "two", NOW + 50).unwrap();
        vault.delete(&id("A"), NOW + 60).unwrap();
        let then = shown(&vault.at(NOW + 49));
        assert_eq!(then, shown(&self::vault()));
        assert_eq!(shown(&vault.at(NOW - 1)), []);
        assert_eq!(shown(&vault.at(NOW + 60)), shown(&vault));
    }

    #[test]
    fn the_work_of_a_revert_grows_with_the_record_and_no_faster() {
        work::assert_nearly_linear(|fields| {
            let mut before = Vault::new();
            before.create_record(id("A"), "a", NOW).unwrap();
            let add = |vault: &mut Vault, number: i64, value: &str, time: i64| {
                let key = FieldKey::user(format!("f{number}"));
                let (stamp, value) = (Stamp::from_seconds(time), Value::Text(value.into()));
                vault.insert(&id("A"), Change { key, stamp, value });
            };
            (0..fields).for_each(|number| add(&mut before, number, "v", NOW));
            let mut after = before.clone();
            // Half of them are from the future.
            let time = |number| NOW + 1 + number % 2 * NOW;
            (0..fields).for_each(|number| add(&mut after, number, "w", time(number)));
            work::of(|| assert!(revert(&mut after, &before, NOW + 9).is_ok()))
        });
    }

    #[test]
    fn values_of_several_lines_stay_lists() {
        let key = FieldKey::user("note");
        let lines = Value::from_lines(vec!["a".into(), "b".into()]);
        let mut before = vault();
        before
            .change_value(&id("A"), key.clone(), lines.clone(), NOW + 5)
            .unwrap();
        let mut after = before.clone();
        after.unset(&id("A"), "note", NOW + 6).unwrap();
        revert(&mut after, &before, NOW + 7).unwrap();
        assert_eq!(
            after
                .record(&id("A"))
                .unwrap()
                .newest(Domain::User, &key.name)
                .unwrap()
                .value,
            lines
        );
    }
}
