//! Why a file cannot be imported.

use passmate_vault::format::CodecError;
use passmate_vault::format::container::ContainerError;

use crate::crypto::KdfError;

/// Why a file cannot be read. No message holds a value out of the file, and nothing of it was taken
/// over.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is longer than any that is read.
    #[error("the file is longer than {} MiB", limit / (1024 * 1024))]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The file has too many of something.
    #[error("the file has more than {limit} {what}")]
    TooMany {
        /// Items, fields, levels.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The file is encrypted, and no password was given.
    #[error("the file is encrypted")]
    SecretNeeded,
    /// The password is another one.
    #[error("wrong password for the file")]
    WrongSecret,
    /// The file asks for more work or memory than is allowed.
    #[error("the file asks for more than is allowed to derive its key: {what}")]
    TooExpensive {
        /// What it asks for, in the words of its program.
        what: String,
    },
    /// The system does not give the memory that the key derivation takes.
    #[error("there is not enough memory to derive the file's key")]
    NotEnoughMemory,
    /// The file does not begin as one of this format.
    #[error("this is not {expected}")]
    NotThisFormat {
        /// What it should be.
        expected: &'static str,
    },
    /// The format, but a part of it that is not known here.
    #[error("the file uses {what}, which is not supported")]
    NotSupported {
        /// What it uses.
        what: &'static str,
    },
    /// Bytes that are no text.
    #[error("the file is not UTF-8 text in line {line}")]
    NotUtf8 {
        /// The line, from 1.
        line: usize,
    },
    /// Text that is no JSON.
    #[error("the file is not JSON at line {line}, column {column}")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// JSON, but not what belongs there.
    #[error("line {line}, column {column} of the file is not what this format has there")]
    WrongJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Text that is no XML, or has an entity that XML does not have of itself.
    #[error("the file is not XML in line {line}")]
    NotXml {
        /// The line, from 1.
        line: usize,
    },
    /// A table whose lines do not fit each other.
    #[error("line {line} of the file does not have as many columns as the first one")]
    UnevenTable {
        /// The line, from 1.
        line: u64,
    },
    /// A table without a column that must be there.
    #[error("the file's first line does not name a column \"{column}\"")]
    MissingColumn {
        /// The column's name.
        column: &'static str,
    },
    /// Decrypted, but not what was encrypted: the file was changed or cut off.
    #[error("the file is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// A container that does not open.
    #[error(transparent)]
    Container(ContainerError),
    /// What is in the container is no vault.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl From<ContainerError> for ImportError {
    fn from(error: ContainerError) -> Self {
        match error {
            ContainerError::WrongPassphrase => Self::WrongSecret,
            error => Self::Container(error),
        }
    }
}

impl From<KdfError> for ImportError {
    fn from(error: KdfError) -> Self {
        match error {
            KdfError::TooExpensive { what } => Self::TooExpensive { what },
            KdfError::NotEnoughMemory => Self::NotEnoughMemory,
            KdfError::Unusable { what } => Self::Damaged { what },
        }
    }
}
