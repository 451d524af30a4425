//! One exchange with a server. Each step returns the value that allows the next step, so that a
//! wrong order does not compile:
//!
//! ```text
//! transport.connect()? → Connection ── update ──> Fetched ── replace | leave ──> Ended
//!                                   ── create ──> Created ── finish ───────────> Ended
//!                                   ── reset ──────────────────────────────────> Ended
//! ```

use passmate_proto::{
    AccountNumber, AuthToken, ClientAction, ClientConfig, ClientEvent, ClientMachine, Failure,
    Input, Layout, Outcome, Output, banner_btoken_max,
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::wire::{Certificate, Received, StreamEnd, Wire};

/// Bytes that are read from a stream at once.
const READ_LEN: usize = 16 * 1024;

/// A connection that has carried nothing yet: it serves for one action.
pub struct Connection {
    wire: Box<dyn Wire>,
    limits: ClientConfig,
    certificate: Certificate,
}

impl Connection {
    /// A connection over an authenticated stream.
    #[must_use]
    pub fn new(wire: Box<dyn Wire>, limits: ClientConfig, certificate: Certificate) -> Self {
        Self {
            wire,
            limits,
            certificate,
        }
    }

    /// Fetches the btoken of an account.
    ///
    /// # Errors
    /// How the exchange ended before the btoken had arrived.
    pub fn update(
        self,
        account: AccountNumber,
        auth_token: AuthToken,
    ) -> Result<Fetched, Box<Ended>> {
        let mut running = Running::begin(
            self,
            ClientAction::Update {
                account,
                auth_token,
            },
        );
        match running.advance() {
            Step::Fetched(btoken) => Ok(Fetched { running, btoken }),
            step => Err(Box::new(running.finish_after(step))),
        }
    }

    /// Stores a btoken under a new account.
    ///
    /// # Errors
    /// How the exchange ended before the server named the account.
    pub fn create(self, auth_token: AuthToken, btoken: Vec<u8>) -> Result<Created, Box<Ended>> {
        let mut running = Running::begin(self, ClientAction::Create { auth_token, btoken });
        match running.advance() {
            Step::Created(account) => Ok(Created { running, account }),
            step => Err(Box::new(running.finish_after(step))),
        }
    }

    /// Deletes an account and its btoken.
    pub fn reset(self, account: AccountNumber, auth_token: AuthToken) -> Ended {
        Running::begin(
            self,
            ClientAction::Reset {
                account,
                auth_token,
            },
        )
        .finish()
    }
}

/// An *update* whose btoken has arrived. The server waits for the next step.
pub struct Fetched {
    running: Running,
    btoken: Vec<u8>,
}

impl Fetched {
    /// The stored btoken.
    #[must_use]
    pub fn btoken(&self) -> &[u8] {
        &self.btoken
    }

    /// What the server says of itself.
    #[must_use]
    pub const fn greeting(&self) -> &Greeting {
        &self.running.greeting
    }

    /// Stores another btoken instead.
    pub fn replace(mut self, btoken: Vec<u8>) -> Ended {
        let answered = self.running.machine.replace(btoken);
        answered.expect("a machine that reported a fetch waits for exactly one answer");
        self.running.finish()
    }

    /// Stores nothing and closes the connection.
    pub fn leave(mut self) -> Ended {
        let answered = self.running.machine.leave();
        answered.expect("a machine that reported a fetch waits for exactly one answer");
        self.running.finish()
    }
}

/// A *create* whose account number has arrived. It is not confirmed yet.
pub struct Created {
    running: Running,
    account: AccountNumber,
}

impl Created {
    /// The number of the new account: save it before anything else.
    #[must_use]
    pub const fn account(&self) -> AccountNumber {
        self.account
    }

    /// Waits for the server's confirmation.
    pub fn finish(self) -> Ended {
        self.running.finish()
    }
}

/// An exchange that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What became of the action.
    pub outcome: Outcome,
    /// How the stream itself ended: a cut may be a silence that lasted too long.
    pub stream: StreamEnd,
    /// What the server said of itself.
    pub greeting: Greeting,
    /// What it showed in the handshake.
    pub certificate: Certificate,
}

impl Ended {
    /// The failure, of an exchange that did not get as far as it had to.
    pub(crate) fn failure(&self) -> Failure {
        match self.outcome {
            Outcome::Failed(failure) => failure,
            Outcome::Confirmed(_) | Outcome::Unknown(_) | Outcome::Left => Failure::CutDuringFetch,
        }
    }
}

