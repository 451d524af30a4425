//! Whole databases: a copy of one that is in use, a replacement for one that is not, and accounts
//! of another server.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXUPPER;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, params, params_from_iter};
use sha2::{Digest, Sha256};

use super::connection::{Checkpoint, PAGE_LEN, checkpoint, open_to_write, prepare_close};
use super::engine::{BUSY_TIMEOUT, TotalsChange, note_sync};
use super::error::fault;
use super::lock::{lock_file, lock_path, restore_lock_path};
use super::revision::{StoredChecksum, checksum_column};
use super::schema::{AUDIT, DISABLED, INVITES, NOTES, REVISIONS, migrate_to, schema_of};
use super::sql::{one, run, signed, value};
use crate::files::{self, folder_of, give_to_owner_of, with_suffix};
use crate::store::{AuthHash, ForeignAccount, OfflineStore, StoreError};

/// See [`Operator::copy_to`](crate::store::Operator::copy_to).
pub(super) fn copy_to(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |cause: String| StoreError::Open {
        path: path.to_owned(),
        cause,
    };
    let name = path
        .to_str()
        .ok_or_else(|| failed("the path is not UTF-8".to_owned()))?;
    // SQLite fills an empty file, and would make one that others can read.
    files::create_new(path).map_err(cannot_open(path))?;
    connection
        .pragma_update(None, "page_size", signed(PAGE_LEN))
        .and_then(|()| connection.execute("VACUUM INTO ?1", [name]))
        .map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen) => failed(error.to_string()),
            _ => fault(error).into(),
        })?;
    Ok(())
}

/// See [`Operator::salvage_to`](crate::store::Operator::salvage_to).
pub(super) fn salvage_to(
    connection: &Connection,
    path: &Path,
    lost: &mut dyn FnMut(String),
) -> Result<(), StoreError> {
    files::create_new(path).map_err(cannot_open(path))?;
    let mut new = open_to_write(path, BUSY_TIMEOUT)?;
    let schema = schema_of(connection).map_err(fault)?;
    migrate_to(&mut new, schema).map_err(fault)?;
    let columns = account_columns(schema);
    let transaction = new.transaction().map_err(fault)?;
    let numbers = numbers_from_both_ends(connection, lost);
    let mut totals = TotalsChange::default();
    for number in &numbers {
        let name = HEXUPPER.encode(number);
        match read_whole(connection, number, &columns) {
            Ok(Ok(account)) => match storable(account.write(&transaction, &columns))? {
                Ok(()) => totals.count(1, account.len),
                Err(error) => lost(format!("account {name} is not one: {error}")),
            },
            Ok(Err(fault)) => lost(format!("account {name}: {fault}")),
            Err(error) => lost(format!("account {name} cannot be read: {error}")),
        }
    }
    totals.write(&transaction).map_err(fault)?;
    let tables = [
        ("invite", INVITES),
        ("opening", INVITES),
        ("audit", AUDIT),
        ("property", AUDIT),
    ];
    for (table, _) in tables.into_iter().filter(|(_, since)| *since <= schema) {
        if let Err(error) = salvage_table(connection, &transaction, table)? {
            lost(format!(
                "a part of the table {table} cannot be read: {error}"
            ));
        }
    }
    transaction.commit().map_err(fault)?;
    if let Ok(accounts) = one::<i64>(connection, "SELECT accounts FROM totals", []) {
        let unlisted = accounts.saturating_sub(signed(numbers.len()));
        if unlisted > 0 {
            lost(format!("{unlisted} accounts cannot be listed"));
        }
    }
    prepare_close(&new);
    Ok(())
}

/// The numbers of the accounts, as far as they can be read from the first on and from the last on:
/// a page that is damaged in between hides only its own.
fn numbers_from_both_ends(
    connection: &Connection,
    lost: &mut dyn FnMut(String),
) -> BTreeSet<[u8; 8]> {
    let mut numbers = BTreeSet::new();
    for order in ["ASC", "DESC"] {
        let sql = format!("SELECT number FROM account ORDER BY number {order}");
        let read = connection.prepare(&sql).and_then(|mut statement| {
            for number in statement.query_map([], |row| row.get(0))? {
                numbers.insert(number?);
            }
            Ok(())
        });
        if let Err(error) = read {
            lost(format!("the list of accounts breaks off: {error}"));
        }
    }
    numbers
}

/// The columns of an account that are copied as they are. The first three are the hash of its auth
/// token, and the hash and the length of its btoken.
fn account_columns(schema: i64) -> Vec<&'static str> {
    let all = [
        ("auth_hash", 1),
        ("btoken_hash", 1),
        ("btoken_len", 1),
        ("created_at", 1),
        ("changed_at", 1),
        ("admitted", INVITES),
        ("disabled", DISABLED),
        ("synced_at", NOTES),
        ("limit_len", NOTES),
        ("note", NOTES),
        ("revision", REVISIONS),
        ("checksum", REVISIONS),
    ];
    all.into_iter()
        .filter(|(_, since)| *since <= schema)
        .map(|(column, _)| column)
        .collect()
}

