//! The limits on one source, so that nobody keeps others out. The rules are:
//!  - a source is an IPv4 address, or the /64 of an IPv6 address, because the holder of one address
//!    of a /64 usually has all of it;
//!  - a source belongs to wider networks, which have larger limits of their own, because one holder
//!    often has many sources; each network is checked and counted by the same code;
//!  - a source that the operator exempts is not limited, but what it does beyond the limits is
//!    counted, because it may be a forwarder that hides many;
//!  - new accounts of all sources together are limited, exempt ones included;
//!  - memory is bounded, and a record is dropped only when it no longer has an effect: many other
//!    sources never shorten the pause of an offender;
//!  - no clock here: the time is an argument.
//!
//! A network without a record of its own shares one with others. That may delay an innocent source,
//! and never favours an offender.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use parking_lot::{Mutex, MutexGuard};

use super::TurnedAway;

/// Networks with a record of their own. All records together take about 11 MiB.
const RECORDS_MAX: usize = 1 << 16;
/// Records that all other networks of one width share.
const SHARED_RECORDS: usize = 1 << 10;
/// Between two sweeps for records that no longer have an effect.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// The first pause of a source after too many refusals. Each further pause is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(10);

/// A width of networks that share limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Width {
    /// Its place among all widths.
    number: u8,
    prefix_len: u8,
    /// A network may have so many times the connections and refusals of one source. Its longest
    /// pause is so many times shorter, because it affects more bystanders.
    factor: u16,
    /// A network may make so many times the accounts of one source. These factors are small, so
    /// that no network uses up what all sources together may make at once.
    creates_factor: u16,
}

/// The widths that count in one IP version.
struct Widths {
    source: Width,
    wider: &'static [Width],
}

const V4_WIDTHS: Widths = Widths {
    source: Width {
        number: 0,
        prefix_len: 32,
        factor: 1,
        creates_factor: 1,
    },
    // The customers of a provider, often strangers to each other.
    wider: &[Width {
        number: 1,
        prefix_len: 24,
        factor: 8,
        creates_factor: 4,
    }],
};
const V6_WIDTHS: Widths = Widths {
    source: Width {
        number: 2,
        prefix_len: 64,
        factor: 1,
        creates_factor: 1,
    },
    wider: &[
        // What providers give to a household.
        Width {
            number: 3,
            prefix_len: 56,
            factor: 4,
            creates_factor: 2,
        },
        // What providers give to a company, and what anyone can rent.
        Width {
            number: 4,
            prefix_len: 48,
            factor: 16,
            creates_factor: 4,
        },
    ],
};
/// How many widths there are.
const WIDTHS: usize = 2 + V4_WIDTHS.wider.len() + V6_WIDTHS.wider.len();

/// What one source may take: an IPv4 address, or the /64 of an IPv6 address. Wider networks may
/// take more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLimits {
    /// Sources that are not limited.
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

/// The limits of one network.
#[derive(Debug, Clone, Copy)]
struct NetworkLimits {
    connections_max: usize,
    creates: Rate,
    refusals: Rate,
    pause_max: Duration,
}

impl SourceLimits {
    fn of(&self, network: Network) -> NetworkLimits {
        let factor = network.width.factor;
        NetworkLimits {
            connections_max: self.connections_max.saturating_mul(factor.into()),
            creates: self.creates.times(network.width.creates_factor),
            refusals: self.refusals.times(factor),
            pause_max: (self.pause_max / u32::from(factor))
                .max(PAUSE_MIN)
                .min(self.pause_max),
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

    fn times(self, factor: u16) -> Self {
        Self {
            count: self.count.saturating_mul(factor.into()),
            burst: self.burst.saturating_mul(factor.into()),
            ..self
        }
    }
}

/// A network that counts, without its host bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    network: IpNet,
    width: Width,
}

impl Network {
    fn new(address: IpAddr, width: Width) -> Self {
        Self {
            network: IpNet::new_assert(address, width.prefix_len).trunc(),
            width,
        }
    }

