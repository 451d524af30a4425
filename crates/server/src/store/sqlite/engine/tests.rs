use passmate_proto::AuthToken;

use rusqlite::ffi;
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::super::error::is_disk_full;
use super::super::schema::{APPLICATION_ID, MIGRATIONS, migrate_to, schema_newest, schema_of};
use super::*;
use crate::store::{Reader, suite};

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("passmate.db")
}

/// Makes a database with the schema of the first version of this program.
pub(crate) fn make_first_schema(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(MIGRATIONS.first().unwrap())
        .unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .unwrap();
    connection
        .pragma_update(None, "journal_mode", "wal")
        .unwrap();
}

fn create(number: u8, len: usize) -> Change {
    Change::Create {
        account: AccountNumber::from_bytes([number; 8]).unwrap(),
        auth: AuthHash::of(&AuthToken::new([1; 32])),
        btoken: Btoken::of(vec![number; len]),
        accounts_max: 100,
        admission: Admission::Anyone,
        at: 0,
    }
}

fn made(number: u8) -> Outcome {
    let number = AccountNumber::from_bytes([number; 8]).unwrap();
    Outcome::Created(Created::Done(number, ()))
}

/// A database of this schema with two accounts whose btokens were stored under it; the disk has
/// changed a byte of the second one.
fn make_old(path: &Path, schema: i64) {
    let mut connection = Connection::open(path).unwrap();
    migrate_to(&mut connection, schema).unwrap();
    for (number, content, stored) in [(1_u8, "old", "old"), (2, "whole", "wholf")] {
        let hash: [u8; 32] = Sha256::digest(content).into();
        let insert = "INSERT INTO btoken VALUES (?1, CAST(?2 AS BLOB))";
        connection.execute(insert, params![number, stored]).unwrap();
        let insert = "INSERT INTO account (number, auth_hash, btoken_hash, btoken_len, btoken_id,
                      created_at, changed_at) VALUES (?1, zeroblob(32), ?2, ?3, ?4, 1, 1)";
        let values = params![[number; 8], hash, signed(content.len()), number];
        connection.execute(insert, values).unwrap();
    }
    connection
        .execute("UPDATE totals SET accounts = 2, btoken_bytes = 8", [])
        .unwrap();
}

#[test]
fn accounts_of_every_earlier_schema_are_read_checked_and_replaced() {
    for schema in 1..=schema_newest() {
        let dir = tempfile::tempdir().unwrap();
        make_old(&path(&dir), schema);
        let mut engine = Sqlite::open(&path(&dir)).unwrap();
        assert_eq!(schema_of(&engine.connection).unwrap(), schema_newest());
        let mut reader = engine.reader().unwrap();
        let [whole, damaged] = [1, 2].map(|byte| AccountNumber::from_bytes([byte; 8]).unwrap());
        let stored = reader.read(whole).unwrap().unwrap();
        let head = reader.read_head(&[1; 8]).unwrap().unwrap();
        assert_eq!(
            (&*stored.btoken, stored.revision),
            (b"old".as_slice(), head.revision)
        );
        assert!(matches!(reader.read(damaged), Err(EngineError::Damaged(_))));

        let replace = |expected| Change::ReplaceIf {
            account: whole,
            expected,
            btoken: Btoken::of(b"new".to_vec()),
            at: 2,
        };
        let outcomes = engine.commit(&[replace(head.revision), replace(head.revision)]);
        let [replaced, stale] = [Replaced::Done(()), Replaced::Stale].map(Outcome::Replaced);
        assert_eq!(outcomes.unwrap(), [replaced, stale], "schema {schema}");
        let stored = reader.read(whole).unwrap().unwrap();
        assert_eq!(
            (&*stored.btoken, stored.revision),
            (b"new".as_slice(), Revision::of(b"new"))
        );
        let flip = "UPDATE btoken SET content = CAST('mew' AS BLOB) WHERE id = 1";
        engine.connection.execute(flip, []).unwrap();
        assert!(matches!(reader.read(whole), Err(EngineError::Damaged(_))));
    }
}

#[test]
fn it_passes_the_engine_suite() {
    let dirs = std::cell::RefCell::new(Vec::new());
    suite::check(|| {
        let dir = tempfile::tempdir().unwrap();
        let engine = Sqlite::open(&path(&dir)).unwrap();
        dirs.borrow_mut().push(dir);
        engine
    });
}

#[test]
fn a_closed_database_is_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Sqlite::open(&path(&dir)).unwrap();
    engine.commit(&[create(1, 5000)]).unwrap();
    drop(engine);
    let mut files: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(files, ["passmate.db", "passmate.db.lock"]);
    let engine = Sqlite::open(&path(&dir)).unwrap();
    let account = AccountNumber::from_bytes([1; 8]).unwrap();
    assert_eq!(
        engine
            .reader()
            .unwrap()
            .read(account)
            .unwrap()
            .unwrap()
            .btoken
            .len(),
        5000
    );
}

