use passmate_vault::Text;
use passmate_vault::login::is_secret;
use passmate_vault::view::{View, ViewRecord};
use serde_json::json;

use super::App;
use super::error::{Code, Failure};
use super::output::NAME;

/// Show a record, or one field of it
///
/// One field is its bare value and a line feed. On a terminal values are masked unless --reveal is
/// given; what goes into a pipe or a file is never masked.
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

/// Always as long, so that it says nothing about what it stands for.
pub(super) const MASK: &str = "********";

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
    let field = record
        .field(&Text::from(name))
        .ok_or_else(|| no_field(&args.path, name))?;
    let value = field.value.to_string_lossy();
    if app.out.json {
        return app.out.object(
            json!({ "path": record.path.to_string_lossy(), "field": name, "value": value }),
        );
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
            .map(|field| {
                (
                    field.name.to_string_lossy().into_owned(),
                    field.value.to_string_lossy().into(),
                )
            })
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
        let value = if is_masked {
            MASK.into()
        } else {
            field.value.to_string_lossy()
        };
        let shown = app.out.styled(NAME, &app.out.part(&name));
        let mut lines = value.split('\n');
        app.out.styled_line(&format!(
            "{shown}: {}",
            app.out.part(lines.next().unwrap_or_default())
        ))?;
        let indent = " ".repeat(name.chars().count() + 2);
        lines.try_for_each(|line| {
            app.out
                .styled_line(&format!("{indent}{}", app.out.part(line)))
        })?;
    }
    Ok(())
}

pub(super) fn no_field(path: &str, name: &str) -> Failure {
    let message = format!("{path} has no field {name}");
    Failure::new(
        Code::NotFound,
        message,
        "`passmate show PATH` lists the fields that are set",
    )
}

/// The record at a path as `ls` shows it.
pub(super) fn find<'v, 'a>(view: &'v View<'a>, path: &str) -> Result<&'v ViewRecord<'a>, Failure> {
    view.get(path).ok_or_else(|| {
        let paths: Vec<_> = view
            .records()
            .iter()
            .map(|record| record.path.to_string_lossy())
            .collect();
        let near = near(path, paths.iter().map(AsRef::as_ref));
        let hint = match near.as_slice() {
            [] => "`passmate ls` shows what there is".to_owned(),
            near => format!("did you mean {}?", near.join(" or ")),
        };
        Failure::new(Code::NotFound, format!("there is no record {path}"), hint)
    })
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
