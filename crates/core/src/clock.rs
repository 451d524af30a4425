//! The time that changes are stamped with, and how it is shown.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Tells the time, in seconds since 1970.
pub type Clock = fn() -> i64;

/// The system's time; 1970 if its clock stands before that.
#[must_use]
pub fn system_clock() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A time in this device's time zone, to the second.
#[must_use]
pub fn local_time(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).map(|time| time.to_zoned(TimeZone::system()));
    time.map_or_else(
        |_| seconds.to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}
