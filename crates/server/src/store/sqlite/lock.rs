//! The two locks beside a database. A server holds the first alone. Commands share the second, and
//! a restore holds both alone.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::files::{self, LockMode, Locking, with_suffix};
use crate::store::StoreError;

/// The lock of the server that uses the database.
pub(in crate::store) fn lock_path(path: &Path) -> PathBuf {
    with_suffix(path, ".lock")
}

/// The lock that keeps a restore and commands apart.
pub(super) fn restore_lock_path(path: &Path) -> PathBuf {
    with_suffix(path, ".restore-lock")
}

/// # Errors
/// [`StoreError::InUse`] if another process has the lock.
pub(in crate::store) fn lock_file(path: PathBuf) -> Result<File, StoreError> {
    match files::lock(&path, LockMode::Exclusive) {
        Ok(Locking::Taken(file)) => Ok(file),
        Ok(Locking::Held) => Err(StoreError::InUse { path }),
        Err(error) => Err(StoreError::cannot_open(path, &error)),
    }
}

/// # Errors
/// [`StoreError::Restoring`] if another process has the lock alone.
pub(super) fn lock_file_shared(path: PathBuf) -> Result<File, StoreError> {
    match files::lock(&path, LockMode::Shared) {
        Ok(Locking::Taken(file)) => Ok(file),
        Ok(Locking::Held) => Err(StoreError::Restoring { path }),
        Err(error) => Err(StoreError::cannot_open(path, &error)),
    }
}
