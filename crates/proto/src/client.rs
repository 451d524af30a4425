//! The client's side of one connection.
//!
//! The two bytes after the server's hello tell the layout. The credentials of *update* and *reset*
//! are sent with the client's hello, in one write. *Create* is sent when the layout and the
//! server's limit are known.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::error::{Failure, NotAsked, UnknownCause};
use crate::message::{AccountNumber, ActionKind, AuthToken, CLIENT_HELLO, Layout, SERVER_HELLO};
use crate::wire::{Body, Fixed};
use crate::{BANNER_LEN_MAX, CLIENT_BTOKEN_LEN_MAX_DEFAULT, Input, Output};

/// The limits of a client.
#[derive(Debug, Clone, Copy)]
pub struct ClientConfig {
    /// Longest btoken accepted, in bytes.
    pub btoken_len_max: u32,
    /// Longest banner accepted, in bytes.
    pub banner_len_max: u32,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            btoken_len_max: CLIENT_BTOKEN_LEN_MAX_DEFAULT,
            banner_len_max: BANNER_LEN_MAX,
        }
    }
}

/// The action that a client requests.
#[derive(Debug)]
pub enum ClientAction {
    /// Store a btoken under a new account number.
    Create {
        /// Will authenticate clients of the account.
        auth_token: AuthToken,
        /// The sealed vault.
        btoken: Vec<u8>,
    },
    /// Fetch the btoken, then store another one or leave.
    Update {
        /// The account.
        account: AccountNumber,
        /// Grants its use.
        auth_token: AuthToken,
    },
    /// Delete the btoken.
    Reset {
        /// The account.
        account: AccountNumber,
        /// Grants its use.
        auth_token: AuthToken,
    },
}

/// Proof that the action took effect and is durable. Only the machine can make one, when the server
/// has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    _made_by_the_machine: (),
}

/// The outcome of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The action took effect.
    Confirmed(Confirmed),
    /// The action may have taken effect. Fetch again to find out.
    Unknown(UnknownCause),
    /// The action had no effect.
    Failed(Failure),
    /// The caller left after the fetch, so the action was meant to have no effect.
    Left,
}

/// Events for the caller.
#[derive(Debug)]
pub enum ClientEvent {
    /// The server greeted.
    Greeted {
        /// The layout that it speaks.
        layout: Layout,
        /// The banner: untrusted, and not necessarily text.
        banner: Vec<u8>,
    },
    /// The whole stored btoken has arrived. Answer with [`ClientMachine::replace`] or
    /// [`ClientMachine::leave`].
    Fetched(Vec<u8>),
    /// The number of the new account has arrived. Save it before anything else. It is not confirmed
    /// yet.
    Created(AccountNumber),
    /// The exchange is over.
    Ended(Outcome),
}

/// The phase of an exchange, for deadlines and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientPhase {
    /// The server's hello and banner are incomplete.
    Greeting,
    /// The answer to the credentials is incomplete.
    Fetch,
    /// The caller has to decide what to store.
    Deciding,
    /// Everything was sent; the confirmation is incomplete.
    Confirm,
    /// The exchange is over.
    Ended,
}

enum State {
    Hello(Fixed<24>),
    LayoutProbe(Fixed<2>),
    BannerLength(Layout, Fixed<4>),
    Banner(Layout, Body),
    FetchLength(Fixed<4>),
    Fetch(Body),
    Deciding,
    NewNumber(Fixed<8>),
    Confirm(Expected),
    Ended,
}

/// The confirmation that has not arrived yet.
struct Expected {
    /// The account number, which the server may repeat in layout 1 and must repeat in layout 2.
    /// `None` after *create*.
    repeated: Option<(AccountNumber, Fixed<8>)>,
    surplus: bool,
}

/// The client's side of one connection, without I/O and without a clock.
pub struct ClientMachine {
    config: ClientConfig,
    action: ActionKind,
    account: Option<AccountNumber>,
    /// Token and btoken that *create* sends once the server has greeted.
    create: Option<(AuthToken, Vec<u8>)>,
    layout: Option<Layout>,
    state: State,
    outputs: VecDeque<Output>,
    events: VecDeque<ClientEvent>,
}

