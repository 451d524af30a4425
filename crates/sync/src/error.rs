//! Why a sync failed.

use std::cell::Cell;

use passmate_proto::Failure;
use passmate_vault::format::btoken::BtokenError;
use passmate_vault::format::{CodecError, EncodeError};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::held::HeldBack;
use crate::rollback::Rollback;
use crate::transport::ConnectError;
use crate::wire::StreamEnd;

/// Why a vault could not be saved; whoever implements [`Replica`](crate::Replica) knows the type
/// behind it.
pub type SaveError = Box<dyn std::error::Error + Send + Sync>;

/// Why a sync failed. In every case all that this device had is still in its vault.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The vault syncs with nothing.
    #[error("this vault is not connected to a server or folder")]
    NotSetUp,
    /// The vault has no account. It may have a shared folder.
    #[error("this vault has no account on a server")]
    NoAccount,
    /// The vault has an account already.
    #[error("this vault already syncs with {host}")]
    AlreadySetUp {
        /// The server's host.
        host: String,
    },
    /// The account that was to be made anew is still there.
    #[error("{host} still has the account of this vault")]
    AccountExists {
        /// The server's host.
        host: String,
    },
    /// The device has asked to be admitted by a server, and has no account there yet.
    #[error("this vault waits to be admitted by {host}: it has no account there yet")]
    NotLetIn {
        /// The server's host.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Another program tied the vault to another account, or to none, while this sync ran.
    #[error("another program changed the account of this vault meanwhile")]
    SetUpChanged,
    /// The sync key's account number is all zero, which is no account.
    #[error("the sync key has no account number")]
    KeyWithoutAccount,
    /// The server returned older data than this device had seen there, and then the sync failed.
    #[error("the server returned older data, and then: {then}")]
    RolledBack {
        /// The missing changes.
        rollback: Rollback,
        /// Why the sync failed.
        then: Box<Self>,
    },
    /// The sync would alter so much, or in such a way, that a person should look first. Nothing was
    /// changed.
    #[error("this sync would {0}")]
    HeldBack(Box<HeldBack>),
    /// The server, or the connection to it.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The vault could not be saved.
    #[error("{0}")]
    Save(SaveError),
}

/// What went wrong at the server or on the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RemoteError {
    /// There is no connection.
    #[error(transparent)]
    NoConnection(ConnectError),
    /// The server closed each connection without a greeting, as an overloaded server does.
    #[error("the server closed the connection without a greeting")]
    Busy,
    /// The connection broke.
    #[error("{failure} ({end})")]
    Broken {
        /// The step of the exchange.
        failure: Failure,
        /// How the stream ended.
        end: StreamEnd,
    },
    /// The peer is not a Passmate server.
    #[error("the peer is not a Passmate server")]
    NotPassmate,
    /// A refusal arrived as a clean close: a proxy between client and server ends TLS.
    #[error(
        "something between this device and the server ends TLS, so a refusal looks like a success"
    )]
    TlsEnded,
    /// The server speaks a version of the protocol that is not supported.
    #[error("the server speaks protocol version {0}, which is not supported")]
    VersionUnsupported(u16),
    /// The server broke the protocol.
    #[error("{0}")]
    Misbehaved(Failure),
    /// The server accepted a random account, which cannot exist.
    #[error("the server accepted an account that cannot exist")]
    LetsAnyoneIn,
    /// The server refused the account number and the auth token, twice.
    #[error("the server refused this account")]
    Refused,
    /// The server refused to make an account, twice.
    #[error("the server refused to make an account")]
    CreateRefused,
    /// The sealed vault is longer than the server, or another device, accepts.
    #[error("the sealed vault has {len} bytes; the limit is {limit}")]
    TooLarge {
        /// The btoken's length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: u32,
        /// Whether the limit is known; if not, it is assumed because the server cut the upload.
        known: bool,
    },
    /// The server announced a btoken longer than the client accepts.
    #[error("the server announced a btoken of {announced} bytes; the limit is {limit}")]
    RemoteTooLarge {
        /// The announced length in bytes.
        announced: u32,
        /// The client's limit in bytes.
        limit: u32,
    },
    /// The btoken on the server was made with another key, or is damaged. Nothing was merged or
    /// sent.
    #[error("the btoken on the server cannot be opened: {0}")]
    Unopenable(BtokenError),
    /// The btoken on the server opens with this key but is not a vault. Nothing was merged or sent.
    #[error("the btoken on the server is not a vault: {0}")]
    NoVault(CodecError),
    /// This vault cannot be written as a btoken.
    #[error("the vault cannot be sealed: {0}")]
    Unsealable(EncodeError),
    /// The account is shared with the desktop client, which cannot read a truncated history.
    #[error(
        "this account is shared with the desktop client, which needs the whole history, and this \
         vault's was cut"
    )]
    HistoryCut {
        /// The start of the vault's history, in seconds since 1970.
        since: i64,
    },
    /// The upload was sent several times, was never confirmed, and is not on the server: other
    /// devices were always faster, or the server cuts connections.
    #[error("the server did not confirm the upload, {0} times")]
    Unconfirmed(u32),
    /// The upload was sent, and then the sync failed before a fetch could tell whether it arrived.
    #[error("it is not known whether the upload arrived: {0}")]
    OutcomeUnknown(#[serde(deserialize_with = "nested")] Box<RemoteError>),
    /// The server named a new account, which the vault now has, and then the sync failed before a
    /// fetch could tell whether the account exists.
    #[error("it is not known whether the new account exists: {0}")]
    AccountUnknown(#[serde(deserialize_with = "nested")] Box<RemoteError>),
    /// The deletion was asked for twice and not confirmed.
    #[error("the server did not confirm the deletion: the account is deleted or unreachable")]
    DeletedOrUnreachable,
}

/// Reads an error within another one. No sync makes more than two of them, and what another process
/// sends must not take the whole stack.
fn nested<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<RemoteError>, D::Error> {
    thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
    }
    const DEPTH_MAX: u32 = 8;

    let depth = DEPTH.get();
    if depth == DEPTH_MAX {
        return Err(D::Error::custom("an error within too many others"));
    }
    DEPTH.set(depth + 1);
    let read = Box::deserialize(deserializer);
    DEPTH.set(depth);
    read
}

