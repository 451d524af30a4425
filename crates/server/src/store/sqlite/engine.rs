//! The embedded engine: SQLite with a write-ahead log that is flushed at every commit.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use passmate_proto::AccountNumber;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::error::fault;
use super::lock::{lock_file, lock_path};
use super::reader::SqliteReader;
use super::schema::{check_is_ours, migrate};
use crate::files::sync_folder_of;
use crate::store::{Admission, AuthHash, Btoken, Change, Engine, EngineError, Outcome, StoreError};

/// How long SQLite waits for other processes before it says that it is busy; we ask again then.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long tidying waits for readers; it is not urgent, and changes wait behind it.
const TIDY_TIMEOUT: Duration = Duration::from_millis(50);
/// Statements that stay prepared.
const STATEMENTS: usize = 32;

/// One database file and the only connection that writes to it.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// Held as long as the database is open.
    _lock: File,
}

impl Sqlite {
    /// Opens a database, or makes it. It and the files beside it have mode 0600.
    ///
    /// # Errors
    /// See [`StoreError`]; a database that could not be opened was not changed.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |cause: String| StoreError::Open {
            path: path.to_owned(),
            cause,
        };
        let of_sqlite = |error: rusqlite::Error| failed(error.to_string());
        let lock = lock_file(lock_path(path))?;
        make_file(path).map_err(|error| failed(error.to_string()))?;

        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(of_sqlite)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(of_sqlite)?;
        check_is_ours(&connection, path)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA secure_delete = ON;
                 PRAGMA trusted_schema = OFF;
                 PRAGMA temp_store = MEMORY;",
            )
            .map_err(of_sqlite)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        migrate(&mut connection).map_err(of_sqlite)?;
        sync_folder_of(path).map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            _lock: lock,
        })
    }
}

impl Engine for Sqlite {
    type Reader = SqliteReader;

    fn reader(&self) -> Result<SqliteReader, EngineError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(fault)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
        connection
            .execute_batch("PRAGMA trusted_schema = OFF;")
            .map_err(fault)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(SqliteReader { connection })
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
        let committed = self.transact(changes);
        if committed.is_err() && !self.connection.is_autocommit() {
            // The rollback failed: whatever the next commit wrote would carry this batch along.
            return Err(EngineError::Failed(
                "a transaction cannot be rolled back".to_owned(),
            ));
        }
        committed
    }

    fn tidy(&mut self) -> Result<(), EngineError> {
        let connection = &self.connection;
        connection.busy_timeout(TIDY_TIMEOUT).map_err(fault)?;
        // Deleted pages are wiped in the database, but the log has them until it is written over,
        // which may be never.
        let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        connection.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
        if is_busy.map_err(fault)? {
            Err(EngineError::Busy)
        } else {
            Ok(())
        }
    }
}

impl Sqlite {
    fn transact(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(fault)?;
        let mut totals = Totals::default();
        let outcomes = changes
            .iter()
            .map(|change| apply(&transaction, change, &mut totals).map_err(fault))
            .collect::<Result<_, _>>()?;
        totals.write(&transaction).map_err(fault)?;
        // With synchronous = FULL this returns after the log was flushed.
        transaction.commit().map_err(fault)?;
        Ok(outcomes)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // An empty log at a clean stop makes the database one file. If it fails, the next start
        // reads the log.
        let _ = self.tidy();
    }
}

