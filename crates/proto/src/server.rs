//! The server's side of one connection.
//!
//! The machine gives its caller [`Request`]s and takes the answers. An answer that reports success
//! carries a proof `P` of the commit, which [`Ending::Confirmed`] hands on. Without such a proof,
//! no code can end a connection cleanly.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::error::{NotAsked, Reason};
use crate::message::{AccountNumber, ActionKind, AuthToken, CLIENT_HELLO, Layout, SERVER_HELLO};
use crate::wire::{Body, Fixed};
use crate::{Input, Output};

/// The settings that all connections of a listener share.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The byte layout.
    pub layout: Layout,
    /// The banner, sent after the hello as it is. Bytes beyond
    /// [`BANNER_LEN_MAX`](crate::BANNER_LEN_MAX) are not sent.
    pub banner: Arc<[u8]>,
    /// Longest btoken accepted, in bytes.
    pub btoken_len_max: u32,
}

/// Work that the caller must do before the machine can continue.
#[derive(Debug)]
pub enum Request {
    /// Store a btoken under a new account number; answer [`ServerMachine::created`].
    Create {
        /// Will authenticate clients of the new account.
        auth_token: AuthToken,
        /// The encrypted vault, opaque to a server.
        btoken: Vec<u8>,
    },
    /// Authenticate, then read the btoken; answer [`ServerMachine::fetched`].
    Fetch {
        /// The account that the client named. `None` if the number is all zero: refuse it like any
        /// unknown account.
        account: Option<AccountNumber>,
        /// The token that the client sent.
        auth_token: AuthToken,
    },
    /// Replace the btoken that the last fetch read; answer [`ServerMachine::replaced`].
    Replace {
        /// The encrypted vault, opaque to a server.
        btoken: Vec<u8>,
    },
    /// Authenticate, then delete the account; answer [`ServerMachine::deleted`].
    Delete {
        /// As in [`Request::Fetch`].
        account: Option<AccountNumber>,
        /// The token that the client sent.
        auth_token: AuthToken,
    },
}

/// How the caller must end a connection. The machine returns it once, after all output.
#[derive(Debug)]
pub enum Ending<P> {
    /// Committed: close with a TLS `close_notify`, which this proof permits.
    Confirmed(P),
    /// Not committed: send no further byte and no `close_notify`.
    Cut(Reason),
}

/// The phase of a connection, for deadlines and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerPhase {
    /// The client's hello is incomplete.
    Hello,
    /// The action byte has not arrived.
    Action,
    /// The account number or the auth token is incomplete.
    Credentials,
    /// A request waits for the caller's answer. The machine takes no input.
    Waiting,
    /// The client's btoken or its length is incomplete.
    Upload,
    /// The btoken of a layout-1 *update* is complete; the last row is not.
    Confirm,
    /// The connection is over. The machine takes input and ignores it.
    Ended,
}

enum State {
    Hello(Fixed<24>),
    Action,
    Credentials(ActionKind, Fixed<40>),
    Token(Fixed<32>),
    Length(Target, Fixed<4>),
    Body(Target, Body),
    /// Layout 1: the last row of *update* arrives, or the grace time passes.
    FinalNumber {
        account: AccountNumber,
        btoken: Vec<u8>,
        number: Fixed<8>,
    },
    Waiting(Wanted),
    Ended,
}

/// The account that an uploaded btoken is for.
enum Target {
    NewAccount(AuthToken),
    Existing(AccountNumber),
}

impl Target {
    const fn action(&self) -> ActionKind {
        match self {
            Self::NewAccount(_) => ActionKind::Create,
            Self::Existing(_) => ActionKind::Update,
        }
    }
}

/// The answer that the machine waits for.
enum Wanted {
    Created,
    Fetched(Option<AccountNumber>),
    /// The number that is sent as confirmation, if any.
    Replaced(Option<AccountNumber>),
    Deleted(Option<AccountNumber>),
}

/// The server's side of one connection, without I/O and without a clock.
pub struct ServerMachine<P> {
    config: ServerConfig,
    state: State,
    action: Option<ActionKind>,
    /// The stream ended while a request waited for its answer.
    peer_gone: bool,
    outputs: VecDeque<Output>,
    request: Option<Request>,
    ending: Option<Ending<P>>,
}