    /// The records that it may share with others.
    fn shared_index(&self, hasher: &RandomState) -> usize {
        let hash = hasher.hash_one(self) % SHARED_RECORDS as u64;
        usize::from(self.width.number) * SHARED_RECORDS + usize::try_from(hash).unwrap_or_default()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.network.prefix_len() == self.network.max_prefix_len() {
            self.network.addr().fmt(f)
        } else {
            self.network.fmt(f)
        }
    }
}

/// The origin of a connection, as the limits see it: the narrowest of its networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source(Network);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self(Network::new(address, widths(address).source))
    }

    /// The networks that the source belongs to, the source itself first.
    fn networks(self) -> impl Iterator<Item = Network> + Clone {
        let address = self.0.network.addr();
        let wider = widths(address).wider.iter();
        let wider = wider.map(move |width| Network::new(address, *width));
        std::iter::once(self.0).chain(wider)
    }
}

fn widths(address: IpAddr) -> Widths {
    match address {
        IpAddr::V4(_) => V4_WIDTHS,
        IpAddr::V6(_) => V6_WIDTHS,
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
    /// Open connections by network. Networks without one are absent, so the map has at most a few
    /// entries for each connection.
    open: HashMap<Network, usize>,
    /// What the sources of a network did recently.
    past: HashMap<Network, Record>,
    past_max: usize,
    /// Records of all other networks, found by a hash of the network.
    shared: Vec<Record>,
    hasher: RandomState,
    sweep_at: Duration,
    creates: Bucket,
    exempt: ExemptUse,
}

/// What exempt sources did beyond the limits of one source, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ExemptUse {
    pub(crate) creates: u64,
    pub(crate) refusals: u64,
}

/// A network that is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paused {
    pub(crate) network: Network,
    pub(crate) left: Duration,
    /// Pauses that followed each other.
    pub(crate) pauses: u32,
}

/// Something about a source that the operator should read in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitEvent {
    /// A network is paused from now on.
    Paused { network: Network, time: Duration },
    /// An exempt source did more than one source may do.
    ExemptOver { source: Source },
}

/// What a network did that still has an effect. Times count from when the rate limiter was made.
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
    fn is_over(&self, limits: &NetworkLimits, now: Duration) -> bool {
        let quiet = if self.pauses > 0 {
            limits.pause_max
        } else {
            Duration::ZERO
        };
        self.creates.full_at <= now
            && self.refusals.full_at <= now
            && self.paused_until + quiet <= now
    }

    /// Counts a refusal. Returns the length of a pause that it begins.
    fn note_refusal(&mut self, limits: &NetworkLimits, now: Duration) -> Option<Duration> {
        if self.paused_until + limits.pause_max <= now {
            self.pauses = 0;
        }
        if self.refusals.take(limits.refusals, now) || self.is_paused(now) {
            return None;
        }
        let pause = PAUSE_MIN
            .saturating_mul(2_u32.saturating_pow(self.pauses))
            .min(limits.pause_max);
        self.paused_until = now + pause;
        self.pauses = self.pauses.saturating_add(1);
        Some(pause)
    }
}

impl RateLimiter {
    pub(crate) fn new() -> Self {
        Self::with_records(RECORDS_MAX)
    }

