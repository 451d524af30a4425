//! What an error of SQLite means.

use std::io;

use rusqlite::{ErrorCode, ffi};
use rustix::io::Errno;

use crate::store::EngineError;

/// What an error of SQLite means for whoever waits. To be asked at once, on the thread that got the
/// error.
pub(super) fn fault(error: rusqlite::Error) -> EngineError {
    // A column that holds what we never write.
    let is_of_content = matches!(
        error,
        rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
    );
    match error.sqlite_error_code() {
        _ if is_of_content => EngineError::Damaged(error.to_string()),
        _ if is_out_of_room(&error, &io::Error::last_os_error()) => EngineError::Full,
        Some(ErrorCode::DiskFull) => EngineError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => EngineError::Busy,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            EngineError::Damaged(error.to_string())
        }
        _ => EngineError::Failed(describe(&error)),
    }
}

/// Whether a write failed because no more may be written: SQLite says so of ENOSPC alone, and not
/// where it writes the index of its log.
///
/// SQLite keeps the system's error for itself. But a write that failed has set `last`, and only a
/// later call that failed too could have changed that. If that one met a full disk, the disk is
/// full; anything else is no reason to go on. A failed flush is never meant: nobody can say what it
/// left behind.
pub(super) fn is_out_of_room(error: &rusqlite::Error, last: &io::Error) -> bool {
    let is_write = error.sqlite_error().is_some_and(|error| {
        matches!(
            error.extended_code,
            ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE
        )
    });
    is_write
        && matches!(
            Errno::from_io_error(last),
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG)
        )
}

/// SQLite's own words; for I/O errors with the number that tells a failed flush from a failed
/// write.
fn describe(error: &rusqlite::Error) -> String {
    match error.sqlite_error() {
        Some(ffi::Error { extended_code, .. }) => format!("{error} (SQLite code {extended_code})"),
        None => error.to_string(),
    }
}
