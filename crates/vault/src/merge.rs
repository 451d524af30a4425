//! Two vaults become one: the union of their changes, less those that another one replaces.
//!
//! A union cannot fail. A change replaces others of its field with its stamp if it purges them, or
//! shows the same text in more lines (see [`record`](crate::record)). The union is commutative,
//! associative and idempotent, so devices may sync in any order, repeatedly, or through each other,
//! and end with the same vault. A merge decides nothing: the order of changes alone decides which
//! change people see. A merge returns numbers and ids; [`report`](crate::report) says what happened
//! to each field.

use std::cmp::Ordering;

use crate::record::{Change, Record, RecordId, Vault, is_known, newest_of};
use crate::view::Claim;

/// What a merge brought, in numbers and ids. The ids are in ascending order.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct MergeSummary {
    /// The number of changes that were new here.
    pub received: usize,
    /// The number of changes of either side that were cut off: see
    /// [`truncate`](crate::history::truncate).
    pub dropped: usize,
    /// The number of conflicts that were resolved: fields that both sides had changed since they
    /// were last equal, records in `revived`, and records in `clashing`.
    pub conflicts_resolved: usize,
    /// The records that this vault did not know at all.
    pub added: Vec<RecordId>,
    /// The records that this vault knew and that got changes.
    pub changed: Vec<RecordId>,
    /// Those of `changed` that were deleted on one side and changed later on the other: they live.
    pub revived: Vec<RecordId>,
    /// Records whose path came with this merge and is wanted by another record too.
    pub clashing: Vec<RecordId>,
    /// Records in which the other side had purged a change that this vault had.
    pub purged: Vec<RecordId>,
}

impl MergeSummary {
    /// True if nothing was new.
    pub fn is_empty(&self) -> bool {
        self.received == 0
    }
}

impl Vault {
    /// Adds all changes of `other` that this vault does not have, and removes what `other` has
    /// purged. Never fails; takes time linear in the size of both.
    ///
    /// If the history of one of them is [truncated](crate::history::truncate), so is the result.
    pub fn merge(&mut self, other: &Self) -> MergeSummary {
        let mut summary = MergeSummary::default();
        let kept = other.truncated_with(self);
        let union_count = kept.since.map(|since| {
            let union_count = self.union_count(other);
            self.truncate(since, other);
            union_count
        });
        let other = &*kept;
        let mut new_records = Vec::new();
        // Records that show under a path that this merge brought, in ascending order.
        let mut with_new_path = Vec::new();
        let mut ours = self.records.iter_mut().peekable();
        for (id, theirs) in &other.records {
            while ours.next_if(|(our_id, _)| *our_id < id).is_some() {}
            match ours.next_if(|(our_id, _)| *our_id == id) {
                Some((_, record)) => {
                    if let Some(effect) = merge_record(record, theirs)
                        && summary.note(id, effect)
                    {
                        with_new_path.push(id);
                    }
                }
                None => {
                    new_records.push((id.clone(), theirs.clone()));
                    summary.received += theirs.changes.len();
                    summary.added.push(id.clone());
                    // If it was deleted and revived elsewhere, this device just sees it.
                    if theirs.state().is_live() {
                        with_new_path.push(id);
                    }
                }
            }
        }
        self.records.extend(new_records);
        summary.dropped = union_count.map_or(0, |count| count - self.change_count());
        summary.clashing = self.find_clashes(&with_new_path);
        summary.conflicts_resolved += summary.revived.len() + summary.clashing.len();
        summary
    }

    /// The number of changes that the union of both has, before it is truncated.
    fn union_count(&self, other: &Self) -> usize {
        let theirs = |id: &RecordId| other.records.get(id).map_or(&[][..], Record::changes);
        let known = self.records.iter();
        let known = known.map(|(id, record)| pairs(&record.changes, theirs(id)).count());
        let added = other.records.iter();
        let added = added.filter(|(id, _)| !self.records.contains_key(*id));
        known.sum::<usize>() + added.map(|(_, record)| record.changes.len()).sum::<usize>()
    }

    /// The number of changes that this vault has and `other` has not: those that a sync sends. A
    /// change in whose place `other` has another one, because it was purged for example, is not
    /// among them; a change that takes the place of one that `other` has is.
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

