//! What one sync did to each record and field, computed from the vault after the sync.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::record::{Change, FieldKey, Record, RecordId, Text, Vault, newest_of};
use crate::sync::delta::Delta;
use crate::view::State;

/// Where a change was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Side {
    /// On another device. The sync received it.
    Received,
    /// On this device. The sync sent it.
    Sent,
}

/// What a sync did to one record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordReport {
    /// The record.
    pub id: RecordId,
    /// The path under which it shows, or the last path of a deleted record.
    pub path: Text,
    /// What happened to the record as a whole.
    pub fate: Fate,
    /// Its fields that changed, in the order of their names. The path is not among them.
    pub fields: Vec<FieldReport>,
    /// The change of its path, if the record existed before.
    pub moved: Option<FieldReport>,
}

/// What happened to a record by a sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fate {
    /// It was made on this side and unknown on the other.
    New(Side),
    /// It was deleted on this side.
    Deleted(Side),
    /// It was deleted on one side and changed later on the other: it lives.
    Revived,
    /// It was live before and is live now.
    Changed,
    /// It was purged as a whole on this side.
    Purged(Side),
}

/// What a sync did to one field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FieldReport {
    /// The field.
    pub key: FieldKey,
    /// The number of changes that were received.
    pub received: usize,
    /// The number of changes that were sent.
    pub sent: usize,
    /// The number of changes that were purged, on either side.
    pub purged: usize,
    /// If both sides had changed the field: the value that lost.
    pub lost: Option<Lost>,
}

/// The value that lost a conflict. It is in the history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lost {
    /// Where it was set.
    pub side: Side,
    /// When it was set, in seconds since 1970.
    pub time: i64,
    /// Its number in the field's history, where the newest is 1.
    pub number: usize,
}

impl Delta {
    fn side_of(&self, id: &RecordId, change: &Change) -> Option<Side> {
        if self.received.contains(id, change) {
            Some(Side::Received)
        } else {
            self.sent.contains(id, change).then_some(Side::Sent)
        }
    }
}

impl Vault {
    /// What a sync did, in the order of the paths. This must be the vault after the sync.
    pub fn report(&self, delta: &Delta) -> Vec<RecordReport> {
        if delta.is_empty() {
            return Vec::new();
        }
        let mut reports: Vec<_> = self
            .records()
            .filter_map(|(id, record)| record_report(id, record, delta))
            .collect();
        // A clashing record shows under another path than its own.
        let view = self.view();
        let clashing = view
            .records()
            .iter()
            .filter(|record| record.clash.is_some());
        let shown: BTreeMap<_, _> = clashing.map(|record| (record.id, &record.path)).collect();
        for report in &mut reports {
            if let Some(path) = shown.get(&report.id) {
                report.path = path.as_ref().clone();
            }
        }
        reports.sort_by(|a, b| a.path.cmp(&b.path));
        reports
    }
}

/// `None` if the sync did nothing to the record, or if it never had a path: no person has seen it.
fn record_report(id: &RecordId, record: &Record, delta: &Delta) -> Option<RecordReport> {
    if record
        .changes()
        .iter()
        .all(|change| delta.side_of(id, change).is_none())
    {
        return None;
    }
    let paths = record
        .fields()
        .find(|field| matches!(field, [first, ..] if first.key.is_path()))?;
    let side_of = |change: Option<&Change>| change.and_then(|change| delta.side_of(id, change));
    let first = paths.iter().find(|change| !change.is_purged());
    let purge = paths.iter().rev().find_map(|change| side_of(Some(change)));
    // A record begins with its path. Changes made since that sync do not count.
    let fate = match (record.state(), side_of(first), side_of(newest_of(paths))) {
        (State::Pathless, ..) if first.is_none() => Fate::Purged(purge.unwrap_or(Side::Received)),
        (State::Deleted { .. }, _, Some(side)) => Fate::Deleted(side),
        (_, Some(side), _) => Fate::New(side),
        (State::Live { revived: true, .. }, ..) => Fate::Revived,
        _ => Fate::Changed,
    };
    let path = match record.state() {
        State::Live { path, .. } | State::Deleted { path, .. } => path.into_owned(),
        State::Pathless => Text::from(""),
    };
    let fields = record
        .fields()
        .filter_map(|field| field_report(id, field, delta));
    let (mut moved, fields): (Vec<_>, Vec<_>) = fields.partition(|field| field.key.is_path());
    let moved = moved
        .pop()
        .filter(|_| matches!(fate, Fate::Changed | Fate::Revived));
    Some(RecordReport {
        id: id.clone(),
        path,
        fate,
        fields,
        moved,
    })
}