#[test]
fn commits_are_flushed_and_deleted_bytes_wiped() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Sqlite::open(&path(&dir)).unwrap();
    let pragma = |name: &str| {
        engine
            .connection
            .query_row(&format!("PRAGMA {name}"), [], |row| {
                row.get::<_, rusqlite::types::Value>(0)
            })
    };
    use rusqlite::types::Value::{Integer, Text};
    assert_eq!(pragma("journal_mode").unwrap(), Text("wal".to_owned()));
    assert_eq!(pragma("synchronous").unwrap(), Integer(2));
    assert_eq!(pragma("secure_delete").unwrap(), Integer(1));
    assert_eq!(pragma("wal_autocheckpoint").unwrap(), Integer(0));
}

#[test]
fn only_one_file_opens_databases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.ends_with("connection.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains("Connection::open"), "{}", path.display());
        }
    }
}

#[test]
fn there_is_a_log_when_the_folder_is_flushed() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let engine = Sqlite::open(&path(&dir)).unwrap();
        assert!(crate::files::with_suffix(&path(&dir), "-wal").exists());
        drop(engine);
    }
}

#[test]
fn the_log_is_moved_before_it_gets_long() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Sqlite::open(&path(&dir)).unwrap();
    for number in 1..=40 {
        engine.commit(&[create(number, 1_000_000)]).unwrap();
        engine.settle().unwrap();
    }
    let log_len = crate::files::with_suffix(&path(&dir), "-wal");
    let log_len = std::fs::metadata(log_len).unwrap().len();
    assert!(log_len < 12_000_000, "{log_len}");
}

#[test]
fn nothing_is_confirmed_into_a_file_that_was_moved_or_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let away = dir.path().join("away.db");
    let mut engine = Sqlite::open(&path(&dir)).unwrap();
    engine.commit(&[create(1, 10)]).unwrap();
    std::fs::rename(path(&dir), &away).unwrap();
    let is_failed = |engine: &mut Sqlite, number| {
        let committed = engine.commit(&[create(number, 10)]);
        matches!(committed, Err(EngineError::Moved(_)))
    };
    assert!(is_failed(&mut engine, 2));
    std::fs::copy(&away, path(&dir)).unwrap();
    assert!(is_failed(&mut engine, 3));
    std::fs::remove_file(path(&dir)).unwrap();
    assert!(is_failed(&mut engine, 4));
}

#[test]
fn all_files_have_mode_0600() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(path(&dir), b"").unwrap();
    std::fs::set_permissions(path(&dir), Permissions::from_mode(0o644)).unwrap();
    let mut engine = Sqlite::open(&path(&dir)).unwrap();
    engine.commit(&[create(1, 5000)]).unwrap();
    let files = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap());
    let modes: Vec<_> = files
        .map(|file| file.metadata().unwrap().permissions().mode() & 0o777)
        .collect();
    assert_eq!(modes, [0o600; 4], "database, log, index of the log, lock");
}

#[test]
fn a_second_server_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = Sqlite::open(&path(&dir)).unwrap();
    assert!(matches!(
        Sqlite::open(&path(&dir)),
        Err(StoreError::InUse { .. })
    ));
    drop(first);
    Sqlite::open(&path(&dir)).unwrap();
}

#[test]
fn foreign_files_are_refused_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    drop(Sqlite::open(&path(&dir)).unwrap());
    let newer = Connection::open(path(&dir)).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    let named = |version: &str| {
        let sql = "UPDATE property SET value = ?1 WHERE name = 'program'";
        newer.execute(sql, [version]).unwrap();
        match Sqlite::open(&path(&dir)) {
            Err(StoreError::NewerSchema {
                found: 99, program, ..
            }) => program,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(named("7.0.0-rc.1").as_deref(), Some("7.0.0-rc.1"));
    assert_eq!(named("\u{1b}[2J"), None, "it may be another program's text");
    drop(newer);
    let foreign = dir.path().join("foreign.db");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE bookmarks (url TEXT)")
        .unwrap();
    assert!(matches!(
        Sqlite::open(&foreign),
        Err(StoreError::NotOurs { .. })
    ));
    let text = dir.path().join("text.db");
    std::fs::write(&text, "shopping list ".repeat(100)).unwrap();
    assert!(matches!(
        Sqlite::open(&text),
        Err(StoreError::Engine(EngineError::Damaged(_)))
    ));
    assert_eq!(
        std::fs::read(&text).unwrap(),
        "shopping list ".repeat(100).as_bytes()
    );
    let nowhere = dir.path().join("no/such/folder.db");
    assert!(matches!(
        Sqlite::open(&nowhere),
        Err(StoreError::Open { .. })
    ));
}

#[test]
fn a_full_disk_rolls_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Sqlite::open(&path(&dir)).unwrap();
    engine.commit(&[create(1, 5000)]).unwrap();
    // The page limit of SQLite causes the same error as a full disk.
    let pages: i64 = engine
        .connection
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    engine
        .connection
        .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
        .unwrap();
    assert_eq!(engine.commit(&[create(2, 100_000)]), Err(EngineError::Full));
    let mut reader = engine.reader().unwrap();
    assert!(reader.read_head(&[2; 8]).unwrap().is_none());
    assert!(reader.read_head(&[1; 8]).unwrap().is_some());
    engine
        .connection
        .query_row("PRAGMA max_page_count = 100000", [], |_| Ok(()))
        .unwrap();
    assert_eq!(engine.commit(&[create(2, 100_000)]), Ok(vec![made(2)]));
}

