//! The schema of the database and its history.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, ffi};

use super::error::fault;
use super::sql::signed;
use crate::store::{EngineError, StoreError};

/// The steps from an empty database to the newest schema. A released step never changes; a new one
/// is appended.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_accounts.sql"),
    include_str!("../../../migrations/sqlite/0002_invites.sql"),
    include_str!("../../../migrations/sqlite/0003_disabled.sql"),
];
/// Marks a database as one of this program: "PaSr".
pub(super) const APPLICATION_ID: i64 = 0x5061_5372;

/// The newest schema that this program supports.
pub(super) fn schema_newest() -> i64 {
    signed(MIGRATIONS.len())
}

/// Returns the schema of a database of this program; a database of another program, or of a newer
/// version, is an error.
pub(super) fn check_is_ours(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let failed = |error: rusqlite::Error| {
        // The statements below are correct, so SQLITE_ERROR means that the schema is unreadable.
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
            EngineError::Failed(cause) => StoreError::Open {
                path: path.to_owned(),
                cause,
            },
            EngineError::Full | EngineError::Moved(_) => StoreError::Open {
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

/// Upgrades the schema to the newest. Each step is one transaction, so an interrupted step leaves
/// no trace.
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
