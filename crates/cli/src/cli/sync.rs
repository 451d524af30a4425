//! `passmate sync` and what belongs to it.

mod folder;
mod key;
mod last;
mod leave;
mod rotate;
mod setup;
mod status;
mod trust;
mod upgrade;

use std::collections::BTreeMap;
use std::path::Path;

use passmate_vault::merge::Fate;
use passmate_vault::{Association, Vault};
use serde_json::json;

use super::App;
use super::error::{Code, Failure};
use super::output::{escape, local_time};
use passmate_core::env::SystemEnv;
use passmate_core::net::Server;
use passmate_core::session::Session;
use passmate_core::shared_folder::FolderReport;
use passmate_core::state::State;
use passmate_core::sync::{
    Guard, Options, Preview, RemoteError, Replica, Report, Rollback, SyncClient, SyncError,
    SyncErrorKind,
};
use passmate_core::sync_status::Room;

/// Bring this device and the server in step, and the shared folder if there is one
///
/// What other devices changed comes in, what this device changed goes out, field by field. Nothing
/// is ever lost by a merge: a value that does not win stays in the history.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Ask the server and show what a sync would do, record by record; nothing is changed, here or
    /// there
    #[arg(long)]
    dry_run: bool,
    /// Show what the last sync that changed anything did, record by record, without asking the
    /// server
    #[arg(long, conflicts_with_all = ["dry_run", "replace_remote"])]
    last: bool,
    /// If what the server has cannot be opened, store this vault over it, after a word that is
    /// typed in
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

pub(super) use key::{link_of, tied};
pub(super) use status::trust_text;

/// Lets a vault take part in a shared folder, and brings the two in step.
pub(super) fn set_up_folder(app: &App, session: &mut Session, path: &Path) -> Result<(), Failure> {
    folder::set_up(app, session, path)
}

/// What was done with each place that is set up.
struct Done {
    server: Option<Result<Report, Failure>>,
    folder: Option<Result<FolderReport, Failure>>,
}

/// How a sync is meant.
#[derive(Clone, Copy)]
struct SyncRequest {
    guard: Option<Guard>,
    replace_remote: bool,
    /// Nobody asked for it by itself, so nobody is asked anything.
    in_background: bool,
}

fn now(app: &App, args: &Args) -> Result<(), Failure> {
    let mut session = app.open()?;
    let has_folder = session.folder().is_some();
    match Replica::association(&session) {
        None if !has_folder => return Err(SyncError::NotSetUp.into()),
        Some(_) if !has_folder => refuse_offline(app)?,
        _ => {}
    }
    if args.dry_run {
        return dry_run(app, &mut session);
    }
    let guard = (!app.ask.yes).then_some(app.guard);
    let done = sync_all(
        app,
        &mut session,
        SyncRequest {
            guard,
            replace_remote: args.replace_remote,
            in_background: false,
        },
    );
    tell(app, &session, done)
}

/// First what came in the folder, then the server, then the folder again: so each gets what came
/// from the other.
fn sync_all(app: &App, session: &mut Session, request: SyncRequest) -> Done {
    let taken = session
        .folder()
        .is_some()
        .then(|| folder::take_in(app, session, request));
    let continued = matches!(&taken, Some(Ok(taken)) if taken.report.received > 0);
    // A device that its operator has not let in yet has nothing to sync: only whoever asks is told
    // so.
    let is_up = |association: &Association| !request.in_background || !association.is_pending();
    let has_server = Replica::association(session).is_some_and(is_up) && !app.is_offline;
    let server = has_server.then(|| {
        let result = sync_server(app, session, request, continued)?;
        let report = note(app, session, result)?;
        report
            .rollback
            .map_or(Ok(report), |rollback| Err(rolled_back(rollback, Ok(()))))
    });
    let folder = taken.map(|taken| folder::give_out(app, session, taken?));
    Done { server, folder }
}

