//! The store as connections see it: any number of them wait, while the engine blocks.
//!
//! Changes go to a [writer](super::writer), which groups them into transactions. A caller gets
//! its answer after the commit, never before. Reads go to a pool of [readers](super::readers).

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use passmate_proto::AccountNumber;
use tokio::sync::oneshot;

use super::readers::{READ_IN_PLACE_MAX, Readers};
use super::writer::{Job, Pulse, Writer};
use super::{
    Admission, Audited, AuthHash, Btoken, Change, Committed, Created, Deleted, Engine, EngineError,
    Head, Notes, Outcome, Replaced, Revision, StoreError, Stored,
};
use crate::clock::day_of;

/// The most accounts whose last sync waits to be written down. Further ones are noted later.
const NOTES_MAX: usize = 4096;

/// A store that any number of connections use at the same time. Clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<StoreInner>);

struct StoreInner {
    /// None once the store is closed.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    writers: Mutex<Vec<RunningWriter>>,
    readers: Arc<Readers>,
    expected: Arc<AtomicUsize>,
    is_closing: Arc<AtomicBool>,
    counters: Arc<CommitCounters>,
    /// What a writer will write down.
    notes: Arc<Mutex<Notes>>,
    /// Set while the store cannot be reached.
    outage: Option<Arc<AtomicBool>>,
}

/// A writer thread.
struct RunningWriter {
    thread: JoinHandle<()>,
    pulse: Arc<Pulse>,
    /// See [`Engine::step_time_max`].
    step_time_max: Duration,
}

/// Numbers about commits since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Commits {
    /// Transactions that were flushed.
    pub transactions: u64,
    /// Changes in those transactions.
    pub changes: u64,
    /// Changes that wait for a transaction now.
    pub waiting: u64,
    /// Btokens whose bytes did not match their stored checksum when they were read, and changes that met
    /// a damaged row.
    pub damaged: u64,
}

#[derive(Debug, Default)]
pub(super) struct CommitCounters {
    pub(super) transactions: AtomicU64,
    pub(super) changes: AtomicU64,
    /// Changes that met a damaged row.
    pub(super) damaged: AtomicU64,
    waiting: AtomicU64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Starts the writer threads of an engine, and opens its readers.
    ///
    /// `on_fatal` is called on a writer thread when a commit failed and the state of the disk is
    /// unknown, or when the thread panicked. The process should end then; nothing is confirmed any
    /// more.
    ///
    /// # Errors
    /// The engine cannot open a reader, or the system cannot start a thread.
    pub fn start<E: Engine>(
        engine: E,
        on_fatal: impl Fn(&StoreError) + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let readers = Arc::new(Readers::open(&engine)?);
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let expected = Arc::new(AtomicUsize::new(0));
        let is_closing = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(CommitCounters::default());
        let notes = Arc::new(Mutex::new(Notes::default()));
        let on_fatal = Arc::new(on_fatal);
        let mut writers = Vec::new();
        let outage = engine.outage();
        let mut engines = engine.more_writers();
        engines.push(engine);
        for engine in engines {
            let pulse = Arc::new(Pulse::default());
            let step_time_max = engine.step_time_max();
            let (on_fatal, on_panic) = (Arc::clone(&on_fatal), Arc::clone(&on_fatal));
            let mut writer = Writer::new(
                engine,
                move |error: &StoreError| on_fatal(error),
                Arc::clone(&expected),
                Arc::clone(&is_closing),
                Arc::clone(&counters),
                Arc::clone(&notes),
                Arc::clone(&pulse),
            );
            let waiting = Arc::clone(&waiting);
            let thread = std::thread::Builder::new()
                .name("store".to_owned())
                .spawn(move || {
                    if catch_unwind(AssertUnwindSafe(|| writer.run(&waiting))).is_err() {
                        on_panic(&StoreError::WriterEnded);
                    }
                })
                .map_err(|error| EngineError::Failed(error.to_string()))?;
            writers.push(RunningWriter {
                thread,
                pulse,
                step_time_max,
            });
        }
        Ok(Self(Arc::new(StoreInner {
            jobs: Mutex::new(Some(jobs)),
            writers: Mutex::new(writers),
            readers,
            expected,
            is_closing,
            counters,
            notes,
            outage,
        })))
    }

