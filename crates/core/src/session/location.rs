//! Where a vault is, and what it needs of the world.

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

/// Where a vault is, and what it needs of the world.
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
    /// A vault file on the real disk, under the real time, with the full cost of a wrong guess.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            disk: Arc::new(RealDisk),
            clock: system_clock,
            params: Params::STANDARD,
        }
    }

    /// The same with another disk.
    #[must_use]
    pub fn with_disk(self, disk: impl Disk + Send + Sync + 'static) -> Self {
        Self {
            disk: Arc::new(disk),
            ..self
        }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same with other costs of the key derivation for what is written, for programs that have
    /// keys of full entropy instead of a passphrase, and for tests.
    #[must_use]
    pub fn with_params(self, params: Params) -> Self {
        Self { params, ..self }
    }

    /// The vault file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file.
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
