//! What the server counts for its operator: totals since the start, and the last hour and week. The
//! rules are:
//!  - no account and no address is counted by name;
//!  - the memory is bounded, however much happens;
//!  - reading the metrics never delays a client.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use passmate_proto::ActionKind;

use super::latencies::Latencies;
use super::process::Process;
use crate::clock::now;
use crate::ended::Ended;
use crate::files::{Disk, disk_of};
use crate::limits::TurnedAway;
use crate::limits::rate::ExemptUse;
use crate::store::{Commits, StoreUrl};

/// The upper bounds of the duration buckets, in milliseconds. One more bucket has no bound.
pub(crate) const BOUNDS_MS: [u64; 15] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 120_000,
];
const BUCKETS: usize = BOUNDS_MS.len() + 1;
/// The minutes and hours that are kept.
const MINUTES: usize = 60;
const HOURS: usize = 7 * 24;
/// The errors that are kept.
const ERRORS_MAX: usize = 20;
/// The actions of operators that are kept.
const OPERATED_MAX: usize = 8;

/// Everything that a client can ask for, and nothing.
pub(super) const ACTIONS: [Option<ActionKind>; 4] = [
    Some(ActionKind::Create),
    Some(ActionKind::Update),
    Some(ActionKind::Reset),
    None,
];

/// The word for an action, or for a connection that asked for none. It never changes.
pub(super) const fn action_name(action: Option<ActionKind>) -> &'static str {
    match action {
        Some(ActionKind::Create) => "create",
        Some(ActionKind::Update) => "update",
        Some(ActionKind::Reset) => "reset",
        None => "none",
    }
}

/// Counts what happens. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<MetricsInner>);

#[derive(Debug)]
struct MetricsInner {
    /// When the server started, in seconds since 1970.
    begun: i64,
    counts: Mutex<Counts>,
}

/// Everything that is counted.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    /// Finished connections that spoke TLS, by action and ending.
    pub(crate) endings: BTreeMap<(&'static str, Ended), u64>,
    /// The durations of successful exchanges, by action.
    pub(crate) durations: BTreeMap<&'static str, Durations>,
    /// Connections that were closed before TLS.
    pub(crate) turned_away: BTreeMap<TurnedAway, u64>,
    pub(crate) connections: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// The last errors of the server itself, the newest last.
    pub(crate) errors: VecDeque<SeenError>,
    /// What operators did last, the newest last.
    pub(super) operators: VecDeque<Operated>,
    /// The last look at the store.
    pub(crate) sample: Option<Sample>,
    pub(super) minutes: Ring<MINUTES>,
    pub(super) hours: Ring<HOURS>,
}

/// An error of the server itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnError {
    /// A connection ended through a fault of the server.
    Ended(Ended),
    /// The system has no file descriptor for a new connection.
    NoDescriptors,
    /// The authority issued no certificate.
    NotIssued,
}

impl OwnError {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ended(ended) => ended.name(),
            Self::NoDescriptors => "no_descriptors",
            Self::NotIssued => "certificate_not_issued",
        }
    }

    /// What the operator can do about it.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::Ended(ended) => ended.remedy(),
            Self::NotIssued => "read the log, which has the cause and a remedy",
            Self::NoDescriptors => {
                "raise LimitNOFILE= in the unit (elsewhere: ulimit -n), or lower --connections-max"
            }
        }
    }
}

/// An error that occurred one or more times in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeenError {
    /// The last time, in seconds since 1970.
    pub(crate) at: i64,
    pub(crate) error: OwnError,
    pub(crate) times: u64,
}

/// What an operator did. It names no account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operated {
    /// Seconds since 1970.
    pub(crate) at: i64,
    pub(crate) action: String,
    pub(crate) detail: String,
    /// The operator's name, or the number of the user.
    pub(crate) by: String,
}

/// A finished connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) action: &'static str,
    pub(crate) ended: Ended,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) duration: Duration,
    pub(crate) is_tls: bool,
}

/// The store and its disk at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Seconds since 1970.
    pub(crate) at: i64,
    pub(crate) accounts: u64,
    pub(crate) btoken_bytes: u64,
    /// Bytes of the store's files.
    pub(crate) store_bytes: u64,
    /// None if the store is not on this machine.
    pub(crate) disk: Option<Disk>,
    pub(crate) last_backup: Option<i64>,
    /// The store is a database that others may back up.
    pub(crate) is_elsewhere: bool,
}

/// Values that are read at the moment of a scrape.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauges {
    /// When the server started, in seconds since 1970.
    pub(crate) begun: i64,
    pub(crate) open: u64,
    pub(crate) open_max: u64,
    pub(crate) btoken_memory: u64,
    pub(crate) btoken_memory_max: u64,
    pub(crate) certificate_not_after: Option<i64>,
    /// When another key replaced the one that devices have pinned.
    pub(crate) key_changed_at: Option<i64>,
    pub(crate) commits: Commits,
    pub(crate) exempt: ExemptUse,
    /// Sources and networks that are paused.
    pub(crate) paused: u64,
    pub(crate) process: Option<Process>,
}

