//! What all connections of a store share: the runtime that drives them, and whether the database
//! works. While it does not, one attempt after the other is made, and nobody else waits for it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;

use super::connection::Connection;
use super::error::Fault;
use super::tls::MakeTls;
use super::url::PostgresUrl;
use crate::store::{EngineError, StoreError};

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks whether a database is back.
const WATCH_PAUSE: Duration = Duration::from_millis(250);
/// The same where the database answers and refuses.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
/// A commit that nobody confirms is tried again after this time, on another connection.
const COMMIT_TIME_MAX: Duration = Duration::from_secs(600);
/// A database that has failed for so long is out.
const OUTAGE_AFTER: Duration = Duration::from_secs(1);
/// After a refusal for too many connections, those that are open have to do for so long.
const CROWDED_FOR: Duration = Duration::from_secs(1);
/// A failure so soon after the last one that was logged is not logged again.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// A database, as a store uses it.
pub(super) struct Database {
    pub(super) url: PostgresUrl,
    tls: Option<MakeTls>,
    /// The host that accepted writes last.
    place: AtomicUsize,
    /// Open connections that nobody uses at the moment.
    free: Mutex<Vec<Lent>>,
    /// How many connections are open, those that are in use included.
    open: Arc<AtomicUsize>,
    /// Told when a connection is given back or closed.
    returned: Arc<Notify>,
    /// When the database last refused a connection because it has too many.
    crowded: Mutex<Option<Instant>>,
    /// Grows with each connection that is lost. Others that are older are not used again: they may lead
    /// to a primary that has stood still, and does not know that there is another one.
    generation: AtomicU64,
    health: Mutex<Health>,
    /// Set once nothing has worked for [`OUTAGE_AFTER`]: no client is let in then, and a task looks
    /// whether the database is back.
    pub(super) outage: Arc<AtomicBool>,
    /// That task runs. Changed under the lock of `health`.
    is_watched: AtomicBool,
    me: Weak<Self>,
    /// When a failure was logged last.
    logged: Mutex<Option<Instant>>,
    /// None only while it is dropped.
    runtime: Option<Runtime>,
}

#[derive(Debug, Clone, Default)]
enum Health {
    #[default]
    Works,
    Fails {
        cause: String,
        /// What has to succeed before the database works again.
        needs: Needs,
        since: Instant,
        /// The last attempt to connect.
        tried: Instant,
        is_logged: bool,
    },
}

/// What shows that a database works again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Connection,
    /// Connections were made, and a commit on them was not confirmed, as if a standby were lost.
    Commit,
}

impl Database {
    /// # Errors
    /// The certificate of the authority cannot be read, or the system starts no thread.
    pub(super) fn new(url: &PostgresUrl) -> Result<Arc<Self>, StoreError> {
        let tls = MakeTls::new(&url.tls)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store-net")
            .enable_all()
            .build()
            .map_err(|error| EngineError::Failed(error.to_string()))?;
        Ok(Arc::new_cyclic(|me| Self {
            url: url.clone(),
            tls,
            place: AtomicUsize::new(0),
            free: Mutex::default(),
            open: Arc::default(),
            returned: Arc::default(),
            crowded: Mutex::default(),
            generation: AtomicU64::new(0),
            health: Mutex::default(),
            outage: Arc::default(),
            is_watched: AtomicBool::new(false),
            me: me.clone(),
            logged: Mutex::default(),
            runtime: Some(runtime),
        }))
    }

    /// Opens a connection, whatever is known of the database. Returns the generation that it is of.
    ///
    /// If another host is the primary from now on, no older connection is used again. If somebody else
    /// has found another one meanwhile, this connection is to one that is it no longer.
    pub(super) async fn open(&self) -> Result<(Connection, u64), Fault> {
        let generation = self.generation.load(Ordering::SeqCst);
        let before = self.place.load(Ordering::SeqCst);
        let (connection, place) = Connection::open(&self.url, self.tls.as_ref(), before).await?;
        let (ordering, failed) = (Ordering::SeqCst, Ordering::SeqCst);
        match self.place.compare_exchange(before, place, ordering, failed) {
            Ok(_) if place == before => Ok((connection, generation)),
            Ok(_) => Ok((connection, self.generation.fetch_add(1, ordering) + 1)),
            Err(found) if found == place => Ok((connection, generation)),
            Err(_) => {
                connection.cut();
                Err(Fault::Lost("another host accepts writes".to_owned()))
            }
        }
    }

