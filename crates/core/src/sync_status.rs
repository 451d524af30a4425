//! How a vault and its server stand, as far as this device knows without asking.

use passmate_proto::BTOKEN_LEN_MAX_DEFAULT;
pub use passmate_sync::Content;
use passmate_sync::{RemoteError, Replica, SyncError};
use passmate_vault::{Shape, Trust, format};

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
    /// Whether the device still waits to be admitted.
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
    /// Quota on the server.
    pub quota: Quota,
}

/// How much of the server's limit the vault needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The length of the vault as a btoken, in bytes.
    pub used: usize,
    /// The longest btoken that the server takes, in bytes.
    pub limit: u32,
    /// Whether the server stated the limit; otherwise it is assumed.
    pub stated: bool,
}

impl Quota {
    /// Quota for a btoken of so many bytes, with the limit that the server stated, if it did.
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
pub fn status(replica: &dyn Replica, state: &State) -> Result<Status, SyncError> {
    let account = replica.account().ok_or(SyncError::NotSetUp)?;
    let vault = replica.vault();
    let shape = account.shape;
    let plaintext = format::encode_btoken_as(shape, vault).map_err(RemoteError::Unsealable)?;
    let stated = state.last_sync.and_then(|last| last.btoken_len_max);
    Ok(Status {
        host: account.host.clone(),
        port: account.port,
        trust: account.trust.clone(),
        shape,
        pending: account.is_pending(),
        confirmed: account.confirmed,
        last_sync: state.last_sync,
        last_try: state.last_try,
        content: Content::of(vault, shape)?,
        // A vault only grows: what it has more than after the last sync was not sent. One that has
        // less is another one, from a backup say.
        unsent: state
            .last_sync
            .and_then(|last| vault.change_count().checked_sub(last.common)),
        quota: Quota::new(plaintext.len() + format::btoken::BTOKEN_OVERHEAD, stated),
    })
}

/// How a server is trusted, in words.
#[must_use]
pub fn trust_text(trust: &Trust) -> String {
    match trust {
        Trust::System => "the authorities that this system trusts".to_owned(),
        Trust::Ca(_) => "an authority of its own (--ca-file)".to_owned(),
        Trust::Pins {
            current,
            next: None,
        } => format!("pin {current}"),
        Trust::Pins {
            current,
            next: Some(next),
        } => format!("pin {current}, next {next}"),
    }
}
