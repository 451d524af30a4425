//! The memory for btokens in flight, over all connections. The rules are:
//!  - memory is leased before it is used;
//!  - a lease that does not fit is refused at once, because a client that waits for memory depends
//!    on how long strangers hold it;
//!  - uploads of new accounts, which anyone may start, get at most a quarter together;
//!  - one account and one source get a small part each, however many connections they open,
//!    because an account holder is a stranger to all others;
//!  - an eighth of all memory, and of that for creates, is for small transfers only, because most
//!    btokens are small;
//!  - where a part is used up, the slowest transfers of that part give way to the newcomer.
//!
//! The slowest transfer is the one that will hold its memory longest: the bytes that it holds,
//! divided by its rate of late. A transfer younger than [`AGE_MIN`] or faster than [`RATE_FAST`]
//! gives way to nobody, and a transfer makes only slower ones give way. So many newcomers cannot
//! displace a client that keeps sending, and a client that stalls cannot keep others out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use passmate_proto::AccountNumber;
use tokio_util::sync::CancellationToken;

use super::rate::Source;

/// A transfer gives way to nobody before this age.
const AGE_MIN: Duration = Duration::from_secs(2);
/// The rate of late is an average over about this time. A client that has sent a whole btoken at once
/// and stalls is slow after five times as long.
const RATE_TIME: Duration = Duration::from_millis(500);
/// A small transfer holds at most so many bytes.
const SMALL_MAX: u64 = 64 << 10;
/// A transfer of this many bytes a second gives way to nobody. At this rate the longest btoken of
/// the default configuration takes about as long as the longest session.
const RATE_FAST: f64 = 16_384.0;

/// The use of leased memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseKind {
    /// An upload for a new account.
    Create,
    /// Traffic of authenticated clients of this account.
    Account(AccountNumber),
}

/// A part of the memory with a limit of its own. A lease counts in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    All,
    Creates,
    Account(AccountNumber),
    Source(Source),
    CreatesOfSource(Source),
}

/// The configured figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Figures {
    max: u64,
    btoken_len_max: u64,
}

impl Figures {
    /// The bytes that the leases of a part may take together.
    ///
    /// The configuration accepts no less memory than four of the longest btokens. Half of that is
    /// two, one on its way in and one on its way out.
    fn max_of(self, part: Part) -> u64 {
        let Self {
            max,
            btoken_len_max,
        } = self;
        let at_least_four = |share: u64| (4 * btoken_len_max).max(share).min(max / 2);
        match part {
            Part::All => max,
            Part::Creates => max / 4,
            Part::Account(_) => at_least_four(max / 16),
            Part::Source(_) => at_least_four(max / 8),
            Part::CreatesOfSource(_) => btoken_len_max.max(max / 16).min(max / 4),
        }
    }

    /// The bytes that a part may have when a transfer of this length grows: transfers that are not
    /// small leave some for those that are. One of the longest btokens fits in any case.
    fn max_for(self, part: Part, len: u64) -> u64 {
        let max = self.max_of(part);
        match part {
            Part::All | Part::Creates if len > SMALL_MAX => {
                (max - max / 8).max(self.btoken_len_max.min(max))
            }
            _ => max,
        }
    }

    /// The bytes that may belong to transfers which gave way and have not ended yet.
    fn leaving_max(self) -> u64 {
        self.max / 8
    }
}

/// The lease does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory is left for this btoken")]
pub(crate) struct MemoryFull;

/// Counts leased bytes. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct MemoryBudget(Arc<Mutex<BudgetState>>);

#[derive(Debug)]
struct BudgetState {
    figures: Figures,
    /// Leased bytes by part. Parts without a lease are absent, so the map has at most a few entries
    /// for each lease.
    used: HashMap<Part, u64>,
    transfers: HashMap<u64, Transfer>,
    next_id: u64,
    /// Bytes of transfers that gave way and have not ended yet. No part counts them any more.
    leaving: u64,
}

