//! How a vault and its server stand, as far as this device knows without asking.

use std::fmt::Write;

use passmate_proto::BTOKEN_LEN_MAX_DEFAULT;
use passmate_vault::compat::Original;
use passmate_vault::{Shape, Trust, Vault, format};
use sha2::{Digest, Sha256};

use super::{RemoteError, Replica, SyncError};
use crate::state::{LastSync, LastTry, State};

/// How a vault and its server stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The server's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is trusted.
    pub trust: Trust,
    /// The form of its btoken.
    pub shape: Shape,
    /// Whether the device still waits to be let in.
    pub pending: bool,
    /// False if it is not known yet that the account is there.
    pub confirmed: bool,
    /// The last sync that came through, if this device remembers one.
    pub last_sync: Option<LastSync>,
    /// The last try, whatever became of it.
    pub last_try: Option<LastTry>,
    /// What the vault holds.
    pub content: Content,
    /// Changes that the server has not got from this device; `None` if this device does not
    /// remember.
    pub unsent: Option<usize>,
    /// Room on the server.
    pub room: Room,
}

/// What a vault holds, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            changes: vault.change_count(),
            newest: changes
                .filter_map(|change| change.stamp.deciding_seconds())
                .max(),
            history_since: vault.history_since(),
            fingerprint: derive_fingerprint(common)?,
        })
    }
}

/// How much of the server's limit the vault needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The length of the vault as a btoken, in bytes.
    pub used: usize,
    /// The longest btoken that the server takes, in bytes.
    pub limit: u32,
    /// Whether the server stated the limit; otherwise it is assumed.
    pub stated: bool,
}

impl Room {
    /// Room for a btoken of so many bytes, with the limit that the server stated, if it did.
    #[must_use]
    pub fn new(used: usize, stated: Option<u32>) -> Self {
        Self {
            used,
            limit: stated.unwrap_or(BTOKEN_LEN_MAX_DEFAULT),
            stated: stated.is_some(),
        }
    }

    /// How much is used, in parts of a hundred.
    #[must_use]
    pub fn percent(&self) -> usize {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX).max(1);
        self.used.saturating_mul(100) / limit
    }

    /// Bytes left; 0 if the vault is too large already.
    #[must_use]
    pub fn left(&self) -> usize {
        usize::try_from(self.limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.used)
    }
}

/// How the vault and its server stand, without network; `state` is what this device remembers of
/// them.
///
/// # Errors
/// The vault is not set up to sync, or is larger than what can be sealed.
pub fn status<R: Replica>(replica: &R, state: &State) -> Result<Status, SyncError<R::Error>> {
    let association = replica.association().ok_or(SyncError::NotSetUp)?;
    let vault = replica.vault();
    let shape = association.shape;
    let plaintext = format::encode_btoken_as(shape, vault).map_err(RemoteError::Unsealable)?;
    let stated = state.last_sync.and_then(|last| last.btoken_len_max);
    Ok(Status {
        host: association.host.clone(),
        port: association.port,
        trust: association.trust.clone(),
        shape,
        pending: association.is_pending(),
        confirmed: association.confirmed,
        last_sync: state.last_sync,
        last_try: state.last_try,
        content: Content::of(vault, shape)?,
        // A vault only grows: what it has more than after the last sync was not sent. One that has
        // less is another one, from a backup say.
        unsent: state
            .last_sync
            .and_then(|last| vault.change_count().checked_sub(last.common)),
        room: Room::new(plaintext.len() + format::btoken::BTOKEN_OVERHEAD, stated),
    })
}

/// A short text that is the same on two devices if, and in practice only if, their vaults are equal
/// in all changes, history included: 16 upper-case hex digits, the first 8 bytes of SHA-256 over the
/// btoken's plaintext.
///
/// # Errors
/// The vault is larger than what can be sealed.
pub fn derive_fingerprint(vault: &Vault) -> Result<String, RemoteError> {
    let plaintext = format::encode_btoken(vault).map_err(RemoteError::Unsealable)?;
    let hash = Sha256::digest(&*plaintext);
    Ok(hash
        .iter()
        .take(8)
        .fold(String::with_capacity(16), |mut text, byte| {
            write!(text, "{byte:02X}").expect("a String takes everything");
            text
        }))
}
