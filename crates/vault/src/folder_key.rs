//! The key of a shared folder in which only this program's devices take part. It is random, so that
//! whoever can read the folder has nothing to guess, and a device needs no passphrase of another.
//!
//! Its text form is `folder-` and 14 groups of 6 hex digits, as in a sync key: 8 bytes folder
//! number, 32 bytes key, and 2 bytes checksum. The first word tells it from the key of an account.

use std::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::sync_key::{ACCOUNT_LEN, KEY_LEN, SyncKey, SyncKeyError, make_key};

/// The first word of a folder key as text.
const WORD: &str = "folder";

/// The number of a shared folder, and the key that encrypts the copies in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderKey(SyncKey);

/// Tells the keys of folders apart; no secret.
pub type FolderNumber = [u8; ACCOUNT_LEN];

impl FolderKey {
    /// The folder key with this number and key.
    pub const fn from_parts(number: FolderNumber, key: Secret<KEY_LEN>) -> Self {
        Self(SyncKey::from_parts(number, key))
    }

    /// Makes a random key.
    pub fn make(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut number = [0; ACCOUNT_LEN];
        rng.fill_bytes(&mut number);
        Self::from_parts(number, make_key(rng))
    }

    /// The number.
    pub const fn number(&self) -> FolderNumber {
        self.0.account()
    }

    /// Reads the text form, as tolerantly as that of a sync key.
    ///
    /// # Errors
    /// See [`FolderKeyError`].
    pub fn parse(text: &str) -> Result<Self, FolderKeyError> {
        let text = text.trim_start();
        let word = text.get(..WORD.len());
        if !word.is_some_and(|word| word.eq_ignore_ascii_case(WORD)) {
            return Err(match SyncKey::parse(text) {
                Ok(_) => FolderKeyError::OfAnAccount,
                Err(_) => FolderKeyError::NoFolderKey,
            });
        }
        let digits = text.get(WORD.len()..).unwrap_or_default();
        SyncKey::parse(digits)
            .map(Self)
            .map_err(FolderKeyError::Mistyped)
    }

    /// The text form; 104 characters.
    pub fn to_text(&self) -> Zeroizing<String> {
        let digits = self.0.to_text();
        let mut text = Zeroizing::new(String::with_capacity(WORD.len() + 1 + digits.len()));
        text.push_str(WORD);
        text.push('-');
        text.push_str(&digits);
        text
    }
}

impl AsRef<Secret<KEY_LEN>> for FolderKey {
    fn as_ref(&self) -> &Secret<KEY_LEN> {
        self.0.key()
    }
}

impl fmt::Debug for FolderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FolderKey([redacted])")
    }
}

/// Why a text is not a folder key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FolderKeyError {
    /// It does not begin with `folder`.
    #[error("the key of a folder begins with `folder-`")]
    NoFolderKey,
    /// It is a sync key.
    #[error("this is the sync key of an account, not the key of a folder")]
    OfAnAccount,
    /// Something after the first word is wrong.
    #[error("the folder key is mistyped: {0}")]
    Mistyped(SyncKeyError),
}

#[cfg(test)]
mod tests {
    use getrandom::SysRng;
    use rand_core::UnwrapErr;

    use super::*;

    #[test]
    fn a_folder_key_survives_its_text_and_is_no_sync_key() {
        let key = FolderKey::make(&mut UnwrapErr(SysRng));
        let text = key.to_text();
        assert_eq!(text.len(), 104);
        assert_eq!(FolderKey::parse(&text), Ok(key.clone()));
        let typed = format!("  {}\n", text.to_lowercase().replace('-', " "));
        assert_eq!(FolderKey::parse(&typed), Ok(key.clone()));
        SyncKey::parse(&text).unwrap_err();
        let other = key.0.to_text();
        assert_eq!(FolderKey::parse(&other), Err(FolderKeyError::OfAnAccount));
        assert_eq!(FolderKey::parse("föld"), Err(FolderKeyError::NoFolderKey));
        let cut = &text[..text.len() - 1];
        assert!(matches!(
            FolderKey::parse(cut),
            Err(FolderKeyError::Mistyped(SyncKeyError::Length { found: 83 }))
        ));
    }

    #[test]
    fn debug_shows_no_folder_key() {
        let key = FolderKey::from_parts([1; 8], Secret::from_bytes([2; 32]));
        assert_eq!(format!("{key:?}"), "FolderKey([redacted])");
    }
}
