//! Single exchanges with a server, below vaults and sync: a btoken is whatever bytes a test likes.

use passmate_core::net::{Address, Server as Remote};
use passmate_core::sync::{Answer, Exchanged, Listener, Transport};
use passmate_core::trust::TlsTrust;
use passmate_proto::{AccountNumber, AuthToken, ClientAction, Outcome};
use passmate_vault::Trust;

use super::Server;

/// The auth token of every account that is made here.
pub(crate) fn token() -> AuthToken {
    AuthToken::new([7; 32])
}

/// A client that trusts the server by its pin.
pub(crate) fn remote(server: &Server) -> Remote {
    let address =
        Address::new(&server.address().ip().to_string(), server.address().port()).unwrap();
    let trust = Trust::Pins {
        current: server.pin,
        next: None,
    };
    Remote::new(address, TlsTrust::new(&trust).unwrap())
}

/// Answers a fetch with what a test decides, and keeps what came.
struct Once<F> {
    decide: Option<F>,
    fetched: Option<Vec<u8>>,
    created: Option<AccountNumber>,
}

impl<F: FnOnce(&[u8]) -> Answer> Listener for Once<F> {
    fn fetched(&mut self, btoken: Vec<u8>) -> Answer {
        let answer = self.decide.take().unwrap()(&btoken);
        self.fetched = Some(btoken);
        answer
    }

    fn created(&mut self, account: AccountNumber) {
        self.created = Some(account);
    }
}

fn exchange<F: FnOnce(&[u8]) -> Answer>(
    server: &Server,
    action: ClientAction,
    decide: F,
) -> (Exchanged, Option<Vec<u8>>, Option<AccountNumber>) {
    let mut once = Once {
        decide: Some(decide),
        fetched: None,
        created: None,
    };
    let exchanged = remote(server).exchange(action, &mut once).unwrap();
    (exchanged, once.fetched, once.created)
}

/// Makes an account; the server must confirm it.
pub(crate) fn create(server: &Server, btoken: &[u8]) -> AccountNumber {
    let action = ClientAction::Create {
        auth_token: token(),
        btoken: btoken.to_vec(),
    };
    let (exchanged, _, account) = exchange(server, action, |_| Answer::Leave);
    assert!(
        matches!(exchanged.outcome, Outcome::Confirmed(_)),
        "{exchanged:?}"
    );
    account.unwrap()
}

/// What is stored, if the account is there.
pub(crate) fn fetch(server: &Server, account: AccountNumber) -> Option<Vec<u8>> {
    exchange(
        server,
        ClientAction::Update {
            account,
            auth_token: token(),
        },
        |_| Answer::Leave,
    )
    .1
}

/// Replaces what is stored by what a test makes of it.
pub(crate) fn update(
    server: &Server,
    account: AccountNumber,
    change: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Outcome {
    let action = ClientAction::Update {
        account,
        auth_token: token(),
    };
    exchange(server, action, |btoken| Answer::Replace(change(btoken)))
        .0
        .outcome
}
