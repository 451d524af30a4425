//! Where accounts are kept. The rules for every engine:
//!
//!  - **Durable before told.** [`Engine::commit`] returns `Ok` only when all of the batch would
//!    survive a power cut at that moment. From that, and only here, a [`Committed`] is made.
//!  - **One transaction a batch.** Either all changes of a batch took place, or none.
//!  - **Compare and write are one step.** A btoken is replaced only while the hash that the writer
//!    saw is still the hash of what is stored, whoever else writes, on this node or another.
//!  - **Nothing is revived.** A change to an account that is not there, or is disabled, changes
//!    nothing.
//!  - **Who fails says how.** [`EngineError::Full`] and [`EngineError::Busy`] promise that nothing
//!    of the batch took place; after [`EngineError::Failed`] nobody can say, and the process must
//!    end.
//!  - **No clock, no randomness.** Both are passed in, so a simulation runs an engine inline.
//!
//! [`suite`](self) holds each engine to this. [`Store`] puts an engine on a thread of its own.

mod error;
mod handle;
mod in_place;
mod operator;
mod sqlite;
#[cfg(test)]
mod suite;
mod writer;

use std::fmt;
use std::sync::Arc;

use passmate_proto::{AccountNumber, AuthToken, RequestCode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

#[cfg(test)]
pub(crate) use sqlite::make_first_schema;

pub use error::{EngineError, StoreError};
pub use handle::{Commits, Expected, Store};
pub use operator::{Account, ForeignAccount, Invite, Opening, Sum};
pub(crate) use sqlite::lock_file;
pub use sqlite::{AdminStore, ClosedStore, Sqlite, SqliteReader};

/// The receipt for a change that is durable. A clean close of a connection requires one.
#[derive(Debug)]
pub struct Committed(());

impl Committed {
    fn new() -> Self {
        Self(())
    }
}

/// SHA-256 of an auth token.
///
/// A hash is kept, never the token: whoever steals the database must not be able to write to
/// accounts.
#[derive(Clone, Copy)]
pub struct AuthHash([u8; 32]);

impl AuthHash {
    /// The hash that a request code names.
    #[must_use]
    pub fn of_code(code: &RequestCode) -> Self {
        Self(*code.hash())
    }

    /// The hash of this token.
    #[must_use]
    pub fn of(token: &AuthToken) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// The code that names it.
    #[must_use]
    pub fn code(&self) -> RequestCode {
        RequestCode::from_hash(self.0)
    }

    /// What the hash of a client without an account is compared with.
    pub(crate) const fn none() -> Self {
        Self([0; 32])
    }

    /// Whether both are equal, in a time that does not depend on where they differ.
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

/// SHA-256 of a btoken: what a writer has seen, and what a comparison decides on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BtokenHash([u8; 32]);

impl BtokenHash {
    /// The hash of this btoken.
    #[must_use]
    pub fn of(btoken: &[u8]) -> Self {
        Self(Sha256::digest(btoken).into())
    }
}

/// A btoken on its way into the store, with its hash: computed once, by whoever brings it, so that
/// the one thread that writes does not spend its time on it.
pub struct Btoken {
    bytes: Vec<u8>,
    hash: BtokenHash,
}

impl Btoken {
    /// Takes the bytes and hashes them.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            hash: BtokenHash::of(&bytes),
            bytes,
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their hash.
    #[must_use]
    pub fn hash(&self) -> BtokenHash {
        self.hash
    }
}

impl fmt::Debug for Btoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Btoken({} bytes)", self.bytes.len())
    }
}

/// What is known of an account without its btoken.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// What its auth token is compared with.
    pub auth: AuthHash,
    /// The hash of its btoken.
    pub btoken: BtokenHash,
    /// The length of its btoken in bytes.
    pub btoken_len: u64,
    /// Whether its operator lets nobody use it.
    pub is_disabled: bool,
}

