//! Where accounts are stored: the contract of a storage engine. Its rules are:
//!
//!  - **Durable before confirmed.** [`Engine::commit`] returns `Ok` only when the whole batch
//!    would survive a power cut at that moment. Only then, and only in this room, is a
//!    [`Committed`] made.
//!  - **One transaction a batch.** Either all changes of a batch take place, or none.
//!  - **Compare and write are one step.** A btoken is replaced only while its revision is still the
//!    one that the writer saw, whoever else writes, on this machine or another. No two commits have
//!    the same revision, also not after a restore or a failover.
//!  - **Nothing is revived.** A change to an account that does not exist, or is disabled, changes
//!    nothing.
//!  - **A failure says what it left behind.** After [`EngineError::Full`], [`EngineError::Busy`],
//!    [`EngineError::Damaged`] and [`EngineError::Unavailable`], nothing of the batch took place.
//!    After [`EngineError::Failed`] the state of the disk is unknown; after it and
//!    [`EngineError::Moved`] the process must end. [`Outcome::Unknown`] is for an engine behind a
//!    network: the change may have taken place, and nobody is told that it did.
//!  - **Waits are bounded.** An engine behind a network gives up by itself, and works again without
//!    a restart when the database does.
//!  - **Damage refuses itself.** A row that cannot be read fails the changes that need it, and no
//!    others.
//!  - **No clock, no randomness.** Both are arguments, so that a simulation can run an engine
//!    inline.
//!
//! `suite` holds every engine to these rules, and `operator_suite` every [`Operator`]. [`Store`]
//! runs an engine on threads of its own. [`StoreUrl`] is the only place that names the engines.

mod error;
mod handle;
mod in_place;
mod operator;
#[cfg(test)]
mod operator_suite;
mod postgres;
mod readers;
mod sqlite;
#[cfg(test)]
mod suite;
pub(crate) mod transfer;
mod url;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crc_fast::{CrcAlgorithm, checksum};
use passmate_proto::{AccountNumber, AuthToken, RequestCode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

#[cfg(test)]
pub(crate) use sqlite::make_first_schema;

pub use error::{EngineError, StoreError};
pub use handle::{Commits, Expected, Store};
pub use operator::{
    Access, Account, Action, Actor, Audited, ForeignAccount, Inspector, Invite, OfflineStore,
    Opening, Operator, Sum, Unrecorded, Unused,
};
pub use postgres::{Postgres, PostgresReader, PostgresUrl};
pub(crate) use sqlite::schema_newest;
pub use sqlite::{Sqlite, SqliteReader};
pub use transfer::{AccountRow, WholeAccount};
pub use url::{BadStoreUrl, StoreUrl};

/// The proof that a change is durable. A clean close of a connection requires one.
#[derive(Debug)]
pub struct Committed(());

/// SHA-256 of an auth token.
///
/// The server stores the hash and never the token, so that a stolen database gives no write access
/// to accounts.
#[derive(Clone, Copy)]
pub struct AuthHash([u8; 32]);

impl AuthHash {
    /// The hash that a request code names.
    #[must_use]
    pub fn of_code(code: &RequestCode) -> Self {
        Self(*code.hash())
    }

    #[must_use]
    pub fn of(token: &AuthToken) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// The request code that names this hash.
    #[must_use]
    pub fn code(&self) -> RequestCode {
        RequestCode::from_hash(self.0)
    }

    /// A stand-in for the stored hash where there is no account to compare with.
    pub(crate) const fn none() -> Self {
        Self([0; 32])
    }

    /// Compares in a time that does not depend on where the hashes differ.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for AuthHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthHash([redacted])")
    }
}

/// Names one commit of a btoken: 16 random bytes. A replacement names the revision that it replaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revision([u8; 16]);

impl Revision {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// One that depends on nothing but the btoken, for tests that say what they expect.
    #[cfg(test)]
    pub(crate) fn of(btoken: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(btoken).into();
        Self(*digest.first_chunk().unwrap())
    }
}

/// CRC-64/NVME of a btoken: it finds bytes that a disk has changed. Nothing protects it against
/// somebody who can write to the store; what a client gets is authenticated by its own key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Checksum(u64);

impl Checksum {
    fn of(btoken: &[u8]) -> Self {
        Self(checksum(CrcAlgorithm::Crc64Nvme, btoken))
    }
}