impl ClientMachine {
    /// A machine for a new connection. It has its first output at once.
    #[must_use]
    pub fn new(config: ClientConfig, action: ClientAction) -> Self {
        let mut first = CLIENT_HELLO.to_vec();
        let mut credentials = |kind: ActionKind, account: AccountNumber, auth_token: &AuthToken| {
            first.push(kind.byte());
            first.extend_from_slice(account.as_bytes());
            first.extend_from_slice(auth_token.as_bytes());
            (kind, Some(account), None)
        };
        let (action, account, create) = match action {
            ClientAction::Create { auth_token, btoken } => {
                (ActionKind::Create, None, Some((auth_token, btoken)))
            }
            ClientAction::Update {
                account,
                auth_token,
            } => credentials(ActionKind::Update, account, &auth_token),
            ClientAction::Reset {
                account,
                auth_token,
            } => credentials(ActionKind::Reset, account, &auth_token),
        };
        Self {
            config,
            action,
            account,
            create,
            layout: None,
            state: State::Hello(Fixed::new()),
            outputs: VecDeque::from([Output::Bytes(first)]),
            events: VecDeque::new(),
        }
    }

    /// Takes input and returns the number of bytes that were used.
    ///
    /// The caller keeps the rest and passes it again later. The machine takes nothing while the
    /// caller decides after a fetch, and no answer before `poll_output` has returned the whole
    /// question.
    pub fn handle_input(&mut self, input: Input<'_>) -> usize {
        match input {
            Input::Bytes(bytes) => {
                let mut rest = bytes;
                while !rest.is_empty() && !self.has_unsent_upload() && self.step(&mut rest) {}
                bytes.len() - rest.len()
            }
            Input::CloseNotify => {
                self.handle_end(true);
                0
            }
            Input::Cut => {
                self.handle_end(false);
                0
            }
        }
    }

    /// The stream ended before all output was written, so the server cannot have all of it. Like
    /// [`Input::Cut`], but an upload counts as failed instead of unknown.
    pub fn handle_cut_while_sending(&mut self) {
        if matches!(self.state, State::Confirm(_) | State::NewNumber(_))
            && self.action != ActionKind::Reset
        {
            self.fail(Failure::CutDuringUpload);
        } else {
            self.handle_end(false);
        }
    }

    /// The next bytes to send, in order. The caller joins all pending output into one write.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Answers [`ClientEvent::Fetched`]: store this btoken instead.
    ///
    /// # Errors
    /// [`NotAsked`] if nothing was fetched or the caller has answered already. Nothing changes
    /// then.
    pub fn replace(&mut self, btoken: Vec<u8>) -> Result<(), NotAsked> {
        let (State::Deciding, Some(account)) = (&self.state, self.account) else {
            return Err(NotAsked);
        };
        let Ok(length) = u32::try_from(btoken.len()) else {
            self.fail(Failure::Unannounceable(btoken.len()));
            return Ok(());
        };
        self.outputs
            .push_back(Output::Bytes(length.to_be_bytes().to_vec()));
        self.outputs.push_back(Output::Bytes(btoken));
        if !self.server_repeats_number() {
            self.outputs
                .push_back(Output::Bytes(account.as_bytes().to_vec()));
        }
        self.state = State::Confirm(Expected {
            repeated: Some((account, Fixed::new())),
            surplus: false,
        });
        Ok(())
    }

    /// Answers [`ClientEvent::Fetched`]: store nothing. The caller then closes the stream.
    ///
    /// # Errors
    /// [`NotAsked`] if nothing was fetched or the caller has answered already. Nothing changes
    /// then.
    pub fn leave(&mut self) -> Result<(), NotAsked> {
        let State::Deciding = self.state else {
            return Err(NotAsked);
        };
        self.end(Outcome::Left);
        Ok(())
    }

    /// The layout, once it is known.
    #[must_use]
    pub const fn layout(&self) -> Option<Layout> {
        self.layout
    }

    /// The phase of the exchange.
    #[must_use]
    pub const fn phase(&self) -> ClientPhase {
        match &self.state {
            State::Hello(_)
            | State::LayoutProbe(_)
            | State::BannerLength(..)
            | State::Banner(..) => ClientPhase::Greeting,
            State::FetchLength(_) | State::Fetch(_) | State::NewNumber(_) => ClientPhase::Fetch,
            State::Deciding => ClientPhase::Deciding,
            State::Confirm(_) => ClientPhase::Confirm,
            State::Ended => ClientPhase::Ended,
        }
    }

