//! Looks at the database for operators, beside any number of servers.

use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXUPPER;
use passmate_proto::AccountNumber;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::batch::number_of;
use super::connection::{Connection, Param, get};
use super::database::Database;
use super::error::Fault;
use super::reader::array;
use super::url::PostgresUrl;
use super::{audit, intake, schema};
use crate::store::transfer::{AccountRow, WholeAccount};
use crate::store::{
    Account, Audited, AuthHash, Checksum, EngineError, Inspector, Invite, Opening, StoreError, Sum,
    Unused,
};

/// Accounts that are listed at once for a check.
const PAGE: i64 = 1000;

/// Which accounts nobody has used since $1, where $2 is the first day; see
/// [`Operator::prune`](crate::store::Operator::prune).
pub(super) const UNUSED: &str =
    "created_at < $1 AND changed_at < $1 AND changed_at < created_at + $2
    AND coalesce(synced_at, 0) + $2 <= $1 AND NOT disabled AND note = ''
    AND (SELECT value FROM passmate.property WHERE name = 'syncs_known_since') <= $1";

const SELECT_ACCOUNT: &str =
    "SELECT number, btoken_len, created_at, changed_at, disabled, synced_at,
    limit_len, note FROM passmate.account";

pub(in crate::store) struct PostgresInspector {
    pub(super) database: Arc<Database>,
    pub(super) connection: Connection,
}

impl PostgresInspector {
    /// Opens an existing store.
    pub(in crate::store) fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        let database = Database::new(url)?;
        let connection = database.wait(async {
            let connection = database.open().await;
            let opened = connection.map_err(|fault| fault.of_change(&url.to_string()))?;
            let (mut connection, _) = opened;
            schema::check(&connection, url).await?;
            connection.be_patient();
            Ok::<_, StoreError>(connection)
        })?;
        Ok(Self {
            database,
            connection,
        })
    }

    /// Looks.
    fn look<T>(&self, look: impl Future<Output = Result<T, Fault>>) -> Result<T, StoreError> {
        Ok(self.database.wait(look).map_err(Fault::of_read)?)
    }

    /// The numbers of the next accounts.
    async fn page(&self, after: &[u8]) -> Result<Vec<[u8; 8]>, Fault> {
        let sql = "SELECT number FROM passmate.account WHERE number > $1 ORDER BY number LIMIT $2";
        let params: [Param<'_>; 2] = [(&after, Type::BYTEA), (&PAGE, Type::INT8)];
        let rows = self.connection.query(sql, &params).await?;
        rows.iter().map(|row| array(get(row, 0)?)).collect()
    }

    /// The length of an account's btoken, and its fault if it has one.
    async fn check_account(
        &self,
        number: &[u8; 8],
    ) -> Result<Option<(u64, Option<&'static str>)>, Fault> {
        let sql = "SELECT btoken_len, btoken, checksum FROM passmate.account WHERE number = $1";
        let number = number.as_slice();
        let rows = self
            .connection
            .query(sql, &[(&number, Type::BYTEA)])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let (len, btoken) = (unsigned(get(row, 0)?), get::<&[u8]>(row, 1)?);
        let fault = if btoken.len() as u64 != len {
            Some("its btoken does not have the stored length")
        } else if Checksum::of(btoken).0.cast_signed() != get::<i64>(row, 2)? {
            Some("its btoken does not match the stored checksum")
        } else {
            None
        };
        Ok(Some((len, fault)))
    }

    async fn check_all(&self, finding: &mut dyn FnMut(String)) -> Result<Sum, Fault> {
        let mut sum = Sum::default();
        let mut after = [0; 8];
        loop {
            let page = self.page(&after).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = *last;
            for number in &page {
                let name = HEXUPPER.encode(number);
                match self.check_account(number).await {
                    Ok(Some((len, fault))) => {
                        sum.accounts += 1;
                        sum.btoken_bytes += len;
                        if let Some(fault) = fault {
                            finding(format!("account {name}: {fault}"));
                        }
                    }
                    // It was deleted meanwhile.
                    Ok(None) => {}
                    Err(Fault::Refused(error @ EngineError::Damaged(_))) => {
                        finding(format!("account {name} cannot be read: {error}"));
                    }
                    Err(fault) => return Err(fault),
                }
            }
        }
        // One statement sees the accounts and the totals at the same moment.
        let sql = "SELECT (SELECT count(*) FROM passmate.account)::numeric = sum(accounts)
                AND (SELECT coalesce(sum(btoken_len), 0) FROM passmate.account) = sum(btoken_bytes)
            FROM passmate.totals";
        if get(&self.connection.one(sql, &[]).await?, 0)? {
            return Ok(sum);
        }
        finding("the stored totals do not match the accounts".to_owned());
        Ok(sum)
    }
}

