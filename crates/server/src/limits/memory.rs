//! The memory that btokens in flight may take, over all connections.
//!
//! It is leased before it is used, and who cannot have it is told at once: waiting for memory that
//! strangers hold would let them decide how long. New accounts, which anybody may ask for, get a
//! quarter at most, and one account gets a small part, however many connections it opens: whoever
//! has an account is still a stranger to all others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use passmate_proto::AccountNumber;

/// Which part of the memory a lease is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An upload by somebody who has no account yet: all of these get a quarter at most.
    Create,
    /// Traffic of a client that has authenticated for this account: all of it together gets
    /// [`account_max`] at most.
    Known(AccountNumber),
}

/// What one account may lease of `max` bytes: four of the longest btokens or a sixteenth, whichever
/// is more, but never more than half.
///
/// Half of the least memory that the configuration takes is two of the longest btokens, one on its
/// way in and one on its way out.
#[must_use]
pub fn account_max(max: u64, btoken_len_max: u32) -> u64 {
    (4 * u64::from(btoken_len_max)).max(max / 16).min(max / 2)
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
    account_max: AtomicU64,
    all: AtomicU64,
    creates: AtomicU64,
    /// What each account has leased. One without a lease is not in it, so it is no larger than
    /// there are leases.
    accounts: Mutex<HashMap<AccountNumber, u64>>,
}

impl MemoryBudget {
    /// So many bytes for all leases together, for btokens of up to that length.
    #[must_use]
    pub fn new(max: u64, btoken_len_max: u32) -> Self {
        Self(Arc::new(Counters {
            max: AtomicU64::new(max),
            account_max: AtomicU64::new(account_max(max, btoken_len_max)),
            all: AtomicU64::new(0),
            creates: AtomicU64::new(0),
            accounts: Mutex::default(),
        }))
    }

    /// Changes the limits; leases that are there stay.
    pub fn set_max(&self, max: u64, btoken_len_max: u32) {
        self.0.max.store(max, Ordering::Relaxed);
        self.0
            .account_max
            .store(account_max(max, btoken_len_max), Ordering::Relaxed);
    }

    /// A lease of nothing yet.
    #[must_use]
    pub fn lease(&self, kind: Kind) -> Lease {
        Lease {
            budget: self.clone(),
            kind,
            held: 0,
        }
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
        let Some(more) = wanted.checked_sub(self.held).filter(|more| *more > 0) else {
            return Ok(());
        };
        let counters = &*self.budget.0;
        let max = counters.max.load(Ordering::Relaxed);
        counters.take_part(self.kind, more)?;
        if let Err(full) = take(&counters.all, more, max) {
            counters.give_part(self.kind, more);
            return Err(full);
        }
        self.held = wanted;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.held > 0 {
            let counters = &*self.budget.0;
            counters.all.fetch_sub(self.held, Ordering::Relaxed);
            counters.give_part(self.kind, self.held);
        }
    }
}

impl Counters {
    /// Takes from the part that this kind of lease may have.
    fn take_part(&self, kind: Kind, more: u64) -> Result<(), MemoryFull> {
        match kind {
            Kind::Create => take(&self.creates, more, self.max.load(Ordering::Relaxed) / 4),
            Kind::Known(account) => {
                let mut accounts = self.accounts();
                let used = accounts.get(&account).copied().unwrap_or(0);
                let account_max = self.account_max.load(Ordering::Relaxed);
                let sum = used
                    .checked_add(more)
                    .filter(|sum| *sum <= account_max)
                    .ok_or(MemoryFull)?;
                accounts.insert(account, sum);
                Ok(())
            }
        }
    }

    fn give_part(&self, kind: Kind, less: u64) {
        match kind {
            Kind::Create => {
                self.creates.fetch_sub(less, Ordering::Relaxed);
            }
            Kind::Known(account) => {
                let mut accounts = self.accounts();
                match accounts.get_mut(&account) {
                    Some(used) if *used > less => *used -= less,
                    _ => drop(accounts.remove(&account)),
                }
            }
        }
    }

