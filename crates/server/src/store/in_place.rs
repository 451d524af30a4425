//! Whether a read is done in place, by the worker of the runtime that asks for it.
//!
//! Handing a read to another thread costs ten times as much as a read that comes from memory. But a
//! worker that waits for a disk serves nobody meanwhile, and it may have been the one that listens
//! to network and clock for all of them: tokio does not wake a second worker for one task. The
//! rules are:
//!  - at most one read in place is under way, and none where the runtime has no second worker;
//!  - none for a while after reads that were slow;
//!  - one that takes longer than a moment is noticed by a thread of its own, which wakes another
//!    worker; that one takes over network, clock and whoever waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::EngineError;

/// Reads that take longer in the mean come from a disk that has to move, and the next ones will
/// too.
const SLOW_READ: Duration = Duration::from_millis(3);
const SLOW_FOR: Duration = Duration::from_secs(5);
/// How often a read lets other tasks go first while another one is done in place.
const YIELDS: usize = 4;
/// How often the watch looks, while there are reads to look at.
const TICK: Duration = Duration::from_millis(10);

/// Decides about reads in place, and sees to it that a slow one holds up nobody else.
pub(super) struct InPlace {
    watched: Arc<Watched>,
    watch: Thread,
    pace: Mutex<Pace>,
}

/// What the reads and the watch share.
#[derive(Default)]
struct Watched {
    /// One more when a read begins and one more when it ends, so it is odd while one is under way.
    steps: AtomicU64,
    /// Whether the watch will look again by itself; if not, it must be woken.
    is_awake: AtomicBool,
    is_over: AtomicBool,
    /// Where the last read was begun.
    runtime: Mutex<Option<Handle>>,
}

/// A read in place that is under way; dropping it ends it.
pub(super) struct ReadInPlace<'a> {
    of: &'a InPlace,
    begun: Instant,
}

impl InPlace {
    /// Starts the watch.
    ///
    /// # Errors
    /// The system has no thread.
    pub(super) fn new() -> Result<Self, EngineError> {
        let watched = Arc::new(Watched::default());
        let shared = Arc::clone(&watched);
        let watch = thread::Builder::new()
            .name("store-watch".to_owned())
            .spawn(move || shared.watch())
            .map_err(|error| EngineError::Failed(error.to_string()))?;
        Ok(Self {
            watched,
            watch: watch.thread().clone(),
            pace: Mutex::default(),
        })
    }

    /// The right to read in place, if this is the moment for it or if it comes soon.
    pub(super) async fn begin_soon(&self) -> Option<ReadInPlace<'_>> {
        for _ in 0..YIELDS {
            if self.watched.steps.load(Ordering::SeqCst).is_multiple_of(2) {
                break;
            }
            // The other read is most likely from memory, and over by the time that this task's turn
            // comes again.
            tokio::task::yield_now().await;
        }
        self.begin()
    }

    /// The right to read in place, if this is the moment for it.
    fn begin(&self) -> Option<ReadInPlace<'_>> {
        if !self.pace.lock().is_fast() {
            return None;
        }
        let runtime = Handle::try_current()
            .ok()
            .filter(|runtime| runtime.metrics().num_workers() > 1)?;
        let steps = self.watched.steps.load(Ordering::SeqCst);
        let is_free = steps.is_multiple_of(2);
        if !is_free
            || self
                .watched
                .steps
                .compare_exchange(steps, steps + 1, Ordering::SeqCst, Ordering::SeqCst)
                .is_err()
        {
            return None;
        }
        let read = ReadInPlace {
            of: self,
            begun: Instant::now(),
        };
        *self.watched.runtime.lock() = Some(runtime);
        if !self.watched.is_awake.swap(true, Ordering::SeqCst) {
            self.watch.unpark();
        }
        Some(read)
    }
}

impl Drop for ReadInPlace<'_> {
    fn drop(&mut self) {
        self.of.pace.lock().note(self.begun.elapsed());
        self.of.watched.steps.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        self.watched.is_over.store(true, Ordering::SeqCst);
        self.watch.unpark();
    }
}

impl Watched {
    /// Runs until it is over.
    fn watch(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            let before = self.steps.load(Ordering::SeqCst);
            thread::park_timeout(TICK);
            let now = self.steps.load(Ordering::SeqCst);
            if now != before {
                continue;
            }
            if !now.is_multiple_of(2) {
                // For a task from outside tokio wakes a worker that sleeps. It finds nothing more
                // to do, and listens.
                if let Some(runtime) = self.runtime.lock().clone() {
                    runtime.spawn(async {});
                }
                continue;
            }
            self.is_awake.store(false, Ordering::SeqCst);
            // A read that began before that line did not wake us; one that begins after it does.
            if self.steps.load(Ordering::SeqCst) == now && !self.is_over.load(Ordering::SeqCst) {
                thread::park();
            }
            self.is_awake.store(true, Ordering::SeqCst);
        }
    }
}

/// Whether reads come from memory.
#[derive(Default)]
struct Pace {
    /// Of the last reads in place, weighed by how recent they are: one that was only interrupted
    /// counts little.
    mean: Duration,
    slow_until: Option<Instant>,
}

impl Pace {
    fn is_fast(&self) -> bool {
        self.slow_until.is_none_or(|until| until < Instant::now())
    }

    fn note(&mut self, took: Duration) {
        self.mean = self.mean * 15 / 16 + took / 16;
        if self.mean > SLOW_READ {
            *self = Self {
                mean: Duration::ZERO,
                slow_until: Some(Instant::now() + SLOW_FOR),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_read_at_a_time_is_done_in_place() {
        let in_place = InPlace::new().unwrap();
        let read = in_place.begin().unwrap();
        assert!(in_place.begin().is_none());
        drop(read);
        assert!(in_place.begin().is_some());
    }

    #[tokio::test]
    async fn no_read_is_done_in_place_by_the_only_worker() {
        assert!(InPlace::new().unwrap().begin().is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn after_a_slow_read_none_is_done_in_place_for_a_while() {
        let in_place = InPlace::new().unwrap();
        let read = in_place.begin().unwrap();
        thread::sleep(16 * SLOW_READ + Duration::from_millis(10));
        drop(read);
        assert!(in_place.begin().is_none());
    }
}