    /// Whether the layout is known and has the server repeat the account number.
    fn server_repeats_number(&self) -> bool {
        self.layout.is_some_and(Layout::server_repeats_number)
    }

    /// Whether an answer that arrives now would precede its question.
    fn has_unsent_upload(&self) -> bool {
        matches!(self.state, State::NewNumber(_) | State::Confirm(_)) && !self.outputs.is_empty()
    }

    fn step(&mut self, input: &mut &[u8]) -> bool {
        match &mut self.state {
            State::Hello(hello) => {
                let whole = hello.take(input).is_some();
                if !SERVER_HELLO.starts_with(hello.so_far()) {
                    self.fail(Failure::NotPassmate);
                } else if whole {
                    self.state = State::LayoutProbe(Fixed::new());
                }
            }
            State::LayoutProbe(probe) => {
                if let Some(bytes) = probe.take(input) {
                    self.read_layout(bytes);
                }
            }
            State::BannerLength(layout, length) => {
                let layout = *layout;
                if let Some(bytes) = length.take(input) {
                    self.begin_banner(layout, u32::from_be_bytes(bytes));
                }
            }
            State::Banner(layout, body) => {
                let layout = *layout;
                if let Some(banner) = body.take(input) {
                    self.greeted(layout, banner);
                }
            }
            State::FetchLength(length) => {
                if let Some(bytes) = length.take(input) {
                    self.begin_fetch(u32::from_be_bytes(bytes));
                }
            }
            State::Fetch(body) => {
                if let Some(btoken) = body.take(input) {
                    self.fetched(btoken);
                }
            }
            State::Deciding => return false,
            State::NewNumber(number) => {
                if let Some(bytes) = number.take(input) {
                    self.created(bytes);
                }
            }
            State::Confirm(expected) => {
                if let Some((account, number)) = &mut expected.repeated
                    && let Some(bytes) = number.take(input)
                {
                    if bytes != *account.as_bytes() {
                        self.end(Outcome::Unknown(UnknownCause::WrongNumber));
                    } else if self.layout.is_some_and(Layout::server_repeats_number) {
                        self.confirmed();
                    } else {
                        expected.repeated = None;
                    }
                    return true;
                }
                if !input.is_empty() {
                    expected.surplus = true;
                    *input = &[];
                }
            }
            State::Ended => *input = &[],
        }
        true
    }

    fn read_layout(&mut self, bytes: [u8; 2]) {
        let version = u16::from_be_bytes(bytes);
        if version == 0 {
            // There is no version field. A banner is at most 32 KiB long, so these are the two zero
            // bytes at the head of its length.
            let mut length = Fixed::new();
            length.take(&mut &bytes[..]);
            self.state = State::BannerLength(Layout::One, length);
        } else if Layout::Two.version() == Some(version) {
            self.state = State::BannerLength(Layout::Two, Fixed::new());
        } else {
            self.fail(Failure::VersionUnsupported(version));
        }
    }

    fn begin_banner(&mut self, layout: Layout, announced: u32) {
        let limit = self.config.banner_len_max;
        if announced > limit {
            self.fail(Failure::BannerTooLong { announced, limit });
        } else if announced == 0 {
            self.greeted(layout, Vec::new());
        } else {
            self.state = State::Banner(
                layout,
                Body::new(usize::try_from(announced).unwrap_or(usize::MAX)),
            );
        }
    }

    fn greeted(&mut self, layout: Layout, banner: Vec<u8>) {
        self.layout = Some(layout);
        self.events
            .push_back(ClientEvent::Greeted { layout, banner });
        self.state = match (self.action, self.account) {
            (ActionKind::Reset, Some(account)) => State::Confirm(Expected {
                repeated: Some((account, Fixed::new())),
                surplus: false,
            }),
            (ActionKind::Create, _) => {
                self.send_create();
                return;
            }
            _ => State::FetchLength(Fixed::new()),
        };
    }

