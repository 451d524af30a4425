//! Two vaults become one: the union of their changes.
//!
//! A union cannot fail, and it is commutative, associative and idempotent, so devices may sync in
//! any order, twice, or through each other, and end with the same vault. Nothing is decided here:
//! which change people see follows from the order of changes alone (see [`record`](crate::record)).
//! The summary compares what was seen before with what is seen now, for the report to the person.

use std::cmp::Ordering;

use crate::record::{Change, FieldKey, Record, RecordId, Vault, newest_of};

/// What a merge brought.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct MergeSummary {
    /// The number of changes that were new here.
    pub received: usize,
    /// The number of changes of either side that were cut off: see [`truncate`](crate::history::truncate).
    pub dropped: usize,
    /// The records that got changes, in the order of their ids.
    pub records: Vec<RecordChange>,
}

impl MergeSummary {
    /// The number of conflicts that were resolved: fields that both sides had changed since they
    /// were last equal, records that a change brought back after their deletion, and paths that two
    /// records want.
    pub fn conflicts_resolved(&self) -> usize {
        self.records
            .iter()
            .map(RecordChange::conflicts_resolved)
            .sum()
    }

    /// How much of what was seen in `before`, the vault before this merge, it deleted or changed.
    pub fn altered(&self, before: &Vault) -> Altered {
        let is_live = |id: &RecordId| {
            before
                .record(id)
                .is_some_and(|record| record.state().is_live())
        };
        let mut altered = Altered {
            deleted: 0,
            changed: 0,
            of: 0,
        };
        altered.of = before
            .records()
            .filter(|(_, record)| record.state().is_live())
            .count();
        for change in self.records.iter().filter(|change| is_live(&change.id)) {
            let is_other = |field: &FieldChange| {
                matches!(
                    field.outcome,
                    FieldOutcome::Theirs | FieldOutcome::ResolvedTheirs
                )
            };
            if change.fate == Fate::Deleted {
                altered.deleted += 1;
            } else if change.fields.iter().any(is_other) {
                altered.changed += 1;
            }
        }
        altered
    }

    /// True if nothing was new.
    pub fn is_empty(&self) -> bool {
        self.received == 0
    }
}

/// How much of what was seen a merge deletes or changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Altered {
    /// Records that are not seen any more.
    pub deleted: usize,
    /// Records of which something else is seen.
    pub changed: usize,
    /// Records that were seen before.
    pub of: usize,
}

/// What a merge brought for one record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordChange {
    /// The record.
    pub id: RecordId,
    /// True if this vault did not know the record at all; then `fields` is empty.
    pub is_new: bool,
    /// The number of changes that were new here.
    pub received: usize,
    /// The fields that got changes, in the order of their keys; none for a new record.
    pub fields: Vec<FieldChange>,
    /// What became of the record as a whole.
    pub fate: Fate,
    /// True if its path came with this merge and another record wants it too.
    pub clashes: bool,
}

impl RecordChange {
    fn conflicts_resolved(&self) -> usize {
        let fields = self
            .fields
            .iter()
            .filter(|field| field.outcome.is_conflict())
            .count();
        fields + usize::from(self.fate == Fate::Revived) + usize::from(self.clashes)
    }
}

/// What became of a record by a merge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is live and was, or is hidden and was.
    Same,
    /// It is seen now and was not: it is new, or its path was set again.
    Appeared,
    /// It was deleted on one side and changed later on the other: it lives.
    Revived,
    /// It was live and is deleted now.
    Deleted,
}

/// What a merge brought for one field of a record that was known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldChange {
    /// The field.
    pub key: FieldKey,
    /// Whose value is seen now.
    pub outcome: FieldOutcome,
}

/// Whose value of a field is seen after a merge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldOutcome {
    /// Only history came: what was seen is still seen, and the other side had it too.
    Unchanged,
    /// Only the other side had changed the field; its value is seen now.
    Theirs,
    /// Both sides had changed it; the other side's value won, ours is in the history.
    ResolvedTheirs,
    /// Both sides had changed it; our value won, the other side's is in the history.
    ResolvedOurs,
}

impl FieldOutcome {
    /// True if both sides had changed the field.
    pub fn is_conflict(self) -> bool {
        matches!(self, Self::ResolvedTheirs | Self::ResolvedOurs)
    }
}

