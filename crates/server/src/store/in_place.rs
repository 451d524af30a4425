//! Reads in place: by the worker thread of the runtime that asks, instead of the blocking pool.
//!
//! Passing a read to another thread costs ten times as much as a read from memory. But a worker
//! that waits for a disk serves no client, and it may be the one that polls network and clock for
//! all workers: tokio does not wake a second worker for a single task. The rules are:
//!  - at most one read in place is in progress, and none if the runtime has a single worker;
//!  - none for a while after slow reads;
//!  - a watch thread notices a read that takes long, and wakes another worker, which takes over
//!    network, clock and waiting tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::EngineError;

/// If the mean duration of reads is longer than this, they come from the disk, and so will the
/// next ones.
const SLOW_READ: Duration = Duration::from_millis(3);
const SLOW_FOR: Duration = Duration::from_secs(5);
/// How often a read yields to other tasks while another read is in place.
const YIELDS: usize = 4;
/// Between two looks of the watch thread, while there are reads.
const TICK: Duration = Duration::from_millis(10);

/// Permits reads in place, and keeps slow ones from delaying other tasks.
pub(super) struct InPlace {
    watched: Arc<Watched>,
    watch: Thread,
    pace: Mutex<Pace>,
}

/// What reads and watch thread share.
#[derive(Default)]
struct Watched {
    /// Increases when a read begins and when it ends, so it is odd while one is in progress.
    steps: AtomicU64,
    /// The watch thread will look again by itself; otherwise it must be woken.
    is_awake: AtomicBool,
    is_over: AtomicBool,
    /// The runtime of the last read.
    runtime: Mutex<Option<Handle>>,
}

/// A read in place that is in progress; dropping it ends it.
pub(super) struct ReadInPlace<'a> {
    of: &'a InPlace,
    begun: Instant,
}

impl InPlace {
    /// Starts the watch thread.
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

    /// Permits a read in place, now or soon.
    pub(super) async fn begin_soon(&self) -> Option<ReadInPlace<'_>> {
        for _ in 0..YIELDS {
            if self.watched.steps.load(Ordering::SeqCst).is_multiple_of(2) {
                break;
            }
            // The other read most likely comes from memory, and has ended when this task runs
            // again.
            tokio::task::yield_now().await;
        }
        self.begin()
    }

    /// Permits a read in place now.
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
    /// Runs until `is_over`.
    fn watch(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            let before = self.steps.load(Ordering::SeqCst);
            thread::park_timeout(TICK);
            let now = self.steps.load(Ordering::SeqCst);
            if now != before {
                continue;
            }
            if !now.is_multiple_of(2) {
                // For a task from another thread, tokio wakes a sleeping worker. It then finds
                // nothing else to do, and polls network and clock.
                if let Some(runtime) = self.runtime.lock().clone() {
                    runtime.spawn(async {});
                }
                continue;
            }
            self.is_awake.store(false, Ordering::SeqCst);
            // A read that began before the line above did not wake this thread; later ones do.
            if self.steps.load(Ordering::SeqCst) == now && !self.is_over.load(Ordering::SeqCst) {
                thread::park();
            }
            self.is_awake.store(true, Ordering::SeqCst);
        }
    }
}

/// The speed of recent reads.
#[derive(Default)]
struct Pace {
    /// The mean duration of reads in place, weighted by how recent they are. A read that was only
    /// interrupted has little weight.
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
    async fn one_read_at_a_time_is_in_place() {
        let in_place = InPlace::new().unwrap();
        let read = in_place.begin().unwrap();
        assert!(in_place.begin().is_none());
        drop(read);
        assert!(in_place.begin().is_some());
    }

    #[tokio::test]
    async fn the_only_worker_reads_nothing_in_place() {
        assert!(InPlace::new().unwrap().begin().is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn after_a_slow_read_none_is_in_place_for_a_while() {
        let in_place = InPlace::new().unwrap();
        let read = in_place.begin().unwrap();
        thread::sleep(16 * SLOW_READ + Duration::from_millis(10));
        drop(read);
        assert!(in_place.begin().is_none());
    }
}
