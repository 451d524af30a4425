//! Reads beside the writers. A read sees what was committed before it began, because it asks the
//! same primary.

use std::sync::Arc;

use passmate_proto::AccountNumber;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::audit;
use super::connection::{Connection, get};
use super::database::{Database, Line};
use super::error::Fault;
use crate::store::{Audited, AuthHash, Checksum, EngineError, Head, Reader, Revision, Stored};

/// A connection that reads.
pub struct PostgresReader {
    line: Line,
}

impl PostgresReader {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self {
            line: Line::new(database),
        }
    }

    /// Reads; once more on a new connection if the last one was lost, because a read changes nothing.
    fn read<T>(
        &mut self,
        read: impl AsyncFn(&Connection) -> Result<T, Fault>,
    ) -> Result<T, EngineError> {
        let database = Arc::clone(&self.line.database);
        database.wait(async {
            let mut result = self.read_once(&read).await;
            if matches!(result, Err(Fault::Lost(_))) {
                result = self.read_once(&read).await;
            }
            result.map_err(Fault::of_read)
        })
    }

    async fn read_once<T>(
        &mut self,
        read: impl AsyncFn(&Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let connection = self.line.get().await?;
        let result = match read(connection).await {
            // Only a connection that ended is tried once more: a silent database has had its time.
            Err(Fault::Unknown(cause)) if connection.is_closed() => Err(Fault::Lost(cause)),
            result => result,
        };
        self.line.note_read(&result);
        result
    }
}

impl Reader for PostgresReader {
    fn read_head(&mut self, account: &[u8; 8]) -> Result<Option<Head>, EngineError> {
        // Where the account does not exist, the query reads the next one in order. Both cases read
        // one row, send one row and take the same time.
        let sql = "SELECT number, auth_hash, revision, btoken_len, disabled, synced_at, limit_len
             FROM passmate.account WHERE number >= $1 ORDER BY number LIMIT 1";
        let account = *account;
        self.read(async |connection| {
            let number = account.as_slice();
            let rows = connection.query(sql, &[(&number, Type::BYTEA)]).await?;
            let Some(row) = rows.first() else {
                return Ok(None);
            };
            let head = head_of(row)?;
            Ok((get::<&[u8]>(row, 0)? == number).then_some(head))
        })
    }

    fn read(&mut self, account: AccountNumber) -> Result<Option<Stored>, EngineError> {
        let sql = "SELECT btoken, revision, checksum FROM passmate.account WHERE number = $1";
        self.read(async |connection| {
            let number = account.as_bytes().as_slice();
            let number: &(dyn ToSql + Sync) = &number;
            let rows = connection.query(sql, &[(number, Type::BYTEA)]).await?;
            let Some(row) = rows.first() else {
                return Ok(None);
            };
            let btoken: &[u8] = get(row, 0)?;
            if Checksum::of(btoken).0.cast_signed() != get::<i64>(row, 2)? {
                return Err(Fault::Refused(EngineError::Damaged(
                    "a btoken does not match its stored checksum".to_owned(),
                )));
            }
            Ok(Some(Stored {
                btoken: btoken.into(),
                revision: Revision(array(get(row, 1)?)?),
            }))
        })
    }

    fn read_audit(&mut self, after: Option<i64>) -> Result<Vec<Audited>, EngineError> {
        self.read(async |connection| audit::unlogged(connection, after).await)
    }

    fn reopen(&self) -> Result<Box<dyn Reader>, EngineError> {
        Ok(Box::new(Self::new(Arc::clone(&self.line.database))))
    }
}

fn head_of(row: &Row) -> Result<Head, Fault> {
    let limit: Option<i64> = get(row, 6)?;
    Ok(Head {
        auth: AuthHash(array(get(row, 1)?)?),
        revision: Revision(array(get(row, 2)?)?),
        btoken_len: u64::try_from(get::<i64>(row, 3)?).unwrap_or(u64::MAX),
        is_disabled: get(row, 4)?,
        synced_at: get(row, 5)?,
        limit: limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
    })
}

/// Bytes of a fixed number.
pub(super) fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| {
        Fault::Refused(EngineError::Damaged(format!(
            "a column does not have {N} bytes"
        )))
    })
}
