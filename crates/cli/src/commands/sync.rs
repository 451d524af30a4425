//! `passmate sync` and what belongs to it.

mod dry_run;
mod held;
mod key;
mod last;
mod leave;
mod now;
mod rotate;
mod setup;
mod status;
mod trust;
mod upgrade;

use passmate_core::problem::Problem;

use crate::app::App;

pub(crate) use self::last::{ReportLine, report_lines};
pub(crate) use self::now::decline;
pub(super) use self::now::set_up_folder;
pub(super) use self::rotate::parse_since;

/// Sync with the server, and with the shared folder if there is one
///
/// Receives the changes of other devices and sends the changes of this one, field by field. A merge
/// loses nothing: the value that loses a conflict stays in the history. What would delete or change
/// many records, cut off history, or win by a time in the future is held back: on a terminal the
/// sync asks, otherwise it ends with exit code 26. The counts are of changed fields, paths included.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Show what a sync would do, record by record, and change nothing here or on the server
    #[arg(long)]
    dry_run: bool,
    /// Show what the last sync that changed anything did, record by record, without a network
    #[arg(long, conflicts_with_all = ["dry_run", "replace_remote"])]
    last: bool,
    /// Show what is held back until you decide, and change nothing; exit code 26 if anything is
    #[arg(long, conflicts_with_all = ["dry_run", "last", "replace_remote", "refuse"])]
    held: bool,
    /// Refuse for good what is held back: it is purged, here and on all devices
    #[arg(long, conflicts_with_all = ["dry_run", "last", "replace_remote"])]
    refuse: bool,
    /// Overwrite the vault on the server if it cannot be opened; asks for a typed confirmation
    #[arg(long, conflicts_with = "dry_run")]
    replace_remote: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Setup(setup::Args),
    Key(key::Args),
    Status(status::Args),
    Trust(trust::Args),
    Rotate(rotate::Args),
    Upgrade(upgrade::Args),
    Leave(leave::Args),
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    match &args.action {
        None if args.last => last::run(app),
        None if args.dry_run => dry_run::run(app),
        None if args.held => held::run(app),
        None => now::run(app, args.replace_remote, args.refuse),
        Some(Action::Setup(args)) => setup::run(app, args),
        Some(Action::Key(args)) => key::run(app, args),
        Some(Action::Status(args)) => status::run(app, args),
        Some(Action::Trust(args)) => trust::run(app, args),
        Some(Action::Rotate(args)) => rotate::run(app, args),
        Some(Action::Upgrade(args)) => upgrade::run(app, args),
        Some(Action::Leave(args)) => leave::run(app, args),
    }
}

/// Refuses before anybody is asked for a passphrase.
fn refuse_offline(app: &App) -> Result<(), Problem> {
    if app.sync.offline {
        return Err(Problem::offline());
    }
    Ok(())
}
