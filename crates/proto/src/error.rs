//! How an exchange can fail, and whose fault that is.

use crate::message::ActionKind;
use serde::{Deserialize, Serialize};

/// Whose fault an ending is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody: an ending that the protocol allows.
    Nobody,
    /// The client broke the protocol, or was refused what it asked for.
    Client,
    /// The server broke the protocol, or refused because of load or a problem of its own.
    Server,
    /// The connection broke, and neither side can tell why.
    Network,
}

/// Why a server ends a connection without confirming anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The first 24 bytes are not the client's hello.
    #[error("wrong hello")]
    WrongHello,
    /// The action byte is none of `c`, `u`, `r`.
    #[error("unknown action {0:#04x}")]
    UnknownAction(u8),
    /// A btoken longer than the limit was announced; nothing was read or allocated for it.
    #[error("btoken of {announced} bytes announced, the limit is {limit}")]
    BtokenTooLong {
        /// The length that the client announced, in bytes.
        announced: u32,
        /// The longest length accepted, in bytes.
        limit: u32,
    },
    /// The last row of *update* holds another account number.
    #[error("wrong account number after the btoken")]
    WrongFinalNumber,
    /// The caller answered [`refused`](crate::ServerMachine::refused).
    #[error("refused")]
    Refused,
    /// The client left after the whole fetch and before its upload, for example to verify.
    #[error("left after the fetch")]
    LeftAfterFetch,
    /// The client left before it asked for anything.
    #[error("left before an action")]
    LeftBeforeAction,
    /// The stream ended in the middle of an action.
    #[error("ended in the middle of {0}")]
    EndedWithin(ActionKind),
    /// The stream ended after the btoken of an *update*, before the client showed that the btoken
    /// is complete.
    #[error("ended before the last row of update")]
    EndedBeforeFinalNumber,
}

impl Reason {
    /// Whether this ending is normal for a correct client.
    #[must_use]
    pub const fn is_normal(self) -> bool {
        matches!(self, Self::LeftAfterFetch | Self::LeftBeforeAction)
    }

    /// The name in logs and metrics. It never changes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongHello => "wrong_hello",
            Self::UnknownAction(_) => "unknown_action",
            Self::BtokenTooLong { .. } => "btoken_too_long",
            Self::WrongFinalNumber => "wrong_final_number",
            Self::Refused => "refused",
            Self::LeftAfterFetch => "left_after_fetch",
            Self::LeftBeforeAction => "left_before_action",
            Self::EndedWithin(_) => "ended_within_action",
            Self::EndedBeforeFinalNumber => "ended_before_final_number",
        }
    }

    /// Whose fault this ending is.
    #[must_use]
    pub const fn whose_fault(self) -> Fault {
        match self {
            Self::LeftAfterFetch | Self::LeftBeforeAction => Fault::Nobody,
            Self::EndedWithin(_) | Self::EndedBeforeFinalNumber => Fault::Network,
            Self::WrongHello
            | Self::UnknownAction(_)
            | Self::BtokenTooLong { .. }
            | Self::WrongFinalNumber
            | Self::Refused => Fault::Client,
        }
    }
}

/// The caller gave an answer that the machine had not asked for. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the machine did not ask for this answer")]
pub struct NotAsked;

/// Why a client knows that its action had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Failure {
    /// The server ended the connection before its hello. It is too busy, or no Passmate server.
    #[error("the server closed the connection without a greeting")]
    CutBeforeHello,
    /// The stream ended inside the server's hello or banner.
    #[error("the connection broke while the server greeted")]
    CutDuringGreeting,
    /// The peer is not a Passmate server.
    #[error("the peer is not a Passmate server")]
    NotPassmate,
    /// The server speaks an unsupported version. Version 1 encrypted btokens in another way.
    #[error("the server speaks protocol version {0}, which is not supported")]
    VersionUnsupported(u16),
    /// The server announced a banner longer than the limit; nothing was allocated for it.
    #[error("the server announced a banner of {announced} bytes, the limit is {limit}")]
    BannerTooLong {
        /// The length that the server announced, in bytes.
        announced: u32,
        /// The longest length accepted, in bytes.
        limit: u32,
    },
    /// The server announced a btoken longer than the client's limit; nothing was allocated for it.
    #[error("the server announced a btoken of {announced} bytes, the limit is {limit}")]
    BtokenTooLong {
        /// The length that the server announced, in bytes.
        announced: u32,
        /// The longest length accepted, in bytes.
        limit: u32,
    },
    /// The connection was cut after the credentials and before any answer, which is a refusal.
    #[error("the server refused")]
    CutAfterCredentials,
    /// The connection broke while the stored btoken arrived.
    #[error("the connection broke during the fetch")]
    CutDuringFetch,
    /// The connection broke before the client had sent its whole btoken.
    #[error("the connection broke during the upload")]
    CutDuringUpload,
    /// An authenticated close came before all promised bytes. A proxy that terminates TLS causes
    /// this.
    #[error("the server closed before it had sent what it promised")]
    ClosedTooEarly,
    /// The server answered *create* with an account number of zeros, which no account has.
    #[error("the server gave an account number of zeros")]
    ZeroAccountNumber,
    /// The length of a btoken does not fit into 32 bits. Nothing was sent.
    #[error("a btoken of {0} bytes cannot be announced")]
    Unannounceable(usize),
}

impl Failure {
    /// Whose fault this failure is.
    #[must_use]
    pub const fn whose_fault(self) -> Fault {
        match self {
            Self::CutDuringGreeting | Self::CutDuringFetch | Self::CutDuringUpload => {
                Fault::Network
            }
            Self::CutAfterCredentials | Self::Unannounceable(_) => Fault::Client,
            Self::CutBeforeHello
            | Self::NotPassmate
            | Self::VersionUnsupported(_)
            | Self::BannerTooLong { .. }
            | Self::BtokenTooLong { .. }
            | Self::ClosedTooEarly
            | Self::ZeroAccountNumber => Fault::Server,
        }
    }
}

/// Why a client cannot know whether its action took effect. It sent everything and got no
/// confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownCause {
    /// The connection was cut. The cause is a refusal, a lost race, or a lost confirmation.
    #[error("the connection was cut before the confirmation")]
    Cut,
    /// An authenticated close came within the confirmation, or before it in layout 2.
    #[error("the server closed before the whole confirmation")]
    ClosedTooEarly,
    /// The confirmation has another account number.
    #[error("the server confirmed another account number")]
    WrongNumber,
    /// The server sent more bytes than a confirmation has.
    #[error("the server sent more than a confirmation")]
    TrailingBytes,
}
