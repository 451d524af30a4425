//! How values travel between the processes of one person, where a derive cannot say it. It is no
//! format of a file. The rules are:
//!  - a value that has rules of its own is checked when it is read;
//!  - bytes are read into memory of exactly their length, so that no buffer that grows leaves a
//!    copy of a secret behind.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::format::{Document, decode_vault_file, encode_v3};
use crate::record::{Text, Vault};
use crate::secret::Secret;
use crate::sync::device_text::DeviceText;

/// Writes secret bytes: see `serde`'s attribute `with`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(
    bytes: &Zeroizing<Vec<u8>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Reads secret bytes: see `serde`'s attribute `with`.
///
/// # Errors
/// Those of the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Zeroizing<Vec<u8>>, D::Error> {
    read(deserializer, "bytes", |bytes| {
        Some(Zeroizing::new(bytes.to_vec()))
    })
}

/// Reads bytes and makes a value of them; `None` says that they are none.
fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    what: &'static str,
    make: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, D::Error> {
    struct Bytes<T, F>(&'static str, F, PhantomData<T>);

    impl<T, F: FnOnce(&[u8]) -> Option<T>> Visitor<'_> for Bytes<T, F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<T, E> {
            let what = self.0;
            (self.1)(bytes).ok_or_else(|| E::custom(format_args!("these are no {what}")))
        }

        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<T, E> {
            self.visit_bytes(&Zeroizing::new(bytes))
        }
    }

    deserializer.deserialize_bytes(Bytes(what, make, PhantomData))
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "bytes of a text", |bytes| {
            is_wtf8(bytes).then(|| Self::from_wtf8(bytes.into()))
        })
    }
}

/// Whether bytes are UTF-8 but for lone surrogates.
fn is_wtf8(mut bytes: &[u8]) -> bool {
    let mut follows_high = false;
    while let Err(error) = std::str::from_utf8(bytes) {
        let (valid, rest) = bytes.split_at(error.valid_up_to());
        let Some((&[0xED, second @ 0xA0..=0xBF, 0x80..=0xBF], rest)) = rest.split_first_chunk()
        else {
            return false;
        };
        let is_low = second >= 0xB0;
        if is_low && follows_high && valid.is_empty() {
            return false;
        }
        follows_high = !is_low;
        bytes = rest;
    }
    true
}

impl<const N: usize> Serialize for Secret<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_bytes())
    }
}

impl<'de, const N: usize> Deserialize<'de> for Secret<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "bytes of a secret", |bytes| {
            Some(Self::from_bytes(bytes.try_into().ok()?))
        })
    }
}

impl Serialize for DeviceText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_str().as_bytes())
    }
}

impl<'de> Deserialize<'de> for DeviceText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "bytes of a device's text", |bytes| {
            Self::read(std::str::from_utf8(bytes).ok()?)
        })
    }
}

/// As the text of a vault file.
impl Serialize for Vault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = encode_v3(&Document::new(self.clone())).map_err(serde::ser::Error::custom)?;
        serializer.serialize_bytes(&text)
    }
}

impl<'de> Deserialize<'de> for Vault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "bytes of a vault", |bytes| {
            Some(decode_vault_file(bytes).ok()?.vault)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wtf8_is_a_text() {
        for (bytes, is_text) in [
            (&b"a"[..], true),
            (b"", true),
            ("m\u{fc}\u{1f600}".as_bytes(), true),
            (b"x\xed\xa0\x80y\xed\xb0\x80", true),
            (b"\xed\xb0\x80\xed\xa0\x80", true),
            // A pair stands for one character.
            (b"\xed\xa0\x80\xed\xb0\x80", false),
            (b"\xed\xa0", false),
            (b"\xff", false),
            (b"\xc0\x80", false),
        ] {
            assert_eq!(is_wtf8(bytes), is_text, "{bytes:x?}");
        }
    }
}
