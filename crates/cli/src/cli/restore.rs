use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use passmate_vault::record::FieldKey;
use passmate_vault::{RecordId, Vault};

use super::App;
use super::error::{Code, Failure};
use super::history::changes_of;
use super::output::local_time;
use super::record::{finish, refuse_taken};
use super::show::{find, no_field};
use passmate_core::session::Session;

/// Bring back what was
///
/// `restore PATH` brings back a deleted record, `restore PATH FIELD` the value that a field had
/// before. With --at, a record or a field becomes what it was then. All of these are new edits: the
/// history keeps everything.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The record
    path: String,
    /// The field
    field: Option<String>,
    /// A time, such as 2026-11-23 or "2026-11-23 19:30", or a number that `passmate history` shows
    #[arg(long, value_name = "TIME|N", value_parser = parse_at)]
    at: Option<At>,
}

/// Which of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Counted from the field's newest change.
    Number(usize),
    /// Seconds since 1970.
    Time(i64),
}

/// Longest number of a change; what is longer is a time.
const NUMBER_LEN_MAX: usize = 6;

fn parse_at(text: &str) -> Result<At, String> {
    if text.len() <= NUMBER_LEN_MAX && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .map(At::Number)
            .ok_or_else(|| "numbers begin at 1".to_owned());
    }
    parse_time(text)
        .map(At::Time)
        .ok_or_else(|| format!("{text:?} is no time; write it like 2026-11-23 19:30"))
}

/// A date, or a date and time, of this device's time zone unless it names another; in seconds since
/// 1970.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    let local = |time: DateTime| {
        time.to_zoned(TimeZone::system())
            .ok()
            .map(|time| time.timestamp())
    };
    let time = text.parse::<Timestamp>().ok();
    let time = time.or_else(|| text.parse::<DateTime>().ok().and_then(local));
    let time = time.or_else(|| {
        text.parse::<Date>()
            .ok()
            .and_then(|date| local(date.at(0, 0, 0, 0)))
    });
    time.map(Timestamp::as_second)
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    match (&args.field, args.at) {
        (Some(field), at) => restore_field(app, session, &args.path, field, at),
        (None, Some(At::Time(seconds))) => restore_record_at(app, session, &args.path, seconds),
        (None, Some(At::Number(_))) => Err(Failure::usage(
            "a number is one of a field's changes",
            "name the field too, or give --at a time",
        )),
        (None, None) => undelete(app, session, &args.path),
    }
}

fn restore_field(
    app: &App,
    mut session: Session,
    path: &str,
    field: &str,
    at: Option<At>,
) -> Result<(), Failure> {
    let (id, value) = {
        let view = session.vault().view();
        let record = find(&view, path)?;
        let changes = changes_of(record, Some(field));
        let wanted = match at {
            None => changes.iter().find(|change| change.number == 2),
            Some(At::Number(number)) => changes.iter().find(|change| change.number == number),
            Some(At::Time(seconds)) => changes.iter().find(|change| {
                change
                    .change
                    .stamp
                    .deciding_seconds()
                    .is_some_and(|time| time <= seconds)
            }),
        };
        let Some(wanted) = wanted else {
            return Err(match changes.len() {
                0 => no_field(path, field),
                len => Failure::new(
                    Code::NotFound,
                    format!("{field} of {path} has no such change ({len} in all)"),
                    format!("`passmate history {path} {field}` lists them"),
                ),
            });
        };
        (record.id.clone(), wanted.change.value.clone())
    };
    session.edit(|vault, now| vault.change_value(&id, FieldKey::user(field), value, now))?;
    finish(app, session, &format!("{field} of {path} is what it was"))
}

fn restore_record_at(
    app: &App,
    mut session: Session,
    path: &str,
    seconds: i64,
) -> Result<(), Failure> {
    let id = find_any(&session, path)?;
    let then = session.vault().at(seconds);
    let Some(path_then) = live_path(&then, &id) else {
        return Err(Failure::new(
            Code::NotFound,
            format!("there was no {path} at {}", local_time(seconds)),
            format!("`passmate history {path}` shows when it changed"),
        ));
    };
    if live_path(session.vault(), &id).is_none_or(|now| now != path_then) {
        refuse_taken(&session, &path_then)?;
    }
    let changed = session.edit(|vault, now| vault.revert_record(&id, &then, now))?;
    finish(
        app,
        session,
        &format!(
            "{path} is what it was at {}: {changed} changed",
            local_time(seconds)
        ),
    )
}

fn undelete(app: &App, mut session: Session, path: &str) -> Result<(), Failure> {
    let id = {
        let view = session.vault().view();
        if view.get(path).is_some() {
            return Err(Failure::usage(
                format!("{path} is not deleted"),
                "name a field to bring back its value before, or give --at a time",
            ));
        }
        // Of several that had this path, the one that was deleted last.
        let deleted = view
            .deleted()
            .iter()
            .filter(|record| record.path.to_string_lossy() == path);
        let Some(record) = deleted.max_by(|a, b| a.stamp.cmp(b.stamp)) else {
            return Err(Failure::new(
                Code::NotFound,
                format!("no deleted record had the path {path}"),
                "`passmate ls --deleted` shows those that did",
            ));
        };
        record.id.clone()
    };
    session.edit(|vault, now| vault.rename(&id, path, now))?;
    finish(app, session, &format!("{path} is back"))
}

/// The record that has this path, or had it last when it was deleted.
fn find_any(session: &Session, path: &str) -> Result<RecordId, Failure> {
    let view = session.vault().view();
    let deleted = view
        .deleted()
        .iter()
        .filter(|record| record.path.to_string_lossy() == path);
    match (view.get(path), deleted.max_by(|a, b| a.stamp.cmp(b.stamp))) {
        (None, Some(record)) => Ok(record.id.clone()),
        _ => Ok(find(&view, path)?.id.clone()),
    }
}

fn live_path(vault: &Vault, id: &RecordId) -> Option<String> {
    let view = vault.view();
    let record = view.records().iter().find(|record| record.id == id)?;
    Some(record.path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_change_and_everything_else_a_time() {
        assert_eq!(parse_at("2"), Ok(At::Number(2)));
        assert!(parse_at("0").is_err() && parse_at("yesterday").is_err() && parse_at("").is_err());
        assert_eq!(
            parse_at("2026-11-23T19:30:00Z"),
            Ok(At::Time(1_795_462_200))
        );
        for text in ["2026-11-23", "2026-11-23 19:30", "2026-11-23T19:30:05"] {
            assert!(matches!(parse_at(text), Ok(At::Time(_))), "{text}");
        }
    }
}
