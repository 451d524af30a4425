//! Why a vault could not be opened, changed or saved.

use std::io;
use std::path::PathBuf;

use passmate_vault::format::container::ContainerError;
use passmate_vault::format::{CodecError, EncodeError};

/// Why a vault could not be opened, changed or saved. The file is unchanged, unless it
/// [is saved](Self::is_saved).
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
    /// The file does not exist, but copies of it do, which a new vault would replace in time.
    #[error("there is no vault at {}, but a copy of one is beside it", path.display())]
    CopyExists {
        /// Where the vault would be.
        path: PathBuf,
        /// The newest copy.
        copy: PathBuf,
    },
    /// The path is a symbolic link to nothing.
    #[error("{} is a link to {}, which does not exist", path.display(), target.display())]
    Dangling {
        /// The path.
        path: PathBuf,
        /// The name of the missing file.
        target: PathBuf,
    },
    /// A folder, a pipe or a device has the vault's name.
    #[error("{} is a folder or a device, and no file", path.display())]
    NotAFile {
        /// The path.
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
    /// The vault was saved, but its folder could not be flushed to the disk.
    #[error("{} is saved, but a power cut now could bring its old content back: {error}", path.display())]
    Unflushed {
        /// The vault.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The container is under another passphrase.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The container does not open, for another reason than its passphrase.
    #[error("{}: {error}", path.display())]
    Container {
        /// The vault.
        path: PathBuf,
        /// Why.
        error: ContainerError,
    },
    /// The container opens, but its content is not a vault.
    #[error("{}: {error}", path.display())]
    Codec {
        /// The vault.
        path: PathBuf,
        /// Why.
        error: CodecError,
    },
    /// The vault is larger than the largest that can be read.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Another program changed the passphrase since this one opened the vault.
    #[error("another program changed the master passphrase meanwhile")]
    PassphraseChanged,
    /// Another vault was put in the place of the file since this program opened it.
    #[error("{} is not the vault any more that was unlocked: another one was put in its place", path.display())]
    AnotherVault {
        /// The vault.
        path: PathBuf,
    },
    /// A vault of the original program, which cannot read the format that would be written.
    #[error("{} belongs to the original Passmate program and is never changed", path.display())]
    OfOriginal {
        /// The vault.
        path: PathBuf,
    },
}

impl SessionError {
    /// Whether the file has the new content all the same.
    #[must_use]
    pub const fn is_saved(&self) -> bool {
        matches!(self, Self::Unflushed { .. })
    }
}
