use passmate_vault::login::is_secret;
use passmate_vault::record::{Change, Domain};
use passmate_vault::view::ViewRecord;
use serde_json::json;

use super::App;
use super::error::Failure;
use super::output::{NAME, local_time};
use super::show::{MASK, find, no_field};

/// Show what a record was, the newest first
///
/// Nothing is ever forgotten: each value that a field had on any device is here, deletions too.
/// `passmate restore` takes the number in front or a time.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The record
    path: String,
    /// Only this field
    field: Option<String>,
    /// Show secrets on a terminal too
    #[arg(long)]
    reveal: bool,
}

/// One change as people see it.
pub(super) struct HistoryEntry<'a> {
    /// Counted from the field's newest, which is 1.
    pub(super) number: usize,
    pub(super) field: String,
    pub(super) change: &'a Change,
    is_path: bool,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    let view = session.vault().view();
    let record = find(&view, &args.path)?;
    let mut changes = changes_of(record, args.field.as_deref());
    if let (Some(field), []) = (&args.field, changes.as_slice()) {
        return Err(no_field(&args.path, field));
    }
    changes.sort_by(|a, b| b.change.stamp.cmp(&a.change.stamp));
    if app.out.json {
        let changes: Vec<_> = changes.iter().map(object).collect();
        return app
            .out
            .object(json!({ "path": args.path, "changes": changes }));
    }
    changes.iter().try_for_each(|change| {
        let value = change
            .change
            .value
            .shown()
            .map(|value| value.to_string_lossy().into_owned());
        let value = match value {
            None if change.is_path => "(deleted)".to_owned(),
            None => "(unset)".to_owned(),
            Some(_)
                if app.out.is_terminal()
                    && !args.reveal
                    && !change.is_path
                    && is_secret(&change.field) =>
            {
                MASK.to_owned()
            }
            Some(value) => app.out.part(&value.replace('\n', "\\n")),
        };
        let time = change
            .change
            .stamp
            .deciding_seconds()
            .map_or_else(|| "(no valid time)".to_owned(), local_time);
        let field = app.out.styled(NAME, &app.out.part(&change.field));
        app.out
            .styled_line(&format!("{:>3}  {time}  {field}: {value}", change.number))
    })
}

/// The changes of the person's fields and of the path; those that other programs keep are not
/// shown.
pub(super) fn changes_of<'a>(
    record: &ViewRecord<'a>,
    field: Option<&str>,
) -> Vec<HistoryEntry<'a>> {
    let mut changes = Vec::new();
    for history in record.record.fields() {
        let Some(key) = history.first().map(|change| &change.key) else {
            continue;
        };
        let name = if key.is_path() {
            "path".to_owned()
        } else {
            key.name.to_string_lossy().into_owned()
        };
        let is_meant = field.is_none_or(|field| !key.is_path() && field == name);
        if !is_meant || (key.domain == Domain::Meta && !key.is_path()) {
            continue;
        }
        // Those that never decide come last, whatever their stamps say.
        let (deciding, others): (Vec<_>, Vec<_>) = history
            .iter()
            .rev()
            .partition(|change| change.stamp.deciding_seconds().is_some());
        let numbered = deciding.into_iter().chain(others).enumerate();
        changes.extend(numbered.map(|(index, change)| HistoryEntry {
            number: index + 1,
            field: name.clone(),
            change,
            is_path: key.is_path(),
        }));
    }
    changes
}

fn object(change: &HistoryEntry<'_>) -> serde_json::Value {
    json!({
        "number": change.number,
        "field": change.field,
        "is_path": change.is_path,
        "value": change.change.value.shown().map(|value| value.to_string_lossy().into_owned()),
        "time": change.change.stamp.deciding_seconds(),
    })
}
