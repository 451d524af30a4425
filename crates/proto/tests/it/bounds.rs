//! Limits: announced bytes take no memory, and every length is checked.

use std::sync::Arc;

use passmate_proto::{
    ActionKind, BANNER_LEN_MAX, ClientAction, ClientConfig, ClientEvent, ClientMachine, Failure,
    Input, Layout, Outcome, Reason, SERVER_HELLO, ServerConfig, ServerPhase,
};

use crate::support::{
    ACTIONS, Client, Keeper, LAYOUTS, LIMIT, Server, TOKEN, exchange, old_account,
};

/// A server that has got everything before the length of the client's btoken.
fn server_before_length(layout: Layout, action: ActionKind, btoken_len_max: u32) -> Server {
    let case = exchange(layout, action, b"old", b"");
    let config = ServerConfig {
        layout,
        banner: Arc::from(&b""[..]),
        btoken_len_max,
    };
    let mut server = Server::with_config(config, case.before.clone());
    server.feed(&case.client_sends[..case.btoken_end - 4]);
    server
}

#[test]
fn the_longest_btoken_is_accepted_and_a_longer_one_is_not() {
    for layout in LAYOUTS {
        for action in [ActionKind::Create, ActionKind::Update] {
            let whole = vec![7; LIMIT as usize];
            let case = exchange(layout, action, b"old", &whole);
            let mut server = Server::new(layout, case.before.clone());
            server.feed(&case.client_sends);
            assert!(server.is_confirmed());

            let mut server = server_before_length(layout, action, LIMIT);
            server.feed(&(LIMIT + 1).to_be_bytes());
            let expected = Reason::BtokenTooLong {
                announced: LIMIT + 1,
                limit: LIMIT,
            };
            assert!(matches!(server.ending, Some(Err(reason)) if reason == expected));
        }
    }
}

#[test]
fn a_limit_that_is_set_before_the_length_counts() {
    for layout in LAYOUTS {
        let mut server = server_before_length(layout, ActionKind::Update, LIMIT);
        server.machine.set_btoken_len_max(2);
        server.feed(&3_u32.to_be_bytes());
        let expected = Reason::BtokenTooLong {
            announced: 3,
            limit: 2,
        };
        assert!(matches!(server.ending, Some(Err(reason)) if reason == expected));

        let mut server = server_before_length(layout, ActionKind::Update, 2);
        server.machine.set_btoken_len_max(LIMIT);
        server.feed(&LIMIT.to_be_bytes());
        assert_eq!(server.machine.phase(), ServerPhase::Upload);
    }
}

#[test]
fn announcing_four_gigabytes_takes_no_memory() {
    for layout in LAYOUTS {
        for action in [ActionKind::Create, ActionKind::Update] {
            let mut server = server_before_length(layout, action, u32::MAX);
            server.machine.handle_input(Input::Bytes(&[0xff; 4]));
            assert_eq!(server.machine.phase(), ServerPhase::Upload);
            assert_eq!(server.machine.buffer_needed(0), 0);
            assert_eq!(server.machine.buffer_needed(1), 64 << 10);
            assert_eq!(server.machine.buffer_needed(1 << 20), 1 << 20);
        }
    }
}

#[test]
fn a_zero_length_btoken_is_valid() {
    for layout in LAYOUTS {
        for action in ACTIONS {
            let case = exchange(layout, action, b"", b"");
            let mut server = Server::new(layout, case.before.clone());
            server.feed(&case.client_sends);
            assert!(server.is_confirmed());
            assert_eq!(server.keeper, case.after);
            let mut client = Client::new(action, old_account(), TOKEN, Some(Vec::new()));
            client.feed(&case.server_sends);
            client.end(Input::CloseNotify);
            assert!(client.is_confirmed());
        }
    }
}

#[test]
fn a_wrong_hello_is_cut_at_its_first_wrong_byte() {
    let case = exchange(Layout::One, ActionKind::Reset, b"old", b"");
    for wrong in 0..24 {
        let mut bytes = case.client_sends.clone();
        bytes[wrong] ^= 0x20;
        let mut server = Server::new(Layout::One, case.before.clone());
        server.feed(&bytes[..=wrong]);
        assert!(
            matches!(server.ending, Some(Err(Reason::WrongHello))),
            "byte {wrong}"
        );
        server.feed(&bytes[wrong + 1..]);
        assert_eq!((server.sent.len(), &server.keeper), (0, &case.before));
    }
}

