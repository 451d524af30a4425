use super::*;

/// A budget, and a clock that the test sets.
struct World {
    budget: MemoryBudget,
    now: Instant,
}

impl World {
    fn new(max: u64, btoken_len_max: u32) -> Self {
        Self {
            budget: MemoryBudget::new(max, btoken_len_max),
            now: Instant::now(),
        }
    }

    fn lease(&self, kind: LeaseKind) -> Lease {
        self.budget.lease(kind, None, self.now)
    }

    fn lease_from(&self, kind: LeaseKind, source: u8) -> Lease {
        self.budget.lease(kind, Some(source_of(source)), self.now)
    }

    fn grow(&self, lease: &Lease, bytes: usize) -> Result<(), MemoryFull> {
        lease.grow_to(bytes, self.now)
    }

    /// Moves bytes at a steady rate.
    fn pass(&mut self, seconds: u64, moving: &[(&Lease, usize)]) {
        for _ in 0..seconds * 10 {
            self.now += Duration::from_millis(100);
            for (lease, bytes_per_second) in moving {
                lease.note_moved(bytes_per_second / 10, self.now);
            }
        }
    }
}

fn known(account: u8) -> LeaseKind {
    LeaseKind::Account(AccountNumber::from_bytes([account; 8]).unwrap())
}

fn source_of(number: u8) -> Source {
    Source::of([192, 0, 2, number].into())
}

fn is_revoked(lease: &Lease) -> bool {
    lease.revoked().is_cancelled()
}

#[test]
fn creates_get_a_quarter_and_accounts_the_rest() {
    let world = World::new(100, 20);
    let stranger = world.lease(LeaseKind::Create);
    world.grow(&stranger, 20).unwrap();
    let second = world.lease(LeaseKind::Create);
    assert_eq!(world.grow(&second, 6), Err(MemoryFull));
    world.grow(&second, 5).unwrap();
    let one = world.lease(known(1));
    world.grow(&one, 50).unwrap();
    let other = world.lease(known(2));
    assert_eq!(world.grow(&other, 26), Err(MemoryFull));
    world.grow(&other, 25).unwrap();
    assert_eq!(world.budget.leased(), 100);
    drop((stranger, second, one, other));
    assert_eq!(world.budget.leased(), 0);
    world.grow(&world.lease(LeaseKind::Create), 25).unwrap();
}

#[test]
fn leases_of_one_account_share_its_part() {
    let world = World::new(1000, 20);
    let mut leases: Vec<_> = (0..10).map(|_| world.lease(known(1))).collect();
    let got = leases
        .iter()
        .filter(|lease| world.grow(lease, 20).is_ok())
        .count();
    assert_eq!(got, 4);
    let other = world.lease(known(2));
    world.grow(&other, 80).unwrap();
    assert_eq!(world.budget.leased(), 160);
    leases.remove(0);
    world.grow(leases.last().unwrap(), 20).unwrap();
    assert_eq!(world.grow(leases.last().unwrap(), 21), Err(MemoryFull));
    drop((leases, other));
    let state = world.budget.state();
    assert!(state.used.is_empty() && state.transfers.is_empty());
}

#[test]
fn each_part_has_its_share() {
    let mib = 1 << 20;
    let shares = |max: u64| {
        let figures = Figures {
            max,
            btoken_len_max: 2 * mib,
        };
        let account = AccountNumber::from_bytes([1; 8]).unwrap();
        [
            Part::Creates,
            Part::Account(account),
            Part::Source(source_of(1)),
            Part::CreatesOfSource(source_of(1)),
        ]
        .map(|part| figures.max_of(part) / mib)
    };
    assert_eq!(shares(256 * mib), [64, 16, 32, 16]);
    assert_eq!(shares(64 * mib), [16, 8, 8, 4]);
    assert_eq!(shares(8 * mib), [2, 4, 4, 2]);
}

