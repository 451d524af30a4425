//! Beside the original programs: one account with the desktop client, one folder with the live one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use passmate::net::{Address, Server as Remote};
use passmate::sync::{Answer, Listener, Transport};
use passmate::trust::TlsTrust;
use passmate_proto::{AccountNumber, AuthToken, ClientAction};
use passmate_vault::codec::{BtokenShape, decode_btoken};
use passmate_vault::{Secret, SyncKey, Trust, Vault, btoken};

use crate::support::Server;
use crate::support::program::Home;

/// What the desktop client stores, and the key to it; the key's text is as the desktop client shows it.
struct Account {
    key: SyncKey,
    remote: Remote,
}

#[derive(Default)]
struct Listening {
    account: Option<AccountNumber>,
    fetched: Vec<u8>,
}

impl Listener for Listening {
    fn fetched(&mut self, btoken: Vec<u8>) -> Answer {
        self.fetched = btoken;
        Answer::Leave
    }

    fn created(&mut self, account: AccountNumber) {
        self.account = Some(account);
    }
}

impl Account {
    /// As the desktop client creates one, with a key that it cannot use itself afterwards: some of its bytes are zero.
    fn create(server: &Server, plaintext: &[u8]) -> Self {
        let trust = TlsTrust::new(&Trust::Pins { current: server.pin, next: None }).unwrap();
        let address = Address::new("127.0.0.1", server.address().port()).unwrap();
        let mut remote = Remote::new(address, trust);
        let mut secret = [0xA5; 32];
        (secret[0], secret[17]) = (0, 0);
        let unnumbered = SyncKey::from_parts([0; 8], Secret::from_bytes(secret));
        let action = ClientAction::Create {
            auth_token: AuthToken::new(*unnumbered.derive_auth_token().as_bytes()),
            btoken: btoken::seal(plaintext, &unnumbered, &mut rand_core::UnwrapErr(getrandom::SysRng)),
        };
        let mut listening = Listening::default();
        remote.exchange(action, &mut listening).unwrap();
        let account = *listening.account.unwrap().as_bytes();
        Self { key: SyncKey::from_parts(account, Secret::from_bytes(secret)), remote }
    }

    fn fetch(&mut self) -> (Vault, BtokenShape) {
        let mut listening = Listening::default();
        let account = AccountNumber::from_bytes(self.key.account()).unwrap();
        let auth_token = AuthToken::new(*self.key.derive_auth_token().as_bytes());
        self.remote.exchange(ClientAction::Update { account, auth_token }, &mut listening).unwrap();
        decode_btoken(&btoken::open(&listening.fetched, &self.key).unwrap()).unwrap()
    }
}

#[test]
fn an_account_of_the_desktop_client_is_shared_until_it_is_upgraded() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--listen", "none", "--listen-v2", "127.0.0.1:0"]);
    let plaintext =
        br#"{"42":[["PATH",1500000000,"web/mail"],["_password",1500000001,"one"],["_note",1500000002,"a","b"]]}"#;
    let mut account = Account::create(&server, plaintext);

    let home = Home::new();
    home.run(&["init"]).ok();
    home.write("key", account.key.to_text().as_bytes());
    let (host, pin) = (server.address().to_string(), server.pin.to_string());
    home.run(&["sync", "setup", &host, "--pin", &pin, "--key-file", home.path().join("key").to_str().unwrap()]).ok();
    assert_eq!(home.run(&["show", "web/mail", "note"]).ok(), "a\nb\n");
    home.run_with(&["set", "web/mail", "password"], "two\n").ok();
    assert_eq!(home.run(&["sync"]).ok(), "synced with 127.0.0.1: 0 received, 1 sent, 0 settled\n");
    assert!(home.run(&["sync", "status"]).ok().contains("shared with: the original desktop client\n"));
    let (there, shape) = account.fetch();
    assert_eq!(shape, BtokenShape::Desktop);
    assert_eq!(there.view().get("web/mail").unwrap().field(&"password".into()).unwrap().value.to_string_lossy(), "two");

    home.run(&["sync", "upgrade", "--no-input"]).failed(3);
    home.run(&["sync", "upgrade", "--yes"]).ok();
    assert_eq!(account.fetch(), (there, BtokenShape::Passmate2));
    assert!(!home.run(&["sync", "status"]).ok().contains("desktop"));
}
