//! Why a vault could not be opened, changed or saved.

use std::io;
use std::path::PathBuf;

use passmate_vault::format::container::ContainerError;
use passmate_vault::format::{CodecError, EncodeError};

/// Why a vault could not be opened, changed or saved. The file is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The file does not exist.
    #[error("there is no vault at {}", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// It exists already.
    #[error("there is already a vault at {}", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// Another program is writing it.
    #[error("{} is in use by another program", path.display())]
    InUse {
        /// The vault.
        path: PathBuf,
    },
    /// The system.
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The vault.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The container does not open.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The container opens, but its content is not a vault.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The vault is larger than the largest that can be read.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Another program changed the passphrase since this one opened the vault.
    #[error("another program changed the master passphrase meanwhile")]
    PassphraseChanged,
    /// A vault of the original program, which cannot read the format that would be written.
    #[error("{} belongs to the original Passmate program and is never changed", path.display())]
    OfOriginal {
        /// The vault.
        path: PathBuf,
    },
}