/// What the budget knows about a lease.
#[derive(Debug)]
struct Transfer {
    parts: [Option<Part>; 4],
    held: u64,
    begun: Instant,
    pace: Pace,
    state: TransferState,
    revoked: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransferState {
    /// Bytes come from the client, or go to it.
    Moving,
    /// All bytes have come. How long they stay depends on the store, not on the client.
    Complete,
    /// It gave way. Its connection is about to end.
    Leaving,
}

/// The rate of a transfer of late: an average in which old bytes count less and less.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Bytes a second at `at`.
    rate: f64,
    at: Instant,
}

impl Pace {
    fn note(&mut self, bytes: u64, now: Instant) {
        self.rate = self.rate(now) + bytes as f64 / RATE_TIME.as_secs_f64();
        self.at = now;
    }

    fn rate(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at);
        self.rate * (-passed.as_secs_f64() / RATE_TIME.as_secs_f64()).exp()
    }
}

impl Transfer {
    fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        self.parts.into_iter().flatten()
    }

    /// The time for which the transfer will hold its memory if it goes on like this, in seconds.
    fn slowness(&self, now: Instant) -> f64 {
        self.held as f64 / self.pace.rate(now).max(1.0)
    }

    fn may_give_way(&self, now: Instant) -> bool {
        self.state == TransferState::Moving
            && self.held > 0
            && now.saturating_duration_since(self.begun) >= AGE_MIN
            && self.pace.rate(now) < RATE_FAST
    }
}

impl MemoryBudget {
    /// A budget of `max` bytes for btokens of up to `btoken_len_max` bytes.
    #[must_use]
    pub(crate) fn new(max: u64, btoken_len_max: u32) -> Self {
        Self(Arc::new(Mutex::new(BudgetState {
            figures: Figures {
                max,
                btoken_len_max: btoken_len_max.into(),
            },
            used: HashMap::new(),
            transfers: HashMap::new(),
            next_id: 0,
            leaving: 0,
        })))
    }

    /// Changes the limits. Existing leases stay.
    pub(crate) fn set_max(&self, max: u64, btoken_len_max: u32) {
        self.state().figures = Figures {
            max,
            btoken_len_max: btoken_len_max.into(),
        };
    }

    /// A lease of zero bytes. An exempt source has no part of its own.
    #[must_use]
    pub(crate) fn lease(&self, kind: LeaseKind, source: Option<Source>, now: Instant) -> Lease {
        let part = match kind {
            LeaseKind::Create => Part::Creates,
            LeaseKind::Account(account) => Part::Account(account),
        };
        let of_source = match kind {
            LeaseKind::Create => source.map(Part::CreatesOfSource),
            LeaseKind::Account(_) => None,
        };
        // The narrow parts come first: a client that gives way there makes space in the wide ones.
        let parts = [
            of_source,
            source.map(Part::Source),
            Some(part),
            Some(Part::All),
        ];
        let revoked = CancellationToken::new();
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        let transfer = Transfer {
            parts,
            held: 0,
            begun: now,
            pace: Pace { rate: 0.0, at: now },
            state: TransferState::Moving,
            revoked: revoked.clone(),
        };
        state.transfers.insert(id, transfer);
        drop(state);
        Lease {
            budget: self.clone(),
            id,
            revoked,
        }
    }

    /// The bytes that are leased now.
    #[must_use]
    pub(crate) fn leased(&self) -> u64 {
        self.state().used_by(Part::All)
    }

    fn state(&self) -> MutexGuard<'_, BudgetState> {
        self.0.lock()
    }
}

/// Leased memory. Dropping it gives the memory back.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: MemoryBudget,
    id: u64,
    revoked: CancellationToken,
}

impl Lease {
    /// Grows the lease to at least this many bytes. If that does not fit, the lease stays as it is.
    pub(crate) fn grow_to(&self, bytes: usize, now: Instant) -> Result<(), MemoryFull> {
        let wanted = u64::try_from(bytes).map_err(|_| MemoryFull)?;
        self.budget.state().grow(self.id, wanted, now)
    }

    /// Notes that the client has sent or taken so many bytes.
    pub(crate) fn note_moved(&self, bytes: usize, now: Instant) {
        if let Some(transfer) = self.budget.state().transfers.get_mut(&self.id) {
            transfer
                .pace
                .note(u64::try_from(bytes).unwrap_or(u64::MAX), now);
        }
    }

