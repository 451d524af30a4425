//! A batch of changes in one transaction. Replacements of different accounts that follow each other
//! are one statement, and if there is nothing else in the batch, it commits by itself.

use std::collections::{HashMap, HashSet};

use passmate_proto::AccountNumber;
use tokio_postgres::types::Type;

use super::connection::{Connection, Param, SLOT, get};
use super::error::Fault;
use super::{audit, invited};
use crate::clock::day_of;
use crate::store::{
    Admission, AuthHash, Btoken, Change, Created, Deleted, EngineError, Outcome, Replaced,
};

/// Replaces btokens. The rows are locked in the order of their numbers, so that two batches never
/// wait for each other. A row that was changed since is looked at again when its lock is free: the
/// revision decides at that moment.
const REPLACE: &str = "
WITH new AS (
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bytea[],
        $6::bigint[], $7::bigint[])
        AS new (number, expected, revision, checksum, btoken, at, day)
), held AS (
    SELECT account.number, account.btoken_len FROM passmate.account AS account
    JOIN new ON new.number = account.number
    WHERE (account.revision = new.expected OR ($8 AND account.revision = new.revision))
        AND NOT account.disabled
    ORDER BY account.number FOR UPDATE OF account
), changed AS (
    UPDATE passmate.account AS account
    SET revision = new.revision, checksum = new.checksum, btoken = new.btoken,
        btoken_len = octet_length(new.btoken), changed_at = new.at, synced_at = new.day,
        admitted = false
    FROM new JOIN held ON held.number = new.number
    WHERE account.number = new.number
    RETURNING account.number, account.btoken_len - held.btoken_len AS grown
), counted AS (
    UPDATE passmate.totals
    SET btoken_bytes = btoken_bytes + (SELECT sum(grown) FROM changed)::bigint
    WHERE $9 AND slot = pg_backend_pid() % 64 AND (SELECT sum(grown) FROM changed)::bigint <> 0::bigint
)
SELECT number, grown FROM changed";

/// Which attempt to make a batch this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    /// The outcome of an earlier attempt is unknown. What it has made counts as made by this one.
    Again,
}

/// What a transaction adds to the totals.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The number of accounts before the transaction, read when a create first needs it.
    accounts_before: Option<i64>,
    pub(super) accounts: i64,
    pub(super) bytes: i64,
}

impl Tally {
    pub(super) fn count(&mut self, accounts: i64, bytes: i64) {
        self.accounts += accounts;
        self.bytes += bytes;
    }

    /// The number of accounts after the changes so far. Servers that make accounts at the same
    /// moment do not see those of each other.
    pub(super) async fn accounts(&mut self, connection: &Connection) -> Result<u64, Fault> {
        let before = match self.accounts_before {
            Some(before) => before,
            None => {
                let sql = "SELECT coalesce(sum(accounts), 0)::bigint FROM passmate.totals";
                let row = connection.one(sql, &[]).await?;
                *self.accounts_before.insert(get(&row, 0)?)
            }
        };
        Ok(u64::try_from(before + self.accounts).unwrap_or(0))
    }

