use passmate_core::api::Standing;
use passmate_core::clock::local_time;
use passmate_core::escape::escape;
use passmate_core::problem::Problem;
use passmate_core::sync::SyncErrorKind;
use passmate_core::sync_all::shortage;
use passmate_core::sync_status::{Content, DeviceStatus, Quota, SILENT_DAYS, Status, trust_text};
use passmate_vault::Shape;
use serde_json::json;

use crate::app::App;
use crate::commands::agent::{sync_object, sync_text};
use crate::report::{joined, plain};

/// Show the state of the sync, without a network
///
/// Two devices with the same fingerprint hold the same records, history included.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(app: &App, _: &Args) -> Result<(), Problem> {
    let standing = plain(app.open()?.standing())?;
    let agent = app.look_in_agent();
    if let Some(status) = &standing.server {
        app.out.notices(shortage(status.quota).as_slice());
    }
    if app.out.json {
        let agent = agent.map(|agent| sync_object(&agent.sync));
        let object = joined(object(&standing), json!({ "agent": agent }));
        return app.out.object(object);
    }
    print(app, &standing)?;
    match agent {
        Some(agent) => app.out.line(&sync_text(&agent.sync)),
        None => Ok(()),
    }
}

fn object(standing: &Standing) -> serde_json::Value {
    let content = &standing.content;
    let content = json!({
        "records": content.records,
        "deleted": content.deleted,
        "changes": content.changes,
        "newest": content.newest,
        "history_since": content.history_since,
        "fingerprint": content.fingerprint,
    });
    let server = standing.server.as_ref();
    let object = joined(server.map_or_else(|| json!({}), server_object), content);
    let Some(folder) = &standing.folder else {
        return object;
    };
    let folder = json!({
        "path": folder.path,
        "copy": folder.copy,
        "has_key": folder.has_key,
        "last_change": folder.last_change,
    });
    joined(object, json!({ "folder": folder }))
}

fn print(app: &App, standing: &Standing) -> Result<(), Problem> {
    let line = |text: String| app.out.sentence(&text);
    if let Some(status) = &standing.server {
        print_server(app, status)?;
    }
    if let Some(folder) = &standing.folder {
        line(format!("folder: {}", escape(&folder.path)))?;
        let sealing = match folder.has_key {
            true => "under the folder's key",
            false => "under the master passphrase",
        };
        line(format!("copy of this device: {}, {sealing}", folder.copy))?;
        if let Some(time) = folder.last_change {
            let time = local_time(time);
            line(format!("last change through the folder: {time}"))?;
        }
    }
    print_content(app, &standing.content)?;
    let Some(Status { unsent, quota, .. }) = &standing.server else {
        return Ok(());
    };
    match unsent {
        Some(unsent) => line(format!("unsent changes: {unsent}"))?,
        None => line("unsent changes: not known before the next sync".to_owned())?,
    }
    let assumed = if quota.stated { "" } else { " (assumed)" };
    line(format!(
        "room: {} of {} bytes used, {} left{assumed}",
        quota.used,
        quota.limit,
        quota.left()
    ))
}

fn print_content(app: &App, content: &Content) -> Result<(), Problem> {
    let line = |text: String| app.out.sentence(&text);
    if let Some(since) = content.history_since {
        line(format!(
            "history: since {}; what was before is in a file beside the vault of the device that \
             ran `rotate`",
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
    line(format!("fingerprint: {}", content.fingerprint))
}

fn print_server(app: &App, status: &Status) -> Result<(), Problem> {
    let line = |text: String| app.out.sentence(&text);
    line(format!(
        "server: {}:{}{}",
        status.host,
        status.port,
        match status {
            Status { pending: true, .. } => " (no account yet: waits to be admitted)",
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
    for device in &status.devices {
        let same = status
            .devices
            .iter()
            .filter(|other| other.name == device.name);
        line(device_text(device, same.count() > 1))?;
    }
    if status.lost {
        line(
            "a device was lost: the next sync makes a new account and key, and reads nothing from \
             this one"
                .to_owned(),
        )?;
    }
    if status.retired > 0 {
        line(format!(
            "accounts from before a rotation that are not deleted yet: {}; the next sync deletes them",
            status.retired
        ))?;
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

fn device_text(device: &DeviceStatus, with_id: bool) -> String {
    let name = match escape(&device.name) {
        name if name.is_empty() => device.id.clone(),
        name if with_id => format!("{name} ({})", device.id),
        name => name,
    };
    if device.is_this {
        return format!("device: {name}, this device");
    }
    let silent = if device.is_silent {
        format!(
            "; silent for more than {SILENT_DAYS} days: it may be lost, or the server may show it \
             another history"
        )
    } else {
        String::new()
    };
    format!(
        "device: {name}, last synced {}{silent}",
        local_time(device.time)
    )
}

fn server_object(status: &Status) -> serde_json::Value {
    let Quota {
        used,
        limit,
        stated,
    } = status.quota;
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
        "lost": status.lost,
        "retired": status.retired,
        "devices": status.devices.iter().map(device_object).collect::<Vec<_>>(),
        "room": { "used": used, "limit": limit, "left": status.quota.left(), "stated": stated },
    })
}

fn device_object(device: &DeviceStatus) -> serde_json::Value {
    json!({
        "name": device.name,
        "id": device.id,
        "time": device.time,
        "version": device.version,
        "this": device.is_this,
        "silent": device.is_silent,
    })
}

fn word(kind: SyncErrorKind) -> String {
    serde_json::to_value(kind)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
