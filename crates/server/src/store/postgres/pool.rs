//! The open connections, which readers and writers share: each use borrows one and gives it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::connection::Connection;

/// After a database gave no connection, those that are open have to do for so long.
pub(super) const CROWDED_FOR: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Pool {
    /// Connections that nobody uses at the moment.
    free: Mutex<Vec<Lent>>,
    /// How many connections are open, those that are in use included.
    open: Arc<AtomicUsize>,
    /// Told when a connection is given back or closed.
    pub(super) returned: Arc<Notify>,
    /// When the database last gave no connection.
    crowded: Mutex<Option<Instant>>,
    /// Grows with each connection that is lost. Others that are older are not used again: they may lead
    /// to a primary that has stood still, and does not know that there is another one.
    generation: AtomicU64,
}

/// A connection that somebody uses.
pub(super) struct Lent {
    pub(super) connection: Connection,
    /// In which it was opened.
    generation: u64,
    _seat: Seat,
}

/// Counts an open connection until it is dropped.
struct Seat {
    open: Arc<AtomicUsize>,
    returned: Arc<Notify>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.returned.notify_one();
    }
}

impl Pool {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// No connection that is open now is borrowed again. Returns the next generation.
    pub(super) fn outdate(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Takes in a new connection, which is in use.
    pub(super) fn admit(&self, connection: Connection, generation: u64) -> Lent {
        self.open.fetch_add(1, Ordering::SeqCst);
        Lent {
            connection,
            generation,
            _seat: Seat {
                open: Arc::clone(&self.open),
                returned: Arc::clone(&self.returned),
            },
        }
    }

    /// An open connection that nobody uses. Those that are no good any more are closed.
    pub(super) fn take_free(&self) -> Option<Lent> {
        let generation = self.generation();
        let is_stale =
            |lent: &mut Lent| !lent.connection.is_usable() || lent.generation != generation;
        let mut free = self.free.lock();
        for stale in free.extract_if(.., is_stale) {
            stale.connection.cut();
        }
        free.pop()
    }

    pub(super) fn give_back(&self, lent: Lent) {
        self.free.lock().push(lent);
        self.returned.notify_one();
    }

    /// Closes the connections that nobody uses.
    pub(super) fn close_free(&self) {
        let free = std::mem::take(&mut *self.free.lock());
        free.into_iter().for_each(|lent| lent.connection.cut());
    }

    /// The database gave no connection.
    pub(super) fn note_crowded(&self) {
        *self.crowded.lock() = Some(Instant::now());
    }

    /// Whether the database has just given no connection, and there are others.
    pub(super) fn is_crowded(&self) -> bool {
        let crowded = *self.crowded.lock();
        crowded.is_some_and(|at| at.elapsed() < CROWDED_FOR) && self.has_open()
    }

    pub(super) fn has_open(&self) -> bool {
        self.open.load(Ordering::SeqCst) > 0
    }
}
