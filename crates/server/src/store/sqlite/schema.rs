//! The schema of the database and its history.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, ffi};

use super::engine::signed;
use super::error::fault;
use crate::store::{EngineError, StoreError};

/// The schema's history, the oldest first. A line that was released is never changed; a new one is
/// added.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_accounts.sql"),
    include_str!("../../../migrations/sqlite/0002_invites.sql"),
    include_str!("../../../migrations/sqlite/0003_disabled.sql"),
];

/// Tells our databases from others: "PaSr".
pub(super) const APPLICATION_ID: i64 = 0x5061_5372;

/// The newest schema that this program knows.
pub(super) fn schema_newest() -> i64 {
    signed(MIGRATIONS.len())
}

/// The schema of a database of ours.
pub(super) fn check_is_ours(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let failed = |error: rusqlite::Error| {
        // What is asked here is right, so an error of the statement means that the schema cannot be
        // read.
        let is_of_schema = error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == ffi::SQLITE_ERROR);
        let cause = error.to_string();
        match fault(error) {
            EngineError::Damaged(_) => {
                EngineError::Damaged(format!("{}: {cause}", path.display())).into()
            }
            EngineError::Failed(_) if is_of_schema => {
                EngineError::Damaged(format!("{}: {cause}", path.display())).into()
            }
            EngineError::Busy => EngineError::Busy.into(),
            _ => StoreError::Open {
                path: path.to_owned(),
                cause,
            },
        }
    };
    let id: i64 = connection
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(failed)?;
    let schema: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(failed)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if id != APPLICATION_ID && (id != 0 || tables != 0) {
        return Err(StoreError::NotOurs {
            path: path.to_owned(),
        });
    }
    let known = schema_newest();
    if schema > known {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found: schema,
            known,
        });
    }
    Ok(schema)
}

/// Brings the schema to the newest. Each step is a transaction, so a step that was interrupted did
/// not begin.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let schema: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(schema).unwrap_or(0);
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", signed(index + 1))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
    }
    Ok(())
}