    /// Whether the store cannot be reached at the moment. Whoever comes now is better refused at
    /// once.
    pub(crate) fn is_out(&self) -> bool {
        let outage = self.0.outage.as_ref();
        outage.is_some_and(|outage| outage.load(Ordering::SeqCst))
    }

    /// Makes an account; see [`Change::Create`].
    pub async fn create(
        &self,
        account: AccountNumber,
        auth: AuthHash,
        btoken: Btoken,
        accounts_max: u64,
        admission: Admission,
        at: i64,
    ) -> Result<Created<Committed>, StoreError> {
        let change = Change::Create {
            account,
            auth,
            btoken,
            accounts_max,
            admission,
            at,
        };
        match self.change(change).await? {
            Outcome::Created(Created::Done(account, ())) => {
                Ok(Created::Done(account, Committed(())))
            }
            Outcome::Created(Created::NumberTaken) => Ok(Created::NumberTaken),
            Outcome::Created(Created::AccountsMax) => Ok(Created::AccountsMax),
            Outcome::Created(Created::NotInvited) => Ok(Created::NotInvited),
            other => Err(wrong_outcome(other)),
        }
    }

    /// Replaces the btoken of an account if `expected` is still the hash of the stored one.
    pub async fn replace_if(
        &self,
        account: AccountNumber,
        expected: Revision,
        btoken: Btoken,
        at: i64,
    ) -> Result<Replaced<Committed>, StoreError> {
        let change = Change::ReplaceIf {
            account,
            expected,
            btoken,
            at,
        };
        match self.change(change).await? {
            Outcome::Replaced(Replaced::Done(())) => Ok(Replaced::Done(Committed(()))),
            Outcome::Replaced(Replaced::Stale) => Ok(Replaced::Stale),
            other => Err(wrong_outcome(other)),
        }
    }

    /// Deletes an account if it still has this auth token.
    pub async fn delete(
        &self,
        account: AccountNumber,
        auth: AuthHash,
    ) -> Result<Deleted<Committed>, StoreError> {
        match self.change(Change::Delete { account, auth }).await? {
            Outcome::Deleted(Deleted::Done(())) => Ok(Deleted::Done(Committed(()))),
            Outcome::Deleted(Deleted::Gone) => Ok(Deleted::Gone),
            other => Err(wrong_outcome(other)),
        }
    }

    /// Removes invites and open seats that have expired.
    pub async fn expire(&self, at: i64) -> Result<(), StoreError> {
        self.change(Change::Expire { at }).await.map(drop)
    }

