use passmate_vault::Shape;

use crate::cli::App;
use crate::cli::error::Failure;
use passmate_core::env::SystemEnv;
use passmate_core::sync::{Replica, SyncError};

/// Make an account that is shared with the original desktop client one of this program alone
///
/// From then on nothing is left out or rewritten for the desktop client, and it cannot use the
/// account any more. Other devices with this program follow with their next sync.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(app: &App, _: &Args) -> Result<(), Failure> {
    super::refuse_offline(app)?;
    let mut session = app.open()?;
    let association = session.association().ok_or(SyncError::NotSetUp)?;
    let is_desktop = association.shape == Shape::Desktop;
    if is_desktop {
        app.ask
            .confirm("The desktop client cannot use this account any more then. Go on?")?;
    }
    let mut server = super::server_of(&session)?;
    let result = super::client(&mut session, &mut server, &mut SystemEnv::default()).upgrade();
    super::finish(app, &session, result)?;
    if !is_desktop {
        app.out.note(
            "the account was not shared with the desktop client: there was nothing to upgrade",
        );
    }
    Ok(())
}
