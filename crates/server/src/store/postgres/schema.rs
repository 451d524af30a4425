//! The schema of the database and its history. Everything is in the schema `passmate` of PostgreSQL.

use super::connection::{Connection, get};
use super::error::Fault;
use super::url::PostgresUrl;
use crate::store::{EngineError, StoreError};

/// The steps from an empty database to the newest schema. A released step never changes; a new one
/// is appended.
const MIGRATIONS: &[&str] = &[include_str!(
    "../../../migrations/postgres/0001_accounts.sql"
)];

/// Keeps servers that start at the same time apart: "PaSrMigr". The lock ends with the transaction.
const LOCK: &str = "SELECT pg_advisory_xact_lock(5792002346165299058)";

/// What a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing of ours.
    Nothing,
    Schema(i64),
    /// A schema with our name that somebody else has made.
    NotOurs,
}

/// The newest schema that this program supports.
pub(super) fn schema_newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Upgrades the schema to the newest. Servers that start at the same time wait for the first one.
/// Each step is one transaction, so an interrupted step leaves no trace.
pub(super) async fn migrate(connection: &Connection, url: &PostgresUrl) -> Result<(), StoreError> {
    let place = url.to_string();
    loop {
        let found = find(connection)
            .await
            .map_err(|fault| fault.of_change(&place))?;
        if check_known(found, url)? == schema_newest() {
            return Ok(());
        }
        let stepped = step(connection).await;
        if stepped.is_err() {
            let _ = connection.roll_back().await;
        }
        stepped.map_err(|fault| match fault {
            Fault::Refused(EngineError::Unavailable(cause)) => StoreError::from(
                EngineError::Unavailable(format!("the schema cannot be made: {cause}")),
            ),
            fault => fault.of_change(&place),
        })?;
    }
}

/// The schema of a store that exists.
///
/// # Errors
/// [`StoreError::NoDatabase`] if there is none, and others if it is not known.
pub(super) async fn check(connection: &Connection, url: &PostgresUrl) -> Result<i64, StoreError> {
    let found = find(connection).await;
    match found.map_err(|fault| fault.of_change(&url.to_string()))? {
        Found::Nothing => Err(StoreError::NoDatabase {
            store: url.to_string(),
        }),
        found => check_known(found, url),
    }
}

/// The schema, if this program knows it; 0 if there is none yet.
fn check_known(found: Found, url: &PostgresUrl) -> Result<i64, StoreError> {
    let path = || url.to_string().into();
    let known = schema_newest();
    match found {
        Found::Nothing => Ok(0),
        Found::Schema(found) if (1..=known).contains(&found) => Ok(found),
        Found::Schema(found) => Err(StoreError::NewerSchema {
            path: path(),
            found,
            known,
            program: None,
        }),
        Found::NotOurs => Err(StoreError::NotOurs { path: path() }),
    }
}

/// Looks what the database holds.
pub(super) async fn find(connection: &Connection) -> Result<Found, Fault> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = 'passmate' AND c.relname = 'property'),
        EXISTS (SELECT 1 FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = 'passmate')";
    let row = connection
        .one(sql, &[])
        .await
        .map_err(Fault::before_commit)?;
    match (get(&row, 0)?, get(&row, 1)?) {
        (true, _) => {}
        (false, false) => return Ok(Found::Nothing),
        (false, true) => return Ok(Found::NotOurs),
    }
    let sql = "SELECT value FROM passmate.property WHERE name = 'schema'";
    let rows = connection.query(sql, &[]).await;
    match rows.map_err(Fault::before_commit)?.first() {
        Some(row) => Ok(Found::Schema(get(row, 0)?)),
        None => Ok(Found::NotOurs),
    }
}

/// Makes one step, if another server has not made it meanwhile.
async fn step(connection: &Connection) -> Result<(), Fault> {
    // A step may take long, and so may the one of the server that has the lock.
    connection.begin_slow(LOCK).await?;
    let done = match find(connection).await? {
        Found::Nothing => 0,
        Found::Schema(done) => usize::try_from(done).unwrap_or(usize::MAX),
        Found::NotOurs => usize::MAX,
    };
    if let Some(migration) = MIGRATIONS.get(done) {
        if done == 0 {
            connection
                .batch("CREATE SCHEMA IF NOT EXISTS passmate")
                .await?;
        }
        connection.batch_slow(migration).await?;
        let sql = format!(
            "UPDATE passmate.property SET value = {} WHERE name = 'schema'",
            done + 1
        );
        connection.batch(&sql).await?;
    }
    connection.commit().await
}
