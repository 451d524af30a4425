//! Puts an import into a vault, so that it may be repeated.
//!
//! The file may have been imported before, and the person may have edited the records since. The
//! rules are:
//!  - a record's id is derived from the vault's import key, the format's word and the item's id, so
//!    an item always becomes the same record, and nobody else can predict the id (see `ids`);
//!  - a value is written only if the field never had it. So edits by the person stay, and changes
//!    in the source are imported;
//!  - a path is set only if the record never had it, so a record that the person moved stays there;
//!  - a record that the person deleted stays deleted;
//!  - a record or field that is missing in the file stays as it is;
//!  - what the file stamps in the future gets a present stamp, so that it never wins over a later
//!    edit (see `present`).
//!
//! So a second import of the same file adds no change. If a value in the source changed and changed
//! back, the old value is not written again.

pub(crate) mod ids;
mod present;

use std::collections::{BTreeMap, BTreeSet};

use passmate_vault::record::{Domain, PATH, Record, TIME_MIN};
use passmate_vault::{EditError, RecordId, Text, Vault};
use rand_core::CryptoRng;

use crate::read::item::Item;
use crate::read::{Format, Imported};

/// What an import did to a vault.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Applied {
    /// For each record of the file, its outcome and its path in the vault.
    pub records: Vec<(Outcome, String)>,
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
    for (id, item) in items {
        let (outcome, path) = match vault.record(&id) {
            None => {
                applied.clamped += usize::from(is_from_future(item, now));
                (Outcome::Created, create(vault, &mut paths, &id, item, now)?)
            }
            Some(_) if !paths.live.contains_key(&id) => (Outcome::Deleted, item.path.clone()),
            Some(_) => update(vault, &mut paths, &id, item, now)?,
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
    let path = paths.give(&item.path);
    vault.create_record(id.clone(), path.as_str(), stamp)?;
    for field in &item.fields {
        vault.set(id, field.name.as_str(), field.value.as_str(), stamp)?;
    }
    paths.live.insert(id.clone(), path.clone());
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
) -> Result<(Outcome, String), EditError> {
    let before = vault.change_count();
    let mut path = paths.live.get(id).cloned().unwrap_or_default();
    let had_path = vault.record(id).is_some_and(|record| {
        had_value(record, Domain::Meta, PATH, |had| {
            is_numbered(had, &item.path)
        })
    });
    if !had_path {
        path = paths.give(&item.path);
        vault.rename(id, path.as_str(), now)?;
    }
    for field in &item.fields {
        let had = vault.record(id).is_some_and(|record| {
            had_value(record, Domain::User, &field.name, |had| {
                had == field.value.as_str()
            })
        });
        if !had {
            vault.set(id, field.name.as_str(), field.value.as_str(), now)?;
        }
    }
    let outcome = if vault.change_count() == before {
        Outcome::Unchanged
    } else {
        Outcome::Changed
    };
    Ok((outcome, path))
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

/// Whether `had` is the path itself, or `path (2)` and so on.
fn is_numbered(had: &str, path: &str) -> bool {
    had == path || base_of_numbered(had) == Some(path)
}

/// The path that got a number: `path` for `path (2)`.
fn base_of_numbered(path: &str) -> Option<&str> {
    let (base, number) = path.strip_suffix(')')?.rsplit_once(" (")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(base)
}

/// The paths of the vault.
struct Paths {
    live: BTreeMap<RecordId, String>,
    taken: BTreeSet<String>,
    // The next number to try for each path, so that no number is tried twice.
    numbers: BTreeMap<String, u64>,
}

impl Paths {
    fn new(vault: &Vault) -> Self {
        let view = vault.view();
        let path_of = |record: &passmate_vault::view::ViewRecord<'_>| {
            record.path.to_string_lossy().into_owned()
        };
        let live: BTreeMap<_, _> = view
            .records()
            .iter()
            .map(|record| (record.id.clone(), path_of(record)))
            .collect();
        let taken = live.values().cloned().collect();
        Self {
            live,
            taken,
            numbers: BTreeMap::new(),
        }
    }

    /// Takes this path, or if it is in use, the same path with the lowest free number.
    fn give(&mut self, path: &str) -> String {
        if self.taken.insert(path.to_owned()) {
            return path.to_owned();
        }
        let number = self.numbers.entry(path.to_owned()).or_insert(2);
        loop {
            let numbered = format!("{path} ({number})");
            *number += 1;
            if self.taken.insert(numbered.clone()) {
                return numbered;
            }
        }
    }
}
