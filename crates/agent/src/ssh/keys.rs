//! The keys of the unlocked vaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use passmate_core::answer::Reply;
use passmate_core::api::VaultApi;
use passmate_core::escape::escape_path;
use passmate_core::guard::{Guarded, guarded_one};
use passmate_core::records::Which;
use passmate_core::settings::SyncSettings;
use passmate_core::ssh_key::signing::SigningKey;
use passmate_vault::login::FieldRole;

use super::approver::{Approver, Use};
use super::connection::{Keys, ListedKey, SignRequest};
use crate::vaults::Vaults;

/// The most keys that are listed. A server gives up long before.
const KEYS_MAX: usize = 256;

/// The keys of the unlocked vaults, read anew for each message: a locked vault has none.
pub(crate) struct KeysOfVaults<'a> {
    pub(crate) vaults: &'a Vaults,
    pub(crate) now: &'a dyn Fn() -> Duration,
    pub(crate) approver: &'a dyn Approver,
}

/// A key and where it is.
struct Found {
    key: SigningKey,
    vault: PathBuf,
    record: String,
    guarded: Option<Guarded>,
}

impl KeysOfVaults<'_> {
    /// All keys, each once.
    fn all(&self) -> Vec<Found> {
        let mut all: Vec<Found> = Vec::new();
        for vault in self.vaults.status((self.now)()) {
            // A vault that cannot be read has no keys.
            for found in self.of_vault(&vault.path).unwrap_or_default() {
                let is_known = all
                    .iter()
                    .any(|other| other.key.public() == found.key.public());
                if !is_known && all.len() < KEYS_MAX {
                    all.push(found);
                }
            }
        }
        all
    }

    fn of_vault(&self, path: &Path) -> Reply<Vec<Found>> {
        let settings = SyncSettings::default();
        let records = self.vaults.call(path, settings, self.now, |vault| {
            vault.records(&Which::WithPrivateKey)
        })?;
        let keys = records.into_iter().filter_map(|record| {
            let text = &record.with_role(FieldRole::PrivateKey)?.value;
            Some(Found {
                // One that is encrypted or of another kind cannot sign.
                key: SigningKey::read(text).ok()?,
                vault: path.to_owned(),
                guarded: guarded_one(&record),
                record: record.path,
            })
        });
        Ok(keys.collect())
    }
}

impl Keys for KeysOfVaults<'_> {
    fn list(&mut self) -> Vec<ListedKey> {
        let listed = self.all().into_iter().map(|found| ListedKey {
            public: found.key.public().to_vec(),
            comment: escape_path(&found.record),
            vault: found.vault,
        });
        listed.collect()
    }

    fn sign(&mut self, request: SignRequest<'_>) -> Option<Vec<u8>> {
        let mut all = self.all().into_iter();
        let found = all.find(|found| found.key.public() == request.key)?;
        let used = Use {
            peer: request.peer.clone(),
            vault: found.vault,
            record: found.record,
            guarded: found.guarded,
            fingerprint: found.key.fingerprint(),
            purpose: request.purpose,
            is_forwarded: request.is_forwarded,
        };
        if !self.approver.approves(&used) {
            return None;
        }
        // The vault may have been locked while a person was asked.
        let is_open = self.vaults.look(&used.vault, (self.now)()).is_some();
        is_open.then(|| found.key.sign(request.data, request.hash))?
    }
}
