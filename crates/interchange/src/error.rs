//! Why a file cannot be imported.

use std::fmt;

use passmate_vault::format::CodecError;
use passmate_vault::format::container::ContainerError;

use crate::crypto::KdfError;

/// Why a file cannot be read. No message holds a value of the file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is longer than [`FILE_LEN_MAX`](crate::FILE_LEN_MAX), or its content is too long.
    #[error("the file is longer than {} MiB", limit / (1024 * 1024))]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The file has too many items, fields, columns, elements or levels.
    #[error("the file has more than {limit} {what}")]
    TooMany {
        /// The things that are counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A name or a path is too long, or all of them together are.
    #[error("{what} of {item} is longer than {limit} bytes")]
    NameTooLong {
        /// What is too long.
        what: &'static str,
        /// The item at which the limit was passed.
        item: ItemName,
        /// The limit.
        limit: usize,
    },
    /// The file is encrypted, and no password was given.
    #[error("the file is encrypted")]
    SecretNeeded,
    /// The password is wrong.
    #[error("wrong password for the file")]
    WrongSecret,
    /// The password is wrong, or the key file is another one than that of the file.
    #[error("wrong password or key file")]
    WrongSecretOrKeyFile,
    /// The key file cannot be used.
    #[error("the key file cannot be used: {what}")]
    KeyFile {
        /// What is wrong.
        what: &'static str,
    },
    /// The file asks for more work or memory than is allowed.
    #[error("the file asks for more than is allowed to derive its key: {what}")]
    TooExpensive {
        /// The key derivation and its parameters.
        what: String,
    },
    /// The system does not provide the memory that the key derivation takes.
    #[error("there is not enough memory to derive the file's key")]
    NotEnoughMemory,
    /// The file is not in this format.
    #[error("this is not {expected}")]
    NotThisFormat {
        /// The expected kind of file.
        expected: &'static str,
    },
    /// The file uses a feature of the format that is not supported.
    #[error("the file uses {what}, which is not supported")]
    NotSupported {
        /// The feature.
        what: &'static str,
    },
    /// The file is an export that holds nothing to read, and the program has another one.
    #[error("{what}: {instead}")]
    WrongExport {
        /// What is wrong with this export.
        what: &'static str,
        /// What to export instead.
        instead: &'static str,
    },
    /// The file cannot be read from its disk.
    #[error("the file cannot be read: {kind}")]
    Unreadable {
        /// The error of the system.
        kind: std::io::ErrorKind,
    },
    /// The bytes are neither UTF-8 nor UTF-16.
    #[error("the file is not Unicode text in line {line}")]
    NotUtf8 {
        /// The line, from 1.
        line: usize,
    },
    /// The text is not JSON.
    #[error("the file is not JSON at {}", JsonPlace(*line, *column, place))]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The innermost member that was read: `items[3].login`. Empty at the top level.
        place: String,
    },
    /// The text is JSON, but a value has the wrong type or is missing.
    #[error("the file has an unexpected value at {}", JsonPlace(*line, *column, place))]
    WrongJson {
        /// The line, from 1; 0 if only the place is known.
        line: usize,
        /// The column, from 1; 0 if only the place is known.
        column: usize,
        /// The member: `items[3].login`. Empty at the top level.
        place: String,
    },
    /// The text is not XML, or uses an entity that XML does not define.
    #[error("the file is not XML in line {line}")]
    NotXml {
        /// The line, from 1.
        line: usize,
    },
    /// A table ends within a cell in quotes, so it was cut off.
    #[error("the file ends within quotes that begin in line {line}")]
    OpenQuote {
        /// The line of the first quote, from 1.
        line: u64,
    },
    /// A table lacks a required column.
    #[error("the file's first line does not name a column \"{column}\"")]
    MissingColumn {
        /// The column's name.
        column: &'static str,
    },
    /// The names of a table's columns tell nothing.
    #[error("the file's first line names no column with a known meaning")]
    UnknownColumns,
    /// A table lacks a column that a person named.
    #[error("the file has no column {column:?}")]
    NoSuchColumn {
        /// The name or the number that the person gave.
        column: String,
    },
    /// The file was changed or cut off.
    #[error("the file is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The container of a vault file does not open.
    #[error(transparent)]
    Container(ContainerError),
    /// The content of a vault file cannot be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A line, a column and a member's place. The place comes first, because most exports have one
/// line.
struct JsonPlace<'a>(usize, usize, &'a str);

impl fmt::Display for JsonPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(0, _, "") => f.write_str("its top level"),
            Self(0, _, place) => f.write_str(place),
            Self(line, column, "") => write!(f, "line {line}, column {column}"),
            Self(line, column, place) => write!(f, "{place} (line {line}, column {column})"),
        }
    }
}

/// An item by which an error tells a person where to look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ItemName {
    /// Its number in the file, from 1.
    pub number: usize,
    /// The beginning of its name.
    pub name: String,
}

/// The number, and the name in quotes, with all characters escaped that do not print.
impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {} ({:?})", self.number, self.name)
    }
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
