//! How far a long piece of work is.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far a long piece of work is. Another thread may look at it while the work goes on.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Begins a part of the work that has this many steps.
    pub fn begin(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// Says how many steps are done.
    pub fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    /// The steps that are done, and all; `None` if the number of steps is not known.
    #[must_use]
    pub fn steps(&self) -> Option<(u64, u64)> {
        let total = self.total.load(Ordering::Relaxed);
        let done = self.done.load(Ordering::Relaxed).min(total);
        (total > 0).then_some((done, total))
    }
}
