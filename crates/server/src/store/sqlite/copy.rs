//! What keeps a store: a copy of it while a server runs, a look at all of it, and accounts that
//! come from elsewhere.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use passmate_proto::{AccountNumber, AuthToken};
use rusqlite::{Connection, OptionalExtension, params};

use super::engine::{self as sqlite, fault, signed};
use super::operator::restore_lock;
use crate::files::{folder_of, give_to_owner_of, sync_folder_of, with_suffix};
use crate::store::{AdminStore, AuthHash, BtokenHash, EngineError, StoreError, lock_file};

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// Accounts.
    pub accounts: u64,
    /// Bytes of all btokens.
    pub btoken_bytes: u64,
}

/// An account of another server.
#[derive(Debug)]
pub struct ForeignAccount {
    /// Its number.
    pub number: AccountNumber,
    /// What opens it.
    pub auth_token: AuthToken,
    /// What is stored there.
    pub btoken: Vec<u8>,
    /// When it was stored, in seconds since 1970.
    pub at: i64,
}

impl AdminStore {
    /// Copies the whole store into a new file, as it is at one moment, without what was deleted. A
    /// server that uses it goes on reading and writing meanwhile.
    ///
    /// # Errors
    /// The store or the disk failed; the file may be there in part.
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let failed = |cause: String| StoreError::Open {
            path: path.to_owned(),
            cause,
        };
        let name = path
            .to_str()
            .ok_or_else(|| failed("its name is not text".to_owned()))?;
        self.connection()
            .execute("VACUUM INTO ?1", [name])
            .map_err(|error| match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::CannotOpen) => failed(error.to_string()),
                _ => fault(error).into(),
            })?;
        Ok(())
    }

    /// The schema that it has.
    ///
    /// # Errors
    /// The store failed.
    pub fn schema(&self) -> Result<i64, StoreError> {
        Ok(sqlite::one(self.connection(), "PRAGMA user_version", []).map_err(fault)?)
    }

    /// What it holds, by its own count.
    ///
    /// # Errors
    /// The store failed.
    pub fn sum(&self) -> Result<Sum, StoreError> {
        let row =
            self.connection()
                .query_row("SELECT accounts, btoken_bytes FROM totals", [], |row| {
                    Ok(Sum {
                        accounts: unsigned(row.get(0)?),
                        btoken_bytes: unsigned(row.get(1)?),
                    })
                });
        Ok(row.map_err(fault)?)
    }

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
            let name = hex(&number);
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

    /// Takes over accounts of another server; says for each whether it was not there before. One
    /// that is there is not touched.
    ///
    /// # Errors
    /// The store failed; none was taken over.
    pub fn take_over(&mut self, accounts: &[ForeignAccount]) -> Result<Vec<bool>, StoreError> {
        self.write(|connection| {
            let mut totals = sqlite::Totals::default();
            let mut taken = Vec::with_capacity(accounts.len());
            for ForeignAccount { number, auth_token, btoken, at } in accounts {
                let number = number.as_bytes();
                if sqlite::one(connection, "SELECT EXISTS (SELECT 1 FROM account WHERE number = ?1)", [number])? {
                    taken.push(false);
                    continue;
                }
                let (auth, hash, len) = (AuthHash::of(auth_token), BtokenHash::of(btoken), signed(btoken.len()));
                let insert = "INSERT INTO btoken (content) VALUES (?1) RETURNING id";
                let id: i64 = sqlite::one(connection, insert, [btoken])?;
                sqlite::run(
                    connection,
                    "INSERT INTO account (number, auth_hash, btoken_hash, btoken_len, btoken_id, created_at, changed_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
                    params![number, auth.0, hash.0, len, id, at],
                )?;
                totals.count(1, len);
                taken.push(true);
            }
            totals.write(connection)?;
            Ok(taken)
        })
    }
}

/// The place of a store that nobody looks at: no server runs on it, and no command.
#[derive(Debug)]
pub struct ClosedStore {
    path: PathBuf,
    /// Held as long as this is.
    _locks: [File; 2],
}

