//! Reads beside the writer. A read sees what was committed before it began.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use passmate_proto::AccountNumber;
use rusqlite::{Connection, OptionalExtension};

use super::audit;
use super::connection::open_to_read;
use super::engine::{BUSY_TIMEOUT, STATEMENTS};
use super::error::fault;
use super::revision::{REVISION, StoredChecksum};
use crate::store::{Audited, AuthHash, EngineError, Head, Reader, Revision, Stored};

#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
    path: PathBuf,
}

impl SqliteReader {
    pub(super) fn open(path: &Path) -> Result<Self, EngineError> {
        let connection = open_to_read(path, BUSY_TIMEOUT).map_err(fault)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }
}

impl Reader for SqliteReader {
    fn reopen(&self) -> Result<Box<dyn Reader>, EngineError> {
        Ok(Box::new(Self::open(&self.path)?))
    }

    fn read_head(&mut self, account: &[u8; 8]) -> Result<Option<Head>, EngineError> {
        // Where the account does not exist, the query reads the next one in order. Both cases read
        // one row and take the same time.
        let mut statement = self
            .connection
            .prepare_cached(&format!(
                "SELECT number, auth_hash, {REVISION}, btoken_len, disabled, synced_at, limit_len
                     FROM account WHERE number >= ?1 ORDER BY number LIMIT 1"
            ))
            .map_err(fault)?;
        let found = statement
            .query_row([account], |row| {
                let head = Head {
                    auth: AuthHash(row.get(1)?),
                    revision: Revision(row.get(2)?),
                    btoken_len: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(u64::MAX),
                    is_disabled: row.get(4)?,
                    synced_at: row.get(5)?,
                    limit: row.get(6)?,
                };
                Ok((row.get::<_, [u8; 8]>(0)?, head))
            })
            .optional();
        Ok(found
            .map_err(fault)?
            .and_then(|(number, head)| (number == *account).then_some(head)))
    }

    fn read(&mut self, account: AccountNumber) -> Result<Option<Stored>, EngineError> {
        let mut statement = self
            .connection
            .prepare_cached(&format!(
                "SELECT content, {REVISION}, checksum, btoken_hash FROM account
                     JOIN btoken ON btoken.id = account.btoken_id WHERE account.number = ?1"
            ))
            .map_err(fault)?;
        let found = statement
            .query_row([account.as_bytes()], |row| {
                Ok((
                    Arc::<[u8]>::from(row.get_ref(0)?.as_blob()?),
                    Revision(row.get(1)?),
                    StoredChecksum::read(row, 2, 3)?,
                ))
            })
            .optional();
        let Some((btoken, revision, checksum)) = found.map_err(fault)? else {
            return Ok(None);
        };
        if !checksum.is_of(&btoken) {
            return Err(EngineError::Damaged(
                "a btoken does not match its stored checksum".to_owned(),
            ));
        }
        Ok(Some(Stored { btoken, revision }))
    }

    fn read_audit(&mut self, after: Option<i64>) -> Result<Vec<Audited>, EngineError> {
        audit::unlogged(&self.connection, after).map_err(fault)
    }
}
