//! Operator commands on the database, beside a running server. A command takes no lock against the
//! server: it is one more process that writes for a moment, and the server sees the change with the
//! next client.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use passmate_proto::AccountNumber;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::connection::{Checkpoint, checkpoint, open_to_write, prepare_close};
use super::engine::{TotalsChange, expire};
use super::error::fault;
use super::lock::{lock_file_shared, restore_lock_path};
use super::schema::{AUDIT, DISABLED, INVITES, NOTES, schema_newest, schema_of};
use super::sql::{one, run, text, unsigned};
use super::{audit, check, copy, intake};
use crate::clock::{day_of, utc};
use crate::store::transfer::{AccountRow, WholeAccount};
use crate::store::{
    Access, Account, Action, Actor, Audited, AuthHash, EngineError, ForeignAccount, Inspector,
    Invite, Opening, Operator, StoreError, Sum, Unrecorded, Unused,
};

/// How long a command waits while the server or another command is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// The first schema.
const FIRST: i64 = 1;
/// The most accounts that one transaction deletes.
const PRUNE_BATCH: i64 = 200;

/// Since when the days of syncs are known.
const KNOWN_SINCE: &str = "(SELECT value FROM property WHERE name = 'syncs_known_since')";

/// Which accounts nobody has used since ?1, where ?2 is the first day; see [`Operator::prune`].
const UNUSED: &str = "created_at < ?1 AND changed_at < ?1 AND changed_at < created_at + ?2
    AND coalesce(synced_at, 0) + ?2 <= ?1 AND disabled = 0 AND note = ''
    AND (SELECT value FROM property WHERE name = 'syncs_known_since') <= ?1";

#[derive(Debug)]
pub(in crate::store) struct SqliteInspector {
    pub(super) connection: Connection,
    /// Held as long as the database is open.
    _lock: File,
}

impl SqliteInspector {
    /// Opens an existing database.
    pub(in crate::store) fn open(path: &Path) -> Result<Self, StoreError> {
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
}

impl SqliteInspector {
    fn need_newest(&self) -> Result<(), StoreError> {
        let (found, needed) = (self.schema()?, schema_newest());
        match found == needed {
            true => Ok(()),
            false => Err(StoreError::OlderSchema { found, needed }),
        }
    }
}

impl Drop for SqliteInspector {
    fn drop(&mut self) {
        prepare_close(&self.connection);
    }
}

impl Inspector for SqliteInspector {
    fn invites(&self, now: i64) -> Result<(Vec<Invite>, Vec<Opening>), StoreError> {
        if self.schema()? < INVITES {
            return Ok((Vec::new(), Vec::new()));
        }
        Ok(invites(&self.connection, now).map_err(fault)?)
    }

    fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let sql = format!("{} ORDER BY number", select_account(self.schema()?));
        let read = || {
            let mut statement = self.connection.prepare(&sql)?;
            statement
                .query_map([], account_of)?
                .collect::<Result<_, _>>()
        };
        Ok(read().map_err(fault)?)
    }

    fn account(&self, number: AccountNumber) -> Result<Option<Account>, StoreError> {
        let sql = format!("{} WHERE number = ?1", select_account(self.schema()?));
        Ok(self
            .connection
            .query_row(&sql, [number.as_bytes()], account_of)
            .optional()
            .map_err(fault)?)
    }

    fn unused(&self, before: i64) -> Result<Unused, StoreError> {
        let found = self.schema()?;
        if found < NOTES {
            return Err(StoreError::OlderSchema {
                found,
                needed: NOTES,
            });
        }
        let sql = format!(
            "SELECT count(*), coalesce(sum(btoken_len), 0), {KNOWN_SINCE} FROM account
             WHERE {UNUSED}"
        );
        let row = self
            .connection
            .query_row(&sql, [before, Account::FIRST_DAY], |row| {
                Ok(Unused {
                    sum: Sum {
                        accounts: unsigned(row.get(0)?),
                        btoken_bytes: unsigned(row.get(1)?),
                    },
                    known_since: row.get(2)?,
                })
            });
        Ok(row.map_err(fault)?)
    }

    fn audit(&self, since: i64) -> Result<Vec<Audited>, StoreError> {
        let found = self.schema()?;
        if found < AUDIT {
            return Err(StoreError::OlderSchema {
                found,
                needed: AUDIT,
            });
        }
        Ok(audit::since(&self.connection, since).map_err(fault)?)
    }

