//! A database that takes in another store, and the rows that it gives to one.

use std::path::Path;

use passmate_proto::AccountNumber;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::audit;
use super::engine::{BUSY_TIMEOUT, Sqlite};
use super::error::fault;
use super::operator::SqliteInspector;
use super::revision::{REVISION, StoredChecksum, stored};
use super::sql::{one, run, signed, text, unsigned};
use crate::store::transfer::{AccountRow, Intake, Rest, WholeAccount};
use crate::store::{Action, Actor, Checksum, EngineError, Inspector, Revision, StoreError};

const MARK: &str = "SELECT EXISTS (SELECT 1 FROM property WHERE name = 'unfinished')";

/// Whether the database has not taken in all of another store.
pub(super) fn is_unfinished(connection: &Connection) -> rusqlite::Result<bool> {
    one(connection, MARK, [])
}

pub(in crate::store) struct SqliteIntake {
    engine: Sqlite,
    inspector: SqliteInspector,
}

impl SqliteIntake {
    /// Opens a database that no server uses, or makes it.
    pub(in crate::store) fn open(path: &Path) -> Result<Self, StoreError> {
        let engine = Sqlite::open_unfinished(path)?;
        engine
            .connection
            .busy_timeout(BUSY_TIMEOUT)
            .map_err(fault)?;
        Ok(Self {
            engine,
            inspector: SqliteInspector::open(path)?,
        })
    }

    fn transact(
        &mut self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        let transaction = self.engine.connection.transaction().map_err(fault)?;
        change(&transaction).map_err(fault)?;
        Ok(transaction.commit().map_err(fault)?)
    }
}

impl SqliteIntake {
    /// Takes the mark away without a record, as a backup has it.
    pub(in crate::store) fn finish_silently(&mut self) -> Result<(), StoreError> {
        self.transact(finish)
    }
}

fn finish(connection: &Connection) -> rusqlite::Result<()> {
    run(
        connection,
        "DELETE FROM property WHERE name = 'unfinished'",
        [],
    )
}

impl Intake for SqliteIntake {
    fn look(&self) -> &dyn Inspector {
        &self.inspector
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        let connection = &self.engine.connection;
        if is_unfinished(connection).map_err(fault)? {
            return Ok(());
        }
        if one(connection, "SELECT EXISTS (SELECT 1 FROM account)", []).map_err(fault)? {
            return Err(StoreError::NotEmpty {
                store: self.engine.path().display().to_string(),
            });
        }
        let sql = "INSERT INTO property VALUES ('unfinished', 1)";
        self.transact(|connection| run(connection, sql, []))
    }

    fn put(&mut self, accounts: &[WholeAccount]) -> Result<(), StoreError> {
        self.transact(|connection| {
            accounts.iter().try_for_each(|account| {
                remove(connection, account.row.number)?;
                put(connection, account)
            })
        })
    }

    fn remove(&mut self, numbers: &[AccountNumber]) -> Result<(), StoreError> {
        self.transact(|connection| {
            let mut numbers = numbers.iter();
            numbers.try_for_each(|number| remove(connection, *number))
        })
    }

    fn put_rest(&mut self, rest: &Rest) -> Result<(), StoreError> {
        self.transact(|connection| {
            connection.execute_batch(
                "UPDATE totals SET accounts = (SELECT count(*) FROM account),
                     btoken_bytes = (SELECT coalesce(sum(btoken_len), 0) FROM account);
                 DELETE FROM invite; DELETE FROM opening; DELETE FROM audit;",
            )?;
            for invite in &rest.invites {
                run(
                    connection,
                    "INSERT INTO invite (auth_hash, note, made_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4)",
                    params![
                        invite.auth.0,
                        invite.note,
                        invite.made_at,
                        invite.expires_at
                    ],
                )?;
            }
            for opening in &rest.openings {
                run(
                    connection,
                    "INSERT INTO opening (seats, made_at, expires_at) VALUES (?1, ?2, ?3)",
                    params![opening.seats, opening.made_at, opening.expires_at],
                )?;
            }
            for record in &rest.audit {
                let actor = &record.actor;
                let account = record.account.as_ref().map(|number| number.as_bytes());
                run(
                    connection,
                    "INSERT INTO audit (id, at, uid, user, sudo_uid, action, account, detail)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![
                        record.id,
                        actor.at,
                        actor.uid,
                        actor.user,
                        actor.sudo_uid,
                        record.action,
                        account,
                        record.detail
                    ],
                )?;
            }
            let set = "UPDATE property SET value = ?2 WHERE name = ?1";
            // The server that had the store has logged them.
            let logged = rest.audit.last().map_or(0, |record| record.id);
            run(connection, set, params!["audit_logged", logged])?;
            run(
                connection,
                set,
                params!["syncs_known_since", rest.known_since],
            )
        })
    }

    fn finish(&mut self, actor: &Actor, action: Action, detail: &str) -> Result<(), StoreError> {
        self.transact(|connection| {
            audit::record(connection, actor, action, None, detail)?;
            finish(connection)
        })
    }
}