impl Inspector for PostgresInspector {
    fn invites(&self, now: i64) -> Result<(Vec<Invite>, Vec<Opening>), StoreError> {
        self.look(async {
            let now: [Param<'_>; 1] = [(&now, Type::INT8)];
            let sql = "SELECT auth_hash, note, made_at, expires_at FROM passmate.invite
                 WHERE expires_at > $1 ORDER BY expires_at, auth_hash";
            let invites = self.connection.query(sql, &now).await?;
            let invites = invites.iter().map(|row| {
                Ok(Invite {
                    auth: AuthHash(array(get(row, 0)?)?),
                    note: get(row, 1)?,
                    made_at: get(row, 2)?,
                    expires_at: get(row, 3)?,
                })
            });
            let sql = "SELECT seats, made_at, expires_at FROM passmate.opening
                 WHERE expires_at > $1 ORDER BY expires_at, id";
            let openings = self.connection.query(sql, &now).await?;
            let openings = openings.iter().map(|row| {
                Ok(Opening {
                    seats: u32::try_from(get::<i32>(row, 0)?).unwrap_or(0),
                    made_at: get(row, 1)?,
                    expires_at: get(row, 2)?,
                })
            });
            Ok((
                invites.collect::<Result<_, _>>()?,
                openings.collect::<Result<_, _>>()?,
            ))
        })
    }

    fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.look(async {
            let sql = format!("{SELECT_ACCOUNT} ORDER BY number");
            let rows = self.connection.query(&sql, &[]).await?;
            rows.iter().map(account_of).collect()
        })
    }

    fn account(&self, number: AccountNumber) -> Result<Option<Account>, StoreError> {
        self.look(async {
            let sql = format!("{SELECT_ACCOUNT} WHERE number = $1");
            let number = number.as_bytes().as_slice();
            let rows = self
                .connection
                .query(&sql, &[(&number, Type::BYTEA)])
                .await?;
            rows.first().map(account_of).transpose()
        })
    }

    fn unused(&self, before: i64) -> Result<Unused, StoreError> {
        self.look(async {
            let sql = format!(
                "SELECT count(*), coalesce(sum(btoken_len), 0)::bigint,
                     (SELECT value FROM passmate.property WHERE name = 'syncs_known_since')
                 FROM passmate.account WHERE {UNUSED}"
            );
            let params: [Param<'_>; 2] = [(&before, Type::INT8), (&Account::FIRST_DAY, Type::INT8)];
            let row = self.connection.one(&sql, &params).await?;
            Ok(Unused {
                sum: sum_of(&row)?,
                known_since: get(&row, 2)?,
            })
        })
    }

    fn audit(&self, since: i64) -> Result<Vec<Audited>, StoreError> {
        self.look(audit::since(&self.connection, since))
    }

    fn schema(&self) -> Result<i64, StoreError> {
        self.database
            .wait(schema::check(&self.connection, &self.database.url))
    }

    fn sum(&self) -> Result<Sum, StoreError> {
        self.look(async {
            let sql = "SELECT coalesce(sum(accounts), 0)::bigint,
                coalesce(sum(btoken_bytes), 0)::bigint FROM passmate.totals";
            sum_of(&self.connection.one(sql, &[]).await?)
        })
    }

    fn size(&self) -> Result<Option<u64>, StoreError> {
        self.look(async {
            let sql = "SELECT coalesce(sum(pg_catalog.pg_total_relation_size(c.oid::regclass)), 0)::bigint
                 FROM pg_catalog.pg_class AS c
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'passmate' AND c.relkind = 'r'";
            let size = get(&self.connection.one(sql, &[]).await?, 0)?;
            Ok(Some(unsigned(size)))
        })
    }

    fn check(&self, finding: &mut dyn FnMut(String)) -> Result<Sum, StoreError> {
        self.look(self.check_all(finding))
    }

    /// PostgreSQL stores no text that is not UTF-8.
    fn check_texts(&self, _finding: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        Ok(())
    }

    fn rows(
        &self,
        after: [u8; 8],
        until: Option<[u8; 8]>,
        most: usize,
    ) -> Result<Vec<AccountRow>, StoreError> {
        self.look(intake::rows(&self.connection, after, until, most))
    }

    fn whole(&self, number: AccountNumber) -> Result<Option<WholeAccount>, StoreError> {
        self.look(intake::whole(&self.connection, number))
    }

    fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        self.copy_to_file(path)
    }

    fn salvage_to(&self, _path: &Path, _lost: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        Err(StoreError::NotOfPostgres {
            what: "be salvaged",
            instead: "promote a standby, or restore a backup of the database server (pgBackRest, \
                pg_basebackup)",
        })
    }
}

fn sum_of(row: &Row) -> Result<Sum, Fault> {
    Ok(Sum {
        accounts: unsigned(get(row, 0)?),
        btoken_bytes: unsigned(get(row, 1)?),
    })
}

fn account_of(row: &Row) -> Result<Account, Fault> {
    let number = number_of(get(row, 0)?).ok_or_else(|| {
        Fault::Refused(EngineError::Damaged("an account has no number".to_owned()))
    })?;
    let limit: Option<i64> = get(row, 6)?;
    Ok(Account {
        number,
        btoken_len: unsigned(get(row, 1)?),
        created_at: get(row, 2)?,
        changed_at: get(row, 3)?,
        is_disabled: get(row, 4)?,
        synced_at: get(row, 5)?,
        limit: limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        note: get(row, 7)?,
    })
}

/// A stored length or count; 0 for a negative number, which this program never stores.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