impl Vault {
    /// Adds all changes of `other` that are not here yet. Never fails; takes time linear in both.
    ///
    /// If one of the two keeps its history since a time only, so does the result.
    pub fn merge(&mut self, other: &Self) -> MergeSummary {
        let mut summary = MergeSummary::default();
        let kept = other.truncated_with(self);
        let union_count = kept.since.map(|since| {
            let union_count = self.change_count() + other.missing_from(self);
            self.truncate(since, other);
            union_count
        });
        let other = &*kept;
        let mut new_records = Vec::new();
        let mut ours = self.records.iter_mut().peekable();
        for (id, theirs) in &other.records {
            while ours.next_if(|(our_id, _)| *our_id < id).is_some() {}
            match ours.next_if(|(our_id, _)| *our_id == id) {
                Some((_, record)) => summary.records.extend(merge_record(id, record, theirs)),
                None => {
                    new_records.push((id.clone(), theirs.clone()));
                    summary
                        .records
                        .push(RecordChange::of_new_record(id, theirs));
                }
            }
        }
        self.records.extend(new_records);
        summary.received = summary.records.iter().map(|record| record.received).sum();
        summary.dropped = union_count.map_or(0, |count| count - self.change_count());
        self.note_clashes(&mut summary);
        summary
    }

    /// The number of changes that are here and not in `other`: what a sync sends.
    pub fn missing_from(&self, other: &Self) -> usize {
        let mut count = 0;
        let mut theirs = other.records.iter().peekable();
        for (id, record) in &self.records {
            while theirs.next_if(|(their_id, _)| *their_id < id).is_some() {}
            count += match theirs.next_if(|(their_id, _)| *their_id == id) {
                Some((_, their_record)) => pairs(&record.changes, &their_record.changes)
                    .filter(|pair| matches!(pair, (Some(_), None)))
                    .count(),
                None => record.changes.len(),
            };
        }
        count
    }

    /// SeenChanges the records whose path came with this merge and is wanted by another record.
    fn note_clashes(&self, summary: &mut MergeSummary) {
        if !summary.records.iter().any(RecordChange::has_new_path) {
            return;
        }
        let mut paths = Vec::new();
        for (id, record) in &self.records {
            paths.extend(record.state().into_live_path().map(|path| (path, id)));
        }
        paths.sort();
        for group in paths
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|group| group.len() > 1)
        {
            let place = |id: &RecordId| {
                summary
                    .records
                    .binary_search_by(|change| change.id.cmp(id))
                    .ok()
            };
            let mut arrived: Vec<usize> = group.iter().filter_map(|(_, id)| place(id)).collect();
            arrived.retain(|place| {
                summary
                    .records
                    .get(*place)
                    .is_some_and(RecordChange::has_new_path)
            });
            // If none was here before, one of them simply has its path.
            let resolved = if arrived.len() == group.len() {
                arrived.get(1..)
            } else {
                arrived.get(..)
            };
            for place in resolved.unwrap_or_default() {
                if let Some(change) = summary.records.get_mut(*place) {
                    change.clashes = true;
                }
            }
        }
    }
}

impl RecordChange {
    fn of_new_record(id: &RecordId, record: &Record) -> Self {
        // If it was deleted and revived elsewhere, it is just there for this device.
        let fate = if record.state().is_live() {
            Fate::Appeared
        } else {
            Fate::Same
        };
        let received = record.changes.len();
        Self {
            id: id.clone(),
            is_new: true,
            received,
            fields: Vec::new(),
            fate,
            clashes: false,
        }
    }

    /// True if the record shows under a path that this merge brought.
    fn has_new_path(&self) -> bool {
        let path_won = |field: &FieldChange| {
            field.key.is_path()
                && matches!(
                    field.outcome,
                    FieldOutcome::Theirs | FieldOutcome::ResolvedTheirs
                )
        };
        matches!(self.fate, Fate::Appeared | Fate::Revived) || self.fields.iter().any(path_won)
    }
}

