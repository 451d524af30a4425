//! The account that a vault is tied to.

use passmate_proto::{AccountNumber, AuthToken};
use passmate_vault::sync_key::{KEY_LEN, derive_auth_token};
use passmate_vault::{Account, Pin, Secret, SyncKey, Trust};

use crate::error::SyncError;
use crate::replica::Replica;

/// Trusts the server's next key, as its operator announced it, and saves that.
///
/// With a pin, `pin` becomes the next one, trusted beside the current one until the server shows
/// it; the current pin itself takes back a next one. A trust store or CA file is replaced by the
/// pin.
///
/// # Errors
/// The vault is not set up to sync, or could not be saved; then nothing changed.
pub fn trust_pin(replica: &mut dyn Replica, pin: Pin) -> Result<Trust, SyncError> {
    let account = replica.account().cloned();
    let mut account = account.ok_or(SyncError::NoAccount)?;
    let trust = match account.trust {
        Trust::Pins { current, .. } if current != pin => Trust::Pins {
            current,
            next: Some(pin),
        },
        Trust::Pins { .. } | Trust::System | Trust::Ca(_) => Trust::Pins {
            current: pin,
            next: None,
        },
    };
    account.trust = trust.clone();
    replace_account(replica, Some(account))?;
    Ok(trust)
}

/// Sets the account and saves it, or leaves the old one.
pub(crate) fn replace_account(
    replica: &mut dyn Replica,
    account: Option<Account>,
) -> Result<(), SyncError> {
    let before = replica.account().cloned();
    replica.set_account(account.clone());
    replica.save().map_err(|error| {
        replica.set_account(before);
        SyncError::Save(error)
    })?;
    // Another program may have been faster with another one, or have seen more of the same.
    let identity = |account: &Account| (account.key.clone(), account.trust.clone());
    if replica.account().map(identity) == account.as_ref().map(identity) {
        Ok(())
    } else {
        Err(SyncError::SetUpChanged)
    }
}

pub(crate) fn account_of(key: &SyncKey) -> Option<AccountNumber> {
    AccountNumber::from_bytes(key.account())
}

pub(crate) fn auth_token_of(key: &impl AsRef<Secret<KEY_LEN>>) -> AuthToken {
    AuthToken::new(*derive_auth_token(key.as_ref()).as_bytes())
}
