//! Both machines talk to each other in memory, under a virtual clock, over a network that splits,
//! delays, cuts and stalls. Whatever happens, a success that the client reports is real.

use std::collections::VecDeque;

use passmate_proto::{ActionKind, Input, Layout, Outcome};
use proptest::prelude::*;

use crate::support::{ACTIONS, Client, Exchange, Server, TOKEN, exchange, old_account};

/// Milliseconds of the virtual clock.
type Time = u64;
const GRACE: Time = 500;
/// A side that receives nothing for this long gives up.
const IDLE: Time = 30_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// After this many bytes in this direction, both sides see the stream end.
    Cut(Direction, usize),
    /// After this many bytes in this direction, nothing more arrives.
    Stall(Direction, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    CloseNotify,
    Cut,
}

/// One direction of a stream: pieces in order, each with its time of arrival.
struct Pipe {
    pieces: VecDeque<(Time, Piece)>,
    last_at: Time,
    carried: usize,
    /// Bytes that pass before the trouble begins.
    pass_len: Option<usize>,
    is_closed: bool,
}

impl Pipe {
    fn new(direction: Direction, trouble: Trouble) -> Self {
        let pass_len = match trouble {
            Trouble::Cut(at, len) | Trouble::Stall(at, len) if at == direction => Some(len),
            _ => None,
        };
        Self {
            pieces: VecDeque::new(),
            last_at: 0,
            carried: 0,
            pass_len,
            is_closed: false,
        }
    }

    /// Sends the new bytes of `stream`. Returns true if the trouble begins.
    fn send(&mut self, now: Time, stream: &[u8], chance: &mut Chance) -> bool {
        let mut rest = stream[self.carried..].to_vec();
        self.carried = stream.len();
        let mut in_trouble = false;
        if let Some(pass_len) = &mut self.pass_len {
            in_trouble = rest.len() >= *pass_len;
            rest.truncate(*pass_len);
            *pass_len -= rest.len();
        }
        while !rest.is_empty() && !self.is_closed {
            let behind = rest.split_off(1 + chance.below(rest.len()));
            self.push(now, Piece::Bytes(rest), chance);
            rest = behind;
        }
        in_trouble
    }

    fn push(&mut self, now: Time, piece: Piece, chance: &mut Chance) {
        self.last_at = self.last_at.max(now) + chance.below(20) as Time;
        self.pieces.push_back((self.last_at, piece));
    }

    fn close(&mut self, now: Time, piece: Piece, chance: &mut Chance) {
        // A stalled direction does not deliver an end either.
        if !self.is_closed && self.pass_len != Some(0) {
            self.push(now, piece, chance);
        }
        self.is_closed = true;
    }

    fn next_at(&self) -> Time {
        self.pieces.front().map_or(Time::MAX, |(at, _)| *at)
    }
}

/// Pseudo-random small numbers from a seed, for splits and delays.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

struct Talk {
    server: Server,
    client: Client,
    grace_passed: bool,
    took: Time,
}