#[test]
fn a_damaged_btoken_is_never_returned() {
    for len in [100, 100_000] {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = Sqlite::open(&path(&dir)).unwrap();
        engine.commit(&[create(1, len)]).unwrap();
        let pragma = "PRAGMA foreign_keys = OFF";
        engine.connection.execute_batch(pragma).unwrap();
        let account = AccountNumber::from_bytes([1; 8]).unwrap();
        let read = |statement: &str| {
            engine
                .connection
                .execute(statement, params![signed(len)])
                .unwrap();
            engine.reader().unwrap().read(account)
        };
        for damage in ["zeroblob(?1)", "zeroblob(?1 - 1)", "zeroblob(?1 + 1)"] {
            let damaged = read(&format!("UPDATE btoken SET content = {damage}"));
            assert!(matches!(damaged, Err(EngineError::Damaged(_))), "{damage}");
        }
        let gone = read("UPDATE account SET btoken_id = 99 WHERE ?1 > 0");
        assert!(gone.unwrap().is_none());
    }
}

#[test]
fn a_btoken_is_replaced_where_something_else_is_in_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Sqlite::open(&path(&dir)).unwrap();
    engine.commit(&[create(1, 100_000)]).unwrap();
    engine
        .connection
        .execute("UPDATE btoken SET content = zeroblob(7)", [])
        .unwrap();
    let account = AccountNumber::from_bytes([1; 8]).unwrap();
    let replace = Change::ReplaceIf {
        account,
        expected: Revision::of(&[1; 100_000]),
        btoken: Btoken::of(vec![2; 100_000]),
        at: 0,
    };
    let replaced = Outcome::Replaced(Replaced::Done(()));
    assert_eq!(engine.commit(&[replace]), Ok(vec![replaced]));
    let stored = engine.reader().unwrap().read(account).unwrap().unwrap();
    assert_eq!(&*stored.btoken, [2; 100_000]);
}

#[test]
fn a_held_database_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Sqlite::open(&path(&dir)).unwrap();
    engine
        .connection
        .busy_timeout(Duration::from_millis(1))
        .unwrap();
    let other = Connection::open(path(&dir)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(engine.commit(&[create(1, 1)]), Err(EngineError::Busy));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(engine.commit(&[create(1, 1)]), Ok(vec![made(1)]));
}

#[test]
fn tidying_empties_the_log_unless_a_reader_is_active() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Sqlite::open(&path(&dir)).unwrap();
    let log_len = || {
        std::fs::metadata(dir.path().join("passmate.db-wal"))
            .unwrap()
            .len()
    };
    engine.commit(&[create(1, 5000)]).unwrap();
    let mut other = Connection::open(path(&dir)).unwrap();
    let reading = other.transaction().unwrap();
    reading
        .query_row("SELECT count(*) FROM account", [], |_| Ok(()))
        .unwrap();
    engine.commit(&[create(2, 5000)]).unwrap();
    assert_eq!(engine.tidy(), Err(EngineError::Busy));
    assert!(log_len() > 0);
    engine.commit(&[create(3, 5000)]).unwrap();
    drop(reading);
    assert_eq!(engine.tidy(), Ok(()));
    assert_eq!(log_len(), 0);
    let timeout: i64 = engine
        .connection
        .query_row("PRAGMA busy_timeout", [], |row| row.get(0))
        .unwrap();
    assert_eq!(timeout, 2000, "commits wait as before");
}

#[test]
fn a_write_over_a_quota_is_a_full_disk() {
    let check = |code: i32, errno: Errno, expected: bool| {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        assert_eq!(
            is_disk_full(&error, &errno.into()),
            expected,
            "{code} {errno:?}"
        );
    };
    for errno in [Errno::DQUOT, Errno::NOSPC, Errno::FBIG] {
        check(ffi::SQLITE_IOERR_WRITE, errno, true);
        check(ffi::SQLITE_IOERR_SHMSIZE, errno, true);
        check(ffi::SQLITE_IOERR_FSYNC, errno, false);
        check(ffi::SQLITE_IOERR_DIR_FSYNC, errno, false);
        check(ffi::SQLITE_CORRUPT, errno, false);
    }
    check(ffi::SQLITE_IOERR_WRITE, Errno::IO, false);
    check(ffi::SQLITE_IOERR_SHMSIZE, Errno::NOENT, false);
}
