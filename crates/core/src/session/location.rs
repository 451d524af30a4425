//! Where a vault is, and the disk, clock and key derivation that it uses.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use getrandom::SysRng;
use passmate_vault::Passphrase;
use passmate_vault::format::DOCUMENT_LEN_MAX;
use passmate_vault::format::container::{CONTAINER_OVERHEAD, Params, make_container};
use rand_core::UnwrapErr;

use super::error::SessionError;
use crate::clock::{Clock, system_clock};
use crate::disk::{Disk, Lock, LockError, RealDisk};

/// Where a vault is, and the disk, clock and key derivation that it uses.
#[derive(Debug, Clone)]
pub struct VaultLocation {
    pub(super) path: PathBuf,
    pub(super) disk: Arc<dyn Disk + Send + Sync>,
    pub(super) clock: Clock,
    pub(super) params: Params,
}

/// The longest file that is read, in bytes.
pub(super) const FILE_LEN_MAX: u64 = (DOCUMENT_LEN_MAX + CONTAINER_OVERHEAD) as u64;

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

    /// Whether the file exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    pub(super) fn io(&self, doing: &'static str) -> impl FnOnce(io::Error) -> SessionError {
        let path = self.path.clone();
        move |error| match error.kind() {
            io::ErrorKind::NotFound => SessionError::NotFound { path },
            _ => SessionError::Io { doing, path, error },
        }
    }

    pub(super) fn lock(&self) -> Result<Lock, SessionError> {
        Lock::take(&self.path).map_err(|error| match error {
            LockError::Busy => SessionError::InUse {
                path: self.path.clone(),
            },
            LockError::Io(error) => self.io("lock")(error),
        })
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, SessionError> {
        self.disk
            .read(&self.path, FILE_LEN_MAX)
            .map_err(self.io("read"))
    }

    pub(super) fn seal(
        &self,
        plaintext: &[u8],
        passphrase: &Passphrase,
    ) -> Result<Vec<u8>, SessionError> {
        Ok(make_container(
            plaintext,
            passphrase,
            self.params,
            &mut UnwrapErr(SysRng),
        )?)
    }
}