fn apply(
    connection: &Connection,
    change: &Change,
    totals: &mut Totals,
) -> rusqlite::Result<Outcome> {
    match change {
        Change::Create {
            account,
            auth,
            btoken,
            accounts_max,
            admission,
            at,
        } => {
            if *admission == Admission::Invited
                && let Some(outcome) = repeat(connection, auth, btoken, *at, totals)?
            {
                return Ok(outcome);
            }
            if totals.accounts(connection)? >= *accounts_max {
                return Ok(Outcome::AccountsMax);
            }
            let number = account.as_bytes();
            if one(
                connection,
                "SELECT EXISTS (SELECT 1 FROM account WHERE number = ?1)",
                [number],
            )? {
                return Ok(Outcome::NumberTaken);
            }
            if *admission == Admission::Invited && !admit(connection, auth, *at)? {
                return Ok(Outcome::NotInvited);
            }
            let id: i64 = one(
                connection,
                "INSERT INTO btoken (content) VALUES (?1) RETURNING id",
                [btoken.bytes()],
            )?;
            run(
                connection,
                "INSERT INTO account (number, auth_hash, btoken_hash, btoken_len, btoken_id, created_at, changed_at, admitted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)",
                params![
                    number,
                    auth.0,
                    btoken.hash().0,
                    signed(btoken.bytes().len()),
                    id,
                    at,
                    *admission == Admission::Invited
                ],
            )?;
            totals.count(1, signed(btoken.bytes().len()));
        }
        Change::ReplaceIf {
            account,
            expected,
            btoken,
            at,
        } => {
            let found: Option<(i64, i64)> = connection
                .prepare_cached(
                    "SELECT btoken_id, btoken_len FROM account
                     WHERE number = ?1 AND btoken_hash = ?2 AND disabled = 0",
                )?
                .query_row(params![account.as_bytes(), expected.0], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let Some((id, len_before)) = found else {
                return Ok(Outcome::Stale);
            };
            run(
                connection,
                "UPDATE account SET btoken_hash = ?2, btoken_len = ?3, changed_at = ?4, admitted = 0 WHERE number = ?1",
                params![
                    account.as_bytes(),
                    btoken.hash().0,
                    signed(btoken.bytes().len()),
                    at
                ],
            )?;
            run(
                connection,
                "UPDATE btoken SET content = ?2 WHERE id = ?1",
                params![id, btoken.bytes()],
            )?;
            totals.count(0, signed(btoken.bytes().len()) - len_before);
        }
        Change::Delete { account, auth } => {
            let found: Option<(i64, i64)> = connection
                .prepare_cached(
                    "DELETE FROM account WHERE number = ?1 AND auth_hash = ?2 AND disabled = 0
                     RETURNING btoken_id, btoken_len",
                )?
                .query_row(params![account.as_bytes(), auth.0], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let Some((id, len_before)) = found else {
                return Ok(Outcome::Gone);
            };
            run(connection, "DELETE FROM btoken WHERE id = ?1", [id])?;
            totals.count(-1, -len_before);
        }
        Change::Probe => run(connection, "UPDATE totals SET accounts = accounts", [])?,
        Change::Expire { at } => expire(connection, *at)?,
    }
    Ok(Outcome::Done)
}

/// Stores the btoken in the account that this auth token was let into and that has seen no update
/// yet.
fn repeat(
    connection: &Connection,
    auth: &AuthHash,
    btoken: &Btoken,
    at: i64,
    totals: &mut Totals,
) -> rusqlite::Result<Option<Outcome>> {
    let found: Option<([u8; 8], i64, i64, bool)> = connection
        .prepare_cached(
            "SELECT number, btoken_id, btoken_len, disabled FROM account WHERE auth_hash = ?1 AND admitted = 1",
        )?
        .query_row([auth.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((number, id, len_before, is_disabled)) = found else {
        return Ok(None);
    };
    if is_disabled {
        return Ok(Some(Outcome::NotInvited));
    }
    let len = signed(btoken.bytes().len());
    run(
        connection,
        "UPDATE account SET btoken_hash = ?2, btoken_len = ?3, changed_at = ?4 WHERE number = ?1",
        params![number, btoken.hash().0, len, at],
    )?;
    run(
        connection,
        "UPDATE btoken SET content = ?2 WHERE id = ?1",
        params![id, btoken.bytes()],
    )?;
    totals.count(0, len - len_before);
    Ok(AccountNumber::from_bytes(number).map(Outcome::Again))
}

/// Uses up the invite for this auth token, or takes the open seat whose time is over first.
fn admit(connection: &Connection, auth: &AuthHash, at: i64) -> rusqlite::Result<bool> {
    let invited = connection
        .prepare_cached("DELETE FROM invite WHERE auth_hash = ?1 AND expires_at > ?2")?
        .execute(params![auth.0, at])?;
    if invited > 0 {
        return Ok(true);
    }
    let found: Option<(i64, i64)> = connection
        .prepare_cached(
            "SELECT id, seats FROM opening WHERE expires_at > ?1 ORDER BY expires_at, id LIMIT 1",
        )?
        .query_row([at], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match found {
        None => return Ok(false),
        Some((id, 1)) => run(connection, "DELETE FROM opening WHERE id = ?1", [id])?,
        Some((id, _)) => run(
            connection,
            "UPDATE opening SET seats = seats - 1 WHERE id = ?1",
            [id],
        )?,
    }
    Ok(true)
}

/// Deletes an account and its btoken, whoever asks; false if there is none.
pub(super) fn delete(connection: &Connection, number: AccountNumber) -> rusqlite::Result<bool> {
    let found: Option<(i64, i64)> = connection
        .prepare_cached("DELETE FROM account WHERE number = ?1 RETURNING btoken_id, btoken_len")?
        .query_row([number.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((id, len)) = found else {
        return Ok(false);
    };
    run(connection, "DELETE FROM btoken WHERE id = ?1", [id])?;
    let mut totals = Totals::default();
    totals.count(-1, -len);
    totals.write(connection)?;
    Ok(true)
}

/// Forgets invites and open seats whose time is over.
pub(super) fn expire(connection: &Connection, at: i64) -> rusqlite::Result<()> {
    run(
        connection,
        "DELETE FROM invite WHERE expires_at <= ?1",
        [at],
    )?;
    run(
        connection,
        "DELETE FROM opening WHERE expires_at <= ?1",
        [at],
    )
}

/// What a batch adds to the row of totals, which is written once for all of it.
#[derive(Default)]
pub(super) struct Totals {
    /// Accounts before the batch, if a create had to know.
    accounts_before: Option<i64>,
    accounts: i64,
    bytes: i64,
}

impl Totals {
    /// Accounts after the changes so far.
    fn accounts(&mut self, connection: &Connection) -> rusqlite::Result<u64> {
        let before = match self.accounts_before {
            Some(before) => before,
            None => {
                *self
                    .accounts_before
                    .insert(one(connection, "SELECT accounts FROM totals", [])?)
            }
        };
        Ok(u64::try_from(before + self.accounts).unwrap_or(0))
    }

    pub(super) fn count(&mut self, accounts: i64, bytes: i64) {
        self.accounts += accounts;
        self.bytes += bytes;
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        if (self.accounts, self.bytes) == (0, 0) {
            return Ok(());
        }
        let sql = "UPDATE totals SET accounts = accounts + ?1, btoken_bytes = btoken_bytes + ?2";
        run(connection, sql, [self.accounts, self.bytes])
    }
}

pub(super) fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

pub(super) fn one<T: rusqlite::types::FromSql>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<T> {
    connection
        .prepare_cached(sql)?
        .query_row(params, |row| row.get(0))
}

pub(super) fn run(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(params).map(drop)
}

/// SQLite gives the files that it makes beside the database the mode of the database.
fn make_file(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

#[cfg(test)]
pub(super) mod tests;
