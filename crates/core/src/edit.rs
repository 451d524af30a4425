//! Everything that changes records.

pub(crate) mod select;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use getrandom::SysRng;
use passmate_interchange::{Applied, Format, Imported, apply};
use passmate_sync::{Replica, admit};
use passmate_vault::history::undo::StepKind;
use passmate_vault::login::{FieldRole, role_of};
use passmate_vault::record::{FieldKey, Value};
use passmate_vault::{EditError, RecordId, Shape, Vault};
use rand_core::UnwrapErr;
use zeroize::Zeroizing;

use crate::answer::{Consent, Place, Question, Reply};
use crate::codes::{check_counter, use_counter};
use crate::generate::site::SiteRule;
use crate::history::{
    At, PurgeScope, check_new_path, check_parts, purged_changes, restore_field, revert_record,
    undelete,
};
use crate::lossy;
use crate::otp::{CountedCode, IMPORT_MIGRATION, Otp, OtpError};
use crate::problem::Problem;
use crate::records::{find, get};
use crate::recover::untouched;
use crate::session::Session;
use crate::sync_all::held_back;
use crate::undo::{RetracedStep, redo, undo};
use select::{Moved, Selected, check_folders_meant, move_to, select};
use serde::{Deserialize, Serialize};

/// A change of records.
#[derive(Clone, Serialize, Deserialize)]
pub enum Edit {
    /// Make an empty record.
    Create {
        /// Its path.
        path: String,
    },
    /// Make a record with fields.
    Add {
        /// The record. A field whose value is empty is left out.
        record: RecordText,
    },
    /// Set a field, in a new record if there is none at the path.
    Set {
        /// The record.
        path: String,
        /// The field.
        field: String,
        /// Its value.
        value: Zeroizing<String>,
    },
    /// Set several fields as [`Edit::Set`] does, in one change.
    SetFields {
        /// The record.
        path: String,
        /// The fields with their values.
        fields: Vec<(String, Zeroizing<String>)>,
    },
    /// Use up the next counter of a record's one-time codes: [`Edited::code`] is its code.
    UseCounter {
        /// The record.
        path: String,
        /// The field; without one it is the field that holds the secret of its codes.
        field: Option<String>,
    },
    /// Remove a field; its values stay in the history.
    Unset {
        /// The record.
        path: String,
        /// The field.
        field: String,
    },
    /// Give records other paths. A path with a slash at its end, or without a record, names the
    /// folder of all records below it.
    Move {
        /// Their paths, or those of folders.
        from: Vec<String>,
        /// The new path. It is a folder into which they go if it ends with a slash, if there is a
        /// folder but no record of that name, or if there are several paths. No new path may be
        /// taken.
        to: String,
    },
    /// Make new records with the present fields of others, without their history.
    Copy {
        /// As in [`Edit::Move`].
        from: Vec<String>,
        /// As in [`Edit::Move`].
        to: String,
    },
    /// Delete records; they stay in the history. Needs [`Question::Delete`].
    Delete {
        /// Their paths, or those of folders, as in [`Edit::Move`]. If nobody saw the question, a
        /// folder must have a slash at its end.
        paths: Vec<String>,
    },
    /// Store what a person changed in a whole record, and nothing else: what another device changed
    /// meanwhile stays.
    Update {
        /// The record.
        path: String,
        /// What the person began with.
        before: RecordText,
        /// What they made of it. An empty value unsets its field.
        after: RecordText,
    },
    /// Set a field to a value that it had; without a point in time to the previous one.
    RestoreField {
        /// The record.
        path: String,
        /// The field.
        field: String,
        /// Which of its values.
        at: Option<At>,
    },
    /// Make a record what it was at a time.
    RestoreRecord {
        /// The record, or one that was deleted under this path.
        path: String,
        /// Seconds since 1970.
        seconds: i64,
    },
    /// Bring a deleted record back.
    Undelete {
        /// Its last path, or its id.
        path: String,
        /// Its new path; without one it gets its last path.
        to: Option<String>,
    },
    /// Purge values of a record: see [`purge`](passmate_vault::history::purge). Needs
    /// [`Question::Purge`].
    Purge {
        /// The record, or one that was deleted under this path.
        path: String,
        /// Which of its values.
        scope: PurgeScope,
    },
    /// Take back the last edit or sync of this device that was not taken back yet.
    Undo,
    /// Do again what was taken back last.
    Redo,
    /// Add what another program exported. May be repeated.
    Import {
        /// What wrote it.
        format: Format,
        /// What was read.
        imported: Imported,
    },
}