    fn schema(&self) -> Result<i64, StoreError> {
        Ok(schema_of(&self.connection).map_err(fault)?)
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

    fn check_texts(&self, finding: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        check::check_texts(&self.connection, finding)
    }

    fn rows(
        &self,
        after: [u8; 8],
        until: Option<[u8; 8]>,
        most: usize,
    ) -> Result<Vec<AccountRow>, StoreError> {
        self.need_newest()?;
        Ok(intake::rows(&self.connection, after, until, most)?)
    }

    fn whole(&self, number: AccountNumber) -> Result<Option<WholeAccount>, StoreError> {
        self.need_newest()?;
        Ok(intake::whole(&self.connection, number)?)
    }

    fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        copy::copy_to(&self.connection, path)
    }

    fn salvage_to(&self, path: &Path, lost: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        copy::salvage_to(&self.connection, path, lost)
    }
}

#[derive(Debug)]
pub(in crate::store) struct SqliteOperator {
    inspector: SqliteInspector,
    actor: Actor,
    unrecorded: Option<Unrecorded>,
    /// What the transactions of one import have taken in so far.
    import: Running,
}

/// A command that takes several transactions has one record, which grows.
#[derive(Debug, Clone, Copy, Default)]
struct Running {
    /// The number of its record.
    record: Option<i64>,
    sum: Sum,
}

/// The record of a change.
#[derive(Debug, Clone, Copy)]
struct Entry {
    action: Action,
    account: Option<AccountNumber>,
    /// The record that is replaced.
    record: Option<i64>,
}

impl Entry {
    fn of(action: Action) -> Self {
        Self {
            action,
            account: None,
            record: None,
        }
    }

    fn on(action: Action, account: AccountNumber) -> Self {
        Self {
            account: Some(account),
            ..Self::of(action)
        }
    }
}

/// What a change did.
struct Changed<T> {
    value: T,
    /// The detail for the record. None if nothing was changed, which is not recorded.
    detail: Option<String>,
}

impl<T> Changed<T> {
    fn new(value: T, detail: impl Into<String>) -> Self {
        Self {
            value,
            detail: Some(detail.into()),
        }
    }
}

impl Changed<bool> {
    /// Whether any row was changed, and more about it.
    fn with(count: usize, detail: impl Into<String>) -> Self {
        Self {
            value: count > 0,
            detail: (count > 0).then(|| detail.into()),
        }
    }
}

impl SqliteOperator {
    /// Opens an existing database.
    pub(in crate::store) fn open(path: &Path, actor: Actor) -> Result<Self, StoreError> {
        Ok(Self {
            inspector: SqliteInspector::open(path)?,
            actor,
            unrecorded: None,
            import: Running::default(),
        })
    }

    /// Makes a change and its record in one transaction. This is the only way to write.
    ///
    /// A damaged record must not prevent a change: deleting an account is the remedy for damage.
    fn change<T>(
        &mut self,
        needed: i64,
        entry: Entry,
        change: impl Fn(&Connection) -> rusqlite::Result<Changed<T>>,
    ) -> Result<T, StoreError> {
        self.change_and_record(needed, entry, change)
            .map(|(value, _)| value)
    }

