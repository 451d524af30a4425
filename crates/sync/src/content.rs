//! What a vault holds, in numbers, and the fingerprint by which two devices compare.

use std::fmt::Write;

use passmate_vault::compat::Original;
use passmate_vault::{Shape, Vault, format};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::RemoteError;

/// What a vault holds, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Records that are seen.
    pub records: usize,
    /// Records that are deleted.
    pub deleted: usize,
    /// Changes in the whole history.
    pub changes: usize,
    /// When the newest of them was made, in seconds since 1970.
    pub newest: Option<i64>,
    /// Since when the whole history is there, in seconds since 1970, if it was cut.
    pub history_since: Option<i64>,
    /// See [`derive_fingerprint`].
    pub fingerprint: String,
}

impl Content {
    /// Of a vault whose btoken has this shape.
    ///
    /// # Errors
    /// The vault is larger than what can be sealed.
    pub fn of(vault: &Vault, shape: Shape) -> Result<Self, RemoteError> {
        Self::new(vault, &shape.common_part_of(vault))
    }

    /// Of a vault that takes part in a shared folder alone.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_folder(vault: &Vault) -> Result<Self, RemoteError> {
        Self::new(vault, &Original::Passmate2.common_part_of(vault))
    }

    fn new(vault: &Vault, common: &Vault) -> Result<Self, RemoteError> {
        let view = vault.view();
        let changes = vault.records().flat_map(|(_, record)| record.changes());
        Ok(Self {
            records: view.records().len(),
            deleted: view.deleted().len(),
            changes: vault.change_count() - vault.purged_count(),
            newest: changes
                .filter_map(|change| change.stamp.deciding_seconds())
                .max(),
            history_since: vault.history_since(),
            fingerprint: derive_fingerprint(common)?,
        })
    }
}

/// A short text that is the same on two devices if, and in practice only if, their vaults are equal
/// in all changes, history and purges included: 32 upper-case hex digits, the first 16 bytes of
/// SHA-256 over the btoken's plaintext without its roll call.
///
/// # Errors
/// The vault is larger than what can be sealed.
pub fn derive_fingerprint(vault: &Vault) -> Result<String, RemoteError> {
    let plaintext = format::encode_btoken(vault).map_err(RemoteError::Unsealable)?;
    let hash = Sha256::digest(&*plaintext);
    Ok(hash
        .iter()
        .take(16)
        .fold(String::with_capacity(32), |mut text, byte| {
            write!(text, "{byte:02X}").expect("a String takes everything");
            text
        }))
}