    pub(super) async fn write(&self, connection: &Connection) -> Result<(), Fault> {
        if (self.accounts, self.bytes) == (0, 0) {
            return Ok(());
        }
        let sql = format!(
            "UPDATE passmate.totals SET accounts = accounts + $1, btoken_bytes = btoken_bytes + $2
             WHERE {SLOT}"
        );
        let params: [Param<'_>; 2] = [(&self.accounts, Type::INT8), (&self.bytes, Type::INT8)];
        connection.execute(&sql, &params).await.map(drop)
    }
}

/// Makes a batch in one transaction.
pub(super) async fn commit(
    connection: &Connection,
    changes: &[Change],
    attempt: Attempt,
) -> Result<Vec<Outcome>, Fault> {
    let parts = parts(changes);
    match parts.as_slice() {
        [Part::Replacements(all)] => {
            let (outcomes, _) = replace(connection, all, attempt, Counting::InStatement).await?;
            return Ok(outcomes);
        }
        [Part::One(Change::Probe)] => {
            connection.probe_soon().await?;
            return Ok(vec![Outcome::Done]);
        }
        _ => {}
    }
    connection.begin().await?;
    match apply(connection, &parts, attempt).await {
        Ok(outcomes) => {
            connection.commit().await?;
            Ok(outcomes)
        }
        Err(fault) => Err(give_up(connection, fault.before_commit()).await),
    }
}

/// Rolls back a transaction that has failed.
pub(super) async fn give_up(connection: &Connection, fault: Fault) -> Fault {
    if matches!(fault, Fault::Lost(_)) {
        return fault;
    }
    match connection.roll_back().await {
        Ok(()) => fault,
        // The next transaction must not begin inside of this one.
        Err(_) => Fault::Lost(format!(
            "a transaction cannot be rolled back after {fault:?}"
        )),
    }
}

/// Changes that are made together.
enum Part<'a> {
    /// Of different accounts.
    Replacements(Vec<Replacement<'a>>),
    One(&'a Change),
}

struct Replacement<'a> {
    account: &'a AccountNumber,
    expected: &'a [u8],
    btoken: &'a Btoken,
    at: i64,
}

fn parts(changes: &[Change]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut accounts = HashSet::new();
    for change in changes {
        let Change::ReplaceIf {
            account,
            expected,
            btoken,
            at,
        } = change
        else {
            parts.push(Part::One(change));
            continue;
        };
        let replacement = Replacement {
            account,
            expected: &expected.0,
            btoken,
            at: *at,
        };
        match parts.last_mut() {
            Some(Part::Replacements(all)) if accounts.insert(account.as_bytes()) => {
                all.push(replacement);
            }
            _ => {
                accounts = HashSet::from([account.as_bytes()]);
                parts.push(Part::Replacements(vec![replacement]));
            }
        }
    }
    parts
}

async fn apply(
    connection: &Connection,
    parts: &[Part<'_>],
    attempt: Attempt,
) -> Result<Vec<Outcome>, Fault> {
    let mut tally = Tally::default();
    let mut outcomes = Vec::new();
    for part in parts {
        match part {
            Part::Replacements(all) => {
                let (replaced, grown) = replace(connection, all, attempt, Counting::Later).await?;
                tally.count(0, grown);
                outcomes.extend(replaced);
            }
            Part::One(change) => {
                outcomes.push(apply_one(connection, change, attempt, &mut tally).await?);
            }
        }
    }
    tally.write(connection).await?;
    Ok(outcomes)
}

async fn apply_one(
    connection: &Connection,
    change: &Change,
    attempt: Attempt,
    tally: &mut Tally,
) -> Result<Outcome, Fault> {
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
            if attempt == Attempt::Again {
                // If it is not there, it was not made, or was made and deleted since: nobody may
                // make it now.
                return Ok(match new.find(connection).await? {
                    Some(number) => Outcome::Created(Created::Done(number, ())),
                    None => Outcome::Unknown,
                });
            }
            Outcome::Created(match admission {
                Admission::Anyone => create(connection, &new, tally).await?,
                Admission::Invited => invited::create(connection, &new, tally).await?,
            })
        }
        // What is there now may be another account, of a device that found the first one gone.
        Change::Delete { .. } if attempt == Attempt::Again => Outcome::Unknown,
        Change::Delete { account, auth } => {
            Outcome::Deleted(delete(connection, *account, auth, tally).await?)
        }
        Change::Probe => Outcome::Done,
        Change::Expire { at } => {
            invited::expire(connection, *at).await?;
            audit::expire(connection, *at).await?;
            Outcome::Done
        }
        // It is a part of its own kind.
        Change::ReplaceIf { .. } => {
            return Err(Fault::Refused(EngineError::Unavailable(
                "a replacement is in the wrong place".to_owned(),
            )));
        }
    })
}

/// When the totals are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counting {
    /// The statement is the whole transaction.
    InStatement,
    /// The transaction counts at its end.
    Later,
}

/// Replaces btokens, and returns by how many bytes they have grown together.
async fn replace(
    connection: &Connection,
    all: &[Replacement<'_>],
    attempt: Attempt,
    counting: Counting,
) -> Result<(Vec<Outcome>, i64), Fault> {
    let numbers: Vec<&[u8]> = all
        .iter()
        .map(|one| one.account.as_bytes().as_slice())
        .collect();
    let expected: Vec<&[u8]> = all.iter().map(|one| one.expected).collect();
    let revisions: Vec<&[u8]> = all.iter().map(|one| &one.btoken.revision.0[..]).collect();
    let btokens: Vec<&[u8]> = all.iter().map(|one| one.btoken.bytes()).collect();
    let checksums: Vec<i64> = all.iter().map(|one| checksum_of(one.btoken)).collect();
    let at: Vec<i64> = all.iter().map(|one| one.at).collect();
    let days: Vec<i64> = all.iter().map(|one| day_of(one.at)).collect();
    let (is_again, is_counted) = (attempt == Attempt::Again, counting == Counting::InStatement);
    let params: [Param<'_>; 9] = [
        (&numbers, Type::BYTEA_ARRAY),
        (&expected, Type::BYTEA_ARRAY),
        (&revisions, Type::BYTEA_ARRAY),
        (&checksums, Type::INT8_ARRAY),
        (&btokens, Type::BYTEA_ARRAY),
        (&at, Type::INT8_ARRAY),
        (&days, Type::INT8_ARRAY),
        (&is_again, Type::BOOL),
        (&is_counted, Type::BOOL),
    ];
    let rows = match counting {
        Counting::InStatement => connection.commit_alone(REPLACE, &params).await?,
        Counting::Later => connection.query(REPLACE, &params).await?,
    };
    let mut grown = HashMap::new();
    for row in &rows {
        let number: &[u8] = get(row, 0)?;
        grown.insert(number, get::<i64>(row, 1)?);
    }
    let outcome = |one: &Replacement<'_>| {
        let is_done = grown.contains_key(one.account.as_bytes().as_slice());
        Outcome::Replaced(if is_done {
            Replaced::Done(())
        } else {
            Replaced::Stale
        })
    };
    Ok((all.iter().map(outcome).collect(), grown.values().sum()))
}

