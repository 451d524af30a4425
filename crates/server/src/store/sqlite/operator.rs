//! What an operator does to a store, whether a server is using it or not.
//!
//! A command takes no lock against the server: it is one more process that writes to the database
//! for a moment, and the server sees what it wrote with the next client. The rules are:
//!  - one short transaction for each change, flushed before it is told;
//!  - no change of the schema while a server may be running: that is for whoever has its lock;
//!  - the restore lock is held together with other commands, so that nobody writes into a file that
//!    is being replaced.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use passmate_proto::AccountNumber;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::engine::{self as sqlite, Sqlite, check_is_ours, fault};
use crate::files::with_suffix;
use crate::store::{AuthHash, StoreError, lock_file_shared};

/// How long a command waits for the server or another command that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A store in the hands of its operator.
#[derive(Debug)]
pub struct AdminStore {
    connection: Connection,
    /// Held as long as the database is open.
    _lock: File,
}

/// A device that may make an account.
#[derive(Debug, Clone)]
pub struct Invite {
    /// Of its auth token.
    pub auth: AuthHash,
    /// What the operator wrote beside it.
    pub note: String,
    /// Seconds since 1970.
    pub made_at: i64,
    /// Seconds since 1970; from then on it lets nobody in.
    pub expires_at: i64,
}

/// Seats that anybody may take for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// How many are left.
    pub seats: u32,
    /// Seconds since 1970.
    pub made_at: i64,
    /// Seconds since 1970.
    pub expires_at: i64,
}

/// What the store knows of an account and an operator may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub number: AccountNumber,
    /// The length of its btoken in bytes.
    pub btoken_len: u64,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970: when its btoken was stored last.
    pub changed_at: i64,
    /// Whether nobody may use it.
    pub is_disabled: bool,
}

/// What [`account_of`] reads.
const ACCOUNT: &str = "SELECT number, btoken_len, created_at, changed_at, disabled FROM account";

