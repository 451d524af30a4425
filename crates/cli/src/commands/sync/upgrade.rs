use passmate_core::problem::Problem;

use crate::app::App;
use crate::commands::sync::refuse_offline;
use crate::report;

/// Stop sharing the account with the original desktop client
///
/// The account gets the format of this program, which the desktop client cannot read. Nothing is
/// left out or rewritten for it any more. Other devices with this program follow with their next
/// sync.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(app: &App, _: &Args) -> Result<(), Problem> {
    refuse_offline(app)?;
    let mut vault = app.open()?;
    let (was_shared, synced) = app.with_consent(|consent| vault.upgrade(consent))?;
    report::server(app, synced)?;
    if !was_shared {
        app.out.note(
            "the account was not shared with the desktop client: there was nothing to upgrade",
        );
    }
    Ok(())
}
