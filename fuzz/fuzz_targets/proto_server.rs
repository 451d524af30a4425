//! Any bytes from a client, in any pieces, with any end: no panic, no buffer beyond the limit, and
//! no clean end without a commit.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use passmate_proto::{AccountNumber, Ending, Input, Layout, Request, ServerConfig, ServerMachine};

const LIMIT: u32 = 1 << 20;

/// The proof of a commit.
struct Proof;

struct Driven {
    machine: ServerMachine<Proof>,
    commits: u32,
    confirmed: u32,
    is_over: bool,
}

impl Driven {
    fn answer(&mut self, will: bool) {
        let Some(request) = self.machine.poll_request() else {
            return;
        };
        let answered = match request {
            Request::Create { btoken, .. } if will => {
                assert!(btoken.len() <= LIMIT as usize);
                self.commits += 1;
                self.machine
                    .created(AccountNumber::from_bytes([1; 8]).expect("not zero"), Proof)
            }
            Request::Fetch {
                account: Some(_), ..
            } if will => self.machine.fetched(Arc::from(&b"stored"[..])),
            Request::Replace { btoken } if will => {
                assert!(btoken.len() <= LIMIT as usize);
                self.commits += 1;
                self.machine.replaced(Proof)
            }
            Request::Delete {
                account: Some(_), ..
            } if will => {
                self.commits += 1;
                self.machine.deleted(Proof)
            }
            _ => self.machine.refused(),
        };
        answered.expect("the machine requested it");
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            assert!(!self.is_over, "output after the end");
            assert!(output.as_ref().len() <= 64 << 10);
        }
        if let Some(ending) = self.machine.poll_ending() {
            assert!(!self.is_over, "a second ending");
            self.is_over = true;
            self.confirmed += u32::from(matches!(ending, Ending::Confirmed(Proof)));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(([settings, pieces, answers], mut rest)) = data.split_first_chunk::<3>() else {
        return;
    };
    let layout = if settings & 1 == 0 {
        Layout::One
    } else {
        Layout::Two
    };
    let config = ServerConfig {
        layout,
        banner: Arc::from(&b"banner"[..]),
        btoken_len_max: LIMIT,
    };
    let mut driven = Driven {
        machine: ServerMachine::new(config),
        commits: 0,
        confirmed: 0,
        is_over: false,
    };
    // Half of the inputs start after the hello, so that the fuzzer reaches the actions.
    if settings & 2 == 0 {
        driven
            .machine
            .handle_input(Input::Bytes(passmate_proto::CLIENT_HELLO));
    }
    let mut turn = 0;
    while !rest.is_empty() {
        let len = (1 + usize::from(pieces.rotate_left(turn) & 0x3f)).min(rest.len());
        let mut piece = &rest[..len];
        rest = &rest[len..];
        // An answer may let the machine consume the rest of a piece. If it still does not, a stream
        // would hold the rest back.
        for _ in 0..4 {
            assert!(driven.machine.buffer_needed(piece.len()) <= LIMIT as usize);
            let taken = driven.machine.handle_input(Input::Bytes(piece));
            piece = &piece[taken..];
            driven.answer(answers.rotate_left(turn) & 1 == 0);
            driven.drain();
        }
        if settings & 4 != 0 {
            driven.machine.handle_grace_elapsed();
        }
        turn = (turn + 1) % 8;
    }
    driven.machine.handle_input(if settings & 8 == 0 {
        Input::CloseNotify
    } else {
        Input::Cut
    });
    driven.answer(true);
    driven.drain();
    assert_eq!(
        driven.commits, driven.confirmed,
        "each commit has one clean end, and each clean end one commit"
    );
    assert!(driven.is_over, "the exchange must end with the stream");
});