/// Merges one record; `None` if nothing was new.
fn merge_record(id: &RecordId, ours: &mut Record, theirs: &Record) -> Option<RecordChange> {
    if *ours == *theirs {
        return None;
    }
    let received = pairs(&ours.changes, &theirs.changes)
        .filter(|pair| matches!(pair, (None, Some(_))))
        .count();
    if received == 0 {
        return None;
    }
    let mut changes = Vec::with_capacity(ours.changes.len() + received);
    changes.extend(
        pairs(&ours.changes, &theirs.changes)
            .filter_map(|(our, their)| our.or(their))
            .cloned(),
    );
    let merged = Record { changes };
    let fields = merged
        .fields()
        .filter_map(|field| field_change(field, ours, theirs))
        .collect();
    let (before, after) = (ours.state(), merged.state());
    let fate = match (before.is_live(), after.is_live()) {
        (true, false) => Fate::Deleted,
        (_, true) if after.is_revived() && !before.is_revived() => Fate::Revived,
        (false, true) => Fate::Appeared,
        _ => Fate::Same,
    };
    let change = RecordChange {
        id: id.clone(),
        is_new: false,
        received,
        fields,
        fate,
        clashes: false,
    };
    *ours = merged;
    Some(change)
}

/// What the merge brought for one field, given its merged history; `None` if nothing was new.
fn field_change(field: &[Change], ours: &Record, theirs: &Record) -> Option<FieldChange> {
    let key = &field.first()?.key;
    let our_history = ours.history(key.domain, &key.name);
    if our_history.len() == field.len() {
        return None;
    }
    let their_history = theirs.history(key.domain, &key.name);
    let lacks = |history: &[Change], change: &Change| {
        change.stamp.decides() && history.binary_search(change).is_err()
    };
    let we_changed = field.iter().any(|change| lacks(their_history, change));
    let they_changed = field.iter().any(|change| lacks(our_history, change));
    let theirs_is_seen = newest_of(field) != newest_of(our_history);
    let outcome = match (we_changed && they_changed, theirs_is_seen) {
        (true, true) => FieldOutcome::ResolvedTheirs,
        (true, false) => FieldOutcome::ResolvedOurs,
        (false, true) => FieldOutcome::Theirs,
        (false, false) => FieldOutcome::Unchanged,
    };
    Some(FieldChange {
        key: key.clone(),
        outcome,
    })
}