fn field_report(id: &RecordId, field: &[Change], delta: &Delta) -> Option<FieldReport> {
    let key = field.first()?.key.clone();
    let mut report = FieldReport {
        key,
        received: 0,
        sent: 0,
        purged: 0,
        lost: None,
    };
    let mut newest: [Option<Lost>; 2] = [None, None];
    let purged = field.iter().filter(|change| change.is_purged());
    report.purged = purged
        .filter(|change| delta.side_of(id, change).is_some())
        .count();
    let kept = field.iter().rev().filter(|change| !change.is_purged());
    for (place, change) in kept.enumerate() {
        let Some(side) = delta.side_of(id, change) else {
            continue;
        };
        let slot = match side {
            Side::Received => {
                report.received += 1;
                newest.first_mut()
            }
            Side::Sent => {
                report.sent += 1;
                newest.last_mut()
            }
        };
        if let (Some(slot @ None), Some(time)) = (slot, change.stamp.deciding_seconds()) {
            *slot = Some(Lost {
                side,
                time,
                number: place + 1,
            });
        }
    }
    if let [Some(received), Some(sent)] = newest {
        report.lost = Some(if received.number > sent.number {
            received
        } else {
            sent
        });
    }
    (report.received + report.sent + report.purged > 0).then_some(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Domain, Stamp, Value};
    use crate::sync::seen::SeenChanges;

    /// What a sync of the two does to the first.
    fn sync(ours: &mut Vault, theirs: &Vault) -> Vec<RecordReport> {
        let (before, remote) = (SeenChanges::of(ours), SeenChanges::of(theirs));
        let delta = Delta {
            time: 0,
            received: remote.without(&before),
            sent: before.without(&remote),
        };
        ours.merge(theirs);
        ours.report(&delta)
    }

    fn two_devices() -> (Vault, Vault) {
        let mut vault = Vault::new();
        vault.create_record("A".into(), "web/a", 100).unwrap();
        vault.set(&"A".into(), "user", "bob", 100).unwrap();
        vault.create_record("B".into(), "web/b", 100).unwrap();
        (vault.clone(), vault)
    }

    #[test]
    fn each_change_has_a_side_and_a_lost_value_has_a_number() {
        let (mut ours, mut theirs) = two_devices();
        ours.set(&"A".into(), "user", "ours", 200).unwrap();
        ours.set(&"A".into(), "note", "mine", 201).unwrap();
        theirs.set(&"A".into(), "user", "theirs", 300).unwrap();
        theirs.delete(&"B".into(), 301).unwrap();
        theirs.create_record("C".into(), "mail", 302).unwrap();
        ours.create_record("D".into(), "zoo", 303).unwrap();
        let reports = sync(&mut ours, &theirs);
        let fates: Vec<_> = reports
            .iter()
            .map(|one| (one.path.as_str().unwrap(), one.fate))
            .collect();
        assert_eq!(
            fates,
            [
                ("mail", Fate::New(Side::Received)),
                ("web/a", Fate::Changed),
                ("web/b", Fate::Deleted(Side::Received)),
                ("zoo", Fate::New(Side::Sent)),
            ]
        );
        let fields = &reports.get(1).unwrap().fields;
        let lost = Lost {
            side: Side::Sent,
            time: 200,
            number: 2,
        };
        assert_eq!(
            *fields,
            [
                FieldReport {
                    key: FieldKey::user("note"),
                    received: 0,
                    sent: 1,
                    purged: 0,
                    lost: None
                },
                FieldReport {
                    key: FieldKey::user("user"),
                    received: 1,
                    sent: 1,
                    purged: 0,
                    lost: Some(lost)
                },
            ]
        );
        assert_eq!(
            sync(&mut ours.clone(), &ours),
            [],
            "nothing is new any more"
        );
    }

    #[test]
    fn changes_made_after_the_sync_are_not_reported() {
        let (mut ours, mut theirs) = two_devices();
        theirs.create_record("C".into(), "mail", 302).unwrap();
        let (before, remote) = (SeenChanges::of(&ours), SeenChanges::of(&theirs));
        let delta = Delta {
            time: 0,
            received: remote.without(&before),
            sent: SeenChanges::new(),
        };
        ours.merge(&theirs);
        ours.rename(&"C".into(), "post", 400).unwrap();
        ours.set(&"A".into(), "user", "later", 400).unwrap();
        let reports = ours.report(&delta);
        assert_eq!(
            reports.iter().map(|one| one.fate).collect::<Vec<_>>(),
            [Fate::New(Side::Received)]
        );
    }

    #[test]
    fn a_rename_and_a_revived_record_are_reported() {
        let (mut ours, mut theirs) = two_devices();
        ours.delete(&"A".into(), 200).unwrap();
        theirs.set(&"A".into(), "user", "later", 300).unwrap();
        theirs.rename(&"B".into(), "web/moved", 300).unwrap();
        let reports = sync(&mut ours, &theirs);
        assert_eq!(reports.first().unwrap().fate, Fate::Revived);
        let moved = reports.get(1).unwrap();
        assert_eq!(
            (moved.path.as_str(), moved.fate),
            (Some("web/moved"), Fate::Changed)
        );
        assert_eq!(moved.moved.as_ref().unwrap().received, 1);
    }

    #[test]
    fn a_record_that_never_had_a_path_is_not_reported() {
        let (mut ours, theirs) = two_devices();
        let key = FieldKey::new(Domain::Meta, "hidden");
        let hidden = Change {
            key,
            stamp: Stamp::from_seconds(200),
            value: Value::Text("v".into()),
        };
        ours.insert(&"C".into(), hidden);
        assert_eq!(sync(&mut ours.clone(), &theirs), []);
        assert_eq!(sync(&mut theirs.clone(), &ours), []);
    }
}