/// Without the values.
impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit").finish_non_exhaustive()
    }
}

/// A record as text: its path and its fields.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordText {
    /// The path.
    pub path: String,
    /// The fields, by name.
    pub fields: BTreeMap<String, Zeroizing<String>>,
}

impl RecordText {
    /// A record with these fields.
    pub fn new<'a>(
        path: impl Into<String>,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let fields = fields.into_iter();
        Self {
            path: path.into(),
            fields: fields
                .map(|(name, value)| (name.to_owned(), value.to_owned().into()))
                .collect(),
        }
    }
}

/// Without the fields' values.
impl fmt::Debug for RecordText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordText")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What an [`Edit`] did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Edited {
    /// The number of changes; 0 if everything was like that before.
    pub changes: usize,
    /// The number of changes that were stamped more than a day after the present and got the
    /// present time, so that this one wins.
    pub from_future: usize,
    /// After a purge: the vault syncs with something through which a purge does not pass.
    pub stays_elsewhere: bool,
    /// After a purge: files beside the vault that it does not reach: with a history that was cut
    /// off, or other copies.
    #[serde(serialize_with = "lossy::paths")]
    pub archives: Vec<PathBuf>,
    /// The paths of the records that were made, moved, restored or deleted; the new ones, if they
    /// have new ones.
    pub paths: Vec<String>,
    /// What an import did, record by record.
    pub applied: Option<Applied>,
    /// The one-time code whose counter was used up.
    pub code: Option<CountedCode>,
    /// What was undone or redone.
    pub step: Option<RetracedStep>,
}

impl Edited {
    fn note_step(&mut self, (step, changes): (RetracedStep, usize)) {
        let paths = step.records.iter().map(|record| record.path.clone());
        self.paths = paths.collect();
        self.changes = changes;
        self.step = Some(step);
    }
}

impl Edit {
    /// What the step is that this edit makes; `None` if it makes none.
    pub(crate) const fn step_kind(&self) -> Option<StepKind> {
        Some(match self {
            Self::Create { .. } | Self::Add { .. } => StepKind::New,
            Self::Set { .. } | Self::SetFields { .. } => StepKind::Set,
            Self::Unset { .. } => StepKind::Unset,
            Self::Move { .. } => StepKind::Move,
            Self::Copy { .. } => StepKind::Copy,
            Self::Delete { .. } => StepKind::Delete,
            Self::Update { .. } => StepKind::Edit,
            Self::RestoreField { .. } | Self::RestoreRecord { .. } | Self::Undelete { .. } => {
                StepKind::Restore
            }
            Self::Import { .. } => StepKind::Import,
            // A code that was used stays used.
            Self::UseCounter { .. } | Self::Purge { .. } | Self::Undo | Self::Redo => return None,
        })
    }
}

