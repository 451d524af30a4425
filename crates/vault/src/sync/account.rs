//! The account on a server that a vault is tied to. It is stored inside the encrypted vault file.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::delta::Delta;
use super::device_text::DeviceText;
use super::roll_call::{DeviceId, OwnDevice, RollCall};
use super::seen::SeenChanges;
use super::shape::Shape;
use crate::secret::Secret;
use crate::sync_key::{KEY_LEN, SyncKey};

/// A vault's account: its server, its key, and how the server is authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// The server's name or IP address, as the person typed it.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// The key, and the account's number once there is one.
    pub key: AccountKey,
    /// How the server is trusted.
    pub trust: Trust,
    /// False from when the server sent the account's number until a fetch proved that the account
    /// exists.
    pub confirmed: bool,
    /// The changes that this device has seen on the server.
    pub seen: SeenChanges,
    /// The last sync that received or sent changes.
    pub last: Option<Delta>,
    /// The accounts that this one replaces, until they are deleted on the server.
    pub retired: Vec<Retired>,
    /// A device that has the key was lost or stolen: the account is not read any more, and the next
    /// sync moves to a new one.
    pub is_lost: bool,
    /// The form in which its btoken is written.
    pub shape: Shape,
    /// This device, as it takes part in the account.
    pub device: Option<OwnDevice>,
    /// The devices of the account, as this device has last seen them.
    pub devices: RollCall,
}

/// The most accounts that a vault remembers to delete.
pub const RETIRED_MAX: usize = 100;

/// An account that was replaced and is not deleted on its server yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retired {
    /// Its key.
    pub key: SyncKey,
    /// A device that has this key was lost or stolen: what the account holds is never read.
    pub is_lost: bool,
}

/// The key of an account that exists or that was requested.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccountKey {
    /// The server has made no account for this key yet: its operator must admit the device first.
    Requested(Secret<KEY_LEN>),
    /// The account's number and key.
    Granted(SyncKey),
}

impl AccountKey {
    /// The sync key; `None` as long as the server has made no account.
    #[must_use]
    pub const fn granted(&self) -> Option<&SyncKey> {
        match self {
            Self::Requested(_) => None,
            Self::Granted(key) => Some(key),
        }
    }

    /// The key without the account's number.
    #[must_use]
    pub const fn secret(&self) -> &Secret<KEY_LEN> {
        match self {
            Self::Requested(secret) => secret,
            Self::Granted(key) => key.key(),
        }
    }
}

impl Account {
    /// Whether the account was requested and does not exist yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self.key, AccountKey::Requested(_))
    }

    /// Merges the accounts that two programs stored independently, both starting from `base`.
    ///
    /// A member that one side changed takes that side's value. If both changed it, the value of
    /// `theirs` counts, which was stored first. The changes that either has seen are united, and so
    /// are the devices. If both have the same device of their own, it keeps the higher counter.
    pub fn merge(base: Option<&Self>, ours: Option<Self>, theirs: Option<Self>) -> Option<Self> {
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours.key == theirs.key => {
                Some(Self::merge_account(base, ours, theirs))
            }
            (ours, theirs) => {
                let is_as_before = match (base, &theirs) {
                    (None, None) => true,
                    (Some(base), Some(theirs)) => base.key == theirs.key,
                    _ => false,
                };
                if is_as_before { ours } else { theirs }
            }
        }
    }

    fn merge_account(base: Option<&Self>, ours: Self, mut theirs: Self) -> Self {
        let base = base.filter(|base| base.key == ours.key);
        if base.is_some_and(|base| (&base.host, base.port) == (&theirs.host, theirs.port)) {
            (theirs.host, theirs.port) = (ours.host, ours.port);
        }
        if base.is_some_and(|base| base.trust == theirs.trust) {
            theirs.trust = ours.trust;
        }
        if base.is_some_and(|base| base.retired == theirs.retired) {
            theirs.retired = ours.retired;
        }
        if base.is_some_and(|base| base.shape == theirs.shape) {
            theirs.shape = ours.shape;
        }
        theirs.device = Self::merge_device(base, ours.device, theirs.device);
        theirs.devices.merge(&ours.devices);
        // What one program declares lost is lost for both.
        theirs.is_lost |= ours.is_lost;
        // One proof that the account exists is enough.
        theirs.confirmed |= ours.confirmed;
        theirs.seen.merge(&ours.seen);
        let later = |delta: &Option<Delta>| delta.as_ref().map(|delta| delta.time);
        if later(&ours.last) > later(&theirs.last) {
            theirs.last = ours.last;
        }
        theirs
    }

    fn merge_device(
        base: Option<&Self>,
        ours: Option<OwnDevice>,
        theirs: Option<OwnDevice>,
    ) -> Option<OwnDevice> {
        fn named(device: Option<&OwnDevice>) -> Option<(DeviceId, &DeviceText)> {
            device.map(|device| (device.id, &device.name))
        }
        let counter = match (&ours, &theirs) {
            (Some(ours), Some(theirs)) if ours.id == theirs.id => ours.counter.max(theirs.counter),
            _ => 0,
        };
        // Each sync changes the counter, so only the id and the name count as a change here.
        let is_as_before =
            base.is_some_and(|base| named(base.device.as_ref()) == named(theirs.as_ref()));
        let device = if is_as_before { ours } else { theirs };
        device.map(|device| OwnDevice {
            counter: device.counter.max(counter),
            ..device
        })
    }
}

