use passmate_vault::{Shape, Trust};
use serde_json::json;

use crate::cli::App;
use crate::cli::error::Failure;
use crate::cli::output::local_time;
use crate::state::State;
use crate::sync::{Status, SyncErrorKind, status};

/// Show how this device and its server stand, without asking the server
///
/// Two devices whose fingerprints are equal hold the same, history included.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(app: &App, _: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    let state = State::load(session.path());
    let status = status(&session, &state)?;
    super::tell_room(app, status.room);
    if app.out.json { print_object(app, &status) } else { print_lines(app, &status) }
}

fn print_lines(app: &App, status: &Status) -> Result<(), Failure> {
    let line = |text: String| app.out.line(&text);
    line(format!(
        "server: {}:{}{}",
        status.host,
        status.port,
        if status.confirmed { "" } else { " (account not confirmed yet)" }
    ))?;
    line(format!("trust: {}", trust_text(&status.trust)))?;
    if status.shape == Shape::Desktop {
        line("shared with: the original desktop client".to_owned())?;
    }
    match &status.last_sync {
        Some(last) => line(format!(
            "last sync: {}, {} received, {} sent, {} settled",
            local_time(last.time),
            last.received,
            last.sent,
            last.settled
        ))?,
        None => line("last sync: none that this device remembers".to_owned())?,
    }
    if let Some((last, error)) = status.last_try.as_ref().and_then(|last| Some((last, last.error?))) {
        line(format!("last try: {}, failed: {}", local_time(last.time), word(error)))?;
    }
    let newest = status.newest.map_or_else(String::new, |time| format!(", the newest of {}", local_time(time)));
    line(format!("records: {}, and {} deleted; {} changes{newest}", status.records, status.deleted, status.changes))?;
    line(format!("fingerprint: {}", status.fingerprint))?;
    match status.unsent {
        Some(unsent) => line(format!("unsent changes: {unsent}"))?,
        None => line("unsent changes: not known before the next sync".to_owned())?,
    }
    let room = status.room;
    let assumed = if room.stated { "" } else { " (assumed)" };
    line(format!("room: {} of {} bytes used, {} left{assumed}", room.used, room.limit, room.left()))
}

fn print_object(app: &App, status: &Status) -> Result<(), Failure> {
    app.out.object(json!({
        "host": status.host,
        "port": status.port,
        "confirmed": status.confirmed,
        "desktop": status.shape == Shape::Desktop,
        "trust": trust_text(&status.trust),
        "last_sync": status.last_sync,
        "last_try": status.last_try,
        "records": status.records,
        "deleted": status.deleted,
        "changes": status.changes,
        "newest": status.newest,
        "fingerprint": status.fingerprint,
        "unsent": status.unsent,
        "room": { "used": status.room.used, "limit": status.room.limit, "left": status.room.left(), "stated": status.room.stated },
    }))
}

fn trust_text(trust: &Trust) -> String {
    match trust {
        Trust::System => "the authorities that this system trusts".to_owned(),
        Trust::Ca(_) => "an authority of its own (--ca-file)".to_owned(),
        Trust::Pins { current, next: None } => format!("pin {current}"),
        Trust::Pins { current, next: Some(next) } => format!("pin {current}, next {next}"),
    }
}

fn word(kind: SyncErrorKind) -> String {
    serde_json::to_value(kind).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
