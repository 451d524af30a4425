//! The only room that imports cryptography. The rules are:
//!  - `derive_*` gives the same for the same input, `make_*` draws from the generator that it is
//!    given;
//!  - a tag is compared in constant time, and the caller compares it before it uses anything else;
//!  - what was derived lives in a [`Secret`].

use aes::Aes256;
use aes::cipher::array::Array;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// The length of an AES block, in bytes.
pub(crate) const BLOCK_LEN: usize = 16;

/// The SHA-256 of the parts, one after the other.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn hmac_of(key: &[u8; 32], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

/// The HMAC-SHA256 tag of the parts, one after the other.
pub(crate) fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    hmac_of(key, parts).finalize().into_bytes().into()
}

/// True if `tag` is the HMAC-SHA256 of the parts. The time that it takes says nothing about the
/// tag.
pub(crate) fn is_hmac_sha256(key: &[u8; 32], parts: &[&[u8]], tag: &[u8]) -> bool {
    hmac_of(key, parts).verify_slice(tag).is_ok()
}

/// HMAC-SHA256 of a label under a key: how a sync key becomes the keys that are used.
pub(crate) fn derive_labelled(key: &Secret<32>, label: &[u8]) -> Secret<32> {
    Secret::from_bytes(hmac_sha256(key.as_bytes(), &[label]))
}

/// scrypt. `None` if these parameters are none, which the caller has checked in its own terms.
pub(crate) fn derive_scrypt(
    passphrase: &[u8],
    salt: &[u8; 32],
    log_n: u8,
    r: u32,
    p: u32,
) -> Option<Secret<64>> {
    let params = scrypt::Params::new(log_n, r, p, 64).ok()?;
    let mut key = Secret::from_bytes([0; 64]);
    scrypt::scrypt(passphrase, salt, &params, key.as_mut()).ok()?;
    Some(key)
}

/// Encrypts or decrypts in place: AES-256 in counter mode, from a counter of zero.
///
/// A key must meet one plaintext in its life, which is the caller's to see to.
pub(crate) fn apply_aes_ctr(key: &[u8; 32], bytes: &mut [u8]) {
    let mut cipher = <ctr::Ctr128BE<Aes256> as KeyIvInit>::new(key.into(), &[0; BLOCK_LEN].into());
    cipher.apply_keystream(bytes);
}

/// Encrypts whole blocks in place: AES-256 in CBC mode, without padding. A rest is left as it is.
pub(crate) fn encrypt_aes_cbc(key: &[u8; 32], iv: &[u8; BLOCK_LEN], bytes: &mut [u8]) {
    let mut cipher = <cbc::Encryptor<Aes256> as KeyIvInit>::new(key.into(), iv.into());
    cipher.encrypt_blocks(Array::slice_as_chunks_mut(bytes).0);
}

/// Decrypts whole blocks in place; the other way round.
pub(crate) fn decrypt_aes_cbc(key: &[u8; 32], iv: &[u8; BLOCK_LEN], bytes: &mut [u8]) {
    let mut cipher = <cbc::Decryptor<Aes256> as KeyIvInit>::new(key.into(), iv.into());
    cipher.decrypt_blocks(Array::slice_as_chunks_mut(bytes).0);
}
