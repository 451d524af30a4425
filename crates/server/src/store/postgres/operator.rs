//! Operator commands on the database, beside any number of servers. Each change is one transaction
//! with its record.

use passmate_proto::AccountNumber;
use sha2::{Digest, Sha256};
use tokio_postgres::types::Type;

use super::batch::{Tally, give_up};
use super::connection::{Connection, Param, get};
use super::error::Fault;
use super::inspector::{PostgresInspector, UNUSED, unsigned};
use super::reader::array;
use super::url::PostgresUrl;
use super::{audit, intake, invited};
use crate::clock::{day_of, utc};
use crate::store::{
    Access, Account, Action, Actor, AuthHash, Checksum, ForeignAccount, Inspector, Invite, Opening,
    Operator, StoreError, Sum, Unrecorded,
};

/// The most accounts that one transaction deletes.
const PRUNE_BATCH: i64 = 200;
/// How often a change that met another transaction is repeated.
const CONFLICTS_MAX: usize = 8;

pub(in crate::store) struct PostgresOperator {
    inspector: PostgresInspector,
    actor: Actor,
    /// What the transactions of one import have taken in so far, and the number of their record.
    import: (Sum, Option<i64>),
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
    fn with(count: u64, detail: impl Into<String>) -> Self {
        Self {
            value: count > 0,
            detail: (count > 0).then(|| detail.into()),
        }
    }
}

impl PostgresOperator {
    /// Opens an existing store.
    pub(in crate::store) fn open(url: &PostgresUrl, actor: Actor) -> Result<Self, StoreError> {
        let inspector = PostgresInspector::open(url)?;
        let unfinished = intake::is_unfinished(&inspector.connection);
        // What an operator writes would be replaced with everything else.
        if inspector
            .database
            .wait(unfinished)
            .map_err(Fault::of_read)?
        {
            return Err(StoreError::Unfinished {
                store: url.to_string(),
            });
        }
        Ok(Self {
            inspector,
            actor,
            import: (Sum::default(), None),
        })
    }

    /// Makes a change and its record in one transaction. This is the only way to write.
    fn change<T>(
        &self,
        entry: Entry,
        change: impl AsyncFn(&Connection) -> Result<Changed<T>, Fault>,
    ) -> Result<T, StoreError> {
        self.change_and_record(entry, change)
            .map(|(value, _)| value)
    }

    /// As [`change`](Self::change), and returns the number of the record.
    fn change_and_record<T>(
        &self,
        entry: Entry,
        change: impl AsyncFn(&Connection) -> Result<Changed<T>, Fault>,
    ) -> Result<(T, Option<i64>), StoreError> {
        let database = &self.inspector.database;
        let changed = database.wait(async {
            let mut conflicts = 0;
            loop {
                match self.transact(entry, &change).await {
                    Err(Fault::Conflict) if conflicts < CONFLICTS_MAX => conflicts += 1,
                    changed => return changed,
                }
            }
        });
        changed.map_err(|fault| fault.of_change(&database.url.to_string()))
    }

    async fn transact<T>(
        &self,
        entry: Entry,
        change: &impl AsyncFn(&Connection) -> Result<Changed<T>, Fault>,
    ) -> Result<(T, Option<i64>), Fault> {
        let connection = &self.inspector.connection;
        connection.begin().await?;
        let changed = async {
            let Changed { value, detail } = change(connection).await?;
            let record = match detail {
                Some(detail) => Some(entry.write(connection, &self.actor, &detail).await?),
                None => None,
            };
            Ok((value, record))
        };
        match changed.await {
            Ok(changed) => {
                connection.commit().await?;
                Ok(changed)
            }
            Err(fault) => Err(give_up(connection, Fault::before_commit(fault)).await),
        }
    }
}

