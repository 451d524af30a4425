//! What a person did on this device, as steps that can be undone and redone.
//!
//! An edit that changed something is a step, and so is a sync that a person asked for and that
//! brought something. What a sync after a change brings is none, and neither is a purge.

use passmate_vault::Vault;
use passmate_vault::history::undo::{Retraced, RetracedRecord, Step, StepKind};
use serde::{Deserialize, Serialize};

use crate::answer::Reply;
use crate::clock::local_time;
use crate::problem::{Problem, ProblemKind};
use crate::records::{compare_paths, text};
use crate::session::Session;
use crate::sync_all::{Level, Notice};

/// The most records that a text names.
const NAMED_MAX: usize = 3;

/// A step that was undone or redone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetracedStep {
    /// What it was.
    pub kind: StepKind,
    /// When it was, in seconds since 1970.
    pub time: i64,
    /// The records that it had changed, as far as the history still knows them, in the order of
    /// their paths.
    pub records: Vec<StepRecord>,
    /// The number of fields that were left as they are, because they were changed since, or because
    /// the value that they had is gone. A path counts as a field.
    pub left: usize,
    /// The step changed too much to be remembered: nothing was done.
    pub is_forgotten: bool,
}

/// A record that a step had changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The path that it has, or had when it was deleted.
    pub path: String,
    /// The paths before and after the step, if the step gave it another one.
    pub moved: Option<(String, String)>,
    /// The fields that the step had changed.
    pub fields: Vec<String>,
}

impl RetracedStep {
    fn new(retraced: Retraced) -> Self {
        let records = retraced.records.into_iter().filter_map(StepRecord::new);
        let mut records: Vec<_> = records.collect();
        records.sort_by(|a, b| compare_paths(&a.path, &b.path));
        Self {
            kind: retraced.kind,
            time: retraced.time,
            records,
            left: retraced.left,
            is_forgotten: retraced.is_forgotten,
        }
    }

    /// What the step was, for people: `set password of web/shop (2026-11-27 10:00:00)`. Names in it
    /// are as they are.
    #[must_use]
    pub fn text(&self) -> String {
        let time = local_time(self.time);
        if self.records.is_empty() {
            return format!("{} ({time})", self.verb());
        }
        let names = self.names();
        let what = match (&self.kind, self.records.as_slice()) {
            (StepKind::Set | StepKind::Unset | StepKind::Restore, [one])
                if !one.fields.is_empty() =>
            {
                format!("{} {} of {names}", self.verb(), one.fields.join(", "))
            }
            (StepKind::Move, [one]) => match &one.moved {
                Some((from, to)) => format!("move {from} to {to}"),
                None => format!("move {names}"),
            },
            (StepKind::Copy, _) => format!("copy to {names}"),
            (StepKind::Import | StepKind::Sync(_), _) => format!("{}: {names}", self.verb()),
            _ => format!("{} {names}", self.verb()),
        };
        format!("{what} ({time})")
    }

    /// What could not be done, for people.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        if self.is_forgotten {
            return Some("nothing was done: the step changed too much to be remembered".to_owned());
        }
        let (fields, are) = match self.left {
            0 => return None,
            1 => ("1 field is left as it is".to_owned(), "it was"),
            count => (format!("{count} fields are left as they are"), "they were"),
        };
        Some(format!(
            "{fields}: {are} changed since, or an earlier value was purged or cut off"
        ))
    }

    fn verb(&self) -> String {
        match &self.kind {
            StepKind::Sync(place) => format!("sync with {place}"),
            kind => kind.word().to_owned(),
        }
    }

    fn names(&self) -> String {
        let paths: Vec<&str> = self
            .records
            .iter()
            .map(|record| record.path.as_str())
            .collect();
        match paths.split_at_checked(NAMED_MAX) {
            Some((named, more)) if !more.is_empty() => {
                format!("{} and {} more", named.join(", "), more.len())
            }
            _ => paths.join(", "),
        }
    }
}

impl StepRecord {
    fn new(record: RetracedRecord) -> Option<Self> {
        let moved = record.moved.as_ref();
        Some(Self {
            path: text(record.path.as_ref()?),
            moved: moved.map(|(from, to)| (text(from), text(to))),
            fields: record.fields.iter().map(text).collect(),
        })
    }
}

/// Undoes the newest step that is in effect. Returns the number of edits too.
pub(crate) fn undo(session: &mut Session) -> Reply<(RetracedStep, usize)> {
    let nothing =
        "there is nothing to undo: no earlier change or sync of this device is remembered";
    retraced(session.undo()?, nothing)
}

/// Redoes the step that was undone last. Returns the number of edits too.
pub(crate) fn redo(session: &mut Session) -> Reply<(RetracedStep, usize)> {
    let nothing = "there is nothing to redo: nothing was undone since the last change or sync";
    retraced(session.redo()?, nothing)
}

fn retraced(retraced: Option<Retraced>, nothing: &str) -> Reply<(RetracedStep, usize)> {
    let retraced = retraced.ok_or_else(|| {
        Problem::new(
            ProblemKind::NotFound,
            nothing,
            "`passmate history PATH` shows earlier values, and `passmate restore` brings them back",
        )
    })?;
    let changes = retraced.changes;
    Ok((RetracedStep::new(retraced), changes))
}

/// Remembers what a sync that a person asked for brought since `before`. It belongs to the newest
/// step if that is a sync that goes on.
pub(crate) fn note_sync(
    session: &mut Session,
    place: &str,
    before: &Vault,
    is_continued: bool,
) -> Option<Notice> {
    let step = Step::between(
        StepKind::sync(place),
        session.now(),
        before,
        session.vault(),
    )?;
    session.note_step(step, is_continued);
    let error = session.save_more().err()?;
    Some(Notice {
        level: Level::Warning,
        text: format!("`passmate undo` will not take back what this sync brought: {error}"),
    })
}