/// Syncs with the server, and asks where that is needed.
fn sync_server(
    app: &App,
    session: &mut Session,
    request: SyncRequest,
    continued: bool,
) -> Result<Result<Report, SyncError>, Failure> {
    let mut server = server_of(session)?;
    let mut options = Options {
        guard: request.guard,
        continued,
        ..Options::default()
    };
    let mut sync = |session: &mut Session, options| {
        client(session, &mut server, &mut SystemEnv::default()).sync(options)
    };
    let mut result = sync(session, options);
    if let Err(SyncError::Remote(error @ (RemoteError::Unopenable(_) | RemoteError::NoVault(_)))) =
        &result
        && request.replace_remote
    {
        app.out.warn(&error.to_string());
        confirm_replace(app)?;
        options.replace_remote = true;
        result = sync(session, options);
    }
    if let Err(error @ SyncError::HeldBack(_)) = &result
        && app.ask.has_person()
        && !request.in_background
    {
        app.ask.confirm(&format!("{error}. Go on?"))?;
        options.guard = None;
        result = sync(session, options);
    }
    Ok(result)
}

fn client<'a>(
    session: &'a mut Session,
    server: &'a mut Server,
    env: &'a mut SystemEnv,
) -> SyncClient<'a> {
    SyncClient {
        replica: session,
        transport: server,
        env,
    }
}

fn dry_run(app: &App, session: &mut Session) -> Result<(), Failure> {
    let folder = session
        .folder()
        .is_some()
        .then(|| folder::preview(app, session))
        .transpose()?;
    let mut server = None;
    if Replica::association(session).is_some() && !app.is_offline {
        let mut reached = server_of(session)?;
        server = Some(client(session, &mut reached, &mut SystemEnv::default()).preview()?);
    }
    tell_preview(app, session, server.as_ref(), folder.as_ref())
}

/// Answers with what was done. Where something failed, what did not is told all the same.
fn tell(app: &App, session: &Session, Done { server, folder }: Done) -> Result<(), Failure> {
    let (server, server_failure) = split(server);
    let (folder, folder_failure) = split(folder);
    if app.out.json {
        let mut object = server
            .as_ref()
            .map_or_else(|| json!({}), |report| counts(&host_of(session), report));
        if let Some(folder) = &folder {
            object = joined(object, json!({ "folder": folder::object(session, folder) }));
        }
        if server.is_some() || folder.is_some() {
            app.out.object(object)?;
        }
    } else {
        if let Some(report) = &server {
            app.out.line(&summary(&host_of(session), report))?;
        }
        if let Some(folder) = &folder {
            app.out
                .line(&summary(&folder::path_of(session), &folder.report))?;
        }
    }
    match (server_failure, folder_failure) {
        (Some(server), Some(folder)) => {
            app.out
                .warn(&format!("{}; {}", folder.message, folder.hint));
            Err(server)
        }
        (Some(failure), None) | (None, Some(failure)) => Err(failure),
        (None, None) => Ok(()),
    }
}

fn split<T>(result: Option<Result<T, Failure>>) -> (Option<T>, Option<Failure>) {
    match result {
        None => (None, None),
        Some(Ok(done)) => (Some(done), None),
        Some(Err(failure)) => (None, Some(failure)),
    }
}

/// Syncs after a change, if the person wants that. The change is saved already, so what goes wrong
/// is only told.
pub(super) fn after_change(app: &App, session: &mut Session) {
    if !app.syncs_after_changes {
        return;
    }
    let done = sync_all(
        app,
        session,
        SyncRequest {
            guard: Some(app.guard),
            replace_remote: false,
            in_background: true,
        },
    );
    let warn = |Failure { message, hint, .. }: Failure| {
        app.out.warn(&format!(
            "the change is saved and not synced: {message}; {hint}"
        ));
    };
    match done.server {
        Some(Ok(report)) => app.out.note(&summary(&host_of(session), &report)),
        Some(Err(failure)) => warn(failure),
        None => {}
    }
    match done.folder {
        Some(Ok(folder)) => app
            .out
            .note(&summary(&folder::path_of(session), &folder.report)),
        Some(Err(failure)) => warn(failure),
        None => {}
    }
}