    /// Notes that all bytes have come. From then on the lease gives way to nobody.
    pub(crate) fn complete(&self) {
        if let Some(transfer) = self.budget.state().transfers.get_mut(&self.id)
            && transfer.state == TransferState::Moving
        {
            transfer.state = TransferState::Complete;
        }
    }

    /// Is cancelled when the transfer gives way. The holder must then end it at once.
    pub(crate) fn revoked(&self) -> &CancellationToken {
        &self.revoked
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        let Some(transfer) = state.transfers.remove(&self.id) else {
            return;
        };
        if transfer.state == TransferState::Leaving {
            state.leaving = state.leaving.saturating_sub(transfer.held);
        } else {
            state.give(&transfer);
        }
    }
}

impl BudgetState {
    fn grow(&mut self, id: u64, wanted: u64, now: Instant) -> Result<(), MemoryFull> {
        let transfer = self.transfers.get(&id).ok_or(MemoryFull)?;
        if transfer.state == TransferState::Leaving {
            return Err(MemoryFull);
        }
        let Some(more) = wanted.checked_sub(transfer.held).filter(|more| *more > 0) else {
            return Ok(());
        };
        let parts = transfer.parts;
        for victim in self.victims(id, more, now)? {
            self.revoke(victim);
        }
        for part in parts.into_iter().flatten() {
            *self.used.entry(part).or_default() += more;
        }
        if let Some(transfer) = self.transfers.get_mut(&id) {
            transfer.held = wanted;
        }
        Ok(())
    }

    /// The transfers that must give way so that this one can have so many bytes more.
    fn victims(&self, id: u64, more: u64, now: Instant) -> Result<Vec<u64>, MemoryFull> {
        let newcomer = self.transfers.get(&id).ok_or(MemoryFull)?;
        let slowness = newcomer.slowness(now);
        let mut victims: Vec<u64> = Vec::new();
        let mut leaving = self.leaving;
        for part in newcomer.parts() {
            let max = self.figures.max_for(part, newcomer.held + more);
            let wanted = self.used_by(part).checked_add(more).ok_or(MemoryFull)?;
            let held_in_part = |id: &u64| {
                let transfer = self.transfers.get(id);
                transfer.map_or(0, |transfer| {
                    if transfer.parts().any(|other| other == part) {
                        transfer.held
                    } else {
                        0
                    }
                })
            };
            let mut freed: u64 = victims.iter().map(held_in_part).sum();
            if more > max {
                return Err(MemoryFull);
            }
            if wanted.saturating_sub(freed) <= max {
                continue;
            }
            let mut slower: Vec<(f64, u64, u64)> = self
                .transfers
                .iter()
                .filter(|(other, transfer)| {
                    **other != id
                        && !victims.contains(other)
                        && transfer.parts().any(|other| other == part)
                        && transfer.may_give_way(now)
                })
                .map(|(other, transfer)| (transfer.slowness(now), *other, transfer.held))
                .filter(|(other, ..)| *other > slowness)
                .collect();
            slower.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
            for (_, victim, held) in slower {
                if wanted.saturating_sub(freed) <= max {
                    break;
                }
                if leaving > 0 && leaving + held > self.figures.leaving_max() {
                    return Err(MemoryFull);
                }
                leaving += held;
                freed += held;
                victims.push(victim);
            }
            if wanted.saturating_sub(freed) > max {
                return Err(MemoryFull);
            }
        }
        Ok(victims)
    }

    fn revoke(&mut self, id: u64) {
        let Some(mut transfer) = self.transfers.remove(&id) else {
            return;
        };
        self.give(&transfer);
        self.leaving += transfer.held;
        transfer.state = TransferState::Leaving;
        transfer.revoked.cancel();
        self.transfers.insert(id, transfer);
    }

    /// Takes the bytes of a transfer out of its parts.
    fn give(&mut self, transfer: &Transfer) {
        for part in transfer.parts() {
            match self.used.get_mut(&part) {
                Some(used) if *used > transfer.held => *used -= transfer.held,
                _ => drop(self.used.remove(&part)),
            }
        }
    }

    fn used_by(&self, part: Part) -> u64 {
        self.used.get(&part).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
