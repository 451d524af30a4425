use passmate_core::clock::local_time;
use passmate_core::escape::escape_path;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::records::{DeletedEntry, RecordEntry};
use serde_json::json;

use crate::app::App;
use crate::completing;
use crate::report::plain;
use crate::tree;

/// Show the tree of records
///
/// If two devices gave the same path to two records, one of them is listed under a path with its id
/// and marked. Give it a path of its own with `passmate mv`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List only records with this text in their path; case is ignored
    #[arg(add = completing::folder())]
    term: Option<String>,
    /// Print one path a line, as other commands accept it, behind `--` if it begins with a dash. A
    /// path with control characters is printed with \n, \t, \r and \u{9b} for them, and with each
    /// backslash doubled
    #[arg(long)]
    flat: bool,
    /// List deleted records, the most recent deletion first
    #[arg(long, conflicts_with = "flat")]
    deleted: bool,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let term = args.term.as_deref().unwrap_or_default().to_lowercase();
    let is_wanted = |path: &str| path.to_lowercase().contains(&term);
    if args.deleted {
        let mut deleted = plain(vault.trash())?;
        deleted.retain(|record| is_wanted(&record.path));
        check_found(&term, deleted.is_empty(), "deleted record")?;
        return list_deleted(app, &deleted);
    }
    let mut records = plain(vault.list())?;
    records.retain(|record| is_wanted(&record.path));
    check_found(&term, records.is_empty(), "record")?;
    if app.out.json {
        let records: Vec<_> = records.iter().map(object).collect();
        return app.out.object(json!({ "records": records }));
    }
    if args.flat {
        return records
            .iter()
            .try_for_each(|record| app.out.line(&escape_path(&record.path)));
    }
    tree::print(app, &records)
}

/// A term that matches nothing is an error, as in `passmate find`. An empty vault is none.
fn check_found(term: &str, is_empty: bool, what: &str) -> Result<(), Problem> {
    if term.is_empty() || !is_empty {
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::NotFound,
        format!("no {what} has {term} in its path"),
        match what {
            "record" => "`passmate find` searches fields too; `passmate ls` lists all records",
            _ => "`passmate ls --deleted` lists all of them",
        },
    ))
}

/// One line each, with the time of the deletion and the id; `passmate restore` takes path or id.
fn list_deleted(app: &App, deleted: &[DeletedEntry]) -> Result<(), Problem> {
    if app.out.json {
        let records = deleted.iter().map(|record| {
            json!({ "path": record.path, "id": record.id, "deleted_at": record.deleted_at })
        });
        return app
            .out
            .object(json!({ "records": records.collect::<Vec<_>>() }));
    }
    deleted.iter().try_for_each(|record| {
        let time = record.deleted_at.map_or_else(String::new, local_time);
        app.out
            .line(&format!("{time}  {}  {}", record.id, record.path))
    })
}

fn object(record: &RecordEntry) -> serde_json::Value {
    json!({
        "path": record.path,
        "id": record.id,
        "clash": record.clash,
        "revived": record.revived,
        "guarded": record.guarded,
    })
}
