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
    // Each in a /24 of its own.
    IpAddr::V4((0x0A00_0000 + (number << 8)).into())
}

/// A rate limiter, and a clock that the test sets.
struct World {
    rate_limiter: RateLimiter,
    limits: SourceLimits,
    now: Instant,
}

impl World {
    fn new(records: usize) -> Self {
        let rate_limiter = RateLimiter::with_records(records);
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
            .is_ok_and(|mut permit| permit.take_create(&self.limits, self.now))
    }

    /// A refused attempt; false if the source is refused before it.
    fn tries(&self, address: IpAddr) -> bool {
        self.enter(address)
            .map(|mut permit| permit.note_refusal(&self.limits, self.now))
            .is_ok()
    }

    /// The number of attempts before the source is refused.
    fn tries_until_paused(&self, address: IpAddr) -> usize {
        (0..1000).take_while(|_| self.tries(address)).count()
    }

    fn is_paused(&self, address: IpAddr) -> bool {
        self.enter(address).err() == Some(TurnedAway::SourcePaused)
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
fn all_sources_make_a_hundred_accounts_and_then_ten_a_second() {
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
    // The limit of all sources uses up nothing of their own limits.
    world.pass(MINUTE);
    assert_eq!((0..50).filter(|_| world.creates(address(899))).count(), 20);
}

#[test]
fn a_source_over_its_limit_takes_nothing_from_others() {
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
fn pauses_double_and_start_anew_after_a_quiet_time() {
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
fn thirty_refusals_a_minute_cause_no_pause() {
    let mut world = World::new(100);
    for _ in 0..1000 {
        assert!(world.tries(address(1)));
        world.pass(2 * SECOND);
    }
}

#[test]
fn a_source_has_at_most_a_hundred_connections() {
    let world = World::new(100);
    let mut open: Vec<_> = (0..100).map(|_| world.enter(address(1)).unwrap()).collect();
    assert_eq!(
        world.enter(address(1)).err(),
        Some(TurnedAway::SourceConnectionsMax)
    );
    let other = world.enter(address(2)).unwrap();
    open.pop();
    open.push(world.enter(address(1)).unwrap());
    drop((open, other));
    assert!(world.rate_limiter.state().open.is_empty());
}

#[test]
fn a_source_is_an_ipv4_address_or_an_ipv6_64() {
    let of = source;
    assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
}

#[test]
fn an_exempt_source_is_counted_and_not_limited() {
    let mut world = World::new(100);
    world.limits.exempt = loopback();
    let exempt: IpAddr = "::ffff:127.0.0.5".parse().unwrap();
    let mut open: Vec<_> = (0..1000).map(|_| world.enter(exempt).unwrap()).collect();
    assert!(world.rate_limiter.state().open.is_empty());
    assert_eq!(world.tries_until_paused(exempt), 1000);
    let made = open.iter_mut().filter_map(|permit| {
        permit
            .take_create(&world.limits, world.now)
            .then(|| permit.take_events())
    });
    let made: Vec<_> = made.collect();
    assert_eq!(made.len(), 100, "all sources together make so many");
    let events = made.iter().filter(|events| !events.is_empty()).count();
    assert_eq!(events, 80, "beyond the twenty of one source");
    assert_eq!(
        world.rate_limiter.exempt_use(),
        ExemptUse {
            creates: 80,
            refusals: 970
        }
    );
    assert!(!world.creates(address(1)), "the limit of all is used up");
    assert_eq!(world.tries_until_paused(address(1)), 31);
}

#[test]
fn many_other_sources_shorten_no_pause() {
    let mut world = World::new(100);
    world.tries_until_paused(address(0));
    world.pass(10 * SECOND);
    world.tries_until_paused(address(0));
    // Far more sources than records, each with something that counts.
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
fn an_offender_with_a_shared_record_stays_paused() {
    let mut world = World::new(2);
    for number in 1..=2 {
        world.tries(address(number));
    }
    world.tries_until_paused(address(9));
    assert!(world.is_paused(address(9)));
    world.pass(9 * SECOND);
    // The records of the others are dropped by now, and newcomers take them.
    world.tries(address(3));
    world.tries(address(4));
    assert!(world.is_paused(address(9)));
    world.pass(SECOND);
    assert!(!world.is_paused(address(9)));
    world.tries_until_paused(address(9));
    world.pass(19 * SECOND);
    assert!(world.is_paused(address(9)), "its second pause is longer");
}

fn source(text: &str) -> Source {
    Source::of(text.parse().unwrap())
}

/// The n-th /64 of a /48.
fn of_48(n: u16) -> IpAddr {
    IpAddr::V6([0x2001, 0xdb8, 5, n, 0, 0, 0, 1].into())
}

#[test]
fn a_source_belongs_to_wider_networks() {
    let names = |text| {
        let networks = source(text).networks();
        networks.map(|one| one.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names("192.0.2.7"), ["192.0.2.7", "192.0.2.0/24"]);
    assert_eq!(
        names("2001:db8:1:203::1"),
        [
            "2001:db8:1:203::/64",
            "2001:db8:1:200::/56",
            "2001:db8:1::/48"
        ]
    );
}

/// How many of these sources can do this, each as often as it is listed.
fn count(sources: impl Iterator<Item = IpAddr>, can: impl Fn(IpAddr) -> bool) -> usize {
    sources.filter(|address| can(*address)).count()
}

#[test]
fn each_width_of_network_has_its_own_figures() {
    let mut world = World::new(100_000);
    world.limits.creates_all = Rate {
        count: 1_000_000,
        per: SECOND,
        burst: 1_000_000,
    };
    let many = |n: u16| (0..n).flat_map(move |_| (0..n).map(of_48));
    // 64 sources of a /56 make twice as many accounts as one source.
    assert_eq!(count(many(64), |address| world.creates(address)), 40);
    let all = (0..1024).flat_map(|n| [of_48(n), of_48(n)]);
    assert_eq!(count(all, |address| world.creates(address)), 80 - 40);
    let v4 = |n: u32| IpAddr::V4((0xC000_0200 + n).into());
    let all = (0..256).flat_map(|n| [v4(n), v4(n)]);
    assert_eq!(count(all, |address| world.creates(address)), 80);
    // Connections.
    let open: Vec<_> = (0..4096)
        .filter_map(|n| world.enter(of_48(n)).ok())
        .collect();
    assert_eq!(open.len(), 1600);
    let open: Vec<_> = (0..4096)
        .filter_map(|n| world.enter(v4(n % 256)).ok())
        .collect();
    assert_eq!(open.len(), 800);
}

#[test]
fn a_network_with_many_refusals_is_paused_for_a_shorter_time() {
    let mut world = World::new(100_000);
    // Each source keeps to its own limit.
    let tries = |world: &World| {
        // The next one is in another /56.
        let sources = (0..2000).map(|n| of_48((n % 256) * 256 + n / 256));
        sources.take_while(|one| world.tries(*one)).count()
    };
    assert_eq!(tries(&world), 481);
    assert!(world.is_paused(of_48(60_000)));
    assert!(!world.is_paused("2001:db8:6::1".parse().unwrap()));
    world.pass(10 * SECOND);
    assert!(!world.is_paused(of_48(60_000)));
    for _ in 0..5 {
        tries(&world);
        world.pass(Duration::from_millis(37_500));
        assert!(!world.is_paused(of_48(60_000)), "a sixteenth of 10 min");
    }
}

#[test]
fn a_cleared_source_starts_anew_with_its_networks() {
    let world = World::new(100);
    let offender: IpAddr = "192.0.2.7".parse().unwrap();
    world.tries_until_paused(offender);
    for number in 0..8 {
        world.tries_until_paused(IpAddr::V4((0xC000_0210 + number).into()));
    }
    let paused = world.rate_limiter.paused(world.now);
    assert!(
        paused
            .iter()
            .any(|one| one.network.to_string() == "192.0.2.7")
    );
    assert!(
        paused
            .iter()
            .any(|one| one.network.to_string() == "192.0.2.0/24")
    );
    assert_eq!(
        world.rate_limiter.paused_count(world.now),
        paused.len() as u64
    );
    let cleared = world
        .rate_limiter
        .clear("192.0.2.7/32".parse().unwrap(), world.now);
    let names: Vec<_> = cleared.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["192.0.2.7", "192.0.2.0/24"]);
    assert!(!world.is_paused(offender));
    assert!(world.is_paused("192.0.2.16".parse().unwrap()));
    let all = world
        .rate_limiter
        .clear("::ffff:192.0.2.16/128".parse().unwrap(), world.now);
    assert!(!all.is_empty() && !world.is_paused("192.0.2.16".parse().unwrap()));
    world
        .rate_limiter
        .clear("192.0.2.0/24".parse().unwrap(), world.now);
    assert_eq!(world.rate_limiter.paused_count(world.now), 0);
}

#[test]
fn a_source_with_a_shared_record_can_be_cleared() {
    let world = World::new(0);
    world.tries_until_paused(address(1));
    assert!(world.is_paused(address(1)));
    let cleared = world.rate_limiter.clear(address(1).into(), world.now);
    assert_eq!(cleared.len(), 1);
    assert!(!world.is_paused(address(1)));
}

proptest! {
    /// A limiter with few records never allows what a limiter with enough records refuses.
    #[test]
    fn few_records_are_never_more_generous(
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
                        // A source that the small one turns away has done less in the large one.
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
