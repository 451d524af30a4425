//! The threads that own an engine each. One puts all waiting changes into one transaction, so that a
//! hundred devices share one flush of the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::handle::CommitCounters;
use super::{Admission, Change, Engine, EngineError, Notes, Outcome, StoreError};

/// The most changes in one transaction, and the most bytes of btokens. They bound how long the
/// first change waits.
const BATCH_LEN_MAX: usize = 512;
const BATCH_BYTES_MAX: usize = 64 << 20;
/// How long a commit waits for announced changes, which then share its flush: so long for each
/// [`ANNOUNCED`], and never longer than the most.
const WINDOW: Duration = Duration::from_micros(300);
const WINDOW_MAX: Duration = Duration::from_micros(1500);
const ANNOUNCED: usize = 8;
/// Deleted and replaced bytes are removed after this time without a change.
pub(super) const TIDY_IDLE: Duration = Duration::from_secs(1);
/// Under constant load, deleted bytes are removed after this time. A failed attempt is repeated
/// after the same time.
pub(super) const TIDY_DELETED: Duration = Duration::from_secs(5);
/// Under constant load, replaced bytes are removed after this time. It is longer because a log
/// that starts anew has to grow again, and flushes are slower meanwhile.
const TIDY_REPLACED: Duration = Duration::from_secs(60);
/// Notes are written at most this often.
const NOTES_PAUSE: Duration = Duration::from_secs(60);
/// Between two attempts to commit while another process holds the database.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// A change, and the caller that waits for its outcome.
pub(super) struct Job {
    pub(super) change: Change,
    pub(super) answer: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// What others see of the writer thread.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// When its present step began; none while it waits for changes.
    step: Mutex<Option<Instant>>,
    is_failed: AtomicBool,
}

impl Pulse {
    pub(super) fn is_felt(&self, most: Duration) -> bool {
        let step = *self.step.lock();
        !self.is_failed.load(Ordering::Relaxed) && step.is_none_or(|begun| begun.elapsed() <= most)
    }

    fn begin_step(&self) {
        *self.step.lock() = Some(Instant::now());
    }

    fn rest(&self) {
        *self.step.lock() = None;
    }
}

pub(super) struct Writer<E, F> {
    engine: E,
    on_fatal: F,
    is_failed: bool,
    /// When to tidy at the latest; none if there is nothing to remove.
    tidy_at: Option<Instant>,
    /// Announced changes that have not arrived.
    expected: Arc<AtomicUsize>,
    /// A busy database is no longer waited for.
    is_closing: Arc<AtomicBool>,
    counters: Arc<CommitCounters>,
    notes: Arc<Mutex<Notes>>,
    /// When notes may be written.
    notes_at: Instant,
    pulse: Arc<Pulse>,
}

impl<E: Engine, F: Fn(&StoreError)> Writer<E, F> {
    pub(super) fn new(
        engine: E,
        on_fatal: F,
        expected: Arc<AtomicUsize>,
        is_closing: Arc<AtomicBool>,
        counters: Arc<CommitCounters>,
        notes: Arc<Mutex<Notes>>,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self {
            engine,
            on_fatal,
            is_failed: false,
            // The last process may have been killed before it tidied.
            tidy_at: Some(Instant::now() + TIDY_DELETED),
            expected,
            is_closing,
            counters,
            notes,
            notes_at: Instant::now(),
            pulse,
        }
    }

    pub(super) fn run(&mut self, waiting: &Mutex<mpsc::Receiver<Job>>) {
        while let Some(first) = self.next(waiting) {
            // A single device is confirmed at once, because there is no other to wait for.
            let announced = self.expected.load(Ordering::Relaxed);
            if announced > 0 {
                std::thread::sleep(window(announced));
            }
            let batch = self.gather(first, waiting);
            self.commit(batch);
            if self.notes_at <= Instant::now() {
                self.write_notes();
            }
            self.settle();
            if self.tidy_at.is_some_and(|at| at <= Instant::now()) {
                self.tidy();
            }
        }
        self.write_notes();
        self.pulse.rest();
    }

    /// The changes that wait now, and this one before them.
    fn gather(&self, first: Job, waiting: &Mutex<mpsc::Receiver<Job>>) -> Vec<Job> {
        let len_max = BATCH_LEN_MAX.min(self.engine.batch_len_max());
        let mut bytes = btoken_len(&first.change);
        let mut batch = vec![first];
        while batch.len() < len_max && bytes < BATCH_BYTES_MAX {
            // Another writer that waits for its next change has the lock, and there is none.
            let Some(Ok(next)) = waiting.try_lock().map(|waiting| waiting.try_recv()) else {
                break;
            };
            bytes += btoken_len(&next.change);
            batch.push(next);
        }
        batch
    }

    /// Writes down what was noted. If that is not possible now, it is lost.
    fn write_notes(&mut self) {
        let notes = std::mem::take(&mut *self.notes.lock());
        if self.is_failed || notes == Notes::default() {
            return;
        }
        self.notes_at = Instant::now() + NOTES_PAUSE;
        self.pulse.begin_step();
        match self.engine.write_notes(&notes) {
            Err(error) if error.is_fatal() => self.fail(&error),
            Err(_) | Ok(()) => {}
        }
    }

