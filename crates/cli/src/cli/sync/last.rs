//! What a sync did, or would do: record by record and field by field, without values.

use passmate_vault::details::{Delta, FieldDetails, Lost, RecordDetails, RecordFate, Side};
use serde_json::{Value, json};

use crate::cli::App;
use crate::cli::error::{Code, Failure};
use crate::cli::output::{NAME, escape, local_time};
use passmate_core::sync::{Replica, SyncError};

pub(super) fn run(app: &App) -> Result<(), Failure> {
    let session = app.open()?;
    let association = session.association();
    if association.is_none() && session.folder().is_none() {
        return Err(SyncError::NotSetUp.into());
    }
    let server = association
        .and_then(|association| Some((association.host.clone(), association.last.as_ref()?)));
    let folder = session
        .folder()
        .and_then(|folder| Some((folder.path.clone(), folder.last.as_ref()?)));
    if server.is_none() && folder.is_none() {
        let hint = "it is remembered from the next sync on that changes anything";
        return Err(Failure::new(Code::NotFound, "no sync is remembered", hint));
    }
    if app.out.json {
        let of = |place: &str, (name, delta): (String, &Delta)| {
            let records = objects(&session.vault().details(delta));
            json!({ place: name, "time": delta.time, "records": records })
        };
        let mut object = server.map_or_else(|| json!({}), |server| of("host", server));
        if let Some(folder) = folder {
            object = super::joined(object, json!({ "folder": of("path", folder) }));
        }
        return app.out.object(object);
    }
    for (place, delta) in server.into_iter().chain(folder) {
        app.out.line(&format!(
            "synced with {} at {}",
            escape(&place),
            local_time(delta.time)
        ))?;
        print(app, &session.vault().details(delta))?;
    }
    Ok(())
}

pub(super) fn print(app: &App, details: &[RecordDetails]) -> Result<(), Failure> {
    for record in details {
        let path = app.out.part(&record.path.to_string_lossy());
        app.out
            .styled_line(&format!("{path}: {}", fate_text(record)))?;
        if matches!(record.fate, RecordFate::New(_) | RecordFate::Deleted(_)) {
            continue;
        }
        for field in &record.fields {
            let name = app.out.part(&field.key.name.to_string_lossy());
            let line = field_text(field, &format!("`passmate history {path} {name}`"));
            app.out
                .styled_line(&format!("  {}: {line}", app.out.styled(NAME, &name)))?;
        }
    }
    Ok(())
}

fn fate_text(record: &RecordDetails) -> String {
    let moved = match &record.moved {
        Some(path) if path.received > 0 && path.sent > 0 => "moved on both sides",
        Some(path) if path.received > 0 => "moved on another device",
        Some(_) => "moved on this device",
        None => "",
    };
    let fate = match record.fate {
        RecordFate::New(Side::Received) => "new from another device",
        RecordFate::New(Side::Sent) => "new from this device",
        RecordFate::Deleted(Side::Received) => "deleted on another device",
        RecordFate::Deleted(Side::Sent) => "deleted on this device",
        RecordFate::Revived => "deleted on one device and changed later on another: it is kept",
        RecordFate::Changed if record.fields.is_empty() => return moved.to_owned(),
        RecordFate::Changed => "changed",
    };
    if moved.is_empty() {
        fate.to_owned()
    } else {
        format!("{fate}, {moved}")
    }
}

fn field_text(field: &FieldDetails, history: &str) -> String {
    match field.lost {
        Some(Lost { side, time, number }) => {
            let whose = match side {
                Side::Received => "the other device's",
                Side::Sent => "this device's",
            };
            let time = local_time(time);
            format!(
                "changed on both sides: {whose} value of {time} lost, and is number {number} in {history}"
            )
        }
        None if field.received > 0 => "from another device".to_owned(),
        None => "from this device".to_owned(),
    }
}

pub(super) fn objects(details: &[RecordDetails]) -> Vec<Value> {
    let side = |side| match side {
        Side::Received => "received",
        Side::Sent => "sent",
    };
    let field = |field: &FieldDetails| {
        let lost = field.lost.map(
            |lost| json!({ "side": side(lost.side), "time": lost.time, "number": lost.number }),
        );
        json!({
            "field": field.key.name.to_string_lossy(), "received": field.received, "sent": field.sent, "lost": lost,
        })
    };
    let record = |record: &RecordDetails| {
        let (fate, of) = match record.fate {
            RecordFate::New(of) => ("new", Some(side(of))),
            RecordFate::Deleted(of) => ("deleted", Some(side(of))),
            RecordFate::Revived => ("revived", None),
            RecordFate::Changed => ("changed", None),
        };
        json!({
            "path": record.path.to_string_lossy(),
            "id": record.id.as_text().to_string_lossy(),
            "fate": fate,
            "side": of,
            "moved": record.moved.as_ref().map(field),
            "fields": record.fields.iter().map(field).collect::<Vec<_>>(),
        })
    };
    details.iter().map(record).collect()
}
