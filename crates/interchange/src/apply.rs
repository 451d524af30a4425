//! Puts an import into a vault, so that it may be repeated.
//!
//! The file may have been imported before, and the person may have edited the records since. The
//! rules are:
//!  - a record's id is derived from the vault's import key, the format's word and the item's id, so
//!    an item always becomes the same record, and nobody else can predict the id (see `ids`);
//!  - an item that comes for the first time is the record that people would take for the same one,
//!    if there is one and both agree (see `same`);
//!  - a value is written only if the field never had it, in this form or another (see `meaning`).
//!    So edits by the person stay, and changes in the source are imported;
//!  - what a person purged from a field stays purged;
//!  - the earlier values of a field become its history, before the present value (see `earlier`);
//!  - a path is set only if the record never had it, so a record that the person moved stays there;
//!  - a record that the person deleted stays deleted;
//!  - a record or field that is missing in the file stays as it is;
//!  - what the file stamps in the future gets a present stamp, so that it never wins over a later
//!    edit (see `present`).
//!
//! So a second import of the same file adds no change. If a value in the source changed and changed
//! back, the old value is not written again.

mod earlier;
pub(crate) mod ids;
mod meaning;
mod paths;
mod present;
mod same;
mod work;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use passmate_vault::login::{FieldRole, role_of};
use passmate_vault::record::{Change, Domain, FieldKey, PATH, Record, TIME_MIN, Value};
use passmate_vault::view::ViewRecord;
use passmate_vault::{EditError, RecordId, Text, Vault};
use rand_core::CryptoRng;

use self::ids::Target;
use self::meaning::{is_all_known, means_same};
use self::paths::{Paths, is_path_or_suffixed};
use crate::loss::Loss;
use crate::read::item::{Earlier, Field, Item};
use crate::read::{Format, Imported};
use serde::{Deserialize, Serialize};

/// What an import did to a vault.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// For each record of the file, its outcome and its path in the vault.
    pub records: Vec<(Outcome, String)>,
    /// The records of the vault that were taken for the same as items that came from elsewhere.
    /// They are in `records` too.
    pub same: Vec<Same>,
    /// Records that got another path: the one before, and the new one.
    pub renamed: Vec<(String, String)>,
    /// Values that were not written, because the person purged the field.
    pub losses: Vec<Loss>,
    /// The number of changes that were new to the vault. A new import key does not count.
    pub changes: usize,
    /// The number of changes, and of new records of items, that were stamped in the future and got a
    /// present stamp.
    pub clamped: usize,
}

impl Applied {
    /// The number of records with this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.records
            .iter()
            .filter(|(found, _)| *found == outcome)
            .count()
    }
}

/// A record that was taken for the same as an item that came from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Same {
    /// The path of the item in the file.
    pub item: String,
    /// The path of the record.
    pub record: String,
    /// The fields that the record got.
    pub added: Vec<String>,
}

/// The outcome for one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// The record is new.
    Created,
    /// The record existed and got changes.
    Changed,
    /// The record existed and got no change.
    Unchanged,
    /// The record is deleted in the vault and stays deleted.
    Deleted,
    /// The record was in the vault, and the file deletes it.
    Removed,
}

/// Puts an import into a vault. A second call with the same import changes nothing. `now` is the
/// time in seconds since 1970. `rng` makes the vault's import key, from which the ids of new records
/// are derived, if the vault has none.
///
/// The values of a new record get the time of the last change in the source as their stamp, unless
/// that is in the future. Later changes get `now`. `docs/import.md` has the rules.
///
/// # Errors
/// The clock or a stamp is beyond the year 9999. A part may have been applied then, so the caller
/// must drop the vault.
pub fn apply(
    imported: &Imported,
    vault: &mut Vault,
    format: Format,
    now: i64,
    rng: &mut dyn CryptoRng,
) -> Result<Applied, EditError> {
    let mut applied = Applied::default();
    merge(&imported.vault, vault, now, &mut applied);
    let items = ids::with_ids(&imported.items, vault, format, now, rng)?;
    let before = vault.change_count();
    let mut paths = Paths::new(vault);
    for (target, item) in items {
        let (outcome, path) = match &target {
            Target::Own(id) | Target::Same(id) if !paths.is_live(id) => {
                (Outcome::Deleted, item.path.clone())
            }
            Target::New(id) => {
                applied.clamped += usize::from(is_from_future(item, now));
                (Outcome::Created, create(vault, &mut paths, id, item, now)?)
            }
            Target::Own(id) => update(vault, &mut paths, id, item, now, &mut applied)?,
            Target::Same(id) => {
                let (outcome, added) = same::add_to(vault, id, item, now)?;
                let record = paths.of(id);
                applied.same.push(Same {
                    item: item.path.clone(),
                    record: record.clone(),
                    added,
                });
                (outcome, record)
            }
        };
        applied.records.push((outcome, path));
    }
    applied.changes += vault.change_count() - before;
    Ok(applied)
}