/// Changes the session's vault; saving it is up to the caller.
pub(crate) fn edit(session: &mut Session, edit: &Edit, consent: &Consent) -> Reply<Edited> {
    let mut edited = Edited {
        changes: 1,
        ..Edited::default()
    };
    let purged = session.vault().purged_count();
    match edit {
        Edit::Create { path } => {
            check_new_path(session.vault(), path)?;
            create(session, path)?;
            edited.paths = vec![path.clone()];
        }
        Edit::Add { record } => {
            check_new_path(session.vault(), &record.path)?;
            let id = create(session, &record.path)?;
            let is_set = |(_, value): &(&String, &Zeroizing<String>)| !value.is_empty();
            for (name, value) in record.fields.iter().filter(is_set) {
                check_value(name, value)?;
                session.edit(|vault, now| vault.set(&id, name.as_str(), value.as_str(), now))?;
                edited.changes += 1;
            }
            edited.paths = vec![record.path.clone()];
        }
        Edit::Set { path, field, value } => edited.changes = set(session, path, field, value)?,
        Edit::SetFields { path, fields } => {
            edited.changes = 0;
            for (field, value) in fields {
                edited.changes += set(session, path, field, value)?;
            }
        }
        Edit::UseCounter { path, field } => {
            edited.code = Some(use_counter(session, path, field.as_deref())?);
        }
        Edit::Unset { path, field } => {
            let id = id_of(session.vault(), path, Some(field))?;
            session.edit(|vault, now| vault.unset(&id, field.as_str(), now))?;
        }
        Edit::Move { from, to } => {
            let moved = move_to(session.vault(), from, to)?;
            edited.changes = moved.len();
            for Moved { id, to, .. } in moved {
                session.edit(|vault, now| vault.rename(&id, to.as_str(), now))?;
                edited.paths.push(to);
            }
        }
        Edit::Copy { from, to } => {
            let copied = move_to(session.vault(), from, to)?;
            edited.changes = copied.len();
            for Moved { id, to, .. } in copied {
                copy(session, &id, &to)?;
                edited.paths.push(to);
            }
        }
        Edit::Delete { paths } => {
            let selected = select(session.vault(), paths)?;
            edited.changes = selected.len();
            edited.paths = selected.iter().map(|one| one.path.clone()).collect();
            let question = Question::Delete {
                paths: edited.paths.clone(),
            };
            consent.require(question.clone())?;
            if !consent.was_seen(&question) {
                check_folders_meant(session.vault(), paths)?;
            }
            for Selected { id, .. } in selected {
                session.edit(|vault, now| vault.delete(&id, now))?;
            }
        }
        Edit::Update {
            path,
            before,
            after,
        } => {
            let id = id_of(session.vault(), path, None)?;
            edited.changes = update(session, &id, before, after)?;
        }
        Edit::RestoreField { path, field, at } => {
            session.edit(|vault, now| restore_field(vault, path, field, *at, now))?;
        }
        Edit::RestoreRecord { path, seconds } => {
            edited.changes =
                session.edit(|vault, now| revert_record(vault, path, *seconds, now))?;
        }
        Edit::Undelete { path, to } => {
            let path = session.edit(|vault, now| undelete(vault, path, to.as_deref(), now))?;
            edited.paths = vec![path];
        }
        Edit::Purge { path, scope } => {
            edited.changes = purge(session, path, scope, consent)?;
            edited.archives = session.all_archives();
            edited.archives.extend(untouched(session.location()));
            let account = Replica::account(session);
            let is_shared = account.is_some_and(|account| account.shape == Shape::Desktop);
            edited.stays_elsewhere =
                is_shared || session.folder().is_some_and(|folder| folder.key.is_none());
        }
        Edit::Undo => edited.note_step(undo(session)?),
        Edit::Redo => edited.note_step(redo(session)?),
        Edit::Import { format, imported } => {
            let applied = import(session, *format, imported, consent)?;
            edited.changes = applied.changes;
            edited.applied = Some(applied);
        }
    }
    if !matches!(edit, Edit::Purge { .. } | Edit::Import { .. }) {
        edited.from_future = session.vault().purged_count() - purged;
    }
    Ok(edited)
}

/// Imports through the gate: a file may alter records that were imported before.
fn import(
    session: &mut Session,
    format: Format,
    imported: &Imported,
    consent: &Consent,
) -> Reply<Applied> {
    let place = Place::File(format);
    let mut vault = session.vault().clone();
    let rng = &mut UnwrapErr(SysRng);
    let applied = apply(imported, &mut vault, format, session.now(), rng)?;
    let policy = consent.policy(&place, &session.sync_settings().policy);
    let admitted = admit(vault, session.entry(), &policy).map_err(|held| held_back(place, held))?;
    session.merge(&admitted.by_person());
    Ok(applied)
}

/// Sets a field, in a new record if there is none. Returns the number of changes: none if the field
/// has the value already.
fn set(session: &mut Session, path: &str, field: &str, value: &str) -> Reply<usize> {
    let known = {
        let view = session.vault().view();
        get(&view, path).map(|record| {
            let shown = record.field(&field.into());
            let is_same = shown.map_or_else(|| value.is_empty(), |shown| *shown.value == *value);
            (record.id.clone(), is_same)
        })
    };
    check_value(field, value)?;
    let (id, is_new) = match known {
        Some((_, true)) => return Ok(0),
        Some((id, false)) => (id, false),
        None => (create(session, path)?, true),
    };
    if is_new && value.is_empty() {
        return Ok(1);
    }
    check_counter(session.vault(), &id, field, value)?;
    session.edit(|vault, now| vault.set(&id, field, value, now))?;
    Ok(1)
}

