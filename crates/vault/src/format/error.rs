//! What can be wrong with a document, and with one that is to be written.

use super::path::JsonPath;
use super::reader::Fault;

/// Why a document cannot be read. No message holds a value, and nothing of it was taken over.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    /// The text is longer than any that is written.
    #[error("the document has {len} bytes, more than the limit of {limit}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// More records or changes than any document that is written has.
    #[error("the document has more than {limit} {what}")]
    TooMany {
        /// Records or changes.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The bytes are no text.
    #[error("the document is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// The first byte that is not UTF-8.
        offset: usize,
    },
    /// A byte order mark stands before the text; no Passmate writes one.
    #[error("the document begins with a byte order mark")]
    ByteOrderMark,
    /// There is nothing but blanks.
    #[error("the document is empty")]
    Empty,
    /// The text is no JSON.
    #[error("the document is not JSON at byte {offset}, in {path}")]
    NotJson {
        /// Where it is.
        path: JsonPath,
        /// The byte that does not belong there.
        offset: usize,
    },
    /// JSON, but not what belongs there.
    #[error("{path} is not {expected}")]
    WrongShape {
        /// Where it is.
        path: JsonPath,
        /// What belongs there.
        expected: &'static str,
    },
    /// A time with a fraction, or with more digits than the original program reads.
    #[error("{path} is not an integer of at most 4300 digits")]
    NotInteger {
        /// Where it is.
        path: JsonPath,
    },
    /// A key stands twice in one object, and the two may differ.
    #[error("{path} stands there twice")]
    DuplicateKey {
        /// The key.
        path: JsonPath,
    },
    /// A key that must be there is missing.
    #[error("{path} is missing")]
    MissingKey {
        /// The key.
        path: JsonPath,
    },
    /// Something that this format does not have.
    #[error("{path} does not belong there")]
    UnknownKey {
        /// The key.
        path: JsonPath,
    },
    /// The document is of a version that this program does not know, or has something in it that
    /// this program does not know: a newer version of Passmate wrote it.
    #[error("{path} was written by a newer version of Passmate")]
    Newer {
        /// What is not known.
        path: JsonPath,
    },
    /// A version that only old programs wrote, or none did.
    #[error("the document's version is not supported")]
    VersionUnsupported,
    /// A sync copy where a vault belongs, or the other way round.
    #[error("{path} is not {expected}")]
    WrongPurpose {
        /// Where it says what it is for.
        path: JsonPath,
        /// What it should be for.
        expected: &'static str,
    },
}

impl CodecError {
    /// True if the remedy is a newer version of this program.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Newer { .. })
    }
}

impl Fault {
    /// Adds the place where it was met.
    pub(super) fn at(self, path: JsonPath) -> CodecError {
        match self {
            Self::Syntax { offset } => CodecError::NotJson { path, offset },
            Self::Expected(expected) => CodecError::WrongShape { path, expected },
            Self::NotInteger => CodecError::NotInteger { path },
        }
    }
}

/// Why a vault cannot be written: it could not be read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// The document would be longer than a reader takes.
    #[error("the vault is larger than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The vault has more records or changes than a reader takes.
    #[error("the vault has more than {limit} {what}")]
    TooMany {
        /// Records or changes.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}