    fn send_create(&mut self) {
        let Some((auth_token, btoken)) = self.create.take() else {
            return;
        };
        let Ok(length) = u32::try_from(btoken.len()) else {
            self.fail(Failure::Unannounceable(btoken.len()));
            return;
        };
        let mut head = Vec::with_capacity(1 + 32 + 4);
        head.push(ActionKind::Create.byte());
        head.extend_from_slice(auth_token.as_bytes());
        head.extend_from_slice(&length.to_be_bytes());
        self.outputs.push_back(Output::Bytes(head));
        self.outputs.push_back(Output::Bytes(btoken));
        self.state = State::NewNumber(Fixed::new());
    }

    fn begin_fetch(&mut self, announced: u32) {
        let limit = self.config.btoken_len_max;
        if announced > limit {
            self.fail(Failure::BtokenTooLong { announced, limit });
        } else if announced == 0 {
            self.fetched(Vec::new());
        } else {
            self.state = State::Fetch(Body::new(usize::try_from(announced).unwrap_or(usize::MAX)));
        }
    }

    fn fetched(&mut self, btoken: Vec<u8>) {
        self.events.push_back(ClientEvent::Fetched(btoken));
        self.state = State::Deciding;
    }

    fn created(&mut self, bytes: [u8; 8]) {
        let Some(account) = AccountNumber::from_bytes(bytes) else {
            self.fail(Failure::ZeroAccountNumber);
            return;
        };
        self.events.push_back(ClientEvent::Created(account));
        if self.server_repeats_number() {
            self.confirmed();
        } else {
            self.state = State::Confirm(Expected {
                repeated: None,
                surplus: false,
            });
        }
    }

    fn handle_end(&mut self, authenticated: bool) {
        let outcome = match &self.state {
            _ if self.has_unsent_upload() => Outcome::Failed(Failure::CutDuringUpload),
            State::Hello(_)
            | State::LayoutProbe(_)
            | State::BannerLength(..)
            | State::Banner(..)
                if authenticated =>
            {
                Outcome::Failed(Failure::ClosedTooEarly)
            }
            State::Hello(hello) if hello.is_empty() => Outcome::Failed(Failure::CutBeforeHello),
            State::Hello(_)
            | State::LayoutProbe(_)
            | State::BannerLength(..)
            | State::Banner(..) => Outcome::Failed(Failure::CutDuringGreeting),
            State::FetchLength(_) | State::Fetch(_) | State::NewNumber(_) if authenticated => {
                Outcome::Failed(Failure::ClosedTooEarly)
            }
            State::FetchLength(length) if length.is_empty() => {
                Outcome::Failed(Failure::CutAfterCredentials)
            }
            State::NewNumber(number) if number.is_empty() => {
                Outcome::Failed(Failure::CutAfterCredentials)
            }
            // Part of a number identifies no account, so nobody can reach what may be stored there.
            State::FetchLength(_) | State::Fetch(_) | State::Deciding | State::NewNumber(_) => {
                Outcome::Failed(Failure::CutDuringFetch)
            }
            State::Confirm(expected) => self.judge_end(authenticated, expected),
            State::Ended => return,
        };
        self.end(outcome);
    }

    /// The outcome if the stream ends after everything was sent.
    fn judge_end(&self, authenticated: bool, expected: &Expected) -> Outcome {
        let partial = expected
            .repeated
            .as_ref()
            .is_some_and(|(_, number)| !number.is_empty());
        if expected.surplus {
            Outcome::Unknown(UnknownCause::TrailingBytes)
        } else if !authenticated {
            Outcome::Unknown(UnknownCause::Cut)
        } else if partial || self.layout.is_none_or(Layout::server_repeats_number) {
            Outcome::Unknown(UnknownCause::ClosedTooEarly)
        } else {
            Outcome::Confirmed(Confirmed {
                _made_by_the_machine: (),
            })
        }
    }

    fn confirmed(&mut self) {
        self.end(Outcome::Confirmed(Confirmed {
            _made_by_the_machine: (),
        }));
    }

    fn fail(&mut self, failure: Failure) {
        self.end(Outcome::Failed(failure));
    }

    fn end(&mut self, outcome: Outcome) {
        self.state = State::Ended;
        self.outputs.clear();
        self.events.push_back(ClientEvent::Ended(outcome));
    }
}

impl core::fmt::Debug for ClientMachine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ClientMachine")
            .field("action", &self.action)
            .field("layout", &self.layout)
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}
