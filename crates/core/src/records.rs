//! What people read of a vault: its tree, its trash, one record.

use passmate_vault::login::is_secret;
use passmate_vault::view::{View, ViewRecord};
use passmate_vault::{Text, Vault};
use zeroize::Zeroizing;

use crate::answer::{Halt, Need, Reply};
use crate::problem::{Problem, ProblemKind};

/// A record as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordEntry {
    /// Its path, by which every call finds it.
    pub path: String,
    /// Its id, which never changes.
    pub id: String,
    /// The path that it was given, if another record shows under that one.
    pub clash: Option<String>,
    /// It was deleted on one device and changed later on another.
    pub revived: bool,
}

/// A deleted record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedEntry {
    /// The last path that it had.
    pub path: String,
    /// Its id.
    pub id: String,
    /// When it was deleted, in seconds since 1970; `None` if the time is not a valid one.
    pub deleted_at: Option<i64>,
}

/// A record with its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordContent {
    /// Its path.
    pub path: String,
    /// Its id.
    pub id: String,
    /// Its fields that are set, in the order of their names.
    pub fields: Vec<FieldContent>,
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldContent {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Zeroizing<String>,
    /// Whether the value is to be masked on a screen.
    pub is_secret: bool,
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
}

/// All records, in the order of their paths.
pub(crate) fn list(vault: &Vault) -> Vec<RecordEntry> {
    let view = vault.view();
    let entries = view.records().iter().map(|record| RecordEntry {
        path: text(&record.path),
        id: text(record.id.as_text()),
        clash: record.clash.as_deref().map(text),
        revived: record.revived,
    });
    entries.collect()
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
    let view = vault.view();
    let record = find(&view, path)?;
    let fields = record.fields().map(|field| {
        let name = text(field.name);
        FieldContent {
            is_secret: is_secret(&name),
            value: Zeroizing::new(text(&field.value)),
            name,
        }
    });
    Ok(RecordContent {
        path: text(&record.path),
        id: text(record.id.as_text()),
        fields: fields.collect(),
    })
}

/// The record at a path as a list shows it.
pub(crate) fn find<'v, 'a>(view: &'v View<'a>, path: &str) -> Reply<&'v ViewRecord<'a>> {
    if let Some(record) = view.get(path) {
        return Ok(record);
    }
    let paths: Vec<_> = view
        .records()
        .iter()
        .map(|record| record.path.to_string_lossy())
        .collect();
    let mut near = near(path, paths.iter().map(AsRef::as_ref));
    let message = format!("there is no record {path}");
    Err(match near.len() {
        0 => Problem::new(
            ProblemKind::NotFound,
            message,
            "`passmate ls` lists all records",
        )
        .into(),
        1 => Problem::new(
            ProblemKind::NotFound,
            message,
            format!("did you mean {}?", near.remove(0)),
        )
        .into(),
        _ => Halt::Needs(Need::Ambiguous {
            path: path.to_owned(),
            candidates: near,
        }),
    })
}

pub(crate) fn text(text: &Text) -> String {
    text.to_string_lossy().into_owned()
}

/// How alike two paths are that one may have been meant for the other; 1 is the same.
const ALIKE: f64 = 0.8;

/// Up to three paths that may have been meant: those that hold the last part of what was typed,
/// else the one most like it.
fn near<'p>(typed: &str, paths: impl Iterator<Item = &'p str> + Clone) -> Vec<String> {
    let typed = typed.to_lowercase();
    let last = typed.rsplit('/').next().unwrap_or_default();
    let holds = |path: &&str| !last.is_empty() && path.to_lowercase().contains(last);
    let holding: Vec<String> = paths
        .clone()
        .filter(holds)
        .take(3)
        .map(str::to_owned)
        .collect();
    if !holding.is_empty() {
        return holding;
    }
    let likeness =
        |path: &str| strsim::normalized_damerau_levenshtein(&typed, &path.to_lowercase());
    // Comparing takes as long as both are; nobody mistypes a kilobyte.
    let alike = paths
        .filter(|path| path.len() < 1024 && typed.len() < 1024)
        .map(|path| (likeness(path), path));
    let most = alike
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    most.into_iter().map(|(_, path)| path.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_meant_holds_the_last_part_or_is_most_alike() {
        let paths = ["bank/giro", "mail/work", "web/shop", "web/shopping"];
        let near = |typed| near(typed, paths.into_iter());
        assert_eq!(near("Shop"), ["web/shop", "web/shopping"]);
        assert_eq!(near("mail/wrok"), ["mail/work"]);
        assert_eq!(near("web/"), [""; 0]);
        assert_eq!(near("something else"), [""; 0]);
    }
}
