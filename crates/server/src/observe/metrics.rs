//! What the server knows of its own doing, for an operator who looks: counts since the start, and
//! an hour and a week of the past. The rules are:
//!  - no account and no address is in here;
//!  - all of it is of a fixed size, however much happens;
//!  - looking at it never holds up who is served: numbers are read where they are, and the store is
//!    looked at aside.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::now;
use crate::files::{Disk, disk_of};
use crate::store::StoreUrl;
use parking_lot::{Mutex, MutexGuard};

/// Upper bounds of the durations that are told apart, in milliseconds; what is longer is in one
/// class more.
pub(crate) const BOUNDS_MS: [u64; 15] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 120_000,
];
const CLASSES: usize = BOUNDS_MS.len() + 1;
/// Minutes and hours that are remembered.
const MINUTES: usize = 60;
const HOURS: usize = 7 * 24;
/// Errors that are remembered.
const ERRORS: usize = 20;

/// Counts; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    /// Seconds since 1970.
    pub(super) begun: i64,
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct State {
    /// Finished connections that spoke TLS, by action and result.
    pub(crate) results: BTreeMap<(&'static str, &'static str), u64>,
    /// How long those took that came through, by action.
    pub(crate) durations: BTreeMap<&'static str, Durations>,
    /// Who was turned away before TLS, by reason.
    pub(crate) turned_away: BTreeMap<&'static str, u64>,
    pub(crate) connections: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// The last errors of the server's own, the newest last.
    pub(crate) errors: VecDeque<Seen>,
    /// What the store was when it was looked at last.
    pub(crate) sample: Option<Sample>,
    pub(super) minutes: Ring<MINUTES>,
    pub(super) hours: Ring<HOURS>,
}

/// An error of the server's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Seconds since 1970.
    pub(crate) at: i64,
    /// The word for the log.
    pub(crate) what: &'static str,
    /// How often in a row.
    pub(crate) times: u64,
}

/// A finished connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) action: &'static str,
    pub(crate) result: &'static str,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) duration: Duration,
    pub(crate) is_tls: bool,
}

/// What the store and its disk are at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Seconds since 1970.
    pub(crate) at: i64,
    pub(crate) accounts: u64,
    pub(crate) btoken_bytes: u64,
    /// The files of the store.
    pub(crate) store_bytes: u64,
    pub(crate) disk_free: u64,
    pub(crate) disk_size: u64,
    pub(crate) last_backup: Option<i64>,
}

/// How many took how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Durations {
    pub(crate) classes: [u64; CLASSES],
    pub(crate) count: u64,
    pub(crate) micros: u64,
}

impl Durations {
    pub(super) fn add(&mut self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let class = BOUNDS_MS.partition_point(|bound| *bound < millis.max(1));
        if let Some(count) = self.classes.get_mut(class) {
            *count += 1;
        }
        self.count += 1;
        self.micros = self
            .micros
            .saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// The time within which so many in a thousand were done, in milliseconds: the upper bound of
    /// their class.
    pub(crate) fn quantile(&self, thousandths: u64) -> Option<u64> {
        let wanted = (self.count * thousandths).div_ceil(1000).max(1);
        let mut before = 0;
        let class = self.classes.iter().position(|count| {
            before += count;
            before >= wanted
        });
        class
            .filter(|_| self.count > 0)
            .map(|class| BOUNDS_MS.get(class).copied().unwrap_or(u64::MAX))
    }
}

/// What happened in a minute or an hour.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slot {
    /// Which minute or hour since 1970.
    index: i64,
    /// Exchanges that came through.
    pub(crate) done: u64,
    /// Other ends.
    pub(crate) refused: u64,
    pub(crate) bytes: u64,
    pub(crate) durations: Durations,
    /// The store at its end.
    pub(crate) sample: Option<Sample>,
}

/// The last slots, by their index.
#[derive(Debug, Clone)]
pub(super) struct Ring<const N: usize>(Box<[Slot; N]>);

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self(Box::new([Slot::default(); N]))
    }
}

impl<const N: usize> Ring<N> {
    fn at(&mut self, index: i64) -> &mut Slot {
        let place = usize::try_from(index.rem_euclid(N as i64)).unwrap_or(0);
        let slot = self.0.get_mut(place).expect("a remainder of N is below N");
        if slot.index != index {
            *slot = Slot {
                index,
                ..Slot::default()
            };
        }
        slot
    }

