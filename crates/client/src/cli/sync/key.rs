use passmate_vault::SyncKey;

use crate::cli::App;
use crate::cli::error::Failure;
use crate::session::SessionError;
use crate::sync::{Local, SyncError};

/// Show the key that other devices join with
///
/// Whoever has it can read and change everything in the account. On a terminal it asks before it shows the key.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(app: &App, _: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    let key: &SyncKey = match session.association() {
        Some(association) if association.is_pending() => {
            return Err(SyncError::<SessionError>::NotLetIn { host: association.host.clone() }.into());
        }
        Some(association) => &association.key,
        None => return Err(SyncError::<SessionError>::NotSetUp.into()),
    };
    if app.out.is_terminal() {
        app.ask.confirm("Whoever sees this key can read and change all your passwords. Show it?")?;
    }
    let text = key.to_text();
    if app.out.json {
        return app.out.object(serde_json::json!({ "key": *text }));
    }
    app.out.value(&text)
}
