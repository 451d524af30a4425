//! A database that takes in another store, and the rows that it gives to one.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use passmate_proto::AccountNumber;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::audit;
use super::batch::{give_up, number_of};
use super::connection::{Connection, Param, get};
use super::engine::Postgres;
use super::error::Fault;
use super::inspector::{PostgresInspector, unsigned};
use super::reader::array;
use super::url::PostgresUrl;
use crate::store::sqlite::SqliteIntake;
use crate::store::transfer::{self, AccountRow, Intake, Rest, WholeAccount};
use crate::store::{
    Action, Actor, Checksum, EngineError, Inspector, OfflineStore, Sqlite, StoreError, StoreUrl,
};

/// Until the transfer ends, nobody else changes accounts: a server that has opened the database before
/// gets an error, for which it says that the database cannot be used.
const GUARD: &str = "
CREATE OR REPLACE FUNCTION passmate.guard_transfer() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
    IF current_setting('passmate.transfer', true) IS DISTINCT FROM
        (SELECT value::text FROM passmate.property WHERE name = 'unfinished')
    THEN
        RAISE EXCEPTION 'another store is being moved into this database'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NULL;
END $guard$;
DROP TRIGGER IF EXISTS transfer ON passmate.account;
CREATE TRIGGER transfer BEFORE INSERT OR UPDATE OR DELETE ON passmate.account
    FOR EACH STATEMENT EXECUTE FUNCTION passmate.guard_transfer();
DROP TRIGGER IF EXISTS transfer ON passmate.totals;
CREATE TRIGGER transfer BEFORE UPDATE ON passmate.totals
    FOR EACH STATEMENT EXECUTE FUNCTION passmate.guard_transfer()";

/// Ends what [`GUARD`] has begun.
const UNGUARD: &str = "DROP TRIGGER IF EXISTS transfer ON passmate.account;
    DROP TRIGGER IF EXISTS transfer ON passmate.totals;
    DROP FUNCTION IF EXISTS passmate.guard_transfer()";

/// Whether the database has not taken in all of another store.
pub(super) async fn is_unfinished(connection: &Connection) -> Result<bool, Fault> {
    let sql = "SELECT EXISTS (SELECT 1 FROM passmate.property WHERE name = 'unfinished')";
    get(&connection.one(sql, &[]).await?, 0)
}

pub(in crate::store) struct PostgresIntake {
    inspector: PostgresInspector,
    /// The value of the mark that this transfer has set.
    mark: i64,
}

impl PostgresIntake {
    /// Opens a database, and makes its schema.
    pub(in crate::store) fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        drop(Postgres::open_unfinished(url)?);
        let mut mark = [0; size_of::<i64>()];
        getrandom::fill(&mut mark).map_err(|error| EngineError::Failed(error.to_string()))?;
        Ok(Self {
            inspector: PostgresInspector::open(url)?,
            mark: i64::from_ne_bytes(mark),
        })
    }

    /// Changes the store, if no other transfer has begun since, and none has ended: a run that was
    /// forgotten must not write over what devices have stored since.
    fn transact_marked(
        &self,
        change: impl AsyncFn(&Connection) -> Result<(), Fault>,
    ) -> Result<(), StoreError> {
        self.transact(async |connection| {
            let sql = "SELECT 1 FROM passmate.property WHERE name = 'unfinished' AND value = $1
                 FOR UPDATE";
            let mark: [Param<'_>; 1] = [(&self.mark, Type::INT8)];
            if connection.query(sql, &mark).await?.is_empty() {
                let cause = "another transfer into this store has begun or ended since";
                return Err(Fault::Refused(EngineError::Unavailable(cause.to_owned())));
            }
            let pass = format!("SET LOCAL passmate.transfer = '{}'", self.mark);
            connection.batch(&pass).await?;
            change(connection).await
        })
    }

    fn transact(
        &self,
        change: impl AsyncFn(&Connection) -> Result<(), Fault>,
    ) -> Result<(), StoreError> {
        let (database, connection) = (&self.inspector.database, &self.inspector.connection);
        let done = database.wait(async {
            connection.begin().await?;
            match change(connection).await {
                Ok(()) => connection.commit().await,
                Err(fault) => Err(give_up(connection, fault.before_commit()).await),
            }
        });
        done.map_err(|fault| fault.of_change(&database.url.to_string()))
    }

    /// Whether there are accounts that are not from an unfinished transfer.
    fn has_accounts(&self) -> Result<bool, StoreError> {
        let look = has_accounts(&self.inspector.connection);
        let found = self.inspector.database.wait(look);
        Ok(found.map_err(Fault::of_read)?)
    }
}

