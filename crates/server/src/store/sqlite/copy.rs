//! Whole databases: a copy of one that is in use, a replacement for one that is not, and accounts
//! of another server.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::connection::{Checkpoint, checkpoint, open_to_write, prepare_close};
use super::engine::{BUSY_TIMEOUT, TotalsChange};
use super::error::fault;
use super::lock::{lock_file, lock_path, restore_lock_path};
use super::sql::{one, run, signed};
use crate::files::{self, folder_of, give_to_owner_of, with_suffix};
use crate::store::{AuthHash, BtokenHash, ForeignAccount, OfflineStore, StoreError};

/// See [`Operator::copy_to`](crate::store::Operator::copy_to).
pub(super) fn copy_to(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |cause: String| StoreError::Open {
        path: path.to_owned(),
        cause,
    };
    let name = path
        .to_str()
        .ok_or_else(|| failed("the path is not UTF-8".to_owned()))?;
    connection
        .execute("VACUUM INTO ?1", [name])
        .map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::CannotOpen) => failed(error.to_string()),
            _ => fault(error).into(),
        })?;
    Ok(())
}

/// See [`Operator::import`](crate::store::Operator::import).
pub(super) fn import(
    connection: &Connection,
    accounts: &[ForeignAccount],
) -> rusqlite::Result<Vec<bool>> {
    let mut totals = TotalsChange::default();
    let mut are_new = Vec::with_capacity(accounts.len());
    for account in accounts {
        let number = account.number.as_bytes();
        let exists = "SELECT EXISTS (SELECT 1 FROM account WHERE number = ?1)";
        if one(connection, exists, [number])? {
            are_new.push(false);
            continue;
        }
        let auth = AuthHash::of(&account.auth_token);
        let hash = BtokenHash::of(&account.btoken);
        let len = signed(account.btoken.len());
        let insert = "INSERT INTO btoken (content) VALUES (?1) RETURNING id";
        let id: i64 = one(connection, insert, [&account.btoken])?;
        run(
            connection,
            "INSERT INTO account (number, auth_hash, btoken_hash, btoken_len, btoken_id, \
             created_at, changed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
            params![number, auth.0, hash.0, len, id, account.at],
        )?;
        totals.count(1, len);
        are_new.push(true);
    }
    totals.write(connection)?;
    Ok(are_new)
}

/// A database that neither a server nor a command uses.
#[derive(Debug)]
pub(in crate::store) struct OfflineSqlite {
    path: PathBuf,
    /// Held as long as this exists.
    _locks: [File; 2],
}

impl OfflineSqlite {
    pub(in crate::store) fn lock(path: &Path) -> Result<Self, StoreError> {
        let locks = [
            lock_file(lock_path(path))?,
            lock_file(restore_lock_path(path))?,
        ];
        Ok(Self {
            path: path.to_owned(),
            _locks: locks,
        })
    }

    /// Moves the old database's log out of the way of the new database.
    fn put_log_away(&self, replaced: &Path) -> Result<(), StoreError> {
        // A killed server may have left a log that belongs to the old database. Where the database
        // is too damaged to take the log in, both are kept.
        let is_taken_in = open_to_write(&self.path, BUSY_TIMEOUT).is_ok_and(|connection| {
            let is_taken_in = checkpoint(&connection, Checkpoint::Truncate).is_ok();
            prepare_close(&connection);
            is_taken_in
        });
        for suffix in ["-wal", "-shm"] {
            let log = with_suffix(&self.path, suffix);
            let kept = with_suffix(replaced, suffix);
            let _ = fs::remove_file(&kept);
            if log.exists() {
                let put_away = if is_taken_in {
                    fs::remove_file(&log)
                } else {
                    fs::rename(&log, &kept)
                };
                put_away.map_err(cannot_open(&log))?;
            }
        }
        Ok(())
    }
}

impl OfflineStore for OfflineSqlite {
    fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    fn replace(&self, new: &Path) -> Result<Option<PathBuf>, StoreError> {
        let replaced = with_suffix(&self.path, ".replaced");
        let exists = self.exists();
        let owner = if exists {
            &self.path
        } else {
            folder_of(&self.path)
        };
        let prepare = |file: File| give_to_owner_of(owner, &file).and_then(|()| file.sync_all());
        File::open(new)
            .and_then(prepare)
            .map_err(cannot_open(new))?;
        if exists {
            self.put_log_away(&replaced)?;
            let _ = fs::remove_file(&replaced);
            fs::hard_link(&self.path, &replaced).map_err(cannot_open(&replaced))?;
        }
        files::rename(new, &self.path).map_err(cannot_open(&self.path))?;
        Ok(exists.then_some(replaced))
    }
}

fn cannot_open(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::Open {
        path,
        cause: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
