//! Which record people would take for the same as an item that comes from elsewhere.
//!
//! A vault may hold what another program, or another format of the same program, brings once more.
//! Whoever makes a file may know the name, the user name and the host of a login, but not its
//! password. The rules are:
//!  - an item is like a record if they have the same name, user name and host. Folders do not
//!    count, nor does a suffix that an import gave to a path;
//!  - it is the same if they agree in all fields that both have: the record has or had the item's
//!    value. One of these is a secret or a note, and if either has a password, it is the password;
//!  - all addresses of the item are of hosts of the record;
//!  - so nothing of the record is changed. It gets the fields that it never had, and an address as a
//!    further one, and the caller tells which;
//!  - an item that is like a record and does not agree becomes a record of its own. A wrong guess
//!    never hides a password.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use passmate_vault::login::{FieldRole, Login, is_further, is_secret, role_of};
use passmate_vault::record::{Change, Domain, Record};
use passmate_vault::view::{ViewField, ViewRecord};
use passmate_vault::{EditError, RecordId, Text, Vault};

use super::paths::before_suffix;
use super::work::Work;
use super::{Outcome, change_of, earlier, had_field, outcome_of, text_of, values_elsewhere};
use crate::crypto::sha256;
use crate::read::item::{Field, Item, host_of};

/// How many records that are like an item are compared with it.
const CANDIDATES_MAX: usize = 32;
/// How many hosts of a record, and addresses of an item, count.
const HOSTS_MAX: usize = 8;

/// What an item and a record must have in common to be compared: the hash of name, user name and
/// host. Names are long, and a record has one for each of its hosts.
type Likeness = [u8; 32];

fn likeness(name: &str, user: &str, host: &str) -> Likeness {
    let parts = [name, user, host].map(|part| part.trim().to_lowercase());
    let [name, user, host] = parts.each_ref().map(String::as_bytes);
    sha256(&[name, &[0], user, &[0], host])
}

/// Finds records that are the same as items. Finds each at most once.
pub(super) struct Likenesses<'v> {
    /// The places of records in `all`.
    by_likeness: BTreeMap<Likeness, VecDeque<usize>>,
    all: Vec<(&'v RecordId, &'v Record, String)>,
    taken: BTreeSet<RecordId>,
    work: Work,
}

impl<'v> Likenesses<'v> {
    /// The live records of a vault that are not taken.
    pub(super) fn new(vault: &'v Vault, taken: BTreeSet<RecordId>) -> Self {
        let (mut by_likeness, mut all) = (BTreeMap::<_, VecDeque<_>>::new(), Vec::new());
        let view = vault.view();
        for shown in view.records().iter() {
            if taken.contains(shown.id) {
                continue;
            }
            let path = shown.path.to_string_lossy().into_owned();
            for likeness in likenesses_of(shown, &path) {
                by_likeness
                    .entry(likeness)
                    .or_default()
                    .push_back(all.len());
            }
            all.push((shown.id, shown.record, path));
        }
        Self {
            by_likeness,
            all,
            taken,
            work: Work::default(),
        }
    }

    /// A record that agrees with the item; one with the same path if there are several.
    pub(super) fn take(&mut self, item: &Item) -> Option<RecordId> {
        let host = host_or_address(item.value(FieldRole::Url));
        let user = item.value(FieldRole::User);
        let names = std::iter::once(item.name()).chain(before_suffix(item.name()));
        for name in names {
            let Some(places) = self.by_likeness.get_mut(&likeness(name, user, host)) else {
                continue;
            };
            places.retain(|place| match self.all.get(*place) {
                Some((id, ..)) => !self.taken.contains(*id),
                None => false,
            });
            let compared = places.iter().take(CANDIDATES_MAX);
            let candidates = compared.filter_map(|place| self.all.get(*place));
            let same = candidates
                .filter(|(_, record, _)| self.work.compare(record, item) && agree(record, item))
                .min_by_key(|(.., path)| *path != item.path);
            if let Some((id, ..)) = same {
                self.taken.insert((*id).clone());
                return Some((*id).clone());
            }
        }
        None
    }
}