    /// Commits an unchanged value and reads, to find out whether the disk works.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.change(Change::Probe).await?;
        self.read_head([0; 8]).await.map(drop)
    }

    /// Whether the writer threads are there, work as they should, and do not hang in one step for
    /// longer than `most`. It waits for nothing and writes nothing. A closed store is no fault.
    #[must_use]
    pub fn is_alive(&self, most: Duration) -> bool {
        let writers = self.0.writers.lock();
        let mut each = writers.iter();
        each.all(|writer| {
            let most = most.max(writer.step_time_max);
            !writer.thread.is_finished() && writer.pulse.is_felt(most)
        })
    }

    #[must_use]
    pub fn commits(&self) -> Commits {
        let CommitCounters {
            transactions,
            changes,
            damaged,
            waiting,
        } = &*self.0.counters;
        Commits {
            transactions: transactions.load(Ordering::Relaxed),
            changes: changes.load(Ordering::Relaxed),
            waiting: waiting.load(Ordering::Relaxed),
            damaged: self.0.readers.damaged() + damaged.load(Ordering::Relaxed),
        }
    }

    /// Reads what the store knows about an account, without its btoken.
    pub async fn read_head(&self, account: [u8; 8]) -> Result<Option<Head>, StoreError> {
        self.0
            .readers
            .read(0, move |reader| reader.read_head(&account))
            .await
    }

    /// Reads the btoken of an account. `len` is its approximate length in bytes.
    pub async fn read(
        &self,
        account: AccountNumber,
        len: usize,
    ) -> Result<Option<Stored>, StoreError> {
        self.0
            .readers
            .read(len, move |reader| reader.read(account))
            .await
    }

    /// Reads what the store knows about an account, and its btoken in the same step if it is short
    /// and `lease` returns something, which is held for the memory of the btoken.
    pub async fn read_if<L: Send + 'static>(
        &self,
        account: [u8; 8],
        lease: impl FnOnce(&Head) -> Option<L> + Send + 'static,
    ) -> Result<Option<(Head, Option<(Stored, L)>)>, StoreError> {
        self.0
            .readers
            .read(0, move |reader| {
                let (mut lease, mut leased) = (Some(lease), None);
                let read = reader.read_if(&account, &mut |head| {
                    let is_short = head.btoken_len <= READ_IN_PLACE_MAX as u64;
                    leased = lease
                        .take()
                        .filter(|_| is_short)
                        .and_then(|lease| lease(head));
                    leased.is_some()
                })?;
                Ok(read.map(|(head, stored)| (head, stored.zip(leased))))
            })
            .await
    }

    /// Reads what operators did; see [`Reader::read_audit`](super::Reader::read_audit).
    pub async fn read_audit(&self, after: Option<i64>) -> Result<Vec<Audited>, StoreError> {
        self.0
            .readers
            .read(0, move |reader| reader.read_audit(after))
            .await
    }

    /// Notes that all records of operators up to this one are in the log.
    pub fn note_logged(&self, id: i64) {
        self.0.notes.lock().audit_logged = Some(id);
    }

    /// Notes that a device has fetched the btoken of an account. It is written down at most once a
    /// day, and costs the device nothing.
    pub fn note_sync(&self, account: AccountNumber, head: &Head, at: i64) {
        if head.synced_at.is_some_and(|day| day >= day_of(at)) {
            return;
        }
        let mut notes = self.0.notes.lock();
        if notes.synced.len() < NOTES_MAX {
            notes.synced.insert(account, at);
        }
    }

    /// Announces that a change is likely to come soon. A commit waits a moment for announced
    /// changes, until the announcement is dropped.
    #[must_use]
    pub fn expect(&self) -> Expected {
        Expected::new(&self.0.expected)
    }

    /// Finishes the waiting changes and closes the engine.
    ///
    /// Changes that cannot be made because another process holds the store are answered with
    /// [`EngineError::Busy`].
    pub async fn close(&self) {
        self.0.jobs.lock().take();
        self.0.is_closing.store(true, Ordering::Relaxed);
        let writers = std::mem::take(&mut *self.0.writers.lock());
        let readers = Arc::clone(&self.0.readers);
        let _ = tokio::task::spawn_blocking(move || {
            // Readers first: the last connection to the database empties its log.
            readers.close();
            writers.into_iter().for_each(|writer| {
                let _ = writer.thread.join();
            });
        })
        .await;
    }

    async fn change(&self, change: Change) -> Result<Outcome, StoreError> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.0.jobs.lock().clone().ok_or(StoreError::Closed)?;
        let _waiting = Waiting::new(&self.0.counters);
        jobs.send(Job { change, answer })
            .map_err(|_| StoreError::WriterEnded)?;
        match answered.await.map_err(|_| StoreError::WriterEnded)?? {
            Outcome::Unknown => Err(StoreError::OutcomeUnknown),
            outcome => Ok(outcome),
        }
    }
}

/// The writer rejects outcomes of the wrong kind, so this is a bug.
fn wrong_outcome(outcome: Outcome) -> StoreError {
    EngineError::Failed(format!("{outcome:?} answers another kind of change")).into()
}

/// Counts a change as waiting for as long as this exists.
struct Waiting<'a>(&'a CommitCounters);

impl<'a> Waiting<'a> {
    fn new(counters: &'a CommitCounters) -> Self {
        counters.waiting.fetch_add(1, Ordering::Relaxed);
        Self(counters)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The announcement of a change; see [`Store::expect`].
#[derive(Debug)]
pub struct Expected(Arc<AtomicUsize>);

impl Expected {
    fn new(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(all))
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
