//! The thread that owns an engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::handle::Counted;
use super::{Admission, Change, Engine, EngineError, Outcome, StoreError};

/// The most changes in one transaction, and the most bytes of btokens in it: a bound on how long
/// the first waits.
const BATCH_MAX: usize = 512;

const BATCH_BYTES_MAX: usize = 64 << 20;

/// How long a commit waits for changes that are likely to come, so that they share its flush.
const WINDOW: Duration = Duration::from_micros(300);

/// What was deleted or replaced is tidied away when nothing came for this long.
pub(super) const TIDY_IDLE: Duration = Duration::from_secs(1);

/// In any case what was deleted is tidied away after this time, and a try that failed is made
/// again.
pub(super) const TIDY_DELETED: Duration = Duration::from_secs(5);

/// In any case what was replaced is. A log that begins anew has to grow again, and each flush is
/// slower until it has.
const TIDY_REPLACED: Duration = Duration::from_secs(60);

/// Between two tries while another process holds the database.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// A change, and who waits for its outcome.
pub(super) struct Job {
    pub(super) change: Change,
    pub(super) answer: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// The thread that owns the engine.
pub(super) struct Writer<E, F> {
    pub(super) engine: E,
    pub(super) on_fatal: F,
    pub(super) is_failed: bool,
    /// When to tidy at the latest, if something that was deleted or replaced may still be there.
    pub(super) tidy_at: Option<Instant>,
    /// Changes that are likely to come soon and have not come.
    pub(super) expected: Arc<AtomicUsize>,
    /// Nobody is waited for any more.
    pub(super) is_closing: Arc<AtomicBool>,
    pub(super) counted: Arc<Counted>,
}

impl<E: Engine, F: Fn(&StoreError)> Writer<E, F> {
    pub(super) fn run(&mut self, waiting: &mpsc::Receiver<Job>) {
        while let Some(first) = self.next(waiting) {
            // Nobody waits for others where there are none: one device alone is confirmed at once.
            if self.expected.load(Ordering::Relaxed) > 0 {
                std::thread::sleep(WINDOW);
            }
            let mut bytes = len_of(&first.change);
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
                let Ok(next) = waiting.try_recv() else { break };
                bytes += len_of(&next.change);
                batch.push(next);
            }
            self.commit(batch);
            if self.tidy_at.is_some_and(|at| at <= Instant::now()) {
                self.tidy();
            }
        }
    }

    /// The next change, and until it comes what is to be done when there is none. `None`: none will
    /// come.
    fn next(&mut self, waiting: &mpsc::Receiver<Job>) -> Option<Job> {
        while self.tidy_at.is_some() {
            match waiting.recv_timeout(TIDY_IDLE) {
                Ok(job) => return Some(job),
                Err(mpsc::RecvTimeoutError::Timeout) => self.tidy(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
        waiting.recv().ok()
    }

    fn tidy(&mut self) {
        if self.is_failed {
            self.tidy_at = None;
            return;
        }
        self.tidy_at = match self.engine.tidy() {
            Ok(()) => None,
            // Somebody reads, or there is no room: another time.
            Err(EngineError::Busy | EngineError::Full) => Some(Instant::now() + TIDY_DELETED),
            Err(error) => {
                self.fail(&error);
                None
            }
        };
    }

    fn commit(&mut self, mut batch: Vec<Job>) {
        loop {
            // Who is gone before it began does not want it any more. So a store that stays busy
            // keeps a change no longer than its client's session lasts.
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
                    self.counted.transactions.fetch_add(1, Ordering::Relaxed);
                    self.counted
                        .changes
                        .fetch_add(changes.len() as u64, Ordering::Relaxed);
                    self.note_removed(&changes);
                    for (outcome, answer) in outcomes.into_iter().zip(answers) {
                        // A client that is gone finds out with its next fetch.
                        let _ = answer.send(Ok(outcome));
                    }
                    return;
                }
                Err(EngineError::Busy) if !self.is_closing.load(Ordering::Relaxed) => {
                    batch = jobs(changes, answers).collect();
                    std::thread::sleep(BUSY_PAUSE);
                }
                // One that does not fit must not keep out the others.
                Err(EngineError::Full) if changes.len() > 1 => {
                    jobs(changes, answers).for_each(|job| self.commit(vec![job]));
                    return;
                }
                Err(error) => {
                    for answer in answers {
                        let _ = answer.send(Err(error.clone().into()));
                    }
                    return;
                }
            }
        }
    }

    /// Sees to it that what these changes removed is tidied up in time.
    fn note_removed(&mut self, changes: &[Change]) {
        let within = |change: &Change| match change {
            Change::Create {
                admission: Admission::Anyone,
                ..
            }
            | Change::Probe => None,
            // An invite goes with its note.
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
        if self.is_failed {
            return Err(EngineError::Failed("it failed before".to_owned()));
        }
        let error = match self.engine.commit(changes) {
            Err(error @ (EngineError::Failed(_) | EngineError::Damaged(_))) => error,
            Ok(outcomes) if outcomes.len() != changes.len() => {
                EngineError::Failed("not as many outcomes as changes".to_owned())
            }
            other => return other,
        };
        self.fail(&error);
        Err(error)
    }

    fn fail(&mut self, error: &EngineError) {
        self.is_failed = true;
        (self.on_fatal)(&StoreError::Engine(error.clone()));
    }
}

fn jobs(
    changes: Vec<Change>,
    answers: Vec<oneshot::Sender<Result<Outcome, StoreError>>>,
) -> impl Iterator<Item = Job> {
    changes
        .into_iter()
        .zip(answers)
        .map(|(change, answer)| Job { change, answer })
}

fn len_of(change: &Change) -> usize {
    match change {
        Change::Create { btoken, .. } | Change::ReplaceIf { btoken, .. } => btoken.bytes().len(),
        Change::Delete { .. } | Change::Expire { .. } | Change::Probe => 0,
    }
}
