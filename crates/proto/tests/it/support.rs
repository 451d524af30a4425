//! A store in a map, a server machine that uses it, and exchanges for both machines.

use std::collections::BTreeMap;
use std::sync::Arc;

use passmate_proto::{
    AccountNumber, ActionKind, AuthToken, CLIENT_HELLO, ClientAction, ClientConfig, ClientEvent,
    ClientMachine, Ending, Input, Layout, Outcome, Reason, Request, SERVER_HELLO, ServerConfig,
    ServerMachine,
};

pub(crate) const BANNER: &str = "hello\nbtoken-max 5000\n";
pub(crate) const LIMIT: u32 = 5000;
pub(crate) const TOKEN: [u8; 32] = [0xa5; 32];
pub(crate) const LAYOUTS: [Layout; 2] = [Layout::One, Layout::Two];
pub(crate) const ACTIONS: [ActionKind; 3] =
    [ActionKind::Create, ActionKind::Update, ActionKind::Reset];

pub(crate) fn number(byte: u8) -> AccountNumber {
    AccountNumber::from_bytes([byte; 8]).unwrap()
}

/// The account that exists before an exchange, and the account that *create* makes.
pub(crate) fn old_account() -> AccountNumber {
    number(0x11)
}
pub(crate) fn new_account() -> AccountNumber {
    number(0x22)
}

/// A proof that only [`Keeper`] can make, by changing something.
#[derive(Debug)]
pub(crate) struct Proof(());

/// Accounts in a map: the simplest store for a server machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keeper {
    pub(crate) accounts: BTreeMap<AccountNumber, ([u8; 32], Vec<u8>)>,
    pub(crate) next: AccountNumber,
}

impl Keeper {
    pub(crate) fn with_old(btoken: &[u8]) -> Self {
        Self {
            accounts: BTreeMap::from([(old_account(), (TOKEN, btoken.to_vec()))]),
            next: new_account(),
        }
    }

    fn stored(&self, account: Option<AccountNumber>, token: &AuthToken) -> Option<Vec<u8>> {
        let (kept, btoken) = self.accounts.get(&account?)?;
        AuthToken::new(*kept).ct_eq(token).then(|| btoken.clone())
    }
}

/// A server machine with a store.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) machine: ServerMachine<Proof>,
    pub(crate) keeper: Keeper,
    /// All bytes that the machine sent.
    pub(crate) sent: Vec<u8>,
    pub(crate) ending: Option<Result<Proof, Reason>>,
    /// Input that the machine has not taken.
    unread: Vec<u8>,
    fetched: Option<(AccountNumber, Vec<u8>)>,
}

impl Server {
    pub(crate) fn new(layout: Layout, keeper: Keeper) -> Self {
        Self::with_config(
            ServerConfig {
                layout,
                banner: Arc::from(BANNER.as_bytes()),
                btoken_len_max: LIMIT,
            },
            keeper,
        )
    }