    fn with_records(past_max: usize) -> Self {
        let state = SourceRecords {
            open: HashMap::new(),
            past: HashMap::new(),
            past_max,
            shared: vec![Record::default(); WIDTHS * SHARED_RECORDS],
            hasher: RandomState::new(),
            sweep_at: Duration::ZERO,
            creates: Bucket::default(),
            exempt: ExemptUse::default(),
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
        let source = Source::of(address);
        let permit = |is_exempt| SourcePermit {
            rate_limiter: self.clone(),
            source,
            is_exempt,
            events: Vec::new(),
        };
        if limits.exempt.iter().any(|exempt| exempt.contains(&address)) {
            return Ok(permit(true));
        }
        let now = self.time(now);
        let mut state = self.state();
        for network in source.networks() {
            let past = state.past(network, limits, now);
            if past.is_some_and(|past| past.is_paused(now)) {
                return Err(TurnedAway::SourcePaused);
            }
            let open = state.open.get(&network).copied().unwrap_or(0);
            if open >= limits.of(network).connections_max {
                return Err(TurnedAway::SourceConnectionsMax);
            }
        }
        for network in source.networks() {
            *state.open.entry(network).or_default() += 1;
        }
        drop(state);
        Ok(permit(false))
    }

    /// How many networks are paused, without a list of them.
    pub(crate) fn paused_count(&self, now: Instant) -> u64 {
        let now = self.time(now);
        let state = self.state();
        let records = state.past.values().chain(&state.shared);
        records.filter(|past| past.is_paused(now)).count() as u64
    }

    /// The networks that are paused, those with the longest time left first. Networks that share
    /// a record with others are not known by name.
    pub(crate) fn paused(&self, now: Instant) -> Vec<Paused> {
        let now = self.time(now);
        let state = self.state();
        let paused = state.past.iter().filter(|(_, past)| past.is_paused(now));
        let mut paused: Vec<Paused> = paused
            .map(|(network, past)| Paused {
                network: *network,
                left: past.paused_until.saturating_sub(now),
                pauses: past.pauses,
            })
            .collect();
        drop(state);
        paused.sort_by_key(|paused| std::cmp::Reverse(paused.left));
        paused
    }

    /// Forgets what these networks did, and the networks that they belong to. Returns those that
    /// something was known about.
    pub(crate) fn clear(&self, cleared: IpNet, now: Instant) -> Vec<Network> {
        let now = self.time(now);
        let address = cleared.addr().to_canonical();
        let cleared = match address {
            IpAddr::V4(_) if cleared.max_prefix_len() == 128 => IpNet::from(address),
            _ => cleared.trunc(),
        };
        let mut state = self.state();
        let is_meant = |network: &Network| {
            network.network.contains(&cleared) || cleared.contains(&network.network)
        };
        let known = state.past.keys().copied();
        let mut found: Vec<Network> = known.filter(is_meant).collect();
        for network in &found {
            state.past.remove(network);
        }
        for network in Source::of(address).networks() {
            let index = network.shared_index(&state.hasher);
            if let Some(shared) = state.shared.get_mut(index)
                && shared.is_paused(now)
            {
                *shared = Record::default();
                found.push(network);
            }
        }
        found.sort_by_key(|network| std::cmp::Reverse(network.network.prefix_len()));
        found.dedup();
        found
    }

    /// What exempt sources did beyond the limits of one source, since the start.
    pub(crate) fn exempt_use(&self) -> ExemptUse {
        self.state().exempt
    }

    fn time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.0.begun)
    }

    fn state(&self) -> MutexGuard<'_, SourceRecords> {
        self.0.state.lock()
    }
}

impl SourceRecords {
    /// The record of a network, if there is one.
    fn past(&self, network: Network, limits: &SourceLimits, now: Duration) -> Option<&Record> {
        let own = self.past.get(&network);
        own.or_else(|| {
            self.shared
                .get(network.shared_index(&self.hasher))
                .filter(|shared| !shared.is_over(&limits.of(network), now))
        })
    }

    /// The record of a network, to be changed.
    fn past_mut(&mut self, network: Network, limits: &SourceLimits, now: Duration) -> &mut Record {
        let index = network.shared_index(&self.hasher);
        if self.past.len() >= self.past_max && self.sweep_at <= now {
            self.past
                .retain(|network, past| !past.is_over(&limits.of(*network), now));
            self.sweep_at = now + SWEEP_PAUSE;
        }
        let has_space = self.past.len() < self.past_max;
        // What the network did while it had no record of its own still counts.
        let is_shared = self
            .shared
            .get(index)
            .is_some_and(|shared| !shared.is_over(&limits.of(network), now));
        match self.past.entry(network) {
            Entry::Occupied(own) => own.into_mut(),
            Entry::Vacant(room) if has_space && !is_shared => room.insert(Record::default()),
            Entry::Vacant(_) => self
                .shared
                .get_mut(index)
                .expect("the index is below the number of shared records"),
        }
    }

