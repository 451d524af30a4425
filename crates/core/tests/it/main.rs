//! The contract of [`VaultApi`](passmate_core::api::VaultApi), for every implementation.
#![cfg(test)]

mod guard;
mod suite;
mod wire;

use passmate_core::api::VaultApi;
use passmate_core::session::{Session, VaultLocation};
use passmate_core::settings::SyncSettings;
use passmate_vault::Passphrase;
use passmate_vault::format::container::Params;
use tempfile::TempDir;

/// A vault in this process.
struct InProcess {
    dir: TempDir,
}

impl InProcess {
    fn location(&self) -> VaultLocation {
        VaultLocation::new(self.dir.path().join("vault.pmdb"))
            .with_params(Params::new(4, 1, 1).unwrap())
    }
}

impl suite::Implementation for InProcess {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let implementation = Self { dir };
        Session::create(implementation.location(), suite::passphrase()).unwrap();
        implementation
    }

    fn open(&self, passphrase: Passphrase, settings: SyncSettings) -> Box<dyn VaultApi> {
        let session = Session::open(self.location(), passphrase).unwrap();
        Box::new(session.with_sync_settings(settings))
    }
}

suite::for_implementation!(in_process, crate::InProcess);