/// An account that is to be made.
pub(super) struct NewAccount<'a> {
    pub(super) number: AccountNumber,
    pub(super) auth: &'a AuthHash,
    pub(super) btoken: &'a Btoken,
    accounts_max: u64,
    pub(super) at: i64,
}

impl NewAccount<'_> {
    /// Whether the store holds as many accounts as it may.
    pub(super) async fn is_one_too_many(
        &self,
        connection: &Connection,
        tally: &mut Tally,
    ) -> Result<bool, Fault> {
        Ok(tally.accounts(connection).await? >= self.accounts_max)
    }

    /// Makes the account; false if its number is taken.
    pub(super) async fn insert(
        &self,
        connection: &Connection,
        is_admitted: bool,
        tally: &mut Tally,
    ) -> Result<bool, Fault> {
        let sql =
            "INSERT INTO passmate.account (number, auth_hash, revision, checksum, btoken_len, \
             created_at, changed_at, synced_at, admitted, btoken)
             VALUES ($1, $2, $3, $4, octet_length($8), $5, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
        let params: [Param<'_>; 8] = [
            (&self.number.as_bytes().as_slice(), Type::BYTEA),
            (&self.auth.0.as_slice(), Type::BYTEA),
            (&self.btoken.revision.0.as_slice(), Type::BYTEA),
            (&checksum_of(self.btoken), Type::INT8),
            (&self.at, Type::INT8),
            (&day_of(self.at), Type::INT8),
            (&is_admitted, Type::BOOL),
            (&self.btoken.bytes(), Type::BYTEA),
        ];
        if connection.execute(sql, &params).await? == 0 {
            return Ok(false);
        }
        let len = i64::try_from(self.btoken.bytes().len()).unwrap_or(i64::MAX);
        tally.count(1, len);
        Ok(true)
    }

    /// The account that an earlier attempt has made, if it is as it was made. The write makes sure
    /// that it is as durable as the commit that follows.
    async fn find(&self, connection: &Connection) -> Result<Option<AccountNumber>, Fault> {
        let sql = "UPDATE passmate.account SET changed_at = changed_at
             WHERE auth_hash = $2 AND revision = $3 AND (number = $1 OR admitted) RETURNING number";
        let params: [Param<'_>; 3] = [
            (&self.number.as_bytes().as_slice(), Type::BYTEA),
            (&self.auth.0.as_slice(), Type::BYTEA),
            (&self.btoken.revision.0.as_slice(), Type::BYTEA),
        ];
        match connection.query(sql, &params).await?.first() {
            Some(row) => Ok(number_of(get(row, 0)?)),
            None => Ok(None),
        }
    }
}

async fn create(
    connection: &Connection,
    new: &NewAccount<'_>,
    tally: &mut Tally,
) -> Result<Created, Fault> {
    if new.is_one_too_many(connection, tally).await? {
        return Ok(Created::AccountsMax);
    }
    Ok(match new.insert(connection, false, tally).await? {
        true => Created::Done(new.number, ()),
        false => Created::NumberTaken,
    })
}

async fn delete(
    connection: &Connection,
    account: AccountNumber,
    auth: &AuthHash,
    tally: &mut Tally,
) -> Result<Deleted, Fault> {
    let sql = "DELETE FROM passmate.account WHERE number = $1 AND auth_hash = $2 AND NOT disabled
         RETURNING btoken_len";
    let params: [Param<'_>; 2] = [
        (&account.as_bytes().as_slice(), Type::BYTEA),
        (&auth.0.as_slice(), Type::BYTEA),
    ];
    match connection.query(sql, &params).await?.first() {
        Some(row) => {
            tally.count(-1, -get::<i64>(row, 0)?);
            Ok(Deleted::Done(()))
        }
        None => Ok(Deleted::Gone),
    }
}

/// A checksum as PostgreSQL stores it: a signed number.
pub(super) fn checksum_of(btoken: &Btoken) -> i64 {
    btoken.checksum.0.cast_signed()
}

/// The account number of a row.
pub(super) fn number_of(bytes: &[u8]) -> Option<AccountNumber> {
    AccountNumber::from_bytes(bytes.try_into().ok()?)
}