/// What is on the server is gone for good after this, so a mere yes does not do.
fn confirm_replace(app: &App) -> Result<(), Failure> {
    const WORD: &str = "replace";
    let hint = "nothing was changed";
    if !app.ask.has_person() {
        return Err(Failure::new(
            Code::Cancelled,
            "--replace-remote wants a word typed in on a terminal",
            hint,
        ));
    }
    let typed = app.ask.line(&format!(
        "What the server has will be gone. Type {WORD} to store this vault there: "
    ))?;
    if typed.as_str() == WORD {
        Ok(())
    } else {
        Err(Failure::new(Code::Cancelled, "cancelled", hint))
    }
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
    let association = Replica::association(session).ok_or(SyncError::NotSetUp)?;
    Server::of(association).map_err(|error| {
        let hint = "forget the server with `passmate sync leave`, then set it up again with the key of another device";
        Failure::new(Code::Damaged, format!("the vault's server cannot be used: {error}"), hint)
    })
}

/// Remembers how a sync went, and tells what a person should know of it.
fn note(
    app: &App,
    session: &Session,
    result: Result<Report, SyncError>,
) -> Result<Report, Failure> {
    let mut state = State::load(session.path());
    match &result {
        Ok(report) => {
            state.note_synced(session.now(), report);
            if report.rollback.is_some() {
                state.note_failed(session.now(), SyncErrorKind::Older);
            }
        }
        Err(error) => state.note_failed(session.now(), error.kind()),
    }
    // Nothing but `sync status` depends on it, and a vault without a server has none.
    let is_tied = !matches!(&result, Err(error) if error.kind() == SyncErrorKind::NotSetUp);
    if is_tied && let Err(error) = state.save(session.path()) {
        app.out.warn(&format!(
            "`passmate sync status` will not know of this sync: {error}"
        ));
    }
    tell_archives(app, session);
    let report = result?;
    if Replica::association(session).is_some_and(|association| association.retired.is_some()) {
        app.out.warn("the account from before the rotation is not deleted yet: run `passmate sync rotate` again");
    }
    tell_changes(app, session, &report);
    tell_clocks(app, session, &report);
    tell_room(
        app,
        Room::new(report.btoken_len, report.greeting.btoken_len_max()),
    );
    if app.out.is_verbose() {
        app.out.note(&format!(
            "the server says: {}",
            String::from_utf8_lossy(&report.greeting.banner).trim_end()
        ));
    }
    Ok(report)
}

/// Remembers how a sync went, and answers with it.
fn finish(app: &App, session: &Session, result: Result<Report, SyncError>) -> Result<(), Failure> {
    let report = note(app, session, result)?;
    if let Some(rollback) = report.rollback {
        return Err(rolled_back(rollback, Ok(())));
    }
    if app.out.json {
        return app.out.object(counts(&host_of(session), &report));
    }
    app.out.line(&summary(&host_of(session), &report))
}