    pub(crate) fn with_config(config: ServerConfig, keeper: Keeper) -> Self {
        let machine = ServerMachine::new(config);
        Self {
            machine,
            keeper,
            sent: Vec::new(),
            ending: None,
            unread: Vec::new(),
            fetched: None,
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        self.pump();
    }

    pub(crate) fn end(&mut self, input: Input<'_>) {
        self.machine.handle_input(input);
        self.pump();
    }

    pub(crate) fn pass_grace(&mut self) {
        self.machine.handle_grace_elapsed();
        self.pump();
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        matches!(self.ending, Some(Ok(Proof(()))))
    }

    fn pump(&mut self) {
        loop {
            while let Some(output) = self.machine.poll_output() {
                self.sent.extend_from_slice(output.as_ref());
            }
            if let Some(ending) = self.machine.poll_ending() {
                assert!(self.ending.is_none(), "one ending only");
                self.ending = Some(match ending {
                    Ending::Confirmed(proof) => Ok(proof),
                    Ending::Cut(reason) => Err(reason),
                });
            }
            if let Some(request) = self.machine.poll_request() {
                self.answer(request);
                continue;
            }
            let promised = self.machine.buffer_needed(self.unread.len());
            assert!(
                promised <= LIMIT.max(64 << 10) as usize,
                "no buffer beyond the limit"
            );
            let taken = self.machine.handle_input(Input::Bytes(&self.unread));
            if taken == 0 {
                return;
            }
            self.unread.drain(..taken);
        }
    }

    fn answer(&mut self, request: Request) {
        let keeper = &mut self.keeper;
        match request {
            Request::Create { auth_token, btoken } => {
                keeper
                    .accounts
                    .insert(keeper.next, (*auth_token.as_bytes(), btoken));
                self.machine.created(keeper.next, Proof(())).unwrap();
            }
            Request::Fetch {
                account,
                auth_token,
            } => match keeper.stored(account, &auth_token) {
                Some(btoken) => {
                    self.fetched = account.map(|account| (account, btoken.clone()));
                    self.machine.fetched(btoken.into()).unwrap();
                }
                None => self.machine.refused().unwrap(),
            },
            Request::Replace { btoken } => {
                let (account, seen) = self.fetched.clone().expect("a replace follows a fetch");
                match keeper.accounts.get_mut(&account) {
                    Some((_, stored)) if *stored == seen => {
                        *stored = btoken;
                        self.machine.replaced(Proof(())).unwrap();
                    }
                    _ => self.machine.refused().unwrap(),
                }
            }
            Request::Delete {
                account,
                auth_token,
            } => match keeper.stored(account, &auth_token) {
                Some(_) => {
                    keeper.accounts.remove(&account.unwrap());
                    self.machine.deleted(Proof(())).unwrap();
                }
                None => self.machine.refused().unwrap(),
            },
        }
    }
}

/// A successful exchange: the bytes of both sides, and the store before and after.
pub(crate) struct Exchange {
    pub(crate) layout: Layout,
    pub(crate) action: ActionKind,
    pub(crate) client_sends: Vec<u8>,
    pub(crate) server_sends: Vec<u8>,
    pub(crate) before: Keeper,
    pub(crate) after: Keeper,
    /// The number of client bytes after which the server has all that it needs.
    pub(crate) client_enough: usize,
    /// The position where the client's btoken ends.
    pub(crate) btoken_end: usize,
}

/// Lays an exchange out by the tables of `docs/protocol.md`, without the machines.
pub(crate) fn exchange(layout: Layout, action: ActionKind, old: &[u8], new: &[u8]) -> Exchange {
    let before = Keeper::with_old(old);
    let mut after = before.clone();
    let account = old_account();
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let version: &[u8] = if layout == Layout::Two { &[0, 2] } else { &[] };
    let greeting = [
        SERVER_HELLO,
        version,
        &len(BANNER.as_bytes()),
        BANNER.as_bytes(),
    ]
    .concat();
    let mut client_sends = [CLIENT_HELLO, &[action.byte()][..]].concat();
    let mut server_sends = greeting;
    let mut btoken_end = 0;
    match action {
        ActionKind::Create => {
            client_sends.extend([&TOKEN, &len(new)[..], new].concat());
            btoken_end = client_sends.len();
            server_sends.extend(new_account().as_bytes());
            after.accounts.insert(new_account(), (TOKEN, new.to_vec()));
        }
        ActionKind::Update => {
            client_sends.extend([account.as_bytes(), &TOKEN[..], &len(new), new].concat());
            btoken_end = client_sends.len();
            server_sends.extend([&len(old)[..], old].concat());
            match layout {
                Layout::One => client_sends.extend(account.as_bytes()),
                Layout::Two => server_sends.extend(account.as_bytes()),
            }
            after.accounts.insert(account, (TOKEN, new.to_vec()));
        }
        ActionKind::Reset => {
            client_sends.extend([account.as_bytes(), &TOKEN[..]].concat());
            if layout == Layout::Two {
                server_sends.extend(account.as_bytes());
            }
            after.accounts.remove(&account);
        }
    }
    let client_enough = client_sends.len();
    Exchange {
        layout,
        action,
        client_sends,
        server_sends,
        before,
        after,
        client_enough,
        btoken_end,
    }
}

/// Every layout with every action.
pub(crate) fn exchanges(old: &[u8], new: &[u8]) -> Vec<Exchange> {
    LAYOUTS
        .into_iter()
        .flat_map(|layout| ACTIONS.map(|action| exchange(layout, action, old, new)))
        .collect()
}

/// A client machine whose caller stores `upload` after the fetch.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) machine: ClientMachine,
    pub(crate) sent: Vec<u8>,
    pub(crate) fetched: Option<Vec<u8>>,
    pub(crate) created: Option<AccountNumber>,
    pub(crate) outcome: Option<Outcome>,
    /// `None` to leave after the fetch.
    upload: Option<Vec<u8>>,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) fn new(
        action: ActionKind,
        account: AccountNumber,
        token: [u8; 32],
        upload: Option<Vec<u8>>,
    ) -> Self {
        let auth_token = AuthToken::new(token);
        let action = match action {
            ActionKind::Create => ClientAction::Create {
                auth_token,
                btoken: upload.clone().unwrap(),
            },
            ActionKind::Update => ClientAction::Update {
                account,
                auth_token,
            },
            ActionKind::Reset => ClientAction::Reset {
                account,
                auth_token,
            },
        };
        let config = ClientConfig {
            btoken_len_max: LIMIT,
            ..ClientConfig::default()
        };
        let machine = ClientMachine::new(config, action);
        let mut client = Self {
            machine,
            sent: Vec::new(),
            fetched: None,
            created: None,
            outcome: None,
            upload,
            unread: Vec::new(),
        };
        client.pump();
        client
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        self.pump();
    }

    pub(crate) fn end(&mut self, input: Input<'_>) {
        self.machine.handle_input(input);
        self.pump();
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Confirmed(_)))
    }

    pub(crate) fn pump(&mut self) {
        loop {
            while let Some(output) = self.machine.poll_output() {
                self.sent.extend_from_slice(output.as_ref());
            }
            match self.machine.poll_event() {
                Some(ClientEvent::Greeted { .. }) => {}
                Some(ClientEvent::Fetched(btoken)) => {
                    self.fetched = Some(btoken);
                    match self.upload.clone() {
                        Some(upload) => self.machine.replace(upload).unwrap(),
                        None => self.machine.leave().unwrap(),
                    }
                }
                Some(ClientEvent::Created(account)) => self.created = Some(account),
                Some(ClientEvent::Ended(outcome)) => {
                    assert!(self.outcome.is_none(), "one outcome only");
                    self.outcome = Some(outcome);
                }
                None => {
                    let taken = self.machine.handle_input(Input::Bytes(&self.unread));
                    if taken == 0 {
                        return;
                    }
                    self.unread.drain(..taken);
                }
            }
        }
    }
}
