//! The adapter between connections, which wait, and an engine, which blocks.
//!
//! One thread owns the engine. It takes every change that is waiting into one transaction, so that
//! a hundred devices share one flush of the disk. Who waits is told after the commit, never before.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;
use passmate_proto::AccountNumber;
use tokio::sync::{Semaphore, oneshot};

use super::in_place::InPlace;
use super::writer::{Job, TIDY_DELETED, Writer};
use super::{
    Admission, AuthHash, Btoken, BtokenHash, Change, Committed, Engine, EngineError, Head, Outcome,
    Reader, Sqlite, StoreError, Stored,
};

/// Reads that run at the same time; more would only wait for the same disk.
const READERS: usize = 4;
/// Up to this length a btoken may be read in place, in bytes.
const READ_IN_PLACE_MAX: usize = 64 << 10;
/// A store that any number of connections use at the same time; clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Mutex<Vec<Box<dyn Reader>>>,
    readers_free: Arc<Semaphore>,
    in_place: InPlace,
    expected: Arc<AtomicUsize>,
    is_closing: Arc<AtomicBool>,
    counted: Arc<Counted>,
}

/// What commits came to since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Commits {
    /// Transactions that were flushed.
    pub transactions: u64,
    /// Changes in them.
    pub changes: u64,
    /// Changes that wait for one now.
    pub waiting: u64,
    /// Btokens that were read and were not what was stored.
    pub damaged: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) transactions: AtomicU64,
    pub(super) changes: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) damaged: AtomicU64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the embedded store, or makes it.
    ///
    /// `on_fatal` is called on the store's own thread when a commit failed in a way after which
    /// nobody can say what the disk holds. The process should end then; nothing is confirmed any
    /// more.
    ///
    /// # Errors
    /// What keeps it from being used; see [`StoreError`].
    pub fn open_sqlite(
        path: &Path,
        on_fatal: impl Fn(&StoreError) + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        Self::start(Sqlite::open(path)?, on_fatal)
    }

    /// Puts an engine on a thread of its own.
    ///
    /// # Errors
    /// The engine has no readers to give, or the system has no thread.
    pub fn start<E: Engine>(
        engine: E,
        on_fatal: impl Fn(&StoreError) + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let mut readers: Vec<Box<dyn Reader>> = Vec::new();
        for _ in 0..READERS {
            readers.push(Box::new(engine.reader()?));
        }
        let (jobs, waiting) = mpsc::channel();
        let expected = Arc::new(AtomicUsize::new(0));
        let is_closing = Arc::new(AtomicBool::new(false));
        let counted = Arc::new(Counted::default());
        let mut writer = Writer {
            engine,
            on_fatal,
            is_failed: false,
            // The last process may have been killed before it came to that.
            tidy_at: Some(Instant::now() + TIDY_DELETED),
            expected: Arc::clone(&expected),
            is_closing: Arc::clone(&is_closing),
            counted: Arc::clone(&counted),
        };
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|error| EngineError::Failed(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
            readers: Mutex::new(readers),
            readers_free: Arc::new(Semaphore::new(READERS)),
            in_place: InPlace::new()?,
            expected,
            is_closing,
            counted,
        })))
    }

    /// Makes an account, or finds the one that this auth token was let into a moment ago. The
    /// answer is its number with the receipt, or why there is none.
    pub async fn create(
        &self,
        account: AccountNumber,
        auth: AuthHash,
        btoken: Btoken,
        accounts_max: u64,
        admission: Admission,
        at: i64,
    ) -> Result<Result<(AccountNumber, Committed), Outcome>, StoreError> {
        let made = self
            .change(Change::Create {
                account,
                auth,
                btoken,
                accounts_max,
                admission,
                at,
            })
            .await?;
        Ok(made.map(|(outcome, committed)| match outcome {
            Outcome::Again(before) => (before, committed),
            _ => (account, committed),
        }))
    }

    /// Replaces the btoken if `expected` is still the hash of what is stored.
    ///
    /// [`Outcome::Stale`] changed nothing: another device was faster, or the account is gone.
    pub async fn replace_if(
        &self,
        account: AccountNumber,
        expected: BtokenHash,
        btoken: Btoken,
        at: i64,
    ) -> Result<Result<Committed, Outcome>, StoreError> {
        self.change(Change::ReplaceIf {
            account,
            expected,
            btoken,
            at,
        })
        .await
        .map(receipt)
    }

    /// Deletes an account.
    pub async fn delete(
        &self,
        account: AccountNumber,
        auth: AuthHash,
    ) -> Result<Result<Committed, Outcome>, StoreError> {
        self.change(Change::Delete { account, auth })
            .await
            .map(receipt)
    }

    /// Forgets invites and open seats whose time is over.
    pub async fn expire(&self, at: i64) -> Result<(), StoreError> {
        self.change(Change::Expire { at }).await.map(drop)
    }

    /// Writes what is there already and reads it: whether the disk takes a commit.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.change(Change::Probe)
            .await?
            .map(drop)
            .map_err(|_| StoreError::Closed)?;
        self.read_head([0; 8]).await.map(drop)
    }

    /// What commits came to since the start.
    #[must_use]
    pub fn commits(&self) -> Commits {
        let Counted {
            transactions,
            changes,
            waiting,
            damaged,
        } = &*self.0.counted;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Commits {
            transactions: read(transactions),
            changes: read(changes),
            waiting: read(waiting),
            damaged: read(damaged),
        }
    }

    /// What is known of an account without its btoken.
    pub async fn read_head(&self, account: [u8; 8]) -> Result<Option<Head>, StoreError> {
        self.read_with(0, move |reader| reader.read_head(&account))
            .await
    }

    /// The btoken of an account, which is about `len` bytes long.
    pub async fn read(
        &self,
        account: AccountNumber,
        len: usize,
    ) -> Result<Option<Stored>, StoreError> {
        self.read_with(len, move |reader| reader.read(account))
            .await
    }

    /// Says that a change is likely to come soon. Until that is dropped or given to the change, a
    /// commit waits a moment for it.
    #[must_use]
    pub fn expect(&self) -> Expected {
        Expected::new(&self.0.expected)
    }

    /// Finishes what is waiting and closes the engine.
    ///
    /// What cannot be finished because another process holds the store is answered with
    /// [`EngineError::Busy`].
    pub async fn close(&self) {
        self.0.jobs.lock().take();
        self.0.is_closing.store(true, Ordering::Relaxed);
        let writer = self.0.writer.lock().take();
        let inner = Arc::clone(&self.0);
        let _ = tokio::task::spawn_blocking(move || {
            // Readers first: the engine tidies up when it is the last one.
            inner.readers.lock().clear();
            writer.map(JoinHandle::join)
        })
        .await;
    }

    async fn change(
        &self,
        change: Change,
    ) -> Result<Result<(Outcome, Committed), Outcome>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.0.jobs.lock().clone().ok_or(StoreError::Closed)?;
        let _waiting = Waiting::new(&self.0.counted);
        jobs.send(Job { change, answer })
            .map_err(|_| StoreError::Closed)?;
        // The engine's commit has returned when an outcome comes: this is where the receipt is
        // made.
        match answered.await.map_err(|_| StoreError::Closed)?? {
            done @ (Outcome::Done | Outcome::Again(_)) => Ok(Ok((done, Committed::new()))),
            other => Ok(Err(other)),
        }
    }

    /// Reads about `len` bytes and what is known of them.
    async fn read_with<T: Send + 'static>(
        &self,
        len: usize,
        read: impl FnOnce(&mut dyn Reader) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if len <= READ_IN_PLACE_MAX
            && let Some(_in_place) = self.0.in_place.begin_soon().await
            && let Ok(_permit) = self.0.readers_free.try_acquire()
        {
            return self.0.with_reader(read);
        }
        let free = Arc::clone(&self.0.readers_free).acquire_owned();
        let permit = free.await.map_err(|_| StoreError::Closed)?;
        let inner = Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || {
            let result = inner.with_reader(read);
            // Who asked may be gone by now: the place is free when the reader is back, and not
            // before.
            drop(permit);
            result
        });
        read.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Inner {
    fn with_reader<T>(
        &self,
        read: impl FnOnce(&mut dyn Reader) -> Result<T, EngineError>,
    ) -> Result<T, StoreError> {
        let mut reader = self.readers.lock().pop().ok_or(StoreError::Closed)?;
        let result = read(reader.as_mut());
        self.readers.lock().push(reader);
        if matches!(result, Err(EngineError::Damaged(_))) {
            self.counted.damaged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(result?)
    }
}

fn receipt(answer: Result<(Outcome, Committed), Outcome>) -> Result<Committed, Outcome> {
    answer.map(|(_, committed)| committed)
}

/// A change that waits, for as long as this is.
struct Waiting<'a>(&'a Counted);

impl<'a> Waiting<'a> {
    fn new(counted: &'a Counted) -> Self {
        counted.waiting.fetch_add(1, Ordering::Relaxed);
        Self(counted)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A change that is likely to come; see [`Store::expect`].
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
