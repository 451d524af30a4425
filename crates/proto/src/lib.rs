//! Both sides of the Passmate client/server protocol as state machines. Bytes go in; bytes,
//! requests and endings come out. The crate is `no_std`, so it can use no socket, file or clock.
//!
//! The caller owns the stream. It passes arriving bytes to `handle_input`, sends the bytes that
//! `poll_output` returns (joined into one write per step), and acts on requests or events. The end
//! of the stream is an input too, because in this protocol the manner of closing carries the
//! result: [`Input::CloseNotify`] is an authenticated end, [`Input::Cut`] is any other end.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod client;
mod error;
mod message;
mod pin_words;
mod request_code;
mod server;
mod wire;

use alloc::sync::Arc;
use alloc::vec::Vec;

pub use client::{
    ClientAction, ClientConfig, ClientEvent, ClientMachine, ClientPhase, Confirmed, Outcome,
};
pub use error::{Failure, Fault, NotAsked, Reason, UnknownCause};
pub use message::{
    AccountNumber, ActionKind, AuthToken, BANNER_LEN_MAX, BTOKEN_LEN_MAX_DEFAULT,
    CLIENT_BTOKEN_LEN_MAX_DEFAULT, CLIENT_HELLO, Layout, PORT, ParseAccountNumberError,
    SERVER_HELLO, banner_btoken_max, default_banner,
};
pub use pin_words::{PIN_WORDS, pin_words};
pub use request_code::{RequestCode, RequestCodeError};
pub use server::{Ending, Request, ServerConfig, ServerMachine, ServerPhase};

/// What a stream delivers to a machine.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Bytes, in pieces of any size.
    Bytes(&'a [u8]),
    /// The peer's TLS `close_notify`: an authenticated end.
    CloseNotify,
    /// Any other end of the stream: FIN without `close_notify`, reset, time-out.
    Cut,
}

/// Bytes that a machine wants to send.
#[derive(Debug, Clone)]
pub enum Output {
    /// Bytes made for this peer.
    Bytes(Vec<u8>),
    /// Bytes that connections share, such as a stored btoken.
    Shared(Arc<[u8]>),
}

impl AsRef<[u8]> for Output {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}