/// How a server is authenticated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Trust {
    /// Its certificate is trusted by the system.
    System,
    /// Its certificate is signed by one of these, in PEM form.
    Ca(String),
    /// Its public key has one of these pins. Name, chain and expiry do not count.
    Pins {
        /// The pin of its key.
        current: Pin,
        /// The pin of a key that its operator announced. It becomes the current pin when the server
        /// first shows that key.
        next: Option<Pin>,
    },
}

/// The SHA-256 of a server's SubjectPublicKeyInfo.
///
/// As text: `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pin([u8; 32]);

const PIN_PREFIX: &str = "sha256:";

impl Pin {
    /// A pin of this hash.
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PIN_PREFIX)?;
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a pin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PinError {
    /// It does not begin with `sha256:`.
    #[error("a pin begins with sha256: (its words are for the question of `sync setup`)")]
    Prefix,
    /// It does not have 64 characters after `sha256:`.
    #[error("a pin has 64 hex digits after sha256:, but this has {found}")]
    Length {
        /// The number of characters that it has.
        found: usize,
    },
    /// It has a character that is not one of `0..9 a..f`.
    #[error("a pin has only the digits 0 to 9 and a to f")]
    Digit,
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let digits = text.strip_prefix(PIN_PREFIX).ok_or(PinError::Prefix)?;
        let found = digits.chars().count();
        if found != 64 {
            return Err(PinError::Length { found });
        }
        let hash = HEXLOWER
            .decode(digits.as_bytes())
            .map_err(|_| PinError::Digit)?;
        let hash = hash.try_into().map_err(|_| PinError::Digit)?;
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::super::roll_call::DeviceEntry;
    use super::*;
    use crate::record::Vault;

    fn account(account: u8) -> Account {
        let key = SyncKey::from_parts([account; 8], Secret::from_bytes([account; 32]));
        let key = AccountKey::Granted(key);
        let host = "one".to_owned();
        Account {
            host,
            port: 1,
            key,
            trust: Trust::System,
            confirmed: true,
            seen: SeenChanges::new(),
            last: None,
            retired: Vec::new(),
            is_lost: false,
            shape: Shape::Modern,
            device: None,
            devices: RollCall::new(),
        }
    }

    fn seen(path: &str) -> SeenChanges {
        let (mut vault, mut seen) = (Vault::new(), SeenChanges::new());
        vault.create_record(path.into(), path, 100).unwrap();
        seen.note(&vault);
        seen
    }

    #[test]
    fn a_change_by_one_program_survives_the_other() {
        let base = account(1);
        let saw = Account {
            seen: seen("a"),
            ..base.clone()
        };
        let trusts = Account {
            trust: Trust::Ca("x".to_owned()),
            seen: seen("b"),
            ..base.clone()
        };
        let both = {
            let mut seen = seen("a");
            seen.merge(&trusts.seen);
            Account {
                seen,
                ..trusts.clone()
            }
        };
        for (ours, theirs) in [(&saw, &trusts), (&trusts, &saw)] {
            let merged = Account::merge(Some(&base), Some(ours.clone()), Some(theirs.clone()));
            assert_eq!(merged.as_ref(), Some(&both));
        }
        // One program leaves the account while the other syncs.
        assert_eq!(Account::merge(Some(&base), None, Some(saw.clone())), None);
        assert_eq!(Account::merge(Some(&base), Some(saw), None), None);
    }

    fn with_device(id: u8, name: &str, counter: u64) -> Account {
        let (id, name) = (DeviceId::from_bytes([id; 16]), DeviceText::first_of(name));
        let device = Some(OwnDevice { id, name, counter });
        Account {
            device,
            ..account(1)
        }
    }

    #[track_caller]
    fn check_device(base: Option<&Account>, ours: &Account, theirs: &Account, merged: &Account) {
        let found = Account::merge(base, Some(ours.clone()), Some(theirs.clone()));
        assert_eq!(found.as_ref(), Some(merged));
    }

    #[test]
    fn the_same_device_keeps_its_higher_counter() {
        let [low, high] = [2, 3].map(|counter| with_device(1, "laptop", counter));
        for base in [None, Some(&low), Some(&account(1)), Some(&account(9))] {
            check_device(base, &low, &high, &high);
            check_device(base, &high, &low, &high);
        }
        let renamed = |counter| with_device(1, "desk", counter);
        check_device(Some(&low), &renamed(2), &high, &renamed(3));
        check_device(Some(&low), &high, &renamed(2), &renamed(3));
        check_device(
            Some(&low),
            &with_device(1, "other", 3),
            &renamed(2),
            &renamed(3),
        );
    }

    #[test]
    fn a_device_that_one_program_changed_takes_its_value() {
        let (base, synced) = (with_device(1, "a", 2), with_device(1, "a", 3));
        let (one, two) = (with_device(2, "a", 0), with_device(3, "a", 0));
        check_device(Some(&base), &one, &synced, &one);
        check_device(Some(&base), &synced, &one, &one);
        check_device(Some(&base), &one, &two, &two);
        check_device(Some(&account(1)), &one, &account(1), &one);
        check_device(Some(&account(1)), &account(1), &one, &one);
        check_device(Some(&base), &account(1), &synced, &account(1));
    }

    #[test]
    fn the_devices_that_two_programs_saw_are_merged() {
        let entry = |counter| DeviceEntry {
            counter,
            time: 1,
            name: DeviceText::first_of("laptop"),
            version: DeviceText::first_of("1"),
            read: [0; 32],
        };
        let saw = |entries: &[(u8, u64)]| {
            let mut saw = account(1);
            for (id, counter) in entries {
                saw.devices
                    .set(DeviceId::from_bytes([*id; 16]), entry(*counter));
            }
            saw
        };
        let (ours, theirs) = (saw(&[(1, 4), (2, 1)]), saw(&[(1, 3), (3, 7)]));
        let both = saw(&[(1, 4), (2, 1), (3, 7)]);
        for base in [None, Some(&ours), Some(&theirs)] {
            check_device(base, &ours, &theirs, &both);
            check_device(base, &theirs, &ours, &both);
        }
    }

    #[test]
    fn of_two_new_accounts_the_one_stored_first_counts() {
        let (base, one, two) = (account(1), account(2), account(3));
        for base in [None, Some(&base)] {
            let merged = Account::merge(base, Some(one.clone()), Some(two.clone()));
            assert_eq!(merged.as_ref(), Some(&two));
        }
        assert_eq!(
            Account::merge(Some(&base), Some(one.clone()), Some(base.clone())),
            Some(one.clone())
        );
        assert_eq!(Account::merge(None, Some(one.clone()), None), Some(one));
        assert_eq!(Account::merge(Some(&base), Some(base.clone()), None), None);
    }

    #[test]
    fn a_pin_has_one_text() {
        let hash = std::array::from_fn(|index| u8::try_from(index * 8).unwrap());
        let text = Pin::from_bytes(hash).to_string();
        assert_eq!(
            text,
            "sha256:0008101820283038404850586068707880889098a0a8b0b8c0c8d0d8e0e8f0f8"
        );
        assert_eq!(text.parse(), Ok(Pin::from_bytes(hash)));
        let digits = text.strip_prefix("sha256:").unwrap();
        for (broken, error) in [
            (String::new(), PinError::Prefix),
            (digits.to_owned(), PinError::Prefix),
            (format!("SHA256:{digits}"), PinError::Prefix),
            (format!("{text}0"), PinError::Length { found: 65 }),
            ("sha256:".to_owned(), PinError::Length { found: 0 }),
            (text.replace("a0", "A0"), PinError::Digit),
            (format!("sha256:{}", "é".repeat(64)), PinError::Digit),
            (
                format!("sha256:{}", "é".repeat(32)),
                PinError::Length { found: 32 },
            ),
        ] {
            assert_eq!(broken.parse::<Pin>(), Err(error), "{broken}");
        }
    }
}
