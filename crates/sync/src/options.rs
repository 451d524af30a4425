//! What a person says about a sync beforehand.

use crate::guard::Guard;

/// What a person says about a sync beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Holds back a sync that would change too much; `None` accepts everything.
    pub guard: Option<Guard>,
    /// Overwrites what cannot be opened on the server with what this device has.
    pub replace_remote: bool,
    /// What is saved belongs to the previous save: one *undo* takes back both.
    pub continued: bool,
}
