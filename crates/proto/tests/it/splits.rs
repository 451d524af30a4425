//! The pieces in which a stream arrives do not matter.

use passmate_proto::Input;
use proptest::prelude::*;

use crate::support::{ACTIONS, Client, Exchange, Server, TOKEN, exchange, exchanges, old_account};
use passmate_proto::{ActionKind, Layout};

const OLD: &[u8] = b"what was stored";
const NEW: &[u8] = b"what comes instead";

fn check_server(case: &Exchange, pieces: &[&[u8]]) {
    let mut server = Server::new(case.layout, case.before.clone());
    for piece in pieces {
        server.feed(piece);
    }
    let what = (case.layout, case.action);
    assert_eq!(server.sent, case.server_sends, "{what:?}");
    assert!(server.is_confirmed(), "{what:?}: {:?}", server.ending);
    assert_eq!(server.keeper, case.after, "{what:?}");
}

fn check_client(case: &Exchange, pieces: &[&[u8]]) {
    let mut client = Client::new(case.action, old_account(), TOKEN, Some(NEW.to_vec()));
    for piece in pieces {
        client.feed(piece);
    }
    client.end(Input::CloseNotify);
    let what = (case.layout, case.action);
    assert!(client.is_confirmed(), "{what:?}: {:?}", client.outcome);
    assert_eq!(client.sent, case.client_sends, "{what:?}");
    assert_eq!(
        client.fetched.as_deref(),
        (case.action == ActionKind::Update).then_some(OLD)
    );
}

/// Splits `stream` at the given places.
fn pieces<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = stream;
    let mut begun = 0;
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, behind) = rest.split_at(cut - begun);
        pieces.push(piece);
        (rest, begun) = (behind, *cut);
    }
    pieces.push(rest);
    pieces
}

#[test]
fn every_split_into_three_pieces_reads_the_same() {
    for case in exchanges(OLD, NEW) {
        for second in 0..=case.client_sends.len() {
            for first in 0..=second {
                check_server(&case, &pieces(&case.client_sends, &[first, second]));
            }
        }
        for second in 0..=case.server_sends.len() {
            for first in 0..=second {
                check_client(&case, &pieces(&case.server_sends, &[first, second]));
            }
        }
    }
}

#[test]
fn one_byte_at_a_time_reads_the_same() {
    for case in exchanges(OLD, NEW) {
        check_server(&case, &case.client_sends.chunks(1).collect::<Vec<_>>());
        check_client(&case, &case.server_sends.chunks(1).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn any_split_into_any_number_of_pieces_reads_the_same(
        layout in prop_oneof![Just(Layout::One), Just(Layout::Two)],
        action in prop::sample::select(ACTIONS.as_slice()),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let case = exchange(layout, action, OLD, NEW);
        let places = |len: usize| {
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
            places.sort_unstable();
            places
        };
        check_server(&case, &pieces(&case.client_sends, &places(case.client_sends.len())));
        check_client(&case, &pieces(&case.server_sends, &places(case.server_sends.len())));
    }
}
