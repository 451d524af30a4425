//! What an operator sees and does of a store.

use passmate_proto::{AccountNumber, AuthToken};

use super::AuthHash;

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
