//! What an error of PostgreSQL means to the store.

use std::error::Error as _;
use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::store::{EngineError, StoreError};

/// The classes of SQLSTATE with which a database rolls back.
const CLASSES_REFUSED: [&str; 11] = [
    "0A", "22", "23", "25", "28", "3D", "3F", "42", "53", "54", "55",
];

/// Why a statement or a transaction has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no connection, or it was lost before the commit was sent. Nothing took place.
    Lost(String),
    /// The database gives no more connections. Nothing was sent.
    Crowded(String),
    /// The database could lose what it confirms. Nothing was sent.
    NotDurable(String),
    /// Another transaction was in the way, and nothing took place.
    Conflict,
    /// The database refused, and nothing took place.
    Refused(EngineError),
    /// The database refuses every change, as a standby does. Nothing took place.
    ReadOnly(String),
    /// It is not known whether the transaction took place.
    Unknown(String),
}

impl Fault {
    /// What a database said, or what happened to the connection, after a statement was sent.
    pub(super) fn of(error: &Error) -> Self {
        match error.as_db_error() {
            Some(error) => Self::of_database(error),
            None => Self::Unknown(describe(error)),
        }
    }

    fn of_database(error: &DbError) -> Self {
        let code = error.code();
        let text = || format!("{} (SQLSTATE {})", one_line(error.message()), code.code());
        let is_fatal = !matches!(error.parsed_severity(), Some(Severity::Error));
        let class = code.code().get(..2).unwrap_or_default();
        match code.code() {
            // The database ends the connection, maybe after the commit.
            _ if is_fatal => Self::Unknown(text()),
            "40001" | "40P01" | "55P03" => Self::Conflict,
            "25006" => Self::ReadOnly(text()),
            "53100" => Self::Refused(EngineError::Full),
            "XX001" | "XX002" => Self::Refused(EngineError::Damaged(text())),
            // A statement that cannot be run, values that cannot be stored, rights, resources.
            _ if CLASSES_REFUSED.contains(&class) => {
                Self::Refused(EngineError::Unavailable(text()))
            }
            _ => Self::Unknown(text()),
        }
    }

    /// The same fault of a statement that is followed by a commit, or changes nothing: if the outcome
    /// is unknown, nothing took place.
    pub(super) fn before_commit(self) -> Self {
        match self {
            Self::Unknown(cause) => Self::Lost(cause),
            fault => fault,
        }
    }

    /// The fault of a read.
    pub(super) fn of_read(self) -> EngineError {
        match self {
            Self::Refused(error) => error,
            Self::Conflict => EngineError::Busy,
            Self::Lost(cause)
            | Self::Crowded(cause)
            | Self::NotDurable(cause)
            | Self::ReadOnly(cause)
            | Self::Unknown(cause) => EngineError::Unavailable(cause),
        }
    }

    /// The fault of a change that nobody settles.
    pub(super) fn of_change(self, store: &str) -> StoreError {
        match self {
            Self::Unknown(_) => StoreError::OutcomeUnknown,
            Self::NotDurable(cause) => StoreError::NotDurable {
                store: store.to_owned(),
                cause,
            },
            fault => fault.of_read().into(),
        }
    }
}

/// Whether a database, a user or a whole server has as many connections as it may have.
pub(super) fn is_crowded(error: &Error) -> bool {
    error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS)
}

/// Whether a database lets nobody in with this user, password, name or certificate.
pub(super) fn is_denied(error: &Error) -> bool {
    if let Some(code) = error.code() {
        return ["28", "3D", "42"].contains(&code.code().get(..2).unwrap_or_default());
    }
    let mut source = error.source();
    while let Some(cause) = source {
        let inner = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// An error with its causes, on one line.
pub(super) fn describe(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!(
            "{} (SQLSTATE {})",
            one_line(error.message()),
            error.code().code()
        );
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&one_line(&cause.to_string()));
        source = cause.source();
    }
    text
}

/// What a database sent, which is shown in a log.
fn one_line(text: &str) -> String {
    const LEN_MAX: usize = 300;
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(LEN_MAX).map(printable).collect()
}
