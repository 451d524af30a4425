//! What changes from outside would do to what people see.

use std::collections::{BTreeMap, BTreeSet};

use passmate_vault::guard::{is_guarded, was_guarded};
use passmate_vault::merge::MergeSummary;
use passmate_vault::record::{Change, Domain, FieldKey, Record, Value, is_ahead};
use passmate_vault::view::{View, ViewRecord};
use passmate_vault::{RecordId, Text, Vault};

use crate::held::{Effect, HeldRecord};

/// What a change takes at least as a part of a btoken, in bytes.
const CHANGE_LEN: usize = 32;

/// The changes of a record that one vault has and another has not. What the other one has purged,
/// or has in more lines, is not new there.
pub(super) fn new_in<'a>(
    vault: &'a Vault,
    other: &'a Vault,
    id: &RecordId,
) -> impl Iterator<Item = &'a Change> {
    let known = other.record(id);
    let changes = vault.record(id).map_or(&[][..], Record::changes);
    let is_known = move |change: &Change| known.is_some_and(|known| known.has(change));
    changes.iter().filter(move |change| !is_known(change))
}

/// A change of the same field and time, among those of a record. A purged one is the only one.
fn at_time_of<'a>(changes: &'a [Change], change: &Change) -> Option<&'a Change> {
    let of_one_time = |one: &Change| (&one.key, &one.stamp).cmp(&(&change.key, &change.stamp));
    changes.get(changes.binary_search_by(of_one_time).ok()?)
}

/// Gives a path again to records that people saw, that lost their path by a purge, and that still
/// have a value: an edit by this device, after a purge by another, is not lost. Returns the
/// changes.
pub(super) fn rescue(ours: &Vault, merged: &mut Vault, summary: &MergeSummary, now: i64) -> Vault {
    let mut rescued = Vault::new();
    for id in &summary.purged {
        let before = ours.record(id).filter(|record| record.is_live());
        let path = before.and_then(Record::last_path);
        let (Some(path), Some(after)) = (path, merged.record(id)) else {
            continue;
        };
        let has_value = |change: &Change| {
            !change.key.is_path() && change.value.shown().is_some() && change.stamp.decides()
        };
        if after.last_path().is_some() || !after.changes().iter().any(has_value) {
            continue;
        }
        let value = Value::Text(path);
        // The clock is beyond the year 9999.
        if merged
            .change_value(id, FieldKey::path(), value, now)
            .is_err()
        {
            continue;
        }
        for change in new_in(merged, ours, id).filter(|change| change.key.is_path()) {
            rescued.insert(id, change.clone());
        }
    }
    rescued
}

/// The records, deleted ones too, that lose a value: by a purge, or because a value takes its place
/// where a truncated history begins. A value that the field has elsewhere in its history is not
/// lost.
pub(super) fn losing<'a>(
    ours: &'a Vault,
    merged: &Vault,
    remote: &Vault,
    summary: &MergeSummary,
) -> BTreeMap<&'a RecordId, Text> {
    // In a truncated history anything new may take the place of what was in effect at its
    // beginning.
    let is_truncated = merged.history_since().is_some();
    let may_lose = |id: &RecordId| {
        summary.purged.binary_search(id).is_ok()
            || (is_truncated && new_in(remote, ours, id).next().is_some())
    };
    let mut losing = BTreeMap::new();
    if summary.purged.is_empty() && !is_truncated {
        return losing;
    }
    // What goes because the history begins later is not counted here.
    let truncated = ours.truncated_with(&merged.start_alone());
    for (id, _) in ours.records().filter(|(id, _)| may_lose(id)) {
        let Some(record) = truncated.record(id) else {
            continue;
        };
        if merged.record(id).is_none_or(|merged| loses(record, merged)) {
            let path = record.last_path();
            losing.insert(id, path.unwrap_or_else(|| Text::from("")));
        }
    }
    losing
}

fn loses(record: &Record, merged: &Record) -> bool {
    record.fields().any(|field| {
        let Some(first) = field.first() else {
            return false;
        };
        let left = merged.history(first.key.domain, &first.key.name).iter();
        let left: BTreeSet<_> = left.filter_map(|change| change.value.shown()).collect();
        // What never decides never shows, so nobody misses it.
        let deciding = field.iter().filter(|change| change.stamp.decides());
        let mut shown = deciding.filter_map(|change| change.value.shown());
        shown.any(|text| !left.contains(&text))
    })
}

/// The records that people saw and that are not as they were, and those that lose values: one entry
/// for each effect.
pub(super) fn altered(
    before: &View<'_>,
    after: &View<'_>,
    summary: &MergeSummary,
    mut losing: BTreeMap<&RecordId, Text>,
) -> Vec<HeldRecord> {
    let shown = after.records().iter();
    let shown: BTreeMap<&RecordId, &ViewRecord<'_>> =
        shown.map(|record| (record.id, record)).collect();
    let came = |id: &RecordId| {
        [&summary.added, &summary.changed]
            .iter()
            .any(|ids| ids.binary_search(id).is_ok())
    };
    // The records that came or changed, by the path that they want.
    let mut wanting: BTreeMap<&Text, Vec<RecordId>> = BTreeMap::new();
    for record in after.records().iter().filter(|record| came(record.id)) {
        let path = record.clash.as_ref().unwrap_or(&record.path);
        wanting.entry(path).or_default().push(record.id.clone());
    }
    let mut altered = Vec::new();
    for record in before.records() {
        let mut add = |effect| {
            altered.push(HeldRecord {
                id: record.id.clone(),
                path: record.path.as_ref().clone(),
                effect,
            });
        };
        let now = shown.get(record.id);
        match now {
            None => add(Effect::Deleted),
            Some(now) if came(record.id) && !shows_the_same(record, now) => add(Effect::Changed),
            Some(_) => {}
        }
        if losing.remove(record.id).is_some() {
            add(Effect::Purged);
        }
        if now.is_none_or(|now| now.path != record.path) {
            let mut by = wanting
                .get(record.path.as_ref())
                .cloned()
                .unwrap_or_default();
            by.retain(|id| id != record.id);
            if !by.is_empty() {
                add(Effect::Displaced { by });
            }
        }
    }
    let deleted = losing.into_iter().map(|(id, path)| HeldRecord {
        id: id.clone(),
        path,
        effect: Effect::Purged,
    });
    altered.extend(deleted);
    altered
}

