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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;

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
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    fn limits() -> SourceLimits {
        SourceLimits {
            exempt: Vec::new(),
            ..SourceLimits::default()
        }
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4((0x0A00_0000 + number).into())
    }

    /// A rate_limiter and a clock that a test sets.
    struct World {
        rate_limiter: RateLimiter,
        limits: SourceLimits,
        now: Instant,
    }

    impl World {
        fn new(room: usize) -> Self {
            let rate_limiter = RateLimiter::with_room(room);
            let now = rate_limiter.0.begun;
            Self {
                rate_limiter,
                limits: limits(),
                now,
            }
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
        }

        fn enter(&self, address: IpAddr) -> Result<SourcePermit, TurnedAway> {
            self.rate_limiter.enter(address, &self.limits, self.now)
        }

        fn creates(&self, address: IpAddr) -> bool {
            self.enter(address)
                .is_ok_and(|permit| permit.take_create(&self.limits, self.now))
        }

        /// A refused try; false if it is turned away before that.
        fn tries(&self, address: IpAddr) -> bool {
            self.enter(address)
                .map(|permit| permit.note_refusal(&self.limits, self.now))
                .is_ok()
        }

        /// How often it may try before it is turned away.
        fn tries_until_paused(&self, address: IpAddr) -> usize {
            (0..1000).take_while(|_| self.tries(address)).count()
        }

        fn is_paused(&self, address: IpAddr) -> bool {
            self.enter(address).err() == Some(TurnedAway::Paused)
        }
    }

    #[test]
    fn a_source_makes_twenty_accounts_and_then_twenty_an_hour() {
        let mut world = World::new(100);
        assert_eq!((0..50).filter(|_| world.creates(address(1))).count(), 20);
        assert!(world.creates(address(2)), "another source");
        world.pass(3 * MINUTE - SECOND);
        assert!(!world.creates(address(1)));
        world.pass(SECOND);
        assert!(world.creates(address(1)) && !world.creates(address(1)));
        world.pass(HOUR);
        assert_eq!((0..50).filter(|_| world.creates(address(1))).count(), 20);
    }

    #[test]
    fn all_sources_together_make_a_hundred_accounts_and_then_ten_a_second() {
        let mut world = World::new(1000);
        assert_eq!(
            (0..500)
                .filter(|number| world.creates(address(*number)))
                .count(),
            100
        );
        world.pass(SECOND);
        assert_eq!(
            (500..900)
                .filter(|number| world.creates(address(*number)))
                .count(),
            10
        );
        // Those who are held back by all have not used up their own.
        world.pass(MINUTE);
        assert_eq!((0..50).filter(|_| world.creates(address(899))).count(), 20);
    }

    #[test]
    fn a_source_that_is_held_back_takes_nothing_from_others() {
        let world = World::new(100);
        for _ in 0..1000 {
            world.creates(address(1));
        }
        assert_eq!(
            (2..500)
                .filter(|number| world.creates(address(*number)))
                .count(),
            80
        );
    }

    #[test]
    fn pauses_double_up_to_ten_minutes_and_start_anew_after_a_long_peace() {
        let mut world = World::new(100);
        assert_eq!(
            world.tries_until_paused(address(1)),
            31,
            "thirty, and the one that was too many"
        );
        for seconds in [10, 20, 40, 80, 160, 320, 600, 600] {
            world.pass(Duration::from_secs(seconds) - Duration::from_millis(1));
            assert!(world.is_paused(address(1)), "{seconds}");
            world.pass(Duration::from_millis(1));
            assert!(!world.is_paused(address(1)), "{seconds}");
            world.tries_until_paused(address(1));
        }
        assert!(!world.is_paused(address(2)), "another source");
        world.pass(2 * 10 * MINUTE);
        assert_eq!(world.tries_until_paused(address(1)), 31);
        world.pass(10 * SECOND);
        assert!(!world.is_paused(address(1)));
    }

    #[test]
    fn thirty_refusals_a_minute_are_borne_for_ever() {
        let mut world = World::new(100);
        for _ in 0..1000 {
            assert!(world.tries(address(1)));
            world.pass(2 * SECOND);
        }
    }

    #[test]
    fn a_source_has_a_hundred_connections_and_room_for_one_when_one_goes() {
        let world = World::new(100);
        let mut open: Vec<_> = (0..100).map(|_| world.enter(address(1)).unwrap()).collect();
        assert_eq!(
            world.enter(address(1)).err(),
            Some(TurnedAway::ManyConnections)
        );
        let other = world.enter(address(2)).unwrap();
        open.pop();
        open.push(world.enter(address(1)).unwrap());
        drop((open, other));
        assert!(world.rate_limiter.state().open.is_empty());
    }

    #[test]
    fn a_source_is_an_address_or_a_64_and_mapped_addresses_are_the_same() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }

    #[test]
    fn who_is_exempt_is_not_counted() {
        let mut world = World::new(100);
        world.limits.exempt = loopback();
        let exempt: IpAddr = "::ffff:127.0.0.5".parse().unwrap();
        let open: Vec<_> = (0..1000).map(|_| world.enter(exempt).unwrap()).collect();
        assert!(
            open.iter()
                .all(|permit| permit.take_create(&world.limits, world.now))
        );
        assert_eq!(world.tries_until_paused(exempt), 1000);
        assert!(world.creates(address(1)), "and takes nothing from others");
        assert!(
            world.rate_limiter.state().past.len() == 1
                && world.rate_limiter.state().open.is_empty()
        );
    }

    #[test]
    fn an_offender_is_not_free_earlier_because_many_others_come() {
        let mut world = World::new(100);
        world.tries_until_paused(address(0));
        world.pass(10 * SECOND);
        world.tries_until_paused(address(0));
        // Far more than there is room for, each with something that counts.
        for number in 1..5000 {
            world.tries(address(number));
        }
        assert_eq!(world.rate_limiter.state().past.len(), 100);
        world.pass(20 * SECOND - Duration::from_millis(1));
        assert!(world.is_paused(address(0)));
        for number in 5000..9000 {
            world.tries(address(number));
        }
        assert!(world.is_paused(address(0)));
        world.pass(Duration::from_millis(1));
        assert!(!world.is_paused(address(0)));
    }

    #[test]
    fn an_offender_without_room_of_its_own_is_not_free_when_there_is_room_again() {
        let mut world = World::new(2);
        for number in 1..=2 {
            world.tries(address(number));
        }
        world.tries_until_paused(address(9));
        assert!(world.is_paused(address(9)));
        world.pass(9 * SECOND);
        // The others are forgotten by now; newcomers take their place.
        world.tries(address(3));
        world.tries(address(4));
        assert!(world.is_paused(address(9)));
        world.pass(SECOND);
        assert!(!world.is_paused(address(9)));
        world.tries_until_paused(address(9));
        world.pass(19 * SECOND);
        assert!(world.is_paused(address(9)), "its second pause is longer");
    }

    proptest! {
        /// A rate_limiter with hardly any room never lets a source do what one with room for all does not.
        #[test]
        fn a_rate_limiter_without_room_is_never_more_generous(
            steps in prop::collection::vec((0_u32..40, 0_u8..3, 0_u64..40), 1..300),
        ) {
            let (mut small, mut large) = (World::new(3), World::new(1000));
            for (number, what, seconds) in steps {
                small.pass(Duration::from_secs(seconds));
                large.pass(Duration::from_secs(seconds));
                match what {
                    0 => {
                        if small.creates(address(number)) {
                            prop_assert!(large.creates(address(number)));
                        }
                    }
                    1 => {
                        for _ in 0..20 {
                            // Who is turned away there has done less here.
                            if small.tries(address(number)) {
                                large.tries(address(number));
                            }
                        }
                    }
                    _ => prop_assert!(small.is_paused(address(number)) || !large.is_paused(address(number))),
                }
            }
            prop_assert!(small.rate_limiter.state().past.len() <= 3);
        }
    }
}