    /// The map is whole at every moment, so a panic elsewhere does not make it useless.
    fn accounts(&self) -> MutexGuard<'_, HashMap<AccountNumber, u64>> {
        self.accounts.lock()
    }
}

fn take(counter: &AtomicU64, more: u64, max: u64) -> Result<(), MemoryFull> {
    let grown = |used: u64| used.checked_add(more).filter(|sum| *sum <= max);
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
        .map(drop)
        .map_err(|_| MemoryFull)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(account: u8) -> Kind {
        Kind::Known(AccountNumber::from_bytes([account; 8]).unwrap())
    }

    #[test]
    fn creates_get_a_quarter_and_known_devices_the_rest() {
        let budget = MemoryBudget::new(100, 20);
        let mut stranger = budget.lease(Kind::Create);
        stranger.grow_to(20).unwrap();
        let mut second = budget.lease(Kind::Create);
        assert_eq!(second.grow_to(6), Err(MemoryFull));
        second.grow_to(5).unwrap();
        let mut one = budget.lease(known(1));
        one.grow_to(50).unwrap();
        let mut other = budget.lease(known(2));
        assert_eq!(other.grow_to(26), Err(MemoryFull));
        other.grow_to(25).unwrap();
        assert_eq!(budget.leased(), 100);
        drop((stranger, second, one, other));
        assert_eq!(budget.leased(), 0);
        budget.lease(Kind::Create).grow_to(25).unwrap();
    }

    #[test]
    fn all_leases_of_one_account_together_get_its_part_and_others_are_not_touched() {
        let budget = MemoryBudget::new(1000, 20);
        let mut leases: Vec<_> = (0..10).map(|_| budget.lease(known(1))).collect();
        let got = leases
            .iter_mut()
            .map(|lease| lease.grow_to(20))
            .filter(Result::is_ok)
            .count();
        assert_eq!(got, 4);
        let mut other = budget.lease(known(2));
        other.grow_to(80).unwrap();
        assert_eq!(budget.leased(), 160);
        leases.remove(0);
        leases.last_mut().unwrap().grow_to(20).unwrap();
        assert_eq!(leases.last_mut().unwrap().grow_to(21), Err(MemoryFull));
        drop((leases, other));
        assert!(
            budget.0.accounts().is_empty(),
            "an account without a lease is forgotten"
        );
    }

    #[test]
    fn the_part_of_an_account_is_four_btokens_or_a_sixteenth_and_never_more_than_half() {
        let mib = 1 << 20;
        assert_eq!(account_max(256 * mib, 2 << 20), 16 * mib);
        assert_eq!(account_max(64 * mib, 2 << 20), 8 * mib);
        assert_eq!(account_max(8 * mib, 2 << 20), 4 * mib);
    }

    #[test]
    fn a_refused_lease_leaves_no_trace() {
        let budget = MemoryBudget::new(100, 20);
        let mut leases = [budget.lease(known(1)), budget.lease(known(2))];
        leases
            .iter_mut()
            .for_each(|lease| lease.grow_to(45).unwrap());
        let mut stranger = budget.lease(Kind::Create);
        assert_eq!(stranger.grow_to(20), Err(MemoryFull));
        assert_eq!(budget.lease(known(3)).grow_to(20), Err(MemoryFull));
        drop(leases);
        stranger.grow_to(25).unwrap();
        assert_eq!(budget.lease(known(3)).grow_to(usize::MAX), Err(MemoryFull));
        assert_eq!(budget.leased(), 25);
        assert!(budget.0.accounts().is_empty());
    }

    #[test]
    fn growing_is_counted_once_and_shrinking_not_at_all() {
        let budget = MemoryBudget::new(100, 20);
        let mut lease = budget.lease(known(1));
        for bytes in [10, 30, 30, 5, 50] {
            lease.grow_to(bytes).unwrap();
        }
        assert_eq!(budget.leased(), 50);
        budget.set_max(20, 20);
        lease.grow_to(50).unwrap();
        assert_eq!(lease.grow_to(51), Err(MemoryFull));
    }
}
