//! What people read of a vault: its tree, its trash, one record.

use std::cmp::Ordering;
use std::fmt;

use alphanumeric_sort::compare_str;
use passmate_vault::guard::is_guarded;
use passmate_vault::login::{FieldRole, is_further, is_secret, role_of};
use passmate_vault::view::{DeletedRecord, View, ViewRecord};
use passmate_vault::{RecordId, Text, Vault};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::answer::{Halt, Reply};
use crate::escape::unescape_path;
use crate::naming::no_such_record;
use crate::problem::Problem;

/// A record as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordEntry {
    /// Its path, by which every call finds it.
    pub path: String,
    /// Its id, which never changes.
    pub id: String,
    /// The path that it was given, if another record shows under that one.
    pub clash: Option<String>,
    /// It was deleted on one device and changed later on another.
    pub revived: bool,
    /// A person guards it: see [`guard`](crate::guard).
    pub guarded: bool,
}

/// A deleted record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedEntry {
    /// The last path that it had.
    pub path: String,
    /// Its id.
    pub id: String,
    /// When it was deleted, in seconds since 1970; `None` if the time is not a valid one.
    pub deleted_at: Option<i64>,
}

/// A record with its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordContent {
    /// Its path.
    pub path: String,
    /// Its id.
    pub id: String,
    /// Its fields that are set: user name and password first, notes last, and alike ones in the
    /// order of their names.
    pub fields: Vec<FieldContent>,
}

/// A field of a record.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldContent {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Zeroizing<String>,
    /// Whether the value is to be masked on a screen.
    pub is_secret: bool,
}

/// Without the value.
impl fmt::Debug for FieldContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldContent")
            .field("name", &self.name)
            .field("is_secret", &self.is_secret)
            .finish_non_exhaustive()
    }
}

impl RecordContent {
    /// The field of this name.
    ///
    /// # Errors
    /// It is not set.
    pub fn field(&self, name: &str) -> Result<&FieldContent, Problem> {
        let field = self.fields.iter().find(|field| field.name == name);
        field.ok_or_else(|| Problem::no_field(&self.path, name))
    }

    /// The field that has a role.
    #[must_use]
    pub fn with_role(&self, role: FieldRole) -> Option<&FieldContent> {
        let names: Vec<_> = self.fields.iter().map(|field| &field.name).collect();
        self.fields.get(role.place(&names)?)
    }
}

/// Which records a call is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// Those below a folder.
    Below(String),
    /// Those with an address in which this host occurs, in lower case. It may be part of another
    /// one.
    OfHost(String),
    /// Those with a private key.
    WithPrivateKey,
}

/// All records, in the order of [`compare_paths`].
pub(crate) fn list(vault: &Vault) -> Vec<RecordEntry> {
    let view = vault.view();
    let entries = view.records().iter().map(|record| RecordEntry {
        path: text(&record.path),
        id: text(record.id.as_text()),
        clash: record.clash.as_deref().map(text),
        revived: record.revived,
        guarded: is_guarded(record),
    });
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by(|a, b| compare_paths(&a.path, &b.path));
    entries
}

/// The order in which people look for paths: folder by folder, with numbers by their value, so that
/// `2` comes before `10`.
#[must_use]
pub fn compare_paths(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            // Two names that count as equal, such as 1 and 01, are two folders.
            (Some(a), Some(b)) => compare_str(a, b).then_with(|| a.cmp(b)),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The deleted records, the latest first.
pub(crate) fn trash(vault: &Vault) -> Vec<DeletedEntry> {
    let view = vault.view();
    let mut deleted: Vec<_> = view.deleted().iter().collect();
    deleted.sort_by(|a, b| b.stamp.cmp(a.stamp));
    let entries = deleted.into_iter().map(|record| DeletedEntry {
        path: text(&record.path),
        id: text(record.id.as_text()),
        deleted_at: record.stamp.deciding_seconds(),
    });
    entries.collect()
}

/// The record at a path.
pub(crate) fn content(vault: &Vault, path: &str) -> Reply<RecordContent> {
    Ok(content_of(&find_one(vault, path)?))
}

fn content_of(record: &ViewRecord<'_>) -> RecordContent {
    let fields = record.fields().map(|field| {
        let name = text(field.name);
        FieldContent {
            is_secret: is_secret(&name),
            value: Zeroizing::new(text(&field.value)),
            name,
        }
    });
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by_cached_key(|field| place_of(role_of(&field.name)));
    RecordContent {
        path: text(&record.path),
        id: text(record.id.as_text()),
        fields,
    }
}

/// Where people look for a field.
const fn place_of(role: Option<FieldRole>) -> usize {
    match role {
        Some(FieldRole::User) => 0,
        Some(FieldRole::Password) => 1,
        Some(FieldRole::Otp) => 2,
        Some(FieldRole::Url) => 3,
        Some(FieldRole::Notes) => 6,
        Some(_) => 4,
        None => 5,
    }
}

/// The records of a kind, in the order of their paths' bytes.
pub(crate) fn select(vault: &Vault, which: &Which) -> Vec<RecordContent> {
    let view = vault.view();
    let records = view.records().iter();
    let wanted = records.filter(|record| match which {
        Which::Below(folder) => {
            let path = record.path.to_string_lossy();
            let rest = path.strip_prefix(folder.as_str());
            rest.is_some_and(|rest| rest.starts_with('/'))
        }
        Which::OfHost(host) => record.fields().any(|field| {
            let value = field.value.to_string_lossy();
            is_address(&field.name.to_string_lossy()) && value.to_lowercase().contains(host)
        }),
        Which::WithPrivateKey => FieldRole::PrivateKey.find(record).is_some(),
    });
    wanted.map(content_of).collect()
}

/// Whether a field of this name holds an address.
pub(crate) fn is_address(name: &str) -> bool {
    role_of(name) == Some(FieldRole::Url) || is_further(name, FieldRole::Url)
}

/// The record at a path, without a view of all: see [`get`].
pub(crate) fn find_one<'a>(vault: &'a Vault, path: &str) -> Reply<ViewRecord<'a>> {
    let by_path = vault
        .record_at(&unescape_path(path))
        .or_else(|| vault.record_at(path));
    let by_id = || {
        is_own_id(path)
            .then(|| vault.lookup().by_id(&path.into()))
            .flatten()
    };
    match by_path.or_else(by_id) {
        Some(record) => Ok(record),
        None => Ok(find(&vault.view(), path)?.clone()),
    }
}

