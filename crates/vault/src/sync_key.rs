//! The sync key: an account number and a key, which together open an account on a server.
//!
//! Its text form is 14 groups of 6 hex digits: 8 bytes account number, 32 bytes key, and 2 bytes
//! checksum. The checksum is CRC-16/CCITT-FALSE over the 40 bytes before it. The original desktop
//! client computes a different checksum, with the same loop but without one of its steps. Both are
//! accepted.

use std::fmt;

use data_encoding::HEXUPPER;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::derive_labelled;
use crate::secret::Secret;

/// The length of an account number, in bytes.
pub const ACCOUNT_LEN: usize = 8;
/// The length of a key, in bytes.
pub const KEY_LEN: usize = 32;

const PAYLOAD_LEN: usize = ACCOUNT_LEN + KEY_LEN;
const PACKED_LEN: usize = PAYLOAD_LEN + 2;
const DIGITS: usize = 2 * PACKED_LEN;
const GROUP_LEN: usize = 6;

/// The number of an account, and the key that encrypts its btoken. With it, a device can take part
/// in the account.
///
/// The server knows the number and the auth token, which is derived from the key. It never knows
/// the key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncKey {
    account: [u8; ACCOUNT_LEN],
    key: Secret<KEY_LEN>,
}

/// Makes a random key for a new account.
pub fn make_key(rng: &mut (impl CryptoRng + ?Sized)) -> Secret<KEY_LEN> {
    Secret::make(rng)
}

/// Derives the auth token, which proves to the server that this device may use the account.
pub fn derive_auth_token(key: &Secret<KEY_LEN>) -> Secret<32> {
    derive_labelled(key, b"auth_token")
}

/// Derives the key that encrypts btokens.
pub(crate) fn derive_data_key(key: &Secret<KEY_LEN>) -> Secret<32> {
    derive_labelled(key, b"aes_data_key")
}

/// Derives the key that authenticates btokens.
pub(crate) fn derive_mac_key(key: &Secret<KEY_LEN>) -> Secret<32> {
    derive_labelled(key, b"mac_key")
}

impl SyncKey {
    /// The sync key with this account number and key.
    pub const fn from_parts(account: [u8; ACCOUNT_LEN], key: Secret<KEY_LEN>) -> Self {
        Self { account, key }
    }

    /// The account number.
    pub const fn account(&self) -> [u8; ACCOUNT_LEN] {
        self.account
    }

    /// The key from which all other keys are derived.
    pub const fn key(&self) -> &Secret<KEY_LEN> {
        &self.key
    }

    /// Derives the auth token, which proves to the server that this device may use the account.
    pub fn derive_auth_token(&self) -> Secret<32> {
        derive_auth_token(&self.key)
    }

    /// Reads the text form, with either checksum.
    ///
    /// Case does not matter. Characters that are neither letters nor digits are ignored: blanks,
    /// line ends, dashes of any kind, other punctuation. A plus sign is refused, because the
    /// original desktop client reads it as part of a number.
    ///
    /// # Errors
    /// See [`SyncKeyError`].
    pub fn parse(text: &str) -> Result<Self, SyncKeyError> {
        // By hand, because data-encoding can neither skip every kind of separator nor report the
        // position of a wrong character in the text as it was typed.
        let mut packed = Zeroizing::new([0; PACKED_LEN]);
        let mut found = 0usize;
        let mut digits = packed.iter_mut();
        let mut pending: Option<&mut u8> = None;
        for (position, character) in text.chars().enumerate() {
            let Some(digit) = character
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
            else {
                if character.is_alphanumeric() || character == '+' {
                    return Err(SyncKeyError::ForeignCharacter {
                        character,
                        position: position + 1,
                    });
                }
                continue;
            };
            found += 1;
            match pending.take() {
                Some(byte) => *byte |= digit,
                None => {
                    pending = digits.next();
                    if let Some(byte) = &mut pending {
                        **byte = digit << 4;
                    }
                }
            }
        }
        if found != DIGITS {
            return Err(SyncKeyError::Length { found });
        }
        let (payload, checksum) = packed.split_at(PAYLOAD_LEN);
        let checksum = u16::from_be_bytes(
            checksum
                .try_into()
                .expect("42 bytes without 40 are 2 bytes"),
        );
        if checksum != crc16(payload) && checksum != crc16_of_the_desktop_client(payload) {
            return Err(SyncKeyError::Checksum);
        }
        let (account, key) = payload.split_at(ACCOUNT_LEN);
        Ok(Self {
            account: account.try_into().expect("split at 8 bytes"),
            key: Secret::from_bytes(key.try_into().expect("40 bytes without 8 are 32 bytes")),
        })
    }

    /// The text form: 14 groups of 6 upper-case hex digits, joined by dashes; 97 characters.
    pub fn to_text(&self) -> Zeroizing<String> {
        self.to_text_with(crc16)
    }

    /// The text form that the original desktop client accepts: it refuses our checksum.
    pub fn to_desktop_text(&self) -> Zeroizing<String> {
        self.to_text_with(crc16_of_the_desktop_client)
    }

