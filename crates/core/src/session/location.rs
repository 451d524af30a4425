//! Where a vault is, and the disk, clock and key derivation that it uses.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use getrandom::SysRng;
use passmate_vault::Passphrase;
use passmate_vault::format::container::{
    CONTAINER_OVERHEAD, ContainerError, Params, container_params, make_container,
};
use passmate_vault::format::{CodecError, DOCUMENT_LEN_MAX};
use rand_core::UnwrapErr;

use super::error::SessionError;
use crate::clock::{Clock, system_clock};
use crate::disk::{Disk, Lock, LockError, RealDisk, beside, folder_of, previous_of};

/// Where a vault is, and the disk, clock and key derivation that it uses.
#[derive(Debug, Clone)]
pub struct VaultLocation {
    pub(crate) path: PathBuf,
    pub(crate) disk: Arc<dyn Disk + Send + Sync>,
    pub(super) clock: Clock,
    pub(super) params: Params,
}

/// The longest file that is read, in bytes.
pub(crate) const FILE_LEN_MAX: u64 = (DOCUMENT_LEN_MAX + CONTAINER_OVERHEAD) as u64;

/// How many symbolic links are followed one after the other.
const LINKS_MAX: usize = 40;

impl VaultLocation {
    /// A vault file on the real disk, with the system's clock and the standard key derivation.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            disk: Arc::new(RealDisk),
            clock: system_clock,
            params: Params::STANDARD,
        }
    }

    /// Replaces the disk.
    #[must_use]
    pub fn with_disk(self, disk: impl Disk + Send + Sync + 'static) -> Self {
        Self {
            disk: Arc::new(disk),
            ..self
        }
    }

    /// Replaces the clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Replaces the cost of the key derivation for new files: for tests, and for programs whose
    /// passphrase is a random key.
    #[must_use]
    pub fn with_params(self, params: Params) -> Self {
        Self { params, ..self }
    }

    /// The vault file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something has the name of the file, be it a link to nothing.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// The same vault by the name of the file itself, where the path is a symbolic link: that file
    /// is replaced and not the link, and copies of it are beside it. The file may be missing.
    #[must_use]
    pub fn resolved(&self) -> Self {
        let mut path = self.path.clone();
        for _ in 0..LINKS_MAX {
            let Ok(target) = path.read_link() else {
                break;
            };
            path = folder_of(&path).join(target);
        }
        self.at(path.canonicalize().unwrap_or(path))
    }

    /// The same vault by the name of the file itself.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], [`SessionError::Dangling`], [`SessionError::NotAFile`], or the
    /// system's error.
    pub(crate) fn file(&self) -> Result<Self, SessionError> {
        let path = match self.path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.path.is_symlink() => {
                return Err(SessionError::Dangling {
                    path: self.path.clone(),
                    target: self.resolved().path,
                });
            }
            path => path.map_err(self.io_or_missing("open"))?,
        };
        let metadata = path.metadata().map_err(self.io_or_missing("open"))?;
        if !metadata.is_file() {
            return Err(SessionError::NotAFile { path });
        }
        Ok(self.at(path))
    }

    /// Checks that a new vault may be made here: neither a vault nor a copy that a
    /// save would replace is in its way.
    ///
    /// # Errors
    /// [`SessionError::Exists`] and [`SessionError::CopyExists`], among those of a vault that
    /// cannot be found.
    pub fn check_free(&self) -> Result<(), SessionError> {
        let path = self.path.clone();
        if self.exists() {
            // A link to nothing is told apart from a vault.
            self.file()?;
            return Err(SessionError::Exists { path });
        }
        // An interrupted save may be all that is left; the next save would delete it.
        let copies = [previous_of(&path), beside(&path, ".new")];
        let has_content =
            |copy: &PathBuf| copy.symlink_metadata().is_ok_and(|found| found.len() > 0);
        match copies.into_iter().find(has_content) {
            Some(copy) => Err(SessionError::CopyExists { path, copy }),
            None => Ok(()),
        }
    }

    /// Another file, on the same disk and with the same clock and key derivation.
    pub(crate) fn at(&self, path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            ..self.clone()
        }
    }

    pub(crate) fn io(&self, doing: &'static str) -> impl FnOnce(io::Error) -> SessionError {
        let path = self.path.clone();
        move |error| SessionError::Io { doing, path, error }
    }

    /// As [`io`](Self::io), for what only the vault file's absence can make "not found". When a
    /// file is written or locked, what is not found is its folder.
    fn io_or_missing(&self, doing: &'static str) -> impl FnOnce(io::Error) -> SessionError {
        let path = self.path.clone();
        move |error| match error.kind() {
            io::ErrorKind::NotFound => SessionError::NotFound { path },
            _ => SessionError::Io { doing, path, error },
        }
    }

    /// Whose fault a container is that does not open.
    pub(crate) fn container(&self) -> impl FnOnce(ContainerError) -> SessionError {
        let path = self.path.clone();
        move |error| match error {
            ContainerError::WrongPassphrase => SessionError::WrongPassphrase,
            error => SessionError::Container { path, error },
        }
    }

    pub(crate) fn codec(&self) -> impl FnOnce(CodecError) -> SessionError {
        let path = self.path.clone();
        move |error| SessionError::Codec { path, error }
    }

    pub(crate) fn lock(&self) -> Result<Lock, SessionError> {
        Lock::take(&self.path).map_err(|error| match error {
            LockError::Busy => SessionError::InUse {
                path: self.path.clone(),
            },
            LockError::Io(error) => self.io("lock")(error),
        })
    }

    pub(crate) fn read(&self) -> Result<Vec<u8>, SessionError> {
        self.disk
            .read(&self.path, FILE_LEN_MAX)
            .map_err(self.io_or_missing("read"))
    }

    /// The key derivation of the file, which its first bytes tell.
    ///
    /// # Errors
    /// The file cannot be read, or does not begin like a vault.
    pub(crate) fn read_params(&self) -> Result<Params, SessionError> {
        let header = self
            .disk
            .read_begin(&self.path, CONTAINER_OVERHEAD as u64, FILE_LEN_MAX)
            .map_err(self.io_or_missing("read"))?;
        container_params(&header).map_err(self.container())
    }

    /// What became of the file, which was to be replaced by this content: what failed may have been
    /// the flush after that.
    pub(super) fn replaced(
        &self,
        written: io::Result<()>,
        content: &[u8],
    ) -> Result<(), SessionError> {
        match written {
            Err(error) if self.read().is_ok_and(|file| file == content) => {
                let path = self.path.clone();
                Err(SessionError::Unflushed { path, error })
            }
            written => written.map_err(self.io("write")),
        }
    }

    /// From now on, what is written costs as much to guess as this container, if that is more.
    pub(super) fn keep_cost_of(&mut self, container: &[u8]) {
        if let Ok(found) = container_params(container) {
            self.params = self.params.or_dearer(found);
        }
    }

    pub(super) fn seal(
        &self,
        plaintext: &[u8],
        passphrase: &Passphrase,
    ) -> Result<Vec<u8>, SessionError> {
        let rng = &mut UnwrapErr(SysRng);
        make_container(plaintext, passphrase, self.params, rng).map_err(self.container())
    }
}
