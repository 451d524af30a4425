use crate::cli::App;
use crate::cli::error::Failure;
use crate::session::SessionError;
use crate::sync::{Local, SyncError, SystemSurroundings, rotate};

/// Give this vault a new key and account on its server, and delete the old one
///
/// For a device that was lost, or a key that somebody saw. All other devices have to leave and join again with the new
/// key; what they changed meanwhile comes along then. Interrupted, it goes on when it is run again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(app: &App, _: &Args) -> Result<(), Failure> {
    super::refuse_offline(app)?;
    let mut session = app.open()?;
    let association = session.association().ok_or(SyncError::<SessionError>::NotSetUp)?;
    if association.is_pending() {
        return Err(SyncError::<SessionError>::NotLetIn { host: association.host.clone() }.into());
    }
    if association.retired.is_none() {
        let host = &association.host;
        app.ask.confirm(&format!("Make a new account at {host}? Your other devices must join it with its new key."))?;
    }
    let mut server = super::server_of(&session)?;
    let result = rotate(&mut session, &mut server, &mut SystemSurroundings::default());
    super::finish(app, &session, result)?;
    app.out.note(
        "on every other device: `passmate sync leave`, then `passmate sync setup` with the key of `passmate sync key`",
    );
    app.out.note("if a device was lost, change the passwords that were on it: whoever has it may have seen them");
    Ok(())
}