    fn to_text_with(&self, checksum_of: fn(&[u8]) -> u16) -> Zeroizing<String> {
        let mut packed = Zeroizing::new([0; PACKED_LEN]);
        let (payload, checksum) = packed.split_at_mut(PAYLOAD_LEN);
        let (account, key) = payload.split_at_mut(ACCOUNT_LEN);
        account.copy_from_slice(&self.account);
        key.copy_from_slice(self.key.as_bytes());
        checksum.copy_from_slice(&checksum_of(payload).to_be_bytes());

        let digits = Zeroizing::new(HEXUPPER.encode(packed.as_slice()));
        let mut text = Zeroizing::new(String::with_capacity(DIGITS + DIGITS / GROUP_LEN));
        for (index, digit) in digits.char_indices() {
            if index > 0 && index % GROUP_LEN == 0 {
                text.push('-');
            }
            text.push(digit);
        }
        text
    }
}

impl AsRef<Secret<KEY_LEN>> for SyncKey {
    fn as_ref(&self) -> &Secret<KEY_LEN> {
        &self.key
    }
}

impl fmt::Debug for SyncKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SyncKey([redacted])")
    }
}

/// Why a text is not a sync key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SyncKeyError {
    /// It has too few or too many digits.
    #[error("a sync key has {DIGITS} digits (14 groups of 6), but this has {found}")]
    Length {
        /// The number of digits in the text.
        found: usize,
    },
    /// It has a letter or sign that does not occur in a sync key.
    #[error(
        "a sync key has only the digits 0 to 9 and A to F, \
         but character {position} is {character:?}"
    )]
    ForeignCharacter {
        /// The wrong character.
        character: char,
        /// Its position in the text, in characters, from 1.
        position: usize,
    },
    /// The checksum does not match: a digit is wrong, or two are swapped.
    #[error("the sync key's checksum does not match: a digit is mistyped")]
    Checksum,
}

/// CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF, not reflected.
fn crc16(bytes: &[u8]) -> u16 {
    crc16_step(bytes, |x| x ^ x >> 4)
}

/// The checksum of the original desktop client: the same loop without one step.
fn crc16_of_the_desktop_client(bytes: &[u8]) -> u16 {
    crc16_step(bytes, |x| x)
}

fn crc16_step(bytes: &[u8], fold: impl Fn(u16) -> u16) -> u16 {
    bytes.iter().fold(0xFFFF, |crc: u16, &byte| {
        let x = fold((crc >> 8) ^ u16::from(byte));
        (crc << 8) ^ (x << 12) ^ (x << 5) ^ x
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksums_are_those_of_both_programs() {
        assert_eq!(crc16(b"123456789"), 0x29B1);
        assert_eq!(crc16_of_the_desktop_client(b"123456789"), 0x091F);
    }

    #[test]
    fn every_mistyped_digit_is_found() {
        let sync_key =
            SyncKey::from_parts([1, 0, 3, 4, 5, 6, 7, 8], Secret::from_bytes([0xA0; 32]));
        let text = sync_key.to_text();
        for (index, was) in text.char_indices().filter(|(_, was)| *was != '-') {
            for digit in "0123456789ABCDEF".chars().filter(|digit| *digit != was) {
                let mut wrong = text.to_string();
                wrong.replace_range(index..=index, &digit.to_string());
                // A 16-bit CRC finds every error of one digit. For this key, the other checksum
                // does not match by chance either.
                assert_eq!(
                    SyncKey::parse(&wrong),
                    Err(SyncKeyError::Checksum),
                    "{wrong}"
                );
            }
        }
    }

    #[test]
    fn each_error_names_the_fault_and_its_position() {
        let text = SyncKey::from_parts([9; 8], Secret::from_bytes([0; 32])).to_text();
        let foreign = |position, character| {
            Err(SyncKeyError::ForeignCharacter {
                character,
                position,
            })
        };
        assert_eq!(SyncKey::parse(""), Err(SyncKeyError::Length { found: 0 }));
        assert_eq!(
            SyncKey::parse(&text[..96]),
            Err(SyncKeyError::Length { found: 83 })
        );
        assert_eq!(
            SyncKey::parse(&format!("{}0", *text)),
            Err(SyncKeyError::Length { found: 85 })
        );
        assert_eq!(SyncKey::parse(&text.replacen('0', "O", 1)), foreign(1, 'O'));
        assert_eq!(SyncKey::parse(&format!("+{}", *text)), foreign(1, '+'));
        assert_eq!(SyncKey::parse(&format!("ключ {}", *text)), foreign(1, 'к'));
        assert_eq!(
            SyncKey::parse(&"-".repeat(1 << 20)),
            Err(SyncKeyError::Length { found: 0 })
        );
        assert_eq!(
            SyncKey::parse(&"0".repeat(1 << 20)),
            Err(SyncKeyError::Length { found: 1 << 20 })
        );
    }

    #[test]
    fn separators_and_case_are_ignored() {
        let sync_key = SyncKey::from_parts([9; 8], Secret::from_bytes([0xEF; 32]));
        let text = sync_key.to_text();
        for other in [
            text.to_lowercase(),
            text.replace('-', ""),
            text.replace('-', " \u{2013}\t"),
            format!("\u{feff}  {}\r\n", *text),
        ] {
            assert_eq!(SyncKey::parse(&other).as_ref(), Ok(&sync_key), "{other:?}");
        }
    }
}
