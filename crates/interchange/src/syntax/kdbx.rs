//! The parts of KeePass' encrypted file that reading and writing share: constants, the cipher of
//! protected values, and the text of tags and times.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use passmate_vault::RecordId;
use salsa20::Salsa20;
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use crate::crypto::sha256;
use crate::error::ImportError;

/// Seconds from the year 1 to 1970.
pub(crate) const YEAR_1: i64 = 62_135_596_800;

pub(crate) const SIGNATURE: [u8; 8] = [0x03, 0xD9, 0xA2, 0x9A, 0x67, 0xFB, 0x4B, 0xB5];
pub(crate) const SIGNATURE_KDB: [u8; 8] = [0x03, 0xD9, 0xA2, 0x9A, 0x65, 0xFB, 0x4B, 0xB5];
pub(crate) const CIPHER_AES: [u8; 16] =
    0x31C1_F2E6_BF71_4350_BE58_0521_6AFC_5AFF_u128.to_be_bytes();
pub(crate) const CIPHER_CHACHA20: [u8; 16] =
    0xD603_8A2B_8B6F_4CB5_A524_339A_31DB_B59A_u128.to_be_bytes();
pub(crate) const CIPHER_TWOFISH: [u8; 16] =
    0xAD68_F29F_576F_4BB9_A36A_D47A_F965_346C_u128.to_be_bytes();
pub(crate) const KDF_AES: [u8; 16] = 0xC9D9_F39A_628A_4460_BF74_0D08_C18A_4FEA_u128.to_be_bytes();
pub(crate) const KDF_AES_4: [u8; 16] = 0x7C02_BB82_79A7_4AC0_927D_114A_0064_8238_u128.to_be_bytes();
pub(crate) const KDF_ARGON2D: [u8; 16] =
    0xEF63_6DDF_8C29_444B_91F7_A9A4_03E3_0A0C_u128.to_be_bytes();
pub(crate) const KDF_ARGON2ID: [u8; 16] =
    0x9E29_8B19_56DB_4773_B23D_FC3E_C6F0_A1E6_u128.to_be_bytes();
/// The id of ChaCha20 among the ciphers of protected values.
pub(crate) const INNER_CHACHA20: u32 = 3;
const SALSA20_NONCE: [u8; 8] = [0xE8, 0x30, 0x09, 0x4B, 0x97, 0x20, 0x5D, 0x2A];

/// The string in which our exports keep the exact text of the field `otp`, if the strings of other
/// programs cannot hold it.
pub(crate) const OTP_EXACT: &str = "Passmate otp";
/// The begin of the strings with further addresses, of Keepass2Android and KeePassXC.
pub(crate) const FURTHER_URL: &str = "KP2A_URL";

/// The parts of a text with tags, which are separated by semicolons or commas.
pub(crate) fn tags_of(text: &str) -> impl Iterator<Item = &str> {
    let tags = text.split([';', ',']).map(str::trim);
    tags.filter(|tag| !tag.is_empty())
}

/// The value of a field `expires`: a date if the time is midnight, else the time.
pub(crate) fn expiry_of(seconds: i64) -> Option<String> {
    let time = Timestamp::from_second(seconds).ok()?.to_string();
    Some(time.strip_suffix("T00:00:00Z").unwrap_or(&time).to_owned())
}

/// The time of a field `expires`, in seconds since 1970. A date counts from its begin.
pub(crate) fn seconds_of_expiry(text: &str) -> Option<i64> {
    let text = text.trim();
    let date = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok();
    let time = text.parse::<Timestamp>().ok();
    let time = time.or_else(|| Some(date()?.timestamp()))?;
    Some(time.as_second())
}

/// The UUID of a record's entry in our exports, which is the same in every file.
pub(crate) fn entry_id(id: &RecordId) -> [u8; 16] {
    let hash = sha256(&[id.as_text().as_bytes()]);
    *hash.first_chunk().expect("32 bytes have 16 at their head")
}

/// The stream cipher of protected values.
pub(crate) enum InnerStream {
    None,
    Salsa20(Box<Salsa20>),
    ChaCha20(Box<ChaCha20>),
}

impl InnerStream {
    pub(crate) fn new(id: u32, key: &[u8]) -> Result<Self, ImportError> {
        match id {
            0 => Ok(Self::None),
            2 => {
                let key = sha256(&[key]);
                Ok(Self::Salsa20(Box::new(<Salsa20 as KeyIvInit>::new(
                    &key.into(),
                    &SALSA20_NONCE.into(),
                ))))
            }
            INNER_CHACHA20 => Ok(Self::chacha20(key)),
            _ => Err(ImportError::NotSupported {
                what: "an unknown cipher for protected values",
            }),
        }
    }

    /// The cipher with the id [`INNER_CHACHA20`].
    pub(crate) fn chacha20(key: &[u8]) -> Self {
        let hash = Zeroizing::new(sha512(&[key]));
        let (key, rest) = hash
            .split_first_chunk::<32>()
            .expect("64 bytes have 32 at their head");
        let (nonce, _) = rest
            .split_first_chunk::<12>()
            .expect("32 bytes have 12 at their head");
        Self::ChaCha20(Box::new(<ChaCha20 as KeyIvInit>::new(
            key.into(),
            nonce.into(),
        )))
    }

    pub(crate) fn apply(&mut self, bytes: &mut [u8]) {
        // One key stream has 256 GiB. A file is far shorter, so this does not fail.
        let _ = match self {
            Self::None => Ok(()),
            Self::Salsa20(stream) => stream.try_apply_keystream(bytes),
            Self::ChaCha20(stream) => stream.try_apply_keystream(bytes),
        };
    }
}

/// The SHA-512 of the parts, one after the other.
pub(crate) fn sha512(parts: &[&[u8]]) -> [u8; 64] {
    let mut hash = Sha512::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}