/// Whether a record shows the same fields, under the path that it has in its changes.
fn shows_the_same(before: &ViewRecord<'_>, now: &ViewRecord<'_>) -> bool {
    let own_path = |record: &ViewRecord<'_>| {
        let path = record.clash.as_ref().unwrap_or(&record.path);
        path.as_ref().clone()
    };
    let fields = |record: &ViewRecord<'_>| {
        let fields = record.fields();
        let fields = fields.map(|field| (field.name.clone(), field.value.into_owned()));
        fields.collect::<Vec<_>>()
    };
    own_path(before) == own_path(now) && fields(before) == fields(now)
}

/// The records that a person guards, also those that are deleted or have lost their path, and that
/// would be guarded no more.
pub(super) fn unguarded(
    ours: &Vault,
    before: &View<'_>,
    after: &View<'_>,
    merged: &Vault,
    summary: &MergeSummary,
) -> Vec<HeldRecord> {
    let shown = before.records().iter();
    let shown: BTreeMap<&RecordId, &ViewRecord<'_>> =
        shown.map(|record| (record.id, record)).collect();
    let mut guarded: BTreeMap<&RecordId, Text> = BTreeMap::new();
    for id in summary.changed.iter().chain(&summary.purged) {
        let path = match (shown.get(id), ours.record(id)) {
            (Some(record), _) if is_guarded(record) => record.path.as_ref().clone(),
            (None, Some(record)) if was_guarded(record) => {
                record.last_path().unwrap_or_else(|| Text::from(""))
            }
            _ => continue,
        };
        guarded.insert(id, path);
    }
    if guarded.is_empty() {
        return Vec::new();
    }
    let live = after.records().iter();
    let live = live.filter(|record| guarded.contains_key(record.id));
    let live: BTreeMap<_, _> = live.map(|record| (record.id, is_guarded(record))).collect();
    let is_open = |id: &RecordId| match (live.get(id), merged.record(id)) {
        (Some(is_guarded), _) => !is_guarded,
        // Of one without values there is nothing to guard.
        (None, Some(record)) => !was_guarded(record) && has_values(record),
        (None, None) => false,
    };
    let open = guarded.into_iter().filter(|(id, _)| is_open(id));
    let open = open.map(|(id, path)| HeldRecord {
        id: id.clone(),
        path,
        effect: Effect::Unguarded,
    });
    open.collect()
}

/// Whether a record has a value, now or in its history.
fn has_values(record: &Record) -> bool {
    let mut changes = record.changes().iter();
    changes.any(|change| change.key.domain == Domain::User && change.value.shown().is_some())
}

/// The received changes that are stamped in the future.
pub(super) fn ahead(kept: &Vault, ours: &Vault, now: i64) -> Vec<HeldRecord> {
    let mut found = Vec::new();
    for (id, _) in kept.records() {
        for change in new_in(kept, ours, id).filter(|change| !change.is_purged()) {
            let time = change.stamp.deciding_seconds();
            if let Some(time) = time.filter(|time| is_ahead(*time, now)) {
                let last_path = |vault: &Vault| vault.record(id)?.last_path();
                let path = last_path(ours).or_else(|| last_path(kept));
                found.push(HeldRecord {
                    id: id.clone(),
                    path: path.unwrap_or_else(|| Text::from("")),
                    effect: Effect::Ahead {
                        field: change.key.clone(),
                        time,
                    },
                });
            }
        }
    }
    found
}

/// Whether a change that came shows nowhere: it purges a change that is unknown here, can never
/// decide, or belongs to a record that has no path.
pub(super) fn is_hidden(change: &Change, ours: Option<&Record>, merged: Option<&Record>) -> bool {
    if change.is_purged() {
        let known = ours.map_or(&[][..], Record::changes);
        return at_time_of(known, change).is_none();
    }
    !change.stamp.decides() || merged.is_none_or(|record| record.last_path().is_none())
}

/// The bytes of all changes that came and show nowhere.
pub(super) fn hidden_len(kept: &Vault, ours: &Vault, merged: &Vault) -> usize {
    let mut len = 0;
    for (id, _) in kept.records() {
        let (ours_record, merged) = (ours.record(id), merged.record(id));
        for change in new_in(kept, ours, id) {
            if is_hidden(change, ours_record, merged) {
                let value = change.value.shown().map_or(0, |text| text.as_bytes().len());
                len += CHANGE_LEN + change.key.name.as_bytes().len() + value;
            }
        }
    }
    len
}
