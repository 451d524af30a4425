//! What an operator does to a store, whether a server is using it or not.
//!
//! A command takes no lock against the server: it is one more process that writes to the database
//! for a moment, and the server sees what it wrote with the next client. The rules are:
//!  - one short transaction for each change, flushed before it is told;
//!  - no change of the schema while a server may be running: that is for whoever has its lock;
//!  - the restore lock is held together with other commands, so that nobody writes into a file that
//!    is being replaced.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use passmate_proto::AccountNumber;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::engine::{self as sqlite, Sqlite};
use super::error::fault;
use super::lock::{lock_file_shared, restore_lock};
use super::schema::{check_is_ours, schema_newest};
use crate::store::{Account, AuthHash, Invite, Opening, StoreError};

/// How long a command waits for the server or another command that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A store in the hands of its operator.
#[derive(Debug)]
pub struct AdminStore {
    connection: Connection,
    /// Held as long as the database is open.
    _lock: File,
}

/// What [`account_of`] reads.
const ACCOUNT: &str = "SELECT number, btoken_len, created_at, changed_at, disabled FROM account";

impl AdminStore {
    /// Opens a store that is there.
    ///
    /// One that an older program made is brought up to date first, if no server runs.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Missing`] if there is none, [`StoreError::OlderServer`] if
    /// the server that uses it is older than this program.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::open_as_it_is(path)?;
        if store.schema()? < schema_newest() {
            match Sqlite::open(path) {
                Ok(engine) => drop(engine),
                Err(StoreError::InUse { .. }) => {
                    return Err(StoreError::OlderServer {
                        path: path.to_owned(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(store)
    }

    /// Opens a store that is there to look at it or to copy it; one that an older program made
    /// stays as it is.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Missing`] if there is none.
    pub fn open_as_it_is(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::Open {
            path: path.to_owned(),
            cause: error.to_string(),
        };
        if !path.try_exists().unwrap_or(true) {
            return Err(StoreError::Missing {
                path: path.to_owned(),
            });
        }
        let lock = lock_file_shared(restore_lock(path))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        check_is_ours(&connection, path)?;
        connection
            .execute_batch("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF;")
            .map_err(failed)?;
        Ok(Self {
            connection,
            _lock: lock,
        })
    }

    /// Lets the device with this auth token make an account; one that was invited already gets the
    /// new note and time.
    ///
    /// # Errors
    /// The store failed.
    pub fn invite(&mut self, invite: &Invite) -> Result<(), StoreError> {
        let Invite {
            auth,
            note,
            made_at,
            expires_at,
        } = invite;
        self.write(|connection| {
            sqlite::expire(connection, *made_at)?;
            sqlite::run(
                connection,
                "INSERT INTO invite (auth_hash, note, made_at, expires_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (auth_hash) DO UPDATE SET note = ?2, made_at = ?3, expires_at = ?4",
                params![auth.0, note, made_at, expires_at],
            )
        })
    }

    /// Lets anybody in, as long as there are seats and time.
    ///
    /// # Errors
    /// The store failed.
    pub fn open_seats(&mut self, opening: Opening) -> Result<(), StoreError> {
        let Opening {
            seats,
            made_at,
            expires_at,
        } = opening;
        self.write(|connection| {
            sqlite::expire(connection, made_at)?;
            sqlite::run(
                connection,
                "INSERT INTO opening (seats, made_at, expires_at) VALUES (?1, ?2, ?3)",
                params![seats, made_at, expires_at],
            )
        })
    }

    /// All invites and openings whose time is not over, those that go first in front. What is over
    /// is forgotten.
    ///
    /// # Errors
    /// The store failed.
    pub fn invites(&mut self, now: i64) -> Result<(Vec<Invite>, Vec<Opening>), StoreError> {
        self.write(|connection| {
            sqlite::expire(connection, now)?;
            let invites = connection
                .prepare("SELECT auth_hash, note, made_at, expires_at FROM invite ORDER BY expires_at, auth_hash")?
                .query_map([], |row| {
                    Ok(Invite {
                        auth: AuthHash(row.get(0)?),
                        note: row.get(1)?,
                        made_at: row.get(2)?,
                        expires_at: row.get(3)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            let openings = connection
                .prepare("SELECT seats, made_at, expires_at FROM opening ORDER BY expires_at, id")?
                .query_map([], |row| Ok(Opening { seats: row.get(0)?, made_at: row.get(1)?, expires_at: row.get(2)? }))?
                .collect::<Result<_, _>>()?;
            Ok((invites, openings))
        })
    }

    /// Takes back the invite of this device; false if there is none.
    ///
    /// # Errors
    /// The store failed.
    pub fn revoke_invite(&mut self, auth: &AuthHash) -> Result<bool, StoreError> {
        let revoked = self.write(|connection| {
            connection.execute("DELETE FROM invite WHERE auth_hash = ?1", [auth.0])
        })?;
        self.wipe();
        Ok(revoked > 0)
    }

    /// Takes back all seats that are left, and says how many.
    ///
    /// # Errors
    /// The store failed.
    pub fn revoke_openings(&mut self) -> Result<u64, StoreError> {
        self.write(|connection| {
            let seats: i64 = sqlite::one(
                connection,
                "SELECT coalesce(sum(seats), 0) FROM opening",
                [],
            )?;
            sqlite::run(connection, "DELETE FROM opening", [])?;
            Ok(u64::try_from(seats).unwrap_or(0))
        })
    }

    /// All accounts, by number.
    ///
    /// # Errors
    /// The store failed.
    pub fn accounts(&mut self) -> Result<Vec<Account>, StoreError> {
        let read = || {
            let mut statement = self
                .connection
                .prepare(&format!("{ACCOUNT} ORDER BY number"))?;
            statement
                .query_map([], account_of)?
                .collect::<Result<_, _>>()
        };
        Ok(read().map_err(fault)?)
    }

    /// One account; `None` if there is none of that number.
    ///
    /// # Errors
    /// The store failed.
    pub fn account(&mut self, number: AccountNumber) -> Result<Option<Account>, StoreError> {
        let sql = format!("{ACCOUNT} WHERE number = ?1");
        Ok(self
            .connection
            .query_row(&sql, [number.as_bytes()], account_of)
            .optional()
            .map_err(fault)?)
    }

    /// Lets nobody use an account, or its owner again; false if there is none of that number.
    ///
    /// # Errors
    /// The store failed.
    pub fn set_disabled(
        &mut self,
        number: AccountNumber,
        is_disabled: bool,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE account SET disabled = ?2 WHERE number = ?1";
        let changed = self
            .write(|connection| connection.execute(sql, params![number.as_bytes(), is_disabled]))?;
        Ok(changed > 0)
    }

    /// Deletes an account and its btoken; false if there is none of that number.
    ///
    /// # Errors
    /// The store failed.
    pub fn delete_account(&mut self, number: AccountNumber) -> Result<bool, StoreError> {
        let is_deleted = self.write(|connection| sqlite::delete(connection, number))?;
        self.wipe();
        Ok(is_deleted)
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn write<T>(
        &mut self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(fault)?;
        let changed = change(&transaction).map_err(fault)?;
        transaction.commit().map_err(fault)?;
        Ok(changed)
    }

    /// Empties the log, which still has what was deleted. If somebody reads just now, the server
    /// comes to it later.
    fn wipe(&self) {
        let _: rusqlite::Result<i64> =
            self.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    }
}

fn account_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Account> {
    let number = AccountNumber::from_bytes(row.get(0)?);
    Ok(Account {
        number: number.ok_or(rusqlite::Error::IntegralValueOutOfRange(0, 0))?,
        btoken_len: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
        created_at: row.get(2)?,
        changed_at: row.get(3)?,
        is_disabled: row.get(4)?,
    })
}

#[cfg(test)]
mod tests;
