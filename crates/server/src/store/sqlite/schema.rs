//! The schema of the database and its history.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, ffi};

use super::error::fault;
use super::sql::{one, run, signed};
use crate::store::{EngineError, StoreError};

/// The steps from an empty database to the newest schema. A released step never changes; a new one
/// is appended.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_accounts.sql"),
    include_str!("../../../migrations/sqlite/0002_invites.sql"),
    include_str!("../../../migrations/sqlite/0003_disabled.sql"),
    include_str!("../../../migrations/sqlite/0004_audit.sql"),
    include_str!("../../../migrations/sqlite/0005_account_notes.sql"),
    include_str!("../../../migrations/sqlite/0006_revisions.sql"),
];
/// The first schema with invites and open seats.
pub(super) const INVITES: i64 = 2;
/// The first schema in which an account can be disabled.
pub(super) const DISABLED: i64 = 3;
/// The first schema with a record of what operators did, and with properties.
pub(super) const AUDIT: i64 = 4;
/// The first schema in which an account has a note, a limit and the day of its last sync.
pub(super) const NOTES: i64 = 5;
/// The first schema in which a btoken has a revision and a checksum.
pub(super) const REVISIONS: i64 = 6;
/// Marks a database as one of this program: "PaSr".
pub(super) const APPLICATION_ID: i64 = 0x5061_5372;

/// The newest schema that this program supports.
pub(crate) fn schema_newest() -> i64 {
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
            EngineError::Full | EngineError::Moved(_) | EngineError::Unavailable(_) => {
                StoreError::Open {
                    path: path.to_owned(),
                    cause,
                }
            }
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
            program: upgraded_by(connection),
        });
    }
    Ok(schema)
}

/// The schema of an open database.
pub(super) fn schema_of(connection: &Connection) -> rusqlite::Result<i64> {
    one(connection, "PRAGMA user_version", [])
}

/// The version of the program that made the schema, if the database says so in a likely form.
fn upgraded_by(connection: &Connection) -> Option<String> {
    let sql = "SELECT value FROM property WHERE name = 'program'";
    let version: String = one(connection, sql, []).ok()?;
    let is_likely = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    (version.len() <= 40 && version.chars().all(is_likely)).then_some(version)
}

/// Upgrades the schema to the newest. Each step is one transaction, so an interrupted step leaves
/// no trace.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    migrate_to(connection, schema_newest())
}

/// Upgrades the schema as far as `wanted`.
pub(super) fn migrate_to(connection: &mut Connection, wanted: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(schema_of(connection)?).unwrap_or(0);
    let wanted = usize::try_from(wanted).unwrap_or(0);
    for (index, migration) in MIGRATIONS.iter().enumerate().take(wanted).skip(done) {
        let schema = signed(index + 1);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        transaction.execute_batch(migration)?;
        if schema >= AUDIT {
            // An older program that meets this database names the version that can read it.
            let sql = "INSERT OR REPLACE INTO property VALUES ('program', ?1)";
            run(&transaction, sql, [env!("CARGO_PKG_VERSION")])?;
        }
        transaction.pragma_update(None, "user_version", schema)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
    }
    Ok(())
}
