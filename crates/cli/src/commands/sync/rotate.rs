use jiff::{Span, Timestamp, Zoned};
use passmate_core::problem::Problem;
use passmate_core::sync::Reason;

use crate::app::App;
use crate::commands::restore::parse_time;
use crate::commands::sync::refuse_offline;
use crate::report;

/// Move to a new account with a new key, and delete the old account
///
/// Every other device must then leave and join again with the new key; its own changes are merged
/// when it joins. If interrupted, the next sync goes on.
///
/// After a device was lost or stolen, use --lost: whoever has it may write to the old account, so
/// that is deleted unread. What your other devices stored there is still on them, and comes when
/// they join.
///
/// With --keep-history, the new account and every device that joins it keep only the history since
/// TIME: for a vault that has outgrown its server's limit. Current values and deleted records stay.
/// The whole history is first saved in a separate vault file beside this one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Keep only the history since a date (2026-01-31), or of the last 1y, 6mo or 90d
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    keep_history: Option<i64>,
    /// A device was lost or stolen: delete the old account without reading it
    #[arg(long)]
    lost: bool,
}

/// A time in the past, in seconds since 1970.
pub(in crate::commands) fn parse_since(text: &str) -> Result<i64, String> {
    let now = Zoned::now();
    let span = text.parse::<Span>().ok();
    // 1m means a month to people, and a minute to the parser.
    let is_short = |span: &Span| {
        span.fieldwise()
            != span
                .hours(0)
                .minutes(0)
                .seconds(0)
                .milliseconds(0)
                .microseconds(0)
                .nanoseconds(0)
                .fieldwise()
    };
    if span.as_ref().is_some_and(is_short) {
        return Err(format!(
            "{text:?} is shorter than a day; write years, months, weeks or days: 1y, 6mo, 8w, 90d"
        ));
    }
    let ago = |span: Span| {
        now.checked_sub(span.abs())
            .ok()
            .map(|time| time.timestamp().as_second())
    };
    let since = span.and_then(ago).or_else(|| parse_time(text));
    let since = since.ok_or_else(|| {
        format!("{text:?} is not a time; write it like 2026-01-31, 1y, 6mo or 90d")
    })?;
    if since > now.timestamp().as_second() {
        return Err(format!("{text:?} is in the future"));
    }
    Ok(since.max(Timestamp::UNIX_EPOCH.as_second() + 1))
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    refuse_offline(app)?;
    let mut vault = app.open()?;
    let since = args.keep_history;
    let reason = if args.lost {
        Reason::Loss
    } else {
        Reason::Renewal
    };
    let synced = app.with_consent(|consent| vault.rotate(reason, since, consent))?;
    report::server(app, synced).map_err(|problem| {
        if args.lost {
            return problem.with_hint(
                "nothing is read from the old account any more, and the next `passmate sync` goes \
                 on; see `passmate sync status`",
            );
        }
        problem
    })?;
    app.out.note(
        "on every other device: `passmate sync leave`, then `passmate sync setup` with the key of \
         `passmate sync key`",
    );
    if args.lost {
        app.out.note(
            "change the passwords that were on the lost device: whoever has it may have seen them",
        );
    }
    Ok(())
}
