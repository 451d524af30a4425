//! A device's copy of the vault in a shared folder that has a key.
//!
//! | offset | length | content |
//! | --- | --- | --- |
//! | 0 | 7 | `pmcopy` and a byte 0 |
//! | 7 | 1 | 1, the version |
//! | 8 | 8 | the number of the folder key |
//! | 16 | n | a btoken under the folder key |

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::btoken::{self, BtokenError};
use crate::folder_key::{FolderKey, FolderNumber};

const MAGIC: &[u8; 7] = b"pmcopy\0";
const VERSION: u8 = 1;

/// Why a copy does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum CopyError {
    /// It does not begin as a copy does.
    #[error("this is not a copy under a folder key")]
    NotACopy,
    /// It is a copy of a newer format.
    #[error("this is a copy of format {version}, but only format 1 is supported")]
    VersionUnknown {
        /// The format's number.
        version: u8,
    },
    /// It is under the key of another folder, or under another key of this one.
    #[error("it is under another folder key")]
    OtherKey,
    /// It is damaged.
    #[error("it is damaged or incomplete")]
    Damaged,
}

/// Encrypts the plaintext of a btoken as a copy.
pub fn seal(plaintext: &[u8], key: &FolderKey, rng: &mut (impl CryptoRng + ?Sized)) -> Vec<u8> {
    let sealed = btoken::seal(plaintext, key, rng);
    [&MAGIC[..], &[VERSION], &key.number(), &sealed].concat()
}

/// Decrypts a copy and returns the plaintext of a btoken.
///
/// # Errors
/// See [`CopyError`].
pub fn open(copy: &[u8], key: &FolderKey) -> Result<Zeroizing<Vec<u8>>, CopyError> {
    let (number, sealed) = split(copy)?;
    if number != key.number() {
        return Err(CopyError::OtherKey);
    }
    btoken::open(sealed, key).map_err(|error| match error {
        BtokenError::Length { .. } | BtokenError::NotAuthentic => CopyError::Damaged,
    })
}

/// The number of the key of a copy. Needs no key.
///
/// # Errors
/// It is no copy of a known format.
pub fn number_of(copy: &[u8]) -> Result<FolderNumber, CopyError> {
    Ok(split(copy)?.0)
}

fn split(copy: &[u8]) -> Result<(FolderNumber, &[u8]), CopyError> {
    let rest = copy.strip_prefix(MAGIC).ok_or(CopyError::NotACopy)?;
    let (&version, rest) = rest.split_first().ok_or(CopyError::NotACopy)?;
    if version != VERSION {
        return Err(CopyError::VersionUnknown { version });
    }
    let (number, sealed) = rest.split_first_chunk().ok_or(CopyError::Damaged)?;
    Ok((*number, sealed))
}
