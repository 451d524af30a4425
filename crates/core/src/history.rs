//! What a record was, and bringing it back.

use std::fmt;

use passmate_vault::record::{Change, Domain, FieldKey, Record, Value};
use passmate_vault::{EditError, RecordId, Vault};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::answer::Reply;
use crate::clock::local_time;
use crate::command::{Command, command};
use crate::problem::{Problem, ProblemKind};
use crate::records::{find, find_one, get, get_deleted, text};

/// One change of a record, as people see it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Counted from the field's newest change, which is 1.
    pub number: usize,
    /// The field's name; `path` for the record's path.
    pub field: String,
    /// Whether this is the record's path, and not a field of that name.
    pub is_path: bool,
    /// Whether the value is to be masked on a screen.
    pub is_secret: bool,
    /// The value; `None` if the field was unset, or the record deleted.
    pub value: Option<Zeroizing<String>>,
    /// When it was made, in seconds since 1970; `None` if the time is not a valid one.
    pub time: Option<i64>,
}

/// Without the value.
impl fmt::Debug for HistoryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryEntry")
            .field("number", &self.number)
            .field("field", &self.field)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// A point in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum At {
    /// A number of a [`HistoryEntry`].
    Number(usize),
    /// Seconds since 1970.
    Time(i64),
}

/// What is purged of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PurgeScope {
    /// All of it, its paths too.
    Record,
    /// All values of a field.
    Field(String),
    /// The values of a field but the one that it shows.
    Earlier(String),
    /// One value of a field, by the number of its [`HistoryEntry`].
    Value(String, usize),
}

impl PurgeScope {
    /// The field; `None` for the whole record.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Record => None,
            Self::Field(field) | Self::Earlier(field) | Self::Value(field, _) => Some(field),
        }
    }
}

/// The history of a record, or of one field of it, the newest first.
pub(crate) fn history(vault: &Vault, path: &str, field: Option<&str>) -> Reply<Vec<HistoryEntry>> {
    let id = find_any(vault, path)?;
    let record = vault.record(&id).ok_or(EditError::NoSuchRecord)?;
    let mut changes = changes_of(record, field);
    if let (Some(field), []) = (field, changes.as_slice()) {
        return Err(Problem::no_field(path, field).into());
    }
    changes.sort_by(|a, b| b.change.stamp.cmp(&a.change.stamp));
    let entries = changes.into_iter().map(|numbered| HistoryEntry {
        number: numbered.number,
        is_secret: !numbered.is_path && passmate_vault::login::is_secret(&numbered.field),
        value: numbered
            .change
            .value
            .shown()
            .map(|value| text(&value).into()),
        time: numbered.change.stamp.deciding_seconds(),
        field: numbered.field,
        is_path: numbered.is_path,
    });
    Ok(entries.collect())
}

/// A change with its number.
struct Numbered<'a> {
    number: usize,
    field: String,
    is_path: bool,
    change: &'a Change,
}

/// The changes of the person's fields and of the path. What other programs keep is not shown.
fn changes_of<'a>(record: &'a Record, field: Option<&str>) -> Vec<Numbered<'a>> {
    let mut changes = Vec::new();
    for history in record.fields() {
        let Some(key) = history.first().map(|change| &change.key) else {
            continue;
        };
        let name = if key.is_path() {
            "path".to_owned()
        } else {
            text(&key.name)
        };
        let is_wanted = field.is_none_or(|field| !key.is_path() && field == name);
        if !is_wanted || (key.domain == Domain::Meta && !key.is_path()) {
            continue;
        }
        // Changes whose stamp never decides come last, whatever it says. Of a purged one there is
        // nothing to show.
        let (deciding, others): (Vec<_>, Vec<_>) = history
            .iter()
            .rev()
            .filter(|change| !change.is_purged())
            .partition(|change| change.stamp.deciding_seconds().is_some());
        let numbered = deciding.into_iter().chain(others).enumerate();
        changes.extend(numbered.map(|(index, change)| Numbered {
            number: index + 1,
            field: name.clone(),
            is_path: key.is_path(),
            change,
        }));
    }
    changes
}

/// The value that a field had, and its record.
pub(crate) fn past_value(
    vault: &Vault,
    path: &str,
    field: &str,
    at: Option<At>,
) -> Reply<(RecordId, Value)> {
    let record = find_one(vault, path)?;
    let changes = changes_of(record.record, Some(field));
    let is_wanted = |numbered: &&Numbered<'_>| match at {
        None => numbered.number == 2,
        Some(At::Number(number)) => numbered.number == number,
        Some(At::Time(seconds)) => {
            let time = numbered.change.stamp.deciding_seconds();
            time.is_some_and(|time| time <= seconds)
        }
    };
    match changes.iter().find(is_wanted) {
        Some(wanted) => Ok((record.id.clone(), wanted.change.value.clone())),
        None if changes.is_empty() => Err(Problem::no_field(path, field).into()),
        None => Err(Problem::new(
            ProblemKind::NotFound,
            format!(
                "{field} of {path} has no such change ({} in all)",
                changes.len()
            ),
            format!("{} lists them", history_command(path, Some(field))),
        )
        .into()),
    }
}

/// The command that shows the history of a record, or of one field of it.
#[must_use]
pub fn history_command(path: &str, field: Option<&str>) -> Command {
    let of_record = command(["passmate", "history"]).arg(path);
    field.into_iter().fold(of_record, Command::arg)
}

