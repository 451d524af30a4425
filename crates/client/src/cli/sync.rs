//! `passmate sync` and what belongs to it.

mod key;
mod last;
mod leave;
mod rotate;
mod setup;
mod status;
mod trust;
mod upgrade;

use std::collections::BTreeMap;

use passmate_vault::merge::Fate;
use serde_json::json;

use super::App;
use super::error::{Code, Failure};
use super::output::{escape, local_time};
use crate::net::Server;
use crate::session::{Session, SessionError};
use crate::state::State;
use crate::sync::{
    Local, Options, Regression, RemoteError, Report, Room, SyncError, SyncErrorKind, SystemSurroundings,
};

/// Bring this device and the server in step
///
/// What other devices changed comes in, what this device changed goes out, field by field. Nothing is ever lost by a
/// merge: a value that does not win stays in the history.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Ask the server and show what a sync would do, record by record; nothing is changed, here or there
    #[arg(long)]
    dry_run: bool,
    /// Show what the last sync that changed anything did, record by record, without asking the server
    #[arg(long, conflicts_with_all = ["dry_run", "replace_remote"])]
    last: bool,
    /// If what the server has cannot be opened, store this vault over it, after a word that is typed in
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

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    match &args.action {
        None if args.last => last::run(app),
        None => now(app, args),
        Some(Action::Setup(args)) => setup::run(app, args),
        Some(Action::Key(args)) => key::run(app, args),
        Some(Action::Status(args)) => status::run(app, args),
        Some(Action::Trust(args)) => trust::run(app, args),
        Some(Action::Rotate(args)) => rotate::run(app, args),
        Some(Action::Upgrade(args)) => upgrade::run(app, args),
        Some(Action::Leave(args)) => leave::run(app, args),
    }
}

fn now(app: &App, args: &Args) -> Result<(), Failure> {
    refuse_offline(app)?;
    let mut session = app.open()?;
    let mut server = server_of(&session)?;
    let guard = (!args.dry_run && !app.ask.yes).then_some(app.guard);
    let mut options = Options { dry_run: args.dry_run, guard, replace_remote: false };
    let mut sync = |session: &mut Session, options| {
        crate::sync::sync(session, &mut server, &mut SystemSurroundings::default(), options)
    };
    let mut result = sync(&mut session, options);
    if let Err(SyncError::Remote(error @ (RemoteError::Unopenable(_) | RemoteError::NoVault(_)))) = &result
        && args.replace_remote
    {
        app.out.warn(&error.to_string());
        confirm_replace(app)?;
        options.replace_remote = true;
        result = sync(&mut session, options);
    }
    if let Err(error @ SyncError::HeldBack(_)) = &result
        && app.ask.has_person()
    {
        app.ask.confirm(&format!("{error}. Go on?"))?;
        options.guard = None;
        result = sync(&mut session, options);
    }
    match result {
        Ok(report) if args.dry_run => tell_preview(app, &session, &report),
        result => finish(app, &session, result),
    }
}

/// Syncs after a change, if the person wants that. The change is saved already, so what goes wrong is only told.
pub(super) fn after_change(app: &App, session: &mut Session) {
    if !app.syncs_after_changes || app.is_offline || Local::association(session).is_none() {
        return;
    }
    let synced = server_of(session).and_then(|mut server| {
        let options = Options { guard: Some(app.guard), ..Options::default() };
        let result = crate::sync::sync(session, &mut server, &mut SystemSurroundings::default(), options);
        let report = note(app, session, result)?;
        app.out.note(&summary(session, &report));
        report.regression.map_or(Ok(()), |regression| Err(went_back(regression, Ok(()))))
    });
    if let Err(Failure { message, hint, .. }) = synced {
        app.out.warn(&format!("the change is saved and not synced: {message}; {hint}"));
    }
}