impl AdminStore {
    /// Opens a store that is there.
    ///
    /// One that an older program made is brought up to date first, if no server runs.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Missing`] if there is none, [`StoreError::OlderServer`] if
    /// the server that uses it is older than this program.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::open_as_it_is(path)?;
        if store.schema()? < sqlite::schema_newest() {
            match Sqlite::open(path) {
                Ok(engine) => drop(engine),
                Err(StoreError::InUse { .. }) => {
                    return Err(StoreError::OlderServer {
                        path: path.to_owned(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(store)
    }

    /// Opens a store that is there to look at it or to copy it; one that an older program made
    /// stays as it is.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Missing`] if there is none.
    pub fn open_as_it_is(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::Open {
            path: path.to_owned(),
            cause: error.to_string(),
        };
        if !path.try_exists().unwrap_or(true) {
            return Err(StoreError::Missing {
                path: path.to_owned(),
            });
        }
        let lock = lock_file_shared(restore_lock(path))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        check_is_ours(&connection, path)?;
        connection
            .execute_batch("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF;")
            .map_err(failed)?;
        Ok(Self {
            connection,
            _lock: lock,
        })
    }

    /// Lets the device with this auth token make an account; one that was invited already gets the
    /// new note and time.
    ///
    /// # Errors
    /// The store failed.
    pub fn invite(&mut self, invite: &Invite) -> Result<(), StoreError> {
        let Invite {
            auth,
            note,
            made_at,
            expires_at,
        } = invite;
        self.write(|connection| {
            sqlite::expire(connection, *made_at)?;
            sqlite::run(
                connection,
                "INSERT INTO invite (auth_hash, note, made_at, expires_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (auth_hash) DO UPDATE SET note = ?2, made_at = ?3, expires_at = ?4",
                params![auth.0, note, made_at, expires_at],
            )
        })
    }

    /// Lets anybody in, as long as there are seats and time.
    ///
    /// # Errors
    /// The store failed.
    pub fn open_seats(&mut self, opening: Opening) -> Result<(), StoreError> {
        let Opening {
            seats,
            made_at,
            expires_at,
        } = opening;
        self.write(|connection| {
            sqlite::expire(connection, made_at)?;
            sqlite::run(
                connection,
                "INSERT INTO opening (seats, made_at, expires_at) VALUES (?1, ?2, ?3)",
                params![seats, made_at, expires_at],
            )
        })
    }

    /// All invites and openings whose time is not over, those that go first in front. What is over
    /// is forgotten.
    ///
    /// # Errors
    /// The store failed.
    pub fn invites(&mut self, now: i64) -> Result<(Vec<Invite>, Vec<Opening>), StoreError> {
        self.write(|connection| {
            sqlite::expire(connection, now)?;
            let invites = connection
                .prepare("SELECT auth_hash, note, made_at, expires_at FROM invite ORDER BY expires_at, auth_hash")?
                .query_map([], |row| {
                    Ok(Invite {
                        auth: AuthHash(row.get(0)?),
                        note: row.get(1)?,
                        made_at: row.get(2)?,
                        expires_at: row.get(3)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            let openings = connection
                .prepare("SELECT seats, made_at, expires_at FROM opening ORDER BY expires_at, id")?
                .query_map([], |row| Ok(Opening { seats: row.get(0)?, made_at: row.get(1)?, expires_at: row.get(2)? }))?
                .collect::<Result<_, _>>()?;
            Ok((invites, openings))
        })
    }

    /// Takes back the invite of this device; false if there is none.
    ///
    /// # Errors
    /// The store failed.
    pub fn revoke_invite(&mut self, auth: &AuthHash) -> Result<bool, StoreError> {
        let revoked = self.write(|connection| {
            connection.execute("DELETE FROM invite WHERE auth_hash = ?1", [auth.0])
        })?;
        self.wipe();
        Ok(revoked > 0)
    }

    /// Takes back all seats that are left, and says how many.
    ///
    /// # Errors
    /// The store failed.
    pub fn revoke_openings(&mut self) -> Result<u64, StoreError> {
        self.write(|connection| {
            let seats: i64 = sqlite::one(
                connection,
                "SELECT coalesce(sum(seats), 0) FROM opening",
                [],
            )?;
            sqlite::run(connection, "DELETE FROM opening", [])?;
            Ok(u64::try_from(seats).unwrap_or(0))
        })
    }

    /// All accounts, by number.
    ///
    /// # Errors
    /// The store failed.
    pub fn accounts(&mut self) -> Result<Vec<Account>, StoreError> {
        let read = || {
            let mut statement = self
                .connection
                .prepare(&format!("{ACCOUNT} ORDER BY number"))?;
            statement
                .query_map([], account_of)?
                .collect::<Result<_, _>>()
        };
        Ok(read().map_err(fault)?)
    }

    /// One account; `None` if there is none of that number.
    ///
    /// # Errors
    /// The store failed.
    pub fn account(&mut self, number: AccountNumber) -> Result<Option<Account>, StoreError> {
        let sql = format!("{ACCOUNT} WHERE number = ?1");
        Ok(self
            .connection
            .query_row(&sql, [number.as_bytes()], account_of)
            .optional()
            .map_err(fault)?)
    }

    /// Lets nobody use an account, or its owner again; false if there is none of that number.
    ///
    /// # Errors
    /// The store failed.
    pub fn set_disabled(
        &mut self,
        number: AccountNumber,
        is_disabled: bool,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE account SET disabled = ?2 WHERE number = ?1";
        let changed = self
            .write(|connection| connection.execute(sql, params![number.as_bytes(), is_disabled]))?;
        Ok(changed > 0)
    }

    /// Deletes an account and its btoken; false if there is none of that number.
    ///
    /// # Errors
    /// The store failed.
    pub fn delete_account(&mut self, number: AccountNumber) -> Result<bool, StoreError> {
        let is_deleted = self.write(|connection| sqlite::delete(connection, number))?;
        self.wipe();
        Ok(is_deleted)
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn write<T>(
        &mut self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(fault)?;
        let changed = change(&transaction).map_err(fault)?;
        transaction.commit().map_err(fault)?;
        Ok(changed)
    }

    /// Empties the log, which still has what was deleted. If somebody reads just now, the server
    /// comes to it later.
    fn wipe(&self) {
        let _: rusqlite::Result<i64> =
            self.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    }
}

fn account_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Account> {
    let number = AccountNumber::from_bytes(row.get(0)?);
    Ok(Account {
        number: number.ok_or(rusqlite::Error::IntegralValueOutOfRange(0, 0))?,
        btoken_len: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
        created_at: row.get(2)?,
        changed_at: row.get(3)?,
        is_disabled: row.get(4)?,
    })
}

/// What commands hold together, and a restore alone.
pub(super) fn restore_lock(store: &Path) -> PathBuf {
    with_suffix(store, ".restore-lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Admission, Btoken, BtokenHash, Change, Engine, Outcome, Reader};

    fn auth(byte: u8) -> AuthHash {
        AuthHash([byte; 32])
    }

    fn invite(byte: u8, expires_at: i64) -> Invite {
        Invite {
            auth: auth(byte),
            note: "Ada's phone".to_owned(),
            made_at: 0,
            expires_at,
        }
    }

    fn create(number: u8, token: u8, btoken: &[u8], at: i64) -> Change {
        Change::Create {
            account: AccountNumber::from_bytes([number; 8]).unwrap(),
            auth: auth(token),
            btoken: Btoken::new(btoken.to_vec()),
            accounts_max: 100,
            admission: Admission::Invited,
            at,
        }
    }

    /// A server's engine and an operator beside it.
    fn both(dir: &tempfile::TempDir) -> (Sqlite, AdminStore) {
        let path = dir.path().join("passmate.db");
        (
            Sqlite::open(&path).unwrap(),
            AdminStore::open(&path).unwrap(),
        )
    }

    fn once(engine: &mut Sqlite, change: Change) -> Outcome {
        engine.commit(&[change]).unwrap().remove(0)
    }

    #[test]
    fn an_invite_makes_one_account_and_is_gone_with_its_note() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, mut admin) = both(&dir);
        assert_eq!(
            once(&mut engine, create(1, 1, b"a", 5)),
            Outcome::NotInvited
        );
        admin.invite(&invite(1, 100)).unwrap();
        assert_eq!(
            once(&mut engine, create(2, 2, b"a", 5)),
            Outcome::NotInvited
        );
        assert_eq!(once(&mut engine, create(1, 1, b"a", 5)), Outcome::Done);
        assert!(admin.invites(5).unwrap().0.is_empty());
        engine.tidy().unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(
                !bytes.windows(11).any(|part| part == b"Ada's phone"),
                "the note is in a file"
            );
        }
    }

    #[test]
    fn an_account_whose_number_was_not_heard_is_given_once_more_until_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, mut admin) = both(&dir);
        admin.invite(&invite(1, 100)).unwrap();
        assert_eq!(once(&mut engine, create(1, 1, b"a", 5)), Outcome::Done);
        let first = AccountNumber::from_bytes([1; 8]).unwrap();
        assert_eq!(
            once(&mut engine, create(2, 1, b"bb", 500)),
            Outcome::Again(first)
        );
        let mut reader = engine.reader().unwrap();
        let stored = reader.read(first).unwrap().unwrap();
        assert_eq!(&*stored.btoken, b"bb");
        let update = Change::ReplaceIf {
            account: first,
            expected: stored.hash,
            btoken: Btoken::new(b"c".to_vec()),
            at: 6,
        };
        assert_eq!(once(&mut engine, update), Outcome::Done);
        assert_eq!(
            once(&mut engine, create(2, 1, b"d", 7)),
            Outcome::NotInvited
        );
        let totals: (i64, i64) = admin
            .connection
            .query_row("SELECT accounts, btoken_bytes FROM totals", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(totals, (1, 1));
    }

    #[test]
    fn an_invite_lets_nobody_in_when_its_time_is_over_and_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, mut admin) = both(&dir);
        admin.invite(&invite(1, 100)).unwrap();
        assert_eq!(
            once(&mut engine, create(1, 1, b"a", 100)),
            Outcome::NotInvited
        );
        let left = |admin: &AdminStore| -> i64 {
            sqlite::one(
                &admin.connection,
                "SELECT (SELECT count(*) FROM invite) + (SELECT count(*) FROM opening)",
                [],
            )
            .unwrap()
        };
        admin
            .open_seats(Opening {
                seats: 3,
                made_at: 0,
                expires_at: 100,
            })
            .unwrap();
        assert_eq!(left(&admin), 2);
        assert_eq!(once(&mut engine, Change::Expire { at: 99 }), Outcome::Done);
        assert_eq!(left(&admin), 2);
        assert_eq!(once(&mut engine, Change::Expire { at: 100 }), Outcome::Done);
        assert_eq!(left(&admin), 0);
    }

    #[test]
    fn open_seats_are_taken_one_by_one_and_an_invite_takes_none() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, mut admin) = both(&dir);
        admin
            .open_seats(Opening {
                seats: 2,
                made_at: 0,
                expires_at: 100,
            })
            .unwrap();
        admin.invite(&invite(9, 100)).unwrap();
        // All in one transaction, as a crowd comes.
        let crowd: Vec<_> = [9, 1, 2, 3]
            .into_iter()
            .map(|one| create(one, one, b"a", 5))
            .collect();
        let outcomes = engine.commit(&crowd).unwrap();
        assert_eq!(
            outcomes,
            [
                Outcome::Done,
                Outcome::Done,
                Outcome::Done,
                Outcome::NotInvited
            ]
        );
        assert!(admin.invites(5).unwrap().1.is_empty());
    }

    #[test]
    fn a_refused_create_leaves_the_invite() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, mut admin) = both(&dir);
        admin.invite(&invite(1, 100)).unwrap();
        admin.invite(&invite(2, 100)).unwrap();
        assert_eq!(once(&mut engine, create(1, 1, b"a", 5)), Outcome::Done);
        assert_eq!(
            once(&mut engine, create(1, 2, b"a", 5)),
            Outcome::NumberTaken
        );
        assert_eq!(admin.invites(5).unwrap().0.len(), 1);
        assert_eq!(once(&mut engine, create(2, 2, b"a", 5)), Outcome::Done);
    }

    #[test]
    fn what_is_revoked_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, mut admin) = both(&dir);
        admin.invite(&invite(1, 100)).unwrap();
        admin
            .open_seats(Opening {
                seats: 2,
                made_at: 0,
                expires_at: 100,
            })
            .unwrap();
        assert!(admin.revoke_invite(&auth(1)).unwrap());
        assert!(!admin.revoke_invite(&auth(1)).unwrap());
        assert_eq!(admin.revoke_openings().unwrap(), 2);
        assert_eq!(
            once(&mut engine, create(1, 1, b"a", 5)),
            Outcome::NotInvited
        );
    }

    #[test]
    fn a_disabled_account_cannot_be_changed_or_made_again_and_an_enabled_one_can() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, mut admin) = both(&dir);
        admin.invite(&invite(1, 100)).unwrap();
        assert_eq!(once(&mut engine, create(1, 1, b"a", 5)), Outcome::Done);
        let number = AccountNumber::from_bytes([1; 8]).unwrap();
        let replace = || {
            let btoken = Btoken::new(b"b".to_vec());
            Change::ReplaceIf {
                account: number,
                expected: BtokenHash::of(b"a"),
                btoken,
                at: 6,
            }
        };
        let delete = || Change::Delete {
            account: number,
            auth: auth(1),
        };
        assert!(admin.set_disabled(number, true).unwrap());
        assert!(
            engine
                .reader()
                .unwrap()
                .read_head(&[1; 8])
                .unwrap()
                .unwrap()
                .is_disabled
        );
        admin.invite(&invite(1, 100)).unwrap();
        let outcomes = engine
            .commit(&[create(2, 1, b"b", 5), replace(), delete()])
            .unwrap();
        assert_eq!(
            outcomes,
            [Outcome::NotInvited, Outcome::Stale, Outcome::Gone]
        );
        assert!(admin.account(number).unwrap().unwrap().is_disabled);
        assert!(admin.set_disabled(number, false).unwrap());
        assert_eq!(
            engine.commit(&[replace(), delete()]).unwrap(),
            [Outcome::Done; 2]
        );
        assert!(!admin.set_disabled(number, true).unwrap() && admin.accounts().unwrap().is_empty());
    }

    #[test]
    fn an_account_that_its_operator_deletes_is_in_no_file_and_in_no_sum() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, mut admin) = both(&dir);
        admin
            .open_seats(Opening {
                seats: 2,
                made_at: 0,
                expires_at: 100,
            })
            .unwrap();
        let sealed = b"sealed in this way and no other".repeat(200);
        engine
            .commit(&[create(1, 1, &sealed, 5), create(2, 2, b"b", 6)])
            .unwrap();
        let number = AccountNumber::from_bytes([1; 8]).unwrap();
        let listed = admin.accounts().unwrap();
        let of = |account: &Account| {
            (
                account.number,
                account.btoken_len,
                account.created_at,
                account.is_disabled,
            )
        };
        assert_eq!(of(&listed[0]), (number, sealed.len() as u64, 5, false));
        assert!(admin.delete_account(number).unwrap() && !admin.delete_account(number).unwrap());
        assert_eq!(admin.accounts().unwrap().len(), 1);
        let totals: (i64, i64) = admin
            .connection
            .query_row("SELECT accounts, btoken_bytes FROM totals", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(totals, (1, 1));
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(
                !bytes.windows(16).any(|part| part == b"sealed in this w"),
                "the btoken is in a file"
            );
        }
    }

    #[test]
    fn a_store_of_the_first_schema_is_brought_up_to_date_unless_a_server_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passmate.db");
        assert!(matches!(
            AdminStore::open(&path),
            Err(StoreError::Missing { .. })
        ));
        sqlite::tests::make_first_schema(&path);
        let server = crate::store::lock_file(sqlite::lock_path(&path)).unwrap();
        assert!(matches!(
            AdminStore::open(&path),
            Err(StoreError::OlderServer { .. })
        ));
        drop(server);
        let mut admin = AdminStore::open(&path).unwrap();
        admin.invite(&invite(1, 100)).unwrap();
        assert_eq!(admin.invites(5).unwrap().0.len(), 1);
    }
}
