//! What a person says about a sync beforehand.

use crate::held::HeldBack;
use passmate_vault::Shape;
use serde::{Deserialize, Serialize};

/// What a person says about a sync beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// What is held back until a person agrees.
    pub policy: Policy,
    /// Overwrites what cannot be opened on the server with what this device has.
    pub replace_remote: bool,
    /// What is saved belongs to the previous save: the copy that is kept is from before both.
    pub continued: bool,
}

/// When a sync alters so much that a person must agree first, and what they said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// At least this many records are altered.
    pub records: usize,
    /// And more than this percentage of those that are seen.
    pub percent: usize,
    /// How much the server accepts, if there is a server.
    pub room: Option<Room>,
    /// What a person said.
    pub decision: Decision,
}

/// What a person said about what is held back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Decision {
    /// Nothing yet.
    #[default]
    Ask,
    /// Agreed to this, and to anything that is a part of it.
    Agree(Box<HeldBack>),
    /// Agreed to everything beforehand. What takes a [guard](passmate_vault::guard) is held back all
    /// the same: it wants a person who saw it.
    AgreeToAll,
    /// Nothing: the changes are looked at, as if they were agreed to, and not kept.
    Preview,
    /// Refused this, and anything that is a part of it, for good.
    Refuse(Box<HeldBack>),
    /// Refused everything, for good.
    RefuseAll,
}

/// How much a server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The longest btoken, in bytes, without its roll call.
    pub btoken_len_max: usize,
    /// The form in which the account's btoken is written.
    pub shape: Shape,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            records: 10,
            percent: 20,
            room: None,
            decision: Decision::Ask,
        }
    }
}

impl Policy {
    /// Whether a person must agree when this many records are altered, of those that are seen.
    #[must_use]
    pub const fn is_too_much(&self, altered: usize, of: usize) -> bool {
        altered >= self.records && altered.saturating_mul(100) > of.saturating_mul(self.percent)
    }
}

/// Why an account is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// For a new key, or a shorter history. What the old account has comes along.
    Renewal,
    /// A device was lost or stolen. The old account is not read, only deleted.
    Loss,
}