fn merge(theirs: &Vault, vault: &mut Vault, now: i64, applied: &mut Applied) {
    let theirs = ids::without_key(theirs);
    let (theirs, purges) = without_purges(&theirs, vault);
    if purges > 0 {
        let plural = if purges == 1 { "" } else { "s" };
        applied.losses.push(Loss::of_file(format!(
            "{purges} purge{plural} of what this vault has: an import removes nothing for good"
        )));
    }
    let before: BTreeMap<RecordId, String> = paths_of(vault);
    let (present, clamped) = present::bring_to_present(&theirs, vault, now);
    let summary = vault.merge(&present);
    applied.changes = summary.received;
    applied.clamped = clamped;
    let view = vault.view();
    let live: BTreeMap<_, _> = view
        .records()
        .iter()
        .map(|record| (record.id, record.path.to_string_lossy()))
        .collect();
    for (id, _) in theirs.records() {
        let is_in = |ids: &[RecordId]| ids.binary_search(id).is_ok();
        let outcome = if !live.contains_key(id) && before.contains_key(id) {
            Outcome::Removed
        } else if !live.contains_key(id) {
            Outcome::Deleted
        } else if is_in(&summary.added) {
            Outcome::Created
        } else if is_in(&summary.changed) {
            Outcome::Changed
        } else {
            Outcome::Unchanged
        };
        let now = live.get(id).map(|path| path.clone().into_owned());
        let path = match (now, before.get(id)) {
            (Some(now), Some(before)) if now != *before => {
                applied.renamed.push((before.clone(), now.clone()));
                now
            }
            (now, before) => now.or(before.cloned()).unwrap_or_default(),
        };
        applied.records.push((outcome, path));
    }
}

/// The paths of the live records.
fn paths_of(vault: &Vault) -> BTreeMap<RecordId, String> {
    let view = vault.view();
    let path = |record: &ViewRecord<'_>| record.path.to_string_lossy().into_owned();
    let records = view.records().iter();
    records
        .map(|record| (record.id.clone(), path(record)))
        .collect()
}

/// A vault without the purges that would remove changes of ours, and their number: whoever made the
/// file may have purged what this person wants to keep, and no undo brings it back.
fn without_purges<'t>(theirs: &'t Vault, ours: &Vault) -> (Cow<'t, Vault>, usize) {
    let hits = |id: &RecordId, change: &Change| {
        let history = ours
            .record(id)
            .map(|record| record.history(change.key.domain, &change.key.name));
        let same_time = |ours: &Change| ours.stamp == change.stamp && !ours.is_purged();
        change.is_purged() && history.unwrap_or_default().iter().any(same_time)
    };
    let all = || {
        let records = theirs.records();
        records.flat_map(|(id, record)| record.changes().iter().map(move |change| (id, change)))
    };
    let count = all().filter(|(id, change)| hits(id, change)).count();
    if count == 0 {
        return (Cow::Borrowed(theirs), 0);
    }
    let mut kept = Vault::new();
    for (id, change) in all().filter(|(id, change)| !hits(id, change)) {
        kept.insert(id, change.clone());
    }
    (Cow::Owned(kept), count)
}

fn create(
    vault: &mut Vault,
    paths: &mut Paths,
    id: &RecordId,
    item: &Item,
    now: i64,
) -> Result<String, EditError> {
    let stamp = match item.modified {
        Some(modified) if !is_from_future(item, now) => modified.max(TIME_MIN),
        _ => now.max(TIME_MIN),
    };
    let path = paths.give(id, item);
    vault.create_record(id.clone(), path.as_str(), stamp)?;
    let values = item.fields.iter();
    let values = values.map(|field| change_of(&field.name, &field.value));
    vault.change_values(id, values.collect(), stamp)?;
    earlier::add(vault, id, item);
    Ok(path)
}

fn is_from_future(item: &Item, now: i64) -> bool {
    item.modified
        .is_some_and(|modified| modified > now.max(TIME_MIN))
}

fn change_of(name: &str, value: &str) -> (FieldKey, Value) {
    let key = FieldKey::user(Text::from(name));
    (key, Value::Text(Text::from(value)))
}

