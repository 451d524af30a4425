//! What one sync did, as a set of changes.

use super::seen::SeenChanges;

/// What one sync brought and took.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    /// When it was, in seconds since 1970.
    pub time: i64,
    /// Changes that came from the server.
    pub received: SeenChanges,
    /// Changes that the server got.
    pub sent: SeenChanges,
}

impl Delta {
    /// True if it neither brought nor took anything.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty() && self.sent.is_empty()
    }
}
