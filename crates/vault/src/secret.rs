//! The secrets of a vault. The rules are:
//!  - each secret is wiped when it is dropped, and redacted in `Debug`;
//!  - each comparison takes the same time for all bytes.

use std::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// How many times as long a text may become in another form, in bytes.
const FORM_GROWTH_MAX: usize = 4;

/// The passphrase that opens a vault: any bytes, even none.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Passphrase(#[serde(with = "crate::wire")] Zeroizing<Vec<u8>>);

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

    /// The same text as another keyboard may type it: an accented letter is one character or two
    /// (NFC or NFD of Unicode). `None` if there is no other form.
    #[must_use]
    pub fn other_form(&self) -> Option<Self> {
        let text = std::str::from_utf8(&self.0).ok()?;
        if text.is_ascii() {
            return None;
        }
        // Room for the longest form, so that no copy is left behind when a text grows.
        let of = |characters: &mut dyn Iterator<Item = char>| {
            let mut form = Zeroizing::new(String::with_capacity(FORM_GROWTH_MAX * text.len()));
            form.extend(characters);
            (form.as_str() != text).then(|| Self(Zeroizing::new(form.as_bytes().to_vec())))
        };
        of(&mut text.nfc()).or_else(|| of(&mut text.nfd()))
    }

    /// Opens something with this passphrase; if it is wrong, once more with its
    /// [other form](Self::other_form). Returns the form that opened it too.
    ///
    /// # Errors
    /// That of the first try if neither form is right.
    pub fn try_forms<T, E>(
        &self,
        is_wrong: impl Fn(&E) -> bool,
        mut open: impl FnMut(&Self) -> Result<T, E>,
    ) -> Result<(T, Self), E> {
        match open(self) {
            Ok(opened) => Ok((opened, self.clone())),
            Err(error) if is_wrong(&error) => {
                let Some(other) = self.other_form() else {
                    return Err(error);
                };
                match open(&other) {
                    Ok(opened) => Ok((opened, other)),
                    Err(other) if is_wrong(&other) => Err(error),
                    Err(other) => Err(other),
                }
            }
            Err(error) => Err(error),
        }
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
    fn a_passphrase_has_another_form_if_it_has_accents() {
        let form = |text: &str| {
            let other = Passphrase::from(text.to_owned()).other_form();
            other.map(|other| String::from_utf8(other.as_bytes().to_vec()).unwrap())
        };
        assert_eq!(form("m\u{fc}nze").as_deref(), Some("mu\u{308}nze"));
        assert_eq!(form("mu\u{308}nze").as_deref(), Some("m\u{fc}nze"));
        assert_eq!(form("battery staple"), None);
        assert_eq!(form("日本"), None);
        assert_eq!(
            Passphrase::from_bytes(b"m\xfcnze".to_vec()).other_form(),
            None
        );
    }

    #[test]
    fn the_other_form_is_tried_once_and_only_after_a_wrong_passphrase() {
        let opens = |typed: &str, right: &str| {
            let mut tries = 0;
            let typed = Passphrase::from(typed.to_owned());
            let opened = typed.try_forms(
                |error| *error == "wrong",
                |passphrase| {
                    tries += 1;
                    match passphrase.as_bytes() == right.as_bytes() {
                        true => Ok(()),
                        false if right.is_empty() => Err("damaged"),
                        false => Err("wrong"),
                    }
                },
            );
            (
                tries,
                opened.map(|((), form)| form.as_bytes() == right.as_bytes()),
            )
        };
        assert_eq!(opens("m\u{fc}", "m\u{fc}"), (1, Ok(true)));
        assert_eq!(opens("m\u{fc}", "mu\u{308}"), (2, Ok(true)));
        assert_eq!(opens("mu\u{308}", "m\u{fc}"), (2, Ok(true)));
        assert_eq!(opens("m\u{fc}", "x"), (2, Err("wrong")));
        assert_eq!(opens("mu", "x"), (1, Err("wrong")));
        assert_eq!(opens("m\u{fc}", ""), (1, Err("damaged")));
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