/// `awaits_last_row`: the client is not ours and leaves the last row of *update* to the server.
fn talk(case: &Exchange, new: &[u8], awaits_last_row: bool, trouble: Trouble, seed: u64) -> Talk {
    let mut chance = Chance(seed);
    let mut server = Server::new(case.layout, case.before.clone());
    let mut client = Client::new(case.action, old_account(), TOKEN, Some(new.to_vec()));
    let mut to_server = Pipe::new(Direction::ToServer, trouble);
    let mut to_client = Pipe::new(Direction::ToClient, trouble);
    let (mut grace_at, mut grace_passed) = (None, false);
    let mut now: Time = 0;
    let mut heard_at = [0; 2];
    let mut is_cut = false;
    for _ in 0..100_000 {
        let mut visible = client.sent.as_slice();
        if awaits_last_row && visible.len() == case.client_sends.len() {
            visible = &visible[..case.btoken_end];
        }
        let begins = to_server.send(now, visible, &mut chance)
            | to_client.send(now, &server.sent, &mut chance);
        if begins && matches!(trouble, Trouble::Cut(..)) && !is_cut {
            is_cut = true;
            for pipe in [&mut to_server, &mut to_client] {
                pipe.push(now, Piece::Cut, &mut chance);
                pipe.is_closed = true;
            }
        }
        match &server.ending {
            Some(Ok(_)) => to_client.close(now, Piece::CloseNotify, &mut chance),
            Some(Err(_)) => to_client.close(now, Piece::Cut, &mut chance),
            None => {}
        }
        if client.outcome.is_some() {
            let end = if chance.below(2) == 0 {
                Piece::Cut
            } else {
                Piece::CloseNotify
            };
            to_server.close(now, end, &mut chance);
        }
        if server.ending.is_some() && client.outcome.is_some() {
            return Talk {
                server,
                client,
                grace_passed,
                took: now,
            };
        }
        grace_at = if server.machine.wants_grace() {
            grace_at.or(Some(now + GRACE))
        } else {
            None
        };
        let idle_at = heard_at.map(|at| at + IDLE);
        let grace = grace_at.unwrap_or(Time::MAX);
        now = to_server
            .next_at()
            .min(to_client.next_at())
            .min(grace)
            .min(idle_at[0])
            .min(idle_at[1])
            .max(now);
        if to_server.next_at() == now {
            heard_at[0] = now;
            match to_server.pieces.pop_front().unwrap().1 {
                Piece::Bytes(bytes) => server.feed(&bytes),
                Piece::CloseNotify => server.end(Input::CloseNotify),
                Piece::Cut => server.end(Input::Cut),
            }
        } else if to_client.next_at() == now {
            heard_at[1] = now;
            match to_client.pieces.pop_front().unwrap().1 {
                Piece::Bytes(bytes) => client.feed(&bytes),
                Piece::CloseNotify => client.end(Input::CloseNotify),
                Piece::Cut => client.end(Input::Cut),
            }
        } else if grace == now {
            grace_passed = true;
            server.pass_grace();
        } else {
            // One side reaches its idle limit and ends the stream.
            if idle_at[0] == now {
                server.end(Input::Cut);
                heard_at[0] = now;
            }
            if idle_at[1] == now {
                client.end(Input::Cut);
                heard_at[1] = now;
            }
        }
    }
    panic!("the conversation never ended");
}

fn any_direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::ToServer), Just(Direction::ToClient)]
}

fn any_trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        1 => Just(Trouble::None),
        4 => (any_direction(), 0..400usize)
            .prop_map(|(direction, len)| Trouble::Cut(direction, len)),
        2 => (any_direction(), 0..400usize)
            .prop_map(|(direction, len)| Trouble::Stall(direction, len)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_reported_success_is_real(
        layout in prop_oneof![Just(Layout::One), Just(Layout::Two)],
        action in prop::sample::select(ACTIONS.as_slice()),
        new in prop::collection::vec(any::<u8>(), 0..150),
        other_reading in any::<bool>(),
        trouble in any_trouble(),
        seed in any::<u64>(),
    ) {
        let case = exchange(layout, action, b"what was stored", &new);
        let is_ambiguous = layout == Layout::One && action == ActionKind::Update;
        let awaits_last_row = other_reading && is_ambiguous;
        let talk = talk(&case, &new, awaits_last_row, trouble, seed);
        let is_committed = talk.server.keeper == case.after;

        // A clean end means a commit, and a commit means a clean end. (An update may store a btoken
        // equal to the stored one.)
        prop_assert!(is_committed || talk.server.keeper == case.before);
        if case.after != case.before {
            prop_assert_eq!(talk.server.is_confirmed(), is_committed);
        }
        match talk.client.outcome.unwrap() {
            Outcome::Confirmed(_) => prop_assert!(is_committed && talk.server.is_confirmed()),
            // A failed update had no effect. A lost answer to create leaves an account whose number
            // nobody knows.
            Outcome::Failed(_) if action == ActionKind::Update => {
                prop_assert!(!talk.server.is_confirmed());
            }
            _ => {}
        }
        if trouble == Trouble::None {
            prop_assert!(talk.client.is_confirmed(), "{:?}", talk.client.outcome);
            prop_assert_eq!(talk.grace_passed, awaits_last_row, "after {} ms", talk.took);
        }
    }
}