/// The kinds of [`SyncError`]. As text they are words joined by dashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncErrorKind {
    /// The vault has no account.
    NotSetUp,
    /// It exists already.
    AlreadySetUp,
    /// The account changed during the sync.
    SetUpChanged,
    /// No connection, or a broken connection.
    Network,
    /// The server's certificate is not trusted.
    NotTrusted,
    /// A proxy ends TLS, or the server accepts any account.
    NotSafe,
    /// The server does not speak the protocol, or breaks it.
    NotPassmate,
    /// The server speaks a version of the protocol or of TLS that this program does not support.
    NotSupported,
    /// The server refused.
    Refused,
    /// A btoken is too large, on this device or on the server.
    TooLarge,
    /// The btoken on the server cannot be opened or read.
    RemoteDamaged,
    /// The upload was sent and not confirmed.
    Unknown,
    /// The server returned older data.
    Older,
    /// The sync would change too much.
    HeldBack,
    /// The vault could not be saved.
    #[serde(rename = "local")]
    Save,
}

impl SyncError {
    /// Its kind.
    pub fn kind(&self) -> SyncErrorKind {
        match self {
            Self::NotSetUp | Self::NoAccount | Self::NotLetIn { .. } => SyncErrorKind::NotSetUp,
            Self::AlreadySetUp { .. } | Self::AccountExists { .. } => SyncErrorKind::AlreadySetUp,
            Self::SetUpChanged => SyncErrorKind::SetUpChanged,
            Self::KeyWithoutAccount => SyncErrorKind::Refused,
            Self::Remote(error) => error.kind(),
            Self::Save(_) => SyncErrorKind::Save,
            Self::RolledBack { .. } => SyncErrorKind::Older,
            Self::HeldBack(_) => SyncErrorKind::HeldBack,
        }
    }
}

impl RemoteError {
    /// Whether an account has nothing that this device can read: it is gone, or it holds something
    /// else than a vault under its key.
    pub(crate) const fn is_about_content(&self) -> bool {
        matches!(
            self,
            Self::Refused | Self::Unopenable(_) | Self::NoVault(_) | Self::RemoteTooLarge { .. }
        )
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> SyncErrorKind {
        match self {
            Self::NoConnection(ConnectError::NotTrusted(_)) => SyncErrorKind::NotTrusted,
            Self::NoConnection(ConnectError::NotTls) | Self::NotPassmate | Self::Misbehaved(_) => {
                SyncErrorKind::NotPassmate
            }
            Self::NoConnection(ConnectError::Incompatible(_))
            | Self::VersionUnsupported(_)
            | Self::HistoryCut { .. } => SyncErrorKind::NotSupported,
            Self::NoConnection(_) | Self::Busy | Self::Broken { .. } => SyncErrorKind::Network,
            Self::TlsEnded | Self::LetsAnyoneIn => SyncErrorKind::NotSafe,
            Self::Refused | Self::CreateRefused => SyncErrorKind::Refused,
            Self::TooLarge { .. } | Self::RemoteTooLarge { .. } | Self::Unsealable(_) => {
                SyncErrorKind::TooLarge
            }
            Self::Unopenable(_) | Self::NoVault(_) => SyncErrorKind::RemoteDamaged,
            Self::Unconfirmed(_)
            | Self::OutcomeUnknown(_)
            | Self::AccountUnknown(_)
            | Self::DeletedOrUnreachable => SyncErrorKind::Unknown,
        }
    }
}