#[test]
fn one_source_cannot_use_up_the_memory() {
    let world = World::new(1600, 20);
    let creates: Vec<_> = (0..50)
        .map(|_| world.lease_from(LeaseKind::Create, 1))
        .collect();
    let got = |leases: &[Lease]| {
        let fits = |lease: &&Lease| world.grow(lease, 20).is_ok();
        leases.iter().filter(fits).count()
    };
    assert_eq!(got(&creates), 5, "a sixteenth");
    let updates: Vec<_> = (0..50)
        .map(|account| world.lease_from(known(account + 1), 1))
        .collect();
    assert_eq!(got(&updates), 5, "an eighth with the creates");
    let others: Vec<_> = (2..7)
        .map(|source| world.lease_from(LeaseKind::Create, source))
        .collect();
    assert_eq!(got(&others), 5);
}

#[test]
fn a_refused_lease_leaves_no_trace() {
    let world = World::new(100, 20);
    let leases = [world.lease(known(1)), world.lease(known(2))];
    leases
        .iter()
        .for_each(|lease| world.grow(lease, 45).unwrap());
    let stranger = world.lease(LeaseKind::Create);
    assert_eq!(world.grow(&stranger, 20), Err(MemoryFull));
    assert_eq!(world.grow(&world.lease(known(3)), 20), Err(MemoryFull));
    drop(leases);
    world.grow(&stranger, 25).unwrap();
    assert_eq!(
        world.grow(&world.lease(known(3)), usize::MAX),
        Err(MemoryFull)
    );
    assert_eq!(world.budget.leased(), 25);
    assert_eq!(world.budget.state().transfers.len(), 1);
}

#[test]
fn growing_is_counted_once_and_shrinking_never() {
    let world = World::new(100, 20);
    let lease = world.lease(known(1));
    for bytes in [10, 30, 30, 5, 50] {
        world.grow(&lease, bytes).unwrap();
    }
    assert_eq!(world.budget.leased(), 50);
    world.budget.set_max(20, 20);
    world.grow(&lease, 50).unwrap();
    assert_eq!(world.grow(&lease, 51), Err(MemoryFull));
}

#[test]
fn the_slowest_transfer_gives_way() {
    // Four of a million bytes fit, beside an eighth for small ones.
    let mut world = World::new(4_571_430, 1_000_000);
    let [stalled, slow, steady] = [1, 2, 3].map(|account| world.lease(known(account)));
    for lease in [&stalled, &slow, &steady] {
        world.grow(lease, 1_000_000).unwrap();
    }
    let last = world.lease(known(4));
    world.grow(&last, 1_000_000).unwrap();
    // One has sent a lot, and then stalls.
    stalled.note_moved(900_000, world.now);
    world.pass(20, &[(&slow, 1000), (&steady, 50_000), (&last, 10_000)]);
    let newcomer = world.lease(known(5));
    world.grow(&newcomer, 500_000).unwrap();
    assert!(is_revoked(&stalled) && !is_revoked(&slow));
    assert_eq!(stalled.grow_to(1, world.now), Err(MemoryFull));
    assert_eq!(world.budget.leased(), 3_500_000);
    world.grow(&newcomer, 1_000_000).unwrap();
    assert!(!is_revoked(&slow), "there was space");
    drop(stalled);
    assert_eq!(world.budget.state().leaving, 0);
    let next = world.lease(known(6));
    world.grow(&next, 1_000_000).unwrap();
    assert!(is_revoked(&slow) && !is_revoked(&last) && !is_revoked(&steady));
    drop(slow);
    assert_eq!(world.budget.leased(), 4_000_000);
}

