//! A server that returned older data.

use serde::{Deserialize, Serialize};

/// Changes that a server had and returned no longer. This vault has them, and the sync that found
/// it out stored them there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// Changes that this device had seen on the server and that were gone.
    pub changes: usize,
    /// The times of the first and the last of them, in seconds since 1970.
    pub times: Option<(i64, i64)>,
}
