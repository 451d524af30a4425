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

use std::collections::{BTreeMap, BTreeSet};

use passmate_vault::login::{FieldRole, role_of};
use passmate_vault::record::{Change, Domain, PATH, Record, TIME_MIN};
use passmate_vault::{EditError, RecordId, Text, Vault};
use rand_core::CryptoRng;

use self::ids::Target;
use self::meaning::{is_all_known, means_same};
use self::paths::{Paths, is_path_or_suffixed};
use crate::loss::Loss;
use crate::read::item::{Field, Item};
use crate::read::{Format, Imported};

/// What an import did to a vault.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Applied {
    /// For each record of the file, its outcome and its path in the vault.
    pub records: Vec<(Outcome, String)>,
    /// The records of the vault that were taken for the same as items that came from elsewhere:
    /// the path of each item in the file, and that of the record. They are in `records` too.
    pub same: Vec<(String, String)>,
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

/// The outcome for one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The record is new.
    Created,
    /// The record existed and got changes.
    Changed,
    /// The record existed and got no change.
    Unchanged,
    /// The record is deleted in the vault and stays deleted, or it is deleted in the file.
    Deleted,
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
            Target::Own(id) => update(vault, &mut paths, id, item, now, &mut applied.losses)?,
            Target::Same(id) => {
                let outcome = same::add_to(vault, id, item, now)?;
                let path = paths.of(id);
                applied.same.push((item.path.clone(), path.clone()));
                (outcome, path)
            }
        };
        applied.records.push((outcome, path));
    }
    applied.changes += vault.change_count() - before;
    Ok(applied)
}

fn merge(theirs: &Vault, vault: &mut Vault, now: i64, applied: &mut Applied) {
    let theirs = ids::without_key(theirs);
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
        let outcome = if !live.contains_key(id) {
            Outcome::Deleted
        } else if is_in(&summary.added) {
            Outcome::Created
        } else if is_in(&summary.changed) {
            Outcome::Changed
        } else {
            Outcome::Unchanged
        };
        let path = live
            .get(id)
            .map(|path| path.clone().into_owned())
            .unwrap_or_default();
        applied.records.push((outcome, path));
    }
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
    for field in &item.fields {
        vault.set(id, field.name.as_str(), field.value.as_str(), stamp)?;
    }
    earlier::add(vault, id, item);
    Ok(path)
}

fn is_from_future(item: &Item, now: i64) -> bool {
    item.modified
        .is_some_and(|modified| modified > now.max(TIME_MIN))
}

fn update(
    vault: &mut Vault,
    paths: &mut Paths,
    id: &RecordId,
    item: &Item,
    now: i64,
    losses: &mut Vec<Loss>,
) -> Result<(Outcome, String), EditError> {
    let before = vault.change_count();
    let had_path = vault.record(id).is_some_and(|record| {
        had_value(record, Domain::Meta, PATH, |had| {
            is_path_or_suffixed(had, &item.path)
        })
    });
    if !had_path {
        let path = paths.give(id, item);
        vault.rename(id, path.as_str(), now)?;
    }
    let path = paths.of(id);
    let elsewhere = vault
        .record(id)
        .map(|record| values_elsewhere(record, item));
    let elsewhere = elsewhere.unwrap_or_default();
    for field in &item.fields {
        let Some(record) = vault.record(id) else {
            break;
        };
        if had_field(record, field) || elsewhere.contains(field.value.as_str()) {
            continue;
        }
        if may_be_purged(record, &field.name, item.modified) {
            losses.push(Loss {
                path: path.clone(),
                what: format!("the field {}, whose history was purged", field.name),
            });
            continue;
        }
        vault.set(id, field.name.as_str(), field.value.as_str(), now)?;
    }
    earlier::add(vault, id, item);
    Ok((outcome_of(before, vault), path))
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
fn values_elsewhere(record: &Record, item: &Item) -> BTreeSet<String> {
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
    changes
        .filter_map(|change| Some(change.value.shown()?.as_str()?.to_owned()))
        .collect()
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