/// A btoken on its way into the store, with its revision and checksum. The caller computes the
/// checksum, so that the single writer thread does not have to.
pub struct Btoken {
    bytes: Vec<u8>,
    revision: Revision,
    checksum: Checksum,
    /// Dropped with the bytes.
    _held: Option<Box<dyn Send + Sync>>,
}

impl Btoken {
    /// A btoken that is stored under this revision.
    #[must_use]
    pub fn new(bytes: Vec<u8>, revision: Revision) -> Self {
        Self {
            revision,
            checksum: Checksum::of(&bytes),
            bytes,
            _held: None,
        }
    }

    /// A btoken under the revision that depends on nothing but its bytes.
    #[cfg(test)]
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let revision = Revision::of(&bytes);
        Self::new(bytes, revision)
    }

    /// Keeps something for as long as the bytes are in memory, such as the lease for it: a client may
    /// leave while its btoken waits for the disk.
    #[must_use]
    pub fn holding(self, held: impl Send + Sync + 'static) -> Self {
        Self {
            _held: Some(Box::new(held)),
            ..self
        }
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }
}

impl fmt::Debug for Btoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Btoken({} bytes)", self.bytes.len())
    }
}

/// What the store knows about an account, without the btoken itself.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub auth: AuthHash,
    pub revision: Revision,
    /// The length of the btoken in bytes.
    pub btoken_len: u64,
    /// The operator has disabled the account.
    pub is_disabled: bool,
    /// The begin of the day of the last exchange, in seconds since 1970, if it is known.
    pub synced_at: Option<i64>,
    /// The longest btoken that the account may store, in bytes, if it has a limit of its own.
    pub limit: Option<u32>,
}

/// A btoken as it was stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub btoken: Arc<[u8]>,
    /// Its revision.
    pub revision: Revision,
}

/// One change for an engine to make. Times (`at`) are in seconds since 1970.
#[derive(Debug)]
pub enum Change {
    /// Makes an account, if `admission` allows it.
    ///
    /// An invited client that repeats the request with the same auth token before its first
    /// replacement gets the same account, with the new btoken: it did not receive the first
    /// answer.
    Create {
        /// The account number, drawn at random.
        account: AccountNumber,
        auth: AuthHash,
        btoken: Btoken,
        /// The change is refused if the store holds this many accounts.
        accounts_max: u64,
        admission: Admission,
        at: i64,
    },
    /// Replaces the btoken if `expected` is still the revision of the stored one.
    ReplaceIf {
        account: AccountNumber,
        expected: Revision,
        btoken: Btoken,
        at: i64,
    },
    /// Deletes an account with its btoken, if the account still has this auth token.
    Delete {
        account: AccountNumber,
        auth: AuthHash,
    },
    /// Rewrites an unchanged value, to find out whether the disk accepts a commit.
    Probe,
    /// Removes invites and open seats that have expired.
    Expire { at: i64 },
}

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Anyone,
    /// Clients with an invite for their auth token, which is used up, and others while there are
    /// open seats, of which they take one.
    Invited,
}

/// The outcome of [`Change::Create`]. All variants are answers, not errors; only `Done` changed
/// anything.
///
/// `P` is the proof that the change is durable: an engine has none to give, [`Store`] adds
/// [`Committed`].
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created<P = ()> {
    /// The account with this number holds the btoken: the account asked for, or the one that the
    /// same auth token made before.
    Done(AccountNumber, P),
    /// Another account has this number; draw a new one.
    NumberTaken,
    /// The store holds as many accounts as it may.
    AccountsMax,
    /// There is neither an invite nor an open seat.
    NotInvited,
}

/// The outcome of [`Change::ReplaceIf`].
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced<P = ()> {
    Done(P),
    /// Another device was faster, or the account is gone. Nothing changed.
    Stale,
}

/// The outcome of [`Change::Delete`].
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted<P = ()> {
    Done(P),
    /// There is no such account with this auth token.
    Gone,
}

/// The outcome of one change of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Created(Created),
    Replaced(Replaced),
    Deleted(Deleted),
    /// A probe or an expiry, which always take place.
    Done,
    /// The engine cannot find out whether the change took place.
    Unknown,
}

impl Outcome {
    /// Whether this kind of outcome belongs to that kind of change.
    fn is_answer_to(&self, change: &Change) -> bool {
        matches!(
            (self, change),
            (Self::Created(_), Change::Create { .. })
                | (Self::Replaced(_), Change::ReplaceIf { .. })
                | (Self::Deleted(_), Change::Delete { .. })
                | (Self::Done, Change::Probe | Change::Expire { .. })
                | (Self::Unknown, _)
        )
    }
}

