//! `passmate-server migrate-store`: moves a store to another engine.

use std::path::Path;
use std::str::FromStr;

use serde_json::json;

use super::{App, Failure, actor};
use crate::exit::{Code, note, warn};
use crate::files;
use crate::store::transfer::{content, copy};
use crate::store::{Action, StoreError, StoreUrl};

/// The longest file with the address of a store, in bytes.
const URL_LEN_MAX: u64 = 4096;
/// A line of progress is printed each time so many accounts were compared.
const PROGRESS: u64 = 10_000;

/// Move all accounts from one store to another: from SQLite to PostgreSQL, or back
///
/// FROM and TO are addresses as --store takes them, or @FILE with a file that holds one, so that no
/// password is on the command line. TO must be empty; it is made if it does not exist.
///
/// The command may be repeated: it copies what differs. So run it once while the server goes on with
/// FROM, then stop the server and run it again, which takes a moment. When no server uses FROM, both
/// stores are read again and compared, account by account. Until then no server opens TO.
#[derive(Debug, clap::Args)]
pub(super) struct MigrateStoreArgs {
    /// The store that has the accounts
    from: String,
    /// The empty store that gets them
    to: String,
    /// All servers that use FROM are stopped; needed where FROM is in PostgreSQL
    #[arg(long)]
    servers_stopped: bool,
}

pub(super) fn run(app: &App, args: &MigrateStoreArgs) -> Result<(), Failure> {
    let (from, to) = (address("FROM", &args.from)?, address("TO", &args.to)?);
    if from == to {
        let hint = "give the store that has the accounts, and then another one";
        return Err(Failure::new(Code::Usage, "FROM and TO are one store", hint));
    }
    let source = from.inspector().map_err(|error| match error {
        StoreError::Missing { .. } | StoreError::NoDatabase { .. } => {
            let hint = "FROM is the store that has the accounts; nothing was changed";
            Failure::new(Code::NotFound, error, hint)
        }
        error => error.into(),
    })?;
    // Held to the end, so that no change is missed.
    let (is_stopped, _lock) = match from.lock_out_servers() {
        Ok(Some(lock)) => (true, Some(lock)),
        Ok(None) => (args.servers_stopped, None),
        Err(StoreError::InUse { .. }) => (false, None),
        Err(error) => return Err(error.into()),
    };
    let mut target = to.intake()?;
    target.begin()?;
    let mut said = 0;
    let copied = copy(&*source, &mut *target, &mut |compared| {
        if compared / PROGRESS > said {
            said = compared / PROGRESS;
            if !app.is_json {
                note(&format!("{compared} accounts compared"));
            }
        }
    })?;
    let object = |is_complete: bool| {
        json!({
            "from": from.to_string(), "to": to.to_string(), "complete": is_complete,
            "copied": copied.put, "removed": copied.removed,
        })
    };
    let text = format!(
        "{} accounts copied, {} removed\n",
        copied.put, copied.removed
    );
    if !is_stopped {
        app.answer(&text, object(false))?;
        let hint = match from {
            StoreUrl::Sqlite(_) => {
                "stop the server, and repeat the command: it copies what changed"
            }
            StoreUrl::Postgres(_) => {
                "stop all servers that use it, and repeat the command with --servers-stopped: it \
                 copies what changed"
            }
        };
        let message = format!("{from} may be in use, so {to} cannot be used yet");
        return Err(Failure::new(Code::InUse, message, hint));
    }
    let (there, here) = (content(&*source)?, content(target.look())?);
    if there != here {
        let message = format!(
            "the stores differ: {} accounts with {} bytes of btokens in {from}, {} with {} in {to}",
            there.sum.accounts, there.sum.btoken_bytes, here.sum.accounts, here.sum.btoken_bytes
        );
        let hint = "repeat the command; if it fails again, a server still uses one of them";
        return Err(Failure::new(Code::Findings, message, hint));
    }
    let detail = format!("{} accounts of {from}", here.sum.accounts);
    target.finish(&actor::of_process(), Action::MigrateStore, &detail)?;
    let text = format!(
        "{text}both stores hold {} accounts with {} bytes of btokens, and have the same hash \
         {}\nstart the servers with the new store, {to}\n",
        here.sum.accounts, here.sum.btoken_bytes, here.hash
    );
    let mut object = object(true);
    if let Some(members) = object.as_object_mut() {
        members.insert("accounts".to_owned(), json!(here.sum.accounts));
        members.insert("hash".to_owned(), json!(here.hash));
    }
    app.answer(&text, object)?;
    warn(&format_args!(
        "start no server with {from} again: its devices would not find what they store from now on"
    ));
    Ok(())
}

/// The address of a store, or that in a file.
fn address(name: &str, text: &str) -> Result<StoreUrl, Failure> {
    let hint = "write sqlite:PATH, postgres://USER@HOST/DATABASE, or @FILE";
    let read;
    let text = match text.strip_prefix('@') {
        Some(path) => {
            let bytes = files::read(Path::new(path), URL_LEN_MAX).map_err(|error| {
                Failure::new(
                    Code::File,
                    format_args!("cannot read {path}: {error}"),
                    hint,
                )
            })?;
            read = zeroize::Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
            read.trim()
        }
        None => text,
    };
    StoreUrl::from_str(text)
        .map_err(|error| Failure::new(Code::Usage, format_args!("{name} {error}"), hint))
}
