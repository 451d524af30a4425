//! An authenticated stream to a server, and how it can end.

use passmate_vault::Pin;
use serde::{Deserialize, Serialize};

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

    /// Ends the stream cleanly, without waiting for an answer.
    fn close(&mut self);
}

/// What a stream delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// The number of bytes, at least one.
    Bytes(usize),
    /// The peer's authenticated end.
    CloseNotify,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum StreamEnd {
    /// This side closed it and expected nothing more.
    #[error("closed by this side")]
    Closed,
    /// The server's authenticated end.
    #[error("closed by the server")]
    CloseNotify,
    /// The connection ended without the server's authenticated end.
    #[error("cut by the server")]
    Cut,
    /// No byte came for this many seconds.
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

/// The certificate that a server showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Certificate {
    /// The pin of its key, where there is a certificate.
    pub pin: Option<Pin>,
    /// Its first and last second, in Unix time.
    pub valid: Option<(i64, i64)>,
}
