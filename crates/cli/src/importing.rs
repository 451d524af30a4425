//! Reads an import, makes records of it, and tells what became of it.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use passmate_core::api::VaultApi;
use passmate_core::edit::Edit;
use passmate_core::interchange::{
    Applied, ColumnUse, FILE_LEN_MAX, Format, Imported, Loss, Outcome, Same,
};
use passmate_core::problem::{Problem, ProblemKind};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::app::App;
use crate::change::change_and;
use crate::report::plain;

/// What is lost, with the record that had it.
pub(crate) fn loss_line(Loss { path, what }: &Loss) -> String {
    if path.is_empty() {
        what.clone()
    } else {
        format!("{path}: {what}")
    }
}

/// The same as JSON.
pub(crate) fn loss_object(Loss { path, what }: &Loss) -> Value {
    json!({ "path": path, "what": what })
}

/// What is told of an import, besides what became of the records.
pub(crate) struct Report {
    pub(crate) format: Format,
    pub(crate) losses: Vec<Loss>,
    /// How the columns of a table were understood.
    pub(crate) columns: Vec<ColumnUse>,
    /// How to get rid of the file.
    pub(crate) disposal: Vec<String>,
}

impl Report {
    /// Of an import without anything to tell about the file itself.
    pub(crate) fn of(format: Format, imported: &Imported) -> Self {
        Self {
            format,
            losses: imported.losses.clone(),
            columns: imported.columns.clone(),
            disposal: Vec::new(),
        }
    }
}

/// Imports, and tells what became of it.
pub(crate) fn bring_in(
    app: &App,
    vault: &mut dyn VaultApi,
    report: &Report,
    imported: Imported,
) -> Result<(), Problem> {
    let format = report.format;
    let edit = Edit::Import { format, imported };
    change_and(app, vault, &edit, |edited| match &edited.applied {
        Some(applied) => tell(app, report, false, applied),
        None => Ok(()),
    })
}

/// Tells what an import would do.
pub(crate) fn preview(
    app: &App,
    vault: &mut dyn VaultApi,
    report: &Report,
    imported: &Imported,
) -> Result<(), Problem> {
    let applied = plain(vault.preview_import(report.format, imported))?;
    tell(app, report, true, &applied)
}

/// A file that is read where it lies, or what came from a pipe.
pub(crate) enum Input {
    File(File),
    Memory(Cursor<Zeroizing<Vec<u8>>>),
}

impl Input {
    /// Opens a file; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let is_file = path != Path::new("-") && path.is_file();
        if is_file {
            return File::open(path).map(Self::File).map_err(unreadable(path));
        }
        read(path).map(|bytes| Self::Memory(Cursor::new(bytes)))
    }
}

impl Read for Input {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(bytes),
            Self::Memory(memory) => memory.read(bytes),
        }
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Memory(memory) => memory.seek(to),
        }
    }
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> Problem {
    let path = path.display().to_string();
    move |error| {
        Problem::new(
            ProblemKind::File,
            format!("cannot read {path}: {error}"),
            "check the path and the file's mode",
        )
    }
}

/// A file of at most as many bytes as can be imported, or one more.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let failed = unreadable(path);
    let mut bytes = Zeroizing::new(Vec::new());
    // One more than is taken, so that the importer sees that it is too long.
    let limit = u64::try_from(FILE_LEN_MAX).map_or(u64::MAX, |limit| limit.saturating_add(1));
    if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(&failed)?;
    } else {
        File::open(path)
            .map_err(&failed)?
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(&failed)?;
    }
    Ok(bytes)
}

