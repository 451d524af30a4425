//! The account that a vault is tied to.

use passmate_proto::{AccountNumber, AuthToken};
use passmate_vault::{Association, Pin, SyncKey, Trust};

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
    let association = replica.association().cloned();
    let mut association = association.ok_or(SyncError::NotSetUp)?;
    let trust = match association.trust {
        Trust::Pins { current, .. } if current != pin => Trust::Pins {
            current,
            next: Some(pin),
        },
        Trust::Pins { .. } | Trust::System | Trust::Ca(_) => Trust::Pins {
            current: pin,
            next: None,
        },
    };
    association.trust = trust.clone();
    replace_association(replica, Some(association))?;
    Ok(trust)
}

/// Sets the association and saves it, or leaves the old one.
pub(crate) fn replace_association(
    replica: &mut dyn Replica,
    association: Option<Association>,
) -> Result<(), SyncError> {
    let before = replica.association().cloned();
    replica.set_association(association.clone());
    replica.save().map_err(|error| {
        replica.set_association(before);
        SyncError::Save(error)
    })?;
    // Another program may have been faster with another one, or have seen more of the same.
    let identity = |association: &Association| (association.key.clone(), association.trust.clone());
    if replica.association().map(identity) == association.as_ref().map(identity) {
        Ok(())
    } else {
        Err(SyncError::SetUpChanged)
    }
}

pub(crate) fn account_of(key: &SyncKey) -> Option<AccountNumber> {
    AccountNumber::from_bytes(key.account())
}

pub(crate) fn auth_token_of(key: &SyncKey) -> AuthToken {
    AuthToken::new(*key.derive_auth_token().as_bytes())
}