/// A btoken as it was stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The bytes.
    pub btoken: Arc<[u8]>,
    /// Their hash, which has been checked.
    pub hash: BtokenHash,
}

/// One change that is asked of an engine.
#[derive(Debug)]
pub enum Change {
    /// Makes an account, if `admission` lets its owner in.
    ///
    /// An owner who was let in and asks again with the same token before the first replacement gets
    /// the same account, with the new btoken: their device did not hear the answer.
    Create {
        /// Its number, drawn at random.
        account: AccountNumber,
        /// Opens it from now on.
        auth: AuthHash,
        /// What is stored there.
        btoken: Btoken,
        /// No account is made if there are that many.
        accounts_max: u64,
        /// Who may.
        admission: Admission,
        /// Seconds since 1970.
        at: i64,
    },
    /// Replaces the btoken if `expected` is still the hash of what is stored.
    ReplaceIf {
        /// Whose.
        account: AccountNumber,
        /// The hash of what the writer has read.
        expected: BtokenHash,
        /// What is to be stored.
        btoken: Btoken,
        /// Seconds since 1970.
        at: i64,
    },
    /// Deletes an account with its btoken, if it is still the one with this token.
    Delete {
        /// Which.
        account: AccountNumber,
        /// As it was when its client authenticated.
        auth: AuthHash,
    },
    /// Writes what is there already: whether the disk takes a commit.
    Probe,
    /// Forgets invites and open seats whose time is over.
    Expire {
        /// Seconds since 1970.
        at: i64,
    },
}

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Whoever comes.
    Anyone,
    /// Whoever has an invite for their auth token, which is used up, or finds an open seat, which
    /// is taken.
    Invited,
}

/// What became of one change. All of these are answers, not errors; one that is neither
/// [`Done`](Self::Done) nor [`Again`](Self::Again) changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It took place.
    Done,
    /// Create: it took place in the account that this auth token made before and has not used yet.
    Again(AccountNumber),
    /// Create: an account has that number already; draw another.
    NumberTaken,
    /// Create: there are as many accounts as there may be.
    AccountsMax,
    /// Create: neither an invite nor an open seat.
    NotInvited,
    /// Replace: another device was faster, or the account is gone; fetch, merge and try again.
    Stale,
    /// Delete: no such account.
    Gone,
}

/// Keeps accounts; see the rules at the head of this module.
pub trait Engine: Send + 'static {
    /// Reads beside the engine, from any thread.
    type Reader: Reader;

    /// Another reader.
    ///
    /// # Errors
    /// What keeps it from being opened.
    fn reader(&self) -> Result<Self::Reader, EngineError>;

    /// Makes all changes in one transaction; the outcomes are in the order of the changes. A change
    /// whose outcome says so changed nothing, and does not keep the others from taking place. A
    /// later change of a batch sees what an earlier one did.
    ///
    /// # Errors
    /// None of the changes took place, or nobody knows: see [`EngineError`].
    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, EngineError>;

    /// Removes what was deleted or replaced from all that the engine keeps. It is called when
    /// nothing is to be committed, and now and then when there always is, so it takes a moment at
    /// most.
    ///
    /// # Errors
    /// [`EngineError::Busy`] and [`EngineError::Full`]: not now; it is called again. Others as in
    /// [`commit`](Self::commit).
    fn tidy(&mut self) -> Result<(), EngineError>;
}

/// Reads what was committed.
pub trait Reader: Send + 'static {
    /// What is known of an account without reading its btoken. It takes as long whether there is
    /// one or not.
    ///
    /// # Errors
    /// The read failed.
    fn read_head(&mut self, account: &[u8; 8]) -> Result<Option<Head>, EngineError>;

    /// The btoken of an account, with its hash checked.
    ///
    /// # Errors
    /// The read failed, or what is there is not what was stored: then it is not given away.
    fn read(&mut self, account: AccountNumber) -> Result<Option<Stored>, EngineError>;
}