fn tell(app: &App, report: &Report, dry_run: bool, applied: &Applied) -> Result<(), Problem> {
    let losses: Vec<&Loss> = report.losses.iter().chain(&applied.losses).collect();
    let paths = |wanted| {
        applied
            .records
            .iter()
            .filter(move |(outcome, _)| *outcome == wanted)
            .map(|(_, path)| path)
    };
    let [unchanged, deleted] =
        [Outcome::Unchanged, Outcome::Deleted].map(|outcome| applied.count(outcome));
    if app.out.json {
        let columns: Vec<_> = report
            .columns
            .iter()
            .map(|ColumnUse { column, meaning }| json!({ "column": column, "meaning": meaning }))
            .collect();
        let same: Vec<_> = applied
            .same
            .iter()
            .map(
                |Same {
                     item,
                     record,
                     added,
                 }| { json!({ "item": item, "record": record, "added": added }) },
            )
            .collect();
        let renamed: Vec<_> = applied
            .renamed
            .iter()
            .map(|(from, to)| json!({ "from": from, "to": to }))
            .collect();
        let losses: Vec<_> = losses.into_iter().map(loss_object).collect();
        return app.out.object(json!({
            "format": report.format.word(),
            "dry_run": dry_run,
            "new": paths(Outcome::Created).collect::<Vec<_>>(),
            "changed": paths(Outcome::Changed).collect::<Vec<_>>(),
            "unchanged": unchanged,
            "deleted": deleted,
            "columns": columns,
            "removed": paths(Outcome::Removed).collect::<Vec<_>>(),
            "renamed": renamed,
            "same": same,
            "changes": applied.changes,
            "clamped": applied.clamped,
            "losses": losses,
            "disposal": report.disposal,
        }));
    }
    if dry_run {
        for ColumnUse { column, meaning } in &report.columns {
            app.out.line(&format!("column {column}: {meaning}"))?;
        }
        for (word, outcome) in [("new", Outcome::Created), ("changed", Outcome::Changed)] {
            paths(outcome).try_for_each(|path| app.out.line(&format!("{word}: {path}")))?;
        }
    }
    for (from, to) in &applied.renamed {
        app.out.line(&format!("renamed: {from} is {to}"))?;
    }
    for path in paths(Outcome::Removed) {
        app.out.line(&format!("deleted: {path}"))?;
    }
    for Same {
        item,
        record,
        added,
    } in &applied.same
    {
        let is = match item == record {
            true => format!("same: {record}"),
            false => format!("same: {item} is {record}"),
        };
        let gets = match added.is_empty() {
            true => String::new(),
            false => format!(", with {}", added.join(", ")),
        };
        // What agrees in everything is only of interest before.
        if dry_run || !added.is_empty() {
            app.out.line(&format!("{is}{gets}"))?;
        }
    }
    for loss in losses.iter().copied() {
        app.out.warn(&format!("not imported: {}", loss_line(loss)));
    }
    let did = if dry_run { "would import" } else { "imported" };
    let mut parts = vec![
        format!("{} new", applied.count(Outcome::Created)),
        format!("{} changed", applied.count(Outcome::Changed)),
        format!("{unchanged} as before"),
    ];
    for (count, what) in [
        (applied.count(Outcome::Removed), "deleted"),
        (deleted, "deleted here before"),
        (losses.len(), "not imported"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    app.out.line(&format!(
        "{did} from {}: {}",
        report.format.word(),
        parts.join(", ")
    ))?;
    report
        .disposal
        .iter()
        .try_for_each(|line| app.out.line(line))?;
    if deleted > 0 {
        app.out.note(
            "what was deleted here, or undone, stays so: `passmate redo` and `passmate restore` \
             bring it back",
        );
    }
    if applied.clamped > 0 {
        app.out.note(&clamped(applied.clamped, dry_run));
    }
    Ok(())
}

fn clamped(count: usize, dry_run: bool) -> String {
    let were = if count == 1 {
        "change was"
    } else {
        "changes were"
    };
    let (one_or_more, get) = match (count, dry_run) {
        (1, false) => ("it", "got"),
        (1, true) => ("it", "would get"),
        (_, false) => ("they", "got"),
        (_, true) => ("they", "would get"),
    };
    format!("{count} {were} stamped in the future; {one_or_more} {get} the present time")
}
