//! Creates that need an invite or an open seat.

use tokio_postgres::types::Type;

use super::batch::{NewAccount, Tally, checksum_of, number_of};
use super::connection::{Connection, Param, get};
use super::error::Fault;
use crate::clock::day_of;
use crate::store::{Created, EngineError};

pub(super) async fn create(
    connection: &Connection,
    new: &NewAccount<'_>,
    tally: &mut Tally,
) -> Result<Created, Fault> {
    if let Some(created) = repeat(connection, new, tally).await? {
        return Ok(created);
    }
    if new.is_one_too_many(connection, tally).await? {
        return Ok(Created::AccountsMax);
    }
    // The account comes first: whoever finds its number taken has used up nothing. Nobody sees it
    // before the commit.
    if !new.insert(connection, true, tally).await? {
        return Ok(Created::NumberTaken);
    }
    if admit(connection, new).await? {
        return Ok(Created::Done(new.number, ()));
    }
    let number: [Param<'_>; 1] = [(&new.number.as_bytes().as_slice(), Type::BYTEA)];
    let sql = "DELETE FROM passmate.account WHERE number = $1 RETURNING btoken_len";
    let row = connection.one(sql, &number).await?;
    tally.count(-1, -get::<i64>(&row, 0)?);
    Ok(Created::NotInvited)
}

/// Stores the btoken in the account that this auth token was admitted for, if the account has not
/// been updated yet.
async fn repeat(
    connection: &Connection,
    new: &NewAccount<'_>,
    tally: &mut Tally,
) -> Result<Option<Created>, Fault> {
    let sql = "SELECT number, btoken_len, disabled FROM passmate.account
         WHERE auth_hash = $1 AND admitted FOR UPDATE";
    let auth: [Param<'_>; 1] = [(&new.auth.0.as_slice(), Type::BYTEA)];
    let rows = connection.query(sql, &auth).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let (number, len_before): (&[u8], i64) = (get(row, 0)?, get(row, 1)?);
    if get(row, 2)? {
        return Ok(Some(Created::NotInvited));
    }
    let sql = "UPDATE passmate.account SET revision = $2, checksum = $3, btoken = $4,
             btoken_len = octet_length($4), changed_at = $5, synced_at = $6 WHERE number = $1";
    let params: [Param<'_>; 6] = [
        (&number, Type::BYTEA),
        (&new.btoken.revision.0.as_slice(), Type::BYTEA),
        (&checksum_of(new.btoken), Type::INT8),
        (&new.btoken.bytes(), Type::BYTEA),
        (&new.at, Type::INT8),
        (&day_of(new.at), Type::INT8),
    ];
    connection.execute(sql, &params).await?;
    let len = i64::try_from(new.btoken.bytes().len()).unwrap_or(i64::MAX);
    tally.count(0, len - len_before);
    match number_of(number) {
        Some(number) => Ok(Some(Created::Done(number, ()))),
        None => Err(Fault::Refused(EngineError::Damaged(
            "an account has no number".to_owned(),
        ))),
    }
}

/// Uses up the invite for this auth token, or takes an open seat: the one that expires first.
async fn admit(connection: &Connection, new: &NewAccount<'_>) -> Result<bool, Fault> {
    let sql = "DELETE FROM passmate.invite WHERE auth_hash = $1 AND expires_at > $2";
    let params: [Param<'_>; 2] = [(&new.auth.0.as_slice(), Type::BYTEA), (&new.at, Type::INT8)];
    if connection.execute(sql, &params).await? > 0 {
        return Ok(true);
    }
    // All of them are locked: one that another transaction uses up at this moment is left out, and
    // the next one has to be there.
    let sql = "SELECT id, seats FROM passmate.opening WHERE expires_at > $1
         ORDER BY expires_at, id FOR UPDATE";
    let now: [Param<'_>; 1] = [(&new.at, Type::INT8)];
    let rows = connection.query(sql, &now).await?;
    let Some(row) = rows.first() else {
        return Ok(false);
    };
    let (id, seats): (i64, i32) = (get(row, 0)?, get(row, 1)?);
    let sql = match seats {
        1 => "DELETE FROM passmate.opening WHERE id = $1",
        _ => "UPDATE passmate.opening SET seats = seats - 1 WHERE id = $1",
    };
    connection.execute(sql, &[(&id, Type::INT8)]).await?;
    Ok(true)
}

/// Removes invites and open seats that have expired.
pub(super) async fn expire(connection: &Connection, at: i64) -> Result<(), Fault> {
    for table in ["invite", "opening"] {
        let sql = format!("DELETE FROM passmate.{table} WHERE expires_at <= $1");
        connection.execute(&sql, &[(&at, Type::INT8)]).await?;
    }
    Ok(())
}