/// Walks two sorted lists side by side: each change once, with the side or sides that have it.
fn pairs<'a>(
    ours: &'a [Change],
    theirs: &'a [Change],
) -> impl Iterator<Item = (Option<&'a Change>, Option<&'a Change>)> {
    let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (ours.peek(), theirs.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(our), Some(their)) => our.cmp(their),
        };
        Some(match order {
            Ordering::Less => (ours.next(), None),
            Ordering::Equal => (ours.next(), theirs.next()),
            Ordering::Greater => (None, theirs.next()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two devices that start equal, with one record "A" at path "p" and field "f".
    fn two_devices() -> (Vault, Vault) {
        let mut vault = Vault::new();
        vault.create_record("A".into(), "p", 100).unwrap();
        vault.set(&"A".into(), "f", "first", 100).unwrap();
        (vault.clone(), vault)
    }

    fn seen(vault: &Vault, path: &str, field: &str) -> Option<String> {
        let view = vault.view();
        let value = view.get(path)?.field(&field.into())?.value;
        Some(value.to_string_lossy().into_owned())
    }

    #[track_caller]
    fn only_change(summary: &MergeSummary) -> &RecordChange {
        assert_eq!(summary.records.len(), 1, "{summary:?}");
        summary.records.first().unwrap()
    }

    #[test]
    fn merging_what_is_known_changes_nothing() {
        let (mut ours, theirs) = two_devices();
        assert!(ours.merge(&theirs).is_empty());
        assert!(ours.merge(&Vault::new()).is_empty());
        assert_eq!(ours, theirs);
        assert_eq!(ours.missing_from(&theirs), 0);
    }

    #[test]
    fn a_field_deleted_on_one_device_and_edited_on_another_keeps_the_later_change() {
        let (mut ours, mut theirs) = two_devices();
        ours.unset(&"A".into(), "f", 200).unwrap();
        theirs.set(&"A".into(), "f", "second", 300).unwrap();
        assert_eq!(ours.missing_from(&theirs), 1);
        let summary = ours.merge(&theirs);
        assert_eq!(seen(&ours, "p", "f").as_deref(), Some("second"));
        assert_eq!((summary.received, summary.conflicts_resolved()), (1, 1));
        assert_eq!(
            only_change(&summary).fields.first().unwrap().outcome,
            FieldOutcome::ResolvedTheirs
        );
        assert_eq!(ours.missing_from(&theirs), 1);
        let summary = theirs.merge(&ours);
        assert_eq!(
            only_change(&summary).fields.first().unwrap().outcome,
            FieldOutcome::Unchanged
        );
        assert_eq!(summary.conflicts_resolved(), 0);
        assert_eq!(ours, theirs);
    }

    #[test]
    fn changes_of_different_fields_are_no_conflict() {
        let (mut ours, mut theirs) = two_devices();
        ours.set(&"A".into(), "f", "ours", 200).unwrap();
        theirs.set(&"A".into(), "g", "theirs", 200).unwrap();
        let summary = ours.merge(&theirs);
        assert_eq!((summary.received, summary.conflicts_resolved()), (1, 0));
        assert_eq!(
            only_change(&summary).fields.first().unwrap().outcome,
            FieldOutcome::Theirs
        );
        assert_eq!(seen(&ours, "p", "f").as_deref(), Some("ours"));
        assert_eq!(seen(&ours, "p", "g").as_deref(), Some("theirs"));
    }

    #[test]
    fn two_edits_in_one_second_resolve_the_same_on_both_devices() {
        let (mut ours, mut theirs) = two_devices();
        ours.set(&"A".into(), "f", "b", 200).unwrap();
        theirs.set(&"A".into(), "f", "a", 200).unwrap();
        let before = ours.clone();
        let summary = ours.merge(&theirs);
        assert_eq!(
            only_change(&summary).fields.first().unwrap().outcome,
            FieldOutcome::ResolvedOurs
        );
        let summary = theirs.merge(&before);
        assert_eq!(
            only_change(&summary).fields.first().unwrap().outcome,
            FieldOutcome::ResolvedTheirs
        );
        assert_eq!(ours, theirs);
        assert_eq!(seen(&ours, "p", "f").as_deref(), Some("b"));
    }

    #[test]
    fn an_edit_made_elsewhere_after_a_deletion_brings_the_record_back_and_is_reported() {
        let (mut ours, mut theirs) = two_devices();
        ours.delete(&"A".into(), 200).unwrap();
        theirs.set(&"A".into(), "f", "later", 300).unwrap();
        let ours_before = ours.clone();
        let summary = ours.merge(&theirs);
        assert_eq!(only_change(&summary).fate, Fate::Revived);
        assert_eq!(summary.conflicts_resolved(), 1);
        assert_eq!(seen(&ours, "p", "f").as_deref(), Some("later"));
        assert_eq!(only_change(&theirs.merge(&ours_before)).fate, Fate::Revived);
    }

    #[test]
    fn a_deletion_after_an_edit_made_elsewhere_holds_and_is_reported() {
        let (mut ours, mut theirs) = two_devices();
        ours.set(&"A".into(), "f", "earlier", 200).unwrap();
        theirs.delete(&"A".into(), 300).unwrap();
        assert_eq!(only_change(&ours.merge(&theirs)).fate, Fate::Deleted);
        assert!(ours.view().get("p").is_none());
    }

    #[test]
    fn a_new_record_is_reported_as_a_whole() {
        let (mut ours, mut theirs) = two_devices();
        theirs.create_record("B".into(), "q", 200).unwrap();
        theirs.set(&"B".into(), "f", "v", 200).unwrap();
        let summary = ours.merge(&theirs);
        let change = only_change(&summary);
        assert_eq!(
            (change.is_new, change.received, change.fate),
            (true, 2, Fate::Appeared)
        );
        assert!(change.fields.is_empty() && !change.clashes);
        assert_eq!(summary.conflicts_resolved(), 0);
    }

    #[test]
    fn a_path_that_two_devices_gave_to_different_records_is_one_resolved_conflict_on_each() {
        let (mut ours, mut theirs) = two_devices();
        ours.create_record("B".into(), "new", 200).unwrap();
        theirs.create_record("C".into(), "new", 200).unwrap();
        let ours_before = ours.clone();
        let summary = ours.merge(&theirs);
        assert!(only_change(&summary).clashes);
        assert_eq!(summary.conflicts_resolved(), 1);
        assert_eq!(theirs.merge(&ours_before).conflicts_resolved(), 1);
        assert_eq!(Vault::new().merge(&ours).conflicts_resolved(), 1);
        let view = ours.view();
        assert_eq!(*view.get("new").unwrap().id, RecordId::from("B"));
        assert_eq!(*view.get("new~C").unwrap().id, RecordId::from("C"));
    }
}