#[test]
fn many_newcomers_displace_no_client_that_keeps_sending() {
    let mut world = World::new(4_000_000, 1_000_000);
    let honest = world.lease(LeaseKind::Create);
    world.grow(&honest, 500_000).unwrap();
    world.pass(5, &[(&honest, 20_000)]);
    let mut displaced = 0;
    for _ in 0..100 {
        // Each sends a lot at once, and stalls.
        let strangers: Vec<_> = (0..10).map(|_| world.lease(LeaseKind::Create)).collect();
        for stranger in &strangers {
            let _ = world.grow(stranger, 500_000);
            stranger.note_moved(490_000, world.now);
        }
        world.pass(1, &[(&honest, 20_000)]);
        displaced += usize::from(is_revoked(&honest));
    }
    assert_eq!(displaced, 0);
}

#[test]
fn large_transfers_leave_memory_for_small_ones() {
    let world = World::new(64 << 20, 2 << 20);
    let large: Vec<_> = (0..20).map(|_| world.lease(LeaseKind::Create)).collect();
    let fits = |lease: &&Lease| world.grow(lease, 2 << 20).is_ok();
    assert_eq!(large.iter().filter(fits).count(), 7, "of a part of 16 MiB");
    let small: Vec<_> = (0..32).map(|_| world.lease(LeaseKind::Create)).collect();
    let fits = |lease: &&Lease| world.grow(lease, 64 << 10).is_ok();
    assert_eq!(small.iter().filter(fits).count(), 32);
    // Where only one of the longest btokens fits, it fits.
    let world = World::new(8 << 20, 2 << 20);
    world
        .grow(&world.lease(LeaseKind::Create), 2 << 20)
        .unwrap();
}

#[test]
fn a_stalled_transfer_displaces_no_faster_one() {
    let mut world = World::new(4_000_000, 1_000_000);
    let [honest, stalled] = [1, 2].map(|_| world.lease(LeaseKind::Create));
    world.grow(&honest, 500_000).unwrap();
    world.grow(&stalled, 500_000).unwrap();
    world.pass(10, &[(&honest, 10_000)]);
    assert_eq!(world.grow(&stalled, 500_001), Err(MemoryFull));
    assert!(!is_revoked(&honest));
    world.grow(&honest, 600_000).unwrap();
    assert!(is_revoked(&stalled));
}

#[test]
fn a_small_btoken_outlasts_a_large_one_that_stalls() {
    let mut world = World::new(4_000_000, 1_000_000);
    let [small, large] = [1, 2].map(|_| world.lease(LeaseKind::Create));
    world.grow(&small, 20_000).unwrap();
    world.grow(&large, 980_000).unwrap();
    world.pass(10, &[]);
    let newcomer = world.lease(LeaseKind::Create);
    world.grow(&newcomer, 100_000).unwrap();
    assert!(is_revoked(&large) && !is_revoked(&small));
}

#[test]
fn a_complete_upload_gives_way_to_nobody() {
    let mut world = World::new(400, 100);
    let complete = world.lease(LeaseKind::Create);
    world.grow(&complete, 100).unwrap();
    complete.complete();
    world.pass(60, &[]);
    let newcomer = world.lease(LeaseKind::Create);
    assert_eq!(world.grow(&newcomer, 100), Err(MemoryFull));
    assert!(!is_revoked(&complete));
}

#[test]
fn transfers_that_gave_way_hold_little_until_they_end() {
    let mut world = World::new(1600, 100);
    let old: Vec<_> = (0..16)
        .map(|account| world.lease(known(account + 1)))
        .collect();
    old.iter().for_each(|lease| world.grow(lease, 100).unwrap());
    world.pass(60, &[]);
    let new: Vec<_> = (0..16)
        .map(|account| world.lease(known(account + 100)))
        .collect();
    let got = |new: &[Lease]| {
        let fits = |lease: &&Lease| world.grow(lease, 100).is_ok();
        new.iter().filter(fits).count()
    };
    assert_eq!(got(&new), 2, "an eighth");
    let (gone, kept): (Vec<_>, Vec<_>) = old.into_iter().partition(is_revoked);
    assert_eq!((gone.len(), kept.len()), (2, 14));
    drop(gone);
    assert_eq!(got(&new), 4);
}