    /// As [`change`](Self::change), and returns the number of the record.
    fn change_and_record<T>(
        &mut self,
        needed: i64,
        entry: Entry,
        change: impl Fn(&Connection) -> rusqlite::Result<Changed<T>>,
    ) -> Result<(T, Option<i64>), StoreError> {
        let mut is_damaged = false;
        loop {
            let transaction = self
                .inspector
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(fault)?;
            let found = schema_of(&transaction).map_err(fault)?;
            if found < needed {
                return Err(StoreError::OlderSchema { found, needed });
            }
            let Changed { value, detail } = change(&transaction).map_err(fault)?;
            let mut record = None;
            if let Some(detail) = detail {
                if found < AUDIT {
                    self.unrecorded = Some(Unrecorded::OlderSchema);
                } else if is_damaged {
                    self.unrecorded = Some(Unrecorded::Damaged);
                } else {
                    match entry
                        .write(&transaction, &self.actor, &detail)
                        .map_err(fault)
                    {
                        Ok(id) => record = Some(id),
                        Err(EngineError::Damaged(_)) => {
                            is_damaged = true;
                            transaction.rollback().map_err(fault)?;
                            continue;
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            transaction.commit().map_err(fault)?;
            return Ok((value, record));
        }
    }

    /// Empties the log, which still holds deleted bytes. If a reader is active or the disk is full,
    /// the server does it later.
    ///
    /// # Errors
    /// The flush failed. What was committed is in the log, and a server that runs will learn of the
    /// failure itself.
    fn empty_log(&self) -> Result<(), StoreError> {
        match checkpoint(&self.inspector.connection, Checkpoint::Truncate) {
            Ok(()) | Err(EngineError::Busy | EngineError::Full) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Entry {
    fn write(&self, connection: &Connection, actor: &Actor, detail: &str) -> rusqlite::Result<i64> {
        match self.record {
            None => audit::record(connection, actor, self.action, self.account, detail),
            Some(id) => audit::update(connection, id, detail).map(|()| id),
        }
    }
}

impl Operator for SqliteOperator {
    fn look(&self) -> &dyn Inspector {
        &self.inspector
    }

    fn unrecorded(&self) -> Option<Unrecorded> {
        self.unrecorded
    }

    fn record(&mut self, action: Action, detail: &str) -> Result<(), StoreError> {
        self.change(FIRST, Entry::of(action), |_| Ok(Changed::new((), detail)))
    }

    fn record_restore(&mut self, detail: &str) -> Result<(), StoreError> {
        let at = self.actor.at;
        self.change(FIRST, Entry::of(Action::Restore), |connection| {
            if schema_of(connection)? >= NOTES {
                let sql = "UPDATE property SET value = ?1 WHERE name = 'syncs_known_since'";
                run(connection, sql, [at])?;
            }
            Ok(Changed::new((), detail))
        })
    }

    fn invite(&mut self, invite: &Invite) -> Result<(), StoreError> {
        let Invite {
            auth,
            note,
            made_at,
            expires_at,
        } = invite;
        self.change(INVITES, Entry::of(Action::InviteAdd), |connection| {
            expire(connection, *made_at)?;
            run(
                connection,
                "INSERT INTO invite (auth_hash, note, made_at, expires_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (auth_hash) DO UPDATE
                 SET note = iif(?2 = '', note, ?2), made_at = ?3, expires_at = ?4",
                params![auth.0, note, made_at, expires_at],
            )?;
            Ok(Changed::new((), code_begin(auth)))
        })
    }

    fn open_seats(&mut self, opening: Opening) -> Result<(), StoreError> {
        let Opening {
            seats,
            made_at,
            expires_at,
        } = opening;
        self.change(INVITES, Entry::of(Action::InviteOpen), |connection| {
            expire(connection, made_at)?;
            run(
                connection,
                "INSERT INTO opening (seats, made_at, expires_at) VALUES (?1, ?2, ?3)",
                params![seats, made_at, expires_at],
            )?;
            let detail = format!("{seats} seats until {}", utc(expires_at));
            Ok(Changed::new((), detail))
        })
    }

    fn revoke_invite(&mut self, auth: &AuthHash) -> Result<bool, StoreError> {
        let entry = Entry::of(Action::InviteRevoke);
        let is_revoked = self.change(INVITES, entry, |connection| {
            let sql = "DELETE FROM invite WHERE auth_hash = ?1";
            Ok(match connection.execute(sql, [auth.0])? {
                0 => Changed::with(0, ""),
                _ => Changed::new(true, code_begin(auth)),
            })
        })?;
        self.empty_log()?;
        Ok(is_revoked)
    }

    fn revoke_openings(&mut self) -> Result<u64, StoreError> {
        self.change(INVITES, Entry::of(Action::InviteRevoke), |connection| {
            let seats = one(
                connection,
                "SELECT coalesce(sum(seats), 0) FROM opening",
                [],
            )?;
            run(connection, "DELETE FROM opening", [])?;
            Ok(Changed {
                value: unsigned(seats),
                detail: (seats > 0).then(|| format!("{seats} open seats")),
            })
        })
    }

    fn set_access(&mut self, number: AccountNumber, access: Access) -> Result<bool, StoreError> {
        let (action, is_disabled) = match access {
            Access::Disabled => (Action::AccountDisable, true),
            Access::Enabled => (Action::AccountEnable, false),
        };
        self.change(DISABLED, Entry::on(action, number), |connection| {
            let sql = "UPDATE account SET disabled = ?2 WHERE number = ?1";
            let count = connection.execute(sql, params![number.as_bytes(), is_disabled])?;
            Ok(Changed::with(count, ""))
        })
    }

    fn delete_account(&mut self, number: AccountNumber) -> Result<bool, StoreError> {
        let entry = Entry::on(Action::AccountDelete, number);
        let is_deleted = match self.change(FIRST, entry, |connection| {
            delete_account(connection, number)
        }) {
            // Its btoken cannot be read, so it stays where it is, and nobody finds it.
            Err(StoreError::Engine(EngineError::Damaged(_))) => {
                self.change(FIRST, entry, |connection| {
                    unlink_account(connection, number)
                })
            }
            deleted => deleted,
        }?;
        self.empty_log()?;
        Ok(is_deleted)
    }

    fn set_note(&mut self, number: AccountNumber, note: &str) -> Result<bool, StoreError> {
        let entry = Entry::on(Action::AccountNote, number);
        let is_set = self.change(NOTES, entry, |connection| {
            let sql = "UPDATE account SET note = ?2 WHERE number = ?1";
            let count = connection.execute(sql, params![number.as_bytes(), note])?;
            // The note may hold a name, and is not kept here.
            let detail = if note.is_empty() { "removed" } else { "set" };
            Ok(Changed::with(count, detail))
        })?;
        self.empty_log()?;
        Ok(is_set)
    }

    fn set_limit(&mut self, number: AccountNumber, limit: Option<u32>) -> Result<bool, StoreError> {
        let entry = Entry::on(Action::AccountLimit, number);
        self.change(NOTES, entry, |connection| {
            let sql = "UPDATE account SET limit_len = ?2 WHERE number = ?1";
            let count = connection.execute(sql, params![number.as_bytes(), limit])?;
            let detail = limit.map_or_else(|| "none".to_owned(), |limit| format!("{limit} bytes"));
            Ok(Changed::with(count, detail))
        })
    }

    fn prune(&mut self, before: i64) -> Result<Sum, StoreError> {
        let mut batch = PruneBatch {
            before,
            after: [0; 8],
            count_max: PRUNE_BATCH,
            sum: Sum::default(),
        };
        let mut record = None;
        loop {
            let entry = Entry {
                record,
                ..Entry::of(Action::AccountPrune)
            };
            let mut run = |batch: PruneBatch, delete: DeleteAccount| {
                self.change_and_record(NOTES, entry, |connection| batch.run(connection, delete))
            };
            let mut pruned = run(batch, delete_account);
            if is_damaged(&pruned) && batch.count_max > 1 {
                // From here on one by one, so that damage harms no other account.
                batch.count_max = 1;
                pruned = run(batch, delete_account);
            }
            if is_damaged(&pruned) {
                pruned = run(batch, unlink_account);
            }
            let (next, recorded) = pruned?;
            if next.after == batch.after {
                break;
            }
            batch = next;
            record = recorded.or(record);
            match checkpoint(&self.inspector.connection, Checkpoint::Passive) {
                Ok(()) | Err(EngineError::Busy | EngineError::Full) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.empty_log()?;
        Ok(batch.sum)
    }

    fn correct_times(&mut self) -> Result<u64, StoreError> {
        let now = self.actor.at;
        let entry = Entry::of(Action::AccountCorrectTimes);
        self.change(NOTES, entry, |connection| {
            let sql = "UPDATE account SET created_at = min(created_at, ?1),
                changed_at = min(changed_at, ?1), synced_at = min(synced_at, ?2)
                WHERE created_at > ?1 OR changed_at > ?1 OR coalesce(synced_at, 0) > ?2";
            let count = connection.execute(sql, [now, day_of(now)])?;
            Ok(Changed {
                value: count as u64,
                detail: (count > 0).then(|| format!("{count} accounts")),
            })
        })
    }

    fn import(&mut self, accounts: &[ForeignAccount]) -> Result<Vec<bool>, StoreError> {
        let before = self.import;
        let at = self.actor.at;
        let entry = Entry {
            record: before.record,
            ..Entry::of(Action::ImportSpr)
        };
        let ((are_new, sum), record) = self.change_and_record(FIRST, entry, |connection| {
            let are_new = copy::import(connection, accounts, at)?;
            let mut sum = before.sum;
            for (account, _) in accounts.iter().zip(&are_new).filter(|(_, is_new)| **is_new) {
                sum.accounts += 1;
                sum.btoken_bytes += account.btoken.len() as u64;
            }
            let detail = (sum != before.sum).then(|| describe(sum));
            Ok(Changed {
                value: (are_new, sum),
                detail,
            })
        })?;
        self.import = Running {
            record: record.or(before.record),
            sum,
        };
        Ok(are_new)
    }
}

/// [`delete_account`] or [`unlink_account`].
type DeleteAccount = fn(&Connection, AccountNumber) -> rusqlite::Result<Changed<bool>>;

fn is_damaged<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Engine(EngineError::Damaged(_))))
}

/// A part of a prune.
#[derive(Debug, Clone, Copy)]
struct PruneBatch {
    before: i64,
    /// The last account that was deleted; the next ones have higher numbers.
    after: [u8; 8],
    count_max: i64,
    /// What was deleted so far.
    sum: Sum,
}

impl PruneBatch {
    /// Deletes the next unused accounts, and returns the batch that comes after this one.
    fn run(
        mut self,
        connection: &Connection,
        delete: DeleteAccount,
    ) -> rusqlite::Result<Changed<Self>> {
        let sql = format!(
            "SELECT number, btoken_len FROM account WHERE {UNUSED} AND number > ?3
             ORDER BY number LIMIT ?4"
        );
        let given = params![self.before, Account::FIRST_DAY, self.after, self.count_max];
        let found: Vec<([u8; 8], i64)> = connection
            .prepare_cached(&sql)?
            .query_map(given, |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let is_any = !found.is_empty();
        for (number, len) in found {
            self.after = number;
            let number = AccountNumber::from_bytes(number)
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(0, 0))?;
            delete(connection, number)?;
            self.sum.accounts += 1;
            self.sum.btoken_bytes += unsigned(len);
        }
        Ok(Changed {
            value: self,
            detail: is_any.then(|| describe(self.sum)),
        })
    }
}

fn describe(sum: Sum) -> String {
    format!("{} accounts, {} bytes", sum.accounts, sum.btoken_bytes)
}

/// The first group of the code that names a device: enough to recognise it, and not the code.
fn code_begin(auth: &AuthHash) -> String {
    let code = auth.code().to_string();
    code.split('-').next().unwrap_or_default().to_owned()
}

fn invites(connection: &Connection, now: i64) -> rusqlite::Result<(Vec<Invite>, Vec<Opening>)> {
    let invites = connection
        .prepare(
            "SELECT auth_hash, note, made_at, expires_at FROM invite WHERE expires_at > ?1
             ORDER BY expires_at, auth_hash",
        )?
        .query_map([now], |row| {
            Ok(Invite {
                auth: AuthHash(row.get(0)?),
                note: text(row, 1)?,
                made_at: row.get(2)?,
                expires_at: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    let openings = connection
        .prepare(
            "SELECT seats, made_at, expires_at FROM opening WHERE expires_at > ?1
             ORDER BY expires_at, id",
        )?
        .query_map([now], |row| {
            Ok(Opening {
                seats: row.get(0)?,
                made_at: row.get(1)?,
                expires_at: row.get(2)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok((invites, openings))
}

/// The columns that [`account_of`] reads, with a stand-in for what this schema does not have.
fn select_account(schema: i64) -> String {
    let disabled = if schema < DISABLED { "0" } else { "disabled" };
    let notes = if schema < NOTES {
        "NULL, NULL, ''"
    } else {
        "synced_at, limit_len, note"
    };
    format!("SELECT number, btoken_len, created_at, changed_at, {disabled}, {notes} FROM account")
}

fn account_of(row: &Row<'_>) -> rusqlite::Result<Account> {
    let number = AccountNumber::from_bytes(row.get(0)?);
    Ok(Account {
        number: number.ok_or(rusqlite::Error::IntegralValueOutOfRange(0, 0))?,
        btoken_len: unsigned(row.get(1)?),
        created_at: row.get(2)?,
        changed_at: row.get(3)?,
        is_disabled: row.get(4)?,
        synced_at: row.get(5)?,
        limit: row.get(6)?,
        note: text(row, 7)?,
    })
}

/// Deletes an account whose btoken cannot be deleted, because its pages are damaged.
fn unlink_account(
    connection: &Connection,
    number: AccountNumber,
) -> rusqlite::Result<Changed<bool>> {
    let len: Option<i64> = connection
        .prepare_cached("DELETE FROM account WHERE number = ?1 RETURNING btoken_len")?
        .query_row([number.as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(len) = len else {
        return Ok(Changed::with(0, ""));
    };
    let mut totals = TotalsChange::default();
    totals.count(-1, -len);
    totals.write(connection)?;
    Ok(Changed::new(
        true,
        "its btoken is damaged and stays in the file",
    ))
}

fn delete_account(
    connection: &Connection,
    number: AccountNumber,
) -> rusqlite::Result<Changed<bool>> {
    let found: Option<(i64, i64)> = connection
        .prepare_cached("DELETE FROM account WHERE number = ?1 RETURNING btoken_id, btoken_len")?
        .query_row([number.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((id, len)) = found else {
        return Ok(Changed::with(0, ""));
    };
    run(connection, "DELETE FROM btoken WHERE id = ?1", [id])?;
    let mut totals = TotalsChange::default();
    totals.count(-1, -len);
    totals.write(connection)?;
    Ok(Changed::new(true, ""))
}

#[cfg(test)]
mod tests;