/// One object with the members of both.
fn joined(mut object: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    if let (Some(object), serde_json::Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

fn counts(
    host: &str,
    Report {
        received,
        sent,
        conflicts_resolved,
        ..
    }: &Report,
) -> serde_json::Value {
    json!({ "host": host, "received": received, "sent": sent, "settled": conflicts_resolved })
}

fn host_of(session: &Session) -> String {
    Replica::association(session)
        .map(|association| association.host.clone())
        .unwrap_or_default()
}

fn summary(
    place: &str,
    Report {
        received,
        sent,
        conflicts_resolved,
        ..
    }: &Report,
) -> String {
    format!(
        "synced with {}: {received} received, {sent} sent, {conflicts_resolved} conflicts resolved",
        escape(place)
    )
}

/// A server that goes back may have been restored from a backup, or lies.
pub(super) fn rolled_back(
    Rollback { changes, times }: Rollback,
    sent_again: Result<(), String>,
) -> Failure {
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
        Ok(()) => Failure::new(
            Code::Older,
            message,
            format!("nothing is lost here, and they were sent again; {why}"),
        ),
        Err(error) => Failure::new(
            Code::Older,
            format!("{message}; they could not be sent again: {error}"),
            format!("nothing is lost here; {why}"),
        ),
    }
}

/// What a person would not expect and should know.
fn tell_changes(app: &App, session: &Session, report: &Report) {
    let mut changes = report
        .changes
        .iter()
        .filter(|change| change.fate == Fate::Revived || change.clashes)
        .peekable();
    if changes.peek().is_none() {
        return;
    }
    let view = session.vault().view();
    let records: BTreeMap<_, _> = view
        .records()
        .iter()
        .map(|record| (record.id, record))
        .collect();
    for change in changes {
        let Some(record) = records.get(&change.id) else {
            continue;
        };
        let path = escape(&record.path.to_string_lossy());
        if change.fate == Fate::Revived {
            app.out.warn(&format!(
                "{path} was deleted on one device and changed later on another: it is kept"
            ));
        }
        if let Some(wanted) = &record.clash
            && change.clashes
        {
            let wanted = escape(&wanted.to_string_lossy());
            app.out.warn(&format!(
                "two records want the path {wanted}: one shows as {path}; give one of them a new path with `passmate mv`"
            ));
        }
    }
}

/// Tells what a sync would do.
fn tell_preview(
    app: &App,
    session: &Session,
    server: Option<&Preview>,
    folder: Option<&(FolderReport, Vault)>,
) -> Result<(), Failure> {
    let details = |report: &Report, vault: &Vault| vault.details(&report.delta);
    if app.out.json {
        let with_records = |object: serde_json::Value, report: &Report, vault: &Vault| {
            joined(
                object,
                json!({ "records": last::objects(&details(report, vault)) }),
            )
        };
        let mut object = server.map_or_else(
            || json!({}),
            |Preview { report, vault }| {
                with_records(counts(&host_of(session), report), report, vault)
            },
        );
        if let Some((folder, vault)) = folder {
            let folder = with_records(folder::object(session, folder), &folder.report, vault);
            object = joined(object, json!({ "folder": folder }));
        }
        return app.out.object(object);
    }
    let places = [
        server.map(|Preview { report, vault }| (host_of(session), report, vault)),
        folder.map(|(folder, vault)| (folder::path_of(session), &folder.report, vault)),
    ];
    for (place, report, vault) in places.into_iter().flatten() {
        let Report {
            received,
            sent,
            conflicts_resolved,
            ..
        } = report;
        let place = escape(&place);
        app.out.line(&format!(
            "a sync with {place} would be: {received} received, {sent} sent, {conflicts_resolved} conflicts resolved"
        ))?;
        last::print(app, &details(report, vault))?;
    }
    match server.and_then(|preview| preview.report.rollback) {
        Some(rollback) => Err(rolled_back(rollback, Err("this was a dry run".to_owned()))),
        None => Ok(()),
    }
}

/// A clock that is wrong decides wrongly what is newest.
fn tell_clocks(app: &App, session: &Session, report: &Report) {
    let now = session.now();
    let view = session.vault().view();
    for ahead in &report.ahead {
        let path = view
            .records()
            .iter()
            .find(|record| *record.id == ahead.record);
        let path = path.map_or_else(
            || "a deleted record".to_owned(),
            |record| escape(&record.path.to_string_lossy()),
        );
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
/// Where the history is that a sync cut off.
fn tell_archives(app: &App, session: &Session) {
    for path in session.archives() {
        let path = path.display().to_string();
        app.out.warn(&format!(
            "the whole history, a part of which was cut off, is in {0}: `passmate --vault {0} history PATH` shows it",
            escape(&path)
        ));
    }
}

fn tell_room(app: &App, room: Room) {
    let percent = room.percent();
    if percent >= 75 {
        let urgent = if percent >= 90 {
            "soon nothing can be sent any more: "
        } else {
            ""
        };
        app.out.warn(&format!(
            "the vault fills {percent} % of the {} bytes that the server takes: {urgent}ask its operator for a higher \
             --btoken-max, or keep less history with `passmate sync rotate --keep-history 1y`",
            room.limit
        ));
    }
}
