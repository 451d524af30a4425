//! The commands that change one record: `new`, `set`, `unset`, `mv`, `rm`.

use passmate_core::edit::Edit;
use passmate_core::problem::Problem;

use crate::app::App;
use crate::change::change;

/// Make an empty record
#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// Its path, for example web/example.org
    path: String,
}

/// Set a field, in a new record if there is none
///
/// The value is asked for and not shown. Where standard input is no terminal the value is all of
/// it, without one line feed at its end.
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// The record
    path: String,
    /// The field, for example password
    field: String,
    /// Store an empty value
    #[arg(long)]
    empty: bool,
}

/// Remove a field from a record; its values stay in the history
#[derive(Debug, clap::Args)]
pub(crate) struct UnsetArgs {
    /// The record
    path: String,
    /// The field
    field: String,
}

/// Give a record another path
#[derive(Debug, clap::Args)]
pub(crate) struct MvArgs {
    /// The record
    old: String,
    /// Its new path
    new: String,
}

/// Delete a record; it stays in the history
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// The record
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
