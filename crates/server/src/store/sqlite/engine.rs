//! The writing side: one connection that commits with a flushed write-ahead log.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use passmate_proto::AccountNumber;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::audit;
use super::connection::{Checkpoint, PAGE_LEN, checkpoint, open_to_write, prepare_close};
use super::content::set_content;
use super::error::fault;
use super::intake::is_unfinished;
use super::lock::{lock_file, lock_path};
use super::reader::SqliteReader;
use super::revision::{REVISION, stored};
use super::schema::migrate;
use super::sql::{one, run, signed};
use crate::clock::day_of;
use crate::files::{FileId, sync_folder_of};
use crate::store::{
    Admission, AuthHash, Btoken, Change, Created, Deleted, Engine, EngineError, Notes, Outcome,
    Replaced, Revision, StoreError,
};

/// How long SQLite waits for other processes before it reports that the database is busy. The
/// caller retries after that.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long tidying waits for readers. It is not urgent, and changes wait behind it.
const TIDY_TIMEOUT: Duration = Duration::from_millis(50);
/// The log is moved into the database when it has this many pages: 8 MiB.
const LOG_PAGES_MAX: usize = 512;
/// The memory for pages that a transaction changes, in KiB. A transaction that changes more writes them
/// to the log one by one.
const CACHE_KIB: i64 = 8 << 10;
/// The number of statements that stay prepared.
pub(super) const STATEMENTS: usize = 32;

/// A database file, and the only connection that writes to it all the time.
#[derive(Debug)]
pub struct Sqlite {
    pub(super) connection: Connection,
    path: PathBuf,
    /// The file that was opened.
    file: FileId,
    page_len: usize,
    /// About how many pages the log has got since it was moved into the database.
    log_pages: usize,
    /// Held as long as the database is open.
    _lock: File,
}

impl Sqlite {
    /// Opens a database, or makes it. The database and the files beside it get mode 0600.
    ///
    /// # Errors
    /// See [`StoreError`]; a database that cannot be opened is not changed.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let opened = Self::open_unfinished(path)?;
        if is_unfinished(&opened.connection).map_err(fault)? {
            return Err(StoreError::Unfinished {
                store: path.display().to_string(),
            });
        }
        Ok(opened)
    }

    /// Opens a database that may not have taken in all of another store.
    pub(super) fn open_unfinished(path: &Path) -> Result<Self, StoreError> {
        let failed = |cause: String| StoreError::Open {
            path: path.to_owned(),
            cause,
        };
        let of_sqlite = |error: rusqlite::Error| failed(error.to_string());
        let lock = lock_file(lock_path(path))?;
        make_file(path).map_err(|error| failed(error.to_string()))?;

        let mut connection = open_to_write(path, BUSY_TIMEOUT)?;
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL;
                 PRAGMA temp_store = MEMORY;
                 PRAGMA cache_size = -{CACHE_KIB};"
            ))
            .map_err(of_sqlite)?;
        let page_len: i64 = one(&connection, "PRAGMA page_size", []).map_err(of_sqlite)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        migrate(&mut connection).map_err(of_sqlite)?;
        // From here on there is a log, whose name must survive a power cut too.
        sync_folder_of(path).map_err(|error| failed(error.to_string()))?;
        let file = FileId::of(path).map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            file,
            page_len: usize::try_from(page_len).unwrap_or(PAGE_LEN),
            log_pages: 0,
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still names the file that is open.
    fn check_place(&self) -> Result<(), EngineError> {
        match FileId::of(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EngineError::Failed(
                format!("cannot look at {}: {error}", self.path.display()),
            )),
            _ => Err(EngineError::Moved(self.path.clone())),
        }
    }

    fn transact(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(fault)?;
        let mut totals = TotalsChange::default();
        let outcomes = changes
            .iter()
            .map(|change| apply(&transaction, change, &mut totals).map_err(fault))
            .collect::<Result<_, _>>()?;
        totals.write(&transaction).map_err(fault)?;
        // With synchronous = FULL this returns after the log was flushed.
        transaction.commit().map_err(fault)?;
        let pages = changes
            .iter()
            .map(|change| log_pages(change, self.page_len));
        self.log_pages += pages.sum::<usize>();
        // Nobody would find what is confirmed in a file without a name.
        self.check_place()?;
        Ok(outcomes)
    }

    fn try_write_notes(&mut self, notes: &Notes) -> Result<(), EngineError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(fault)?;
        if let Some(id) = notes.audit_logged {
            audit::set_logged(&transaction, id).map_err(fault)?;
        }
        for (account, at) in &notes.synced {
            note_sync(&transaction, *account, *at).map_err(fault)?;
        }
        transaction.commit().map_err(fault)?;
        self.log_pages += notes.synced.len();
        Ok(())
    }
}

/// The rollback failed, so the next commit would include this batch.
fn not_rolled_back() -> EngineError {
    EngineError::Failed("a transaction cannot be rolled back".to_owned())
}

