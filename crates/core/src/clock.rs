//! The time that changes are stamped with.

use std::time::{SystemTime, UNIX_EPOCH};

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