/// A record, deleted or not, and those of its changes that are meant to be purged.
pub(crate) fn purged_changes(
    vault: &Vault,
    path: &str,
    scope: &PurgeScope,
) -> Reply<(RecordId, Vec<Change>)> {
    let id = find_any(vault, path)?;
    let changes = vault.record(&id).map(Record::changes).unwrap_or_default();
    let is_field = |change: &&Change| match scope.field() {
        Some(field) => change.key == FieldKey::user(field),
        None => true,
    };
    let meant = changes.iter().filter(|change| !change.is_purged());
    // The newest first, in the order in which the history numbers them.
    let (mut ordered, others): (Vec<&Change>, Vec<&Change>) = meant
        .filter(is_field)
        .rev()
        .partition(|change| change.stamp.decides());
    ordered.extend(others);
    let wanted = match scope {
        PurgeScope::Record | PurgeScope::Field(_) => &ordered[..],
        PurgeScope::Earlier(_) => ordered.get(1..).unwrap_or_default(),
        PurgeScope::Value(_, number) => {
            let place = number.saturating_sub(1);
            ordered.get(place..place + 1).unwrap_or_default()
        }
    };
    if let (Some(field), []) = (scope.field(), &ordered[..]) {
        return Err(Problem::no_field(path, field).into());
    }
    if let (Some(field), []) = (scope.field(), wanted) {
        return Err(Problem::new(
            ProblemKind::NotFound,
            format!(
                "{field} of {path} has no such value ({} in all)",
                ordered.len()
            ),
            format!("{} lists them", history_command(path, Some(field))),
        )
        .into());
    }
    Ok((id, wanted.iter().copied().cloned().collect()))
}

/// Makes a record, deleted or not, what it was at a time. Returns the number of changes.
pub(crate) fn revert_record(vault: &mut Vault, path: &str, seconds: i64, now: i64) -> Reply<usize> {
    let id = find_any(vault, path)?;
    let then = vault.at(seconds);
    let Some(path_then) = live_path(&then, &id) else {
        return Err(Problem::new(
            ProblemKind::NotFound,
            format!("there was no {path} at {}", local_time(seconds)),
            format!("{} shows when it changed", history_command(path, None)),
        )
        .into());
    };
    if live_path(vault, &id).is_none_or(|now| now != path_then) {
        refuse_taken(vault, &path_then)?;
    }
    Ok(vault.revert_record(&id, &then, now)?)
}

/// Brings a deleted record back. Of several that had this path, the one that was deleted last.
/// It gets its last path, or the path `to`. Returns its path.
pub(crate) fn undelete(vault: &mut Vault, path: &str, to: Option<&str>, now: i64) -> Reply<String> {
    let view = vault.view();
    let (id, last) = match (get_deleted(&view, path), get(&view, path)) {
        (Some(deleted), _) => (deleted.id.clone(), text(&deleted.path)),
        (None, Some(_)) => {
            return Err(Problem::usage(
                format!("the record {path} is not deleted"),
                "name a field to bring back its previous value, or give --at a time",
            )
            .into());
        }
        (None, None) => {
            return Err(Problem::new(
                ProblemKind::NotFound,
                format!("no deleted record had the path {path}"),
                "`passmate ls --deleted` shows those that did",
            )
            .into());
        }
    };
    to.map_or(Ok(()), check_parts)?;
    let path = to.unwrap_or(&last);
    if view.get(path).is_some() {
        return Err(Problem::new(
            ProblemKind::Exists,
            format!("{path} is a record now, so the deleted one needs another path"),
            format!(
                "{} restores it under the path that you give",
                command(["passmate", "restore"])
                    .arg(&*id.as_text().to_string_lossy())
                    .word("--to")
                    .word("PATH")
            ),
        )
        .into());
    }
    vault.rename(&id, path, now)?;
    Ok(path.to_owned())
}

/// Sets a field to a past value.
pub(crate) fn restore_field(
    vault: &mut Vault,
    path: &str,
    field: &str,
    at: Option<At>,
    now: i64,
) -> Reply<()> {
    let (id, value) = past_value(vault, path, field, at)?;
    vault.change_value(&id, FieldKey::user(field), value, now)?;
    Ok(())
}

/// A path that a record is about to get must have good parts and be free.
pub(crate) fn check_new_path(vault: &Vault, path: &str) -> Result<(), Problem> {
    check_parts(path)?;
    refuse_taken(vault, path)
}

/// Checks that a new path has a name in each of its parts: one with a slash at its end names a
/// folder.
///
/// # Errors
/// One has none.
pub fn check_parts(path: &str) -> Result<(), Problem> {
    if path.split('/').all(|part| !part.is_empty()) || path.is_empty() {
        return Ok(());
    }
    Err(Problem::usage(
        format!("a part of the path {path} is empty"),
        "leave out slashes at its ends, and the second of two slashes",
    ))
}

fn refuse_taken(vault: &Vault, path: &str) -> Result<(), Problem> {
    match vault.lookup().get(path) {
        None => Ok(()),
        Some(_) => Err(Problem::new(
            ProblemKind::Exists,
            format!("there is already a record {path}"),
            "choose another path",
        )),
    }
}

/// The record that has this path, or had it last when it was deleted.
fn find_any(vault: &Vault, path: &str) -> Reply<RecordId> {
    let view = vault.view();
    match (get(&view, path), get_deleted(&view, path)) {
        (None, Some(deleted)) => Ok(deleted.id.clone()),
        _ => Ok(find(&view, path)?.id.clone()),
    }
}

fn live_path(vault: &Vault, id: &RecordId) -> Option<String> {
    Some(text(&vault.lookup().by_id(id)?.path))
}
