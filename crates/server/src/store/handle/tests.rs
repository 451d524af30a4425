use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use parking_lot::Condvar;
use passmate_proto::AuthToken;

use super::super::readers::READ_IN_PLACE_MAX;
use super::super::writer::{BUSY_PAUSE, TIDY_DELETED, TIDY_IDLE};
use super::*;
use crate::clock::DAY;
use crate::store::{Reader, StoreUrl};

/// How long a test waits for an event that must come.
const EVENT_TIME_MAX: Duration = Duration::from_secs(10);
/// The reads at the same time of the engines here.
const READERS: usize = <Slow as Engine>::READERS;

/// Waits until a condition is true.
async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < EVENT_TIME_MAX, "the event did not come");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// An engine that answers from a script and notes the sizes of the batches.
#[derive(Default)]
struct Scripted {
    answers: Vec<Result<(), EngineError>>,
    batches: Arc<Mutex<Vec<usize>>>,
    gate: Option<mpsc::Receiver<()>>,
    /// What moving the log into place answers.
    settled: Vec<Result<(), EngineError>>,
    /// Commits that have begun.
    begun: Arc<AtomicUsize>,
    /// What writing notes answers.
    noted: Vec<Result<(), EngineError>>,
    /// The notes that were written.
    notes: Arc<Mutex<Vec<Notes>>>,
}

struct NoReader;

impl Reader for NoReader {
    fn reopen(&self) -> Result<Box<dyn Reader>, EngineError> {
        Ok(Box::new(Self))
    }

    fn read_head(&mut self, _: &[u8; 8]) -> Result<Option<Head>, EngineError> {
        Ok(None)
    }

    fn read(&mut self, _: AccountNumber) -> Result<Option<Stored>, EngineError> {
        Ok(None)
    }
}

fn deleted(changes: &[Change]) -> Vec<Outcome> {
    vec![Outcome::Deleted(Deleted::Done(())); changes.len()]
}

impl Engine for Scripted {
    type Reader = NoReader;

