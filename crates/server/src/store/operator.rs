//! The contracts for operator commands. A command may run beside a server. Its rules are:
//!
//!  - each change is one short transaction, flushed before the method returns;
//!  - each change says who makes it: an [`Operator`] is opened with an [`Actor`], and records the
//!    change in the same transaction;
//!  - a command never changes the schema. On a store with an older one it does what that schema
//!    allows;
//!  - commands hold a lock that a restore needs alone, so that nobody writes into a store that is
//!    being replaced.
//!
//! `operator_suite` holds every implementation to these contracts.

use std::path::{Path, PathBuf};

use passmate_proto::{AccountNumber, AuthToken};

use super::transfer::{AccountRow, WholeAccount};
use super::{AuthHash, StoreError};
use crate::clock::DAY;

/// Looks at a store, also at one with an older schema. Changes nothing.
pub trait Inspector: Send {
    /// Lists invites and open seats that are valid, those that expire first in front.
    fn invites(&self, now: i64) -> Result<(Vec<Invite>, Vec<Opening>), StoreError>;

    /// Lists all accounts by number.
    fn accounts(&self) -> Result<Vec<Account>, StoreError>;

    fn account(&self, number: AccountNumber) -> Result<Option<Account>, StoreError>;

    /// The accounts that [`Operator::prune`] would delete.
    fn unused(&self, before: i64) -> Result<Unused, StoreError>;

    /// What operators did at `since` or later, the earliest first.
    fn audit(&self, since: i64) -> Result<Vec<Audited>, StoreError>;

    /// The schema of the store.
    fn schema(&self) -> Result<i64, StoreError>;

    /// The totals that the store keeps.
    fn sum(&self) -> Result<Sum, StoreError>;

    /// Bytes of the store on the disks of its own server. `None` if it is files of this machine.
    fn size(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// Verifies the whole store: its structure, every btoken against its hash and length, and the
    /// totals. Calls `finding` for each fault. A server may use the store at the same time.
    ///
    /// # Errors
    /// The store cannot be read at all.
    fn check(&self, finding: &mut dyn FnMut(String)) -> Result<Sum, StoreError>;

    /// Verifies the texts: notes, and the names in the record of what operators did. A changed byte
    /// of one spoils nothing else, and a backup takes it along.
    ///
    /// # Errors
    /// The store cannot be read at all.
    fn check_texts(&self, finding: &mut dyn FnMut(String)) -> Result<(), StoreError>;

    /// The rows of accounts whose numbers are after one, and not after another, by number: at most so
    /// many. The schema must be the newest.
    fn rows(
        &self,
        after: [u8; 8],
        until: Option<[u8; 8]>,
        most: usize,
    ) -> Result<Vec<AccountRow>, StoreError>;

    /// An account with its btoken. The schema must be the newest.
    ///
    /// # Errors
    /// [`EngineError::Damaged`](super::EngineError::Damaged) if the btoken does not match its checksum.
    fn whole(&self, number: AccountNumber) -> Result<Option<WholeAccount>, StoreError>;

    /// Copies the store, as it is at one moment and without deleted bytes, into a new SQLite file:
    /// the form that a backup has for every engine. A server may use the store at the same time.
    ///
    /// # Errors
    /// The store or the disk failed; the file may be incomplete.
    fn copy_to(&self, path: &Path) -> Result<(), StoreError>;

    /// Copies what is whole of a damaged store, account by account, into a new SQLite file with the
    /// same schema. Calls `lost` for each account that is not in it, and says why.
    ///
    /// # Errors
    /// The new file cannot be written, or the store cannot be opened at all.
    fn salvage_to(&self, path: &Path, lost: &mut dyn FnMut(String)) -> Result<(), StoreError>;
}

/// Changes a store for its [`Actor`]. What changes nothing is not recorded.
///
/// All changes fail with [`StoreError::OlderSchema`] if the schema is too old for them.
pub trait Operator: Send {
    /// Looks at the same store.
    fn look(&self) -> &dyn Inspector;

    /// Why a change of this operator was made without a record of it, if one was: the store cannot
    /// keep records.
    fn unrecorded(&self) -> Option<Unrecorded>;

    /// Records an action that does not change the store, such as a backup of it.
    fn record(&mut self, action: Action, detail: &str) -> Result<(), StoreError>;

    /// Records that the store was restored. From now on it is known which accounts are synced.
    fn record_restore(&mut self, detail: &str) -> Result<(), StoreError>;

    /// Lets the device with this auth token make an account. A device that is invited already gets
    /// the new note and expiry.
    fn invite(&mut self, invite: &Invite) -> Result<(), StoreError>;

