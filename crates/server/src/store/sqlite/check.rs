//! Verifies a whole database, while a server may use it.

use data_encoding::HEXUPPER;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::error::{damage, disk_failure_in, fault};
use super::revision::{StoredChecksum, checksum_column};
use super::schema::{AUDIT, INVITES, NOTES, schema_of};
use super::sql::{one, unsigned};
use crate::store::{StoreError, Sum};

/// See [`Operator::check`](crate::store::Operator::check).
pub(super) fn check(
    connection: &Connection,
    finding: &mut dyn FnMut(String),
) -> Result<Sum, StoreError> {
    check_structure(connection, finding)?;
    let numbers = list_accounts(connection, finding)?;
    let mut sum = Sum::default();
    // Each account is one short read, so that the server can empty its log meanwhile.
    for number in numbers {
        let name = HEXUPPER.encode(&number);
        match check_account(connection, &number) {
            Ok(Some((len, fault))) => {
                sum.accounts += 1;
                sum.btoken_bytes += len;
                if let Some(fault) = fault {
                    finding(format!("account {name}: {fault}"));
                }
            }
            // It was deleted meanwhile.
            Ok(None) => {}
            Err(error) => finding(format!("account {name} cannot be read: {}", damage(error)?)),
        }
    }
    check_totals(connection, finding)?;
    Ok(sum)
}

fn check_structure(
    connection: &Connection,
    finding: &mut dyn FnMut(String),
) -> Result<(), StoreError> {
    // It compiles what the schema says of each column, so a damaged schema fails here.
    let mut statement = match connection.prepare("PRAGMA integrity_check(100)") {
        Ok(statement) => statement,
        Err(error) => {
            let cause = damage(error)?;
            finding(format!("the structure of the file is unreadable: {cause}"));
            return Ok(());
        }
    };
    let lines = statement
        .query_map([], |row| row.get::<_, String>(0))
        .map_err(fault)?;
    for line in lines {
        match line {
            Ok(line) if line == "ok" => {}
            Ok(line) => match disk_failure_in(&line) {
                Some(failure) => return Err(failure.into()),
                None => finding(format!("the structure of the file: {line}")),
            },
            Err(error) => {
                let cause = damage(error)?;
                finding(format!("the structure of the file is unreadable: {cause}"));
            }
        }
    }
    Ok(())
}

fn list_accounts(
    connection: &Connection,
    finding: &mut dyn FnMut(String),
) -> Result<Vec<[u8; 8]>, StoreError> {
    let mut numbers = Vec::new();
    let sql = "SELECT number FROM account ORDER BY number";
    let mut statement = match connection.prepare(sql) {
        Ok(statement) => statement,
        Err(error) => {
            finding(format!("the accounts cannot be listed: {}", damage(error)?));
            return Ok(numbers);
        }
    };
    for number in statement.query_map([], |row| row.get(0)).map_err(fault)? {
        match number {
            Ok(number) => numbers.push(number),
            Err(error) => finding(format!("an account has no number: {}", damage(error)?)),
        }
    }
    Ok(numbers)
}

/// The length of an account's btoken, and its fault if it has one.
fn check_account(
    connection: &Connection,
    number: &[u8; 8],
) -> rusqlite::Result<Option<(u64, Option<&'static str>)>> {
    let found = connection
        .prepare_cached(&format!(
            "SELECT btoken_len, content, btoken_hash, {} FROM account
                 LEFT JOIN btoken ON btoken.id = account.btoken_id WHERE account.number = ?1",
            checksum_column(schema_of(connection)?)
        ))?
        .query_row([number], |row| {
            let (len, checksum) = (unsigned(row.get(0)?), StoredChecksum::read(row, 3, 2)?);
            let fault = match row.get_ref(1)?.as_blob_or_null()? {
                None => Some("its btoken is missing"),
                Some(bytes) if bytes.len() as u64 != len => {
                    Some("its btoken does not have the stored length")
                }
                Some(bytes) if !checksum.is_of(bytes) => {
                    Some("its btoken does not match the stored checksum")
                }
                Some(_) => None,
            };
            Ok((len, fault))
        });
    found.optional()
}

fn check_totals(
    connection: &Connection,
    finding: &mut dyn FnMut(String),
) -> Result<(), StoreError> {
    let sql = "SELECT (SELECT count(*) FROM account) = accounts
                  AND (SELECT coalesce(sum(btoken_len), 0) FROM account) = btoken_bytes
                  AND (SELECT count(*) FROM btoken) = accounts FROM totals";
    match one::<bool>(connection, sql, []) {
        Ok(true) => {}
        Ok(false) => finding("the stored totals do not match the accounts".to_owned()),
        Err(error) => finding(format!("the totals cannot be read: {}", damage(error)?)),
    }
    Ok(())
}

/// See [`Inspector::check_texts`](crate::store::Inspector::check_texts).
pub(super) fn check_texts(
    connection: &Connection,
    finding: &mut dyn FnMut(String),
) -> Result<(), StoreError> {
    let schema = schema_of(connection).map_err(fault)?;
    let texts = [
        ("account", "note", NOTES),
        ("invite", "note", INVITES),
        ("audit", "user", AUDIT),
        ("audit", "action", AUDIT),
        ("audit", "detail", AUDIT),
    ];
    for (table, column, _) in texts.into_iter().filter(|(.., since)| *since <= schema) {
        match count_damaged(connection, table, column) {
            Ok(0) => {}
            Ok(count) => finding(format!("{count} rows of {table} have a damaged {column}")),
            Err(error) => finding(format!("{table} cannot be read: {}", damage(error)?)),
        }
    }
    Ok(())
}

fn count_damaged(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare(&format!("SELECT {column} FROM {table}"))?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        if let ValueRef::Text(bytes) = row.get_ref(0)?
            && std::str::from_utf8(bytes).is_err()
        {
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