#[test]
fn every_unknown_action_byte_is_refused() {
    for byte in (0..=u8::MAX).filter(|byte| !b"cur".contains(byte)) {
        let mut server = Server::new(Layout::One, Keeper::with_old(b"old"));
        server.feed(b"passmate-server-protocol");
        server.feed(&[byte]);
        assert!(matches!(server.ending, Some(Err(Reason::UnknownAction(seen))) if seen == byte));
    }
}

#[test]
fn a_server_sends_nothing_before_the_whole_hello() {
    let mut server = Server::new(Layout::One, Keeper::with_old(b"old"));
    for byte in b"passmate-server-protocol" {
        assert!(server.sent.is_empty());
        server.feed(&[*byte]);
    }
    assert!(!server.sent.is_empty());
}

#[test]
fn an_account_number_of_zeros_is_unknown() {
    for action in [ActionKind::Update, ActionKind::Reset] {
        let mut bytes = exchange(Layout::One, action, b"old", b"new").client_sends;
        bytes[25..33].fill(0);
        let mut server = Server::new(Layout::One, Keeper::with_old(b"old"));
        server.feed(&bytes);
        assert!(matches!(server.ending, Some(Err(Reason::Refused))));
    }
}

/// While a request waits, flow control of the stream holds the client back.
#[test]
fn a_waiting_machine_takes_no_input() {
    let case = exchange(Layout::One, ActionKind::Update, b"old", b"new");
    let config = ServerConfig {
        layout: Layout::One,
        banner: Arc::from(&b""[..]),
        btoken_len_max: LIMIT,
    };
    let mut machine = passmate_proto::ServerMachine::<()>::new(config);
    let taken = machine.handle_input(Input::Bytes(&case.client_sends));
    assert_eq!((taken, machine.phase()), (65, ServerPhase::Waiting));
    assert_eq!(
        machine.handle_input(Input::Bytes(&case.client_sends[65..])),
        0
    );
    assert!(
        machine.poll_request().is_some() && machine.poll_request().is_none(),
        "one request, once"
    );
    machine.fetched(Arc::from(&b"old"[..])).unwrap();
    assert_eq!(
        machine.handle_input(Input::Bytes(&case.client_sends[65..])),
        4,
        "the length, and then the caller"
    );
    assert!(
        machine.created(old_account(), ()).is_err(),
        "an answer that was not asked for is refused"
    );
    assert!(
        machine.deleted(()).is_err() && machine.replaced(()).is_err() && machine.refused().is_err()
    );
    assert_eq!(
        machine.handle_input(Input::Bytes(&case.client_sends[69..])),
        11
    );
    assert_eq!(machine.phase(), ServerPhase::Waiting);
}

fn client_told(bytes: &[u8]) -> Client {
    let mut client = Client::new(ActionKind::Update, old_account(), TOKEN, None);
    client.feed(bytes);
    client
}

#[test]
fn a_client_refuses_every_unknown_version() {
    for version in 0..=u16::MAX {
        let mut client = client_told(&[&SERVER_HELLO[..], &version.to_be_bytes()].concat());
        match version {
            0 | 2 => {
                assert_eq!(client.outcome, None);
                client.feed(&[0; 4][..if version == 2 { 4 } else { 2 }]);
                let layout = if version == 2 {
                    Layout::Two
                } else {
                    Layout::One
                };
                assert_eq!(client.machine.layout(), Some(layout));
            }
            _ => assert_eq!(
                client.outcome,
                Some(Outcome::Failed(Failure::VersionUnsupported(version)))
            ),
        }
    }
}

#[test]
fn a_client_refuses_a_longer_banner_or_btoken() {
    let limit = BANNER_LEN_MAX;
    let head = |len: u32| [&SERVER_HELLO[..], &[0, 2], &len.to_be_bytes()].concat();
    assert_eq!(client_told(&head(limit)).outcome, None);
    let expected = Failure::BannerTooLong {
        announced: limit + 1,
        limit,
    };
    assert_eq!(
        client_told(&head(limit + 1)).outcome,
        Some(Outcome::Failed(expected))
    );
    assert_eq!(
        client_told(&[&head(0)[..], &LIMIT.to_be_bytes()].concat()).outcome,
        None
    );
    let expected = Failure::BtokenTooLong {
        announced: u32::MAX,
        limit: LIMIT,
    };
    assert_eq!(
        client_told(&[&head(0)[..], &[0xff; 4]].concat()).outcome,
        Some(Outcome::Failed(expected))
    );
}

