//! The code by which an operator admits one device to make an account: the SHA-256 of its auth
//! token in a form that people can type. The code is no secret.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

/// The SHA-256 of an auth token, as text: 8 groups of 7 characters with dashes between.
///
/// The 56 characters are the base32 (RFC 4648) of 35 bytes: the hash, and its CRC-24 (RFC 4880) in
/// big endian. The checksum finds every wrong character and every two swapped characters.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCode([u8; HASH_LEN]);

const HASH_LEN: usize = 32;
const PACKED_LEN: usize = HASH_LEN + 3;
/// Characters without the dashes. Each stands for 5 bits.
const CHARACTERS: usize = PACKED_LEN * 8 / 5;
const GROUP_LEN: usize = 7;

impl RequestCode {
    /// The code for the auth token with this SHA-256.
    #[must_use]
    pub const fn from_hash(hash: [u8; HASH_LEN]) -> Self {
        Self(hash)
    }

    /// The SHA-256 of the auth token.
    #[must_use]
    pub const fn hash(&self) -> &[u8; HASH_LEN] {
        &self.0
    }
}

impl fmt::Display for RequestCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut packed = [0; PACKED_LEN];
        let (hash, check) = packed.split_at_mut(HASH_LEN);
        hash.copy_from_slice(&self.0);
        check.copy_from_slice(&checksum(&self.0));
        let mut text = String::with_capacity(CHARACTERS + CHARACTERS / GROUP_LEN);
        for (index, character) in BASE32_NOPAD.encode(&packed).char_indices() {
            if index > 0 && index % GROUP_LEN == 0 {
                text.push('-');
            }
            text.push(character);
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for RequestCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestCode({self})")
    }
}

/// Why a text is not a request code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestCodeError {
    /// It has too few or too many characters.
    #[error("a request code has {CHARACTERS} characters (8 groups of 7), but this has {found}")]
    Length {
        /// The number of characters in the text.
        found: usize,
    },
    /// It has a character that does not occur in a code.
    #[error(
        "a request code has only the letters A to Z and the digits 2 to 7, \
         but character {position} is {character:?}"
    )]
    ForeignCharacter {
        /// The wrong character.
        character: char,
        /// Its position in the text, in characters, from 1.
        position: usize,
    },
    /// The checksum does not match: a character is wrong, or two are swapped.
    #[error("the request code's checksum does not match: a character is mistyped")]
    Checksum,
}

impl FromStr for RequestCode {
    type Err = RequestCodeError;

    /// Case does not matter. Blanks, line ends and dashes are ignored.
    fn from_str(text: &str) -> Result<Self, RequestCodeError> {
        let mut characters = String::with_capacity(CHARACTERS);
        for (index, character) in text.chars().enumerate() {
            if character.is_whitespace() || matches!(character, '-' | '\u{2010}'..='\u{2015}') {
                continue;
            }
            match character.to_ascii_uppercase() {
                upper @ ('A'..='Z' | '2'..='7') => characters.push(upper),
                _ => {
                    return Err(RequestCodeError::ForeignCharacter {
                        character,
                        position: index + 1,
                    });
                }
            }
        }
        let found = characters.len();
        if found != CHARACTERS {
            return Err(RequestCodeError::Length { found });
        }
        let mut packed = [0; PACKED_LEN];
        BASE32_NOPAD
            .decode_mut(characters.as_bytes(), &mut packed)
            .expect("56 characters of the alphabet are 35 bytes");
        let (hash, check) = packed.split_at(HASH_LEN);
        let hash: [u8; HASH_LEN] = hash.try_into().map_err(|_| RequestCodeError::Checksum)?;
        if check == checksum(&hash) {
            Ok(Self(hash))
        } else {
            Err(RequestCodeError::Checksum)
        }
    }
}