    /// Waits for the next change, and tidies while there is none. `None`: the store is closed.
    fn next(&mut self, waiting: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
        while self.tidy_at.is_some() {
            self.pulse.rest();
            let next = waiting.lock().recv_timeout(TIDY_IDLE);
            self.pulse.begin_step();
            match next {
                Ok(job) => return Some(job),
                Err(mpsc::RecvTimeoutError::Timeout) => self.tidy(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
        self.pulse.rest();
        let next = waiting.lock().recv().ok();
        self.pulse.begin_step();
        next
    }

    fn settle(&mut self) {
        self.pulse.begin_step();
        if self.is_failed {
            return;
        }
        match self.engine.settle() {
            Ok(()) | Err(EngineError::Busy | EngineError::Full) => {}
            Err(error) => self.fail(&error),
        }
    }

    fn tidy(&mut self) {
        self.pulse.begin_step();
        if self.is_failed {
            self.tidy_at = None;
            return;
        }
        self.tidy_at = match self.engine.tidy() {
            Ok(()) => None,
            // A reader is active, or the disk is full: try again later.
            Err(EngineError::Busy | EngineError::Full) => Some(Instant::now() + TIDY_DELETED),
            Err(error) => {
                self.fail(&error);
                None
            }
        };
    }

    fn commit(&mut self, mut batch: Vec<Job>) {
        loop {
            // Drop jobs whose client has disconnected. So a store that stays busy keeps a change
            // no longer than its client's session lasts.
            batch.retain(|job| !job.answer.is_closed());
            if batch.is_empty() {
                return;
            }
            let (changes, answers): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .map(|job| (job.change, job.answer))
                .unzip();
            match self.commit_once(&changes) {
                Ok(outcomes) => {
                    self.counters.transactions.fetch_add(1, Ordering::Relaxed);
                    self.counters
                        .changes
                        .fetch_add(changes.len() as u64, Ordering::Relaxed);
                    self.schedule_tidy(&changes);
                    // A client that has its answer may come again at once, and needs the memory.
                    drop(changes);
                    for (outcome, answer) in outcomes.into_iter().zip(answers) {
                        // A client that is gone learns the outcome from its next fetch.
                        let _ = answer.send(Ok(outcome));
                    }
                    return;
                }
                Err(EngineError::Busy) if !self.is_closing.load(Ordering::Relaxed) => {
                    batch = zip_jobs(changes, answers).collect();
                    std::thread::sleep(BUSY_PAUSE);
                }
                // Commit one by one, so that a change which does not fit, or meets a damaged row,
                // refuses only itself.
                Err(EngineError::Full | EngineError::Damaged(_)) if changes.len() > 1 => {
                    zip_jobs(changes, answers).for_each(|job| self.commit(vec![job]));
                    return;
                }
                Err(error) => {
                    if matches!(error, EngineError::Damaged(_)) {
                        self.counters.damaged.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(%error, "a change met a damaged row, and was refused");
                    }
                    for answer in answers {
                        let _ = answer.send(Err(error.clone().into()));
                    }
                    return;
                }
            }
        }
    }

    /// Sets the time at which the bytes that these changes removed are tidied at the latest.
    fn schedule_tidy(&mut self, changes: &[Change]) {
        let within = |change: &Change| match change {
            Change::Create {
                admission: Admission::Anyone,
                ..
            }
            | Change::Probe => None,
            // An invited create removes the invite with its note.
            Change::Create { .. } | Change::ReplaceIf { .. } | Change::Expire { .. } => {
                Some(TIDY_REPLACED)
            }
            Change::Delete { .. } => Some(TIDY_DELETED),
        };
        if let Some(within) = changes.iter().filter_map(within).min() {
            let at = Instant::now() + within;
            self.tidy_at = Some(self.tidy_at.map_or(at, |before| before.min(at)));
        }
    }

    fn commit_once(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
        self.pulse.begin_step();
        if self.is_failed {
            return Err(EngineError::Failed("an earlier commit failed".to_owned()));
        }
        let error = match self.engine.commit(changes) {
            Err(error) if error.is_fatal() => error,
            Ok(outcomes) if !are_answers(&outcomes, changes) => {
                EngineError::Failed("the outcomes do not match the changes".to_owned())
            }
            other => return other,
        };
        self.fail(&error);
        Err(error)
    }

    fn fail(&mut self, error: &EngineError) {
        self.is_failed = true;
        self.pulse.is_failed.store(true, Ordering::Relaxed);
        (self.on_fatal)(&StoreError::Engine(error.clone()));
    }
}

/// How long to wait for so many changes. With more of them the wait is longer, because the disk may
/// take less time for a flush than they take to come.
fn window(announced: usize) -> Duration {
    let times = u32::try_from(announced.div_ceil(ANNOUNCED)).unwrap_or(u32::MAX);
    WINDOW.saturating_mul(times).min(WINDOW_MAX)
}

fn are_answers(outcomes: &[Outcome], changes: &[Change]) -> bool {
    let mut pairs = outcomes.iter().zip(changes);
    outcomes.len() == changes.len() && pairs.all(|(outcome, change)| outcome.is_answer_to(change))
}

fn zip_jobs(
    changes: Vec<Change>,
    answers: Vec<oneshot::Sender<Result<Outcome, StoreError>>>,
) -> impl Iterator<Item = Job> {
    changes
        .into_iter()
        .zip(answers)
        .map(|(change, answer)| Job { change, answer })
}

fn btoken_len(change: &Change) -> usize {
    match change {
        Change::Create { btoken, .. } | Change::ReplaceIf { btoken, .. } => btoken.bytes().len(),
        Change::Delete { .. } | Change::Expire { .. } | Change::Probe => 0,
    }
}
