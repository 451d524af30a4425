use passmate_core::edit::Edit;
use passmate_core::escape::escape;
use passmate_core::history::PurgeScope;
use passmate_core::problem::Problem;

use crate::app::App;
use crate::change::change_and;
use crate::completing;

/// Remove a record, a field or a value for good, history included
///
/// `rm` and `unset` keep everything in the history; a purge does not. The values are gone from this
/// device's vault and its previous copy, and with the next sync from the server and from the vaults
/// of your other devices. `passmate undo` does not bring them back. If the value that a field shows
/// is purged, the one before it shows again.
///
/// A purge does not reach backups, exports, and files with a history that was cut off. It does not
/// pass through a shared folder without a key, or an account that the original desktop client
/// shares: purge on every device there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record, or of a deleted one
    #[arg(add = completing::record())]
    path: String,
    /// Name of the field; without it the whole record is purged
    #[arg(add = completing::field())]
    field: Option<String>,
    /// Purge only the value with this number in `passmate history PATH FIELD`
    #[arg(long, value_name = "N", requires = "field", value_parser = parse_number)]
    at: Option<usize>,
    /// Purge all values of the field but the one that it shows
    #[arg(long, requires = "field", conflicts_with = "at")]
    earlier: bool,
}

fn parse_number(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?} is no number of `passmate history`, such as 2"))
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let scope = match (&args.field, args.at) {
        (None, _) => PurgeScope::Record,
        (Some(field), Some(number)) => PurgeScope::Value(field.clone(), number),
        (Some(field), None) if args.earlier => PurgeScope::Earlier(field.clone()),
        (Some(field), None) => PurgeScope::Field(field.clone()),
    };
    let path = args.path.clone();
    let edit = Edit::Purge { path, scope };
    change_and(app, &mut *app.open_to_change()?, &edit, |edited| {
        let plural = if edited.changes == 1 { "" } else { "s" };
        app.out
            .note(&format!("{} value{plural} purged", edited.changes));
        if edited.stays_elsewhere {
            app.out.warn(
                "a purge does not pass through a shared folder without a key, or an account that \
                 the desktop client shares: purge on your other devices too",
            );
        }
        for archive in &edited.archives {
            app.out.warn(&format!(
                "{} is a copy of this vault or of its history, and may still hold it",
                escape(&archive.display().to_string())
            ));
        }
        app.done()
    })
}