/// A storage engine; the module documentation has its rules.
pub trait Engine: Send + 'static {
    /// Reads beside the engine, from any thread.
    type Reader: Reader;

    /// The number of reads at the same time.
    const READERS: usize = 4;
    /// Whether most reads come from the memory of this process, so that passing them to another
    /// thread would cost more than they do.
    const READS_FROM_MEMORY: bool = true;

    /// Opens a reader.
    fn reader(&self) -> Result<Self::Reader, EngineError>;

    /// More engines for the same store, whose commits do not wait for each other. Each gets a
    /// thread of its own.
    fn more_writers(&self) -> Vec<Self>
    where
        Self: Sized,
    {
        Vec::new()
    }

    /// How long one step of a thread may take before the thread counts as hanging, where that is more
    /// than the caller's own limit.
    fn step_time_max(&self) -> Duration {
        Duration::ZERO
    }

    /// Set as long as the store cannot be reached at all, if that can happen.
    fn outage(&self) -> Option<Arc<AtomicBool>> {
        None
    }

    /// The most changes that [`commit`](Self::commit) is given at once.
    fn batch_len_max(&self) -> usize {
        usize::MAX
    }

    /// Makes all changes in one transaction. The outcomes are in the order of the changes. A change
    /// that is refused does not prevent the others, and each change sees the effect of those before
    /// it.
    ///
    /// # Errors
    /// None of the changes took place, or the state is unknown: see [`EngineError`].
    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError>;

    /// Moves what was committed to its place, if that is due. It is called after the answers of each
    /// batch were sent, so that nobody waits for it.
    ///
    /// # Errors
    /// After [`EngineError::Busy`] and [`EngineError::Full`] it is called again later. Others are
    /// as in [`commit`](Self::commit).
    fn settle(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Writes down what may be lost, in a transaction of its own. Nothing is confirmed by it.
    ///
    /// # Errors
    /// After [`EngineError::Failed`] the state of the disk is unknown, as in
    /// [`commit`](Self::commit). After others the notes are lost.
    fn write_notes(&mut self, _notes: &Notes) -> Result<(), EngineError> {
        Ok(())
    }

    /// Removes deleted and replaced bytes from all files of the engine. It is called when nothing
    /// waits to be committed, and from time to time under constant load, so it must be quick.
    ///
    /// # Errors
    /// After [`EngineError::Busy`] and [`EngineError::Full`] it is called again later. Others are
    /// as in [`commit`](Self::commit).
    fn tidy(&mut self) -> Result<(), EngineError>;
}

/// Reads what was committed.
pub trait Reader: Send + 'static {
    /// Reads what the store knows about an account, without its btoken. The time must not depend
    /// on whether the account exists.
    fn read_head(&mut self, account: &[u8; 8]) -> Result<Option<Head>, EngineError>;

    /// Reads the btoken of an account and verifies its hash.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] if the bytes do not match the stored checksum; they are not returned.
    fn read(&mut self, account: AccountNumber) -> Result<Option<Stored>, EngineError>;

    /// Reads what the store knows about an account, and also its btoken if `wants` says so. The time
    /// must not depend on whether the account exists.
    ///
    /// # Errors
    /// As [`read`](Self::read), if `wants` said so.
    fn read_if(
        &mut self,
        account: &[u8; 8],
        wants: &mut dyn FnMut(&Head) -> bool,
    ) -> Result<Option<(Head, Option<Stored>)>, EngineError> {
        let Some(head) = self.read_head(account)? else {
            return Ok(None);
        };
        let stored = match AccountNumber::from_bytes(*account) {
            Some(account) if wants(&head) => self.read(account)?,
            _ => None,
        };
        Ok(Some((head, stored)))
    }

    /// Reads what operators did, at most a hundred records after the record with this number.
    /// Without a number, after the last record that [`Notes::audit_logged`] named.
    fn read_audit(&mut self, _after: Option<i64>) -> Result<Vec<Audited>, EngineError> {
        Ok(Vec::new())
    }

    /// Opens another reader of the same store, which takes the place of this one after a panic.
    fn reopen(&self) -> Result<Box<dyn Reader>, EngineError>;
}

/// What is written down together with other work, and may be lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// When devices fetched the btokens of accounts last, in seconds since 1970.
    pub synced: HashMap<AccountNumber, i64>,
    /// All records of operators up to this one are in the log of the server.
    pub audit_logged: Option<i64>,
}
