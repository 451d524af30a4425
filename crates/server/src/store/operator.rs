//! The contract for operator commands. A command may run beside a server. Its rules are:
//!
//!  - each change is one short transaction, flushed before the method returns;
//!  - the schema is never changed while a server may be running;
//!  - commands hold a lock that a restore needs alone, so that nobody writes into a store that is
//!    being replaced.
//!
//! `operator_suite` holds every implementation to this contract.

use std::path::{Path, PathBuf};

use passmate_proto::{AccountNumber, AuthToken};

use super::{AuthHash, StoreError};

/// The store as operator commands use it.
pub trait Operator: Send {
    /// Lets the device with this auth token make an account. A device that is invited already gets
    /// the new note and expiry.
    fn invite(&mut self, invite: &Invite) -> Result<(), StoreError>;

    /// Lets anyone make an account while there are seats and time.
    fn open_seats(&mut self, opening: Opening) -> Result<(), StoreError>;

    /// Lists invites and open seats, those that expire first in front. Removes expired ones.
    fn invites(&mut self, now: i64) -> Result<(Vec<Invite>, Vec<Opening>), StoreError>;

    /// Revokes the invite of a device; false if there is none.
    fn revoke_invite(&mut self, auth: &AuthHash) -> Result<bool, StoreError>;

    /// Revokes all remaining open seats and returns their number.
    fn revoke_openings(&mut self) -> Result<u64, StoreError>;

    /// Lists all accounts by number.
    fn accounts(&mut self) -> Result<Vec<Account>, StoreError>;

    fn account(&mut self, number: AccountNumber) -> Result<Option<Account>, StoreError>;

    /// Disables or enables an account; false if there is none with this number.
    fn set_access(&mut self, number: AccountNumber, access: Access) -> Result<bool, StoreError>;

    /// Deletes an account with its btoken; false if there is none with this number.
    fn delete_account(&mut self, number: AccountNumber) -> Result<bool, StoreError>;

    /// Imports accounts of another server, and says for each whether it is new here. An existing
    /// account is left as it is.
    ///
    /// # Errors
    /// The store failed, and no account was imported.
    fn import(&mut self, accounts: &[ForeignAccount]) -> Result<Vec<bool>, StoreError>;

    /// The schema of the store.
    fn schema(&self) -> Result<i64, StoreError>;

    /// The totals that the store keeps.
    fn sum(&self) -> Result<Sum, StoreError>;

    /// Verifies the whole store: its structure, every btoken against its hash and length, and the
    /// totals. Calls `finding` for each fault. A server may use the store at the same time.
    ///
    /// # Errors
    /// The store cannot be read at all.
    fn check(&self, finding: &mut dyn FnMut(String)) -> Result<Sum, StoreError>;

    /// Copies the store, as it is at one moment and without deleted bytes, into a new SQLite file:
    /// the form that a backup has for every engine. A server may use the store at the same time.
    ///
    /// # Errors
    /// The store or the disk failed; the file may be incomplete.
    fn copy_to(&self, path: &Path) -> Result<(), StoreError>;

    /// Copies what is whole of a damaged store, account by account, into a new SQLite file. Calls
    /// `lost` for each account that is not in it, and says why.
    ///
    /// # Errors
    /// The new file cannot be written, or the store cannot be opened at all.
    fn salvage_to(&self, path: &Path, lost: &mut dyn FnMut(String)) -> Result<(), StoreError>;
}

/// A store that neither a server nor a command uses; a restore replaces it.
pub trait OfflineStore: Send {
    /// Whether there is a store to be replaced.
    fn exists(&self) -> bool;

    /// Puts a closed SQLite file in place of the store. Returns where the earlier store is kept.
    /// At every moment the old store or the new one is in place.
    ///
    /// # Errors
    /// The old store is in place.
    fn replace(&self, new: &Path) -> Result<Option<PathBuf>, StoreError>;
}

/// A device that may make an account. Times are in seconds since 1970.
#[derive(Debug, Clone)]
pub struct Invite {
    /// The hash of the device's auth token.
    pub auth: AuthHash,
    /// The operator's note, such as the name of the device's owner.
    pub note: String,
    pub made_at: i64,
    /// From this time on the invite is void.
    pub expires_at: i64,
}

/// Seats that anyone may take. Times are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The number of seats that are left.
    pub seats: u32,
    pub made_at: i64,
    /// From this time on the seats are void.
    pub expires_at: i64,
}

/// What an operator may see of an account. Times are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub number: AccountNumber,
    /// The length of the btoken in bytes.
    pub btoken_len: u64,
    pub created_at: i64,
    /// When the btoken was stored last.
    pub changed_at: i64,
    pub is_disabled: bool,
}

/// Whether the devices of an account are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Enabled,
    Disabled,
}

/// The size of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    pub accounts: u64,
    /// Bytes of all btokens.
    pub btoken_bytes: u64,
}

/// An account of another server.
#[derive(Debug)]
pub struct ForeignAccount {
    pub number: AccountNumber,
    pub auth_token: AuthToken,
    pub btoken: Vec<u8>,
    /// When the btoken was stored, in seconds since 1970.
    pub at: i64,
}
