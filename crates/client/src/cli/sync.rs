//! `passmate sync` and what belongs to it.

mod key;
mod leave;
mod setup;
mod status;
mod trust;

use passmate_vault::merge::Fate;
use std::collections::BTreeMap;

use serde_json::json;

use super::App;
use super::error::{Code, Failure};
use super::output::{escape, local_time};
use crate::net::Server;
use crate::session::{Session, SessionError};
use crate::state::State;
use crate::sync::{Local, Regression, Report, SyncError, SyncErrorKind, SystemSurroundings};

/// Bring this device and the server in step
///
/// What other devices changed comes in, what this device changed goes out, field by field. Nothing is ever lost by a
/// merge: a value that does not win stays in the history.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Setup(setup::Args),
    Key(key::Args),
    Status(status::Args),
    Trust(trust::Args),
    Leave(leave::Args),
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    match &args.action {
        None => now(app),
        Some(Action::Setup(args)) => setup::run(app, args),
        Some(Action::Key(args)) => key::run(app, args),
        Some(Action::Status(args)) => status::run(app, args),
        Some(Action::Trust(args)) => trust::run(app, args),
        Some(Action::Leave(args)) => leave::run(app, args),
    }
}

fn now(app: &App) -> Result<(), Failure> {
    refuse_offline(app)?;
    let mut session = app.open()?;
    let mut server = server_of(&session)?;
    let result = crate::sync::sync(&mut session, &mut server, &mut SystemSurroundings::default());
    finish(app, &session, result)
}

fn refuse_offline(app: &App) -> Result<(), Failure> {
    if app.is_offline {
        return Err(Failure::new(
            Code::Network,
            "this needs the network, and --offline forbids it",
            "run it without --offline",
        ));
    }
    Ok(())
}

/// The server that the vault is tied to.
fn server_of(session: &Session) -> Result<Server, Failure> {
    let association = Local::association(session).ok_or(SyncError::<SessionError>::NotSetUp)?;
    Server::of(association).map_err(|error| {
        let hint = "forget the server with `passmate sync leave`, then set it up again with the key of another device";
        Failure::new(Code::Damaged, format!("the vault's server cannot be used: {error}"), hint)
    })
}

/// Remembers how a sync went, and tells it.
fn finish(app: &App, session: &Session, result: Result<Report, SyncError<SessionError>>) -> Result<(), Failure> {
    let mut state = State::load(session.path());
    match &result {
        Ok(report) => {
            state.note_synced(session.now(), report);
            if report.regression.is_some() {
                state.note_failed(session.now(), SyncErrorKind::Older);
            }
        }
        Err(error) => state.note_failed(session.now(), error.kind()),
    }
    // Nothing but `sync status` depends on it, and a vault without a server has none.
    let is_tied = !matches!(&result, Err(error) if error.kind() == SyncErrorKind::NotSetUp);
    if is_tied && let Err(error) = state.save(session.path()) {
        app.out.warn(&format!("`passmate sync status` will not know of this sync: {error}"));
    }
    let report = result?;
    let host = Local::association(session).map(|association| association.host.clone()).unwrap_or_default();
    tell_changes(app, session, &report);
    if app.out.is_verbose() {
        app.out.note(&format!("the server says: {}", String::from_utf8_lossy(&report.greeting.banner).trim_end()));
    }
    if let Some(regression) = report.regression {
        return Err(went_back(regression, Ok(())));
    }
    let Report { received, sent, settled, .. } = report;
    if app.out.json {
        return app.out.object(json!({ "host": host, "received": received, "sent": sent, "settled": settled }));
    }
    app.out.line(&format!("synced with {host}: {received} received, {sent} sent, {settled} settled"))
}

/// A server that goes back may have been restored from a backup, or lies.
pub(super) fn went_back(Regression { changes, times }: Regression, sent_again: Result<(), String>) -> Failure {
    let made = match times {
        Some((first, last)) if first == last => format!(", made at {}", local_time(first)),
        Some((first, last)) => format!(", made from {} to {}", local_time(first), local_time(last)),
        None => String::new(),
    };
    let gone = if changes == 1 {
        "change that this device had seen there was gone"
    } else {
        "changes that this device had seen there were gone"
    };
    let message = format!("the server returned older data: {changes} {gone}{made}");
    let why = "the server may have been restored from a backup, or another program or the server may have taken them \
               back: ask its operator";
    match sent_again {
        Ok(()) => Failure::new(Code::Older, message, format!("nothing is lost here, and they were sent again; {why}")),
        Err(error) => Failure::new(
            Code::Older,
            format!("{message}; they could not be sent again: {error}"),
            format!("nothing is lost here; {why}"),
        ),
    }
}

/// What a person would not expect and should know.
fn tell_changes(app: &App, session: &Session, report: &Report) {
    let mut changes = report.changes.iter().filter(|change| change.fate == Fate::Revived || change.clashes).peekable();
    if changes.peek().is_none() {
        return;
    }
    let view = session.vault().view();
    let records: BTreeMap<_, _> = view.records().iter().map(|record| (record.id, record)).collect();
    for change in changes {
        let Some(record) = records.get(&change.id) else { continue };
        let path = escape(&record.path.to_string_lossy());
        if change.fate == Fate::Revived {
            app.out.warn(&format!("{path} was deleted on one device and changed later on another: it is kept"));
        }
        if let Some(wanted) = &record.clash
            && change.clashes
        {
            let wanted = escape(&wanted.to_string_lossy());
            app.out.warn(&format!("two records want the path {wanted}: one shows as {path}; `passmate mv` settles it"));
        }
    }
}
