//! The embedded engine: SQLite with a write-ahead log that is flushed at every commit.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use passmate_proto::AccountNumber;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, ffi, params,
};
use rustix::io::Errno;

use crate::files::{sync_folder_of, with_suffix};
use crate::store::{
    Admission, AuthHash, Btoken, BtokenHash, Change, Engine, EngineError, Head, Outcome, Reader,
    StoreError, Stored, lock_file,
};

/// The schema's history, the oldest first. A line that was released is never changed; a new one is
/// added.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_accounts.sql"),
    include_str!("../../../migrations/sqlite/0002_invites.sql"),
    include_str!("../../../migrations/sqlite/0003_disabled.sql"),
];
/// Tells our databases from others: "PaSr".
const APPLICATION_ID: i64 = 0x5061_5372;
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
        let lock = lock(path)?;
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

/// Reads beside the writer; it sees what was committed before the read began.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
}

impl Reader for SqliteReader {
    fn read_head(&mut self, account: &[u8; 8]) -> Result<Option<Head>, EngineError> {
        // The next account in order is read if there is none of this number, so that both take one
        // row.
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT number, auth_hash, btoken_hash, btoken_len, disabled FROM account
                 WHERE number >= ?1 ORDER BY number LIMIT 1",
            )
            .map_err(fault)?;
        let found = statement
            .query_row([account], |row| {
                let head = Head {
                    auth: AuthHash(row.get(1)?),
                    btoken: BtokenHash(row.get(2)?),
                    btoken_len: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(u64::MAX),
                    is_disabled: row.get(4)?,
                };
                Ok((row.get::<_, [u8; 8]>(0)?, head))
            })
            .optional();
        Ok(found
            .map_err(fault)?
            .and_then(|(number, head)| (number == *account).then_some(head)))
    }

    fn read(&mut self, account: AccountNumber) -> Result<Option<Stored>, EngineError> {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT btoken.content, account.btoken_hash FROM account
                 JOIN btoken ON btoken.id = account.btoken_id WHERE account.number = ?1",
            )
            .map_err(fault)?;
        let found = statement
            .query_row([account.as_bytes()], |row| {
                Ok((
                    Arc::<[u8]>::from(row.get_ref(0)?.as_blob()?),
                    BtokenHash(row.get(1)?),
                ))
            })
            .optional();
        let Some((btoken, hash)) = found.map_err(fault)? else {
            return Ok(None);
        };
        if BtokenHash::of(&btoken) != hash {
            return Err(EngineError::Damaged(
                "a btoken is not what was stored".to_owned(),
            ));
        }
        Ok(Some(Stored { btoken, hash }))
    }
}

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
fn is_out_of_room(error: &rusqlite::Error, last: &io::Error) -> bool {
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

/// One server at a time.
fn lock(path: &Path) -> Result<File, StoreError> {
    lock_file(lock_path(path))
}

/// What a server locks as long as it uses the database.
pub(super) fn lock_path(path: &Path) -> PathBuf {
    with_suffix(path, ".lock")
}

/// The newest schema that this program knows.
pub(super) fn schema_newest() -> i64 {
    signed(MIGRATIONS.len())
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

/// The schema of a database of ours.
pub(super) fn check_is_ours(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let failed = |error: rusqlite::Error| {
        // What is asked here is right, so an error of the statement means that the schema cannot be
        // read.
        let is_of_schema = error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == ffi::SQLITE_ERROR);
        let cause = error.to_string();
        match fault(error) {
            EngineError::Damaged(_) => {
                EngineError::Damaged(format!("{}: {cause}", path.display())).into()
            }
            EngineError::Failed(_) if is_of_schema => {
                EngineError::Damaged(format!("{}: {cause}", path.display())).into()
            }
            EngineError::Busy => EngineError::Busy.into(),
            _ => StoreError::Open {
                path: path.to_owned(),
                cause,
            },
        }
    };
    let id: i64 = connection
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(failed)?;
    let schema: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(failed)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if id != APPLICATION_ID && (id != 0 || tables != 0) {
        return Err(StoreError::NotOurs {
            path: path.to_owned(),
        });
    }
    let known = schema_newest();
    if schema > known {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found: schema,
            known,
        });
    }
    Ok(schema)
}