/// Brings what changed in the source. A value that is older in the source than what the person has
/// set since becomes an earlier value of the field.
fn update(
    vault: &mut Vault,
    paths: &mut Paths,
    id: &RecordId,
    item: &Item,
    now: i64,
    applied: &mut Applied,
) -> Result<(Outcome, String), EditError> {
    let before = vault.change_count();
    let had_path = vault.record(id).is_some_and(|record| {
        had_value(record, Domain::Meta, PATH, |had| {
            is_path_or_suffixed(had, &item.path)
        })
    });
    if !had_path {
        let old = paths.of(id);
        let path = paths.give(id, item);
        vault.rename(id, path.as_str(), now)?;
        applied.renamed.push((old, path));
    }
    let path = paths.of(id);
    let (mut newer, mut older) = (BTreeMap::new(), Vec::new());
    if let Some(record) = vault.record(id) {
        let elsewhere = values_elsewhere(record, item);
        for field in &item.fields {
            if had_field(record, field) || elsewhere.contains(field.value.as_str()) {
                continue;
            }
            if may_be_purged(record, &field.name, item.modified) {
                let what = format!("the field {}, whose history was purged", field.name);
                applied.losses.push(Loss::new(path.clone(), what));
            } else if let Some(modified) = older_than(record, &field.name, item.modified) {
                older.push(Earlier {
                    name: field.name.clone(),
                    value: field.value.clone(),
                    since: Some(modified),
                });
            } else {
                newer.extend([change_of(&field.name, &field.value)]);
            }
        }
    }
    vault.change_values(id, newer, now)?;
    let older = older.iter().chain(&item.earlier);
    earlier::add_all(vault, id, older);
    Ok((outcome_of(before, vault), path))
}

/// When the source was changed, if the field has a value that was set later.
fn older_than(record: &Record, name: &str, modified: Option<i64>) -> Option<i64> {
    let history = record.history(Domain::User, &Text::from(name)).iter();
    let newest = history
        .filter_map(|change| change.stamp.deciding_seconds())
        .max()?;
    modified.filter(|modified| *modified < newest)
}

fn outcome_of(changes_before: usize, vault: &Vault) -> Outcome {
    if vault.change_count() == changes_before {
        Outcome::Unchanged
    } else {
        Outcome::Changed
    }
}

/// Whether the record ever had the value of a field: under its name, or under another one of the
/// same meaning.
fn had_field(record: &Record, field: &Field) -> bool {
    let had = |name: &str| {
        had_value(record, Domain::User, name, |had| {
            means_same(&field.name, had, &field.value)
        })
    };
    let role = role_of(&field.name).filter(|role| role.name() == field.name);
    had(&field.name)
        || role.is_some_and(|role| names_with(record, role).any(had))
        || (role == Some(FieldRole::Notes) && is_all_known(&field.value, record))
}

/// The names of the record's fields that have this meaning, or may have it.
fn names_with(record: &Record, role: FieldRole) -> impl Iterator<Item = &str> {
    let has_meaning = move |name: &&str| role == FieldRole::Otp || role_of(name) == Some(role);
    let user_fields = record.fields().filter_map(|changes| changes.first());
    user_fields
        .filter(|change| change.key.domain == Domain::User)
        .filter_map(|change| change.key.name.as_str())
        .filter(has_meaning)
}

/// The values that a record ever had in fields that an item does not have. Another program may have
/// put such a field under another name.
fn values_elsewhere<'r>(record: &'r Record, item: &Item) -> BTreeSet<Cow<'r, str>> {
    let names: BTreeSet<&str> = item
        .fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    let is_elsewhere = |change: &&Change| {
        let name = change.key.name.as_str();
        change.key.domain == Domain::User && name.is_none_or(|name| !names.contains(name))
    };
    let changes = record.changes().iter().filter(is_elsewhere);
    changes.filter_map(text_of).map(Cow::Borrowed).collect()
}

/// The text of a change that has one, as it is stored.
fn text_of(change: &Change) -> Option<&str> {
    match &change.value {
        Value::Text(text) => text.as_str(),
        _ => None,
    }
}

fn had_value(record: &Record, domain: Domain, name: &str, is_it: impl Fn(&str) -> bool) -> bool {
    let history = record.history(domain, &Text::from(name));
    history.iter().any(|change| {
        change
            .value
            .shown()
            .and_then(|value| value.as_str().map(&is_it))
            .unwrap_or(false)
    })
}

/// Whether a value of the source, which the field does not have, may be one that was purged: it is
/// not younger than what was purged.
fn may_be_purged(record: &Record, name: &str, modified: Option<i64>) -> bool {
    let purged = newest_purged(record, name);
    purged.is_some_and(|purged| modified.is_none_or(|modified| modified <= purged))
}

/// The newest stamp of the field whose value was purged.
fn newest_purged(record: &Record, name: &str) -> Option<i64> {
    let history = record.history(Domain::User, &Text::from(name)).iter();
    let purged = history.filter(|change| change.is_purged());
    let seconds = |change: &Change| change.stamp.deciding_seconds().unwrap_or(i64::MAX);
    purged.map(seconds).max()
}