impl ClosedStore {
    /// Locks the place.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if a server or a command uses it.
    pub fn new(path: &Path) -> Result<Self, StoreError> {
        let locks = [
            lock_file(sqlite::lock_path(path))?,
            lock_file(restore_lock(path))?,
        ];
        Ok(Self {
            path: path.to_owned(),
            _locks: locks,
        })
    }

    /// Whether there is a store.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Puts a database, which is one file and closed, into the place. What was there before is kept
    /// beside it, at the path that is given back; at every moment the old one or the new one is in
    /// the place.
    ///
    /// # Errors
    /// The old one is in the place.
    pub fn replace(&self, new: &Path) -> Result<Option<PathBuf>, StoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| StoreError::Open {
                path,
                cause: error.to_string(),
            }
        };
        let replaced = with_suffix(&self.path, ".replaced");
        let is_there = self.is_there();
        let owner = if is_there {
            &self.path
        } else {
            folder_of(&self.path)
        };
        let prepare = |file: File| give_to_owner_of(owner, &file).and_then(|()| file.sync_all());
        File::open(new).and_then(prepare).map_err(failed(new))?;
        if is_there {
            // A log that a killed server left belongs to the old one. Where that is too damaged to
            // take it in, both go.
            let is_whole = Connection::open(&self.path).is_ok_and(|connection| {
                connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                        row.get::<_, bool>(0)
                    })
                    .is_ok_and(|is_busy| !is_busy)
            });
            for suffix in ["-wal", "-shm"] {
                let log = with_suffix(&self.path, suffix);
                let kept = with_suffix(&replaced, suffix);
                let _ = fs::remove_file(&kept);
                if log.exists() {
                    let put_away = if is_whole {
                        fs::remove_file(&log)
                    } else {
                        fs::rename(&log, &kept)
                    };
                    put_away.map_err(failed(&log))?;
                }
            }
            let _ = fs::remove_file(&replaced);
            fs::hard_link(&self.path, &replaced).map_err(failed(&replaced))?;
        }
        fs::rename(new, &self.path).map_err(failed(&self.path))?;
        sync_folder_of(&self.path).map_err(failed(&self.path))?;
        Ok(is_there.then_some(replaced))
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

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// An account number as people see it.
fn hex(number: &[u8; 8]) -> Arc<str> {
    number
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Admission, Btoken, Change, Engine, Sqlite};

    fn number(byte: u8) -> AccountNumber {
        AccountNumber::from_bytes([byte; 8]).unwrap()
    }

    fn foreign(byte: u8, btoken: &[u8]) -> ForeignAccount {
        ForeignAccount {
            number: number(byte),
            auth_token: AuthToken::new([byte; 32]),
            btoken: btoken.to_vec(),
            at: 7,
        }
    }

    fn filled(path: &Path) -> Sqlite {
        let mut engine = Sqlite::open(path).unwrap();
        let create = |byte: u8| Change::Create {
            account: number(byte),
            auth: AuthHash([byte; 32]),
            btoken: Btoken::new(vec![byte; 5000]),
            accounts_max: 100,
            admission: Admission::Anyone,
            at: 5,
        };
        engine.commit(&[create(1), create(2), create(3)]).unwrap();
        engine
    }

    fn findings(store: &AdminStore) -> Vec<String> {
        let mut findings = Vec::new();
        store.check(&mut |finding| findings.push(finding)).unwrap();
        findings
    }

    #[test]
    fn a_copy_is_the_store_at_one_moment_while_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passmate.db");
        let mut engine = filled(&path);
        let store = AdminStore::open(&path).unwrap();
        let copy = dir.path().join("copy.db");
        store.copy_to(&copy).unwrap();
        engine
            .commit(&[Change::Delete {
                account: number(1),
                auth: AuthHash([1; 32]),
            }])
            .unwrap();
        let copied = AdminStore::open(&copy).unwrap();
        assert_eq!(
            copied.sum().unwrap(),
            Sum {
                accounts: 3,
                btoken_bytes: 15_000
            }
        );
        assert_eq!(
            (findings(&copied), copied.schema().unwrap()),
            (vec![], sqlite::schema_newest())
        );
        assert_eq!(store.sum().unwrap().accounts, 2);
        assert!(store.copy_to(&copy).is_err(), "it is there already");
    }

    #[test]
    fn every_kind_of_damage_is_found_and_named() {
        for (sql, part) in [
            (
                "UPDATE btoken SET content = zeroblob(5000) WHERE id = 2",
                "0202020202020202: its btoken is not what",
            ),
            (
                "UPDATE btoken SET content = zeroblob(4999) WHERE id = 2",
                "0202020202020202: its btoken has another length",
            ),
            (
                "PRAGMA foreign_keys = OFF; DELETE FROM btoken WHERE id = 2",
                "0202020202020202: its btoken is gone",
            ),
            ("UPDATE totals SET accounts = 4", "the sums"),
            ("UPDATE totals SET btoken_bytes = 1", "the sums"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("passmate.db");
            drop(filled(&path));
            let store = AdminStore::open(&path).unwrap();
            assert_eq!(findings(&store), Vec::<String>::new());
            store.connection().execute_batch(sql).unwrap();
            let found = findings(&store);
            assert!(
                found.iter().any(|finding| finding.contains(part)),
                "{sql}: {found:?}"
            );
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_harmless_or_found_and_never_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passmate.db");
        drop(filled(&path));
        let whole = fs::read(&path).unwrap();
        // The btokens are long runs of one byte; nothing else is.
        let is_btoken = |place: usize| {
            let around = whole
                .get(place.saturating_sub(64)..place + 64)
                .unwrap_or_default();
            around
                .iter()
                .all(|byte| *byte == whole[place] && (1..=3).contains(byte))
                && !around.is_empty()
        };
        let mut of_btokens = 0;
        // All of the header and of what a page begins with, and a byte here and there.
        let in_head = |place: &usize| place % 4096 < 120 || place.is_multiple_of(37);
        for place in (0..whole.len()).filter(in_head) {
            let mut flipped = whole.clone();
            flipped[place] ^= 1 << (place % 8);
            for suffix in ["-wal", "-shm"] {
                let _ = fs::remove_file(with_suffix(&path, suffix));
            }
            fs::write(&path, &flipped).unwrap();
            let mut findings = Vec::new();
            let looked = AdminStore::open(&path)
                .and_then(|store| store.check(&mut |finding| findings.push(finding)));
            match looked {
                Ok(_) if findings.is_empty() => assert!(!is_btoken(place), "byte {place}"),
                Ok(_)
                | Err(StoreError::Engine(EngineError::Damaged(_)) | StoreError::NotOurs { .. }) => {
                    of_btokens += usize::from(is_btoken(place));
                }
                // The number of the schema.
                Err(StoreError::NewerSchema { .. }) if (60..64).contains(&place) => {}
                Err(error) => panic!("byte {place}: {error}"),
            }
        }
        assert!(of_btokens > 200, "{of_btokens}");
    }

    #[test]
    fn an_account_of_another_server_is_taken_over_once_and_touches_none_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passmate.db");
        let engine = filled(&path);
        let mut store = AdminStore::open(&path).unwrap();
        let all = [foreign(1, b"other"), foreign(4, b"new"), foreign(5, b"")];
        assert_eq!(store.take_over(&all).unwrap(), [false, true, true]);
        assert_eq!(store.take_over(&all).unwrap(), [false; 3]);
        assert_eq!(findings(&store), Vec::<String>::new());
        use crate::store::Reader;
        let mut reader = engine.reader().unwrap();
        assert_eq!(&*reader.read(number(1)).unwrap().unwrap().btoken, [1; 5000]);
        assert_eq!(&*reader.read(number(4)).unwrap().unwrap().btoken, b"new");
        assert!(
            reader
                .read_head(&[4; 8])
                .unwrap()
                .unwrap()
                .auth
                .ct_eq(&AuthHash::of(&AuthToken::new([4; 32])))
        );
    }
}
