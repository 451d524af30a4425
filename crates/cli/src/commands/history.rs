use passmate_core::clock::local_time;
use passmate_core::escape::escape;
use passmate_core::history::HistoryEntry;
use passmate_core::problem::Problem;
use serde_json::json;

use super::show::MASK;
use crate::app::App;
use crate::completing;
use crate::naming::with_record;
use crate::output::NAME;

/// Show the history of a record, newest change first
///
/// Lists every value that a field had on any device, and every deletion. `passmate restore` accepts
/// the number in front of a change, or a time.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record
    #[arg(add = completing::record())]
    path: String,
    /// Show the history of this field only
    #[arg(add = completing::field())]
    field: Option<String>,
    /// Show secrets on a terminal too
    #[arg(long)]
    reveal: bool,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let (path, changes) = with_record(app, &mut *vault, &args.path, |vault, path| {
        let changes = vault.history(path, args.field.as_deref())?;
        Ok((path.to_owned(), changes))
    })?;
    if app.out.json {
        let changes: Vec<_> = changes.iter().map(object).collect();
        return app.out.object(json!({ "path": path, "changes": changes }));
    }
    changes.iter().try_for_each(|change| {
        let time = change
            .time
            .map_or_else(|| "(no valid time)".to_owned(), local_time);
        let field = app.out.styled(NAME, &escape(&change.field));
        let value = value_text(app, args, change);
        app.out
            .styled_line(&format!("{:>3}  {time}  {field}: {value}", change.number))
    })
}

fn value_text(app: &App, args: &Args, change: &HistoryEntry) -> String {
    match &change.value {
        None if change.is_path => "(deleted)".to_owned(),
        None => "(unset)".to_owned(),
        Some(_) if app.out.is_terminal() && !args.reveal && change.is_secret => MASK.to_owned(),
        Some(value) => escape(&value.replace('\n', "\\n")),
    }
}

fn object(change: &HistoryEntry) -> serde_json::Value {
    json!({
        "number": change.number,
        "field": change.field,
        "is_path": change.is_path,
        "value": change.value.as_deref(),
        "time": change.time,
    })
}
