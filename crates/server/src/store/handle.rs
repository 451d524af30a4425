//! The adapter between connections, which wait, and an engine, which blocks.
//!
//! One thread owns the engine. It takes every change that is waiting into one transaction, so that
//! a hundred devices share one flush of the disk. Who waits is told after the commit, never before.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use passmate_proto::AccountNumber;
use tokio::sync::{Semaphore, oneshot};

use super::in_place::InPlace;
use super::{
    Admission, AuthHash, Btoken, BtokenHash, Change, Committed, Engine, EngineError, Head, Outcome,
    Reader, Sqlite,
};
use super::{StoreError, Stored};

/// The most changes in one transaction, and the most bytes of btokens in it: a bound on how long
/// the first waits.
const BATCH_MAX: usize = 512;
const BATCH_BYTES_MAX: usize = 64 << 20;
/// Reads that run at the same time; more would only wait for the same disk.
const READERS: usize = 4;
/// How long a commit waits for changes that are likely to come, so that they share its flush.
const WINDOW: Duration = Duration::from_micros(300);
/// Up to this length a btoken may be read in place, in bytes.
const READ_IN_PLACE_MAX: usize = 64 << 10;
/// What was deleted or replaced is tidied away when nothing came for this long.
const TIDY_IDLE: Duration = Duration::from_secs(1);
/// In any case what was deleted is tidied away after this time, and a try that failed is made
/// again.
const TIDY_DELETED: Duration = Duration::from_secs(5);
/// In any case what was replaced is. A log that begins anew has to grow again, and each flush is
/// slower until it has.
const TIDY_REPLACED: Duration = Duration::from_secs(60);
/// Between two tries while another process holds the database.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

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
struct Counted {
    transactions: AtomicU64,
    changes: AtomicU64,
    waiting: AtomicU64,
    damaged: AtomicU64,
}

/// A change, and who waits for its outcome.
struct Job {
    change: Change,
    answer: oneshot::Sender<Result<Outcome, StoreError>>,
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
        lock(&self.0.jobs).take();
        self.0.is_closing.store(true, Ordering::Relaxed);
        let writer = lock(&self.0.writer).take();
        let inner = Arc::clone(&self.0);
        let _ = tokio::task::spawn_blocking(move || {
            // Readers first: the engine tidies up when it is the last one.
            lock(&inner.readers).clear();
            writer.map(JoinHandle::join)
        })
        .await;
    }

    async fn change(
        &self,
        change: Change,
    ) -> Result<Result<(Outcome, Committed), Outcome>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let jobs = lock(&self.0.jobs).clone().ok_or(StoreError::Closed)?;
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
        let mut reader = lock(&self.readers).pop().ok_or(StoreError::Closed)?;
        let result = read(reader.as_mut());
        lock(&self.readers).push(reader);
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

/// The data behind the lock is whole at every moment, so a panic elsewhere does not make it
/// useless.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that owns the engine.
struct Writer<E, F> {
    engine: E,
    on_fatal: F,
    is_failed: bool,
    /// When to tidy at the latest, if something that was deleted or replaced may still be there.
    tidy_at: Option<Instant>,
    /// Changes that are likely to come soon and have not come.
    expected: Arc<AtomicUsize>,
    /// Nobody is waited for any more.
    is_closing: Arc<AtomicBool>,
    counted: Arc<Counted>,
}

impl<E: Engine, F: Fn(&StoreError)> Writer<E, F> {
    fn run(&mut self, waiting: &mpsc::Receiver<Job>) {
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

#[cfg(test)]
mod tests {

    use passmate_proto::AuthToken;

    use super::*;

    /// Answers from a script and notes the sizes of the batches.
    struct Scripted {
        answers: Vec<Result<(), EngineError>>,
        batches: Arc<Mutex<Vec<usize>>>,
        gate: Option<mpsc::Receiver<()>>,
    }

    struct NoReader;

    impl Reader for NoReader {
        fn read_head(&mut self, _: &[u8; 8]) -> Result<Option<Head>, EngineError> {
            Ok(None)
        }

        fn read(&mut self, _: AccountNumber) -> Result<Option<Stored>, EngineError> {
            Ok(None)
        }
    }

    impl Engine for Scripted {
        type Reader = NoReader;

        fn reader(&self) -> Result<NoReader, EngineError> {
            Ok(NoReader)
        }

        fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
            if let Some(gate) = &self.gate {
                gate.recv().unwrap();
            }
            lock(&self.batches).push(changes.len());
            let answer = if self.answers.is_empty() {
                Ok(())
            } else {
                self.answers.remove(0)
            };
            answer.map(|()| vec![Outcome::Done; changes.len()])
        }

        fn tidy(&mut self) -> Result<(), EngineError> {
            Ok(())
        }
    }

    /// An engine whose reads take that long.
    struct Sleeper(Duration);

    struct SleepyReader(Duration);

    impl Engine for Sleeper {
        type Reader = SleepyReader;

        fn reader(&self) -> Result<SleepyReader, EngineError> {
            Ok(SleepyReader(self.0))
        }

        fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
            Ok(vec![Outcome::Done; changes.len()])
        }

        fn tidy(&mut self) -> Result<(), EngineError> {
            Ok(())
        }
    }