    /// Waits for a future on this thread, which is none of a runtime.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle().block_on(future)
    }

    fn handle(&self) -> &Handle {
        let runtime = self.runtime.as_ref();
        runtime.expect("it is there until the drop").handle()
    }

    /// Takes a connection that nobody uses, or opens one. Where the database gives no more, one that is
    /// given back is waited for.
    async fn borrow(&self) -> Result<Lent, Fault> {
        let begun = Instant::now();
        loop {
            let returned = self.returned.notified();
            tokio::pin!(returned);
            // From here on none is missed.
            returned.as_mut().enable();
            if let Some(lent) = self.take_free() {
                return Ok(lent);
            }
            let fault = match self.is_crowded() {
                true => Fault::Crowded("it gives no more connections".to_owned()),
                false => match self.connect().await {
                    Ok((connection, generation)) => {
                        let seat = Seat::take(&self.open, &self.returned);
                        return Ok(Lent {
                            connection,
                            generation,
                            _seat: seat,
                        });
                    }
                    Err(fault) => fault,
                },
            };
            let Fault::Crowded(cause) = fault else {
                return Err(fault);
            };
            let left = self.url.deadline.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(Fault::Lost(cause));
            }
            let _ = tokio::time::timeout(left.min(CROWDED_FOR), returned).await;
        }
    }

    /// An open connection that nobody uses. Those that are no good any more are closed.
    fn take_free(&self) -> Option<Lent> {
        let generation = self.generation.load(Ordering::SeqCst);
        let is_stale =
            |lent: &mut Lent| !lent.connection.is_usable() || lent.generation != generation;
        let mut free = self.free.lock();
        for stale in free.extract_if(.., is_stale) {
            stale.connection.cut();
        }
        free.pop()
    }

    fn give_back(&self, lent: Lent) {
        self.free.lock().push(lent);
        self.returned.notify_one();
    }

    /// Whether the database has just given no connection, and there are others.
    fn is_crowded(&self) -> bool {
        let crowded = *self.crowded.lock();
        crowded.is_some_and(|at| at.elapsed() < CROWDED_FOR) && self.has_open()
    }

    fn has_open(&self) -> bool {
        self.open.load(Ordering::SeqCst) > 0
    }

    /// Opens a connection. A database that has just begun to fail, as in a restart, is waited for;
    /// one that has failed for longer is tried from time to time, by one caller.
    pub(super) async fn connect(&self) -> Result<(Connection, u64), Fault> {
        let begun = Instant::now();
        loop {
            let fault = match self.try_connect().await {
                Ok(opened) => return Ok(opened),
                Err(fault) => fault,
            };
            // Others may use connections that work, so that it fails again and again since a moment.
            let longest = begun.elapsed().max(self.fails_since().elapsed());
            if longest >= self.url.deadline || !is_passing(&fault) {
                return Err(fault);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_connect(&self) -> Result<(Connection, u64), Fault> {
        let opened = match self.take_turn() {
            Ok(()) => self.open().await,
            Err(fault) => Err(fault),
        };
        match opened {
            Ok(opened) => {
                if self.needs() != Some(Needs::Commit) {
                    self.note_success();
                }
                Ok(opened)
            }
            // The connections that are in use show whether the database works.
            Err(Fault::Crowded(cause) | Fault::Lost(cause)) if self.has_open() => {
                *self.crowded.lock() = Some(Instant::now());
                Err(Fault::Crowded(cause))
            }
            Err(fault) => {
                self.note_fault(&fault, Needs::Connection);
                Err(fault)
            }
        }
    }

    /// What has to succeed before the database works again; nothing if it works.
    fn needs(&self) -> Option<Needs> {
        match &*self.health.lock() {
            Health::Fails { needs, .. } => Some(*needs),
            Health::Works => None,
        }
    }

    /// Looks from time to time whether the database is back.
    fn watch(database: Weak<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut pause = WATCH_PAUSE;
            loop {
                tokio::time::sleep(pause).await;
                let Some(database) = database.upgrade() else {
                    return;
                };
                if database.is_watch_over() {
                    return;
                }
                // What the database says is in its log, too.
                pause = match database.try_out().await {
                    Err(Fault::Refused(_)) => REFUSED_PAUSE,
                    _ => WATCH_PAUSE,
                };
            }
        })
    }

    /// Whether the outage has ended. The watch ends with it, and the next outage has another one.
    fn is_watch_over(&self) -> bool {
        let _health = self.health.lock();
        let is_over = !self.outage.load(Ordering::SeqCst);
        if is_over {
            self.is_watched.store(false, Ordering::SeqCst);
        }
        is_over
    }

    /// Does on a new connection what shows whether the database works.
    async fn try_out(&self) -> Result<(), Fault> {
        let (connection, _) = match self.try_connect().await {
            // Those that nobody uses may be all that the database gives.
            Err(fault @ Fault::Crowded(_)) => {
                let free = std::mem::take(&mut *self.free.lock());
                free.into_iter().for_each(|lent| lent.connection.cut());
                return Err(fault);
            }
            opened => opened?,
        };
        let tried = match self.needs() {
            Some(Needs::Commit) => self.wait_for_commit(&connection).await,
            _ => Ok(()),
        };
        connection.cut();
        tried
    }

    /// Commits a change that changes nothing, and waits for the confirmation for as long as the same
    /// database answers. The database keeps each commit that waits for a standby, with its
    /// connection, so no second one is begun while this one may still succeed.
    async fn wait_for_commit(&self, connection: &Connection) -> Result<(), Fault> {
        let waited_for = connection.identity().await?;
        let commit = connection.probe(COMMIT_TIME_MAX);
        tokio::pin!(commit);
        loop {
            tokio::select! {
                committed = &mut commit => {
                    match &committed {
                        Ok(()) => self.note_success(),
                        Err(fault) if self.out().is_some() => self.note_fault(fault, Needs::Commit),
                        Err(_) => {}
                    }
                    return committed;
                }
                () = tokio::time::sleep(self.url.deadline) => {}
            }
            // Where nobody answers, nobody is missed. Another one may answer in its place.
            let answers = match self.open().await {
                Ok((other, _)) => {
                    let answers = other.identity().await;
                    other.cut();
                    answers
                }
                Err(fault) => Err(fault),
            };
            if self.out().is_none() || answers.is_ok_and(|answers| answers != waited_for) {
                return Err(Fault::Lost("another database answers".to_owned()));
            }
        }
    }

    /// Lets one caller try, where the database fails.
    fn take_turn(&self) -> Result<(), Fault> {
        match &mut *self.health.lock() {
            Health::Fails { tried, cause, .. } if tried.elapsed() < PAUSE => {
                Err(Fault::Lost(cause.clone()))
            }
            Health::Fails { tried, .. } => {
                // An attempt may take as long as the deadline, and others must not queue behind it.
                *tried = Instant::now();
                Ok(())
            }
            Health::Works => Ok(()),
        }
    }

    fn fails_since(&self) -> Instant {
        match &*self.health.lock() {
            Health::Fails { since, .. } => *since,
            Health::Works => Instant::now(),
        }
    }

    /// The database did what it was asked.
    pub(super) fn note_success(&self) {
        let mut health = self.health.lock();
        self.outage.store(false, Ordering::SeqCst);
        if let Health::Fails {
            since, is_logged, ..
        } = &*health
        {
            if *is_logged {
                let seconds = since.elapsed().as_secs();
                tracing::warn!(seconds, "the database works again");
            }
            *health = Health::Works;
        }
    }

    /// The database failed. The first failure is logged, and its end. After a second of failures
    /// nobody is let in until it works again.
    fn note_fault(&self, fault: &Fault, needs: Needs) {
        let cause = match fault {
            Fault::Lost(cause)
            | Fault::Crowded(cause)
            | Fault::NotDurable(cause)
            | Fault::ReadOnly(cause)
            | Fault::Unknown(cause)
            | Fault::Refused(EngineError::Unavailable(cause)) => cause,
            // These are of one change, and are answered with it.
            Fault::Conflict | Fault::Refused(_) => return,
        };
        let mut health = self.health.lock();
        let now = Instant::now();
        match &mut *health {
            Health::Works => {
                *health = Health::Fails {
                    cause: cause.clone(),
                    needs,
                    since: now,
                    tried: now.checked_sub(PAUSE).unwrap_or(now),
                    is_logged: self.log(cause, now),
                };
            }
            Health::Fails {
                tried,
                cause: old,
                needs: before,
                since,
                is_logged,
            } => {
                *tried = now;
                if !*is_logged {
                    *is_logged = self.log(cause, now);
                }
                old.clone_from(cause);
                if needs == Needs::Commit {
                    *before = needs;
                }
                let is_out = now.duration_since(*since) >= OUTAGE_AFTER;
                if is_out {
                    self.outage.store(true, Ordering::SeqCst);
                    if !self.is_watched.swap(true, Ordering::SeqCst) {
                        self.handle().spawn(Self::watch(self.me.clone()));
                    }
                }
            }
        }
    }

    /// Why the database cannot be used, if nobody is let in.
    pub(super) fn out(&self) -> Option<String> {
        if !self.outage.load(Ordering::SeqCst) {
            return None;
        }
        match &*self.health.lock() {
            Health::Fails { cause, .. } => Some(cause.clone()),
            Health::Works => None,
        }
    }

    /// Logs a failure, unless another one was logged a moment ago.
    fn log(&self, cause: &str, now: Instant) -> bool {
        let mut logged = self.logged.lock();
        if logged.is_some_and(|at| now.duration_since(at) < LOG_PAUSE) {
            return false;
        }
        *logged = Some(now);
        let database = self.url.to_string();
        tracing::error!(
            database,
            cause,
            "the database cannot be used: clients are refused until it works again"
        );
        true
    }
}

