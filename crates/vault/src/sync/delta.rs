//! The changes that one sync exchanged.

use super::seen::SeenChanges;
use serde::{Deserialize, Serialize};

/// The changes that one sync received and sent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
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

    /// Adds changes that came at this time.
    pub fn note_received(&mut self, received: &SeenChanges, time: i64) {
        note(&mut self.received, received, &mut self.time, time);
    }

    /// Adds changes that went at this time.
    pub fn note_sent(&mut self, sent: &SeenChanges, time: i64) {
        note(&mut self.sent, sent, &mut self.time, time);
    }
}

/// A sync has the time of the last change that it exchanged.
fn note(ours: &mut SeenChanges, new: &SeenChanges, last: &mut i64, time: i64) {
    if !new.is_empty() {
        ours.merge(new);
        *last = time;
    }
}