impl Intake for PostgresIntake {
    fn look(&self) -> &dyn Inspector {
        &self.inspector
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        let is_taken = Cell::new(false);
        let begun = self.transact(async |connection| {
            // In the order of `transact_marked`: the mark of an earlier transfer, and then the tables.
            let mark = "SELECT 1 FROM passmate.property WHERE name = 'unfinished' FOR UPDATE";
            connection.query(mark, &[]).await?;
            // No server makes an account between the look and the mark.
            let lock = "LOCK TABLE passmate.account, passmate.totals IN SHARE ROW EXCLUSIVE MODE";
            connection.batch(lock).await?;
            is_taken.set(has_accounts(connection).await?);
            if is_taken.get() {
                return Ok(());
            }
            let sql = "INSERT INTO passmate.property VALUES ('unfinished', $1)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            let mark: [Param<'_>; 1] = [(&self.mark, Type::INT8)];
            connection.execute(sql, &mark).await?;
            connection.batch(GUARD).await
        });
        begun?;
        match is_taken.get() {
            true => Err(StoreError::NotEmpty {
                store: self.inspector.database.url.to_string(),
            }),
            false => Ok(()),
        }
    }

    fn put(&mut self, accounts: &[WholeAccount]) -> Result<(), StoreError> {
        self.transact_marked(async |connection| {
            for account in accounts {
                put(connection, account).await?;
            }
            Ok(())
        })
    }

