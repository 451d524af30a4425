//! How many clients of a socket are served at once. One too many waits where the system keeps it
//! until another one leaves.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The most clients of a socket at once.
pub const CLIENTS_MAX: usize = 128;
/// How often it is looked whether the agent has ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The rights to be served.
#[derive(Default)]
pub(super) struct Slots {
    taken: Mutex<usize>,
    freed: Condvar,
}

/// The right of one client to be served.
pub(super) struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.taken.lock() -= 1;
        self.0.freed.notify_one();
    }
}

impl Slots {
    /// Waits for a slot; `None` if the agent ends meanwhile.
    pub(super) fn take(self: &Arc<Self>, is_ended: impl Fn() -> bool) -> Option<Slot> {
        let mut taken = self.taken.lock();
        while *taken >= CLIENTS_MAX && !is_ended() {
            self.freed.wait_for(&mut taken, LOOK_EVERY);
        }
        if is_ended() {
            return None;
        }
        *taken += 1;
        Some(Slot(Arc::clone(self)))
    }
}