/// The record at a path as a list shows it: see [`get`].
pub(crate) fn find<'v, 'a>(view: &'v View<'a>, path: &str) -> Reply<&'v ViewRecord<'a>> {
    get(view, path).ok_or_else(|| {
        let deleted = get_deleted(view, path).map(|record| text(&record.path));
        Halt::Needs(no_such_record(view, path, deleted))
    })
}

/// The record that a person names: by its path, also with the escapes of
/// [`escape_path`](crate::escape::escape_path), or by its id.
pub(crate) fn get<'v, 'a>(view: &'v View<'a>, name: &str) -> Option<&'v ViewRecord<'a>> {
    let by_path = view.get(&unescape_path(name)).or_else(|| view.get(name));
    let mut records = view.records().iter();
    by_path.or_else(|| records.find(|record| is_id(record.id, name)))
}

/// The deleted record that a person names as in [`get`]; of several that had this path, the one
/// that was deleted last.
pub(crate) fn get_deleted<'v, 'a>(view: &'v View<'a>, name: &str) -> Option<&'v DeletedRecord<'a>> {
    let last_of = |path: &str| {
        let of_path = view.deleted().iter().filter(|record| *record.path == *path);
        of_path.max_by(|a, b| a.stamp.cmp(b.stamp))
    };
    let by_path = last_of(&unescape_path(name)).or_else(|| last_of(name));
    let mut records = view.deleted().iter();
    by_path.or_else(|| records.find(|record| is_id(record.id, name)))
}

/// Whether a person names a record by its id.
fn is_id(id: &RecordId, name: &str) -> bool {
    is_own_id(name) && *id.as_text() == *name
}

/// Whether this may name a record by its id. Only ids of Passmate's own form do: those of other
/// programs may look like a path.
fn is_own_id(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() == 16 && bytes.all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
}

pub(crate) fn text(text: &Text) -> String {
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_the_order_in_which_people_use_them() {
        let mut vault = Vault::new();
        let id = RecordId::from("1");
        vault.create_record(id.clone(), "shop", 1).unwrap();
        let ordered = [
            "user", "Login", "password", "otp", "url", "tags", "a", "pin", "notes",
        ];
        for name in ordered {
            vault.set(&id, name, "x", 2).unwrap();
        }
        let content = content(&vault, "shop").unwrap();
        let names: Vec<_> = content.fields.iter().map(|field| &*field.name).collect();
        assert_eq!(names[..2], ["Login", "user"], "alike ones by their names");
        assert_eq!(names[2..], ordered[2..]);
        let user = content.with_role(FieldRole::User).unwrap();
        assert_eq!(user.name, "user");
    }

    #[test]
    fn paths_are_in_the_order_in_which_people_look_for_them() {
        let ordered = [
            "a",
            "a/1",
            "a/01",
            "a/2",
            "a/10",
            "a/10/x",
            "a-b",
            "disk 9",
            "disk 10 b",
            "web/shop",
        ];
        for (place, path) in ordered.iter().enumerate() {
            for (other, with) in ordered.iter().enumerate() {
                assert_eq!(
                    compare_paths(path, with),
                    place.cmp(&other),
                    "{path} {with}"
                );
            }
        }
    }
}
