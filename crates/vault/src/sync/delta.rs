//! The changes that one sync exchanged.

use super::seen::SeenChanges;

/// The changes that one sync received and sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    /// When it was, in seconds since 1970.
    pub time: i64,
    /// Changes that came from the server or the shared folder.
    pub received: SeenChanges,
    /// Changes that went there.
    pub sent: SeenChanges,
}

impl Delta {
    /// True if it neither received nor sent a change.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty() && self.sent.is_empty()
    }
}