    fn reader(&self) -> Result<NoReader, EngineError> {
        Ok(NoReader)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            gate.recv().unwrap();
        }
        self.batches.lock().push(changes.len());
        let answer = if self.answers.is_empty() {
            Ok(())
        } else {
            self.answers.remove(0)
        };
        answer.map(|()| deleted(changes))
    }

    fn settle(&mut self) -> Result<(), EngineError> {
        if self.settled.is_empty() {
            Ok(())
        } else {
            self.settled.remove(0)
        }
    }

    fn write_notes(&mut self, notes: &Notes) -> Result<(), EngineError> {
        self.notes.lock().push(notes.clone());
        self.noted.pop().unwrap_or(Ok(()))
    }

    fn tidy(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// An engine whose reads take this long.
struct Slow(Duration);

struct SlowReader(Duration);

impl Engine for Slow {
    type Reader = SlowReader;

    fn reader(&self) -> Result<SlowReader, EngineError> {
        Ok(SlowReader(self.0))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
        Ok(deleted(changes))
    }

    fn tidy(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

impl Reader for SlowReader {
    fn reopen(&self) -> Result<Box<dyn Reader>, EngineError> {
        Ok(Box::new(Self(self.0)))
    }

    fn read_head(&mut self, _: &[u8; 8]) -> Result<Option<Head>, EngineError> {
        std::thread::sleep(self.0);
        Ok(None)
    }

    fn read(&mut self, _: AccountNumber) -> Result<Option<Stored>, EngineError> {
        std::thread::sleep(self.0);
        Ok(None)
    }
}

/// An engine whose reads wait until the test lets them go on.
#[derive(Clone, Default)]
struct Gated {
    begun: Arc<AtomicUsize>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Gated {
    fn open(&self) {
        *self.gate.0.lock() = true;
        self.gate.1.notify_all();
    }
}

impl Engine for Gated {
    type Reader = Self;

    fn reader(&self) -> Result<Self, EngineError> {
        Ok(self.clone())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
        Ok(deleted(changes))
    }

    fn tidy(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

impl Reader for Gated {
    fn reopen(&self) -> Result<Box<dyn Reader>, EngineError> {
        Ok(Box::new(self.clone()))
    }

    fn read_head(&mut self, _: &[u8; 8]) -> Result<Option<Head>, EngineError> {
        Ok(None)
    }

    fn read(&mut self, _: AccountNumber) -> Result<Option<Stored>, EngineError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let mut is_open = self.gate.0.lock();
        while !*is_open {
            self.gate.1.wait(&mut is_open);
        }
        Ok(None)
    }
}

/// An engine whose database another process holds for ever.
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

fn account() -> AccountNumber {
    AccountNumber::from_bytes([1; 8]).unwrap()
}

async fn delete(store: Store) -> Result<Deleted<Committed>, StoreError> {
    let auth = AuthHash::of(&AuthToken::new([0; 32]));
    store.delete(account(), auth).await
}

#[track_caller]
fn assert_deleted(deleted: Result<Deleted<Committed>, StoreError>) {
    assert!(matches!(deleted, Ok(Deleted::Done(_))), "{deleted:?}");
}

/// A store whose first commit has begun and waits at the gate, and `others` changes that wait for
/// the next one.
struct Crowd {
    store: Store,
    open: mpsc::Sender<()>,
    batches: Arc<Mutex<Vec<usize>>>,
    first: tokio::task::JoinHandle<Result<Deleted<Committed>, StoreError>>,
    others: Vec<tokio::task::JoinHandle<Result<Deleted<Committed>, StoreError>>>,
}

impl Crowd {
    async fn new(others: u64, answers: Vec<Result<(), EngineError>>) -> Self {
        let (open, gate) = mpsc::channel();
        let engine = Scripted {
            answers,
            gate: Some(gate),
            ..Scripted::default()
        };
        let (batches, begun) = (Arc::clone(&engine.batches), Arc::clone(&engine.begun));
        let store = Store::start(engine, |_| {}).unwrap();
        let first = tokio::spawn(delete(store.clone()));
        until(|| begun.load(Ordering::SeqCst) == 1).await;
        let spawned = (0..others).map(|_| tokio::spawn(delete(store.clone())));
        let spawned = spawned.collect();
        until(|| store.commits().waiting == others + 1).await;
        Self {
            store,
            open,
            batches,
            first,
            others: spawned,
        }
    }
}

#[tokio::test]
async fn waiting_changes_share_one_commit() {
    let crowd = Crowd::new(40, Vec::new()).await;
    assert!(!crowd.first.is_finished(), "confirmed before the commit");
    crowd.open.send(()).unwrap();
    crowd.open.send(()).unwrap();
    assert_deleted(crowd.first.await.unwrap());
    for other in crowd.others {
        assert_deleted(other.await.unwrap());
    }
    assert_eq!(*crowd.batches.lock(), [1, 40]);
}

#[tokio::test]
async fn nothing_is_confirmed_after_a_failed_commit() {
    let failed = Err(EngineError::Failed("fsync".to_owned()));
    let engine = Scripted {
        answers: vec![Ok(()), failed],
        ..Scripted::default()
    };
    let told = Arc::new(AtomicUsize::new(0));
    let telling = Arc::clone(&told);
    let on_fatal = move |_: &StoreError| {
        telling.fetch_add(1, Ordering::Relaxed);
    };
    let store = Store::start(engine, on_fatal).unwrap();
    assert_deleted(delete(store.clone()).await);
    for _ in 0..3 {
        assert!(matches!(
            delete(store.clone()).await,
            Err(StoreError::Engine(EngineError::Failed(_)))
        ));
    }
    assert_eq!(told.load(Ordering::Relaxed), 1, "the process is told once");
}

#[tokio::test]
async fn a_failed_checkpoint_ends_the_process_and_a_busy_one_does_not() {
    let failed = Err(EngineError::Failed("fsync".to_owned()));
    let engine = Scripted {
        settled: vec![Err(EngineError::Busy), Err(EngineError::Full), failed],
        ..Scripted::default()
    };
    let told = Arc::new(AtomicUsize::new(0));
    let telling = Arc::clone(&told);
    let on_fatal = move |_: &StoreError| {
        telling.fetch_add(1, Ordering::Relaxed);
    };
    let store = Store::start(engine, on_fatal).unwrap();
    for _ in 0..3 {
        assert_deleted(delete(store.clone()).await);
    }
    until(|| told.load(Ordering::Relaxed) == 1).await;
    assert!(matches!(
        delete(store).await,
        Err(StoreError::Engine(EngineError::Failed(_)))
    ));
}

/// What a store knows about an account that was synced on this day.
fn synced(synced_at: Option<i64>) -> Head {
    Head {
        auth: AuthHash([0; 32]),
        revision: Revision([0; 16]),
        btoken_len: 0,
        is_disabled: false,
        synced_at,
        limit: None,
    }
}

#[tokio::test]
async fn a_sync_is_written_once_a_day_and_with_other_work() {
    let engine = Scripted::default();
    let (batches, notes) = (Arc::clone(&engine.batches), Arc::clone(&engine.notes));
    let store = Store::start(engine, |_| ()).unwrap();
    let noon = 20_000 * DAY + DAY / 2;
    let account = |byte: u8| AccountNumber::from_bytes([byte; 8]).unwrap();
    store.note_sync(account(1), &synced(Some(20_000 * DAY)), noon);
    store.note_sync(account(2), &synced(Some(19_999 * DAY)), noon);
    store.note_sync(account(2), &synced(Some(19_999 * DAY)), noon + 1);
    store.note_sync(account(3), &synced(None), noon);
    assert!(batches.lock().is_empty() && notes.lock().is_empty());
    assert_deleted(delete(store.clone()).await);
    until(|| notes.lock().len() == 1).await;
    let written = [(account(2), noon + 1), (account(3), noon)].into();
    assert_eq!(notes.lock()[0].synced, written);
    // Further ones wait, at the latest until the store is closed.
    store.note_sync(account(4), &synced(None), noon);
    assert_deleted(delete(store.clone()).await);
    assert_deleted(delete(store.clone()).await);
    store.close().await;
    assert_eq!((batches.lock().len(), notes.lock().len()), (3, 2));
}

#[tokio::test]
async fn notes_in_memory_are_bounded() {
    let engine = Scripted::default();
    let notes = Arc::clone(&engine.notes);
    let store = Store::start(engine, |_| ()).unwrap();
    for number in 1..=10_000_u64 {
        let account = AccountNumber::from_bytes(number.to_be_bytes()).unwrap();
        store.note_sync(account, &synced(None), 0);
    }
    store.close().await;
    assert_eq!(notes.lock()[0].synced.len(), NOTES_MAX);
}

#[tokio::test]
async fn notes_that_are_not_written_end_nothing_but_a_failed_disk_does() {
    for (error, ends) in [
        (EngineError::Busy, false),
        (EngineError::Full, false),
        (EngineError::Damaged("a row".to_owned()), false),
        (EngineError::Failed("fsync".to_owned()), true),
    ] {
        let engine = Scripted {
            noted: vec![Err(error)],
            ..Scripted::default()
        };
        let notes = Arc::clone(&engine.notes);
        let told = Arc::new(AtomicUsize::new(0));
        let telling = Arc::clone(&told);
        let on_fatal = move |_: &StoreError| {
            telling.fetch_add(1, Ordering::SeqCst);
        };
        let store = Store::start(engine, on_fatal).unwrap();
        store.note_logged(1);
        assert_deleted(delete(store.clone()).await);
        until(|| notes.lock().len() == 1).await;
        assert_eq!(delete(store.clone()).await.is_err(), ends);
        assert_eq!(told.load(Ordering::SeqCst), usize::from(ends));
    }
}

#[tokio::test]
async fn a_full_disk_refuses_only_the_change_that_does_not_fit() {
    // The first change alone; then three together, which do not fit; then each of the three, of
    // which one does not fit.
    let answers = vec![
        Ok(()),
        Err(EngineError::Full),
        Ok(()),
        Err(EngineError::Full),
        Ok(()),
    ];
    let crowd = Crowd::new(3, answers).await;
    (0..5).for_each(|_| crowd.open.send(()).unwrap());
    assert_deleted(crowd.first.await.unwrap());
    let mut refused = 0;
    for other in crowd.others {
        match other.await.unwrap() {
            Err(StoreError::Engine(EngineError::Full)) => refused += 1,
            other => assert_deleted(other),
        }
    }
    assert_eq!(
        (refused, crowd.batches.lock().as_slice()),
        (1, [1, 3, 1, 1, 1].as_slice())
    );
}

#[tokio::test]
async fn a_busy_store_is_waited_for() {
    let engine = Scripted {
        answers: vec![Err(EngineError::Busy), Err(EngineError::Busy), Ok(())],
        ..Scripted::default()
    };
    let store = Store::start(engine, |_| {}).unwrap();
    assert_deleted(delete(store).await);
}

#[tokio::test]
async fn closing_a_busy_store_answers_the_waiting_changes() {
    let store = Store::start(Held, |_| {}).unwrap();
    let waiting = tokio::spawn(delete(store.clone()));
    until(|| store.commits().waiting == 1).await;
    tokio::time::sleep(2 * BUSY_PAUSE).await;
    assert!(!waiting.is_finished(), "it waits until the store is closed");
    tokio::time::timeout(Duration::from_secs(5), store.close())
        .await
        .unwrap();
    assert!(matches!(
        waiting.await.unwrap(),
        Err(StoreError::Engine(EngineError::Busy))
    ));
}

#[tokio::test]
async fn a_busy_store_drops_changes_of_disconnected_clients() {
    let store = Store::start(Held, |_| {}).unwrap();
    for _ in 0..2 {
        let change = delete(store.clone());
        let waited = tokio::time::timeout(Duration::from_millis(100), change).await;
        assert!(waited.is_err());
    }
    // The writer waits for work again, so it ends as soon as no more can come.
    store.0.jobs.lock().take();
    let writer = store.0.writers.lock().pop().unwrap().thread;
    until(|| writer.is_finished()).await;
}

/// An engine that cannot say what came of a change.
struct Doubtful;

impl Engine for Doubtful {
    type Reader = NoReader;

    fn reader(&self) -> Result<NoReader, EngineError> {
        Ok(NoReader)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
        Ok(vec![Outcome::Unknown; changes.len()])
    }

    fn tidy(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_an_error_and_ends_nothing() {
    let store = Store::start(Doubtful, |error| panic!("{error}")).unwrap();
    for _ in 0..2 {
        let deleted = delete(store.clone()).await;
        assert!(matches!(deleted, Err(StoreError::OutcomeUnknown)));
        assert!(matches!(
            store.probe().await,
            Err(StoreError::OutcomeUnknown)
        ));
    }
    assert!(store.is_alive(EVENT_TIME_MAX));
}

#[tokio::test]
async fn the_change_of_a_disconnected_client_is_dropped() {
    let crowd = Crowd::new(1, Vec::new()).await;
    for gone in crowd.others {
        gone.abort();
        assert!(gone.await.is_err());
    }
    crowd.open.send(()).unwrap();
    assert_deleted(crowd.first.await.unwrap());
    crowd.store.close().await;
    assert_eq!(*crowd.batches.lock(), [1]);
}

#[tokio::test]
async fn the_lease_of_a_btoken_lives_as_long_as_its_bytes() {
    let (gate, gated) = mpsc::channel();
    let engine = Scripted {
        gate: Some(gated),
        ..Scripted::default()
    };
    let begun = Arc::clone(&engine.begun);
    let store = Store::start(engine, |_: &StoreError| ()).unwrap();
    let lease = Arc::new(());
    let btoken = Btoken::of(vec![1; 10]).holding(Arc::clone(&lease));
    let waiting = store.clone();
    let client = tokio::spawn(async move {
        let expected = Revision::of(b"");
        waiting
            .replace_if(account(), expected, btoken, 0)
            .await
            .ok()
    });
    until(|| begun.load(Ordering::SeqCst) == 1).await;
    client.abort();
    assert!(client.await.is_err());
    // The client is gone, and the disk has not answered.
    assert_eq!(Arc::strong_count(&lease), 2);
    gate.send(()).unwrap();
    until(|| Arc::strong_count(&lease) == 1).await;
}

#[tokio::test]
async fn an_abandoned_read_gives_its_reader_back() {
    let engine = Gated::default();
    let store = Store::start(engine.clone(), |_| {}).unwrap();
    let long = READ_IN_PLACE_MAX + 1;
    let gone: Vec<_> = (0..READERS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.read(account(), long).await })
        })
        .collect();
    until(|| engine.begun.load(Ordering::SeqCst) == READERS).await;
    for read in gone {
        read.abort();
        assert!(read.await.is_err());
    }
    let next = tokio::spawn({
        let store = store.clone();
        async move { store.read(account(), long).await }
    });
    engine.open();
    assert!(next.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn a_closed_store_says_that_it_is_closed() {
    let store = Store::start(Scripted::default(), |_| {}).unwrap();
    store.close().await;
    let read = store.read(account(), 0).await;
    assert!(matches!(read, Err(StoreError::Closed)));
    let deleted = delete(store).await;
    assert!(matches!(deleted, Err(StoreError::Closed)));
}

#[tokio::test]
async fn a_dead_writer_is_not_called_a_closed_store() {
    struct Panics;
    impl Engine for Panics {
        type Reader = NoReader;

        fn reader(&self) -> Result<NoReader, EngineError> {
            Ok(NoReader)
        }

        fn commit(&mut self, _: &[Change]) -> Result<Vec<Outcome>, EngineError> {
            panic!("a bug of the engine")
        }

        fn tidy(&mut self) -> Result<(), EngineError> {
            Ok(())
        }
    }
    let told = Arc::new(AtomicUsize::new(0));
    let noted = Arc::clone(&told);
    let on_fatal = move |error: &StoreError| {
        assert!(matches!(error, StoreError::WriterEnded));
        noted.fetch_add(1, Ordering::SeqCst);
    };
    let store = Store::start(Panics, on_fatal).unwrap();
    assert!(store.is_alive(EVENT_TIME_MAX));
    for _ in 0..2 {
        let deleted = delete(store.clone()).await;
        assert!(matches!(deleted, Err(StoreError::WriterEnded)));
    }
    until(|| !store.is_alive(EVENT_TIME_MAX)).await;
    assert_eq!(told.load(Ordering::SeqCst), 1, "the process must end");
}

#[tokio::test]
async fn a_reader_that_panics_is_replaced() {
    /// Panics at each read of its own; another one does not.
    struct Panics(bool);
    impl Reader for Panics {
        fn read_head(&mut self, _: &[u8; 8]) -> Result<Option<Head>, EngineError> {
            assert!(!self.0, "a bug of the reader");
            Ok(None)
        }

        fn read(&mut self, _: AccountNumber) -> Result<Option<Stored>, EngineError> {
            Ok(None)
        }

        fn reopen(&self) -> Result<Box<dyn Reader>, EngineError> {
            Ok(Box::new(Self(false)))
        }
    }
    impl Engine for Panics {
        type Reader = Self;

        fn reader(&self) -> Result<Self, EngineError> {
            Ok(Self(true))
        }

        fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
            Ok(deleted(changes))
        }

        fn tidy(&mut self) -> Result<(), EngineError> {
            Ok(())
        }
    }
    let store = Store::start(Panics(true), |_| {}).unwrap();
    let mut aborted = 0;
    for _ in 0..4 * READERS {
        match store.read_head([1; 8]).await {
            Ok(None) => {}
            Err(StoreError::ReadAborted) => aborted += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((1..=READERS).contains(&aborted), "{aborted}");
    store.read_head([1; 8]).await.unwrap();
}

#[tokio::test]
async fn a_store_that_hangs_is_not_alive() {
    let (open, gate) = mpsc::channel();
    let engine = Scripted {
        gate: Some(gate),
        ..Scripted::default()
    };
    let begun = Arc::clone(&engine.begun);
    let store = Store::start(engine, |_| {}).unwrap();
    assert!(store.is_alive(Duration::ZERO), "it waits for changes");
    let change = tokio::spawn(delete(store.clone()));
    until(|| begun.load(Ordering::SeqCst) > 0).await;
    until(|| !store.is_alive(Duration::ZERO)).await;
    assert!(store.is_alive(EVENT_TIME_MAX));
    open.send(()).unwrap();
    assert!(change.await.unwrap().is_ok());
    until(|| store.is_alive(Duration::ZERO)).await;
    store.close().await;
    assert!(store.is_alive(Duration::ZERO));
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

async fn check_that_others_go_on(rounds: usize) {
    for _ in 0..rounds {
        let store = Store::start(Slow(Duration::from_secs(2)), |_| {}).unwrap();
        let slow = async {
            let reads = (0..6).map(|number| {
                let store = store.clone();
                tokio::spawn(async move {
                    // The clock wakes each read alone, so the worker that reads is the one that
                    // listens to the clock.
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
async fn a_slow_disk_delays_readers_only() {
    check_that_others_go_on(2).await;
}

#[tokio::test]
async fn a_slow_disk_delays_readers_only_with_one_worker() {
    check_that_others_go_on(1).await;
}

/// A store on disk with one account.
async fn stored(dir: &Path, btoken: &[u8]) -> (Store, AccountNumber, AuthHash) {
    let url = StoreUrl::sqlite(dir.join("passmate.db"));
    let store = url.open(|_| {}).unwrap();
    let account = account();
    let auth = AuthHash::of(&AuthToken::new([0; 32]));
    let created = store
        .create(
            account,
            auth,
            Btoken::of(btoken.to_vec()),
            10,
            Admission::Anyone,
            0,
        )
        .await;
    assert!(matches!(created, Ok(Created::Done(..))), "{created:?}");
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

async fn check_that_bytes_go(dir: &Path, marker: &[u8], within: Duration) {
    let begun = Instant::now();
    while is_anywhere(dir, marker) {
        assert!(begun.elapsed() < within, "the bytes are still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const MARKER: &[u8] = b"a sealed vault that must be wiped";

#[tokio::test]
async fn a_deleted_btoken_is_soon_in_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account, auth) = stored(dir.path(), &MARKER.repeat(200)).await;
    assert!(is_anywhere(dir.path(), MARKER));
    assert_deleted(store.delete(account, auth).await);
    check_that_bytes_go(dir.path(), MARKER, Duration::from_secs(4)).await;
}

#[tokio::test]
async fn a_replaced_btoken_is_soon_in_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account, _) = stored(dir.path(), &MARKER.repeat(200)).await;
    let seen = Revision::of(&MARKER.repeat(200));
    let replaced = store
        .replace_if(account, seen, Btoken::of(b"another".to_vec()), 0)
        .await;
    assert!(matches!(replaced, Ok(Replaced::Done(_))), "{replaced:?}");
    check_that_bytes_go(dir.path(), MARKER, Duration::from_secs(4)).await;
}

#[tokio::test]
async fn a_deleted_btoken_goes_also_under_constant_load() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account, auth) = stored(dir.path(), &MARKER.repeat(200)).await;
    let other = AccountNumber::from_bytes([2; 8]).unwrap();
    let created = store
        .create(other, auth, Btoken::of(vec![0]), 10, Admission::Anyone, 0)
        .await;
    assert!(matches!(created, Ok(Created::Done(..))), "{created:?}");
    assert_deleted(store.delete(account, auth).await);
    let writing = async {
        let mut seen = 0_u8;
        loop {
            let next = seen.wrapping_add(1);
            let expected = Revision::of(&[seen]);
            let replaced = store
                .replace_if(other, expected, Btoken::of(vec![next]), 0)
                .await;
            assert!(matches!(replaced, Ok(Replaced::Done(_))), "{replaced:?}");
            seen = next;
            tokio::time::sleep(TIDY_IDLE / 20).await;
        }
    };
    tokio::select! {
        () = writing => unreachable!("it writes for ever"),
        () = check_that_bytes_go(dir.path(), MARKER, TIDY_DELETED + Duration::from_secs(3)) => {}
    }
}

#[tokio::test]
async fn a_deleted_btoken_goes_when_the_last_reader_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account, auth) = stored(dir.path(), &MARKER.repeat(200)).await;
    let mut other = rusqlite::Connection::open(dir.path().join("passmate.db")).unwrap();
    let reading = other.transaction().unwrap();
    reading
        .query_row("SELECT count(*) FROM account", [], |_| Ok(()))
        .unwrap();
    assert_deleted(store.delete(account, auth).await);
    tokio::time::sleep(2 * TIDY_IDLE).await;
    assert!(is_anywhere(dir.path(), MARKER));
    drop(reading);
    check_that_bytes_go(dir.path(), MARKER, Duration::from_secs(4)).await;
}
