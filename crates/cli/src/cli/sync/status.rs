use passmate_vault::{Shape, SharedFolder, Trust};
use serde_json::json;

use crate::cli::App;
use crate::cli::error::Failure;
use crate::cli::output::{escape, local_time};
use passmate_core::state::State;
use passmate_core::sync::{Content, Replica, SyncError, SyncErrorKind};
use passmate_core::sync_status::{Room, Status, status};

/// Show how this device and its server or shared folder stand, without asking the server
///
/// Two devices whose fingerprints are equal hold the same, history included.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(app: &App, _: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    let folder = session.folder();
    if folder.is_some() && Replica::association(&session).is_none() {
        let content = Content::of_folder(session.vault()).map_err(SyncError::from)?;
        return tell(app, None, &content, folder);
    }
    let status = status(&session, &State::load(session.path()))?;
    super::tell_room(app, status.room);
    tell(app, Some(&status), &status.content, folder)
}

fn tell(
    app: &App,
    status: Option<&Status>,
    content: &Content,
    folder: Option<&SharedFolder>,
) -> Result<(), Failure> {
    if app.out.json {
        let content = json!({
            "records": content.records,
            "deleted": content.deleted,
            "changes": content.changes,
            "newest": content.newest,
            "history_since": content.history_since,
            "fingerprint": content.fingerprint,
        });
        let mut object = super::joined(status.map_or_else(|| json!({}), server_object), content);
        if let Some(folder) = folder {
            let time = folder.last.as_ref().map(|last| last.time);
            let folder =
                json!({ "path": folder.path, "copy": copy_of(folder), "last_change": time });
            object = super::joined(object, json!({ "folder": folder }));
        }
        return app.out.object(object);
    }
    let line = |text: String| app.out.line(&text);
    if let Some(status) = status {
        print_server(app, status)?;
    }
    if let Some(folder) = folder {
        line(format!("folder: {}", escape(&folder.path)))?;
        line(format!("copy of this device: {}", copy_of(folder)))?;
        if let Some(last) = &folder.last {
            line(format!(
                "last change through the folder: {}",
                local_time(last.time)
            ))?;
        }
    }
    if let Some(since) = content.history_since {
        line(format!(
            "history: since {}; what was before is in a file beside the vault",
            local_time(since)
        ))?;
    }
    let newest = content.newest.map_or_else(String::new, |time| {
        format!(", the newest of {}", local_time(time))
    });
    line(format!(
        "records: {}, and {} deleted; {} changes{newest}",
        content.records, content.deleted, content.changes
    ))?;
    line(format!("fingerprint: {}", content.fingerprint))?;
    let Some(Status { unsent, room, .. }) = status else {
        return Ok(());
    };
    match unsent {
        Some(unsent) => line(format!("unsent changes: {unsent}"))?,
        None => line("unsent changes: not known before the next sync".to_owned())?,
    }
    let assumed = if room.stated { "" } else { " (assumed)" };
    line(format!(
        "room: {} of {} bytes used, {} left{assumed}",
        room.used,
        room.limit,
        room.left()
    ))
}

fn copy_of(folder: &SharedFolder) -> String {
    format!("{}.pmdb", folder.host_id)
}

fn print_server(app: &App, status: &Status) -> Result<(), Failure> {
    let line = |text: String| app.out.line(&text);
    line(format!(
        "server: {}:{}{}",
        status.host,
        status.port,
        match status {
            Status { pending: true, .. } => " (no account yet: waits to be let in)",
            Status {
                confirmed: false, ..
            } => " (account not confirmed yet)",
            _ => "",
        }
    ))?;
    line(format!("trust: {}", trust_text(&status.trust)))?;
    if status.shape == Shape::Desktop {
        line("shared with: the original desktop client".to_owned())?;
    }
    match &status.last_sync {
        Some(last) => line(format!(
            "last sync: {}, {} received, {} sent, {} conflicts resolved",
            local_time(last.time),
            last.received,
            last.sent,
            last.conflicts_resolved
        ))?,
        None => line("last sync: none that this device remembers".to_owned())?,
    }
    match status
        .last_try
        .as_ref()
        .and_then(|last| Some((last, last.error?)))
    {
        Some((last, error)) => line(format!(
            "last try: {}, failed: {}",
            local_time(last.time),
            word(error)
        )),
        None => Ok(()),
    }
}

fn server_object(status: &Status) -> serde_json::Value {
    let Room {
        used,
        limit,
        stated,
    } = status.room;
    json!({
        "host": status.host,
        "port": status.port,
        "pending": status.pending,
        "confirmed": status.confirmed,
        "desktop": status.shape == Shape::Desktop,
        "trust": trust_text(&status.trust),
        "last_sync": status.last_sync,
        "last_try": status.last_try,
        "unsent": status.unsent,
        "room": { "used": used, "limit": limit, "left": status.room.left(), "stated": stated },
    })
}

/// How a server is trusted, in words.
pub(in crate::cli) fn trust_text(trust: &Trust) -> String {
    match trust {
        Trust::System => "the authorities that this system trusts".to_owned(),
        Trust::Ca(_) => "an authority of its own (--ca-file)".to_owned(),
        Trust::Pins {
            current,
            next: None,
        } => format!("pin {current}"),
        Trust::Pins {
            current,
            next: Some(next),
        } => format!("pin {current}, next {next}"),
    }
}

fn word(kind: SyncErrorKind) -> String {
    serde_json::to_value(kind)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
