use passmate_core::api::VaultApi;
use passmate_core::escape::escape;
use passmate_core::problem::Problem;
use passmate_core::records::{FieldContent, RecordContent};
use passmate_vault::login::is_secret;
use serde_json::json;
use zeroize::Zeroizing;

use crate::app::App;
use crate::completing;
use crate::naming::with_record;
use crate::output::NAME;
use crate::viewer::{can_view, view};

/// Show a record, or one field of it
///
/// With FIELD, prints its bare value and a line feed. On a terminal, secrets are masked unless
/// --reveal is given; output to a pipe or a file is never masked. What --reveal shows is gone from
/// the terminal, and from its scrollback, when you leave it with Enter or q.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record
    #[arg(add = completing::record())]
    path: String,
    /// Name of the field
    #[arg(add = completing::field())]
    field: Option<String>,
    /// Show secrets on a terminal too
    #[arg(long)]
    reveal: bool,
    /// With --reveal, print like any other answer; it stays in the scrollback
    #[arg(long)]
    no_pager: bool,
}

/// Stands for a secret. Always of one length, so that it says nothing about the secret's.
pub(crate) const MASK: &str = "********";

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    if let Some(name) = args.field.as_deref().filter(|name| is_secret(name))
        && is_masking(app, args)
    {
        return show_mask(app, args, &mut *vault, name);
    }
    let record = with_record(app, &mut *vault, &args.path, |vault, path| {
        vault.record(path)
    })?;
    match &args.field {
        Some(name) => show_field(app, args, &record, record.field(name)?),
        None => show_record(app, args, &record),
    }
}

/// Says that a field is masked, without reading it: nobody should be asked for a mask.
fn show_mask(app: &App, args: &Args, vault: &mut dyn VaultApi, name: &str) -> Result<(), Problem> {
    let mut path = args.path.clone();
    let fields = with_record(app, vault, &args.path, |vault, meant| {
        meant.clone_into(&mut path);
        vault.fields(meant)
    })?;
    if !fields.iter().any(|field| field == name) {
        return Err(Problem::no_field(&path, name));
    }
    app.out.note("masked on a terminal; --reveal shows it");
    app.out.line(MASK)
}

fn show_field(
    app: &App,
    args: &Args,
    record: &RecordContent,
    field: &FieldContent,
) -> Result<(), Problem> {
    if app.out.json {
        return app
            .out
            .object(json!({ "path": record.path, "field": field.name, "value": *field.value }));
    }
    if field.is_secret && is_viewed(app, args) {
        let lines = field.value.split('\n').map(escape);
        return view(app, &joined(lines));
    }
    app.out.value(&field.value)
}

/// Whether secrets are shown on the alternate screen.
fn is_viewed(app: &App, args: &Args) -> bool {
    args.reveal && !args.no_pager && can_view(app)
}

/// Lines as one text. What they were made of is wiped.
fn joined(lines: impl Iterator<Item = String>) -> Zeroizing<String> {
    let lines: Vec<_> = lines.map(Zeroizing::new).collect();
    let len = lines.iter().map(|line| line.len() + 1).sum();
    let mut text = Zeroizing::new(String::with_capacity(len));
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn show_record(app: &App, args: &Args, record: &RecordContent) -> Result<(), Problem> {
    if app.out.json {
        let fields = record.fields.iter();
        let fields: serde_json::Map<_, _> = fields
            .map(|field| (field.name.clone(), field.value.as_str().into()))
            .collect();
        return app.out.object(json!({
            "path": record.path,
            "id": record.id,
            "fields": fields,
        }));
    }
    if record.fields.iter().any(|field| field.is_secret) && is_viewed(app, args) {
        let lines = record.fields.iter().flat_map(|field| {
            let name = escape(&field.name);
            let indent = " ".repeat(name.chars().count() + 2);
            let lines = field.value.split('\n').map(escape).enumerate();
            lines.map(move |(number, line)| match number {
                0 => format!("{name}: {line}"),
                _ => format!("{indent}{line}"),
            })
        });
        return view(app, &joined(lines));
    }
    for field in &record.fields {
        let value = if is_masked(app, args, field) {
            MASK
        } else {
            field.value.as_str()
        };
        let name = app.out.styled(NAME, &escape(&field.name));
        let mut lines = value.split('\n');
        let first = escape(lines.next().unwrap_or_default());
        app.out.styled_line(&format!("{name}: {first}"))?;
        let indent = " ".repeat(field.name.chars().count() + 2);
        lines.try_for_each(|line| {
            let line = escape(line);
            app.out.styled_line(&format!("{indent}{line}"))
        })?;
    }
    Ok(())
}

fn is_masked(app: &App, args: &Args, field: &FieldContent) -> bool {
    is_masking(app, args) && field.is_secret
}

/// Whether secrets are masked.
fn is_masking(app: &App, args: &Args) -> bool {
    app.out.is_terminal() && !args.reveal && !app.out.json
}
