//! Changes that are stamped in the future get a present stamp before they are imported.
//!
//! A change from the year 9999 would win over every later edit, on every device. The rules are:
//!  - the changes of a record from the future keep their order, and stay newer than its other
//!    changes: so people see what they would have seen;
//!  - if the vault had the values of a field from the future already, at any time, they are not
//!    added again;
//!  - a purged change stays where it is, because it decides nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use passmate_vault::Vault;
use passmate_vault::record::{Change, Record, Stamp, TIME_MIN, Value, is_ahead};

/// How many present stamps the changes of one record get, so that none of them is far ahead. If
/// there are more changes, the oldest share the first stamp.
const STAMPS_MAX: usize = 3600;

/// The vault with present stamps, as it is to be merged into `ours`, and the number of changes that
/// got one. Changes that `ours` has already under another stamp are left out.
pub(super) fn bring_to_present<'t>(
    theirs: &'t Vault,
    ours: &Vault,
    now: i64,
) -> (Cow<'t, Vault>, usize) {
    let mut changes = theirs.records().flat_map(|(_, record)| record.changes());
    if !changes.any(|change| is_from_future(change, now)) {
        return (Cow::Borrowed(theirs), 0);
    }
    let none = Record::default();
    let (mut present, mut clamped) = (Vault::new(), 0);
    for (id, record) in theirs.records() {
        let known = ours.record(id).unwrap_or(&none);
        for change in record.changes() {
            if !is_from_future(change, now) {
                present.insert(id, change.clone());
            }
        }
        for change in clamp(record, known, now) {
            clamped += 1;
            present.insert(id, change);
        }
    }
    (Cow::Owned(present), clamped)
}

fn is_from_future(change: &Change, now: i64) -> bool {
    let seconds = change.stamp.deciding_seconds();
    !change.is_purged() && seconds.is_some_and(|seconds| is_ahead(seconds, now))
}

/// The changes of a record from the future that are new to `known`, with present stamps.
fn clamp(record: &Record, known: &Record, now: i64) -> Vec<Change> {
    let new = new_from_future(record, known, now);
    let all = || record.changes().iter().chain(known.changes());
    let used: BTreeSet<i64> = all()
        .filter_map(|change| change.stamp.deciding_seconds())
        .collect();
    let newest = used.iter().rev().find(|seconds| !is_ahead(**seconds, now));
    let after = newest.map_or(TIME_MIN, |newest| newest.saturating_add(1));
    // Equal stamps stay equal, so the order between the fields of the record stays too: it decides
    // whether a deleted record lives again.
    let stamps: BTreeSet<&Stamp> = new.iter().map(|change| &change.stamp).collect();
    let sharing = stamps.len().saturating_sub(STAMPS_MAX);
    let mut unused = (after.max(now)..).filter(|seconds| !used.contains(seconds));
    let mut present = after.max(now);
    let mut clamped = BTreeMap::new();
    for (place, stamp) in stamps.into_iter().enumerate() {
        if place == 0 || place > sharing {
            present = unused.next().unwrap_or(present);
        }
        clamped.insert(stamp, present);
    }
    let with_present_stamp = |change: &&Change| {
        Some(Change {
            stamp: Stamp::from_seconds(*clamped.get(&change.stamp)?),
            ..(*change).clone()
        })
    };
    new.iter().filter_map(with_present_stamp).collect()
}

/// The changes of a record from the future, less the first ones of each field that are known.
fn new_from_future<'r>(record: &'r Record, known: &Record, now: i64) -> Vec<&'r Change> {
    let was_purged = |change: &Change| {
        let purged = Change {
            value: Value::Purged,
            ..change.clone()
        };
        known.changes().binary_search(&purged).is_ok()
    };
    let mut new = Vec::new();
    for field in record.fields() {
        let mut from_future = field
            .iter()
            .filter(|change| is_from_future(change, now) && !was_purged(change))
            .peekable();
        let Some(key) = from_future.peek().map(|change| &change.key) else {
            continue;
        };
        let history = known.history(key.domain, &key.name).iter();
        let had: BTreeSet<&Value> = history.map(|change| &change.value).collect();
        // After a value that is new, a value that is known was set once more.
        new.extend(from_future.skip_while(|change| had.contains(&change.value)));
    }
    new
}
