use passmate_core::edit::Edit;
use passmate_core::generate::{characters, words};
use passmate_core::problem::Problem;
use serde_json::json;

use crate::app::App;
use crate::change::change_and;

/// Generate a password
///
/// Without PATH, the password is printed and not stored. With PATH, it is stored in that record, in
/// the field `password` unless FIELD names another one, and printed only with --reveal.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record to store it in; created if it does not exist
    path: Option<String>,
    /// Name of the field
    #[arg(default_value = "password")]
    field: String,
    /// Classes of its characters: `A` is an upper-case letter, `a` a lower-case one, `5` a digit,
    /// `!` a symbol; they are shuffled
    #[arg(long, default_value = "Aaaaaaaaaaaaaa5", conflicts_with = "words")]
    template: String,
    /// Generate this many words of the EFF's long list instead, 12.9 bits each
    #[arg(long, value_name = "N")]
    words: Option<usize>,
    /// Print it as well as storing it
    #[arg(long, requires = "path")]
    reveal: bool,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let made = match args.words {
        Some(count) => words(count)?,
        None => characters(&args.template)?,
    };
    app.out.note(&made.to_string());
    let show = |is_shown: bool| match (app.out.json, is_shown) {
        (true, true) => app
            .out
            .object(json!({ "password": *made.password, "bits": made.bits })),
        (true, false) => app.out.object(json!({ "bits": made.bits })),
        (false, true) => app.out.value(&made.password),
        (false, false) => Ok(()),
    };
    let Some(path) = &args.path else {
        return show(true);
    };
    let mut vault = app.open()?;
    let edit = Edit::Set {
        path: path.clone(),
        field: args.field.clone(),
        value: made.password.clone(),
    };
    change_and(app, &mut *vault, &edit, |_| {
        app.out.note(&format!("set {} of {path}", args.field));
        show(args.reveal)
    })
}
