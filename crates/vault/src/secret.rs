//! The secrets of a vault. The rules are:
//!  - each secret is wiped when it is dropped, and redacted in `Debug`;
//!  - each comparison takes the same time for all bytes.

use std::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The passphrase that opens a vault: any bytes, even none.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// A passphrase of these bytes. They are neither trimmed nor normalised.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// True if it has no byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Passphrase {
    fn from(text: String) -> Self {
        Self::from_bytes(text.into_bytes())
    }
}

impl PartialEq for Passphrase {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for Passphrase {}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase([redacted])")
    }
}

/// `N` secret bytes: a key, or a secret that was derived from a key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// A secret of these bytes. The caller must wipe its own copy.
    pub const fn from_bytes(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }

    /// A secret of random bytes.
    pub(crate) fn make(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut secret = Self([0; N]);
        rng.fill_bytes(&mut secret.0);
        secret
    }

    /// The bytes, for a derivation that writes them.
    pub(crate) fn as_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> AsRef<Self> for Secret<N> {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(
            format!("{:?}", Passphrase::from("correct horse".to_owned())),
            "Passphrase([redacted])"
        );
        assert_eq!(
            format!("{:?}", Secret::from_bytes([0x41; 8])),
            "Secret([redacted])"
        );
    }

    #[test]
    fn secrets_are_equal_by_their_bytes() {
        let passphrase = Passphrase::from_bytes(b"a\0b".to_vec());
        assert_eq!(passphrase, passphrase.clone());
        assert_ne!(passphrase, Passphrase::from_bytes(b"a\0c".to_vec()));
        assert_ne!(passphrase, Passphrase::from_bytes(b"a".to_vec()));
        assert_eq!(Secret::from_bytes([1; 4]), Secret::from_bytes([1; 4]));
        assert_ne!(Secret::from_bytes([1; 4]), Secret::from_bytes([1, 1, 1, 2]));
    }
}
