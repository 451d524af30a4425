//! The memory for btokens in flight, over all connections. The rules are:
//!  - memory is leased before it is used;
//!  - a lease that does not fit is refused at once, because a client that waits for memory depends
//!    on how long strangers hold it;
//!  - uploads of new accounts, which anyone may start, get at most a quarter together;
//!  - one account gets a small part, however many connections it opens, because an account holder
//!    is a stranger to all others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use passmate_proto::AccountNumber;

/// The part of the memory that a lease is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseKind {
    /// An upload for a new account. All of these together get at most a quarter.
    Create,
    /// Traffic of authenticated clients of this account. All of it together gets at most
    /// [`account_max`].
    Account(AccountNumber),
}

/// The bytes that one account may lease of `max`: four of the longest btokens or a sixteenth,
/// whichever is more, but never more than half.
///
/// The configuration accepts no less memory than four of the longest btokens. Half of that is two,
/// one on its way in and one on its way out.
#[must_use]
pub(crate) fn account_max(max: u64, btoken_len_max: u32) -> u64 {
    (4 * u64::from(btoken_len_max)).max(max / 16).min(max / 2)
}

/// The lease does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory is left for this btoken")]
pub(crate) struct MemoryFull;

/// Counts leased bytes. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct MemoryBudget(Arc<BudgetCounters>);

#[derive(Debug)]
struct BudgetCounters {
    max: AtomicU64,
    account_max: AtomicU64,
    all: AtomicU64,
    creates: AtomicU64,
    /// Leased bytes by account. Accounts without a lease are absent, so the map has at most as many
    /// entries as there are leases.
    accounts: Mutex<HashMap<AccountNumber, u64>>,
}

impl MemoryBudget {
    /// A budget of `max` bytes for btokens of up to `btoken_len_max` bytes.
    #[must_use]
    pub(crate) fn new(max: u64, btoken_len_max: u32) -> Self {
        Self(Arc::new(BudgetCounters {
            max: AtomicU64::new(max),
            account_max: AtomicU64::new(account_max(max, btoken_len_max)),
            all: AtomicU64::new(0),
            creates: AtomicU64::new(0),
            accounts: Mutex::default(),
        }))
    }

    /// Changes the limits. Existing leases stay.
    pub(crate) fn set_max(&self, max: u64, btoken_len_max: u32) {
        self.0.max.store(max, Ordering::Relaxed);
        self.0
            .account_max
            .store(account_max(max, btoken_len_max), Ordering::Relaxed);
    }

    /// A lease of zero bytes.
    #[must_use]
    pub(crate) fn lease(&self, kind: LeaseKind) -> Lease {
        Lease {
            budget: self.clone(),
            kind,
            held: 0,
        }
    }

    /// The bytes that are leased now.
    #[must_use]
    pub(crate) fn leased(&self) -> u64 {
        self.0.all.load(Ordering::Relaxed)
    }
}

/// Leased memory. Dropping it gives the memory back.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: MemoryBudget,
    kind: LeaseKind,
    held: u64,
}

impl Lease {
    /// Grows the lease to at least this many bytes. If that does not fit, the lease stays as it is.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), MemoryFull> {
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

impl BudgetCounters {
    /// Takes bytes from the part that belongs to this kind of lease.
    fn take_part(&self, kind: LeaseKind, more: u64) -> Result<(), MemoryFull> {
        match kind {
            LeaseKind::Create => take(&self.creates, more, self.max.load(Ordering::Relaxed) / 4),
            LeaseKind::Account(account) => {
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

    fn give_part(&self, kind: LeaseKind, less: u64) {
        match kind {
            LeaseKind::Create => {
                self.creates.fetch_sub(less, Ordering::Relaxed);
            }
            LeaseKind::Account(account) => {
                let mut accounts = self.accounts();
                match accounts.get_mut(&account) {
                    Some(used) if *used > less => *used -= less,
                    _ => drop(accounts.remove(&account)),
                }
            }
        }
    }

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

    fn known(account: u8) -> LeaseKind {
        LeaseKind::Account(AccountNumber::from_bytes([account; 8]).unwrap())
    }

    #[test]
    fn creates_get_a_quarter_and_accounts_the_rest() {
        let budget = MemoryBudget::new(100, 20);
        let mut stranger = budget.lease(LeaseKind::Create);
        stranger.grow_to(20).unwrap();
        let mut second = budget.lease(LeaseKind::Create);
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
        budget.lease(LeaseKind::Create).grow_to(25).unwrap();
    }

    #[test]
    fn leases_of_one_account_share_its_part() {
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
            "an account without a lease is absent"
        );
    }

    #[test]
    fn an_account_gets_four_btokens_or_a_sixteenth() {
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
        let mut stranger = budget.lease(LeaseKind::Create);
        assert_eq!(stranger.grow_to(20), Err(MemoryFull));
        assert_eq!(budget.lease(known(3)).grow_to(20), Err(MemoryFull));
        drop(leases);
        stranger.grow_to(25).unwrap();
        assert_eq!(budget.lease(known(3)).grow_to(usize::MAX), Err(MemoryFull));
        assert_eq!(budget.leased(), 25);
        assert!(budget.0.accounts().is_empty());
    }

    #[test]
    fn growing_is_counted_once_and_shrinking_never() {
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