impl Entry {
    async fn write(
        &self,
        connection: &Connection,
        actor: &Actor,
        detail: &str,
    ) -> Result<i64, Fault> {
        match self.record {
            None => audit::record(connection, actor, self.action, self.account, detail).await,
            Some(id) => audit::update(connection, id, detail).await.map(|()| id),
        }
    }
}

impl Operator for PostgresOperator {
    fn look(&self) -> &dyn Inspector {
        &self.inspector
    }

    /// Every schema has a record of actions.
    fn unrecorded(&self) -> Option<Unrecorded> {
        None
    }

    fn record(&mut self, action: Action, detail: &str) -> Result<(), StoreError> {
        self.change(Entry::of(action), async |_| Ok(Changed::new((), detail)))
    }

    fn record_restore(&mut self, detail: &str) -> Result<(), StoreError> {
        let at = self.actor.at;
        self.change(Entry::of(Action::Restore), async |connection| {
            let sql = "UPDATE passmate.property SET value = $1 WHERE name = 'syncs_known_since'";
            connection.execute(sql, &[(&at, Type::INT8)]).await?;
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
        self.change(Entry::of(Action::InviteAdd), async |connection| {
            invited::expire(connection, *made_at).await?;
            let sql = "INSERT INTO passmate.invite AS old (auth_hash, note, made_at, expires_at)
                 VALUES ($1, $2, $3, $4) ON CONFLICT (auth_hash) DO UPDATE
                 SET note = CASE WHEN $2 = '' THEN old.note ELSE $2 END,
                     made_at = $3, expires_at = $4";
            let params: [Param<'_>; 4] = [
                (&auth.0.as_slice(), Type::BYTEA),
                (note, Type::TEXT),
                (made_at, Type::INT8),
                (expires_at, Type::INT8),
            ];
            connection.execute(sql, &params).await?;
            Ok(Changed::new((), code_begin(auth)))
        })
    }

    fn open_seats(&mut self, opening: Opening) -> Result<(), StoreError> {
        let Opening {
            seats,
            made_at,
            expires_at,
        } = opening;
        let stored = i32::try_from(seats).unwrap_or(i32::MAX);
        self.change(Entry::of(Action::InviteOpen), async |connection| {
            invited::expire(connection, made_at).await?;
            let sql = "INSERT INTO passmate.opening (seats, made_at, expires_at)
                 VALUES ($1, $2, $3)";
            let params: [Param<'_>; 3] = [
                (&stored, Type::INT4),
                (&made_at, Type::INT8),
                (&expires_at, Type::INT8),
            ];
            connection.execute(sql, &params).await?;
            let detail = format!("{seats} seats until {}", utc(expires_at));
            Ok(Changed::new((), detail))
        })
    }

    fn revoke_invite(&mut self, auth: &AuthHash) -> Result<bool, StoreError> {
        self.change(Entry::of(Action::InviteRevoke), async |connection| {
            let sql = "DELETE FROM passmate.invite WHERE auth_hash = $1";
            let hash: [Param<'_>; 1] = [(&auth.0.as_slice(), Type::BYTEA)];
            let count = connection.execute(sql, &hash).await?;
            Ok(Changed::with(count, code_begin(auth)))
        })
    }

    fn revoke_openings(&mut self) -> Result<u64, StoreError> {
        self.change(Entry::of(Action::InviteRevoke), async |connection| {
            let sql = "DELETE FROM passmate.opening RETURNING seats";
            let mut seats = 0;
            for row in connection.query(sql, &[]).await? {
                seats += unsigned(get::<i32>(&row, 0)?.into());
            }
            Ok(Changed {
                value: seats,
                detail: (seats > 0).then(|| format!("{seats} open seats")),
            })
        })
    }

    fn set_access(&mut self, number: AccountNumber, access: Access) -> Result<bool, StoreError> {
        let (action, is_disabled) = match access {
            Access::Disabled => (Action::AccountDisable, true),
            Access::Enabled => (Action::AccountEnable, false),
        };
        let value: Param<'_> = (&is_disabled, Type::BOOL);
        self.set(Entry::on(action, number), "disabled", value, "")
    }

    fn delete_account(&mut self, number: AccountNumber) -> Result<bool, StoreError> {
        let entry = Entry::on(Action::AccountDelete, number);
        self.change(entry, async |connection| {
            let sql = "DELETE FROM passmate.account WHERE number = $1 RETURNING btoken_len";
            let number = number.as_bytes().as_slice();
            let rows = connection.query(sql, &[(&number, Type::BYTEA)]).await?;
            let Some(row) = rows.first() else {
                return Ok(Changed::with(0, ""));
            };
            let mut tally = Tally::default();
            tally.count(-1, -get::<i64>(row, 0)?);
            tally.write(connection).await?;
            Ok(Changed::new(true, ""))
        })
    }

    fn set_note(&mut self, number: AccountNumber, note: &str) -> Result<bool, StoreError> {
        // The note may hold a name, and is not kept here.
        let detail = if note.is_empty() { "removed" } else { "set" };
        let value: Param<'_> = (&note, Type::TEXT);
        self.set(
            Entry::on(Action::AccountNote, number),
            "note",
            value,
            detail,
        )
    }

    fn set_limit(&mut self, number: AccountNumber, limit: Option<u32>) -> Result<bool, StoreError> {
        let detail = limit.map_or_else(|| "none".to_owned(), |limit| format!("{limit} bytes"));
        let stored = limit.map(i64::from);
        let value: Param<'_> = (&stored, Type::INT8);
        let entry = Entry::on(Action::AccountLimit, number);
        self.set(entry, "limit_len", value, &detail)
    }

    fn prune(&mut self, before: i64) -> Result<Sum, StoreError> {
        let (mut sum, mut after, mut record) = (Sum::default(), [0; 8], None);
        loop {
            let entry = Entry {
                record,
                ..Entry::of(Action::AccountPrune)
            };
            let (next, recorded) = self.change_and_record(entry, async |connection| {
                prune_some(connection, before, after, sum).await
            })?;
            record = recorded.or(record);
            match next {
                None => return Ok(sum),
                Some((last, all)) => (after, sum) = (last, all),
            }
        }
    }

    fn correct_times(&mut self) -> Result<u64, StoreError> {
        let now = self.actor.at;
        let entry = Entry::of(Action::AccountCorrectTimes);
        self.change(entry, async |connection| {
            let sql = "UPDATE passmate.account SET created_at = least(created_at, $1),
                changed_at = least(changed_at, $1),
                synced_at = CASE WHEN synced_at > $2 THEN $2 ELSE synced_at END
                WHERE created_at > $1 OR changed_at > $1 OR coalesce(synced_at, 0) > $2";
            let params: [Param<'_>; 2] = [(&now, Type::INT8), (&day_of(now), Type::INT8)];
            let count = connection.execute(sql, &params).await?;
            Ok(Changed {
                value: count,
                detail: (count > 0).then(|| format!("{count} accounts")),
            })
        })
    }

    fn import(&mut self, accounts: &[ForeignAccount]) -> Result<Vec<bool>, StoreError> {
        let (before, earlier) = self.import;
        let at = self.actor.at;
        let entry = Entry {
            record: earlier,
            ..Entry::of(Action::ImportSpr)
        };
        let ((are_new, sum), record) = self.change_and_record(entry, async |connection| {
            let (mut are_new, mut sum) = (Vec::with_capacity(accounts.len()), before);
            let mut tally = Tally::default();
            for account in accounts {
                let is_new = import_one(connection, account, at).await?;
                if is_new {
                    let len = account.btoken.len();
                    tally.count(1, i64::try_from(len).unwrap_or(i64::MAX));
                    sum.accounts += 1;
                    sum.btoken_bytes += len as u64;
                }
                are_new.push(is_new);
            }
            tally.write(connection).await?;
            Ok(Changed {
                value: (are_new, sum),
                detail: (sum != before).then(|| describe(sum)),
            })
        })?;
        self.import = (sum, record.or(earlier));
        Ok(are_new)
    }
}

impl PostgresOperator {
    /// Sets a column of one account.
    fn set(
        &self,
        entry: Entry,
        column: &str,
        value: Param<'_>,
        detail: &str,
    ) -> Result<bool, StoreError> {
        let number = entry.account;
        self.change(entry, async |connection| {
            let sql = format!("UPDATE passmate.account SET {column} = $2 WHERE number = $1");
            let number = number.as_ref().map(|number| number.as_bytes().as_slice());
            let params: [Param<'_>; 2] = [(&number, Type::BYTEA), value.clone()];
            let count = connection.execute(&sql, &params).await?;
            Ok(Changed::with(count, detail))
        })
    }
}

/// Deletes the next unused accounts after one. Returns the last of them, and the sum with them.
async fn prune_some(
    connection: &Connection,
    before: i64,
    after: [u8; 8],
    mut sum: Sum,
) -> Result<Changed<Option<([u8; 8], Sum)>>, Fault> {
    let sql = format!(
        "DELETE FROM passmate.account WHERE number IN (
             SELECT number FROM passmate.account WHERE {UNUSED} AND number > $3
             ORDER BY number LIMIT $4 FOR UPDATE
         ) RETURNING number, btoken_len"
    );
    let params: [Param<'_>; 4] = [
        (&before, Type::INT8),
        (&Account::FIRST_DAY, Type::INT8),
        (&after.as_slice(), Type::BYTEA),
        (&PRUNE_BATCH, Type::INT8),
    ];
    let mut tally = Tally::default();
    let mut last = after;
    let rows = connection.query(&sql, &params).await?;
    for row in &rows {
        last = last.max(array(get(row, 0)?)?);
        let len: i64 = get(row, 1)?;
        tally.count(-1, -len);
        sum.accounts += 1;
        sum.btoken_bytes += unsigned(len);
    }
    tally.write(connection).await?;
    if rows.is_empty() {
        return Ok(Changed {
            value: None,
            detail: None,
        });
    }
    Ok(Changed::new(Some((last, sum)), describe(sum)))
}

/// Imports an account; false if its number is taken.
async fn import_one(
    connection: &Connection,
    account: &ForeignAccount,
    at: i64,
) -> Result<bool, Fault> {
    let hash: [u8; 32] = Sha256::digest(&account.btoken).into();
    let auth = AuthHash::of(&account.auth_token);
    let revision = hash.first_chunk::<16>().map(<[u8; 16]>::as_slice);
    let sql = "INSERT INTO passmate.account (number, auth_hash, revision, checksum, btoken_len, \
         created_at, changed_at, synced_at, btoken)
         VALUES ($1, $2, $3, $4, octet_length($7), $5, $5, $6, $7) ON CONFLICT DO NOTHING";
    let params: [Param<'_>; 7] = [
        (&account.number.as_bytes().as_slice(), Type::BYTEA),
        (&auth.0.as_slice(), Type::BYTEA),
        (&revision, Type::BYTEA),
        (&Checksum::of(&account.btoken).0.cast_signed(), Type::INT8),
        (&account.at, Type::INT8),
        // The import counts as a sync: nobody knows yet whether its devices come here.
        (&day_of(at), Type::INT8),
        (&account.btoken.as_slice(), Type::BYTEA),
    ];
    Ok(connection.execute(sql, &params).await? > 0)
}

fn describe(sum: Sum) -> String {
    format!("{} accounts, {} bytes", sum.accounts, sum.btoken_bytes)
}

/// The first group of the code that names a device: enough to recognise it, and not the code.
fn code_begin(auth: &AuthHash) -> String {
    let code = auth.code().to_string();
    code.split('-').next().unwrap_or_default().to_owned()
}
