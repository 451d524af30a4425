//! Which record people would take for the same as an item that comes from elsewhere.
//!
//! A vault may hold what another program, or another format of the same program, brings once more.
//! The rules are:
//!  - an item is like a record if they have the same name, user name and host. Folders do not
//!    count, nor does a suffix that an import gave to a path;
//!  - it is the same if they agree in all fields that both have: the record has or had the item's
//!    value. Addresses may differ, because their host is the same;
//!  - so nothing of the record is changed. It gets the fields that it never had, and the address as
//!    a further one;
//!  - an item that is like a record and does not agree becomes a record of its own. A wrong guess
//!    never hides a password.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use passmate_vault::login::{FieldRole, Login, is_further};
use passmate_vault::record::{Domain, Record};
use passmate_vault::view::{ViewField, ViewRecord};
use passmate_vault::{EditError, RecordId, Text, Vault};

use super::paths::without_suffix;
use super::{Outcome, earlier, had_field, had_value, newest_purged, outcome_of, values_elsewhere};
use crate::read::item::{Field, Item, host_of};

/// How many records that are like an item are compared with it.
const CANDIDATES_MAX: usize = 256;

/// What an item and a record must have in common to be compared.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    name: String,
    user: String,
    host: String,
}

/// Finds records that are the same as items. Finds each at most once.
pub(super) struct Likenesses<'v> {
    records: BTreeMap<Likeness, VecDeque<(&'v RecordId, &'v Record, String)>>,
    taken: BTreeSet<RecordId>,
}

impl<'v> Likenesses<'v> {
    /// The live records of a vault that are not taken.
    pub(super) fn new(vault: &'v Vault, taken: BTreeSet<RecordId>) -> Self {
        let mut records: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
        let view = vault.view();
        for shown in view.records().iter() {
            if taken.contains(shown.id) {
                continue;
            }
            let path = shown.path.to_string_lossy();
            for likeness in likenesses_of(shown, &path) {
                let record = (shown.id, shown.record, path.clone().into_owned());
                records.entry(likeness).or_default().push_back(record);
            }
        }
        Self { records, taken }
    }

    /// A record that agrees with the item; one with the same path if there are several.
    pub(super) fn take(&mut self, item: &Item) -> Option<RecordId> {
        let user = item.value(FieldRole::User).trim().to_lowercase();
        let host = host_of(item.value(FieldRole::Url));
        let host = host.unwrap_or_default().to_lowercase();
        let name = item.name();
        let names = [Some(name), without_suffix(name)].into_iter().flatten();
        for name in names {
            let likeness = Likeness {
                name: name.to_lowercase(),
                user: user.clone(),
                host: host.clone(),
            };
            let Some(records) = self.records.get_mut(&likeness) else {
                continue;
            };
            let compared = records.iter().take(CANDIDATES_MAX).enumerate();
            let same = compared
                .filter(|(_, (id, record, _))| !self.taken.contains(*id) && agree(record, item))
                .min_by_key(|(_, (_, _, path))| *path != item.path)
                .map(|(place, _)| place);
            if let Some((id, ..)) = same.and_then(|place| records.remove(place)) {
                self.taken.insert(id.clone());
                return Some(id.clone());
            }
        }
        None
    }
}

/// A record has one likeness for each of its hosts, with and without the suffix of its name.
fn likenesses_of(record: &ViewRecord<'_>, path: &str) -> Vec<Likeness> {
    let login = Login::of(record);
    let text = |field: &ViewField<'_>| field.value.to_string_lossy().into_owned();
    let user = login.user.as_ref().map(text).unwrap_or_default();
    let user = user.trim().to_lowercase();
    let urls = login.url.iter().chain(&login.further_urls).map(text);
    let mut hosts: BTreeSet<String> = urls
        .map(|url| host_of(&url).unwrap_or_default().to_lowercase())
        .collect();
    if hosts.is_empty() {
        hosts.insert(String::new());
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let names: Vec<&str> = [Some(name), without_suffix(name)]
        .into_iter()
        .flatten()
        .collect();
    let likeness = |host: &String, name: &&str| Likeness {
        name: name.to_lowercase(),
        user: user.clone(),
        host: host.clone(),
    };
    hosts
        .iter()
        .flat_map(|host| names.iter().map(move |name| likeness(host, name)))
        .collect()
}

/// Whether a record has or had the item's value in every field that both have, and in one at least.
fn agree(record: &Record, item: &Item) -> bool {
    let mut compared = item
        .fields
        .iter()
        .filter(|field| !is_url(field) && was_set(record, &field.name))
        .map(|field| had_field(record, field));
    let has_url = item.fields.iter().any(is_url);
    match compared.next() {
        None => has_url,
        Some(first) => first && compared.all(|agrees| agrees),
    }
}

fn was_set(record: &Record, name: &str) -> bool {
    !record.history(Domain::User, &Text::from(name)).is_empty()
}

fn is_url(field: &Field) -> bool {
    field.name == FieldRole::Url.name() || is_further(&field.name, FieldRole::Url)
}

/// Adds to a record what the item has and the record never had.
pub(super) fn add_to(
    vault: &mut Vault,
    id: &RecordId,
    item: &Item,
    now: i64,
) -> Result<Outcome, EditError> {
    let before = vault.change_count();
    let elsewhere = vault
        .record(id)
        .map(|record| values_elsewhere(record, item));
    let elsewhere = elsewhere.unwrap_or_default();
    for field in &item.fields {
        let Some(record) = vault.record(id) else {
            break;
        };
        let name = if is_url(field) {
            match place_of_url(record, &field.value) {
                Some(name) => name,
                None => continue,
            }
        } else if was_set(record, &field.name) || elsewhere.contains(field.value.as_str()) {
            continue;
        } else {
            field.name.clone()
        };
        vault.set(id, name, field.value.as_str(), now)?;
    }
    earlier::add(vault, id, item);
    Ok(outcome_of(before, vault))
}

/// The field for an address; `None` if the record had it.
fn place_of_url(record: &Record, url: &str) -> Option<String> {
    let first = FieldRole::Url.name().to_owned();
    let numbered = (2..).map(|number| format!("{first} {number}"));
    for name in std::iter::once(first.clone()).chain(numbered) {
        if !was_set(record, &name) {
            return Some(name);
        }
        let is_purged = newest_purged(record, &name).is_some();
        if is_purged || had_value(record, Domain::User, &name, |had| had == url) {
            return None;
        }
    }
    None
}
