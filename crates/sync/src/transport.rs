//! The way to a server: what a connection must be able to do, and how it can fail.

use passmate_vault::Pin;
use serde::{Deserialize, Serialize};

use crate::exchange::Connection;
use crate::wire::StreamEnd;

/// Connects to one server, again and again.
pub trait Transport {
    /// Opens a connection that is authenticated and has carried nothing yet.
    ///
    /// # Errors
    /// There is no connection, so the server was asked nothing.
    fn connect(&mut self) -> Result<Connection, ConnectError>;
}

/// Why there is no connection to a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ConnectError {
    /// The host's name has no address, or no resolver answered.
    #[error("the name {host} cannot be resolved: {detail}")]
    Unresolved {
        /// The host as it was given.
        host: String,
        /// What the system says.
        detail: String,
    },
    /// No address of the host accepts connections.
    #[error("{address} cannot be reached: {detail}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system says about the last address that was tried.
        detail: String,
    },
    /// The stream ended during the TLS handshake.
    #[error("the TLS handshake failed: {0}")]
    Handshake(StreamEnd),
    /// The peer does not speak TLS.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// Server and client have no version or cipher of TLS in common.
    #[error("the server and this program have no version or cipher of TLS in common: {0}")]
    Incompatible(String),
    /// The server's certificate is not trusted.
    #[error("the server's certificate is not trusted")]
    NotTrusted(Box<TrustProblem>),
}

/// A server's certificate that was not trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustProblem {
    /// What is wrong with it.
    pub problem: CertificateProblem,
    /// The pin of the key that the server showed: a claim, nothing more.
    pub shown: Pin,
    /// Whether the certificate names itself as its issuer, as a self-signed one does.
    pub self_signed: bool,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateProblem {
    /// The key is neither the pinned one nor the next one.
    PinMismatch {
        /// The pinned key.
        current: Pin,
        /// The key that the operator announced.
        next: Option<Pin>,
    },
    /// No authority that this device knows has issued it.
    UnknownIssuer,
    /// This system knows no authority at all.
    NoTrustStore,
    /// It is the certificate of an authority, as many self-signed ones are.
    CaUsedAsLeaf,
    /// It is issued for other names.
    WrongName {
        /// The host that was asked for.
        wanted: String,
        /// The names in the certificate: from the peer, bounded, to be escaped.
        names: Vec<String>,
    },
    /// It has expired.
    Expired {
        /// Its last second, in Unix time.
        not_after: i64,
        /// This device's clock, in Unix time.
        now: i64,
    },
    /// It is not valid yet.
    NotYetValid {
        /// Its first second, in Unix time.
        not_before: i64,
        /// This device's clock, in Unix time.
        now: i64,
    },
    /// It was revoked.
    Revoked,
    /// It was not issued for servers.
    NotForServers,
    /// Its signature is wrong, or uses an algorithm that is not accepted.
    BadSignature,
    /// It cannot be parsed, or has an extension that is not understood.
    Unreadable,
}