/// What a server says of itself in every exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The layout that it speaks; `None` before it greeted.
    pub layout: Option<Layout>,
    /// Its banner: not trusted, not necessarily text, to be escaped before it is shown.
    pub banner: Vec<u8>,
}

impl Greeting {
    /// The longest btoken that the server accepts, in bytes, if its banner states it.
    #[must_use]
    pub fn btoken_len_max(&self) -> Option<u32> {
        banner_btoken_max(&self.banner)
    }
}

/// What the machine reports next.
enum Step {
    Fetched(Vec<u8>),
    Created(AccountNumber),
    Ended(Outcome),
}

/// The machine between a stream and whoever decides.
struct Running {
    machine: ClientMachine,
    wire: Box<dyn Wire>,
    certificate: Certificate,
    greeting: Greeting,
    stream: StreamEnd,
    buffer: Zeroizing<Vec<u8>>,
    /// The part of `buffer` that the machine has not taken yet.
    unread: std::ops::Range<usize>,
}

impl Running {
    fn begin(connection: Connection, action: ClientAction) -> Self {
        Self {
            machine: ClientMachine::new(connection.limits, action),
            wire: connection.wire,
            certificate: connection.certificate,
            greeting: Greeting::default(),
            stream: StreamEnd::Closed,
            buffer: Zeroizing::new(vec![0; READ_LEN]),
            unread: 0..0,
        }
    }

    /// Pumps bytes between the machine and the stream until the machine reports something.
    fn advance(&mut self) -> Step {
        loop {
            match self.machine.poll_event() {
                None => {}
                Some(ClientEvent::Greeted { layout, banner }) => {
                    self.greeting = Greeting {
                        layout: Some(layout),
                        banner,
                    };
                    continue;
                }
                Some(ClientEvent::Fetched(btoken)) => return Step::Fetched(btoken),
                Some(ClientEvent::Created(account)) => return Step::Created(account),
                Some(ClientEvent::Ended(outcome)) => {
                    if matches!(outcome, Outcome::Left | Outcome::Confirmed(_)) {
                        self.wire.close();
                    }
                    return Step::Ended(outcome);
                }
            }
            let output = join_outputs(&mut self.machine);
            if !output.is_empty()
                && let Err(cut) = self.wire.send(&output)
            {
                self.stream = cut;
                self.machine.handle_cut_while_sending();
                continue;
            }
            match self.buffer.get(self.unread.clone()) {
                Some(bytes) if !bytes.is_empty() => {
                    self.unread.start += self.machine.handle_input(Input::Bytes(bytes));
                }
                _ => self.receive(),
            }
        }
    }

    fn receive(&mut self) {
        match self.wire.receive(&mut self.buffer) {
            Ok(Received::Bytes(len)) => self.unread = 0..len,
            Ok(Received::CloseNotify) => {
                self.stream = StreamEnd::CloseNotify;
                self.machine.handle_input(Input::CloseNotify);
            }
            Err(cut) => {
                self.stream = cut;
                self.machine.handle_input(Input::Cut);
            }
        }
    }

    /// Runs to the end.
    fn finish(mut self) -> Ended {
        let step = self.advance();
        self.finish_after(step)
    }

    /// Runs to the end, without another decision.
    fn finish_after(mut self, mut step: Step) -> Ended {
        loop {
            match step {
                Step::Ended(outcome) => {
                    return Ended {
                        outcome,
                        stream: self.stream,
                        greeting: self.greeting,
                        certificate: self.certificate,
                    };
                }
                Step::Created(_) => {}
                Step::Fetched(_) => {
                    let answered = self.machine.leave();
                    answered.expect("a machine that reported a fetch waits for exactly one answer");
                }
            }
            step = self.advance();
        }
    }
}

/// Joins the outputs of one step into one write: the peer then sees a whole step.
fn join_outputs(machine: &mut ClientMachine) -> Zeroizing<Vec<u8>> {
    let mut joined = Zeroizing::new(Vec::new());
    while let Some(output) = machine.poll_output() {
        joined.reserve_exact(output.as_ref().len());
        joined.extend_from_slice(output.as_ref());
        if let Output::Bytes(mut bytes) = output {
            // These bytes held credentials.
            bytes.zeroize();
        }
    }
    joined
}
