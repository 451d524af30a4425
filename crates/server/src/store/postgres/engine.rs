//! The writing side: a connection that commits batches, and settles what it did not hear of.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use passmate_proto::AccountNumber;
use tokio_postgres::types::Type;

use super::batch::{self, Attempt, give_up};
use super::connection::{Connection, Param};
use super::database::{Database, Line};
use super::error::Fault;
use super::reader::PostgresReader;
use super::schema::migrate;
use super::url::PostgresUrl;
use super::{audit, intake};
use crate::clock::day_of;
use crate::store::{
    Change, Created, Deleted, Engine, EngineError, Notes, Outcome, Replaced, StoreError,
};

/// Batches that are committed at the same time.
const WRITERS: usize = 4;
/// How often a batch that met another transaction is repeated at once.
const CONFLICTS_MAX: usize = 8;
/// Between two attempts to settle an outcome.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

/// A PostgreSQL database, and a connection that writes to it.
pub struct Postgres {
    line: Line,
}

impl Postgres {
    /// Opens a database, and makes or upgrades its schema.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        let mut opened = Self::open_unfinished(url)?;
        let database = Arc::clone(&opened.line.database);
        let is_unfinished = database.wait(async {
            let connection = opened.line.get().await?;
            intake::is_unfinished(connection).await
        });
        if is_unfinished.map_err(Fault::of_read)? {
            return Err(StoreError::Unfinished {
                store: url.to_string(),
            });
        }
        opened.line.give_back();
        Ok(opened)
    }

    /// Opens a database that may not have taken in all of another store.
    pub(super) fn open_unfinished(url: &PostgresUrl) -> Result<Self, StoreError> {
        let database = Database::new(url)?;
        let mut line = Line::new(Arc::clone(&database));
        database.wait(async {
            let connection = line.get().await;
            let connection = connection.map_err(|fault| fault.of_change(&url.to_string()))?;
            migrate(connection, url).await
        })?;
        Ok(Self { line })
    }

    async fn commit_and_settle(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
        let begun = Instant::now();
        let mut conflicts = 0;
        loop {
            match self.attempt(changes, Attempt::First).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(Fault::Unknown(cause)) => return Ok(self.settle(changes, &cause).await),
                Err(Fault::Conflict) if conflicts < CONFLICTS_MAX => conflicts += 1,
                // Nothing took place, and the database may be back already.
                Err(Fault::Lost(_)) if begun.elapsed() < self.line.database.url.deadline => {
                    tokio::time::sleep(SETTLE_PAUSE).await;
                }
                Err(fault) => return Err(fault.of_read()),
            }
        }
    }

    async fn attempt(
        &mut self,
        changes: &[Change],
        attempt: Attempt,
    ) -> Result<Vec<Outcome>, Fault> {
        let time_max = 2 * self.line.database.url.deadline;
        let connection = self.line.get().await?;
        let commit = batch::commit(connection, changes, attempt);
        // Each statement has a deadline, and so have all of them together.
        let result = tokio::time::timeout(time_max, commit).await;
        let result = result.unwrap_or_else(|_| {
            let seconds = time_max.as_secs();
            Err(Fault::Unknown(format!("no commit within {seconds} s")))
        });
        self.line.note_commit(&result);
        result
    }

    /// Makes a batch of which the outcome is unknown once more, on a new connection. A change that
    /// the first attempt has made is found by its revision, and one that it has not made is made: no
    /// two commits have the same revision, so none is made twice. Where neither can be said, nobody
    /// is told that the change took place.
    async fn settle(&mut self, changes: &[Change], cause: &str) -> Vec<Outcome> {
        let begun = Instant::now();
        let settled = loop {
            match self.attempt(changes, Attempt::Again).await {
                Ok(outcomes) => break outcomes.into_iter().map(certain).collect(),
                Err(Fault::Refused(_) | Fault::NotDurable(_)) => break Vec::new(),
                Err(_) if begun.elapsed() >= self.line.database.url.deadline => break Vec::new(),
                Err(_) => tokio::time::sleep(SETTLE_PAUSE).await,
            }
        };
        let settled: Vec<Outcome> = match settled.is_empty() {
            true => vec![Outcome::Unknown; changes.len()],
            false => settled,
        };
        let unknown = settled.iter().filter(|one| **one == Outcome::Unknown);
        tracing::warn!(
            cause,
            changes = changes.len(),
            unknown = unknown.count(),
            "the database did not say whether changes took place, and was asked again"
        );
        settled
    }

    async fn try_write_notes(connection: &Connection, notes: &Notes) -> Result<(), Fault> {
        connection.begin().await?;
        let written = async {
            if let Some(id) = notes.audit_logged {
                audit::set_logged(connection, id).await?;
            }
            note_syncs(connection, notes).await
        };
        match written.await {
            Ok(()) => connection.commit().await,
            Err(fault) => Err(give_up(connection, fault.before_commit()).await),
        }
    }
}

