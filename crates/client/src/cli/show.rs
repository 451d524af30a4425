use passmate_vault::Text;
use passmate_vault::view::{View, ViewRecord};
use serde_json::json;

use super::App;
use super::error::{Code, Failure};
use super::output::NAME;

/// Show a record, or one field of it
///
/// One field is its bare value and a line feed. On a terminal values are masked unless --reveal is given; what
/// goes into a pipe or a file is never masked.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The record
    path: String,
    /// The field
    field: Option<String>,
    /// Show secrets on a terminal too
    #[arg(long)]
    reveal: bool,
}

/// Fields that are no secrets by their names; everything else is one.
const OPEN_FIELDS: [&str; 10] =
    ["user", "username", "login", "email", "e-mail", "url", "website", "host", "account", "name"];
/// Always as long, so that it says nothing about what it stands for.
const MASK: &str = "********";

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    let view = session.vault().view();
    let record = find(&view, &args.path)?;
    match &args.field {
        Some(name) => show_field(app, args, record, name),
        None => show_record(app, args, record),
    }
}

fn show_field(app: &App, args: &Args, record: &ViewRecord<'_>, name: &str) -> Result<(), Failure> {
    let field = record.field(&Text::from(name)).ok_or_else(|| no_field(&args.path, name))?;
    let value = field.value.to_string_lossy();
    if app.out.json {
        return app.out.object(json!({ "path": record.path.to_string_lossy(), "field": name, "value": value }));
    }
    if app.out.is_terminal() && !args.reveal && is_secret(name) {
        app.out.note("masked on a terminal; --reveal shows it");
        return app.out.line(MASK);
    }
    app.out.value(&value)
}

fn show_record(app: &App, args: &Args, record: &ViewRecord<'_>) -> Result<(), Failure> {
    if app.out.json {
        let fields: serde_json::Map<_, _> = record
            .fields()
            .map(|field| (field.name.to_string_lossy().into_owned(), field.value.to_string_lossy().into()))
            .collect();
        return app.out.object(json!({
            "path": record.path.to_string_lossy(),
            "id": record.id.as_text().to_string_lossy(),
            "fields": fields,
        }));
    }
    for field in record.fields() {
        let name = field.name.to_string_lossy();
        let is_masked = app.out.is_terminal() && !args.reveal && is_secret(&name);
        let value = if is_masked { MASK.into() } else { field.value.to_string_lossy() };
        let shown = app.out.styled(NAME, &app.out.part(&name));
        let mut lines = value.split('\n');
        app.out.styled_line(&format!("{shown}: {}", app.out.part(lines.next().unwrap_or_default())))?;
        let indent = " ".repeat(name.chars().count() + 2);
        lines.try_for_each(|line| app.out.styled_line(&format!("{indent}{}", app.out.part(line))))?;
    }
    Ok(())
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    !OPEN_FIELDS.contains(&name.as_str())
}

pub(super) fn no_field(path: &str, name: &str) -> Failure {
    let message = format!("{path} has no field {name}");
    Failure::new(Code::NotFound, message, "`passmate show PATH` lists the fields that are set")
}

/// The record at a path as `ls` shows it.
pub(super) fn find<'v, 'a>(view: &'v View<'a>, path: &str) -> Result<&'v ViewRecord<'a>, Failure> {
    view.get(path).ok_or_else(|| {
        let wanted = path.to_lowercase();
        let last = wanted.rsplit('/').next().unwrap_or(&wanted).to_owned();
        let paths = || view.records().iter().map(|record| record.path.to_string_lossy());
        let near: Vec<_> = paths()
            .filter(|other| !last.is_empty() && other.to_lowercase().contains(&last))
            .take(3)
            .map(|other| other.into_owned())
            .collect();
        let hint = match near.as_slice() {
            [] => "`passmate ls` shows what there is".to_owned(),
            near => format!("did you mean {}?", near.join(" or ")),
        };
        Failure::new(Code::NotFound, format!("there is no record {path}"), hint)
    })
}
