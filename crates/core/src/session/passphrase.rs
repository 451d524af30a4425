//! Changes the passphrase of a vault. A person may do it because somebody knows the old one, so the
//! rules are:
//!  - the vault, its previous copy, and the files of history that was cut off are encrypted anew;
//!  - what cannot be is named;
//!  - the vault comes last: a change that was interrupted is completed by the next one with the same
//!    passphrase.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use passmate_vault::Passphrase;
use passmate_vault::format::container::{ContainerError, container_params, open_container};
use passmate_vault::format::encode_v3;
use zeroize::Zeroizing;

use super::saving::Keeps;
use super::{Session, SessionError};
use crate::disk::{self, previous_of};
use crate::log_n::LogN;

/// What a change of passphrase did besides the vault and its previous copy.
#[derive(Debug, Default)]
pub struct PassphraseChange {
    /// Files with history that was cut off, now under the new passphrase.
    pub archives: Vec<PathBuf>,
    /// Such files that may still be under another passphrase, and why.
    pub left: Vec<(PathBuf, SessionError)>,
    /// How long the derivation of the new key took, as that of each unlock from now on.
    pub unlock: Duration,
}

impl Session {
    /// Encrypts the vault, its previous copy and its archives under another passphrase, or under
    /// the same one at a higher price, which later saves keep. A price that is not higher changes
    /// nothing.
    ///
    /// # Errors
    /// See [`SessionError`]. Unless it is [`SessionError::Unflushed`], the vault is still under the
    /// old passphrase; the previous copy and the archives may be under the new one.
    pub fn change_passphrase(
        &mut self,
        passphrase: Passphrase,
        log_n: Option<LogN>,
    ) -> Result<PassphraseChange, SessionError> {
        let lock = self.location.lock()?;
        let merged = self.merged_with_file()?;
        let cost = merged.params;
        let cost = log_n.map_or(cost, |log_n| cost.or_dearer(log_n.params()));
        let plaintext = encode_v3(&merged.document)?;
        // A previous copy that does not open, for example after an interrupted change of
        // passphrase, is replaced by the current content.
        let previous = match self.previous_plaintext() {
            Err(SessionError::NotFound { .. }) => None,
            Err(SessionError::WrongPassphrase | SessionError::Container { .. }) => {
                Some(plaintext.clone())
            }
            previous => Some(previous?),
        };
        let old_cost = std::mem::replace(&mut self.location.params, cost);
        let mut change = self.change_archives(&passphrase);
        let old = std::mem::replace(&mut self.passphrase, passphrase);
        let keeps = previous.map_or(Keeps::Kept, Keeps::Instead);
        let begun = Instant::now();
        let key = self.key_for_save();
        change.unlock = begun.elapsed();
        key.and_then(|key| self.write(&lock, key, merged.document, &plaintext, keeps))
            .inspect_err(|error| {
                if !error.is_saved() {
                    (self.passphrase, self.location.params) = (old, old_cost);
                }
            })?;
        Ok(change)
    }

    pub(super) fn previous_plaintext(&self) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        let location = self.location.at(previous_of(&self.location.path));
        open_container(&location.read()?, &self.passphrase).map_err(location.container())
    }

    fn change_archives(&self, passphrase: &Passphrase) -> PassphraseChange {
        let mut change = PassphraseChange::default();
        for archive in self.all_archives() {
            for path in [previous_of(&archive), archive] {
                match self.change_archive(&path, passphrase) {
                    Ok(()) => change.archives.push(path),
                    Err(SessionError::NotFound { .. }) => {}
                    Err(error) => change.left.push((path, error)),
                }
            }
        }
        change
    }

    /// Encrypts one file anew, unless it is under the new passphrase and as dear already. None gets
    /// cheaper.
    fn change_archive(&self, path: &Path, passphrase: &Passphrase) -> Result<(), SessionError> {
        let mut location = self.location.at(path).file()?;
        let lock = location.lock()?;
        let container = location.read()?;
        let (wanted, found) = (location.params, container_params(&container));
        let plaintext = match open_container(&container, &self.passphrase) {
            Err(ContainerError::WrongPassphrase) => {
                let opened = open_container(&container, passphrase);
                let opened = opened.map_err(location.container())?;
                if found.is_ok_and(|found| found.or_dearer(wanted) == found) {
                    return Ok(());
                }
                opened
            }
            opened => opened.map_err(location.container())?,
        };
        location.keep_cost_of(&container);
        let container = location.seal(&plaintext, passphrase)?;
        let written = disk::overwrite(&*location.disk, &lock, &location.path, &container);
        location.replaced(written, &container)
    }
}