#[test]
fn a_client_never_sends_create_before_it_knows_the_layout() {
    let action = || ClientAction::Create {
        auth_token: passmate_proto::AuthToken::new(TOKEN),
        btoken: b"x".to_vec(),
    };
    let mut machine = ClientMachine::new(ClientConfig::default(), action());
    assert_eq!(
        machine.poll_output().unwrap().as_ref(),
        b"passmate-server-protocol"
    );
    assert!(machine.poll_output().is_none());
    machine.handle_input(Input::Bytes(SERVER_HELLO));
    machine.handle_input(Input::Bytes(&[0, 0, 0]));
    assert!(machine.poll_output().is_none());
    machine.handle_input(Input::Bytes(&[0]));
    assert!(matches!(
        machine.poll_event(),
        Some(ClientEvent::Greeted {
            layout: Layout::One,
            ..
        })
    ));
    assert_eq!(machine.poll_output().unwrap().as_ref()[0], b'c');
}

#[test]
fn surplus_bytes_in_layout_1_are_no_confirmation() {
    for action in ACTIONS {
        let case = exchange(Layout::One, action, b"old", b"new");
        let number = old_account();
        // A repeated number is the other reading of the last row, and valid after update and reset.
        for (surplus, fine) in [
            (&number.as_bytes()[..], action != ActionKind::Create),
            (&[1][..], false),
        ] {
            let mut client = Client::new(action, number, TOKEN, Some(b"new".to_vec()));
            client.feed(&[&case.server_sends[..], surplus].concat());
            client.end(Input::CloseNotify);
            assert_eq!(
                client.is_confirmed(),
                fine,
                "{action} {surplus:?}: {:?}",
                client.outcome
            );
        }
        let mut client = Client::new(action, number, TOKEN, Some(b"new".to_vec()));
        client.feed(&[&case.server_sends[..], number.as_bytes(), &[0]].concat());
        client.end(Input::CloseNotify);
        assert!(!client.is_confirmed(), "{action}: {:?}", client.outcome);
    }
}

#[test]
fn another_number_as_confirmation_is_unknown() {
    for layout in LAYOUTS {
        for action in [ActionKind::Update, ActionKind::Reset] {
            let case = exchange(layout, action, b"old", b"new");
            let mut client = Client::new(action, old_account(), TOKEN, Some(b"new".to_vec()));
            let before = if layout == Layout::Two {
                case.server_sends.len() - 8
            } else {
                case.server_sends.len()
            };
            client.feed(&case.server_sends[..before]);
            client.feed(&[0x33; 8]);
            client.end(Input::CloseNotify);
            assert!(
                matches!(client.outcome, Some(Outcome::Unknown(_))),
                "{layout:?} {action}: {:?}",
                client.outcome
            );
        }
    }
}

#[test]
fn an_answer_before_its_question_confirms_nothing() {
    for layout in LAYOUTS {
        let case = exchange(layout, ActionKind::Update, b"old", b"new");
        let mut machine = ClientMachine::new(
            ClientConfig::default(),
            ClientAction::Update {
                account: old_account(),
                auth_token: passmate_proto::AuthToken::new(TOKEN),
            },
        );
        assert!(machine.poll_output().is_some());
        let taken = machine.handle_input(Input::Bytes(&case.server_sends));
        machine.replace(b"new".to_vec()).unwrap();
        assert_eq!(
            machine.handle_input(Input::Bytes(&case.server_sends[taken..])),
            0
        );
        machine.handle_input(Input::CloseNotify);
        let ended = core::iter::from_fn(|| machine.poll_event()).last();
        let expected = Outcome::Failed(Failure::CutDuringUpload);
        assert!(
            matches!(ended, Some(ClientEvent::Ended(outcome)) if outcome == expected),
            "{ended:?}"
        );
    }
}
