//! The commands that change one record: `new`, `set`, `unset`, `mv`, `rm`.

use passmate_core::edit::Edit;
use passmate_core::problem::Problem;

use crate::app::App;
use crate::change::change;

/// Create an empty record
#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// Path of the new record, for example web/example.org
    path: String,
}

/// Set a field; creates the record if it does not exist
///
/// The value is asked for and not shown. If standard input is not a terminal, the value is all of
/// standard input, without one trailing line feed.
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// Path of the record
    path: String,
    /// Name of the field
    #[arg(default_value = "password")]
    field: String,
    /// Set an empty value, which unsets the field
    #[arg(long)]
    empty: bool,
}

/// Remove a field from a record; its values stay in the history
#[derive(Debug, clap::Args)]
pub(crate) struct UnsetArgs {
    /// Path of the record
    path: String,
    /// Name of the field
    field: String,
}

/// Move a record to another path
#[derive(Debug, clap::Args)]
pub(crate) struct MvArgs {
    /// Path of the record
    old: String,
    /// The new path
    new: String,
}

/// Delete a record; it stays in the history
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// Path of the record
    path: String,
}

pub(crate) fn new(app: &App, NewArgs { path }: &NewArgs) -> Result<(), Problem> {
    let edit = Edit::Create { path: path.clone() };
    change(app, &mut *app.open()?, &edit, &format!("made {path}"))
}

pub(crate) fn set(app: &App, SetArgs { path, field, empty }: &SetArgs) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let edit = Edit::Set {
        path: path.clone(),
        field: field.clone(),
        value: app.ask.value(&format!("{field} of {path}: "), *empty)?,
    };
    change(app, &mut *vault, &edit, &format!("set {field} of {path}"))
}

pub(crate) fn unset(app: &App, UnsetArgs { path, field }: &UnsetArgs) -> Result<(), Problem> {
    let edit = Edit::Unset {
        path: path.clone(),
        field: field.clone(),
    };
    let done = format!("unset {field} of {path}");
    change(app, &mut *app.open()?, &edit, &done)
}

pub(crate) fn mv(app: &App, MvArgs { old, new }: &MvArgs) -> Result<(), Problem> {
    let edit = Edit::Move {
        from: old.clone(),
        to: new.clone(),
    };
    let done = format!("moved {old} to {new}");
    change(app, &mut *app.open()?, &edit, &done)
}

pub(crate) fn rm(app: &App, RmArgs { path }: &RmArgs) -> Result<(), Problem> {
    let edit = Edit::Delete { path: path.clone() };
    change(app, &mut *app.open()?, &edit, &format!("deleted {path}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Cli, Command};

    #[test]
    fn the_field_that_is_set_is_the_password_unless_one_is_named() {
        for (words, field) in [(&["a"][..], "password"), (&["a", "user"], "user")] {
            let cli = Cli::try_parse_from([&["passmate", "set"], words].concat()).unwrap();
            assert!(matches!(cli.command, Command::Set(args) if args.field == field));
        }
    }
}
