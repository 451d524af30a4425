use std::time::Duration;

use passmate_proto::AuthToken;

use super::super::writer::{BUSY_PAUSE, TIDY_IDLE};
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
        self.batches.lock().push(changes.len());
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
    assert_eq!(*batches.lock(), [1, 40]);
}

#[tokio::test]
async fn after_a_commit_that_failed_nothing_is_confirmed_any_more_and_the_process_is_told_once() {
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
        (refused, batches.lock().as_slice()),
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
        let waited = tokio::time::timeout(Duration::from_millis(100), delete(store.clone())).await;
        assert!(waited.is_err());
    };
    change().await;
    change().await;
    // The writer waits for work again: it ends as soon as there is none to come.
    store.0.jobs.lock().take();
    let writer = store.0.writer.lock().take().unwrap();
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
    assert_eq!(*batches.lock(), [1]);
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