    /// The slots up to an index, the oldest first; empty ones where nothing happened.
    pub(super) fn until(&self, index: i64) -> Vec<Slot> {
        let mut slots: Vec<Slot> = (index - N as i64 + 1..=index)
            .map(|index| Slot {
                index,
                ..Slot::default()
            })
            .collect();
        for slot in self.0.iter() {
            let place = usize::try_from(slot.index - (index - N as i64 + 1)).ok();
            if let Some(known) = place.and_then(|place| slots.get_mut(place)) {
                *known = *slot;
            }
        }
        slots
    }
}

/// Results that are a fault of the server or its machine, not of a client.
const OWN_ERRORS: [&str; 6] = [
    "disk_low",
    "disk_full",
    "memory_full",
    "storage_error",
    "aborted",
    "stuck",
];

impl Metrics {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            begun: now(),
            state: Mutex::default(),
        }))
    }

    /// Counts a connection that is over.
    pub(crate) fn note(&self, finished: &Finished) {
        self.note_at(finished, now());
    }

    pub(super) fn note_at(&self, finished: &Finished, now: i64) {
        let Finished {
            action,
            result,
            bytes_in,
            bytes_out,
            duration,
            is_tls,
        } = *finished;
        let mut state = self.state();
        state.connections += 1;
        if !is_tls {
            return;
        }
        *state.results.entry((action, result)).or_default() += 1;
        state.bytes_in += bytes_in;
        state.bytes_out += bytes_out;
        let is_done = is_good(result);
        if is_done {
            state.durations.entry(action).or_default().add(duration);
        }
        if OWN_ERRORS.contains(&result) {
            state.note_error(result, now);
        }
        let add = |slot: &mut Slot| {
            if is_done {
                slot.done += 1;
                slot.durations.add(duration);
            } else {
                slot.refused += 1;
            }
            slot.bytes += bytes_in + bytes_out;
        };
        add(state.minutes.at(now / 60));
        add(state.hours.at(now / 3600));
    }

    /// Counts a connection that was not let in.
    pub(crate) fn note_turned_away(&self, reason: &'static str) {
        *self.state().turned_away.entry(reason).or_default() += 1;
    }

    /// Remembers an error that belongs to no connection.
    pub(crate) fn note_error(&self, what: &'static str) {
        self.state().note_error(what, now());
    }

    pub(super) fn note_sample(&self, sample: Sample) {
        let mut state = self.state();
        state.sample = Some(sample);
        state.hours.at(sample.at / 3600).sample = Some(sample);
    }

    /// All of it at a moment.
    pub(super) fn snapshot(&self) -> State {
        self.state().clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

/// Whether a client got what it came for: a change that was confirmed, or a look and nothing to
/// change.
pub(crate) fn is_good(result: &str) -> bool {
    matches!(
        result,
        "confirmed" | "committed_unheard" | "left_after_fetch"
    )
}

impl State {
    fn note_error(&mut self, what: &'static str, at: i64) {
        match self.errors.back_mut() {
            Some(last) if last.what == what => {
                last.at = at;
                last.times += 1;
            }
            _ => {
                if self.errors.len() >= ERRORS {
                    self.errors.pop_front();
                }
                self.errors.push_back(Seen { at, what, times: 1 });
            }
        }
    }
}

/// Reads the size of a store and of its disk, beside whoever uses it. It may block as long as the
/// disk does.
pub(super) fn look(store: &StoreUrl, notes: &Path) -> Option<Sample> {
    let sum = store
        .operator_without_upgrade()
        .and_then(|store| store.sum())
        .ok()?;
    let disk = store.folder().and_then(|folder| disk_of(folder).ok());
    let Disk { free, size } = disk.unwrap_or_default();
    Some(Sample {
        at: now(),
        accounts: sum.accounts,
        btoken_bytes: sum.btoken_bytes,
        store_bytes: store.size_on_disk(),
        disk_free: free,
        disk_size: size,
        last_backup: crate::backup::last_backup(notes),
    })
}

#[cfg(test)]
mod tests;
