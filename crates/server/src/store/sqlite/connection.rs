//! The ways to open a database. Nothing else in this folder opens one.
//!
//! SQLite would move the log into the database by itself when a commit or a close finds it long,
//! and would tell nobody if the flush fails. On Linux such a failure is reported once, and the
//! pages count as written afterwards. So no connection moves the log by itself: [`checkpoint`] does
//! it, and its errors are seen.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::fault;
use super::schema::check_is_ours;
use super::sql::signed;
use crate::store::{EngineError, StoreError};

/// The length of a page in a database that is made now, in bytes. Longer ones cost fewer system calls
/// for a btoken, and more bytes for a short one. An earlier database keeps its own, which was 4 KiB,
/// until it is restored from a backup.
pub(super) const PAGE_LEN: usize = 16 << 10;
/// How long closing waits for readers.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(50);

/// A connection that may write.
///
/// # Errors
/// See [`check_is_ours`]; nothing was changed.
pub(super) fn open_to_write(path: &Path, busy: Duration) -> Result<Connection, StoreError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(busy)?;
        // It is without effect on a database that has pages, but for the copies that it makes.
        connection.pragma_update(None, "page_size", signed(PAGE_LEN))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.execute_batch("PRAGMA wal_autocheckpoint = 0;")?;
        Ok(connection)
    };
    let failed = |error: rusqlite::Error| StoreError::Open {
        path: path.to_owned(),
        cause: error.to_string(),
    };
    let connection: Connection = open().map_err(failed)?;
    check_is_ours(&connection, path)?;
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL;
             PRAGMA secure_delete = ON;
             PRAGMA trusted_schema = OFF;",
        )
        .map_err(failed)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_to_read(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy)?;
    connection.execute_batch("PRAGMA trusted_schema = OFF;")?;
    Ok(connection)
}

/// Empties the log before a connection that may write is closed, so that a closed database is one
/// file. If that fails, the log stays, and the next start reads it.
pub(super) fn prepare_close(connection: &Connection) {
    if connection.busy_timeout(CLOSE_TIMEOUT).is_ok()
        && checkpoint(connection, Checkpoint::Truncate).is_ok()
    {
        // The last connection removes the empty log. After a failed flush it must not: it would
        // only move what this one did not, and count the rest as written.
        let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
    }
}

/// How much a checkpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checkpoint {
    /// It moves what no reader needs in the log, and waits for nobody.
    Passive,
    /// It waits for readers, moves all, and empties the log, which still holds deleted bytes.
    Truncate,
}

/// Moves the log into the database, and flushes it.
///
/// # Errors
/// [`EngineError::Busy`] if a reader was in the way, or another process holds the database; a part
/// may have been moved. After [`EngineError::Failed`], what the disk holds is unknown.
pub(super) fn checkpoint(connection: &Connection, how: Checkpoint) -> Result<(), EngineError> {
    let sql = match how {
        Checkpoint::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Checkpoint::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    let row = connection.query_row(sql, [], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    });
    let (is_busy, pages, moved): (bool, i64, i64) = row.map_err(fault)?;
    if is_busy || moved < pages {
        Err(EngineError::Busy)
    } else {
        Ok(())
    }
}