    /// The records among `with_new_path` whose path another record wants too, in ascending order.
    /// If all records that want a path are among them, the one that keeps it has no clash.
    fn find_clashes(&self, with_new_path: &[&RecordId]) -> Vec<RecordId> {
        if with_new_path.is_empty() {
            return Vec::new();
        }
        let claims = self.records.iter();
        let claims = claims.filter_map(|(id, record)| record.state().into_claim(id));
        let mut claims: Vec<Claim<'_>> = claims.collect();
        claims.sort();
        let mut clashing = Vec::new();
        for group in claims
            .chunk_by(|a, b| a.path == b.path)
            .filter(|group| group.len() > 1)
        {
            let arrived: Vec<&RecordId> = group
                .iter()
                .map(|claim| claim.id)
                .filter(|id| with_new_path.binary_search(id).is_ok())
                .collect();
            let keeps_path = usize::from(arrived.len() == group.len());
            clashing.extend(arrived.into_iter().skip(keeps_path).cloned());
        }
        clashing.sort();
        clashing
    }
}

impl MergeSummary {
    /// Counts a known record that got changes; true if it shows under a path that came with them.
    fn note(&mut self, id: &RecordId, effect: Effect) -> bool {
        self.received += effect.received;
        self.conflicts_resolved += effect.conflicts;
        self.changed.push(id.clone());
        let is_revived = effect.is_live && effect.is_revived;
        if is_revived {
            self.revived.push(id.clone());
        }
        if effect.is_purged {
            self.purged.push(id.clone());
        }
        is_revived || (!effect.was_live && effect.is_live) || effect.has_their_path
    }
}

/// What a merge did to a record that was known.
struct Effect {
    /// The number of changes that were new here.
    received: usize,
    /// The number of fields that both sides had changed.
    conflicts: usize,
    was_live: bool,
    is_live: bool,
    /// True if it lives in spite of a deletion now, and did not before.
    is_revived: bool,
    /// True if it shows the path of the other side now.
    has_their_path: bool,
    /// True if a change that was known is purged now.
    is_purged: bool,
}

/// Merges one record; `None` if nothing was new.
fn merge_record(ours: &mut Record, theirs: &Record) -> Option<Effect> {
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
    let (before, after) = (ours.state(), merged.state());
    let mut effect = Effect {
        received,
        conflicts: 0,
        was_live: before.is_live(),
        is_live: after.is_live(),
        is_revived: after.is_revived() && !before.is_revived(),
        has_their_path: false,
        is_purged: has_purged(theirs, ours),
    };
    for field in merged.fields() {
        effect.add_field(field, ours, theirs);
    }
    *ours = merged;
    Some(effect)
}

/// True if a record has purged a change that another one has in full.
fn has_purged(record: &Record, other: &Record) -> bool {
    let mut purges = record.changes.iter().filter(|change| change.is_purged());
    purges.any(|purge| replaces_known(&other.changes, purge))
}

impl Effect {
    /// Adds what the merge did to one field, given its merged history.
    fn add_field(&mut self, field: &[Change], ours: &Record, theirs: &Record) {
        let Some(first) = field.first() else { return };
        let key = &first.key;
        let our_history = ours.history(key.domain, &key.name);
        if our_history == field {
            return;
        }
        let their_history = theirs.history(key.domain, &key.name);
        // A change that shows the same text as a known one of its time is no other change.
        let lacks = |history: &[Change], change: &Change| {
            change.decides() && !is_known(history, change) && !replaces_known(history, change)
        };
        let we_changed = field.iter().any(|change| lacks(their_history, change));
        let they_changed = field.iter().any(|change| lacks(our_history, change));
        let theirs_is_seen = newest_of(field) != newest_of(our_history);
        self.conflicts += usize::from(we_changed && they_changed);
        self.has_their_path |= theirs_is_seen && key.is_path();
    }
}

/// True if a change that is not in a history replaces one that is.
fn replaces_known(history: &[Change], change: &Change) -> bool {
    let before = history.partition_point(|known| known < change);
    let last = before.checked_sub(1).and_then(|place| history.get(place));
    last.is_some_and(|known| change.replaces(known))
}

