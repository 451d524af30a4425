//! The stream ends after any byte, cleanly or not. An incomplete action has no effect, and no
//! client reports a success that did not happen.

use passmate_proto::{ActionKind, Failure, Input, Layout, Outcome, Reason, UnknownCause};

use crate::support::{Client, Exchange, LAYOUTS, Server, TOKEN, exchange, exchanges, old_account};

/// Two btokens of a realistic length: 4 KiB of padded plaintext, an IV and a MAC.
fn btokens() -> (Vec<u8>, Vec<u8>) {
    (vec![0x0a; 4144], vec![0x0b; 4144])
}

/// Whether the server may commit when it gets `len` bytes of the client and then this end.
fn may_commit(case: &Exchange, len: usize, clean: bool) -> bool {
    let other_reading = case.layout == Layout::One && case.action == ActionKind::Update && clean;
    len >= case.client_enough || (other_reading && len == case.btoken_end)
}

#[test]
fn a_server_has_the_old_or_the_new_btoken_after_any_cut() {
    let (old, new) = btokens();
    for case in exchanges(&old, &new) {
        for len in 0..=case.client_sends.len() {
            for (clean, end) in [(true, Input::CloseNotify), (false, Input::Cut)] {
                let mut server = Server::new(case.layout, case.before.clone());
                server.feed(&case.client_sends[..len]);
                server.end(end);
                let what = format!(
                    "{:?} {} at byte {len}, clean: {clean}",
                    case.layout, case.action
                );
                let commits = may_commit(&case, len, clean);
                assert_eq!(
                    server.is_confirmed(),
                    commits,
                    "{what}: {:?}",
                    server.ending
                );
                assert_eq!(
                    server.keeper,
                    if commits {
                        case.after.clone()
                    } else {
                        case.before.clone()
                    },
                    "{what}"
                );
                assert!(
                    server.ending.is_some(),
                    "{what}: a connection whose client is gone is over"
                );
                if !commits {
                    assert!(
                        case.server_sends.starts_with(&server.sent),
                        "{what}: no byte after a failure"
                    );
                }
            }
        }
    }
}

#[test]
fn a_client_believes_only_a_whole_confirmation() {
    let (old, new) = btokens();
    for case in exchanges(&old, &new) {
        let whole = case.server_sends.len();
        for len in 0..=whole {
            for (clean, end) in [(true, Input::CloseNotify), (false, Input::Cut)] {
                let mut client = Client::new(case.action, old_account(), TOKEN, Some(new.clone()));
                client.feed(&case.server_sends[..len]);
                client.end(end);
                let what = format!(
                    "{:?} {} at byte {len}, clean: {clean}",
                    case.layout, case.action
                );
                // In layout 2 the repeated number confirms, however the stream ends after it.
                let confirmed = len == whole && (clean || case.layout == Layout::Two);
                assert_eq!(
                    client.is_confirmed(),
                    confirmed,
                    "{what}: {:?}",
                    client.outcome
                );
                let outcome = client
                    .outcome
                    .unwrap_or_else(|| panic!("{what}: no outcome"));
                // After everything was sent, the outcome is never "failed".
                let sent_all = client.sent.len() == case.client_sends.len();
                match (case.action, outcome) {
                    (_, Outcome::Confirmed(_)) => {}
                    (ActionKind::Update, Outcome::Unknown(_)) => assert!(sent_all, "{what}"),
                    (ActionKind::Update, Outcome::Failed(_)) => assert!(!sent_all, "{what}"),
                    (ActionKind::Create, Outcome::Unknown(_)) => {
                        assert!(client.created.is_some(), "{what}")
                    }
                    (ActionKind::Create, Outcome::Failed(_)) => {
                        assert!(client.created.is_none(), "{what}")
                    }
                    (ActionKind::Reset, Outcome::Unknown(_) | Outcome::Failed(_)) => {}
                    (_, Outcome::Left) => panic!("{what}: it never left"),
                }
            }
        }
    }
}

#[test]
fn a_cut_is_a_failure_only_before_all_was_written() {
    for layout in LAYOUTS {
        let case = exchange(layout, ActionKind::Update, b"old", b"new");
        let fetched = case.server_sends.len() - if layout == Layout::Two { 8 } else { 0 };
        for (while_sending, expected) in [
            (true, Outcome::Failed(Failure::CutDuringUpload)),
            (false, Outcome::Unknown(UnknownCause::Cut)),
        ] {
            let mut client = Client::new(
                ActionKind::Update,
                old_account(),
                TOKEN,
                Some(b"new".to_vec()),
            );
            client.feed(&case.server_sends[..fetched]);
            if while_sending {
                client.machine.handle_cut_while_sending();
                client.pump();
            } else {
                client.end(Input::Cut);
            }
            assert_eq!(client.outcome, Some(expected));
        }
    }
}

#[test]
fn after_the_grace_time_the_server_sends_the_last_row() {
    let case = exchange(Layout::One, ActionKind::Update, b"old", b"new");
    let mut server = Server::new(Layout::One, case.before.clone());
    server.feed(&case.client_sends[..case.btoken_end]);
    assert!(server.machine.wants_grace() && server.ending.is_none());
    server.pass_grace();
    assert!(server.is_confirmed());
    assert_eq!(server.keeper, case.after);
    assert!(
        server.sent.ends_with(old_account().as_bytes()),
        "the server sends the row"
    );
}

#[test]
fn a_begun_last_row_stops_the_grace_time() {
    let case = exchange(Layout::One, ActionKind::Update, b"old", b"new");
    for len in case.btoken_end + 1..case.client_sends.len() {
        let mut server = Server::new(Layout::One, case.before.clone());
        server.feed(&case.client_sends[..len]);
        server.pass_grace();
        assert!(server.ending.is_none(), "only the client's reading is left");
        server.end(Input::CloseNotify);
        assert!(matches!(
            server.ending,
            Some(Err(Reason::EndedBeforeFinalNumber))
        ));
        assert_eq!(server.keeper, case.before);
    }
}

#[test]
fn a_wrong_last_row_changes_nothing() {
    let case = exchange(Layout::One, ActionKind::Update, b"old", b"new");
    for flipped in 0..64 {
        let mut bytes = case.client_sends.clone();
        bytes[case.btoken_end + flipped / 8] ^= 1 << (flipped % 8);
        let mut server = Server::new(Layout::One, case.before.clone());
        server.feed(&bytes);
        assert!(
            matches!(server.ending, Some(Err(Reason::WrongFinalNumber))),
            "bit {flipped}"
        );
        assert_eq!(server.keeper, case.before);
    }
}

#[test]
fn leaving_after_the_fetch_is_normal() {
    for layout in LAYOUTS {
        let case = exchange(layout, ActionKind::Update, b"old", b"new");
        let mut client = Client::new(ActionKind::Update, old_account(), TOKEN, None);
        client.feed(&case.server_sends);
        assert_eq!(client.outcome, Some(Outcome::Left));
        let mut server = Server::new(layout, case.before.clone());
        server.feed(&client.sent);
        server.end(Input::CloseNotify);
        assert!(matches!(server.ending, Some(Err(reason)) if reason.is_normal()));
        assert_eq!(server.keeper, case.before);
    }
}
