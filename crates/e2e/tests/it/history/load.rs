//! Waits for what clients do, and ends them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The longest wait for confirmations. A cluster takes a leader for dead after 20 s, and a busy
/// machine needs a while for the rest.
const LOAD_TIME_MAX: Duration = Duration::from_secs(120);

/// Counts confirmations, and measures the longest time without one.
pub(super) struct Gap<F> {
    count: F,
    last: u64,
    since: Instant,
    pub(super) longest: Duration,
}

impl<F: Fn() -> u64> Gap<F> {
    pub(super) fn new(count: F) -> Self {
        Self {
            last: count(),
            count,
            since: Instant::now(),
            longest: Duration::ZERO,
        }
    }

    /// Waits until so many more are confirmed, and so much time has passed.
    #[track_caller]
    pub(super) fn wait(&mut self, more: u64, least: Duration) {
        let (begun, wanted) = (Instant::now(), (self.count)() + more);
        while self.look() < wanted || begun.elapsed() < least {
            let most = least + LOAD_TIME_MAX;
            assert!(begun.elapsed() < most, "{} of {wanted}", self.last);
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn look(&mut self) -> u64 {
        let now = (self.count)();
        self.longest = self.longest.max(self.since.elapsed());
        if now != self.last {
            (self.last, self.since) = (now, Instant::now());
        }
        now
    }
}

/// Ends the threads of a run when it is over, and when it panics.
pub(super) struct End<'a>(pub(super) &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
