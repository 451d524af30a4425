//! Any bytes from a server, in any pieces, with any end: no panic, no buffer beyond the limits,
//! exactly one outcome, and no confirmation without an authenticated end (layout 1) or the account
//! number (layout 2).
#![no_main]

use libfuzzer_sys::fuzz_target;
use passmate_proto::{
    AccountNumber, AuthToken, ClientAction, ClientConfig, ClientEvent, ClientMachine, Input,
    Layout, Outcome, SERVER_HELLO,
};

const LIMIT: u32 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some(([settings, pieces], mut rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let account = AccountNumber::from_bytes([7; 8]).expect("not zero");
    let auth_token = AuthToken::new([9; 32]);
    let action = match settings & 3 {
        0 => ClientAction::Create {
            auth_token,
            btoken: b"sealed".to_vec(),
        },
        1 => ClientAction::Reset {
            account,
            auth_token,
        },
        _ => ClientAction::Update {
            account,
            auth_token,
        },
    };
    let is_clean = settings & 4 == 0;
    let mut machine = ClientMachine::new(
        ClientConfig {
            btoken_len_max: LIMIT,
            ..ClientConfig::default()
        },
        action,
    );
    if settings & 8 == 0 {
        machine.handle_input(Input::Bytes(SERVER_HELLO));
    }
    let (mut outcomes, mut turn) = (Vec::new(), 0);
    let mut look = |machine: &mut ClientMachine| {
        while let Some(event) = machine.poll_event() {
            match event {
                ClientEvent::Greeted { banner, .. } => assert!(banner.len() <= 32 << 10),
                ClientEvent::Fetched(btoken) => {
                    assert!(btoken.len() <= LIMIT as usize);
                    let chosen = if settings & 16 == 0 {
                        machine.replace(b"merged".to_vec())
                    } else {
                        machine.leave()
                    };
                    chosen.expect("the machine requested it");
                }
                ClientEvent::Created(_) => {}
                ClientEvent::Ended(outcome) => outcomes.push(outcome),
            }
        }
        while machine.poll_output().is_some() {}
    };
    while !rest.is_empty() {
        let len = (1 + usize::from(pieces.rotate_left(turn) & 0x3f)).min(rest.len());
        let mut piece = &rest[..len];
        rest = &rest[len..];
        for _ in 0..2 {
            let taken = machine.handle_input(Input::Bytes(piece));
            piece = &piece[taken..];
            look(&mut machine);
        }
        assert!(
            piece.is_empty(),
            "a client without a pending request consumes all input"
        );
        turn = (turn + 1) % 8;
    }
    machine.handle_input(if is_clean {
        Input::CloseNotify
    } else {
        Input::Cut
    });
    look(&mut machine);
    assert_eq!(outcomes.len(), 1);
    if matches!(outcomes[0], Outcome::Confirmed(_)) {
        assert!(is_clean || machine.layout() == Some(Layout::Two));
    }
});