impl<P> ServerMachine<P> {
    /// A machine for a new connection.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self {
            config,
            state: State::Hello(Fixed::new()),
            action: None,
            peer_gone: false,
            outputs: VecDeque::new(),
            request: None,
            ending: None,
        }
    }

    /// Takes input and returns the number of bytes that were used.
    ///
    /// The caller keeps the rest and passes it again after the next answer or the next call. The
    /// machine takes nothing while a request waits. A call stops after a btoken's length, so that
    /// the caller can ask for [`buffer_needed`](Self::buffer_needed) before the btoken is taken.
    /// After the end, the machine takes and ignores everything.
    pub fn handle_input(&mut self, input: Input<'_>) -> usize {
        match input {
            Input::Bytes(bytes) => {
                let mut rest = bytes;
                while !rest.is_empty() && self.step(&mut rest) {}
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

    /// The next bytes to send, in order. The caller joins all pending output into one write.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The request to answer. Returned once.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.request.take()
    }

    /// How to end the connection. Returned once, after all output was polled.
    pub fn poll_ending(&mut self) -> Option<Ending<P>> {
        if self.outputs.is_empty() {
            self.ending.take()
        } else {
            None
        }
    }

    /// Whether the grace time runs: the btoken of a layout-1 *update* is complete and no byte of
    /// the last row has arrived. After the grace time, the caller calls
    /// [`handle_grace_elapsed`](Self::handle_grace_elapsed).
    #[must_use]
    pub fn wants_grace(&self) -> bool {
        matches!(&self.state, State::FinalNumber { number, .. } if number.is_empty())
    }

    /// The grace time has passed, so the client waits for the server's confirmation. No effect
    /// unless [`wants_grace`](Self::wants_grace).
    pub fn handle_grace_elapsed(&mut self) {
        if self.wants_grace() {
            self.take_last_row_as_read(true);
        }
    }

    /// The capacity of the upload buffer after `input_len` more bytes, in bytes; 0 outside of an
    /// upload. The caller reserves this much memory before it passes the bytes.
    #[must_use]
    pub fn buffer_needed(&self, input_len: usize) -> usize {
        match &self.state {
            State::Body(_, body) => body.capacity_after(input_len),
            State::FinalNumber { btoken, .. } => btoken.capacity(),
            _ => 0,
        }
    }

    /// The action, once its byte has arrived.
    #[must_use]
    pub const fn action(&self) -> Option<ActionKind> {
        self.action
    }

    /// The phase of the connection.
    #[must_use]
    pub const fn phase(&self) -> ServerPhase {
        match &self.state {
            State::Hello(_) => ServerPhase::Hello,
            State::Action => ServerPhase::Action,
            State::Credentials(..) | State::Token(_) => ServerPhase::Credentials,
            State::Length(..) | State::Body(..) => ServerPhase::Upload,
            State::FinalNumber { .. } => ServerPhase::Confirm,
            State::Waiting(_) => ServerPhase::Waiting,
            State::Ended => ServerPhase::Ended,
        }
    }

    /// Answers [`Request::Create`]: stored and durable.
    ///
    /// # Errors
    /// [`NotAsked`] if that request does not wait. Nothing changes then.
    pub fn created(&mut self, account: AccountNumber, proof: P) -> Result<(), NotAsked> {
        let State::Waiting(Wanted::Created) = self.state else {
            return Err(NotAsked);
        };
        self.outputs
            .push_back(Output::Bytes(account.as_bytes().to_vec()));
        self.end(Ending::Confirmed(proof));
        Ok(())
    }

    /// Answers [`Request::Fetch`]: authenticated, with the stored btoken.
    ///
    /// # Errors
    /// [`NotAsked`] if that request does not wait, or `btoken` is 4 GiB or longer. Nothing changes
    /// then.
    pub fn fetched(&mut self, btoken: Arc<[u8]>) -> Result<(), NotAsked> {
        let State::Waiting(Wanted::Fetched(Some(account))) = self.state else {
            return Err(NotAsked);
        };
        let len = u32::try_from(btoken.len()).map_err(|_| NotAsked)?;
        if self.peer_gone {
            self.end(Ending::Cut(Reason::EndedWithin(ActionKind::Update)));
            return Ok(());
        }
        self.outputs
            .push_back(Output::Bytes(len.to_be_bytes().to_vec()));
        self.outputs.push_back(Output::Shared(btoken));
        self.state = State::Length(Target::Existing(account), Fixed::new());
        Ok(())
    }

    /// Changes the longest btoken that is accepted, in bytes, for a length that has not arrived yet.
    /// An account may have a limit of its own, which is known once it was fetched.
    pub fn set_btoken_len_max(&mut self, btoken_len_max: u32) {
        self.config.btoken_len_max = btoken_len_max;
    }

    /// Answers [`Request::Replace`]: replaced and durable.
    ///
    /// # Errors
    /// [`NotAsked`] if that request does not wait. Nothing changes then.
    pub fn replaced(&mut self, proof: P) -> Result<(), NotAsked> {
        let State::Waiting(Wanted::Replaced(echo)) = self.state else {
            return Err(NotAsked);
        };
        self.confirm(echo, proof);
        Ok(())
    }

    /// Answers [`Request::Delete`]: deleted and durable.
    ///
    /// # Errors
    /// [`NotAsked`] if that request does not wait. Nothing changes then.
    pub fn deleted(&mut self, proof: P) -> Result<(), NotAsked> {
        let State::Waiting(Wanted::Deleted(echo)) = self.state else {
            return Err(NotAsked);
        };
        self.confirm(echo, proof);
        Ok(())
    }

    /// Answers any request: it was refused, and the client gets no further byte.
    ///
    /// # Errors
    /// [`NotAsked`] if no request waits. Nothing changes then.
    pub fn refused(&mut self) -> Result<(), NotAsked> {
        let State::Waiting(_) = self.state else {
            return Err(NotAsked);
        };
        self.end(Ending::Cut(Reason::Refused));
        Ok(())
    }

    /// Makes one step with the front of `input`. Returns false if this call takes no more.
    fn step(&mut self, input: &mut &[u8]) -> bool {
        match &mut self.state {
            State::Hello(hello) => {
                let whole = hello.take(input).is_some();
                if !CLIENT_HELLO.starts_with(hello.so_far()) {
                    self.end(Ending::Cut(Reason::WrongHello));
                } else if whole {
                    self.greet();
                }
            }
            State::Action => {
                let Some((byte, rest)) = input.split_first() else {
                    return false;
                };
                *input = rest;
                self.action = ActionKind::from_byte(*byte);
                match self.action {
                    None => self.end(Ending::Cut(Reason::UnknownAction(*byte))),
                    Some(ActionKind::Create) => self.state = State::Token(Fixed::new()),
                    Some(action) => self.state = State::Credentials(action, Fixed::new()),
                }
            }
            State::Credentials(action, credentials) => {
                let action = *action;
                if let Some(bytes) = credentials.take(input) {
                    self.ask_with(action, &zeroize::Zeroizing::new(bytes));
                }
            }
            State::Token(token) => {
                if let Some(bytes) = token.take(input) {
                    self.state =
                        State::Length(Target::NewAccount(AuthToken::new(bytes)), Fixed::new());
                }
            }
            State::Length(_, length) => {
                if let Some(bytes) = length.take(input) {
                    self.begin_body(u32::from_be_bytes(bytes));
                    return false;
                }
            }
            State::Body(_, body) => {
                if let Some(btoken) = body.take(input) {
                    self.end_body(btoken);
                }
            }
            State::FinalNumber {
                account, number, ..
            } => {
                let account = *account;
                if let Some(bytes) = number.take(input) {
                    if bytes == *account.as_bytes() {
                        self.take_last_row_as_read(false);
                    } else {
                        self.end(Ending::Cut(Reason::WrongFinalNumber));
                    }
                }
            }
            State::Waiting(_) => return false,
            State::Ended => *input = &[],
        }
        true
    }

    fn greet(&mut self) {
        let banner_len_max = usize::try_from(crate::BANNER_LEN_MAX).unwrap_or(usize::MAX);
        let banner = self
            .config
            .banner
            .get(..banner_len_max)
            .unwrap_or(&self.config.banner);
        let banner_len = u32::try_from(banner.len()).unwrap_or(0);
        let mut greeting = Vec::with_capacity(SERVER_HELLO.len() + 6 + banner.len());
        greeting.extend_from_slice(SERVER_HELLO);
        if let Some(version) = self.config.layout.version() {
            greeting.extend_from_slice(&version.to_be_bytes());
        }
        greeting.extend_from_slice(&banner_len.to_be_bytes());
        greeting.extend_from_slice(banner);
        self.outputs.push_back(Output::Bytes(greeting));
        self.state = State::Action;
    }

    fn ask_with(&mut self, action: ActionKind, credentials: &[u8; 40]) {
        let (number, token) = credentials.split_at(8);
        let account =
            AccountNumber::from_bytes(number.try_into().expect("split_at(8) gave 8 bytes"));
        let auth_token = AuthToken::new(token.try_into().expect("40 - 8 bytes are 32"));
        if action == ActionKind::Reset {
            let echo = account.filter(|_| self.config.layout.server_repeats_number());
            self.ask(
                Request::Delete {
                    account,
                    auth_token,
                },
                Wanted::Deleted(echo),
            );
        } else {
            self.ask(
                Request::Fetch {
                    account,
                    auth_token,
                },
                Wanted::Fetched(account),
            );
        }
    }

    fn begin_body(&mut self, announced: u32) {
        let State::Length(target, _) = core::mem::replace(&mut self.state, State::Ended) else {
            return;
        };
        let limit = self.config.btoken_len_max;
        if announced > limit {
            self.end(Ending::Cut(Reason::BtokenTooLong { announced, limit }));
        } else if announced == 0 {
            self.state = State::Body(target, Body::new(0));
            self.end_body(Vec::new());
        } else {
            self.state = State::Body(
                target,
                Body::new(usize::try_from(announced).unwrap_or(usize::MAX)),
            );
        }
    }

    fn end_body(&mut self, btoken: Vec<u8>) {
        let State::Body(target, _) = core::mem::replace(&mut self.state, State::Ended) else {
            return;
        };
        match target {
            Target::NewAccount(auth_token) => {
                self.ask(Request::Create { auth_token, btoken }, Wanted::Created);
            }
            Target::Existing(account) if self.config.layout.server_repeats_number() => {
                self.ask(Request::Replace { btoken }, Wanted::Replaced(Some(account)));
            }
            Target::Existing(account) => {
                self.state = State::FinalNumber {
                    account,
                    btoken,
                    number: Fixed::new(),
                };
            }
        }
    }

    /// Layout 1: it is known which side sends the last row of *update*, so the btoken can be
    /// stored.
    fn take_last_row_as_read(&mut self, server_sends_it: bool) {
        let State::FinalNumber {
            account, btoken, ..
        } = core::mem::replace(&mut self.state, State::Ended)
        else {
            return;
        };
        self.ask(
            Request::Replace { btoken },
            Wanted::Replaced(server_sends_it.then_some(account)),
        );
    }

    fn handle_end(&mut self, authenticated: bool) {
        let reason = match &self.state {
            State::Hello(_) | State::Action => Reason::LeftBeforeAction,
            State::Credentials(action, _) => Reason::EndedWithin(*action),
            State::Token(_) => Reason::EndedWithin(ActionKind::Create),
            State::Length(Target::Existing(_), length) if length.is_empty() => {
                Reason::LeftAfterFetch
            }
            State::Length(target, _) | State::Body(target, _) => {
                Reason::EndedWithin(target.action())
            }
            State::FinalNumber { number, .. } if authenticated && number.is_empty() => {
                // The client closed cleanly after the btoken, so it leaves the last row to us.
                self.take_last_row_as_read(true);
                return;
            }
            State::FinalNumber { .. } => Reason::EndedBeforeFinalNumber,
            State::Waiting(_) => {
                // The request is still answered: losing the client does not undo a commit.
                self.peer_gone = !authenticated;
                return;
            }
            State::Ended => return,
        };
        self.end(Ending::Cut(reason));
    }

    fn ask(&mut self, request: Request, wanted: Wanted) {
        self.request = Some(request);
        self.state = State::Waiting(wanted);
    }

    fn confirm(&mut self, echo: Option<AccountNumber>, proof: P) {
        if let Some(account) = echo {
            self.outputs
                .push_back(Output::Bytes(account.as_bytes().to_vec()));
        }
        self.end(Ending::Confirmed(proof));
    }

    fn end(&mut self, ending: Ending<P>) {
        self.state = State::Ended;
        self.request = None;
        self.ending = Some(ending);
    }
}

impl<P> core::fmt::Debug for ServerMachine<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ServerMachine")
            .field("layout", &self.config.layout)
            .field("phase", &self.phase())
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}