/// A histogram of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Durations {
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) count: u64,
    pub(crate) micros: u64,
}

impl Durations {
    fn add(&mut self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.partition_point(|bound| *bound < millis.max(1));
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.micros = self
            .micros
            .saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }
}

/// What happened in a minute or an hour.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot {
    /// The number of the minute or hour since 1970.
    index: i64,
    /// Successful exchanges.
    pub(crate) done: u64,
    /// Exchanges with another ending.
    pub(crate) refused: u64,
    pub(crate) bytes: u64,
    /// The durations of successful exchanges; not of an hour.
    pub(super) latencies: Latencies,
    /// The last look at the store in this time.
    pub(crate) sample: Option<Sample>,
}

/// The last N slots.
#[derive(Debug, Clone)]
pub(super) struct Ring<const N: usize>(Box<[Slot]>);

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self(vec![Slot::default(); N].into())
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

    /// The last N slots up to an index, the oldest first; empty ones where nothing happened.
    pub(super) fn until(&self, index: i64) -> Vec<Slot> {
        let begin = index - N as i64 + 1;
        let mut slots: Vec<Slot> = (begin..=index)
            .map(|index| Slot {
                index,
                ..Slot::default()
            })
            .collect();
        for slot in self.0.iter() {
            let place = usize::try_from(slot.index - begin).ok();
            if let Some(known) = place.and_then(|place| slots.get_mut(place)) {
                known.clone_from(slot);
            }
        }
        slots
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self(Arc::new(MetricsInner {
            begun: now(),
            counts: Mutex::default(),
        }))
    }

    /// When the server started, in seconds since 1970.
    pub(crate) fn begun(&self) -> i64 {
        self.0.begun
    }

    /// Counts a finished connection.
    pub(crate) fn note(&self, finished: &Finished) {
        self.note_at(finished, now());
    }

    pub(super) fn note_at(&self, finished: &Finished, now: i64) {
        let Finished {
            action,
            ended,
            bytes_in,
            bytes_out,
            duration,
            is_tls,
        } = *finished;
        let mut counts = self.counts();
        counts.connections += 1;
        if !is_tls {
            return;
        }
        *counts.endings.entry((action, ended)).or_default() += 1;
        counts.bytes_in += bytes_in;
        counts.bytes_out += bytes_out;
        if ended.is_success() {
            counts.durations.entry(action).or_default().add(duration);
        }
        if ended.is_own_fault() {
            counts.note_error(OwnError::Ended(ended), now);
        }
        let add = |slot: &mut Slot| {
            if ended.is_success() {
                slot.done += 1;
            } else {
                slot.refused += 1;
            }
            slot.bytes += bytes_in + bytes_out;
        };
        let minute = counts.minutes.at(now / 60);
        add(minute);
        if ended.is_success() {
            minute.latencies.add(duration);
        }
        add(counts.hours.at(now / 3600));
    }

    /// Counts a connection that was closed before TLS.
    pub(crate) fn note_turned_away(&self, reason: TurnedAway) {
        *self.counts().turned_away.entry(reason).or_default() += 1;
    }

    /// Keeps an error that belongs to no connection.
    pub(crate) fn note_error(&self, error: OwnError) {
        self.counts().note_error(error, now());
    }

    /// Keeps what an operator did.
    pub(crate) fn note_operated(&self, operated: Operated) {
        let mut counts = self.counts();
        if counts.operators.len() >= OPERATED_MAX {
            counts.operators.pop_front();
        }
        counts.operators.push_back(operated);
    }

    pub(super) fn note_sample(&self, sample: Sample) {
        let mut counts = self.counts();
        counts.sample = Some(sample);
        counts.hours.at(sample.at / 3600).sample = Some(sample);
    }

    /// A copy of all counts.
    pub(super) fn snapshot(&self) -> Counts {
        self.counts().clone()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock()
    }
}

impl Counts {
    fn note_error(&mut self, error: OwnError, at: i64) {
        match self.errors.back_mut() {
            Some(last) if last.error == error => {
                last.at = at;
                last.times += 1;
            }
            _ => {
                if self.errors.len() >= ERRORS_MAX {
                    self.errors.pop_front();
                }
                self.errors.push_back(SeenError {
                    at,
                    error,
                    times: 1,
                });
            }
        }
    }
}

/// Reads the size of the store and of its disk. It may block as long as the disk does. `notes` is
/// the folder that says when the last backup was made.
pub(super) fn look(store: &StoreUrl, notes: &Path) -> Option<Sample> {
    let inspector = store.inspector().ok()?;
    let sum = inspector.sum().ok()?;
    let disk = store.folder().and_then(|folder| disk_of(folder).ok());
    Some(Sample {
        at: now(),
        accounts: sum.accounts,
        btoken_bytes: sum.btoken_bytes,
        store_bytes: inspector
            .size()
            .ok()?
            .unwrap_or_else(|| store.size_on_disk()),
        disk,
        last_backup: crate::backup::last_backup(notes),
        is_elsewhere: store.file().is_none(),
    })
}

#[cfg(test)]
mod tests;
