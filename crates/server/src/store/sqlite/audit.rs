//! The record of what operators did: rows of the table `audit`, of which a bounded number is kept
//! for a bounded time.

use passmate_proto::AccountNumber;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use super::sql::{one, run, text};
use crate::clock::DAY;
use crate::store::{Action, Actor, Audited};

/// The most rows that are kept.
const ROWS_MAX: i64 = 10_000;
/// Rows are kept this long, in seconds.
const AGE_MAX: i64 = 366 * DAY;
/// That many of the latest rows stay in any case, so that a clock that is wrong for a few commands
/// removes nothing.
const ROWS_MIN: i64 = 10;
/// The most rows that are read at once for the log of a server.
const UNLOGGED_MAX: i64 = 100;
/// The length of the longest detail, in characters.
const DETAIL_LEN_MAX: usize = 400;

const SELECT: &str = "SELECT id, at, uid, user, sudo_uid, action, account, detail FROM audit";

/// Adds a row, and removes what is kept no longer. Returns the number of the row.
pub(super) fn record(
    connection: &Connection,
    actor: &Actor,
    action: Action,
    account: Option<AccountNumber>,
    detail: &str,
) -> rusqlite::Result<i64> {
    let id: i64 = one(
        connection,
        "INSERT INTO audit (at, uid, user, sudo_uid, action, account, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING id",
        params![
            actor.at,
            actor.uid,
            actor.user,
            actor.sudo_uid,
            action.name(),
            account.as_ref().map(|account| account.as_bytes()),
            cut(detail)
        ],
    )?;
    expire(connection, actor.at)?;
    let too_many = "DELETE FROM audit WHERE id <= ?1";
    run(connection, too_many, [id.saturating_sub(ROWS_MAX)])?;
    Ok(id)
}

/// Replaces the detail of a row, where a command takes several transactions.
pub(super) fn update(connection: &Connection, id: i64, detail: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE audit SET detail = ?2 WHERE id = ?1";
    run(connection, sql, params![id, cut(detail)])
}

/// Removes rows that are old, now and by the latest rows.
pub(super) fn expire(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    let latest = "(SELECT at FROM audit ORDER BY id DESC LIMIT 1 OFFSET ?3 - 1)";
    let sql = format!("DELETE FROM audit WHERE at < min(?1, {latest}) - ?2");
    run(connection, &sql, [now, AGE_MAX, ROWS_MIN])
}

/// The rows of this time or later.
pub(super) fn since(connection: &Connection, since: i64) -> rusqlite::Result<Vec<Audited>> {
    let mut statement = connection.prepare(&format!("{SELECT} WHERE at >= ?1 ORDER BY id"))?;
    statement.query_map([since], audited_of)?.collect()
}

/// The first rows after the row with this number; without a number, after the last row that a
/// server has written to its log.
pub(super) fn unlogged(
    connection: &Connection,
    after: Option<i64>,
) -> rusqlite::Result<Vec<Audited>> {
    let logged = "(SELECT value FROM property WHERE name = 'audit_logged')";
    let sql = format!("{SELECT} WHERE id > coalesce(?1, {logged}, 0) ORDER BY id LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_map(params![after, UNLOGGED_MAX], audited_of)?
        .collect()
}

/// Notes that a server has written all rows up to this one to its log.
pub(super) fn set_logged(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE property SET value = ?1 WHERE name = 'audit_logged' AND value < ?1";
    run(connection, sql, [id])
}

fn audited_of(row: &Row<'_>) -> rusqlite::Result<Audited> {
    let account: Option<[u8; 8]> = row.get(6)?;
    Ok(Audited {
        id: row.get(0)?,
        actor: Actor {
            at: row.get(1)?,
            uid: row.get(2)?,
            user: match row.get_ref(3)? {
                ValueRef::Null => None,
                _ => Some(text(row, 3)?),
            },
            sudo_uid: row.get(4)?,
        },
        action: text(row, 5)?,
        account: account.and_then(AccountNumber::from_bytes),
        detail: text(row, 7)?,
    })
}

fn cut(detail: &str) -> String {
    detail.chars().take(DETAIL_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::super::engine::Sqlite;
    use super::*;

    #[test]
    fn the_record_is_bounded_in_number_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Sqlite::open(&dir.path().join("passmate.db")).unwrap();
        let connection = &engine.connection;
        let actor = |at| Actor {
            at,
            uid: 0,
            user: None,
            sudo_uid: None,
        };
        let transaction = connection.unchecked_transaction().unwrap();
        for at in 0..ROWS_MAX + 5 {
            record(&transaction, &actor(at), Action::Backup, None, "").unwrap();
        }
        let kept = since(&transaction, 0).unwrap();
        assert_eq!((kept.len(), kept[0].actor.at), (10_000, 5));
        let at = |count: i64| 2 * AGE_MAX + count;
        // The clock is wrong for nine commands.
        for count in 0..ROWS_MIN - 1 {
            record(&transaction, &actor(at(count)), Action::Backup, None, "").unwrap();
        }
        expire(&transaction, at(0)).unwrap();
        assert_eq!(since(&transaction, 0).unwrap().len(), 10_000);
        record(&transaction, &actor(at(9)), Action::Backup, None, "").unwrap();
        let kept = since(&transaction, 0).unwrap();
        assert_eq!((kept.len(), kept[0].id), (10, 10_006), "numbers only grow");
    }

    #[test]
    fn a_changed_byte_of_a_name_hides_no_row() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Sqlite::open(&dir.path().join("passmate.db")).unwrap();
        let connection = &engine.connection;
        let actor = Actor {
            at: 5,
            uid: 0,
            user: Some("root".to_owned()),
            sudo_uid: None,
        };
        for _ in 0..3 {
            record(connection, &actor, Action::Backup, None, "").unwrap();
        }
        let flip = "UPDATE audit SET user = CAST(x'f26f6f74' AS TEXT) WHERE id = 2";
        run(connection, flip, []).unwrap();
        let users = unlogged(connection, None).unwrap().into_iter();
        let users: Vec<_> = users.filter_map(|row| row.actor.user).collect();
        assert_eq!(users, ["root", "\u{fffd}oot", "root"]);
    }
}
