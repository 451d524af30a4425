//! The limits on one source, so that nobody keeps others out. The rules are:
//!  - a source is an IPv4 address, or the /64 of an IPv6 address, because the holder of one address
//!    of a /64 usually has all of it;
//!  - sources that the operator exempts are not counted;
//!  - memory is bounded, and a record is dropped only when it no longer has an effect: many other
//!    sources never shorten the pause of an offender;
//!  - no clock here: the time is an argument.
//!
//! A source without a record of its own shares one with others. That may delay an innocent source,
//! and never favours an offender.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use parking_lot::{Mutex, MutexGuard};

use super::TurnedAway;

/// Sources with a record of their own. All records together take about 8 MiB.
const SOURCES_MAX: usize = 1 << 16;
/// Records that all other sources share.
const SHARED_RECORDS: usize = 1 << 10;
/// Between two sweeps for records that no longer have an effect.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// The first pause of a source after too many refusals. Each further pause is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(10);

/// What one source may take: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLimits {
    /// Sources that are not counted.
    pub exempt: Vec<IpNet>,
    /// Connections of one source at the same time.
    pub connections_max: usize,
    /// New accounts of one source.
    pub creates: Rate,
    /// New accounts of all sources together.
    pub creates_all: Rate,
    /// Refused authentications of one source, before it is paused.
    pub refusals: Rate,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for SourceLimits {
    fn default() -> Self {
        let rate = |count, seconds, burst| Rate {
            count,
            per: Duration::from_secs(seconds),
            burst,
        };
        Self {
            exempt: loopback(),
            connections_max: 100,
            creates: rate(20, 3600, 20),
            creates_all: rate(10, 1, 100),
            refusals: rate(30, 60, 30),
            pause_max: Duration::from_secs(600),
        }
    }
}

/// A number of events at once, and then a number of events per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Events in each period; never 0.
    pub count: u32,
    /// The length of a period.
    pub per: Duration,
    /// Events at once.
    pub burst: u32,
}

impl Rate {
    /// The time from one event to the next.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.per / self.count.max(1)
    }
}

/// The origin of a connection, as the limits see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    V4([u8; 4]),
    /// The upper half of the address, a /64.
    V6([u8; 8]),
}

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Applies the limits of sources. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct RateLimiter(Arc<LimiterInner>);

#[derive(Debug)]
struct LimiterInner {
    begun: Instant,
    state: Mutex<SourceRecords>,
}

#[derive(Debug)]
struct SourceRecords {
    /// Open connections by source. Sources without one are absent, so the map has at most as many
    /// entries as there are connections.
    open: HashMap<Source, usize>,
    /// What sources did recently.
    past: HashMap<Source, Record>,
    past_max: usize,
    /// Records of all other sources, found by a hash of the source.
    shared: Vec<Record>,
    hasher: RandomState,
    sweep_at: Duration,
    creates: Bucket,
}

/// What a source did that still has an effect. Times count from when the rate limiter was made.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    creates: Bucket,
    refusals: Bucket,
    paused_until: Duration,
    /// Pauses that followed each other without a long quiet time between them.
    pauses: u32,
}

/// A token bucket. It stores only the time at which it will be full again.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    full_at: Duration,
}

impl Bucket {
    fn may_take(self, rate: Rate, now: Duration) -> bool {
        self.taken(rate, now) <= now + rate.interval() * rate.burst
    }

    /// Takes one token; false if there is none.
    fn take(&mut self, rate: Rate, now: Duration) -> bool {
        let may = self.may_take(rate, now);
        if may {
            self.full_at = self.taken(rate, now);
        }
        may
    }

    fn taken(self, rate: Rate, now: Duration) -> Duration {
        self.full_at.max(now) + rate.interval()
    }
}

impl Record {
    fn is_paused(&self, now: Duration) -> bool {
        now < self.paused_until
    }

    /// Whether the record no longer has an effect.
    fn is_over(&self, limits: &SourceLimits, now: Duration) -> bool {
        let quiet = if self.pauses > 0 {
            limits.pause_max
        } else {
            Duration::ZERO
        };
        self.creates.full_at <= now
            && self.refusals.full_at <= now
            && self.paused_until + quiet <= now
    }

    fn note_refusal(&mut self, limits: &SourceLimits, now: Duration) {
        if self.paused_until + limits.pause_max <= now {
            self.pauses = 0;
        }
        if !self.refusals.take(limits.refusals, now) && !self.is_paused(now) {
            let pause = PAUSE_MIN
                .saturating_mul(2_u32.saturating_pow(self.pauses))
                .min(limits.pause_max);
            self.paused_until = now + pause;
            self.pauses = self.pauses.saturating_add(1);
        }
    }
}

impl RateLimiter {
    pub(crate) fn new() -> Self {
        Self::with_records(SOURCES_MAX)
    }

    fn with_records(past_max: usize) -> Self {
        let state = SourceRecords {
            open: HashMap::new(),
            past: HashMap::new(),
            past_max,
            shared: vec![Record::default(); SHARED_RECORDS],
            hasher: RandomState::new(),
            sweep_at: Duration::ZERO,
            creates: Bucket::default(),
        };
        Self(Arc::new(LimiterInner {
            begun: Instant::now(),
            state: Mutex::new(state),
        }))
    }