/// About as many pages of the log as a change takes.
fn log_pages(change: &Change, page_len: usize) -> usize {
    /// Those of the account, the index and the totals.
    const OTHERS: usize = 6;
    let len = match change {
        Change::Create { btoken, .. } | Change::ReplaceIf { btoken, .. } => btoken.bytes().len(),
        Change::Delete { .. } | Change::Expire { .. } | Change::Probe => 0,
    };
    len / page_len.max(1) + OTHERS
}

impl Engine for Sqlite {
    type Reader = SqliteReader;

    fn reader(&self) -> Result<SqliteReader, EngineError> {
        SqliteReader::open(&self.path)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError> {
        let committed = self.transact(changes);
        if committed.is_err() && !self.connection.is_autocommit() {
            return Err(not_rolled_back());
        }
        committed
    }

    fn settle(&mut self) -> Result<(), EngineError> {
        if self.log_pages < LOG_PAGES_MAX {
            return Ok(());
        }
        // After a failure that is none, it is tried again when the log has grown as much once more.
        self.log_pages = 0;
        checkpoint(&self.connection, Checkpoint::Passive)
    }

    fn write_notes(&mut self, notes: &Notes) -> Result<(), EngineError> {
        // Changes wait behind it.
        self.connection.busy_timeout(TIDY_TIMEOUT).map_err(fault)?;
        let mut written = self.try_write_notes(notes);
        if matches!(written, Err(EngineError::Damaged(_))) && notes.synced.len() > 1 {
            // One by one, so that a damaged account harms no note but its own.
            written = notes.synced.iter().try_for_each(|one| {
                match self.try_write_notes(&Notes {
                    synced: [(*one.0, *one.1)].into(),
                    ..Notes::default()
                }) {
                    Err(EngineError::Damaged(_)) => Ok(()),
                    written => written,
                }
            });
        }
        self.connection.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
        if written.is_err() && !self.connection.is_autocommit() {
            return Err(not_rolled_back());
        }
        written
    }

    fn tidy(&mut self) -> Result<(), EngineError> {
        let connection = &self.connection;
        connection.busy_timeout(TIDY_TIMEOUT).map_err(fault)?;
        // Deleted pages are wiped in the database, but stay in the log until it is overwritten,
        // which may never happen.
        let tidied = checkpoint(connection, Checkpoint::Truncate);
        connection.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
        if tidied.is_ok() {
            self.log_pages = 0;
        }
        tidied
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        prepare_close(&self.connection);
    }
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

fn apply(
    connection: &Connection,
    change: &Change,
    totals: &mut TotalsChange,
) -> rusqlite::Result<Outcome> {
    Ok(match change {
        Change::Create {
            account,
            auth,
            btoken,
            accounts_max,
            admission,
            at,
        } => {
            let new = NewAccount {
                number: *account,
                auth,
                btoken,
                accounts_max: *accounts_max,
                at: *at,
            };
            Outcome::Created(match admission {
                Admission::Anyone => create(connection, &new, totals)?,
                Admission::Invited => create_invited(connection, &new, totals)?,
            })
        }
        Change::ReplaceIf {
            account,
            expected,
            btoken,
            at,
        } => Outcome::Replaced(replace_if(
            connection, *account, expected, btoken, *at, totals,
        )?),
        Change::Delete { account, auth } => {
            Outcome::Deleted(delete(connection, *account, auth, totals)?)
        }
        Change::Probe => {
            run(connection, "UPDATE totals SET accounts = accounts", [])?;
            Outcome::Done
        }
        Change::Expire { at } => {
            expire(connection, *at)?;
            audit::expire(connection, *at)?;
            Outcome::Done
        }
    })
}

struct NewAccount<'a> {
    number: AccountNumber,
    auth: &'a AuthHash,
    btoken: &'a Btoken,
    accounts_max: u64,
    at: i64,
}

fn create(
    connection: &Connection,
    new: &NewAccount<'_>,
    totals: &mut TotalsChange,
) -> rusqlite::Result<Created> {
    if let Some(refused) = cannot_create(connection, new, totals)? {
        return Ok(refused);
    }
    insert_account(connection, new, false, totals)
}

fn create_invited(
    connection: &Connection,
    new: &NewAccount<'_>,
    totals: &mut TotalsChange,
) -> rusqlite::Result<Created> {
    if let Some(created) = repeat_create(connection, new, totals)? {
        return Ok(created);
    }
    if let Some(refused) = cannot_create(connection, new, totals)? {
        return Ok(refused);
    }
    if !admit(connection, new.auth, new.at)? {
        return Ok(Created::NotInvited);
    }
    insert_account(connection, new, true, totals)
}

fn cannot_create(
    connection: &Connection,
    new: &NewAccount<'_>,
    totals: &mut TotalsChange,
) -> rusqlite::Result<Option<Created>> {
    if totals.accounts(connection)? >= new.accounts_max {
        return Ok(Some(Created::AccountsMax));
    }
    let exists = "SELECT EXISTS (SELECT 1 FROM account WHERE number = ?1)";
    let is_taken: bool = one(connection, exists, [new.number.as_bytes()])?;
    Ok(is_taken.then_some(Created::NumberTaken))
}

fn insert_account(
    connection: &Connection,
    new: &NewAccount<'_>,
    is_admitted: bool,
    totals: &mut TotalsChange,
) -> rusqlite::Result<Created> {
    let id: i64 = one(
        connection,
        "INSERT INTO btoken (content) VALUES (?1) RETURNING id",
        [new.btoken.bytes()],
    )?;
    let len = signed(new.btoken.bytes().len());
    run(
        connection,
        "INSERT INTO account (number, auth_hash, btoken_hash, btoken_len, btoken_id, created_at, \
         changed_at, admitted, synced_at, revision, checksum)
         VALUES (?1, ?2, zeroblob(32), ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9)",
        params![
            new.number.as_bytes(),
            new.auth.0,
            len,
            id,
            new.at,
            is_admitted,
            day_of(new.at),
            new.btoken.revision.0,
            stored(new.btoken.checksum)
        ],
    )?;
    totals.count(1, len);
    Ok(Created::Done(new.number, ()))
}

/// Stores the btoken in the account that this auth token was admitted for, if the account has not
/// been updated yet.
fn repeat_create(
    connection: &Connection,
    new: &NewAccount<'_>,
    totals: &mut TotalsChange,
) -> rusqlite::Result<Option<Created>> {
    let found: Option<([u8; 8], i64, i64, bool)> = connection
        .prepare_cached(
            "SELECT number, btoken_id, btoken_len, disabled FROM account
             WHERE auth_hash = ?1 AND admitted = 1",
        )?
        .query_row([new.auth.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((number, id, len_before, is_disabled)) = found else {
        return Ok(None);
    };
    if is_disabled {
        return Ok(Some(Created::NotInvited));
    }
    let len = signed(new.btoken.bytes().len());
    run(
        connection,
        "UPDATE account SET btoken_hash = zeroblob(32), btoken_len = ?2, changed_at = ?3, \
         synced_at = ?4, revision = ?5, checksum = ?6 WHERE number = ?1",
        params![
            number,
            len,
            new.at,
            day_of(new.at),
            new.btoken.revision.0,
            stored(new.btoken.checksum)
        ],
    )?;
    set_content(connection, id, new.btoken.bytes())?;
    totals.count(0, len - len_before);
    Ok(AccountNumber::from_bytes(number).map(|number| Created::Done(number, ())))
}

/// Uses up the invite for this auth token, or takes an open seat: the one that expires first.
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

fn replace_if(
    connection: &Connection,
    account: AccountNumber,
    expected: &Revision,
    btoken: &Btoken,
    at: i64,
    totals: &mut TotalsChange,
) -> rusqlite::Result<Replaced> {
    static FIND: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT btoken_id, btoken_len FROM account
             WHERE number = ?1 AND {REVISION} = ?2 AND disabled = 0"
        )
    });
    let found: Option<(i64, i64)> = connection
        .prepare_cached(&FIND)?
        .query_row(params![account.as_bytes(), expected.0], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((id, len_before)) = found else {
        return Ok(Replaced::Stale);
    };
    let len = signed(btoken.bytes().len());
    run(
        connection,
        "UPDATE account SET btoken_hash = zeroblob(32), btoken_len = ?2, changed_at = ?3, \
         admitted = 0, synced_at = ?4, revision = ?5, checksum = ?6 WHERE number = ?1",
        params![
            account.as_bytes(),
            len,
            at,
            day_of(at),
            btoken.revision.0,
            stored(btoken.checksum)
        ],
    )?;
    set_content(connection, id, btoken.bytes())?;
    totals.count(0, len - len_before);
    Ok(Replaced::Done(()))
}

fn delete(
    connection: &Connection,
    account: AccountNumber,
    auth: &AuthHash,
    totals: &mut TotalsChange,
) -> rusqlite::Result<Deleted> {
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
        return Ok(Deleted::Gone);
    };
    run(connection, "DELETE FROM btoken WHERE id = ?1", [id])?;
    totals.count(-1, -len_before);
    Ok(Deleted::Done(()))
}

/// Writes the day of the last exchange of an account, which never goes back.
pub(super) fn note_sync(
    connection: &Connection,
    account: AccountNumber,
    at: i64,
) -> rusqlite::Result<()> {
    run(
        connection,
        "UPDATE account SET synced_at = ?2 WHERE number = ?1 AND coalesce(synced_at, 0) < ?2",
        params![account.as_bytes(), day_of(at)],
    )
}

/// Removes invites and open seats that have expired.
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

/// What a batch adds to the totals row, which is written once for the whole batch.
#[derive(Default)]
pub(super) struct TotalsChange {
    /// The number of accounts before the batch, read when a create first needs it.
    accounts_before: Option<i64>,
    accounts: i64,
    bytes: i64,
}

impl TotalsChange {
    /// The number of accounts after the changes so far.
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

#[cfg(test)]
pub(super) mod tests;
