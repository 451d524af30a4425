use passmate_core::escape::escape;
use passmate_core::problem::Problem;
use passmate_core::sync_setup::{Untie, Untied};
use serde_json::json;

use crate::app::App;
use crate::commands::sync::refuse_offline;

/// Forget the server, or the shared folder
///
/// All records stay on this device. With --delete, the account is deleted on the server too; other
/// devices keep their records and cannot sync any more. For a folder, --delete deletes this
/// device's copy in it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Also delete the account on the server, or this device's copy in the folder
    #[arg(long)]
    delete: bool,
    /// Forget the shared folder, not the server
    #[arg(long)]
    folder: bool,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    if args.delete && !args.folder {
        refuse_offline(app)?;
    }
    let mut vault = app.open()?;
    let what = if args.folder {
        Untie::Folder
    } else {
        Untie::Any
    };
    let untied = app.with_consent(|consent| vault.untie(what, args.delete, consent))?;
    let (member, place) = match untied {
        Untied::Server {
            host,
            not_forgotten,
            retired,
        } => {
            for account in retired {
                app.out.warn(&format!(
                    "the account {account}, which a rotation left behind, is still on the server: \
                     only its operator can delete it now"
                ));
            }
            if let Some(error) = not_forgotten {
                app.out.warn(&format!(
                    "the memory of past syncs could not be removed: {error}"
                ));
            }
            ("host", host)
        }
        Untied::Folder { path } => ("folder", path),
    };
    if app.out.json {
        return app.out.object(json!({ member: place }));
    }
    app.out.note(&format!(
        "disconnected from {}; all records are still here",
        escape(&place)
    ));
    Ok(())
}