/// Walks two sorted lists in step. Yields each change once, with the side or sides that have it.
/// What a change of one side replaces is left out of the other side.
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
            (Some(our), Some(their)) if our.replaces(their) => {
                while theirs.next_if(|change| our.replaces(change)).is_some() {}
                Ordering::Less
            }
            (Some(our), Some(their)) if their.replaces(our) => {
                while ours.next_if(|change| their.replaces(change)).is_some() {}
                Ordering::Greater
            }
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

    #[test]
    fn merging_what_is_known_changes_nothing() {
        let (mut ours, theirs) = two_devices();
        assert_eq!(ours.merge(&theirs), MergeSummary::default());
        assert!(ours.merge(&Vault::new()).is_empty());
        assert_eq!(ours, theirs);
        assert_eq!(ours.missing_from(&theirs), 0);
    }

    #[test]
    fn the_later_of_a_deletion_and_an_edit_of_one_field_is_seen() {
        let (mut ours, mut theirs) = two_devices();
        ours.unset(&"A".into(), "f", 200).unwrap();
        theirs.set(&"A".into(), "f", "second", 300).unwrap();
        assert_eq!(ours.missing_from(&theirs), 1);
        let summary = ours.merge(&theirs);
        assert_eq!(seen(&ours, "p", "f").as_deref(), Some("second"));
        assert_eq!((summary.received, summary.conflicts_resolved), (1, 1));
        assert_eq!(summary.changed, [RecordId::from("A")]);
        assert_eq!(ours.missing_from(&theirs), 1);
        let summary = theirs.merge(&ours);
        assert_eq!((summary.received, summary.conflicts_resolved), (1, 0));
        assert_eq!(ours, theirs);
    }

    #[test]
    fn changes_of_different_fields_are_no_conflict() {
        let (mut ours, mut theirs) = two_devices();
        ours.set(&"A".into(), "f", "ours", 200).unwrap();
        theirs.set(&"A".into(), "g", "theirs", 200).unwrap();
        let summary = ours.merge(&theirs);
        assert_eq!((summary.received, summary.conflicts_resolved), (1, 0));
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
        assert_eq!(summary.conflicts_resolved, 1);
        let summary = theirs.merge(&before);
        assert_eq!(summary.conflicts_resolved, 1);
        assert_eq!(ours, theirs);
        assert_eq!(seen(&ours, "p", "f").as_deref(), Some("b"));
    }

    #[test]
    fn an_edit_after_a_deletion_elsewhere_revives_the_record() {
        let (mut ours, mut theirs) = two_devices();
        ours.delete(&"A".into(), 200).unwrap();
        theirs.set(&"A".into(), "f", "later", 300).unwrap();
        let ours_before = ours.clone();
        let summary = ours.merge(&theirs);
        assert_eq!(summary.revived, [RecordId::from("A")]);
        assert_eq!(summary.conflicts_resolved, 1);
        assert_eq!(seen(&ours, "p", "f").as_deref(), Some("later"));
        let summary = theirs.merge(&ours_before);
        assert_eq!(summary.revived, [RecordId::from("A")]);
    }

    #[test]
    fn a_deletion_after_an_edit_elsewhere_holds() {
        let (mut ours, mut theirs) = two_devices();
        ours.set(&"A".into(), "f", "earlier", 200).unwrap();
        theirs.delete(&"A".into(), 300).unwrap();
        ours.merge(&theirs);
        assert!(ours.view().get("p").is_none());
    }

    #[test]
    fn a_record_that_was_unknown_is_added_and_alters_nothing() {
        let (mut ours, mut theirs) = two_devices();
        theirs.create_record("B".into(), "q", 200).unwrap();
        theirs.set(&"B".into(), "f", "v", 200).unwrap();
        let expected = MergeSummary {
            received: 2,
            added: vec!["B".into()],
            ..MergeSummary::default()
        };
        assert_eq!(ours.merge(&theirs), expected);
    }

    #[test]
    fn two_records_with_one_path_are_one_conflict_on_each_device() {
        let (mut ours, mut theirs) = two_devices();
        ours.create_record("B".into(), "new", 200).unwrap();
        theirs.create_record("C".into(), "new", 200).unwrap();
        let ours_before = ours.clone();
        let summary = ours.merge(&theirs);
        assert_eq!(summary.clashing, [RecordId::from("C")]);
        assert_eq!(summary.conflicts_resolved, 1);
        assert_eq!(theirs.merge(&ours_before).conflicts_resolved, 1);
        assert_eq!(Vault::new().merge(&ours).conflicts_resolved, 1);
        let view = ours.view();
        assert_eq!(*view.get("new").unwrap().id, RecordId::from("B"));
        assert_eq!(*view.get("new~C").unwrap().id, RecordId::from("C"));
    }
}