/// An account whose btoken is whole.
struct WholeAccount {
    number: [u8; 8],
    btoken: Vec<u8>,
    /// The length of the btoken.
    len: i64,
    /// The values of the columns that are copied as they are.
    values: Vec<Value>,
}

/// Reads an account, or says why it is not copied.
fn read_whole(
    from: &Connection,
    number: &[u8; 8],
    columns: &[&str],
) -> rusqlite::Result<Result<WholeAccount, &'static str>> {
    let sql = format!(
        "SELECT content, {}, {} FROM account
         LEFT JOIN btoken ON btoken.id = account.btoken_id WHERE account.number = ?1",
        columns.join(", "),
        checksum_column(schema_of(from)?)
    );
    let mut statement = from.prepare_cached(&sql)?;
    let mut rows = statement.query([number])?;
    let Some(row) = rows.next()? else {
        return Ok(Err("it cannot be found under its number"));
    };
    let Some(content) = row.get_ref(0)?.as_blob_or_null()? else {
        return Ok(Err("its btoken is missing"));
    };
    let checksum = StoredChecksum::read(row, columns.len() + 1, 2)?;
    let len: i64 = row.get(3)?;
    if !checksum.is_of(content) || signed(content.len()) != len {
        return Ok(Err("its btoken does not match the stored checksum"));
    }
    let values = (1..=columns.len()).map(|place| value(row, place));
    Ok(Ok(WholeAccount {
        number: *number,
        btoken: content.to_vec(),
        len,
        values: values.collect::<Result<_, _>>()?,
    }))
}

impl WholeAccount {
    fn write(&self, to: &Connection, columns: &[&str]) -> rusqlite::Result<()> {
        let insert = "INSERT INTO btoken (content) VALUES (?1) RETURNING id";
        let id: i64 = one(to, insert, [&self.btoken])?;
        let mut values = vec![Value::Blob(self.number.to_vec()), Value::Integer(id)];
        values.extend_from_slice(&self.values);
        let insert = format!(
            "INSERT INTO account (number, btoken_id, {}) VALUES ({})",
            columns.join(", "),
            places(values.len())
        );
        let written = run(to, &insert, params_from_iter(values));
        if written.is_err() {
            run(to, "DELETE FROM btoken WHERE id = ?1", [id])?;
        }
        written
    }
}

/// Tells a row that no store of this schema may hold from a new database that cannot be written.
fn storable(written: rusqlite::Result<()>) -> Result<rusqlite::Result<()>, StoreError> {
    match written {
        Err(error) if error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) => {
            Err(fault(error).into())
        }
        written => Ok(written),
    }
}

/// The places of so many values in a statement.
fn places(count: usize) -> String {
    let places: Vec<String> = (1..=count).map(|place| format!("?{place}")).collect();
    places.join(", ")
}

/// Copies the rows of a small table up to the first that cannot be read, without those that no store
/// may hold. Returns the first failure of a row.
///
/// # Errors
/// The new database cannot be written.
fn salvage_table(
    from: &Connection,
    to: &Connection,
    table: &str,
) -> Result<rusqlite::Result<()>, StoreError> {
    let mut all: Vec<Vec<Value>> = Vec::new();
    let read = from
        .prepare(&format!("SELECT * FROM {table}"))
        .and_then(|mut statement| {
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let values = (0..columns).map(|place| value(row, place));
                all.push(values.collect::<Result<_, _>>()?);
            }
            Ok(())
        });
    let mut copied = read;
    for values in all {
        // A new database has some properties already.
        let insert = format!(
            "INSERT OR REPLACE INTO {table} VALUES ({})",
            places(values.len())
        );
        copied = copied.and(storable(run(to, &insert, params_from_iter(values)))?);
    }
    Ok(copied)
}

/// See [`Operator::import`](crate::store::Operator::import).
pub(super) fn import(
    connection: &Connection,
    accounts: &[ForeignAccount],
    at: i64,
) -> rusqlite::Result<Vec<bool>> {
    let keeps_syncs = schema_of(connection)? >= NOTES;
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
        // A row without a revision, which databases of every schema know.
        let hash: [u8; 32] = Sha256::digest(&account.btoken).into();
        let len = signed(account.btoken.len());
        let insert = "INSERT INTO btoken (content) VALUES (?1) RETURNING id";
        let id: i64 = one(connection, insert, [&account.btoken])?;
        run(
            connection,
            "INSERT INTO account (number, auth_hash, btoken_hash, btoken_len, btoken_id, \
             created_at, changed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
            params![number, auth.0, hash, len, id, account.at],
        )?;
        if keeps_syncs {
            // The import counts as a sync: nobody knows yet whether its devices come here.
            note_sync(connection, account.number, at)?;
        }
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
    move |error| StoreError::cannot_open(path, &error)
}

#[cfg(test)]
mod tests;
