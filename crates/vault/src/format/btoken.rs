//! The btoken: the encrypted vault on a server, which only devices with the sync key can open.
//!
//! | offset | length | content |
//! | --- | --- | --- |
//! | 0 | 16 | IV, random |
//! | 16 | n | the plaintext under AES-256-CBC, n a multiple of 16 |
//! | 16 + n | 32 | HMAC-SHA256 of all before it |
//!
//! The plaintext is padded with blanks to a multiple of 4096 bytes, so that its length reveals
//! little.

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::{BLOCK_LEN, decrypt_aes_cbc, encrypt_aes_cbc, hmac_sha256, is_hmac_sha256};
use crate::secret::Secret;
use crate::sync_key::{KEY_LEN, derive_data_key, derive_mac_key};

/// The plaintext is padded to a multiple of this, in bytes.
pub const PAD_LEN: usize = 4096;
/// Bytes that a btoken adds to its padded plaintext.
pub const BTOKEN_OVERHEAD: usize = BLOCK_LEN + TAG_LEN;

const TAG_LEN: usize = 32;

/// Why a btoken does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum BtokenError {
    /// No btoken can have this length.
    #[error("the stored data has {len} bytes, which is not a valid length")]
    Length {
        /// The length in bytes.
        len: usize,
    },
    /// It was encrypted with another key, or changed afterwards.
    #[error("the stored data does not authenticate: it is damaged, or encrypted with another key")]
    NotAuthentic,
}

/// Encrypts a plaintext under a fresh IV.
///
/// `key` is a [`SyncKey`](crate::SyncKey), or the key of an account that has no number yet.
pub fn seal(
    plaintext: &[u8],
    key: &impl AsRef<Secret<KEY_LEN>>,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Vec<u8> {
    let padded_len = plaintext.len().next_multiple_of(PAD_LEN);
    let mut iv = [0; BLOCK_LEN];
    rng.fill_bytes(&mut iv);
    // Allocate the exact length: a buffer that grows would leave plaintext in freed memory.
    let mut btoken = Vec::with_capacity(padded_len + BTOKEN_OVERHEAD);
    btoken.extend_from_slice(&iv);
    btoken.extend_from_slice(plaintext);
    btoken.resize(BLOCK_LEN + padded_len, b' ');
    let (_, padded) = btoken.split_at_mut(BLOCK_LEN);
    encrypt_aes_cbc(derive_data_key(key.as_ref()).as_bytes(), &iv, padded);
    let tag = hmac_sha256(derive_mac_key(key.as_ref()).as_bytes(), &[&btoken]);
    btoken.extend_from_slice(&tag);
    btoken
}

/// Decrypts a btoken and returns the plaintext with its padding.
///
/// Checks the tag first, in constant time. Accepts any plaintext length that is a multiple of 16.
///
/// # Errors
/// See [`BtokenError`]. Nothing was decrypted then.
pub fn open(
    btoken: &[u8],
    key: &impl AsRef<Secret<KEY_LEN>>,
) -> Result<Zeroizing<Vec<u8>>, BtokenError> {
    let wrong_length = BtokenError::Length { len: btoken.len() };
    let (iv, rest) = btoken
        .split_first_chunk::<BLOCK_LEN>()
        .ok_or(wrong_length)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(wrong_length)?;
    let mac_key = derive_mac_key(key.as_ref());
    if !is_hmac_sha256(mac_key.as_bytes(), &[iv, ciphertext], tag) {
        return Err(BtokenError::NotAuthentic);
    }
    // The tag is right, so a device with the key wrote this, but CBC needs whole blocks.
    if ciphertext.is_empty() || ciphertext.len() % BLOCK_LEN != 0 {
        return Err(wrong_length);
    }
    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    decrypt_aes_cbc(derive_data_key(key.as_ref()).as_bytes(), iv, &mut plaintext);
    Ok(plaintext)
}

#[cfg(test)]
mod tests {
    use getrandom::SysRng;
    use rand_core::UnwrapErr;

    use super::*;
    use crate::sync_key::SyncKey;

    fn sync_key() -> SyncKey {
        SyncKey::from_parts([0, 1, 2, 3, 0, 5, 6, 0], Secret::from_bytes([0; 32]))
    }

    #[test]
    fn a_btoken_opens_to_its_padded_plaintext() {
        for (len, padded_len) in [(0, 0), (1, 4096), (4095, 4096), (4096, 4096), (4097, 8192)] {
            let plaintext = vec![b'x'; len];
            let btoken = seal(&plaintext, &sync_key(), &mut UnwrapErr(SysRng));
            assert_eq!(btoken.len(), padded_len + BTOKEN_OVERHEAD);
            if len > 0 {
                let opened = open(&btoken, &sync_key()).unwrap();
                assert_eq!(opened[..len], plaintext);
                assert!(opened[len..].iter().all(|byte| *byte == b' '));
            }
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_rejected() {
        let btoken = seal(b"{}", &sync_key(), &mut UnwrapErr(SysRng));
        for len in 0..btoken.len() {
            open(&btoken[..len], &sync_key()).unwrap_err();
        }
        let mut flipped = btoken.clone();
        for bit in 0..btoken.len() * 8 {
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                open(&flipped, &sync_key()),
                Err(BtokenError::NotAuthentic),
                "bit {bit}"
            );
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn every_btoken_has_a_fresh_iv() {
        let seals = [(); 100].map(|()| seal(b"{}", &sync_key(), &mut UnwrapErr(SysRng)));
        let distinct: std::collections::BTreeSet<_> = seals
            .iter()
            .map(|btoken| &btoken[..BLOCK_LEN + 16])
            .collect();
        assert_eq!(distinct.len(), 100);
    }
}
