//! Waiting for events, with a bound.

use std::time::{Duration, Instant};

/// How long a test waits for an event that must come.
pub const EVENT_TIME_MAX: Duration = Duration::from_secs(30);

/// Waits until a condition is true.
#[track_caller]
pub fn until(event: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < EVENT_TIME_MAX, "did not happen: {event}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