/// A record has one likeness for each of its hosts, with and without the suffix of its name.
fn likenesses_of(record: &ViewRecord<'_>, path: &str) -> BTreeSet<Likeness> {
    let login = Login::of(record);
    let text = |field: &ViewField<'_>| field.value.to_string_lossy().into_owned();
    let user = login.user.as_ref().map(text).unwrap_or_default();
    let urls = login.url.iter().chain(&login.further_urls).map(text);
    let mut hosts: Vec<String> = urls
        .take(HOSTS_MAX)
        .map(|url| host_or_address(&url).to_owned())
        .collect();
    if hosts.is_empty() {
        hosts.push(String::new());
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let names: Vec<&str> = std::iter::once(name).chain(before_suffix(name)).collect();
    let pairs = hosts
        .iter()
        .flat_map(|host| names.iter().map(move |name| (host, name)));
    pairs
        .map(|(host, name)| likeness(name, &user, host))
        .collect()
}

/// The host of an address; the address itself if it has none, which is not the same as no address.
fn host_or_address(url: &str) -> &str {
    host_of(url).unwrap_or(url)
}

/// Whether a record has or had the item's value in every field that both have, among them one that
/// a stranger does not know, and all hosts of the item.
fn agree(record: &Record, item: &Item) -> bool {
    let (urls, others): (Vec<&Field>, Vec<&Field>) = item.fields.iter().partition(|f| is_url(f));
    let hosts: BTreeSet<String> = urls_of(record)
        .map(|url| host_or_address(url).to_lowercase())
        .collect();
    let is_own = |field: &&Field| hosts.contains(&host_or_address(&field.value).to_lowercase());
    let mut common = others.iter().filter(|field| was_set(record, &field.name));
    let password = FieldRole::Password.name();
    let has_password = was_set(record, password) || !item.value(FieldRole::Password).is_empty();
    let is_proof = |field: &&&Field| match role_of(&field.name) {
        role if has_password => role == Some(FieldRole::Password),
        Some(FieldRole::Notes) => true,
        _ => is_secret(&field.name),
    };
    urls.iter().all(is_own)
        && common.clone().any(|field| is_proof(&field))
        && common.all(|field| had_field(record, field))
}

/// The addresses that a record ever had.
fn urls_of(record: &Record) -> impl Iterator<Item = &str> {
    let changes = record.changes().iter();
    let is_url = |change: &&Change| {
        let name = change.key.name.as_str();
        change.key.domain == Domain::User && name.is_some_and(is_url_name)
    };
    changes.filter(is_url).filter_map(text_of)
}

fn was_set(record: &Record, name: &str) -> bool {
    !record.history(Domain::User, &Text::from(name)).is_empty()
}

fn is_url(field: &Field) -> bool {
    is_url_name(&field.name)
}

fn is_url_name(name: &str) -> bool {
    name == FieldRole::Url.name() || is_further(name, FieldRole::Url)
}

/// Adds to a record what the item has and the record never had. Returns the names of the fields.
pub(super) fn add_to(
    vault: &mut Vault,
    id: &RecordId,
    item: &Item,
    now: i64,
) -> Result<(Outcome, Vec<String>), EditError> {
    let before = vault.change_count();
    let Some(record) = vault.record(id) else {
        return Ok((Outcome::Unchanged, Vec::new()));
    };
    let elsewhere = values_elsewhere(record, item);
    let mut urls: BTreeSet<&str> = urls_of(record).collect();
    let mut further = further_urls(record);
    let mut added = Vec::new();
    for field in &item.fields {
        let value = field.value.as_str();
        if is_url(field) {
            if urls.insert(value) {
                added.extend(further.next().map(|name| (name, value)));
            }
        } else if !was_set(record, &field.name) && !elsewhere.contains(value) {
            added.push((field.name.clone(), value));
        }
    }
    drop(further);
    let names = added.iter().map(|(name, _)| name.clone()).collect();
    let values = added
        .into_iter()
        .map(|(name, value)| change_of(&name, value));
    let values = values.collect();
    vault.change_values(id, values, now)?;
    earlier::add(vault, id, item);
    Ok((outcome_of(before, vault), names))
}

/// The names for further addresses that the record never had.
fn further_urls(record: &Record) -> impl Iterator<Item = String> {
    let first = FieldRole::Url.name();
    let numbered = (2_u32..).map(move |number| format!("{first} {number}"));
    let names = std::iter::once(first.to_owned()).chain(numbered);
    names.filter(|name| !was_set(record, name))
}
