//! The memory that btokens in flight may take, over all connections.
//!
//! It is leased before it is used, and who cannot have it is told at once: waiting for memory that
//! strangers hold would let them decide how long. New accounts, which anybody may ask for, get a
//! quarter at most, so strangers cannot keep a known device out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which part of the memory a lease is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An upload by somebody who has no account yet: all of these get a quarter at most.
    Create,
    /// Traffic of a client that has authenticated.
    Known,
}

/// There is not that much left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory is left for this btoken")]
pub struct MemoryFull;

/// Counts what is leased; clones count together.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    max: AtomicU64,
    all: AtomicU64,
    creates: AtomicU64,
}

impl MemoryBudget {
    /// So many bytes for all leases together.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self(Arc::new(Counters { max: AtomicU64::new(max), all: AtomicU64::new(0), creates: AtomicU64::new(0) }))
    }

    /// Changes the limit; leases that are there stay.
    pub fn set_max(&self, max: u64) {
        self.0.max.store(max, Ordering::Relaxed);
    }

    /// A lease of nothing yet.
    #[must_use]
    pub fn lease(&self, kind: Kind) -> Lease {
        Lease { budget: self.clone(), kind, held: 0 }
    }

    /// Bytes that are leased now.
    #[must_use]
    pub fn leased(&self) -> u64 {
        self.0.all.load(Ordering::Relaxed)
    }
}

/// Memory that somebody may use; dropping it gives it back.
#[derive(Debug)]
pub struct Lease {
    budget: MemoryBudget,
    kind: Kind,
    held: u64,
}

impl Lease {
    /// Makes it at least so many bytes.
    ///
    /// # Errors
    /// [`MemoryFull`]: it stays as it was.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), MemoryFull> {
        let wanted = u64::try_from(bytes).map_err(|_| MemoryFull)?;
        let Some(more) = wanted.checked_sub(self.held).filter(|more| *more > 0) else { return Ok(()) };
        let counters = &*self.budget.0;
        let max = counters.max.load(Ordering::Relaxed);
        if self.kind == Kind::Create {
            take(&counters.creates, more, max / 4)?;
        }
        if let Err(full) = take(&counters.all, more, max) {
            if self.kind == Kind::Create {
                counters.creates.fetch_sub(more, Ordering::Relaxed);
            }
            return Err(full);
        }
        self.held = wanted;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let counters = &*self.budget.0;
        counters.all.fetch_sub(self.held, Ordering::Relaxed);
        if self.kind == Kind::Create {
            counters.creates.fetch_sub(self.held, Ordering::Relaxed);
        }
    }
}

fn take(counter: &AtomicU64, more: u64, max: u64) -> Result<(), MemoryFull> {
    let grown = |used: u64| used.checked_add(more).filter(|sum| *sum <= max);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).map(drop).map_err(|_| MemoryFull)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn creates_get_a_quarter_and_known_devices_the_rest() {
        let budget = MemoryBudget::new(100);
        let mut stranger = budget.lease(Kind::Create);
        stranger.grow_to(20).unwrap();
        let mut second = budget.lease(Kind::Create);
        assert_eq!(second.grow_to(6), Err(MemoryFull));
        second.grow_to(5).unwrap();
        let mut known = budget.lease(Kind::Known);
        known.grow_to(75).unwrap();
        assert_eq!(known.grow_to(76), Err(MemoryFull));
        assert_eq!(budget.leased(), 100);
        drop((stranger, second, known));
        assert_eq!(budget.leased(), 0);
        budget.lease(Kind::Create).grow_to(25).unwrap();
    }

    #[test]
    fn a_refused_lease_leaves_no_trace() {
        let budget = MemoryBudget::new(100);
        let mut known = budget.lease(Kind::Known);
        known.grow_to(90).unwrap();
        let mut stranger = budget.lease(Kind::Create);
        assert_eq!(stranger.grow_to(20), Err(MemoryFull));
        drop(known);
        stranger.grow_to(25).unwrap();
        assert_eq!(budget.lease(Kind::Known).grow_to(usize::MAX), Err(MemoryFull));
        assert_eq!(budget.leased(), 25);
    }

    #[test]
    fn growing_is_counted_once_and_shrinking_not_at_all() {
        let budget = MemoryBudget::new(100);
        let mut lease = budget.lease(Kind::Known);
        for bytes in [10, 30, 30, 5, 50] {
            lease.grow_to(bytes).unwrap();
        }
        assert_eq!(budget.leased(), 50);
        budget.set_max(20);
        lease.grow_to(50).unwrap();
        assert_eq!(lease.grow_to(51), Err(MemoryFull));
    }
}