/// CRC-24 of RFC 4880: polynomial 0x864CFB, start 0xB704CE, not reflected.
fn checksum(bytes: &[u8]) -> [u8; 3] {
    let mut crc = 0x00B7_04CE_u32;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4CFB;
            }
        }
    }
    let [_, high, middle, low] = crc.to_be_bytes();
    [high, middle, low]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use alloc::{format, vec};

    fn code(seed: u8) -> RequestCode {
        RequestCode::from_hash(core::array::from_fn(|index| {
            seed.wrapping_mul(151)
                .wrapping_add(u8::try_from(index).unwrap().wrapping_mul(37))
        }))
    }

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        assert_eq!(checksum(b"123456789"), [0x21, 0xCF, 0x02]);
    }

    #[test]
    fn a_code_is_parsed_in_any_case_and_with_blanks() {
        let text = code(1).to_string();
        assert_eq!(
            text,
            "S66OCBR-LKB2ZVP-7EBEXFG-6E5YLTQ-YMKWPOQ-ML2QPGR-MX5I6I5-UJDFXGK"
        );
        assert_eq!(
            text.split('-').map(str::len).collect::<Vec<_>>(),
            vec![7; 8]
        );
        for other in [
            text.clone(),
            text.to_lowercase(),
            text.replace('-', ""),
            format!("  {}\r\n", text.replace('-', " \t")),
        ] {
            assert_eq!(other.parse(), Ok(code(1)), "{other:?}");
        }
    }

    #[test]
    fn every_wrong_or_swapped_character_is_found() {
        for seed in 0..4 {
            let text = code(seed).to_string().replace('-', "");
            for at in 0..CHARACTERS {
                for wrong in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
                    .iter()
                    .filter(|wrong| **wrong != text.as_bytes()[at])
                {
                    let mut bytes = text.clone().into_bytes();
                    bytes[at] = *wrong;
                    let wrong = String::from_utf8(bytes).unwrap();
                    assert_eq!(
                        wrong.parse::<RequestCode>(),
                        Err(RequestCodeError::Checksum),
                        "{wrong}"
                    );
                }
                for other in at + 1..CHARACTERS {
                    let mut bytes = text.clone().into_bytes();
                    bytes.swap(at, other);
                    let swapped = String::from_utf8(bytes).unwrap();
                    if swapped != text {
                        assert_eq!(
                            swapped.parse::<RequestCode>(),
                            Err(RequestCodeError::Checksum),
                            "{swapped}"
                        );
                    }
                }
            }
        }
    }

    /// A CRC is linear: whether it finds an error depends on the error and not on the code. So this
    /// covers every code.
    #[test]
    fn every_swap_is_found_in_every_code() {
        let zero = checksum(&[0; HASH_LEN]);
        for at in 0..CHARACTERS {
            for other in at + 1..CHARACTERS {
                for difference in 1..32_u8 {
                    let mut error = [0_u8; PACKED_LEN];
                    for place in [at, other] {
                        for bit in 0..5 {
                            let bit_at = place * 5 + bit;
                            error[bit_at / 8] ^= (difference >> (4 - bit) & 1) << (7 - bit_at % 8);
                        }
                    }
                    let (hash, check) = error.split_at(HASH_LEN);
                    let seen: Vec<u8> = checksum(hash)
                        .iter()
                        .zip(zero)
                        .map(|(one, other)| one ^ other)
                        .collect();
                    assert_ne!(seen, check, "{at} and {other}, {difference}");
                }
            }
        }
    }

    #[test]
    fn each_error_names_the_fault_and_its_position() {
        let text = code(2).to_string();
        let foreign = |position, character| {
            Err(RequestCodeError::ForeignCharacter {
                character,
                position,
            })
        };
        assert_eq!(
            "".parse::<RequestCode>(),
            Err(RequestCodeError::Length { found: 0 })
        );
        assert_eq!(
            text[1..].parse::<RequestCode>(),
            Err(RequestCodeError::Length { found: 55 })
        );
        assert_eq!(
            format!("{text}A").parse::<RequestCode>(),
            Err(RequestCodeError::Length { found: 57 })
        );
        assert_eq!(format!("1{text}").parse::<RequestCode>(), foreign(1, '1'));
        assert_eq!(format!("é{text}").parse::<RequestCode>(), foreign(1, 'é'));
        assert_eq!(
            "A".repeat(1 << 20).parse::<RequestCode>(),
            Err(RequestCodeError::Length { found: 1 << 20 })
        );
    }
}
