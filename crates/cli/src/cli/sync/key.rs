use passmate_vault::Association;
use serde_json::json;

use crate::cli::App;
use crate::cli::error::{Code, Failure};
use crate::cli::qr;
use passmate_core::link::Link;
use passmate_core::net::Address;
use passmate_core::session::Session;
use passmate_core::sync::{Replica, SyncError};

/// Show the key that other devices join with
///
/// Whoever has it can read and change everything in the account. On a terminal it asks before it
/// shows the key.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A link instead, with the server and its pin, which `passmate sync setup --key-file` takes
    /// too
    #[arg(long)]
    link: bool,
    /// A QR code of the link, for the camera of another device
    #[arg(long)]
    qr: bool,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    let association = tied(&session)?;
    if app.out.is_terminal() {
        app.ask
            .confirm("Whoever sees this key can read and change all your passwords. Show it?")?;
    }
    if args.qr {
        return qr::show(app, &link_of(association)?.to_text());
    }
    let (member, text) = if args.link {
        ("link", link_of(association)?.to_text())
    } else {
        ("key", association.key.to_text())
    };
    if app.out.json {
        return app.out.object(json!({ member: *text }));
    }
    app.out.value(&text)
}

/// The account of a vault that has one.
pub(in crate::cli) fn tied(session: &Session) -> Result<&Association, Failure> {
    match session.association() {
        Some(association) if association.is_pending() => Err(SyncError::NotLetIn {
            host: association.host.clone(),
        }
        .into()),
        Some(association) => Ok(association),
        None => Err(SyncError::NotSetUp.into()),
    }
}

/// The link of an account.
pub(in crate::cli) fn link_of(association: &Association) -> Result<Link, Failure> {
    let address = Address::new(&association.host, association.port).map_err(|error| {
        let hint = "forget the server with `passmate sync leave`, then set it up again with the key of another device";
        Failure::new(Code::Damaged, format!("the vault's server cannot be used: {error}"), hint)
    })?;
    Ok(Link::new(
        address,
        &association.trust,
        association.key.clone(),
    ))
}
