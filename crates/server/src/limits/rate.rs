//! What one source may take, so that nobody keeps others out. The rules are:
//!  - a source is an IPv4 address, or the /64 of an IPv6 address: whoever has one has all of it;
//!  - sources that the operator exempts are never counted;
//!  - what is remembered is bounded, and nothing is forgotten before it makes no difference any
//!    more: a source that has offended is not free earlier because many others come;
//!  - no clock here: the time is an argument.
//!
//! A source for which there is no room of its own shares one with others. That can keep somebody
//! waiting, and lets nobody go.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use parking_lot::{Mutex, MutexGuard};

use crate::config::{Rate, SourceLimits};

/// Sources that have a memory of their own; with it the memory takes about 8 MiB.
const SOURCES_MAX: usize = 1 << 16;
/// Memories that all others share.
const SHARED: usize = 1 << 10;
/// Between two looks for what may be forgotten.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// The first pause of a source after too many refusals; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(10);

/// Who a connection comes from, as far as limits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    V4([u8; 4]),
    /// The upper half, a /64.
    V6([u8; 8]),
}

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Counts what sources take; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct RateLimiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Open connections. A source without any is not in it, so it is no larger than there are
    /// connections.
    open: HashMap<Source, usize>,
    /// What sources did of late.
    past: HashMap<Source, Past>,
    past_max: usize,
    /// The same for sources that found no room, by a hash of theirs.
    shared: Vec<Past>,
    hasher: RandomState,
    sweep_at: Duration,
    creates: Bucket,
}

/// What a source did that still counts. Times are since the rate_limiter began.
#[derive(Debug, Clone, Copy, Default)]
struct Past {
    creates: Bucket,
    refusals: Bucket,
    paused_until: Duration,
    /// How many pauses there were without a long peace between them.
    pauses: u32,
}

/// So many at once, and then at a steady rate: what is kept is when it will be as if nothing had
/// ever been taken.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    full_at: Duration,
}

impl Bucket {
    fn may_take(self, rate: Rate, now: Duration) -> bool {
        self.taken(rate, now) <= now + rate.interval() * rate.burst
    }

    /// True, and takes one, if there is one.
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

impl Past {
    fn is_paused(&self, now: Duration) -> bool {
        now < self.paused_until
    }

    /// Whether it makes no difference if it is forgotten.
    fn is_over(&self, limits: &SourceLimits, now: Duration) -> bool {
        let peace = if self.pauses > 0 {
            limits.pause_max
        } else {
            Duration::ZERO
        };
        self.creates.full_at <= now
            && self.refusals.full_at <= now
            && self.paused_until + peace <= now
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

/// Why somebody is turned away at the rate_limiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// As many connections as one source may have.
    ManyConnections,
    /// Too many refusals of late.
    Paused,
}

impl TurnedAway {
    /// The words for the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ManyConnections => "source_connections_max",
            Self::Paused => "source_paused",
        }
    }
}

impl RateLimiter {
    pub(crate) fn new() -> Self {
        Self::with_room(SOURCES_MAX)
    }

    fn with_room(past_max: usize) -> Self {
        let state = State {
            open: HashMap::new(),
            past: HashMap::new(),
            past_max,
            shared: vec![Past::default(); SHARED],
            hasher: RandomState::new(),
            sweep_at: Duration::ZERO,
            creates: Bucket::default(),
        };
        Self(Arc::new(Inner {
            begun: Instant::now(),
            state: Mutex::new(state),
        }))
    }

    /// Lets a connection in, or not.
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
            return Err(TurnedAway::Paused);
        }
        let open = state.open.entry(source).or_insert(0);
        if *open >= limits.connections_max {
            return Err(TurnedAway::ManyConnections);
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

    /// The state is whole at every moment, so a panic elsewhere does not make it useless.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

impl State {
    /// What is remembered of a source, if anything.
    fn past(&self, source: Source, limits: &SourceLimits, now: Duration) -> Option<&Past> {
        let own = self.past.get(&source);
        own.or_else(|| {
            self.shared
                .get(self.shared_index(source))
                .filter(|shared| !shared.is_over(limits, now))
        })
    }

    /// Where to remember something of a source.
    fn past_mut(&mut self, source: Source, limits: &SourceLimits, now: Duration) -> &mut Past {
        let index = self.shared_index(source);
        if self.past.len() >= self.past_max && self.sweep_at <= now {
            self.past.retain(|_, past| !past.is_over(limits, now));
            self.sweep_at = now + SWEEP_PAUSE;
        }
        let has_room = self.past.len() < self.past_max;
        // What it did while there was no room for it still counts.
        let is_shared = self
            .shared
            .get(index)
            .is_some_and(|shared| !shared.is_over(limits, now));
        match self.past.entry(source) {
            Entry::Occupied(own) => own.into_mut(),
            Entry::Vacant(room) if has_room && !is_shared => room.insert(Past::default()),
            Entry::Vacant(_) => self
                .shared
                .get_mut(index)
                .expect("the index is a remainder of the length"),
        }
    }

    fn shared_index(&self, source: Source) -> usize {
        usize::try_from(self.hasher.hash_one(source) % SHARED as u64).unwrap_or_default()
    }
}

/// One connection that was let in; dropping it makes room for the next of its source.
#[derive(Debug)]
pub(crate) struct SourcePermit {
    rate_limiter: RateLimiter,
    /// None if it is exempt.
    source: Option<Source>,
}

impl SourcePermit {
    /// Whether it may make an account now. Nothing is counted yet.
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

    /// Counts that it makes an account; false if that is one too many.
    pub(crate) fn take_create(&self, limits: &SourceLimits, now: Instant) -> bool {
        let Some(source) = self.source else {
            return true;
        };
        let now = self.rate_limiter.time(now);
        let mut state = self.rate_limiter.state();
        // One that its own limit holds back takes nothing from all others.
        if !state.creates.may_take(limits.creates_all, now) {
            return false;
        }
        state
            .past_mut(source, limits, now)
            .creates
            .take(limits.creates, now)
            && state.creates.take(limits.creates_all, now)
    }

    /// Whether its source has been refused too often to be heard now.
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

    /// Counts that it was refused: an unknown account, or a wrong auth token.
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

/// Loopback in both IP versions.
pub(crate) fn loopback() -> Vec<IpNet> {
    vec![
        IpNet::new_assert([127, 0, 0, 0].into(), 8),
        IpNet::new_assert(std::net::Ipv6Addr::LOCALHOST.into(), 128),
    ]
}

#[cfg(test)]
mod tests;
