//! The bytes of a btoken in its row. Long ones go straight between SQLite's pages and ours: a
//! statement would copy them once more to read them, and twice to store them.

use std::sync::Arc;

use rusqlite::blob::Blob;
use rusqlite::{Connection, OptionalExtension, ffi, params};

use super::sql::run;

/// From this length on, in bytes, a copy costs more than what opening a row for this takes.
const UNCOPIED_LEN_MIN: usize = 32 << 10;

/// Reads the content of a row that is about `len` bytes long.
pub(super) fn read_content(
    connection: &Connection,
    id: i64,
    len: u64,
) -> rusqlite::Result<Option<Arc<[u8]>>> {
    if len >= UNCOPIED_LEN_MIN as u64
        && let Some(blob) = open(connection, id, true)?
    {
        let mut content: Arc<[u8]> = std::iter::repeat_n(0, blob.len()).collect();
        if let Some(place) = Arc::get_mut(&mut content) {
            blob.read_at_exact(place, 0)?;
        }
        blob.close()?;
        return Ok(Some(content));
    }
    connection
        .prepare_cached("SELECT content FROM btoken WHERE id = ?1")?
        .query_row([id], |row| Ok(Arc::from(row.get_ref(0)?.as_blob()?)))
        .optional()
}

/// Stores other bytes in a row.
pub(super) fn set_content(connection: &Connection, id: i64, bytes: &[u8]) -> rusqlite::Result<()> {
    if bytes.len() >= UNCOPIED_LEN_MIN
        && let Some(mut blob) = open(connection, id, false)?
    {
        // Btokens are padded, so most have the length of the one before.
        if blob.len() == bytes.len() {
            blob.write_all_at(bytes, 0)?;
            return blob.close();
        }
    }
    run(
        connection,
        "UPDATE btoken SET content = ?2 WHERE id = ?1",
        params![id, bytes],
    )
}

/// Opens the content of a row. None if there is no such row, or something else is in it: a statement
/// says what is wrong.
fn open(
    connection: &Connection,
    id: i64,
    is_read_only: bool,
) -> rusqlite::Result<Option<Blob<'_>>> {
    let opened = connection.blob_open("main", "btoken", "content", id, is_read_only);
    match opened {
        Ok(blob) => Ok(Some(blob)),
        Err(error) if is_no_blob(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_no_blob(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    code == Some(ffi::SQLITE_ERROR)
}
