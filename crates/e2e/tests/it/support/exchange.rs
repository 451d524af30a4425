//! Single exchanges with a server, without vaults and sync. A btoken can be any bytes.

use passmate_core::net::trust::TlsTrust;
use passmate_core::net::{Address, Server as Remote};
use passmate_core::sync::{ConnectError, Transport};
use passmate_proto::{AccountNumber, AuthToken, Outcome};
use passmate_vault::Trust;

use super::Server;

/// The auth token of all accounts that [`create`] makes.
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

/// Creates an account. Panics unless the server confirms it.
pub(crate) fn create(server: &Server, btoken: &[u8]) -> AccountNumber {
    let connection = remote(server).connect().unwrap();
    let created = connection.create(token(), btoken.to_vec()).ok().unwrap();
    let account = created.account();
    let ended = created.finish();
    assert!(matches!(ended.outcome, Outcome::Confirmed(_)), "{ended:?}");
    account
}

/// The btoken of an account, if the account exists.
pub(crate) fn fetch(server: &Server, account: AccountNumber) -> Option<Vec<u8>> {
    let connection = remote(server).connect().unwrap();
    let fetched = connection.update(account, token()).ok()?;
    let btoken = fetched.btoken().to_vec();
    fetched.leave();
    Some(btoken)
}

/// Replaces the btoken of an account by what `change` makes of it.
pub(crate) fn update(
    server: &Server,
    account: AccountNumber,
    change: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Outcome {
    try_update(server, account, change).expect("the server can be reached")
}

/// [`update`] with a server that may be unreachable.
pub(crate) fn try_update(
    server: &Server,
    account: AccountNumber,
    change: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Result<Outcome, ConnectError> {
    Ok(match remote(server).connect()?.update(account, token()) {
        Ok(fetched) => {
            let btoken = change(fetched.btoken());
            fetched.replace(btoken).outcome
        }
        Err(ended) => ended.outcome,
    })
}
