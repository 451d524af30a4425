//! One exchange with a server: a client machine between a stream and whoever decides.

use passmate_proto::{
    AccountNumber, ClientAction, ClientConfig, ClientEvent, ClientMachine, Input, Layout, Outcome,
    Output,
};
use passmate_vault::Pin;
use zeroize::{Zeroize, Zeroizing};

use crate::net::ConnectError;

/// How much is taken from a stream at once, in bytes.
const READ_LEN: usize = 16 * 1024;

/// Reaches one server, one exchange after the other.
pub trait Transport {
    /// Connects and carries out one action, asking `listener` what only it can decide.
    ///
    /// # Errors
    /// No connection came about, so nothing was asked of the server.
    fn exchange(
        &mut self,
        action: ClientAction,
        listener: &mut dyn Listener,
    ) -> Result<Exchanged, ConnectError>;
}

/// Decides during an exchange.
pub trait Listener {
    /// The server greeted; the banner is not trusted and not necessarily text.
    fn greeted(&mut self, layout: Layout, banner: &[u8]) {
        let _ = (layout, banner);
    }

    /// The stored btoken came.
    fn fetched(&mut self, btoken: Vec<u8>) -> Answer;

    /// The number of the new account came: keep it before all else.
    fn created(&mut self, account: AccountNumber) {
        let _ = account;
    }
}

/// What to do after a fetch.
#[derive(Debug)]
pub enum Answer {
    /// Store this btoken instead.
    Replace(Vec<u8>),
    /// Store nothing.
    Leave,
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanged {
    /// What the protocol makes of it.
    pub outcome: Outcome,
    /// How the stream itself ended, for messages: a cut may be a silence that lasted too long.
    pub end: StreamEnd,
    /// The pin of the key that the server showed, where there was one.
    pub shown: Option<Pin>,
    /// From when to when the certificate that it showed is valid, in Unix seconds, where there was
    /// one.
    pub valid: Option<(i64, i64)>,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamEnd {
    /// Nothing more was expected of it.
    #[error("closed by this side")]
    Closed,
    /// The server's authenticated end.
    #[error("closed by the server")]
    CloseNotify,
    /// The connection ended without one.
    #[error("cut by the server")]
    Cut,
    /// Neither side was heard for this many seconds.
    #[error("silent for {0} seconds")]
    Silent(u64),
    /// The exchange took more than this many seconds.
    #[error("not done after {0} seconds")]
    TookTooLong(u64),
    /// The server ended TLS with this alert.
    #[error("ended by the server with the TLS alert {0}")]
    Alert(String),
    /// What came is not TLS, or was tampered with.
    #[error("broken TLS: {0}")]
    BrokenTls(String),
    /// The system reported something else.
    #[error("{0}")]
    Io(String),
}

/// What a stream delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The peer's authenticated end.
    CloseNotify,
}

/// An open, authenticated stream.
pub trait Wire {
    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// How the stream ended; some of the bytes may have been sent.
    fn send(&mut self, bytes: &[u8]) -> Result<(), StreamEnd>;

    /// Waits for bytes or the end.
    ///
    /// # Errors
    /// How the stream ended, if not by the peer's authenticated end.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, StreamEnd>;

    /// Says goodbye; nobody waits for an answer.
    fn close(&mut self);
}

/// Carries out one action over a fresh stream.
pub fn drive(
    config: ClientConfig,
    action: ClientAction,
    wire: &mut dyn Wire,
    listener: &mut dyn Listener,
) -> (Outcome, StreamEnd) {
    let mut machine = ClientMachine::new(config, action);
    let mut end = StreamEnd::Closed;
    let mut buffer = Zeroizing::new([0; READ_LEN]);
    let (mut from, mut to) = (0, 0);
    loop {
        while let Some(event) = machine.poll_event() {
            match event {
                ClientEvent::Greeted { layout, banner } => listener.greeted(layout, &banner),
                ClientEvent::Fetched(btoken) => {
                    let answered = match listener.fetched(btoken) {
                        Answer::Replace(btoken) => machine.replace(btoken),
                        Answer::Leave => machine.leave(),
                    };
                    answered.expect("a machine that reports a fetch waits for exactly this answer");
                }
                ClientEvent::Created(account) => listener.created(account),
                ClientEvent::Ended(outcome) => {
                    if matches!(outcome, Outcome::Left | Outcome::Confirmed(_)) {
                        wire.close();
                    }
                    return (outcome, end);
                }
            }
        }
        let output = join_outputs(&mut machine);
        if !output.is_empty()
            && let Err(cut) = wire.send(&output)
        {
            end = cut;
            machine.handle_cut_while_sending();
            continue;
        }
        if let Some(left) = buffer.get(from..to).filter(|left| !left.is_empty()) {
            from += machine.handle_input(Input::Bytes(left));
            continue;
        }
        match wire.receive(buffer.as_mut_slice()) {
            Ok(Received::Bytes(len)) => (from, to) = (0, len),
            Ok(Received::CloseNotify) => {
                end = StreamEnd::CloseNotify;
                machine.handle_input(Input::CloseNotify);
            }
            Err(cut) => {
                end = cut;
                machine.handle_input(Input::Cut);
            }
        }
    }
}

/// One step is one write: a peer then sees a whole step or knows that it waits for more.
fn join_outputs(machine: &mut ClientMachine) -> Zeroizing<Vec<u8>> {
    let mut joined = Zeroizing::new(Vec::new());
    while let Some(output) = machine.poll_output() {
        joined.reserve_exact(output.as_ref().len());
        joined.extend_from_slice(output.as_ref());
        if let Output::Bytes(mut bytes) = output {
            // Credentials passed here.
            bytes.zeroize();
        }
    }
    joined
}
