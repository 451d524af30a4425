use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use passmate_core::clock::local_time;
use passmate_core::edit::Edit;
use passmate_core::history::At;
use passmate_core::problem::Problem;

use crate::app::App;
use crate::change::{change, change_and};
use crate::completing;

/// Restore a deleted record or an earlier value
///
/// `restore PATH` restores a deleted record; `restore PATH FIELD` restores the previous value of a
/// field. With --at, the record or field gets the state that it had then. A restore is a new edit:
/// the history keeps everything.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the record, or its id as `passmate ls --deleted` shows it
    path: String,
    /// Name of the field
    #[arg(add = completing::field())]
    field: Option<String>,
    /// A time, such as 2026-11-23 or "2026-11-23 19:30", or with FIELD a number that
    /// `passmate history` shows
    #[arg(long, value_name = "TIME|N", value_parser = parse_at)]
    at: Option<At>,
    /// Restore a deleted record under this path
    #[arg(long, value_name = "PATH", conflicts_with_all = ["field", "at"], add = completing::folder())]
    to: Option<String>,
}

/// Digits of the longest number of a change; what is longer is a time.
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
        .ok_or_else(|| format!("{text:?} is not a time; write it like 2026-11-23 19:30"))
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

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let path = args.path.clone();
    let (edit, done) = match (args.field.clone(), args.at) {
        (Some(field), at) => {
            let done = format!("restored {field} of {path}");
            (Edit::RestoreField { path, field, at }, done)
        }
        (None, Some(At::Time(seconds))) => return restore_record(app, path, seconds),
        (None, Some(At::Number(_))) => {
            return Err(Problem::usage(
                "--at with a number needs a field",
                "name the field too, or give --at a time",
            ));
        }
        (None, None) => {
            let to = args.to.clone();
            return change_and(
                app,
                &mut *app.open_to_change()?,
                &Edit::Undelete { path, to },
                |edited| {
                    app.out
                        .note(&format!("restored {}", edited.paths.join(", ")));
                    app.done()
                },
            );
        }
    };
    change(app, &mut *app.open_to_change()?, &edit, &done)
}

fn restore_record(app: &App, path: String, seconds: i64) -> Result<(), Problem> {
    let mut vault = app.open_to_change()?;
    let time = local_time(seconds);
    let done = format!("restored {path} as it was at {time}: ");
    change_and(
        app,
        &mut *vault,
        &Edit::RestoreRecord { path, seconds },
        |edited| {
            app.out.note(&format!("{done}{} changed", edited.changes));
            app.done()
        },
    )
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
