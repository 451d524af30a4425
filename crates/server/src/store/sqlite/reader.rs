//! Reads beside the writer. A read sees what was committed before it began.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use passmate_proto::AccountNumber;
use rusqlite::{Connection, Row};

use super::audit;
use super::connection::open_to_read;
use super::content::read_content;
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

/// What the store knows about an account. Where the account does not exist, the query reads the next
/// one in order. Both cases read one row and take the same time.
static HEAD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT number, auth_hash, {REVISION}, btoken_len, disabled, synced_at, limit_len, \
         checksum, btoken_hash, btoken_id
         FROM account WHERE number >= ?1 ORDER BY number LIMIT 1"
    )
});
const CHECKSUM: usize = 7;
const HASH: usize = 8;
const BTOKEN_ID: usize = 9;

impl SqliteReader {
    /// Reads the head of an account, and what `also` reads of its row at the same moment.
    fn read_row<T>(
        &self,
        account: &[u8; 8],
        also: impl FnOnce(&Connection, &Row<'_>, &Head) -> Result<T, EngineError>,
    ) -> Result<Option<(Head, T)>, EngineError> {
        let mut statement = self.connection.prepare_cached(&HEAD).map_err(fault)?;
        let mut rows = statement.query([account]).map_err(fault)?;
        let Some(row) = rows.next().map_err(fault)? else {
            return Ok(None);
        };
        let (number, head) = head_of(row).map_err(fault)?;
        if number != *account {
            return Ok(None);
        }
        // While the row is open, all reads of this connection see the same moment.
        let also = also(&self.connection, row, &head)?;
        Ok(Some((head, also)))
    }
}

fn head_of(row: &Row<'_>) -> rusqlite::Result<([u8; 8], Head)> {
    let head = Head {
        auth: AuthHash(row.get(1)?),
        revision: Revision(row.get(2)?),
        btoken_len: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(u64::MAX),
        is_disabled: row.get(4)?,
        synced_at: row.get(5)?,
        limit: row.get(6)?,
    };
    Ok((row.get(0)?, head))
}

/// Reads the btoken of a row and verifies it.
fn read_btoken(
    connection: &Connection,
    row: &Row<'_>,
    head: &Head,
) -> Result<Option<Stored>, EngineError> {
    let read = || {
        let content = read_content(connection, row.get(BTOKEN_ID)?, head.btoken_len)?;
        Ok((content, StoredChecksum::read(row, CHECKSUM, HASH)?))
    };
    let (content, checksum) = read().map_err(fault)?;
    let Some(btoken) = content else {
        return Ok(None);
    };
    if !checksum.is_of(&btoken) {
        return Err(EngineError::Damaged(
            "a btoken does not match its stored checksum".to_owned(),
        ));
    }
    Ok(Some(Stored {
        btoken,
        revision: head.revision,
    }))
}

impl Reader for SqliteReader {
    fn reopen(&self) -> Result<Box<dyn Reader>, EngineError> {
        Ok(Box::new(Self::open(&self.path)?))
    }

    fn read_head(&mut self, account: &[u8; 8]) -> Result<Option<Head>, EngineError> {
        let read = self.read_row(account, |_, _, _| Ok(()))?;
        Ok(read.map(|(head, ())| head))
    }

    fn read(&mut self, account: AccountNumber) -> Result<Option<Stored>, EngineError> {
        let read = self.read_row(account.as_bytes(), read_btoken)?;
        Ok(read.and_then(|(_, stored)| stored))
    }

    fn read_if(
        &mut self,
        account: &[u8; 8],
        wants: &mut dyn FnMut(&Head) -> bool,
    ) -> Result<Option<(Head, Option<Stored>)>, EngineError> {
        self.read_row(account, |connection, row, head| {
            if wants(head) {
                read_btoken(connection, row, head)
            } else {
                Ok(None)
            }
        })
    }

    fn read_audit(&mut self, after: Option<i64>) -> Result<Vec<Audited>, EngineError> {
        audit::unlogged(&self.connection, after).map_err(fault)
    }
}
