//! The sealed vault that a server keeps: opaque to it, and of use to nobody without the sync key.
//!
//! | offset | length | content |
//! | --- | --- | --- |
//! | 0 | 16 | IV, random |
//! | 16 | n | the plaintext under AES-256-CBC, n a multiple of 16 |
//! | 16 + n | 32 | HMAC-SHA256 of all before it |
//!
//! The plaintext is filled up with blanks to a multiple of 4096 bytes, so that its length says
//! little.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::crypto::{BLOCK_LEN, decrypt_aes_cbc, encrypt_aes_cbc, hmac_sha256, is_hmac_sha256};
use crate::secret::Secret;
use crate::sync_key::{KEY_LEN, derive_data_key, derive_mac_key};

/// What the plaintext is filled up to a multiple of, in bytes.
pub const PAD_LEN: usize = 4096;
/// What a btoken is longer than its padded plaintext, in bytes.
pub const BTOKEN_OVERHEAD: usize = BLOCK_LEN + TAG_LEN;

const TAG_LEN: usize = 32;

/// Why a btoken does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BtokenError {
    /// Its length is none that a btoken can have.
    #[error("the stored data has {len} bytes, which no sealed vault has")]
    Length {
        /// The bytes that are there.
        len: usize,
    },
    /// It was not sealed with this key, or it was changed afterwards.
    #[error("the stored data does not authenticate: it is damaged, or sealed with another key")]
    NotAuthentic,
}

/// Seals a plaintext, with a fresh IV.
///
/// The key is that of a [`SyncKey`](crate::SyncKey), or the bare one of an account that is not made
/// yet.
pub fn seal(
    plaintext: &[u8],
    key: &impl AsRef<Secret<KEY_LEN>>,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Vec<u8> {
    let padded_len = plaintext.len().next_multiple_of(PAD_LEN);
    let mut iv = [0; BLOCK_LEN];
    rng.fill_bytes(&mut iv);
    // Of exactly the size that is needed: a buffer that moves would leave plaintext behind.
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

/// Opens a btoken; the plaintext comes with its padding.
///
/// The tag is checked first, in constant time. Any length that is a multiple of 16 is taken.
///
/// # Errors
/// [`BtokenError`]; nothing was decrypted then.
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
    // Only who has the key can have made these, but a block cipher takes whole blocks.
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
    fn what_is_sealed_opens_again_with_its_padding() {
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
    fn every_btoken_has_an_iv_of_its_own() {
        let seals = [(); 100].map(|()| seal(b"{}", &sync_key(), &mut UnwrapErr(SysRng)));
        let distinct: std::collections::BTreeSet<_> = seals
            .iter()
            .map(|btoken| &btoken[..BLOCK_LEN + 16])
            .collect();
        assert_eq!(distinct.len(), 100);
    }
}