    /// Lets anyone make an account while there are seats and time.
    fn open_seats(&mut self, opening: Opening) -> Result<(), StoreError>;

    /// Revokes the invite of a device; false if there is none.
    fn revoke_invite(&mut self, auth: &AuthHash) -> Result<bool, StoreError>;

    /// Revokes all remaining open seats and returns their number.
    fn revoke_openings(&mut self) -> Result<u64, StoreError>;

    /// Disables or enables an account; false if there is none with this number.
    fn set_access(&mut self, number: AccountNumber, access: Access) -> Result<bool, StoreError>;

    /// Deletes an account with its btoken; false if there is none with this number.
    fn delete_account(&mut self, number: AccountNumber) -> Result<bool, StoreError>;

    /// Gives an account a note; an empty one removes it. False if there is no such account.
    fn set_note(&mut self, number: AccountNumber, note: &str) -> Result<bool, StoreError>;

    /// Gives an account a limit of its own, or takes it away. False if there is no such account.
    fn set_limit(&mut self, number: AccountNumber, limit: Option<u32>) -> Result<bool, StoreError>;

    /// Deletes accounts that were made before this time, and neither updated after their first day
    /// nor used since. Accounts that are disabled or have a note stay. Each transaction deletes a
    /// part, so that a server waits only for a moment.
    fn prune(&mut self, before: i64) -> Result<Sum, StoreError>;

    /// Sets times of accounts that are later than now to now, and returns the number of accounts.
    fn correct_times(&mut self) -> Result<u64, StoreError>;

    /// Imports accounts of another server, and says for each whether it is new here. An existing
    /// account is left as it is.
    ///
    /// # Errors
    /// The store failed, and no account was imported.
    fn import(&mut self, accounts: &[ForeignAccount]) -> Result<Vec<bool>, StoreError>;
}

/// Who changes a store, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Seconds since 1970.
    pub at: i64,
    /// The number of the user.
    pub uid: u32,
    /// The name of the user, if it is known.
    pub user: Option<String>,
    /// The user who called sudo, as sudo says.
    pub sudo_uid: Option<u32>,
}

/// What an operator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    AccountDisable,
    AccountEnable,
    AccountDelete,
    AccountNote,
    AccountLimit,
    AccountPrune,
    AccountCorrectTimes,
    InviteAdd,
    InviteOpen,
    InviteRevoke,
    Backup,
    Salvage,
    Restore,
    ImportSpr,
    MigrateStore,
}

impl Action {
    /// The command, as it is typed and as the store keeps it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccountDisable => "account disable",
            Self::AccountEnable => "account enable",
            Self::AccountDelete => "account delete",
            Self::AccountNote => "account note",
            Self::AccountLimit => "account limit",
            Self::AccountPrune => "account prune",
            Self::AccountCorrectTimes => "account correct-times",
            Self::InviteAdd => "invite add",
            Self::InviteOpen => "invite open",
            Self::InviteRevoke => "invite revoke",
            Self::Backup => "backup",
            Self::Salvage => "backup --salvage",
            Self::Restore => "restore",
            Self::ImportSpr => "import-spr",
            Self::MigrateStore => "migrate-store",
        }
    }
}

/// A recorded action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// A later record has a higher number.
    pub id: i64,
    pub actor: Actor,
    /// The name of an [`Action`], maybe of a later version of this program.
    pub action: String,
    pub account: Option<AccountNumber>,
    /// More about it; names no account. Empty if there is no more.
    pub detail: String,
}

/// Why an action is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrecorded {
    /// The schema is older than the record of actions.
    OlderSchema,
    /// The record is damaged.
    Damaged,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub number: AccountNumber,
    /// The length of the btoken in bytes.
    pub btoken_len: u64,
    pub created_at: i64,
    /// When the btoken was stored last.
    pub changed_at: i64,
    /// The begin of the day of the last exchange, if it is known.
    pub synced_at: Option<i64>,
    pub is_disabled: bool,
    /// The longest btoken that the account may store, in bytes, if it has a limit of its own.
    pub limit: Option<u32>,
    /// The operator's note; empty if there is none.
    pub note: String,
}

impl Account {
    /// An account that is used is updated after this time, in seconds.
    pub(crate) const FIRST_DAY: i64 = DAY;

    /// Whether the account was updated after its first day.
    #[must_use]
    pub fn is_updated(&self) -> bool {
        self.changed_at >= self.created_at.saturating_add(Self::FIRST_DAY)
    }
}

/// Accounts that nobody seems to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unused {
    pub sum: Sum,
    /// Since when the store knows which accounts are synced. It calls no account unused that may
    /// have been synced before.
    pub known_since: i64,
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
