use crate::cli::App;
use crate::cli::error::Failure;
use crate::cli::output::escape;
use passmate_core::env::SystemEnv;
use passmate_core::session::Session;
use passmate_core::shared_folder::leave_folder;
use passmate_core::state::State;
use passmate_core::sync::{Replica, SyncError, leave};

/// Forget the server, or the shared folder
///
/// All records stay on this device. With --delete the account is deleted on the server too: other
/// devices then keep what they have and cannot sync any more. Of a folder this device's copy is
/// deleted there.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Delete the account and its btoken on the server first, or this device's copy in the folder
    #[arg(long)]
    delete: bool,
    /// Forget the shared folder, and not the server beside it
    #[arg(long)]
    folder: bool,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let mut session = app.open()?;
    if args.folder || (session.association().is_none() && session.folder().is_some()) {
        return forget_folder(app, &mut session, args.delete);
    }
    if args.delete {
        super::refuse_offline(app)?;
    }
    let host = match session.association() {
        Some(association) => association.host.clone(),
        None => return Err(SyncError::NotSetUp.into()),
    };
    if args.delete {
        app.ask.confirm(&format!(
            "Delete the account at {host}? Your other devices cannot sync with it any more."
        ))?;
        let mut server = super::server_of(&session)?;
        super::client(&mut session, &mut server, &mut SystemEnv::default()).delete()?;
    } else {
        app.ask.confirm(&format!(
            "Forget {host}? Without the sync key of another device this one cannot come back."
        ))?;
        leave(&mut session)?;
    }
    // It says nothing about the next server.
    if let Err(error) = State::forget(session.path()) {
        app.out.warn(&format!(
            "the memory of past syncs could not be removed: {error}"
        ));
    }
    if app.out.json {
        return app.out.object(serde_json::json!({ "host": host }));
    }
    app.out
        .note(&format!("forgot {host}; all records are still here"));
    Ok(())
}

fn forget_folder(app: &App, session: &mut Session, delete: bool) -> Result<(), Failure> {
    let path = super::folder::path_of(session);
    if session.folder().is_some() {
        app.ask.confirm(&format!("Forget the folder {path}?"))?;
    }
    leave_folder(session, delete)?;
    if app.out.json {
        return app.out.object(serde_json::json!({ "folder": path }));
    }
    app.out.note(&format!(
        "forgot {}; all records are still here",
        escape(&path)
    ));
    Ok(())
}
