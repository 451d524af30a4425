//! The record of what operators did: rows of the table `audit`, of which a bounded number is kept
//! for a bounded time.

use passmate_proto::AccountNumber;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::batch::number_of;
use super::connection::{Connection, Param, get};
use super::error::Fault;
use crate::clock::DAY;
use crate::store::{Action, Actor, Audited, EngineError};

/// The most rows that are kept.
const ROWS_MAX: i64 = 10_000;
/// Rows are kept this long, in seconds.
const AGE_MAX: i64 = 366 * DAY;
/// That many of the latest rows stay in any case, so that a clock that is wrong for a few commands
/// removes nothing.
const ROWS_MIN: i64 = 10;
/// The most rows that are read at once for the log of a server.
const UNLOGGED_MAX: i64 = 100;
/// The length of the longest detail, in characters.
const DETAIL_LEN_MAX: usize = 400;

const SELECT: &str =
    "SELECT id, at, uid, username, sudo_uid, action, account, detail FROM passmate.audit";

/// Adds a row, and removes what is kept no longer. Returns the number of the row. Rows are numbered
/// in the order of their commits, because the number stays locked until then.
pub(super) async fn record(
    connection: &Connection,
    actor: &Actor,
    action: Action,
    account: Option<AccountNumber>,
    detail: &str,
) -> Result<i64, Fault> {
    let sql = "WITH next AS (
             UPDATE passmate.property SET value = value + 1 WHERE name = 'audit_last' RETURNING value
         )
         INSERT INTO passmate.audit (id, at, uid, username, sudo_uid, action, account, detail)
         SELECT value, $1, $2, $3, $4, $5, $6, $7 FROM next RETURNING id";
    let params: [Param<'_>; 7] = [
        (&actor.at, Type::INT8),
        (&i64::from(actor.uid), Type::INT8),
        (&actor.user, Type::TEXT),
        (&actor.sudo_uid.map(i64::from), Type::INT8),
        (&action.name(), Type::TEXT),
        (
            &account.as_ref().map(|number| number.as_bytes().as_slice()),
            Type::BYTEA,
        ),
        (&cut(detail), Type::TEXT),
    ];
    let id: i64 = get(&connection.one(sql, &params).await?, 0)?;
    expire(connection, actor.at).await?;
    let too_many: [Param<'_>; 1] = [(&id.saturating_sub(ROWS_MAX), Type::INT8)];
    let sql = "DELETE FROM passmate.audit WHERE id <= $1";
    connection.execute(sql, &too_many).await?;
    Ok(id)
}

/// Stores a row of another store as it is.
pub(super) async fn put(connection: &Connection, record: &Audited) -> Result<(), Fault> {
    let sql =
        "INSERT INTO passmate.audit (id, at, uid, username, sudo_uid, action, account, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let account = record.account.as_ref().map(|one| one.as_bytes().as_slice());
    let params: [Param<'_>; 8] = [
        (&record.id, Type::INT8),
        (&record.actor.at, Type::INT8),
        (&i64::from(record.actor.uid), Type::INT8),
        (&record.actor.user.as_deref().map(cut), Type::TEXT),
        (&record.actor.sudo_uid.map(i64::from), Type::INT8),
        (&cut(&record.action), Type::TEXT),
        (&account, Type::BYTEA),
        (&cut(&record.detail), Type::TEXT),
    ];
    connection.execute(sql, &params).await.map(drop)
}

/// Replaces the detail of a row, where a command takes several transactions.
pub(super) async fn update(connection: &Connection, id: i64, detail: &str) -> Result<(), Fault> {
    let sql = "UPDATE passmate.audit SET detail = $2 WHERE id = $1";
    let params: [Param<'_>; 2] = [(&id, Type::INT8), (&cut(detail), Type::TEXT)];
    connection.execute(sql, &params).await.map(drop)
}

/// Removes rows that are old, now and by the latest rows.
pub(super) async fn expire(connection: &Connection, now: i64) -> Result<(), Fault> {
    let sql = format!(
        "DELETE FROM passmate.audit USING (
             SELECT at FROM passmate.audit ORDER BY id DESC LIMIT 1 OFFSET {ROWS_MIN} - 1
         ) AS latest WHERE audit.at < least($1, latest.at) - {AGE_MAX}"
    );
    connection
        .execute(&sql, &[(&now, Type::INT8)])
        .await
        .map(drop)
}

/// The rows of this time or later.
pub(super) async fn since(connection: &Connection, since: i64) -> Result<Vec<Audited>, Fault> {
    let sql = format!("{SELECT} WHERE at >= $1 ORDER BY id");
    let rows = connection.query(&sql, &[(&since, Type::INT8)]).await?;
    rows.iter().map(audited_of).collect()
}

/// The first rows after the row with this number; without a number, after the last row that a
/// server has written to its log.
pub(super) async fn unlogged(
    connection: &Connection,
    after: Option<i64>,
) -> Result<Vec<Audited>, Fault> {
    let logged = "(SELECT value FROM passmate.property WHERE name = 'audit_logged')";
    let sql = format!("{SELECT} WHERE id > coalesce($1, {logged}, 0) ORDER BY id LIMIT $2");
    let params: [Param<'_>; 2] = [(&after, Type::INT8), (&UNLOGGED_MAX, Type::INT8)];
    let rows = connection.query(&sql, &params).await?;
    rows.iter().map(audited_of).collect()
}

/// Notes that a server has written all rows up to this one to its log.
pub(super) async fn set_logged(connection: &Connection, id: i64) -> Result<(), Fault> {
    let sql = "UPDATE passmate.property SET value = $1 WHERE name = 'audit_logged' AND value < $1";
    connection
        .execute(sql, &[(&id, Type::INT8)])
        .await
        .map(drop)
}

fn audited_of(row: &Row) -> Result<Audited, Fault> {
    let uid = |value: i64| {
        u32::try_from(value)
            .map_err(|_| Fault::Refused(EngineError::Damaged("a record names no user".to_owned())))
    };
    let account: Option<&[u8]> = get(row, 6)?;
    Ok(Audited {
        id: get(row, 0)?,
        actor: Actor {
            at: get(row, 1)?,
            uid: uid(get(row, 2)?)?,
            user: get(row, 3)?,
            sudo_uid: get::<Option<i64>>(row, 4)?.map(uid).transpose()?,
        },
        action: get(row, 5)?,
        account: account.and_then(number_of),
        detail: get(row, 7)?,
    })
}

/// A detail without the byte that a text of PostgreSQL cannot hold.
fn cut(detail: &str) -> String {
    let storable = detail.chars().filter(|c| *c != '\0');
    storable.take(DETAIL_LEN_MAX).collect()
}