    fn remove(&mut self, numbers: &[AccountNumber]) -> Result<(), StoreError> {
        let numbers: Vec<&[u8]> = numbers
            .iter()
            .map(|one| one.as_bytes().as_slice())
            .collect();
        self.transact_marked(async |connection| {
            let sql = "DELETE FROM passmate.account WHERE number = ANY ($1)";
            let numbers: [Param<'_>; 1] = [(&numbers, Type::BYTEA_ARRAY)];
            connection.execute(sql, &numbers).await.map(drop)
        })
    }

    fn put_rest(&mut self, rest: &Rest) -> Result<(), StoreError> {
        self.transact_marked(async |connection| {
            let sql = "UPDATE passmate.totals SET accounts = 0, btoken_bytes = 0;
                 UPDATE passmate.totals SET accounts = (SELECT count(*) FROM passmate.account),
                     btoken_bytes = (SELECT coalesce(sum(btoken_len), 0) FROM passmate.account)
                 WHERE slot = 0;
                 DELETE FROM passmate.invite; DELETE FROM passmate.opening;
                 DELETE FROM passmate.audit;";
            connection.batch(sql).await?;
            put_rest(connection, rest).await
        })
    }

    fn finish(&mut self, actor: &Actor, action: Action, detail: &str) -> Result<(), StoreError> {
        self.transact_marked(async |connection| {
            audit::record(connection, actor, action, None, detail).await?;
            finish(connection).await
        })
    }
}

/// Whether there are accounts that are not from an unfinished transfer.
async fn has_accounts(connection: &Connection) -> Result<bool, Fault> {
    if is_unfinished(connection).await? {
        return Ok(false);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM passmate.account)";
    get(&connection.one(sql, &[]).await?, 0)
}

async fn finish(connection: &Connection) -> Result<(), Fault> {
    let sql = "DELETE FROM passmate.property WHERE name = 'unfinished'";
    connection.execute(sql, &[]).await?;
    connection.batch(UNGUARD).await
}

async fn put(connection: &Connection, account: &WholeAccount) -> Result<(), Fault> {
    let row = &account.row;
    if row.is_admitted {
        // Another account of the same device, which the source has no longer.
        let sql = "UPDATE passmate.account SET admitted = false WHERE auth_hash = $1 AND admitted";
        let auth: [Param<'_>; 1] = [(&row.auth.as_slice(), Type::BYTEA)];
        connection.execute(sql, &auth).await?;
    }
    let sql = "INSERT INTO passmate.account (number, auth_hash, revision, checksum, btoken_len, \
         created_at, changed_at, synced_at, admitted, disabled, limit_len, note, btoken)
         VALUES ($1, $2, $3, $4, octet_length($12), $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (number) DO UPDATE SET auth_hash = $2, revision = $3, checksum = $4,
             btoken_len = octet_length($12), created_at = $5, changed_at = $6, synced_at = $7,
             admitted = $8, disabled = $9, limit_len = $10, note = $11, btoken = $12";
    let params: [Param<'_>; 12] = [
        (&row.number.as_bytes().as_slice(), Type::BYTEA),
        (&row.auth.as_slice(), Type::BYTEA),
        (&row.revision.as_slice(), Type::BYTEA),
        (&row.checksum.0.cast_signed(), Type::INT8),
        (&row.created_at, Type::INT8),
        (&row.changed_at, Type::INT8),
        (&row.synced_at, Type::INT8),
        (&row.is_admitted, Type::BOOL),
        (&row.is_disabled, Type::BOOL),
        (&row.limit.map(i64::from), Type::INT8),
        (&storable(&row.note), Type::TEXT),
        (&account.btoken.as_slice(), Type::BYTEA),
    ];
    connection.execute(sql, &params).await.map(drop)
}

async fn put_rest(connection: &Connection, rest: &Rest) -> Result<(), Fault> {
    for invite in &rest.invites {
        let sql = "INSERT INTO passmate.invite (auth_hash, note, made_at, expires_at)
             VALUES ($1, $2, $3, $4)";
        let params: [Param<'_>; 4] = [
            (&invite.auth.0.as_slice(), Type::BYTEA),
            (&storable(&invite.note), Type::TEXT),
            (&invite.made_at, Type::INT8),
            (&invite.expires_at, Type::INT8),
        ];
        connection.execute(sql, &params).await?;
    }
    for opening in &rest.openings {
        let sql = "INSERT INTO passmate.opening (seats, made_at, expires_at) VALUES ($1, $2, $3)";
        let seats = i32::try_from(opening.seats).unwrap_or(i32::MAX);
        let params: [Param<'_>; 3] = [
            (&seats, Type::INT4),
            (&opening.made_at, Type::INT8),
            (&opening.expires_at, Type::INT8),
        ];
        connection.execute(sql, &params).await?;
    }
    for record in &rest.audit {
        audit::put(connection, record).await?;
    }
    let last = rest.audit.last().map_or(0, |record| record.id);
    // The server that had the store has logged them.
    for (name, value) in [
        ("audit_last", last),
        ("audit_logged", last),
        ("syncs_known_since", rest.known_since),
    ] {
        let sql = "UPDATE passmate.property SET value = $2 WHERE name = $1";
        let params: [Param<'_>; 2] = [(&name, Type::TEXT), (&value, Type::INT8)];
        connection.execute(sql, &params).await?;
    }
    Ok(())
}

/// A text without the character that PostgreSQL does not store.
fn storable(text: &str) -> String {
    text.replace('\0', "")
}

const COLUMNS: &str = "number, auth_hash, revision, checksum, btoken_len, created_at, changed_at,
    synced_at, admitted, disabled, limit_len, note";

/// See [`Inspector::rows`].
pub(super) async fn rows(
    connection: &Connection,
    after: [u8; 8],
    until: Option<[u8; 8]>,
    most: usize,
) -> Result<Vec<AccountRow>, Fault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM passmate.account
         WHERE number > $1 AND ($2::bytea IS NULL OR number <= $2) ORDER BY number LIMIT $3"
    );
    let until = until.as_ref().map(<[u8; 8]>::as_slice);
    let params: [Param<'_>; 3] = [
        (&after.as_slice(), Type::BYTEA),
        (&until, Type::BYTEA),
        (&i64::try_from(most).unwrap_or(i64::MAX), Type::INT8),
    ];
    let rows = connection.query(&sql, &params).await?;
    rows.iter().map(row_of).collect()
}

/// See [`Inspector::whole`].
pub(super) async fn whole(
    connection: &Connection,
    number: AccountNumber,
) -> Result<Option<WholeAccount>, Fault> {
    let sql = format!("SELECT {COLUMNS}, btoken FROM passmate.account WHERE number = $1");
    let number: [Param<'_>; 1] = [(&number.as_bytes().as_slice(), Type::BYTEA)];
    let rows = connection.query(&sql, &number).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let btoken = get::<&[u8]>(row, 12)?.to_vec();
    let account = WholeAccount::new(row_of(row)?, btoken);
    account.map(Some).map_err(Fault::Refused)
}

fn row_of(row: &Row) -> Result<AccountRow, Fault> {
    let number = number_of(get(row, 0)?).ok_or_else(|| {
        Fault::Refused(EngineError::Damaged("an account has no number".to_owned()))
    })?;
    let limit: Option<i64> = get(row, 10)?;
    Ok(AccountRow {
        number,
        auth: array(get(row, 1)?)?,
        revision: array(get(row, 2)?)?,
        checksum: Checksum(get::<i64>(row, 3)?.cast_unsigned()),
        btoken_len: unsigned(get(row, 4)?),
        created_at: get(row, 5)?,
        changed_at: get(row, 6)?,
        synced_at: get(row, 7)?,
        is_admitted: get(row, 8)?,
        is_disabled: get(row, 9)?,
        limit: limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        note: get(row, 11)?,
    })
}

impl PostgresInspector {
    /// Copies the store, as it is at one moment, into a new SQLite file.
    pub(super) fn copy_to_file(&self, path: &Path) -> Result<(), StoreError> {
        let run = |sql: &str| {
            let done = self.database.wait(self.connection.batch(sql));
            done.map_err(Fault::of_read)
        };
        run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        let is_unfinished = self.database.wait(is_unfinished(&self.connection));
        if is_unfinished.map_err(Fault::of_read)? {
            return Err(StoreError::Unfinished {
                store: self.database.url.to_string(),
            });
        }
        let mut file = SqliteIntake::open(path)?;
        file.begin()?;
        transfer::copy(self, &mut file, &mut |_| {})?;
        file.finish_silently()?;
        Ok(run("COMMIT")?)
    }
}

/// A database without accounts, into which a backup is restored.
pub(in crate::store) struct EmptyPostgres {
    url: PostgresUrl,
}

impl EmptyPostgres {
    /// # Errors
    /// [`StoreError::NotEmpty`] if there are accounts.
    pub(in crate::store) fn find(url: &PostgresUrl) -> Result<Self, StoreError> {
        if PostgresIntake::open(url)?.has_accounts()? {
            return Err(StoreError::NotEmpty {
                store: url.to_string(),
            });
        }
        Ok(Self { url: url.clone() })
    }
}

impl OfflineStore for EmptyPostgres {
    fn exists(&self) -> bool {
        false
    }

    fn replace(&self, new: &Path) -> Result<Option<PathBuf>, StoreError> {
        // Gives an older backup the newest schema.
        drop(Sqlite::open(new)?);
        let source = StoreUrl::sqlite(new).inspector()?;
        let mut target = PostgresIntake::open(&self.url)?;
        target.begin()?;
        transfer::copy(&*source, &mut target, &mut |_| {})?;
        let (sent, stored) = (
            transfer::content(&*source)?,
            transfer::content(target.look())?,
        );
        if sent != stored {
            let cause = "the database does not hold what was restored".to_owned();
            return Err(EngineError::Damaged(cause).into());
        }
        target.transact_marked(finish)?;
        Ok(None)
    }
}
