//! Why a document cannot be read or written.

use std::borrow::Cow;

use super::path::JsonPath;
use super::reader::Fault;
use serde::{Deserialize, Serialize};

/// Why a document cannot be read. No message holds a value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum CodecError {
    /// The text is longer than the writer ever writes.
    #[error("the document has {len} bytes, more than the limit of {limit}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The document has more records, changes or devices than the writer ever writes.
    #[error("the document has more than {limit} {what}")]
    TooMany {
        /// Records, changes or devices.
        what: Cow<'static, str>,
        /// The limit.
        limit: usize,
    },
    /// The bytes are not UTF-8.
    #[error("the document is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// The first byte that is not UTF-8.
        offset: usize,
    },
    /// The text begins with a byte order mark, which no Passmate program writes.
    #[error("the document begins with a byte order mark")]
    ByteOrderMark,
    /// The text has only blanks.
    #[error("the document is empty")]
    Empty,
    /// The text is not JSON.
    #[error("the document is not JSON at byte {offset}, in {path}")]
    NotJson {
        /// Where it is.
        path: JsonPath,
        /// The position of the wrong byte.
        offset: usize,
    },
    /// The text is JSON, but this value has the wrong type or form.
    #[error("{path} is not {expected}")]
    WrongShape {
        /// Where it is.
        path: JsonPath,
        /// The expected value.
        expected: Cow<'static, str>,
    },
    /// A time has a fraction, or more digits than the original program reads.
    #[error("{path} is not an integer of at most 4300 digits")]
    NotInteger {
        /// Where it is.
        path: JsonPath,
    },
    /// An object has the same key twice.
    #[error("{path} appears twice")]
    DuplicateKey {
        /// The key.
        path: JsonPath,
    },
    /// A required key is missing.
    #[error("{path} is missing")]
    MissingKey {
        /// The key.
        path: JsonPath,
    },
    /// The format does not have this key.
    #[error("{path} does not belong there")]
    UnknownKey {
        /// The key.
        path: JsonPath,
    },
    /// A newer version of Passmate wrote the document: its version or a member is unknown here.
    #[error("{path} was written by a newer version of Passmate")]
    Newer {
        /// The unknown part.
        path: JsonPath,
    },
    /// The document is compressed, and does not expand to what its head says.
    #[error("the compressed document does not expand to what its head says")]
    Packing,
    /// The version is one that only old programs wrote, or none.
    #[error("the document's version is not supported")]
    VersionUnsupported,
    /// The document is a sync copy and should be a vault, or the other way round.
    #[error("{path} is not {expected}")]
    WrongPurpose {
        /// The place of the purpose.
        path: JsonPath,
        /// The expected purpose.
        expected: Cow<'static, str>,
    },
}

impl CodecError {
    /// Whether a newer version of this program would read the document.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Newer { .. })
    }
}

impl Fault {
    /// Adds the place of the fault.
    pub(super) fn at(self, path: JsonPath) -> CodecError {
        match self {
            Self::Syntax { offset } => CodecError::NotJson { path, offset },
            Self::Expected(expected) => CodecError::WrongShape {
                path,
                expected: expected.into(),
            },
            Self::NotInteger => CodecError::NotInteger { path },
        }
    }
}

/// Why a vault cannot be written: no reader would accept the document.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum EncodeError {
    /// The document would be longer than a reader accepts.
    #[error("the vault is larger than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The vault has more records, changes or devices than a reader accepts.
    #[error("the vault has more than {limit} {what}")]
    TooMany {
        /// Records, changes or devices.
        what: Cow<'static, str>,
        /// The limit.
        limit: usize,
    },
}
