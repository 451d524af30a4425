//! The key of the log beside a vault. It is random and stays in the vault file: a change of the
//! passphrase leaves the log readable, and neither a server nor another device has it.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::sync_key::{KEY_LEN, make_key};

/// The key of the log beside a vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogKey(Secret<KEY_LEN>);

impl LogKey {
    /// Makes a random key.
    pub fn make(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self(make_key(rng))
    }

    /// Reads 64 hex digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        let bytes = Zeroizing::new(bytes);
        Some(Self(Secret::from_bytes(bytes.as_slice().try_into().ok()?)))
    }

    pub(crate) fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(HEXLOWER.encode(self.0.as_bytes()))
    }
}

impl AsRef<Secret<KEY_LEN>> for LogKey {
    fn as_ref(&self) -> &Secret<KEY_LEN> {
        &self.0
    }
}
