//! What keeps a store: a copy of it while a server runs, a look at all of it, and accounts that
//! come from elsewhere.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::check::unsigned;
use super::engine::{self as sqlite, signed};
use super::error::fault;
use super::lock::{lock_file, lock_path, restore_lock};
use crate::files::{folder_of, give_to_owner_of, sync_folder_of, with_suffix};
use crate::store::{AdminStore, AuthHash, BtokenHash, ForeignAccount, StoreError, Sum};

impl AdminStore {
    /// Copies the whole store into a new file, as it is at one moment, without what was deleted. A
    /// server that uses it goes on reading and writing meanwhile.
    ///
    /// # Errors
    /// The store or the disk failed; the file may be there in part.
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let failed = |cause: String| StoreError::Open {
            path: path.to_owned(),
            cause,
        };
        let name = path
            .to_str()
            .ok_or_else(|| failed("its name is not text".to_owned()))?;
        self.connection()
            .execute("VACUUM INTO ?1", [name])
            .map_err(|error| match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::CannotOpen) => failed(error.to_string()),
                _ => fault(error).into(),
            })?;
        Ok(())
    }

    /// The schema that it has.
    ///
    /// # Errors
    /// The store failed.
    pub fn schema(&self) -> Result<i64, StoreError> {
        Ok(sqlite::one(self.connection(), "PRAGMA user_version", []).map_err(fault)?)
    }

    /// What it holds, by its own count.
    ///
    /// # Errors
    /// The store failed.
    pub fn sum(&self) -> Result<Sum, StoreError> {
        let row =
            self.connection()
                .query_row("SELECT accounts, btoken_bytes FROM totals", [], |row| {
                    Ok(Sum {
                        accounts: unsigned(row.get(0)?),
                        btoken_bytes: unsigned(row.get(1)?),
                    })
                });
        Ok(row.map_err(fault)?)
    }

    /// Takes over accounts of another server; says for each whether it was not there before. One
    /// that is there is not touched.
    ///
    /// # Errors
    /// The store failed; none was taken over.
    pub fn take_over(&mut self, accounts: &[ForeignAccount]) -> Result<Vec<bool>, StoreError> {
        self.write(|connection| {
            let mut totals = sqlite::Totals::default();
            let mut taken = Vec::with_capacity(accounts.len());
            for ForeignAccount { number, auth_token, btoken, at } in accounts {
                let number = number.as_bytes();
                if sqlite::one(connection, "SELECT EXISTS (SELECT 1 FROM account WHERE number = ?1)", [number])? {
                    taken.push(false);
                    continue;
                }
                let (auth, hash, len) = (AuthHash::of(auth_token), BtokenHash::of(btoken), signed(btoken.len()));
                let insert = "INSERT INTO btoken (content) VALUES (?1) RETURNING id";
                let id: i64 = sqlite::one(connection, insert, [btoken])?;
                sqlite::run(
                    connection,
                    "INSERT INTO account (number, auth_hash, btoken_hash, btoken_len, btoken_id, created_at, changed_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
                    params![number, auth.0, hash.0, len, id, at],
                )?;
                totals.count(1, len);
                taken.push(true);
            }
            totals.write(connection)?;
            Ok(taken)
        })
    }
}

/// The place of a store that nobody looks at: no server runs on it, and no command.
#[derive(Debug)]
pub struct ClosedStore {
    path: PathBuf,
    /// Held as long as this is.
    _locks: [File; 2],
}

impl ClosedStore {
    /// Locks the place.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if a server or a command uses it.
    pub fn new(path: &Path) -> Result<Self, StoreError> {
        let locks = [lock_file(lock_path(path))?, lock_file(restore_lock(path))?];
        Ok(Self {
            path: path.to_owned(),
            _locks: locks,
        })
    }

    /// Whether there is a store.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Puts a database, which is one file and closed, into the place. What was there before is kept
    /// beside it, at the path that is given back; at every moment the old one or the new one is in
    /// the place.
    ///
    /// # Errors
    /// The old one is in the place.
    pub fn replace(&self, new: &Path) -> Result<Option<PathBuf>, StoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| StoreError::Open {
                path,
                cause: error.to_string(),
            }
        };
        let replaced = with_suffix(&self.path, ".replaced");
        let is_there = self.is_there();
        let owner = if is_there {
            &self.path
        } else {
            folder_of(&self.path)
        };
        let prepare = |file: File| give_to_owner_of(owner, &file).and_then(|()| file.sync_all());
        File::open(new).and_then(prepare).map_err(failed(new))?;
        if is_there {
            // A log that a killed server left belongs to the old one. Where that is too damaged to
            // take it in, both go.
            let is_whole = Connection::open(&self.path).is_ok_and(|connection| {
                connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                        row.get::<_, bool>(0)
                    })
                    .is_ok_and(|is_busy| !is_busy)
            });
            for suffix in ["-wal", "-shm"] {
                let log = with_suffix(&self.path, suffix);
                let kept = with_suffix(&replaced, suffix);
                let _ = fs::remove_file(&kept);
                if log.exists() {
                    let put_away = if is_whole {
                        fs::remove_file(&log)
                    } else {
                        fs::rename(&log, &kept)
                    };
                    put_away.map_err(failed(&log))?;
                }
            }
            let _ = fs::remove_file(&replaced);
            fs::hard_link(&self.path, &replaced).map_err(failed(&replaced))?;
        }
        fs::rename(new, &self.path).map_err(failed(&self.path))?;
        sync_folder_of(&self.path).map_err(failed(&self.path))?;
        Ok(is_there.then_some(replaced))
    }
}

#[cfg(test)]
mod tests;
