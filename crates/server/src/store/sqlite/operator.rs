//! Operator commands on the database, beside a running server. A command takes no lock against the
//! server: it is one more process that writes for a moment, and the server sees the change with the
//! next client.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use passmate_proto::AccountNumber;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::connection::{Checkpoint, checkpoint, open_to_write, prepare_close};
use super::engine::{Sqlite, TotalsChange, expire};
use super::error::fault;
use super::lock::{lock_file_shared, restore_lock_path};
use super::schema::schema_newest;
use super::sql::{one, run, unsigned};
use super::{check, copy};
use crate::store::{
    Access, Account, AuthHash, EngineError, ForeignAccount, Invite, Opening, Operator, StoreError,
    Sum,
};

/// How long a command waits while the server or another command is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The columns that [`account_of`] reads.
const SELECT_ACCOUNT: &str =
    "SELECT number, btoken_len, created_at, changed_at, disabled FROM account";

#[derive(Debug)]
pub(in crate::store) struct SqliteOperator {
    pub(super) connection: Connection,
    /// Held as long as the database is open.
    _lock: File,
}

impl SqliteOperator {
    /// Opens an existing database, and upgrades it first if no server is running.
    pub(in crate::store) fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::open_without_upgrade(path)?;
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

    pub(in crate::store) fn open_without_upgrade(path: &Path) -> Result<Self, StoreError> {
        if !path.try_exists().unwrap_or(true) {
            return Err(StoreError::Missing {
                path: path.to_owned(),
            });
        }
        let lock = lock_file_shared(restore_lock_path(path))?;
        let connection = open_to_write(path, BUSY_TIMEOUT)?;
        Ok(Self {
            connection,
            _lock: lock,
        })
    }

