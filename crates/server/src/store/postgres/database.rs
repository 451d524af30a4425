//! What all users of a store share: the runtime that drives the connections, how one is opened, and
//! the task that looks whether a database that failed is back. While it fails, one attempt after the
//! other is made, and nobody else waits for it.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use super::connection::Connection;
use super::error::Fault;
use super::health::{Health, Needs, PAUSE};
use super::pool::{CROWDED_FOR, Lent, Pool};
use super::tls::MakeTls;
use super::url::PostgresUrl;
use crate::store::{EngineError, StoreError};

/// Between two looks whether a database is back.
const WATCH_PAUSE: Duration = Duration::from_millis(250);
/// The same where the database answers and refuses.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
/// A commit that nobody confirms is tried again after this time, on another connection.
const COMMIT_TIME_MAX: Duration = Duration::from_secs(600);

/// A database, as a store uses it.
pub(super) struct Database {
    pub(super) url: PostgresUrl,
    tls: Option<MakeTls>,
    /// The host that accepted writes last.
    place: AtomicUsize,
    pool: Pool,
    pub(super) health: Health,
    me: Weak<Self>,
    /// None only while it is dropped.
    runtime: Option<Runtime>,
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
            pool: Pool::default(),
            health: Health::new(url.to_string()),
            me: me.clone(),
            runtime: Some(runtime),
        }))
    }

    /// Opens a connection, whatever is known of the database. Returns the generation that it is of.
    ///
    /// If another host is the primary from now on, no older connection is used again. If somebody else
    /// has found another one meanwhile, this connection is to one that is it no longer.
    pub(super) async fn open(&self) -> Result<(Connection, u64), Fault> {
        let generation = self.pool.generation();
        let before = self.place.load(Ordering::SeqCst);
        let (connection, place) = Connection::open(&self.url, self.tls.as_ref(), before).await?;
        let ordering = Ordering::SeqCst;
        match self
            .place
            .compare_exchange(before, place, ordering, ordering)
        {
            Ok(_) if place == before => Ok((connection, generation)),
            Ok(_) => Ok((connection, self.pool.outdate())),
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
            let returned = self.pool.returned.notified();
            tokio::pin!(returned);
            // From here on none is missed.
            returned.as_mut().enable();
            if let Some(lent) = self.pool.take_free() {
                return Ok(lent);
            }
            let fault = match self.pool.is_crowded() {
                true => Fault::Crowded("it gives no more connections".to_owned()),
                false => match self.connect().await {
                    Ok((connection, generation)) => {
                        return Ok(self.pool.admit(connection, generation));
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
            let longest = begun.elapsed().max(self.health.fails_since().elapsed());
            if longest >= self.url.deadline || !is_passing(&fault) {
                return Err(fault);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_connect(&self) -> Result<(Connection, u64), Fault> {
        let opened = match self.health.take_turn() {
            Ok(()) => self.open().await,
            Err(fault) => Err(fault),
        };
        match opened {
            Ok(opened) => {
                if self.health.needs() != Some(Needs::Commit) {
                    self.health.note_success();
                }
                Ok(opened)
            }
            // The connections that are in use show whether the database works.
            Err(Fault::Crowded(cause) | Fault::Lost(cause)) if self.pool.has_open() => {
                self.pool.note_crowded();
                Err(Fault::Crowded(cause))
            }
            Err(fault) => {
                self.note_fault(&fault, Needs::Connection);
                Err(fault)
            }
        }
    }

    fn note_fault(&self, fault: &Fault, needs: Needs) {
        if self.health.note_fault(fault, needs) {
            self.handle().spawn(Self::watch(self.me.clone()));
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
                if database.health.is_watch_over() {
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

    /// Does on a new connection what shows whether the database works.
    async fn try_out(&self) -> Result<(), Fault> {
        let (connection, _) = match self.try_connect().await {
            // Those that nobody uses may be all that the database gives.
            Err(fault @ Fault::Crowded(_)) => {
                self.pool.close_free();
                return Err(fault);
            }
            opened => opened?,
        };
        let tried = match self.health.needs() {
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
                        Ok(()) => self.health.note_success(),
                        Err(fault) if self.health.out().is_some() => {
                            self.note_fault(fault, Needs::Commit);
                        }
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
            if self.health.out().is_none() || answers.is_ok_and(|answers| answers != waited_for) {
                return Err(Fault::Lost("another database answers".to_owned()));
            }
        }
    }
}

/// Whether the same attempt may succeed a moment later.
fn is_passing(fault: &Fault) -> bool {
    matches!(fault, Fault::Lost(_))
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
                self.database.health.note_success();
                self.give_back();
            }
            // It had a connection, which was not enough.
            Err(fault) => self.note(fault, Needs::Commit),
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
            self.database.pool.outdate();
        }
    }

    pub(super) fn give_back(&mut self) {
        if let Some(lent) = self.lent.take() {
            self.database.pool.give_back(lent);
        }
    }

    /// Closes the connection at once.
    pub(super) fn cut(&mut self) {
        if let Some(lent) = self.lent.take() {
            lent.connection.cut();
        }
    }
}
