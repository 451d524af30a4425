//! What was read becomes records.
//!
//! The file may have been imported before, and the person may have worked with the records since.
//! The rules are:
//!  - a record's id is derived from the format's word and the item's id, so an item is always the
//!    same record;
//!  - a value is written only if the field never had it: what the person changed since stays
//!    changed, and what changed in the source since is written;
//!  - a path is given only if the record never had it, so a record that was moved stays where it
//!    is;
//!  - a record that was deleted stays deleted;
//!  - what is missing in the file is left alone.
//!
//! So a second import of a file adds no change. It also follows that a value which the source had,
//! changed, and took back is not written again.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXUPPER;
use passmate_vault::record::{Domain, PATH, Record, TIME_MIN};
use passmate_vault::{EditError, RecordId, Text, Vault};
use sha2::{Digest, Sha256};

use crate::read::item::Item;
use crate::read::{Format, Imported};

/// What an import did to a vault.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Applied {
    /// What became of each record of the file: the path that it has in the vault.
    pub records: Vec<(Outcome, String)>,
    /// The number of changes that were new here.
    pub changes: usize,
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

/// What became of one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is new.
    Created,
    /// It was there and got changes.
    Changed,
    /// It was there and all that the file says of it.
    Unchanged,
    /// It is deleted in the vault, and stays so; or the file holds it as deleted.
    Deleted,
}

/// Puts what was read into a vault; a second time it changes nothing. `now` is the time in seconds.
///
/// What the source says when it was changed becomes the stamp of a new record's values; all later
/// changes are stamped with `now`. The rules are at the head of this module's source and in
/// `docs/import.md`.
///
/// # Errors
/// A clock or a stamp beyond the year 9999. A part may have been applied then; the caller drops the
/// vault.
pub fn apply(
    imported: &Imported,
    vault: &mut Vault,
    format: Format,
    now: i64,
) -> Result<Applied, EditError> {
    let mut applied = Applied::default();
    merge(&imported.vault, vault, &mut applied);
    let before = vault.change_count();
    let mut paths = Paths::new(vault);
    for (id, item) in with_ids(imported, format) {
        let (outcome, path) = match vault.record(&id) {
            None => (Outcome::Created, create(vault, &mut paths, &id, item, now)?),
            Some(_) if !paths.live.contains_key(&id) => (Outcome::Deleted, item.path.clone()),
            Some(_) => update(vault, &mut paths, &id, item, now)?,
        };
        applied.records.push((outcome, path));
    }
    applied.changes += vault.change_count() - before;
    Ok(applied)
}

/// The id of the record that an item becomes, in the shape of all our ids.
fn derive_record_id(format: Format, source_id: &str) -> RecordId {
    let mut hash = Sha256::new();
    for part in ["passmate import", format.word(), source_id] {
        hash.update(part);
        hash.update([0]);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let (id, _) = hash
        .split_first_chunk::<8>()
        .expect("32 bytes have 8 at their head");
    RecordId::from(HEXUPPER.encode(id))
}

/// Each item with its record's id. Items that nothing tells apart are counted in the order of the
/// file.
fn with_ids(imported: &Imported, format: Format) -> Vec<(RecordId, &Item)> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut items = Vec::with_capacity(imported.items.len());
    for item in &imported.items {
        let number = seen.entry(&item.source_id).or_insert(0);
        *number += 1;
        let id = match *number {
            1 => derive_record_id(format, &item.source_id),
            number => derive_record_id(format, &format!("{}\0{number}", item.source_id)),
        };
        items.push((id, item));
    }
    items
}

fn merge(theirs: &Vault, vault: &mut Vault, applied: &mut Applied) {
    let summary = vault.merge(theirs);
    applied.changes = summary.received;
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
    // A time to come would win over what the person does next.
    let stamp = item
        .modified
        .map_or(now, |modified| modified.clamp(TIME_MIN, now.max(TIME_MIN)));
    let path = paths.give(&item.path);
    vault.create_record(id.clone(), path.as_str(), stamp)?;
    for field in &item.fields {
        vault.set(id, field.name.as_str(), field.value.as_str(), stamp)?;
    }
    paths.live.insert(id.clone(), path.clone());
    Ok(path)
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

/// True for the path itself and for `path (2)` and so on.
fn is_numbered(had: &str, path: &str) -> bool {
    let Some(rest) = had.strip_prefix(path) else {
        return false;
    };
    let number = rest
        .strip_prefix(" (")
        .and_then(|rest| rest.strip_suffix(')'));
    rest.is_empty()
        || number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The paths that are in use.
struct Paths {
    live: BTreeMap<RecordId, String>,
    taken: BTreeSet<String>,
    // The next number to try for a path, so that no number is tried twice.
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

    /// This path, or the same with the lowest number that makes it free.
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
