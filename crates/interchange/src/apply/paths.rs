//! The paths that records get: no two are the same.

use std::collections::{BTreeMap, BTreeSet};

use passmate_vault::login::FieldRole;
use passmate_vault::{RecordId, Vault};

use crate::read::item::{Item, clean_part};

/// The longest user name that tells two paths apart, in bytes.
const USER_LEN_MAX: usize = 128;

/// The paths of a vault.
pub(super) struct Paths {
    live: BTreeMap<RecordId, String>,
    taken: BTreeSet<String>,
    // The next number to try for each path, so that no number is tried twice.
    numbers: BTreeMap<String, u64>,
}

impl Paths {
    pub(super) fn new(vault: &Vault) -> Self {
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

    pub(super) fn is_live(&self, id: &RecordId) -> bool {
        self.live.contains_key(id)
    }

    /// The path of a live record.
    pub(super) fn of(&self, id: &RecordId) -> String {
        self.live.get(id).cloned().unwrap_or_default()
    }

    /// Gives a record the item's path. If it is in use, with the user name in brackets, or else
    /// with the lowest free number.
    pub(super) fn give(&mut self, id: &RecordId, item: &Item) -> String {
        let path = self.free(item);
        self.taken.insert(path.clone());
        self.live.insert(id.clone(), path.clone());
        path
    }

    fn free(&mut self, item: &Item) -> String {
        let path = &item.path;
        if !self.taken.contains(path) {
            return path.clone();
        }
        let with_user = with_user(item).filter(|path| !self.taken.contains(path));
        if let Some(path) = with_user {
            return path;
        }
        let number = self.numbers.entry(path.clone()).or_insert(2);
        loop {
            let numbered = format!("{path} ({number})");
            *number += 1;
            if !self.taken.contains(&numbered) {
                return numbered;
            }
        }
    }
}

/// The item's path with its user name, unless that is in its name already.
fn with_user(item: &Item) -> Option<String> {
    let user = clean_part(item.value(FieldRole::User));
    let is_short = !user.is_empty() && user.len() <= USER_LEN_MAX;
    (is_short && !item.name().contains(&user)).then(|| format!("{} ({user})", item.path))
}

/// Whether `had` is the path itself, or what [`Paths`] makes of it. `path` is that of an item, which
/// is cleaned, so `had` counts as cleaned too.
pub(super) fn is_path_or_suffixed(had: &str, path: &str) -> bool {
    let is_it = |had: &str| {
        let suffix = had.strip_prefix(path);
        suffix.is_some_and(|suffix| {
            suffix.is_empty() || (suffix.starts_with(" (") && suffix.ends_with(')'))
        })
    };
    is_it(had) || is_it(&cleaned(had))
}

/// The path as an importer would write it.
pub(super) fn cleaned(path: &str) -> String {
    path.split('/')
        .map(clean_part)
        .collect::<Vec<_>>()
        .join("/")
}

/// The paths that may have got a user name or a number: `path` for `path (2)`. A user name may have
/// brackets too, so there may be several.
pub(super) fn before_suffix(path: &str) -> impl Iterator<Item = &str> {
    const BRACKETS_MAX: usize = 8;
    let inner = path.strip_suffix(')').unwrap_or_default();
    let places = inner.rmatch_indices(" (").take(BRACKETS_MAX);
    places.filter_map(|(place, _)| path.get(..place))
}