/// Whether the same attempt may succeed a moment later.
fn is_passing(fault: &Fault) -> bool {
    matches!(fault, Fault::Lost(_))
}

/// A connection that somebody uses.
struct Lent {
    connection: Connection,
    /// In which it was opened.
    generation: u64,
    _seat: Seat,
}

/// Counts an open connection until it is dropped.
struct Seat {
    open: Arc<AtomicUsize>,
    returned: Arc<Notify>,
}

impl Seat {
    fn take(open: &Arc<AtomicUsize>, returned: &Arc<Notify>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self {
            open: Arc::clone(open),
            returned: Arc::clone(returned),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.returned.notify_one();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // It may be dropped on a thread of another runtime, which must not block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Somebody who uses one connection at a time, and gives it back when it is noted how that went.
pub(super) struct Line {
    pub(super) database: Arc<Database>,
    lent: Option<Lent>,
}

impl Line {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            lent: None,
        }
    }

    /// A connection.
    pub(super) async fn get(&mut self) -> Result<&Connection, Fault> {
        self.give_back();
        let lent = self.database.borrow().await?;
        Ok(&self.lent.insert(lent).connection)
    }

    /// Notes how a commit went, and ends the use of the connection.
    pub(super) fn note_commit<T>(&mut self, result: &Result<T, Fault>) {
        match result {
            Ok(_) => {
                self.database.note_success();
                self.give_back();
            }
            // It had a connection, which was not enough.
            Err(fault) if self.lent.is_some() => self.note(fault, Needs::Commit),
            Err(fault) => self.note(fault, Needs::Connection),
        }
    }

    /// Notes how a read went, and ends the use of the connection. That a read succeeds does not show
    /// that a commit would.
    pub(super) fn note_read<T>(&mut self, result: &Result<T, Fault>) {
        match result {
            Ok(_) => self.give_back(),
            // It got no answer on a connection that was good.
            Err(fault @ Fault::Unknown(_)) => self.note(fault, Needs::Commit),
            Err(fault) => self.note(fault, Needs::Connection),
        }
    }

    fn note(&mut self, fault: &Fault, needs: Needs) {
        self.database.note_fault(fault, needs);
        if matches!(fault, Fault::Conflict | Fault::Refused(_)) {
            self.give_back();
        } else {
            // A read-only database may be one that was the primary.
            self.cut();
            self.database.generation.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(super) fn give_back(&mut self) {
        if let Some(lent) = self.lent.take() {
            self.database.give_back(lent);
        }
    }

    /// Closes the connection at once.
    pub(super) fn cut(&mut self) {
        if let Some(lent) = self.lent.take() {
            lent.connection.cut();
        }
    }
}