/// What is on the server is gone for good after this, so a mere yes does not do.
fn confirm_replace(app: &App) -> Result<(), Failure> {
    const WORD: &str = "replace";
    let hint = "nothing was changed";
    if !app.ask.has_person() {
        return Err(Failure::new(Code::GivenUp, "--replace-remote wants a word typed in on a terminal", hint));
    }
    let typed = app.ask.line(&format!("What the server has will be gone. Type {WORD} to store this vault there: "))?;
    if typed.as_str() == WORD { Ok(()) } else { Err(Failure::new(Code::GivenUp, "given up", hint)) }
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

/// Remembers how a sync went, and tells what a person should know of it.
fn note(app: &App, session: &Session, result: Result<Report, SyncError<SessionError>>) -> Result<Report, Failure> {
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
    if Local::association(session).is_some_and(|association| association.retired.is_some()) {
        app.out.warn("the account from before the rotation is not deleted yet: run `passmate sync rotate` again");
    }
    tell_changes(app, session, &report);
    tell_clocks(app, session, &report);
    tell_room(app, Room::new(report.btoken_len, report.greeting.btoken_len_max()));
    if app.out.is_verbose() {
        app.out.note(&format!("the server says: {}", String::from_utf8_lossy(&report.greeting.banner).trim_end()));
    }
    Ok(report)
}

/// Remembers how a sync went, and answers with it.
fn finish(app: &App, session: &Session, result: Result<Report, SyncError<SessionError>>) -> Result<(), Failure> {
    let report = note(app, session, result)?;
    if let Some(regression) = report.regression {
        return Err(went_back(regression, Ok(())));
    }
    if app.out.json {
        let Report { received, sent, settled, .. } = report;
        let host = host_of(session);
        return app.out.object(json!({ "host": host, "received": received, "sent": sent, "settled": settled }));
    }
    app.out.line(&summary(session, &report))
}

fn host_of(session: &Session) -> String {
    Local::association(session).map(|association| association.host.clone()).unwrap_or_default()
}

fn summary(session: &Session, Report { received, sent, settled, .. }: &Report) -> String {
    format!("synced with {}: {received} received, {sent} sent, {settled} settled", host_of(session))
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

/// Tells what a sync would do.
fn tell_preview(app: &App, session: &Session, report: &Report) -> Result<(), Failure> {
    let host = host_of(session);
    let Report { received, sent, settled, delta, preview, .. } = report;
    let details = preview.as_ref().map(|vault| vault.details(delta)).unwrap_or_default();
    if app.out.json {
        let records = last::objects(&details);
        return app.out.object(json!({
            "host": host, "received": received, "sent": sent, "settled": settled, "records": records,
        }));
    }
    app.out.line(&format!("a sync with {host} would be: {received} received, {sent} sent, {settled} settled"))?;
    last::print(app, &details)?;
    match report.regression {
        Some(regression) => Err(went_back(regression, Err("this was a dry run".to_owned()))),
        None => Ok(()),
    }
}

/// A clock that is wrong decides wrongly what is newest.
fn tell_clocks(app: &App, session: &Session, report: &Report) {
    let now = session.now();
    let view = session.vault().view();
    for ahead in &report.ahead {
        let path = view.records().iter().find(|record| *record.id == ahead.record);
        let path = path.map_or_else(|| "a deleted record".to_owned(), |record| escape(&record.path.to_string_lossy()));
        let field = escape(&ahead.field.name.to_string_lossy());
        let (time, days) = (local_time(ahead.time), (ahead.time - now) / (24 * 3600));
        app.out.warn(&format!(
            "{field} of {path} was changed at {time}, {days} days after this device's present ({}): one of the two \
             clocks is wrong",
            local_time(now)
        ));
    }
    match report.valid {
        Some((begin, _)) if now < begin => app.out.warn(&format!(
            "this device's clock says {}, before the server's certificate begins ({}): is it right?",
            local_time(now),
            local_time(begin)
        )),
        Some((_, end)) if now > end => app.out.warn(&format!(
            "the server's certificate ended at {}, unless this device's clock is wrong ({})",
            local_time(end),
            local_time(now)
        )),
        _ => {}
    }
}

/// When the limit is reached nothing can be sent any more.
fn tell_room(app: &App, room: Room) {
    let percent = room.percent();
    if percent >= 75 {
        let urgent = if percent >= 90 { "soon nothing can be sent any more: " } else { "" };
        app.out.warn(&format!(
            "the vault fills {percent} % of the {} bytes that the server takes: {urgent}ask its operator for a higher \
             --btoken-max",
            room.limit
        ));
    }
}