/// What an outcome says after an earlier attempt, which may have changed the same account.
fn certain(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Created(Created::Done(..))
        | Outcome::Replaced(Replaced::Done(()))
        | Outcome::Deleted(Deleted::Done(()))
        | Outcome::Done => outcome,
        Outcome::Created(_) | Outcome::Replaced(_) | Outcome::Deleted(_) | Outcome::Unknown => {
            Outcome::Unknown
        }
    }
}

impl Engine for Postgres {
    type Reader = PostgresReader;

    const READERS: usize = 8;
    const READS_FROM_MEMORY: bool = false;

    fn reader(&self) -> Result<PostgresReader, EngineError> {
        Ok(PostgresReader::new(Arc::clone(&self.line.database)))
    }

    fn more_writers(&self) -> Vec<Self> {
        let writer = |_| Self {
            line: Line::new(Arc::clone(&self.line.database)),
        };
        (1..WRITERS).map(writer).collect()
    }

    /// A change waits for a connection, for its commit, and for as much again to be settled; each
    /// has a deadline of its own, and each host that is tried has one.
    fn step_time_max(&self) -> Duration {
        let url = &self.line.database.url;
        let hosts = u32::try_from(url.hosts.len()).unwrap_or(u32::MAX);
        url.deadline
            .saturating_mul(hosts.saturating_mul(2).saturating_add(10))
    }

    fn outage(&self) -> Option<Arc<AtomicBool>> {
        Some(self.line.database.health.outage())
    }

    fn batch_len_max(&self) -> usize {
        self.line.database.url.batch_len_max
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let database = Arc::clone(&self.line.database);
        if let Some(cause) = database.health.out() {
            return Err(EngineError::Unavailable(cause));
        }
        database.wait(self.commit_and_settle(changes))
    }

    fn write_notes(&mut self, notes: &Notes) -> Result<(), EngineError> {
        let database = Arc::clone(&self.line.database);
        database.wait(async {
            let connection = self.line.get().await.map_err(Fault::of_read)?;
            let written = Self::try_write_notes(connection, notes).await;
            self.line.note_commit(&written);
            written.map_err(Fault::of_read)
        })
    }

    /// The database removes deleted and replaced bytes by itself, when it vacuums.
    fn tidy(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Writes the days of the last exchanges of accounts, which never go back. An account that somebody
/// else changes at this moment is left out.
async fn note_syncs(connection: &Connection, notes: &Notes) -> Result<(), Fault> {
    if notes.synced.is_empty() {
        return Ok(());
    }
    let numbers: Vec<&[u8]> = notes.synced.keys().map(bytes_of).collect();
    let days: Vec<i64> = notes.synced.values().map(|at| day_of(*at)).collect();
    let sql = "WITH new AS (
             SELECT * FROM unnest($1::bytea[], $2::bigint[]) AS new (number, day)
         ), held AS (
             SELECT account.number, new.day FROM passmate.account AS account
             JOIN new ON new.number = account.number
             WHERE coalesce(account.synced_at, 0) < new.day
             ORDER BY account.number FOR UPDATE OF account SKIP LOCKED
         )
         UPDATE passmate.account AS account SET synced_at = held.day FROM held
         WHERE account.number = held.number";
    let params: [Param<'_>; 2] = [(&numbers, Type::BYTEA_ARRAY), (&days, Type::INT8_ARRAY)];
    connection.execute(sql, &params).await.map(drop)
}

fn bytes_of(number: &AccountNumber) -> &[u8] {
    number.as_bytes()
}