    /// Admits a connection from this address, or says why not.
    pub(crate) fn enter(
        &self,
        address: IpAddr,
        limits: &SourceLimits,
        now: Instant,
    ) -> Result<SourcePermit, TurnedAway> {
        let address = address.to_canonical();
        if limits.exempt.iter().any(|exempt| exempt.contains(&address)) {
            return Ok(SourcePermit {
                rate_limiter: self.clone(),
                source: None,
            });
        }
        let source = Source::of(address);
        let now = self.time(now);
        let mut state = self.state();
        if state
            .past(source, limits, now)
            .is_some_and(|past| past.is_paused(now))
        {
            return Err(TurnedAway::SourcePaused);
        }
        let open = state.open.entry(source).or_insert(0);
        if *open >= limits.connections_max {
            return Err(TurnedAway::SourceConnectionsMax);
        }
        *open += 1;
        drop(state);
        Ok(SourcePermit {
            rate_limiter: self.clone(),
            source: Some(source),
        })
    }

    fn time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.0.begun)
    }

    fn state(&self) -> MutexGuard<'_, SourceRecords> {
        self.0.state.lock()
    }
}

impl SourceRecords {
    /// The record of a source, if there is one.
    fn past(&self, source: Source, limits: &SourceLimits, now: Duration) -> Option<&Record> {
        let own = self.past.get(&source);
        own.or_else(|| {
            self.shared
                .get(self.shared_index(source))
                .filter(|shared| !shared.is_over(limits, now))
        })
    }

    /// The record of a source, to be changed.
    fn past_mut(&mut self, source: Source, limits: &SourceLimits, now: Duration) -> &mut Record {
        let index = self.shared_index(source);
        if self.past.len() >= self.past_max && self.sweep_at <= now {
            self.past.retain(|_, past| !past.is_over(limits, now));
            self.sweep_at = now + SWEEP_PAUSE;
        }
        let has_space = self.past.len() < self.past_max;
        // What the source did while it had no record of its own still counts.
        let is_shared = self
            .shared
            .get(index)
            .is_some_and(|shared| !shared.is_over(limits, now));
        match self.past.entry(source) {
            Entry::Occupied(own) => own.into_mut(),
            Entry::Vacant(room) if has_space && !is_shared => room.insert(Record::default()),
            Entry::Vacant(_) => self
                .shared
                .get_mut(index)
                .expect("the index is a remainder of the length"),
        }
    }

    fn shared_index(&self, source: Source) -> usize {
        usize::try_from(self.hasher.hash_one(source) % SHARED_RECORDS as u64).unwrap_or_default()
    }
}

/// The permit of one admitted connection. Dropping it admits another connection of its source.
#[derive(Debug)]
pub(crate) struct SourcePermit {
    rate_limiter: RateLimiter,
    /// None if the source is exempt.
    source: Option<Source>,
}

impl SourcePermit {
    /// The source; none if it is exempt.
    pub(crate) fn source(&self) -> Option<Source> {
        self.source
    }

    /// Whether the source may make an account now. Counts nothing.
    pub(crate) fn may_create(&self, limits: &SourceLimits, now: Instant) -> bool {
        let Some(source) = self.source else {
            return true;
        };
        let now = self.rate_limiter.time(now);
        let state = self.rate_limiter.state();
        let of_source = state
            .past(source, limits, now)
            .map(|past| past.creates)
            .unwrap_or_default();
        of_source.may_take(limits.creates, now) && state.creates.may_take(limits.creates_all, now)
    }

    /// Counts a new account of the source; false if it is one too many.
    pub(crate) fn take_create(&self, limits: &SourceLimits, now: Instant) -> bool {
        let Some(source) = self.source else {
            return true;
        };
        let now = self.rate_limiter.time(now);
        let mut state = self.rate_limiter.state();
        // A source over its own limit must take nothing from the limit of all sources.
        if !state.creates.may_take(limits.creates_all, now) {
            return false;
        }
        state
            .past_mut(source, limits, now)
            .creates
            .take(limits.creates, now)
            && state.creates.take(limits.creates_all, now)
    }

    /// Whether the source is paused after too many refusals.
    pub(crate) fn is_paused(&self, limits: &SourceLimits, now: Instant) -> bool {
        let Some(source) = self.source else {
            return false;
        };
        let now = self.rate_limiter.time(now);
        self.rate_limiter
            .state()
            .past(source, limits, now)
            .is_some_and(|past| past.is_paused(now))
    }

    /// Counts a refusal: an unknown account, or a wrong auth token.
    pub(crate) fn note_refusal(&self, limits: &SourceLimits, now: Instant) {
        let Some(source) = self.source else { return };
        let now = self.rate_limiter.time(now);
        self.rate_limiter
            .state()
            .past_mut(source, limits, now)
            .note_refusal(limits, now);
    }
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        let Some(source) = self.source else { return };
        let mut state = self.rate_limiter.state();
        match state.open.get_mut(&source) {
            Some(open) if *open > 1 => *open -= 1,
            _ => drop(state.open.remove(&source)),
        }
    }
}

/// The loopback networks of both IP versions.
pub(crate) fn loopback() -> Vec<IpNet> {
    vec![
        IpNet::new_assert([127, 0, 0, 0].into(), 8),
        IpNet::new_assert(std::net::Ipv6Addr::LOCALHOST.into(), 128),
    ]
}

#[cfg(test)]
mod tests;
