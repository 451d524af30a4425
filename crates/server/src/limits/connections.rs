//! The number of open connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts open connections. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenConnections(Arc<AtomicUsize>);

impl OpenConnections {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A slot for one more connection; none if `max` are taken.
    pub(crate) fn take(&self, max: usize) -> Option<ConnectionSlot> {
        let more = |open| if open < max { Some(open + 1) } else { None };
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()?;
        Some(ConnectionSlot(Arc::clone(&self.0)))
    }
}

/// One of the connections that may be open. Dropping it frees the slot, also after a panic.
#[derive(Debug)]
pub(crate) struct ConnectionSlot(Arc<AtomicUsize>);

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_slot_is_free_again() {
        let open = OpenConnections::default();
        let (first, second) = (open.take(2).unwrap(), open.take(2).unwrap());
        assert!(open.take(2).is_none());
        drop(first);
        assert_eq!(open.count(), 1);
        let _third = open.take(2).unwrap();
        drop(second);
        assert_eq!(open.count(), 1);
    }
}
