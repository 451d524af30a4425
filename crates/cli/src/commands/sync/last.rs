//! What a sync did, or would do: record by record and field by field, without values.

use passmate_core::api::PastSync;
use passmate_core::clock::local_time;
use passmate_core::escape::escape;
use passmate_core::history::history_command;
use passmate_core::problem::Problem;
use passmate_vault::report::{Fate, FieldReport, Lost, RecordReport, Side};
use serde_json::{Value, json};

use crate::app::App;
use crate::output::NAME;
use crate::report::{joined, plain};

pub(super) fn run(app: &App) -> Result<(), Problem> {
    let last = plain(app.open()?.last_syncs())?;
    if app.out.json {
        let of = |member: &str, past: &PastSync| {
            let records = objects(&past.records);
            json!({ member: past.place, "time": past.time, "records": records })
        };
        let server = last.server.as_ref();
        let mut object = server.map_or_else(|| json!({}), |server| of("host", server));
        if let Some(folder) = &last.folder {
            object = joined(object, json!({ "folder": of("path", folder) }));
        }
        return app.out.object(object);
    }
    for past in last.server.iter().chain(&last.folder) {
        let (place, time) = (escape(&past.place), local_time(past.time));
        app.out.line(&format!("synced with {place} at {time}"))?;
        print(app, &past.records)?;
    }
    Ok(())
}

pub(super) fn print(app: &App, records: &[RecordReport]) -> Result<(), Problem> {
    report_lines(records).iter().try_for_each(|line| {
        let ReportLine {
            name,
            text,
            is_field,
        } = line;
        app.out.styled_sentence(&match is_field {
            false => format!("{name}: {text}"),
            true => format!("  {}: {text}", app.out.styled(NAME, name)),
        })
    })
}

/// What happened to a record, or to a field of the record above it. The texts are escaped.
pub(crate) struct ReportLine {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) is_field: bool,
}

pub(crate) fn report_lines(records: &[RecordReport]) -> Vec<ReportLine> {
    let mut lines = Vec::new();
    for record in records {
        let name = match record.fate {
            // Nothing is left of it, not even its path.
            Fate::Purged(_) => "a record".to_owned(),
            _ => escape(&record.path.to_string_lossy()),
        };
        lines.push(ReportLine {
            name,
            text: fate_text(record),
            is_field: false,
        });
        if matches!(
            record.fate,
            Fate::New(_) | Fate::Deleted(_) | Fate::Purged(_)
        ) {
            continue;
        }
        for field in &record.fields {
            let name = field.key.name.to_string_lossy();
            let history = history_command(&record.path.to_string_lossy(), Some(&name));
            lines.push(ReportLine {
                name: escape(&name),
                text: field_text(field, &history.to_string()),
                is_field: true,
            });
        }
    }
    lines
}

fn fate_text(record: &RecordReport) -> String {
    let moved = match &record.moved {
        Some(path) if path.received > 0 && path.sent > 0 => "moved on both sides",
        Some(path) if path.received > 0 => "moved on another device",
        Some(_) => "moved on this device",
        None => "",
    };
    let fate = match record.fate {
        Fate::New(Side::Received) => "new from another device",
        Fate::New(Side::Sent) => "new from this device",
        Fate::Deleted(Side::Received) => "deleted on another device",
        Fate::Deleted(Side::Sent) => "deleted on this device",
        Fate::Purged(Side::Received) => "purged on another device",
        Fate::Purged(Side::Sent) => "purged on this device",
        Fate::Revived => "deleted on one device and changed later on another: it is kept",
        Fate::Changed if record.fields.is_empty() => return moved.to_owned(),
        Fate::Changed => "changed",
    };
    if moved.is_empty() {
        fate.to_owned()
    } else {
        format!("{fate}, {moved}")
    }
}

fn field_text(field: &FieldReport, history: &str) -> String {
    match field.lost {
        Some(Lost { side, time, number }) => {
            let whose = match side {
                Side::Received => "the other device's",
                Side::Sent => "this device's",
            };
            let time = local_time(time);
            format!(
                "changed on both sides: {whose} value from {time} was replaced; it is number \
                 {number} in {history}"
            )
        }
        None if field.received + field.sent == 0 => match field.purged {
            1 => "one of its values was purged".to_owned(),
            count => format!("{count} of its values were purged"),
        },
        None if field.received > 0 => "from another device".to_owned(),
        None => "from this device".to_owned(),
    }
}

pub(super) fn objects(records: &[RecordReport]) -> Vec<Value> {
    let side = |side| match side {
        Side::Received => "received",
        Side::Sent => "sent",
    };
    let field = |field: &FieldReport| {
        let lost = field.lost.map(
            |lost| json!({ "side": side(lost.side), "time": lost.time, "number": lost.number }),
        );
        json!({
            "field": field.key.name.to_string_lossy(),
            "received": field.received,
            "sent": field.sent,
            "purged": field.purged,
            "lost": lost,
        })
    };
    let record = |record: &RecordReport| {
        let (fate, of) = match record.fate {
            Fate::New(of) => ("new", Some(side(of))),
            Fate::Deleted(of) => ("deleted", Some(side(of))),
            Fate::Purged(of) => ("purged", Some(side(of))),
            Fate::Revived => ("revived", None),
            Fate::Changed => ("changed", None),
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
    records.iter().map(record).collect()
}