    fn write<T>(
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

    /// Empties the log, which still holds deleted bytes. If a reader is active or the disk is full,
    /// the server does it later.
    ///
    /// # Errors
    /// The flush failed. What was committed is in the log, and a server that runs will learn of the
    /// failure itself.
    fn empty_log(&self) -> Result<(), StoreError> {
        match checkpoint(&self.connection, Checkpoint::Truncate) {
            Ok(()) | Err(EngineError::Busy | EngineError::Full) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for SqliteOperator {
    fn drop(&mut self) {
        prepare_close(&self.connection);
    }
}

impl Operator for SqliteOperator {
    fn invite(&mut self, invite: &Invite) -> Result<(), StoreError> {
        let Invite {
            auth,
            note,
            made_at,
            expires_at,
        } = invite;
        self.write(|connection| {
            expire(connection, *made_at)?;
            run(
                connection,
                "INSERT INTO invite (auth_hash, note, made_at, expires_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (auth_hash) DO UPDATE SET note = ?2, made_at = ?3, expires_at = ?4",
                params![auth.0, note, made_at, expires_at],
            )
        })
    }

    fn open_seats(&mut self, opening: Opening) -> Result<(), StoreError> {
        let Opening {
            seats,
            made_at,
            expires_at,
        } = opening;
        self.write(|connection| {
            expire(connection, made_at)?;
            run(
                connection,
                "INSERT INTO opening (seats, made_at, expires_at) VALUES (?1, ?2, ?3)",
                params![seats, made_at, expires_at],
            )
        })
    }

    fn invites(&mut self, now: i64) -> Result<(Vec<Invite>, Vec<Opening>), StoreError> {
        self.write(|connection| {
            expire(connection, now)?;
            let invites = connection
                .prepare(
                    "SELECT auth_hash, note, made_at, expires_at FROM invite
                     ORDER BY expires_at, auth_hash",
                )?
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
                .query_map([], |row| {
                    Ok(Opening {
                        seats: row.get(0)?,
                        made_at: row.get(1)?,
                        expires_at: row.get(2)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            Ok((invites, openings))
        })
    }

    fn revoke_invite(&mut self, auth: &AuthHash) -> Result<bool, StoreError> {
        let revoked = self.write(|connection| {
            connection.execute("DELETE FROM invite WHERE auth_hash = ?1", [auth.0])
        })?;
        self.empty_log()?;
        Ok(revoked > 0)
    }

    fn revoke_openings(&mut self) -> Result<u64, StoreError> {
        self.write(|connection| {
            let seats = one(
                connection,
                "SELECT coalesce(sum(seats), 0) FROM opening",
                [],
            )?;
            run(connection, "DELETE FROM opening", [])?;
            Ok(unsigned(seats))
        })
    }

    fn accounts(&mut self) -> Result<Vec<Account>, StoreError> {
        let read = || {
            let mut statement = self
                .connection
                .prepare(&format!("{SELECT_ACCOUNT} ORDER BY number"))?;
            statement
                .query_map([], account_of)?
                .collect::<Result<_, _>>()
        };
        Ok(read().map_err(fault)?)
    }

    fn account(&mut self, number: AccountNumber) -> Result<Option<Account>, StoreError> {
        let sql = format!("{SELECT_ACCOUNT} WHERE number = ?1");
        Ok(self
            .connection
            .query_row(&sql, [number.as_bytes()], account_of)
            .optional()
            .map_err(fault)?)
    }

    fn set_access(&mut self, number: AccountNumber, access: Access) -> Result<bool, StoreError> {
        let is_disabled = access == Access::Disabled;
        let sql = "UPDATE account SET disabled = ?2 WHERE number = ?1";
        let changed = self
            .write(|connection| connection.execute(sql, params![number.as_bytes(), is_disabled]))?;
        Ok(changed > 0)
    }

    fn delete_account(&mut self, number: AccountNumber) -> Result<bool, StoreError> {
        let is_deleted = match self.write(|connection| delete_account(connection, number)) {
            // Its btoken cannot be read, so it stays where it is, and nobody finds it.
            Err(StoreError::Engine(EngineError::Damaged(_))) => {
                self.write(|connection| unlink_account(connection, number))
            }
            deleted => deleted,
        }?;
        self.empty_log()?;
        Ok(is_deleted)
    }

    fn import(&mut self, accounts: &[ForeignAccount]) -> Result<Vec<bool>, StoreError> {
        self.write(|connection| copy::import(connection, accounts))
    }

    fn schema(&self) -> Result<i64, StoreError> {
        Ok(one(&self.connection, "PRAGMA user_version", []).map_err(fault)?)
    }

    fn sum(&self) -> Result<Sum, StoreError> {
        let row =
            self.connection
                .query_row("SELECT accounts, btoken_bytes FROM totals", [], |row| {
                    Ok(Sum {
                        accounts: unsigned(row.get(0)?),
                        btoken_bytes: unsigned(row.get(1)?),
                    })
                });
        Ok(row.map_err(fault)?)
    }

    fn check(&self, finding: &mut dyn FnMut(String)) -> Result<Sum, StoreError> {
        check::check(&self.connection, finding)
    }

    fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        copy::copy_to(&self.connection, path)
    }

    fn salvage_to(&self, path: &Path, lost: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        copy::salvage_to(&self.connection, path, lost)
    }
}

fn account_of(row: &Row<'_>) -> rusqlite::Result<Account> {
    let number = AccountNumber::from_bytes(row.get(0)?);
    Ok(Account {
        number: number.ok_or(rusqlite::Error::IntegralValueOutOfRange(0, 0))?,
        btoken_len: unsigned(row.get(1)?),
        created_at: row.get(2)?,
        changed_at: row.get(3)?,
        is_disabled: row.get(4)?,
    })
}

/// Deletes an account whose btoken cannot be deleted, because its pages are damaged.
fn unlink_account(connection: &Connection, number: AccountNumber) -> rusqlite::Result<bool> {
    let len: Option<i64> = connection
        .prepare_cached("DELETE FROM account WHERE number = ?1 RETURNING btoken_len")?
        .query_row([number.as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(len) = len else {
        return Ok(false);
    };
    let mut totals = TotalsChange::default();
    totals.count(-1, -len);
    totals.write(connection)?;
    Ok(true)
}

fn delete_account(connection: &Connection, number: AccountNumber) -> rusqlite::Result<bool> {
    let found: Option<(i64, i64)> = connection
        .prepare_cached("DELETE FROM account WHERE number = ?1 RETURNING btoken_id, btoken_len")?
        .query_row([number.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((id, len)) = found else {
        return Ok(false);
    };
    run(connection, "DELETE FROM btoken WHERE id = ?1", [id])?;
    let mut totals = TotalsChange::default();
    totals.count(-1, -len);
    totals.write(connection)?;
    Ok(true)
}

#[cfg(test)]
mod tests;
