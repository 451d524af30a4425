//! What an error of SQLite means to the store.

use std::io;

use rusqlite::{ErrorCode, ffi};
use rustix::io::Errno;

use crate::store::EngineError;

/// What a disk that fails is called, whatever SQLite takes it for.
const IO_ERROR: &str = "the disk reports an I/O error";

/// Classifies an error of SQLite. Call it at once, on the thread that got the error: it looks at
/// that thread's last system error.
pub(super) fn fault(error: rusqlite::Error) -> EngineError {
    // A column holds a value that this program never writes.
    let is_of_content = matches!(
        error,
        rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
    );
    let last = io::Error::last_os_error();
    match error.sqlite_error_code() {
        // What a disk that fails returns looks like damage to SQLite.
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            if Errno::from_io_error(&last) == Some(Errno::IO) =>
        {
            EngineError::Failed(IO_ERROR.to_owned())
        }
        _ if is_of_content => EngineError::Damaged(error.to_string()),
        _ if is_disk_full(&error, &last) => EngineError::Full,
        Some(ErrorCode::DiskFull) => EngineError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => EngineError::Busy,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            EngineError::Damaged(error.to_string())
        }
        _ => EngineError::Failed(describe(&error)),
    }
}

/// Whether a write failed because the disk, a quota or a file size limit is full. SQLite reports
/// only ENOSPC as a full disk, and not where it writes the index of its log.
///
/// SQLite does not return the system's error. But the failed write has set `last`, and only a later
/// failed call can have changed it: a later ENOSPC also means a full disk, and any other error
/// counts as a failure. A failed flush never counts as a full disk, because it is unknown what the
/// flush left behind.
pub(super) fn is_disk_full(error: &rusqlite::Error, last: &io::Error) -> bool {
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

/// SQLite's message with the extended code, which tells a failed flush from a failed write.
fn describe(error: &rusqlite::Error) -> String {
    match error.sqlite_error() {
        Some(ffi::Error {
            code: ErrorCode::SystemIoFailure,
            extended_code,
        }) => format!("{IO_ERROR} (SQLite code {extended_code})"),
        Some(ffi::Error { extended_code, .. }) => format!("{error} (SQLite code {extended_code})"),
        None => error.to_string(),
    }
}
