//! The commands that change whole records or one field: `new`, `set`, `unset`, `mv`, `cp`, `rm`.

use passmate_core::edit::{Edit, check_value};
use passmate_core::problem::Problem;
use passmate_vault::login::is_secret;
use zeroize::Zeroizing;

use crate::app::App;
use crate::change::{change, change_and};
use crate::completing;
use crate::naming::path_to_change;
use crate::prompt::Typing;
use crate::unsaved::{Origin, save};

/// Create an empty record
#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// Path of the new record, for example web/example.org
    #[arg(add = completing::folder())]
    path: String,
}

/// Set a field; creates the record if it does not exist
///
/// The value is asked for: a secret is not shown and asked for twice, a user name, an address or
/// another field that is no secret is shown. The secret of one-time codes is asked for once. If
/// standard input is not a terminal, the value is all of standard input, without one trailing line
/// feed.
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// Path of the record
    #[arg(add = completing::record())]
    path: String,
    /// Name of the field
    #[arg(default_value = "password", add = completing::field())]
    field: String,
    /// Set an empty value, which unsets the field
    #[arg(long)]
    empty: bool,
}

/// Remove a field from a record; its values stay in the history
#[derive(Debug, clap::Args)]
pub(crate) struct UnsetArgs {
    /// Path of the record
    #[arg(add = completing::record())]
    path: String,
    /// Name of the field
    #[arg(add = completing::field())]
    field: String,
}

/// Move records to other paths
///
/// A path with a slash at its end, or at which no record is, names the folder of all records below
/// it. The records go into NEW if NEW ends with a slash, if it is a folder, or if several paths are
/// named; else NEW is the new path of the one record or folder. No record takes the place of
/// another.
#[derive(Debug, clap::Args)]
pub(crate) struct MvArgs {
    /// Paths of records or folders
    #[arg(required = true, add = completing::record())]
    old: Vec<String>,
    /// The new path, or the folder into which they go
    #[arg(add = completing::record())]
    new: String,
}

/// Copy records: new records with the same fields
///
/// Takes paths as `passmate mv` does. A copy begins with a history of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct CpArgs {
    /// Paths of records or folders
    #[arg(required = true, add = completing::record())]
    old: Vec<String>,
    /// The new path, or the folder into which the copies go
    #[arg(add = completing::record())]
    new: String,
}

/// Delete records; they stay in the history
///
/// A path with a slash at its end, or at which no record is, names the folder of all records below
/// it. With --yes a folder must have the slash. `passmate restore` brings a deleted record back.
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// Paths of records or folders
    #[arg(required = true, add = completing::record())]
    path: Vec<String>,
}

pub(crate) fn new(app: &App, NewArgs { path }: &NewArgs) -> Result<(), Problem> {
    let edit = Edit::Create { path: path.clone() };
    change(
        app,
        &mut *app.open_to_change()?,
        &edit,
        &format!("made {path}"),
    )
}

pub(crate) fn set(app: &App, SetArgs { path, field, empty }: &SetArgs) -> Result<(), Problem> {
    let mut vault = app.open_to_change()?;
    let path = &path_to_change(app, &mut *vault, path)?;
    let prompt = format!("{field} of {path}: ");
    let value = value_of(app, field, &prompt, *empty)?;
    let done = if value.is_empty() {
        format!("unset {field} of {path}: an empty value unsets a field")
    } else {
        format!("set {field} of {path}")
    };
    let edit = Edit::Set {
        path: path.clone(),
        field: field.clone(),
        value,
    };
    let origin = match app.ask.has_person_for_value() && !empty {
        true => Origin::Terminal,
        false => Origin::Pipe,
    };
    let saved = save(app, &mut vault, edit, origin, |edited| {
        app.out.note(match edited.changes {
            0 => "nothing was changed: the field has this value already",
            _ => &done,
        });
        app.done()
    });
    saved.map(drop)
}

/// The value of a field. Whoever types one that the field cannot have is asked again.
fn value_of(
    app: &App,
    field: &str,
    prompt: &str,
    is_empty_meant: bool,
) -> Result<Zeroizing<String>, Problem> {
    let typing = match is_secret(field) {
        true => Typing::of_secret(field),
        false => Typing::Seen,
    };
    loop {
        let value = app.ask.value(prompt, typing, is_empty_meant)?;
        match check_value(field, &value) {
            Err(problem) if app.ask.has_person_for_value() => app.out.warn(&problem.message),
            checked => return checked.map(|()| value),
        }
    }
}

pub(crate) fn unset(app: &App, UnsetArgs { path, field }: &UnsetArgs) -> Result<(), Problem> {
    let edit = Edit::Unset {
        path: path.clone(),
        field: field.clone(),
    };
    let done = format!("unset {field} of {path}");
    change(app, &mut *app.open_to_change()?, &edit, &done)
}

pub(crate) fn mv(app: &App, MvArgs { old, new }: &MvArgs) -> Result<(), Problem> {
    let (from, to) = (old.clone(), new.clone());
    tell(app, "moved", " to", &Edit::Move { from, to })
}

pub(crate) fn cp(app: &App, CpArgs { old, new }: &CpArgs) -> Result<(), Problem> {
    let (from, to) = (old.clone(), new.clone());
    tell(app, "copied", " to", &Edit::Copy { from, to })
}

pub(crate) fn rm(app: &App, RmArgs { path }: &RmArgs) -> Result<(), Problem> {
    let paths = path.clone();
    tell(app, "deleted", "", &Edit::Delete { paths })
}

/// Changes records, and names them.
fn tell(app: &App, done: &str, to: &str, edit: &Edit) -> Result<(), Problem> {
    change_and(app, &mut *app.open_to_change()?, edit, |edited| {
        app.out.note(&match edited.paths.as_slice() {
            [path] => format!("{done}{to} {path}"),
            paths => format!("{done} {} records{to}: {}", paths.len(), paths.join(", ")),
        });
        app.done()
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Cli, Command};

    #[test]
    fn the_field_that_is_set_is_the_password_unless_one_is_named() {
        for (words, field) in [(&["a"][..], "password"), (&["a", "user"], "user")] {
            let cli = Cli::try_parse_from([&["passmate", "set"], words].concat()).unwrap();
            assert!(matches!(cli.command, Some(Command::Set(args)) if args.field == field));
        }
    }
}
