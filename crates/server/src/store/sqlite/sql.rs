//! Short forms of what the other files ask of a connection.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row};

/// Runs a statement that returns one value.
pub(super) fn one<T: rusqlite::types::FromSql>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<T> {
    connection
        .prepare_cached(sql)?
        .query_row(params, |row| row.get(0))
}

/// Runs a statement that returns nothing.
pub(super) fn run(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(params).map(drop)
}

/// A text as far as it is one: a disk may have changed some of its bytes, and the rest of the row is
/// of use.
pub(super) fn text(row: &Row<'_>, place: usize) -> rusqlite::Result<String> {
    match value(row, place)? {
        Value::Text(text) => Ok(text),
        _ => row.get(place),
    }
}

/// A value, of which a text is read as [`text`].
pub(super) fn value(row: &Row<'_>, place: usize) -> rusqlite::Result<Value> {
    match row.get_ref(place)? {
        ValueRef::Text(bytes) => Ok(Value::Text(String::from_utf8_lossy(bytes).into_owned())),
        _ => row.get(place),
    }
}

/// A length as SQLite stores it.
pub(super) fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// A stored length or count; 0 for a negative number, which this program never stores.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