/// Checks what a person may set a field to. A secret of one-time codes that makes none, or a rule
/// that is none, would be noticed when it is needed.
///
/// # Errors
/// The value is no value for this field.
pub fn check_value(field: &str, value: &str) -> Result<(), Problem> {
    if value.is_empty() {
        return Ok(());
    }
    match role_of(field) {
        Some(FieldRole::Otp) => Otp::parse(value).map(drop).map_err(|error| {
            let hint = match error {
                OtpError::Migration => IMPORT_MIGRATION,
                _ => {
                    "set the otpauth address or the secret that the site gives; other values \
                     belong into a field with another name"
                }
            };
            let message = format!("the value of {field} makes no one-time codes: {error}");
            Problem::usage(message, hint)
        }),
        Some(FieldRole::PasswordRule) => SiteRule::parse(value).map(drop).map_err(|error| {
            Problem::usage(
                format!("the value of {field} is no rule for passwords: {error}"),
                "an example is minlength: 8; maxlength: 20; required: lower; required: digit;",
            )
        }),
        _ => Ok(()),
    }
}

/// Makes a new record with the fields that another one shows.
fn copy(session: &mut Session, id: &RecordId, to: &str) -> Reply<()> {
    let fields: Vec<(FieldKey, Value)> = {
        let record = session.vault().record(id).ok_or(EditError::NoSuchRecord)?;
        let newest = record
            .fields()
            .filter_map(|history| {
                let key = &history.first()?.key;
                record.newest(key.domain, &key.name)
            })
            .filter(|change| !change.key.is_path() && change.value.shown().is_some());
        newest
            .map(|change| (change.key.clone(), change.value.clone()))
            .collect()
    };
    let id = create(session, to)?;
    for (key, value) in fields {
        session.edit(|vault, now| vault.change_value(&id, key, value, now))?;
    }
    Ok(())
}

fn create(session: &mut Session, path: &str) -> Reply<RecordId> {
    check_parts(path)?;
    let id = session.make_record_id();
    session.edit(|vault, now| vault.create_record(id.clone(), path, now))?;
    Ok(id)
}

/// The id of a record that has this field, if one is named.
fn id_of(vault: &Vault, path: &str, field: Option<&str>) -> Reply<RecordId> {
    let view = vault.view();
    let record = find(&view, path)?;
    if let Some(field) = field
        && record.field(&field.into()).is_none()
    {
        return Err(Problem::no_field(path, field).into());
    }
    Ok(record.id.clone())
}

/// Writes what is different, and returns the number of differences.
fn update(
    session: &mut Session,
    id: &RecordId,
    before: &RecordText,
    after: &RecordText,
) -> Reply<usize> {
    let mut changes = 0;
    if after.path != before.path {
        check_new_path(session.vault(), &after.path)?;
        session.edit(|vault, now| vault.rename(id, after.path.as_str(), now))?;
        changes += 1;
    }
    // To a person an empty value and none are the same.
    let value =
        |record: &RecordText, name: &str| record.fields.get(name).cloned().unwrap_or_default();
    let added = after
        .fields
        .keys()
        .filter(|name| !before.fields.contains_key(*name));
    for name in before.fields.keys().chain(added) {
        let new = value(after, name);
        if new == value(before, name) {
            continue;
        }
        changes += 1;
        check_value(name, &new)?;
        if new.is_empty() {
            session.edit(|vault, now| vault.unset(id, name.as_str(), now))?;
        } else {
            session.edit(|vault, now| vault.set(id, name.as_str(), new.as_str(), now))?;
        }
    }
    Ok(changes)
}

/// Purges what was asked for, and returns the number of values.
fn purge(session: &mut Session, path: &str, scope: &PurgeScope, consent: &Consent) -> Reply<usize> {
    let (id, meant) = purged_changes(session.vault(), path, scope)?;
    consent.require(Question::Purge {
        path: path.to_owned(),
        field: scope.field().map(str::to_owned),
        values: meant.len(),
    })?;
    Ok(session.edit(|vault, now| vault.purge(&id, |change| meant.contains(change), now))?)
}