fn remove(connection: &Connection, number: AccountNumber) -> rusqlite::Result<()> {
    let sql = "DELETE FROM account WHERE number = ?1 RETURNING btoken_id";
    let id: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row([number.as_bytes()], |row| row.get(0))
        .optional()?;
    match id {
        Some(id) => run(connection, "DELETE FROM btoken WHERE id = ?1", [id]),
        None => Ok(()),
    }
}

fn put(connection: &Connection, account: &WholeAccount) -> rusqlite::Result<()> {
    let row = &account.row;
    // Another account of the same device, which the source has no longer.
    let sql = "UPDATE account SET admitted = 0 WHERE auth_hash = ?1 AND admitted = 1 AND ?2";
    run(connection, sql, params![row.auth, row.is_admitted])?;
    let sql = "INSERT INTO btoken (content) VALUES (?1) RETURNING id";
    let id: i64 = one(connection, sql, [&account.btoken])?;
    run(
        connection,
        "INSERT INTO account (number, auth_hash, btoken_hash, btoken_len, btoken_id, created_at, \
         changed_at, admitted, disabled, synced_at, limit_len, note, revision, checksum)
         VALUES (?1, ?2, zeroblob(32), ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            row.number.as_bytes(),
            row.auth,
            signed(account.btoken.len()),
            id,
            row.created_at,
            row.changed_at,
            row.is_admitted,
            row.is_disabled,
            row.synced_at,
            row.limit,
            row.note,
            row.revision,
            stored(row.checksum)
        ],
    )
}

/// The columns that [`row_of`] reads.
const COLUMNS: &str =
    "number, auth_hash, checksum, btoken_hash, btoken_len, created_at, changed_at,
    synced_at, admitted, disabled, limit_len, note";

/// The rows of a database with the newest schema; see [`Inspector::rows`].
pub(super) fn rows(
    connection: &Connection,
    after: [u8; 8],
    until: Option<[u8; 8]>,
    most: usize,
) -> Result<Vec<AccountRow>, EngineError> {
    let sql = format!(
        "SELECT {COLUMNS}, {REVISION} FROM account
         WHERE number > ?1 AND (?2 IS NULL OR number <= ?2) ORDER BY number LIMIT ?3"
    );
    let read = || {
        let mut statement = connection.prepare_cached(&sql)?;
        let params = params![after, until, signed(most)];
        let rows = statement.query_map(params, |row| row_of(connection, row))?;
        rows.collect::<Result<_, _>>()
    };
    read().map_err(fault)
}

/// An account with its btoken.
pub(super) fn whole(
    connection: &Connection,
    number: AccountNumber,
) -> Result<Option<WholeAccount>, EngineError> {
    let sql = format!(
        "SELECT {COLUMNS}, {REVISION}, content FROM account
         JOIN btoken ON btoken.id = account.btoken_id WHERE number = ?1"
    );
    let read = || {
        let mut statement = connection.prepare_cached(&sql)?;
        let account = |row: &Row<'_>| Ok((row_of(connection, row)?, row.get(13)?));
        statement.query_row([number.as_bytes()], account).optional()
    };
    match read().map_err(fault)? {
        Some((row, btoken)) => WholeAccount::new(row, btoken).map(Some),
        None => Ok(None),
    }
}

fn row_of(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<AccountRow> {
    let number: [u8; 8] = row.get(0)?;
    let checksum = match StoredChecksum::read(row, 2, 3)? {
        StoredChecksum::Crc(checksum) => checksum,
        // It was stored before there were checksums.
        old @ StoredChecksum::Sha256(_) => checksum_of_old(connection, number, &old)?,
    };
    Ok(AccountRow {
        number: AccountNumber::from_bytes(number)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(0, 0))?,
        auth: row.get(1)?,
        revision: Revision(row.get(12)?).0,
        checksum,
        btoken_len: unsigned(row.get(4)?),
        created_at: row.get(5)?,
        changed_at: row.get(6)?,
        synced_at: row.get(7)?,
        is_admitted: row.get(8)?,
        is_disabled: row.get(9)?,
        limit: row.get(10)?,
        note: text(row, 11)?,
    })
}

/// The checksum of a btoken that has none. If it does not match its hash, that of other bytes, so
/// that the account counts as damaged.
fn checksum_of_old(
    connection: &Connection,
    number: [u8; 8],
    old: &StoredChecksum,
) -> rusqlite::Result<Checksum> {
    let sql = "SELECT content FROM account JOIN btoken ON btoken.id = account.btoken_id
         WHERE number = ?1";
    let btoken: Vec<u8> = one(connection, sql, [number])?;
    let checksum = Checksum::of(&btoken);
    Ok(match old.is_of(&btoken) {
        true => checksum,
        false => Checksum(!checksum.0),
    })
}
