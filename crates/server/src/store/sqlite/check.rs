//! A look at all of a database.

use data_encoding::HEXUPPER;
use rusqlite::OptionalExtension;

use super::engine as sqlite;
use super::error::fault;
use super::operator::AdminStore;
use crate::store::{BtokenHash, EngineError, StoreError, Sum};

impl AdminStore {
    /// Looks at all of it: the structure of the file, every btoken against its hash and length, and
    /// the sums. `finding` is told of each fault. A server that uses it goes on meanwhile.
    ///
    /// # Errors
    /// The store cannot be read at all.
    pub fn check(&self, finding: &mut dyn FnMut(String)) -> Result<Sum, StoreError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare("PRAGMA integrity_check(100)")
            .map_err(fault)?;
        let lines = statement
            .query_map([], |row| row.get::<_, String>(0))
            .map_err(fault)?;
        for line in lines {
            match line {
                Ok(line) if line == "ok" => {}
                Ok(line) => finding(format!("the file's structure: {line}")),
                Err(error) => finding(format!("the file's structure cannot be read: {error}")),
            }
        }
        let mut sum = Sum::default();
        // Each account is read by itself, so that no long read keeps the server's log from being
        // emptied.
        let list = |finding: &mut dyn FnMut(String)| -> rusqlite::Result<Vec<[u8; 8]>> {
            let mut numbers = Vec::new();
            let mut statement = connection.prepare("SELECT number FROM account ORDER BY number")?;
            for number in statement.query_map([], |row| row.get(0))? {
                match number {
                    Ok(number) => numbers.push(number),
                    Err(error) => finding(format!("an account has no number: {error}")),
                }
            }
            Ok(numbers)
        };
        let numbers = found(list(finding), "the accounts cannot be listed", finding)?;
        for number in numbers.unwrap_or_default() {
            let name = HEXUPPER.encode(&number);
            match self.check_account(&number) {
                Ok(Some((len, fault))) => {
                    sum.accounts += 1;
                    sum.btoken_bytes += len;
                    if let Some(fault) = fault {
                        finding(format!("account {name}: {fault}"));
                    }
                }
                // It was deleted meanwhile.
                Ok(None) => {}
                Err(error) => finding(format!("account {name} cannot be read: {error}")),
            }
        }
        let sums = "SELECT (SELECT count(*) FROM account) = accounts
                       AND (SELECT coalesce(sum(btoken_len), 0) FROM account) = btoken_bytes
                       AND (SELECT count(*) FROM btoken) = accounts FROM totals";
        let is_equal = found(
            sqlite::one::<bool>(connection, sums, []),
            "the sums cannot be read",
            finding,
        )?;
        if is_equal == Some(false) {
            finding(
                "the sums of accounts and bytes are not those of the accounts that are there"
                    .to_owned(),
            );
        }
        Ok(sum)
    }

    /// The length of an account's btoken, and what is wrong with it.
    fn check_account(
        &self,
        number: &[u8; 8],
    ) -> rusqlite::Result<Option<(u64, Option<&'static str>)>> {
        let found = self
            .connection()
            .prepare_cached(
                "SELECT account.btoken_hash, account.btoken_len, btoken.content FROM account
                 LEFT JOIN btoken ON btoken.id = account.btoken_id WHERE account.number = ?1",
            )?
            .query_row([number], |row| {
                let (hash, len) = (BtokenHash(row.get(0)?), unsigned(row.get(1)?));
                let fault = match row.get_ref(2)?.as_blob_or_null()? {
                    None => Some("its btoken is gone"),
                    Some(bytes) if bytes.len() as u64 != len => {
                        Some("its btoken has another length than was stored")
                    }
                    Some(bytes) if BtokenHash::of(bytes) != hash => {
                        Some("its btoken is not what was stored")
                    }
                    Some(_) => None,
                };
                Ok((len, fault))
            });
        found.optional()
    }
}

/// What was read of a store that may be damaged: whatever goes wrong is a finding, unless another
/// process is in the way.
fn found<T>(
    read: rusqlite::Result<T>,
    what: &str,
    finding: &mut dyn FnMut(String),
) -> Result<Option<T>, StoreError> {
    match read.map_err(|error| (error.to_string(), fault(error))) {
        Ok(value) => Ok(Some(value)),
        Err((_, error @ EngineError::Busy)) => Err(error.into()),
        Err((cause, _)) => {
            finding(format!("{what}: {cause}"));
            Ok(None)
        }
    }
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
