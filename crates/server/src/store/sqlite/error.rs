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
            | rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
    );
    let last = io::Error::last_os_error();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) if is_of_disk(&error, &last) => {
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

/// What is wrong with the part of a database that cannot be read.
///
/// # Errors
/// The disk fails, or another process is in the way. That says nothing about the part.
pub(super) fn damage(error: rusqlite::Error) -> Result<String, EngineError> {
    let is_of_disk = is_of_disk(&error, &io::Error::last_os_error());
    let cause = error.to_string();
    match fault(error) {
        error if is_of_disk => Err(error),
        error @ EngineError::Busy => Err(error),
        _ => Ok(cause),
    }
}

/// Whether the disk failed. What it returned then may look like damage to SQLite.
fn is_of_disk(error: &rusqlite::Error, last: &io::Error) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure) => true,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Errno::from_io_error(last) == Some(Errno::IO)
        }
        _ => false,
    }
}

/// The failure of the disk that a line of `PRAGMA integrity_check` tells of, if it is not damage.
/// Call it at once, as [`fault`].
pub(super) fn disk_failure_in(line: &str) -> Option<EngineError> {
    let is_of_disk = Errno::from_io_error(&io::Error::last_os_error()) == Some(Errno::IO);
    let mut codes = line.split("error code=").skip(1).filter_map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<i32>().ok()
    });
    // The lower byte is the primary code.
    let is_code = codes.any(|code| code & 0xFF == ffi::SQLITE_IOERR);
    (is_of_disk || is_code).then(|| EngineError::Failed(IO_ERROR.to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of_sqlite(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn a_disk_that_fails_is_no_damage() {
        assert!(
            damage(of_sqlite(ffi::SQLITE_IOERR_READ))
                .unwrap_err()
                .is_fatal()
        );
        assert_eq!(damage(of_sqlite(ffi::SQLITE_BUSY)), Err(EngineError::Busy));
        assert!(damage(of_sqlite(ffi::SQLITE_TOOBIG)).is_ok());
        let line =
            "*** in database main ***\nTree 3 page 14: unable to get the page. error code=8458";
        assert!(disk_failure_in(line).is_some());
        assert_eq!(disk_failure_in("Tree 3 page 14: error code=11"), None);
        assert_eq!(
            disk_failure_in("row 3 missing from index account_admitted"),
            None
        );
    }
}
