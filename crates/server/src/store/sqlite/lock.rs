//! The files that are locked beside a database.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::files::{self, LockMode, Locking, with_suffix};
use crate::store::StoreError;

/// Locks a file that exists only to be locked.
///
/// # Errors
/// [`StoreError::InUse`] if another process has the lock, [`StoreError::Open`] if the file cannot
/// be made.
pub(crate) fn lock_file(path: PathBuf) -> Result<File, StoreError> {
    match files::lock(&path, LockMode::Exclusive) {
        Ok(Locking::Taken(file)) => Ok(file),
        Ok(Locking::Held) => Err(StoreError::InUse { path }),
        Err(error) => Err(StoreError::Open {
            cause: error.to_string(),
            path,
        }),
    }
}

/// Takes a lock that others may hold too, and that keeps away whoever wants it alone.
///
/// # Errors
/// As [`lock_file`], but [`StoreError::Restoring`] if another process has the lock alone.
pub(crate) fn lock_file_shared(path: PathBuf) -> Result<File, StoreError> {
    match files::lock(&path, LockMode::Shared) {
        Ok(Locking::Taken(file)) => Ok(file),
        Ok(Locking::Held) => Err(StoreError::Restoring { path }),
        Err(error) => Err(StoreError::Open {
            cause: error.to_string(),
            path,
        }),
    }
}

/// What a server locks as long as it uses the database.
pub(super) fn lock_path(path: &Path) -> PathBuf {
    with_suffix(path, ".lock")
}

/// What commands hold together, and a restore alone.
pub(super) fn restore_lock(store: &Path) -> PathBuf {
    with_suffix(store, ".restore-lock")
}