    impl Reader for SleepyReader {
        fn read_head(&mut self, _: &[u8; 8]) -> Result<Option<Head>, EngineError> {
            std::thread::sleep(self.0);
            Ok(None)
        }

        fn read(&mut self, _: AccountNumber) -> Result<Option<Stored>, EngineError> {
            std::thread::sleep(self.0);
            Ok(None)
        }
    }

    async fn delete(store: Store) -> Result<Result<Committed, Outcome>, StoreError> {
        store
            .delete(
                AccountNumber::from_bytes([1; 8]).unwrap(),
                AuthHash::of(&AuthToken::new([0; 32])),
            )
            .await
    }

    #[tokio::test]
    async fn changes_that_wait_share_one_commit() {
        let (open, gate) = mpsc::channel();
        let batches = Arc::new(Mutex::new(Vec::new()));
        let engine = Scripted {
            answers: Vec::new(),
            batches: Arc::clone(&batches),
            gate: Some(gate),
        };
        let store = Store::start(engine, |_| {}).unwrap();
        let first = tokio::spawn(delete(store.clone()));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let others: Vec<_> = (0..40)
            .map(|_| tokio::spawn(delete(store.clone())))
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!first.is_finished(), "confirmed before the commit");
        open.send(()).unwrap();
        open.send(()).unwrap();
        first.await.unwrap().unwrap().unwrap();
        for other in others {
            other.await.unwrap().unwrap().unwrap();
        }
        assert_eq!(*lock(&batches), [1, 40]);
    }

    #[tokio::test]
    async fn after_a_commit_that_failed_nothing_is_confirmed_any_more_and_the_process_is_told_once()
    {
        let failed = Err(EngineError::Failed("fsync".to_owned()));
        let engine = Scripted {
            answers: vec![Ok(()), failed],
            batches: Arc::default(),
            gate: None,
        };
        let told = Arc::new(AtomicUsize::new(0));
        let telling = Arc::clone(&told);
        let on_fatal = move |_: &StoreError| {
            telling.fetch_add(1, Ordering::Relaxed);
        };
        let store = Store::start(engine, on_fatal).unwrap();
        delete(store.clone()).await.unwrap().unwrap();
        for _ in 0..3 {
            assert!(matches!(
                delete(store.clone()).await,
                Err(StoreError::Engine(EngineError::Failed(_)))
            ));
        }
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
        let (open, gate) = mpsc::channel();
        let batches = Arc::new(Mutex::new(Vec::new()));
        // The first alone; then three together, which do not fit; then each of them, of which one
        // does not.
        let answers = vec![
            Ok(()),
            Err(EngineError::Full),
            Ok(()),
            Err(EngineError::Full),
            Ok(()),
        ];
        let engine = Scripted {
            answers,
            batches: Arc::clone(&batches),
            gate: Some(gate),
        };
        let store = Store::start(engine, |_| {}).unwrap();
        let first = tokio::spawn(delete(store.clone()));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let others: Vec<_> = (0..3)
            .map(|_| tokio::spawn(delete(store.clone())))
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        (0..5).for_each(|_| open.send(()).unwrap());
        first.await.unwrap().unwrap().unwrap();
        let mut refused = 0;
        for other in others {
            match other.await.unwrap() {
                Err(StoreError::Engine(EngineError::Full)) => refused += 1,
                other => drop(other.unwrap().unwrap()),
            }
        }
        assert_eq!(
            (refused, lock(&batches).as_slice()),
            (1, [1, 3, 1, 1, 1].as_slice())
        );
    }

    #[tokio::test]
    async fn a_busy_store_is_waited_for() {
        let answers = vec![Err(EngineError::Busy), Err(EngineError::Busy), Ok(())];
        let engine = Scripted {
            answers,
            batches: Arc::default(),
            gate: None,
        };
        let store = Store::start(engine, |_| {}).unwrap();
        delete(store).await.unwrap().unwrap();
    }

    /// Another process holds its store for ever.
    struct Held;

    impl Engine for Held {
        type Reader = NoReader;

        fn reader(&self) -> Result<NoReader, EngineError> {
            Ok(NoReader)
        }

        fn commit(&mut self, _: &[Change]) -> Result<Vec<Outcome>, EngineError> {
            Err(EngineError::Busy)
        }

        fn tidy(&mut self) -> Result<(), EngineError> {
            Err(EngineError::Busy)
        }
    }

    #[tokio::test]
    async fn a_store_that_stays_busy_closes_and_says_so_to_who_waits() {
        let store = Store::start(Held, |_| {}).unwrap();
        let waiting = tokio::spawn(delete(store.clone()));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(
            !waiting.is_finished(),
            "busy is waited for while nobody closes"
        );
        tokio::time::timeout(Duration::from_secs(5), store.close())
            .await
            .unwrap();
        assert!(matches!(
            waiting.await.unwrap(),
            Err(StoreError::Engine(EngineError::Busy))
        ));
    }

    #[tokio::test]
    async fn a_store_that_stays_busy_forgets_who_waits_no_longer() {
        let store = Store::start(Held, |_| {}).unwrap();
        let change = || async {
            let waited =
                tokio::time::timeout(Duration::from_millis(100), delete(store.clone())).await;
            assert!(waited.is_err());
        };
        change().await;
        change().await;
        // The writer waits for work again: it ends as soon as there is none to come.
        lock(&store.0.jobs).take();
        let writer = lock(&store.0.writer).take().unwrap();
        let begun = Instant::now();
        while !writer.is_finished() {
            assert!(begun.elapsed() < Duration::from_secs(5), "it still tries");
            tokio::time::sleep(BUSY_PAUSE).await;
        }
    }

    #[tokio::test]
    async fn who_went_away_before_the_commit_began_is_left_out() {
        let (open, gate) = mpsc::channel();
        let batches = Arc::new(Mutex::new(Vec::new()));
        let engine = Scripted {
            answers: Vec::new(),
            batches: Arc::clone(&batches),
            gate: Some(gate),
        };
        let store = Store::start(engine, |_| {}).unwrap();
        let first = tokio::spawn(delete(store.clone()));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let gone = tokio::spawn(delete(store.clone()));
        tokio::time::sleep(Duration::from_millis(50)).await;
        gone.abort();
        assert!(gone.await.is_err());
        open.send(()).unwrap();
        first.await.unwrap().unwrap().unwrap();
        store.close().await;
        assert_eq!(*lock(&batches), [1]);
    }

    #[tokio::test]
    async fn a_read_that_nobody_waits_for_any_more_takes_no_reader_from_others() {
        let store = Store::start(Sleeper(Duration::from_millis(500)), |_| {}).unwrap();
        let account = AccountNumber::from_bytes([1; 8]).unwrap();
        let long = READ_IN_PLACE_MAX + 1;
        let gone: Vec<_> = (0..READERS)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.read(account, long).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        for read in gone {
            read.abort();
            assert!(read.await.is_err());
        }
        assert!(store.read(account, long).await.unwrap().is_none());
    }

    /// The longest that a clock stood still while `slow` was running beside it.
    async fn standstill(slow: impl Future<Output = ()>) -> Duration {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let ticks = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !told.load(Ordering::Relaxed) {
                let begun = Instant::now();
                tokio::time::sleep(Duration::from_millis(10)).await;
                longest = longest.max(begun.elapsed());
            }
            longest
        });
        slow.await;
        is_over.store(true, Ordering::Relaxed);
        ticks.await.unwrap()
    }

    async fn check_that_nobody_stands_still(rounds: usize) {
        for _ in 0..rounds {
            let store = Store::start(Sleeper(Duration::from_secs(2)), |_| {}).unwrap();
            let slow = async {
                let reads = (0..6).map(|number| {
                    let store = store.clone();
                    tokio::spawn(async move {
                        // Woken by the clock, each alone: whoever reads is the worker that listens.
                        tokio::time::sleep(Duration::from_millis(33 + 47 * number)).await;
                        store.read_head([1; 8]).await.unwrap();
                    })
                });
                for read in reads.collect::<Vec<_>>() {
                    read.await.unwrap();
                }
            };
            let longest = standstill(slow).await;
            assert!(longest < Duration::from_secs(1), "{longest:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_disk_that_hangs_holds_up_nobody_but_those_who_read() {
        check_that_nobody_stands_still(2).await;
    }

    #[tokio::test]
    async fn a_disk_that_hangs_holds_up_nobody_where_there_is_one_worker() {
        check_that_nobody_stands_still(1).await;
    }

    /// A store on disk, an account in it, and a way to look for bytes in all of its files.
    async fn stored(dir: &Path, btoken: &[u8]) -> (Store, AccountNumber, AuthHash) {
        let store = Store::open_sqlite(&dir.join("passmate.db"), |_| {}).unwrap();
        let account = AccountNumber::from_bytes([1; 8]).unwrap();
        let auth = AuthHash::of(&AuthToken::new([0; 32]));
        store
            .create(
                account,
                auth,
                Btoken::new(btoken.to_vec()),
                10,
                Admission::Anyone,
                0,
            )
            .await
            .unwrap()
            .unwrap();
        (store, account, auth)
    }

    fn is_anywhere(dir: &Path, marker: &[u8]) -> bool {
        let files = std::fs::read_dir(dir)
            .unwrap()
            .map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files
            .into_iter()
            .any(|bytes| bytes.windows(marker.len()).any(|window| window == marker))
    }

    async fn check_that_it_goes(dir: &Path, marker: &[u8], within: Duration) {
        let begun = Instant::now();
        while is_anywhere(dir, marker) {
            assert!(begun.elapsed() < within, "it is still there");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    const MARKER: &[u8] = b"a sealed vault of which nothing may be left";

    #[tokio::test]
    async fn a_btoken_that_was_deleted_is_in_no_file_a_moment_later() {
        let dir = tempfile::tempdir().unwrap();
        let (store, account, auth) = stored(dir.path(), &MARKER.repeat(200)).await;
        assert!(is_anywhere(dir.path(), MARKER));
        store.delete(account, auth).await.unwrap().unwrap();
        check_that_it_goes(dir.path(), MARKER, Duration::from_secs(4)).await;
    }

    #[tokio::test]
    async fn a_btoken_that_was_replaced_is_in_no_file_a_moment_later() {
        let dir = tempfile::tempdir().unwrap();
        let (store, account, _) = stored(dir.path(), &MARKER.repeat(200)).await;
        let seen = BtokenHash::of(&MARKER.repeat(200));
        store
            .replace_if(account, seen, Btoken::new(b"another".to_vec()), 0)
            .await
            .unwrap()
            .unwrap();
        check_that_it_goes(dir.path(), MARKER, Duration::from_secs(4)).await;
    }

    #[tokio::test]
    async fn what_was_deleted_goes_also_while_others_write_all_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let (store, account, auth) = stored(dir.path(), &MARKER.repeat(200)).await;
        let other = AccountNumber::from_bytes([2; 8]).unwrap();
        store
            .create(other, auth, Btoken::new(vec![0]), 10, Admission::Anyone, 0)
            .await
            .unwrap()
            .unwrap();
        store.delete(account, auth).await.unwrap().unwrap();
        let writing = async {
            let mut seen = 0_u8;
            loop {
                let next = seen.wrapping_add(1);
                let expected = BtokenHash::of(&[seen]);
                store
                    .replace_if(other, expected, Btoken::new(vec![next]), 0)
                    .await
                    .unwrap()
                    .unwrap();
                seen = next;
                tokio::time::sleep(TIDY_IDLE / 20).await;
            }
        };
        tokio::select! {
            () = writing => unreachable!("it writes for ever"),
            () = check_that_it_goes(dir.path(), MARKER, TIDY_DELETED + Duration::from_secs(3)) => {}
        }
    }

    #[tokio::test]
    async fn what_a_reader_keeps_in_the_log_goes_when_the_reader_does() {
        let dir = tempfile::tempdir().unwrap();
        let (store, account, auth) = stored(dir.path(), &MARKER.repeat(200)).await;
        let mut other = rusqlite::Connection::open(dir.path().join("passmate.db")).unwrap();
        let reading = other.transaction().unwrap();
        reading
            .query_row("SELECT count(*) FROM account", [], |_| Ok(()))
            .unwrap();
        store.delete(account, auth).await.unwrap().unwrap();
        tokio::time::sleep(2 * TIDY_IDLE).await;
        assert!(is_anywhere(dir.path(), MARKER));
        drop(reading);
        check_that_it_goes(dir.path(), MARKER, Duration::from_secs(4)).await;
    }
}