/// Brings the schema to the newest. Each step is a transaction, so a step that was interrupted did
/// not begin.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let schema: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(schema).unwrap_or(0);
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", signed(index + 1))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use passmate_proto::AuthToken;

    use super::*;
    use crate::store::suite;

    fn path(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("passmate.db")
    }

    /// What the first version of this program made.
    pub(crate) fn make_first_schema(path: &Path) {
        let connection = Connection::open(path).unwrap();
        connection
            .execute_batch(MIGRATIONS.first().unwrap())
            .unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .unwrap();
        connection
            .pragma_update(None, "journal_mode", "wal")
            .unwrap();
    }

    fn create(number: u8, len: usize) -> Change {
        Change::Create {
            account: AccountNumber::from_bytes([number; 8]).unwrap(),
            auth: AuthHash::of(&AuthToken::new([1; 32])),
            btoken: Btoken::new(vec![number; len]),
            accounts_max: 100,
            admission: Admission::Anyone,
            at: 0,
        }
    }

    #[test]
    fn it_passes_the_suite() {
        let dirs = std::cell::RefCell::new(Vec::new());
        suite::check(|| {
            let dir = tempfile::tempdir().unwrap();
            let engine = Sqlite::open(&path(&dir)).unwrap();
            dirs.borrow_mut().push(dir);
            engine
        });
    }

    #[test]
    fn a_database_keeps_its_accounts_and_is_one_file_when_it_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = Sqlite::open(&path(&dir)).unwrap();
        engine.commit(&[create(1, 5000)]).unwrap();
        drop(engine);
        let mut files: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        files.sort();
        assert_eq!(files, ["passmate.db", "passmate.db.lock"]);
        let engine = Sqlite::open(&path(&dir)).unwrap();
        let account = AccountNumber::from_bytes([1; 8]).unwrap();
        assert_eq!(
            engine
                .reader()
                .unwrap()
                .read(account)
                .unwrap()
                .unwrap()
                .btoken
                .len(),
            5000
        );
    }

    #[test]
    fn every_commit_is_flushed_and_what_is_deleted_is_wiped() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Sqlite::open(&path(&dir)).unwrap();
        let pragma = |name: &str| {
            engine
                .connection
                .query_row(&format!("PRAGMA {name}"), [], |row| {
                    row.get::<_, rusqlite::types::Value>(0)
                })
        };
        use rusqlite::types::Value::{Integer, Text};
        assert_eq!(pragma("journal_mode").unwrap(), Text("wal".to_owned()));
        assert_eq!(pragma("synchronous").unwrap(), Integer(2));
        assert_eq!(pragma("secure_delete").unwrap(), Integer(1));
    }

    #[test]
    fn all_files_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path(&dir), b"").unwrap();
        std::fs::set_permissions(path(&dir), Permissions::from_mode(0o644)).unwrap();
        let mut engine = Sqlite::open(&path(&dir)).unwrap();
        engine.commit(&[create(1, 5000)]).unwrap();
        let files = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|file| file.unwrap());
        let modes: Vec<_> = files
            .map(|file| file.metadata().unwrap().permissions().mode() & 0o777)
            .collect();
        assert_eq!(modes, [0o600; 4], "database, log, index of the log, lock");
    }

    #[test]
    fn a_second_server_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Sqlite::open(&path(&dir)).unwrap();
        assert!(matches!(
            Sqlite::open(&path(&dir)),
            Err(StoreError::InUse { .. })
        ));
        drop(first);
        Sqlite::open(&path(&dir)).unwrap();
    }

    #[test]
    fn a_newer_schema_a_foreign_database_and_no_database_are_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(Sqlite::open(&path(&dir)).unwrap());
        Connection::open(path(&dir))
            .unwrap()
            .pragma_update(None, "user_version", 4)
            .unwrap();
        match Sqlite::open(&path(&dir)) {
            Err(StoreError::NewerSchema {
                found: 4, known: 3, ..
            }) => {}
            other => panic!("{other:?}"),
        }
        let foreign = dir.path().join("foreign.db");
        Connection::open(&foreign)
            .unwrap()
            .execute_batch("CREATE TABLE bookmarks (url TEXT)")
            .unwrap();
        assert!(matches!(
            Sqlite::open(&foreign),
            Err(StoreError::NotOurs { .. })
        ));
        let text = dir.path().join("text.db");
        std::fs::write(&text, "shopping list ".repeat(100)).unwrap();
        assert!(matches!(
            Sqlite::open(&text),
            Err(StoreError::Engine(EngineError::Damaged(_)))
        ));
        assert_eq!(
            std::fs::read(&text).unwrap(),
            "shopping list ".repeat(100).as_bytes()
        );
        let nowhere = dir.path().join("no/such/folder.db");
        assert!(matches!(
            Sqlite::open(&nowhere),
            Err(StoreError::Open { .. })
        ));
    }

    #[test]
    fn a_full_disk_rolls_back_and_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = Sqlite::open(&path(&dir)).unwrap();
        engine.commit(&[create(1, 5000)]).unwrap();
        // SQLite's own limit gives the same error as a disk without room.
        let pages: i64 = engine
            .connection
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap();
        engine
            .connection
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .unwrap();
        assert_eq!(engine.commit(&[create(2, 100_000)]), Err(EngineError::Full));
        let mut reader = engine.reader().unwrap();
        assert!(reader.read_head(&[2; 8]).unwrap().is_none());
        assert!(reader.read_head(&[1; 8]).unwrap().is_some());
        engine
            .connection
            .query_row("PRAGMA max_page_count = 100000", [], |_| Ok(()))
            .unwrap();
        assert_eq!(
            engine.commit(&[create(2, 100_000)]),
            Ok(vec![Outcome::Done])
        );
    }

    #[test]
    fn a_btoken_that_is_not_what_was_stored_is_never_given_away() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = Sqlite::open(&path(&dir)).unwrap();
        engine.commit(&[create(1, 100)]).unwrap();
        engine
            .connection
            .execute("UPDATE btoken SET content = zeroblob(100)", [])
            .unwrap();
        let account = AccountNumber::from_bytes([1; 8]).unwrap();
        assert!(matches!(
            engine.reader().unwrap().read(account),
            Err(EngineError::Damaged(_))
        ));
    }

    #[test]
    fn a_writer_that_holds_the_database_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = Sqlite::open(&path(&dir)).unwrap();
        engine
            .connection
            .busy_timeout(Duration::from_millis(1))
            .unwrap();
        let other = Connection::open(path(&dir)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(engine.commit(&[create(1, 1)]), Err(EngineError::Busy));
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(engine.commit(&[create(1, 1)]), Ok(vec![Outcome::Done]));
    }

    #[test]
    fn tidying_empties_the_log_unless_somebody_reads_and_then_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = Sqlite::open(&path(&dir)).unwrap();
        let log_len = || {
            std::fs::metadata(dir.path().join("passmate.db-wal"))
                .unwrap()
                .len()
        };
        engine.commit(&[create(1, 5000)]).unwrap();
        let mut other = Connection::open(path(&dir)).unwrap();
        let reading = other.transaction().unwrap();
        reading
            .query_row("SELECT count(*) FROM account", [], |_| Ok(()))
            .unwrap();
        engine.commit(&[create(2, 5000)]).unwrap();
        assert_eq!(engine.tidy(), Err(EngineError::Busy));
        assert!(log_len() > 0);
        engine.commit(&[create(3, 5000)]).unwrap();
        drop(reading);
        assert_eq!(engine.tidy(), Ok(()));
        assert_eq!(log_len(), 0);
        let timeout: i64 = engine
            .connection
            .query_row("PRAGMA busy_timeout", [], |row| row.get(0))
            .unwrap();
        assert_eq!(timeout, 2000, "commits wait as before");
    }

    #[test]
    fn a_write_over_a_quota_is_a_full_disk_and_any_other_failure_is_not() {
        let check = |code: i32, errno: Errno, expected: bool| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(
                is_out_of_room(&error, &errno.into()),
                expected,
                "{code} {errno:?}"
            );
        };
        for errno in [Errno::DQUOT, Errno::NOSPC, Errno::FBIG] {
            check(ffi::SQLITE_IOERR_WRITE, errno, true);
            check(ffi::SQLITE_IOERR_SHMSIZE, errno, true);
            check(ffi::SQLITE_IOERR_FSYNC, errno, false);
            check(ffi::SQLITE_IOERR_DIR_FSYNC, errno, false);
            check(ffi::SQLITE_CORRUPT, errno, false);
        }
        check(ffi::SQLITE_IOERR_WRITE, Errno::IO, false);
        check(ffi::SQLITE_IOERR_SHMSIZE, Errno::NOENT, false);
    }
}