    fn is_paused(&self, source: Source, limits: &SourceLimits, now: Duration) -> bool {
        source.networks().any(|network| {
            let past = self.past(network, limits, now);
            past.is_some_and(|past| past.is_paused(now))
        })
    }

    /// Whether each network of the source, and all sources together, may make one more account.
    fn may_create(&self, source: Source, limits: &SourceLimits, now: Duration) -> bool {
        let of_networks = source.networks().all(|network| {
            let past = self.past(network, limits, now);
            let creates = past.map(|past| past.creates).unwrap_or_default();
            creates.may_take(limits.of(network).creates, now)
        });
        of_networks && self.creates.may_take(limits.creates_all, now)
    }
}

/// The permit of one admitted connection. Dropping it admits another connection of its source.
#[derive(Debug)]
pub(crate) struct SourcePermit {
    rate_limiter: RateLimiter,
    source: Source,
    is_exempt: bool,
    events: Vec<LimitEvent>,
}

impl SourcePermit {
    /// The source, if it is limited.
    pub(crate) fn limited(&self) -> Option<Source> {
        (!self.is_exempt).then_some(self.source)
    }

    /// What the operator should read in the log, since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<LimitEvent> {
        std::mem::take(&mut self.events)
    }

    /// Whether the source may make an account now. Counts nothing.
    pub(crate) fn may_create(&self, limits: &SourceLimits, now: Instant) -> bool {
        let now = self.rate_limiter.time(now);
        let state = self.rate_limiter.state();
        match self.limited() {
            Some(source) => state.may_create(source, limits, now),
            None => state.creates.may_take(limits.creates_all, now),
        }
    }

    /// Counts a new account of the source; false if it is one too many.
    pub(crate) fn take_create(&mut self, limits: &SourceLimits, now: Instant) -> bool {
        // A source over a limit must take nothing from the limits that it shares with others.
        if !self.may_create(limits, now) {
            return false;
        }
        let now = self.rate_limiter.time(now);
        let mut state = self.rate_limiter.state();
        if !state.creates.take(limits.creates_all, now) {
            return false;
        }
        for network in self.networks() {
            let past = state.past_mut(network, limits, now);
            let may = past.creates.take(limits.of(network).creates, now);
            if !may && self.is_exempt {
                state.exempt.creates += 1;
                let source = self.source;
                self.events.push(LimitEvent::ExemptOver { source });
            }
        }
        true
    }

    /// Whether the source is paused after too many refusals.
    pub(crate) fn is_paused(&self, limits: &SourceLimits, now: Instant) -> bool {
        let now = self.rate_limiter.time(now);
        self.limited()
            .is_some_and(|source| self.rate_limiter.state().is_paused(source, limits, now))
    }

    /// Counts a refusal: an unknown account, a wrong auth token, a wrong hello, or a transfer that
    /// gave way.
    pub(crate) fn note_refusal(&mut self, limits: &SourceLimits, now: Instant) {
        let now = self.rate_limiter.time(now);
        let mut state = self.rate_limiter.state();
        for network in self.networks() {
            let of_network = limits.of(network);
            let past = state.past_mut(network, limits, now);
            if self.is_exempt {
                if !past.refusals.take(of_network.refusals, now) {
                    state.exempt.refusals += 1;
                    let source = self.source;
                    self.events.push(LimitEvent::ExemptOver { source });
                }
            } else if let Some(time) = past.note_refusal(&of_network, now) {
                self.events.push(LimitEvent::Paused { network, time });
            }
        }
    }

    /// The networks that count what the source does. An exempt source counts alone.
    fn networks(&self) -> impl Iterator<Item = Network> + use<> {
        let count = if self.is_exempt { 1 } else { usize::MAX };
        self.source.networks().take(count)
    }
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        let Some(source) = self.limited() else { return };
        let mut state = self.rate_limiter.state();
        for network in source.networks() {
            match state.open.get_mut(&network) {
                Some(open) if *open > 1 => *open -= 1,
                _ => drop(state.open.remove(&network)),
            }
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
