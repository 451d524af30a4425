//! The wall clock. The server stores and compares times as seconds since 1970, UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// A day in seconds.
pub(crate) const DAY: i64 = 24 * 3600;

/// The current time in seconds since 1970; 0 if the clock is set before that.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The begin of the day of a time, in UTC.
pub(crate) fn day_of(at: i64) -> i64 {
    at.saturating_sub(at.rem_euclid(DAY))
}

/// The day of a time as text, in UTC.
pub(crate) fn utc_day(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| seconds.to_string(),
        |time| time.strftime("%Y-%m-%d").to_string(),
    )
}

/// A time as text, in UTC because operator and server may be in different time zones.
pub(crate) fn utc(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| seconds.to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}
