//! The only room that uses cryptography crates. The rules are:
//!  - `derive_*` returns the same output for the same input; `make_*` takes a random generator;
//!  - tags are compared in constant time, and callers check the tag before they use the data;
//!  - a derived key is a [`Secret`].

use aes::Aes256;
use aes::cipher::array::Array;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use zeroize::Zeroizing;

use crate::secret::Secret;

/// The length of an AES block, in bytes.
pub(crate) const BLOCK_LEN: usize = 16;

/// More than a key derivation uses of the stack, in bytes.
const STACK_LEN: usize = 64 << 10;

/// The SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn hmac_of(key: &[u8; 32], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

/// The HMAC-SHA256 tag of the concatenated parts.
pub(crate) fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    hmac_of(key, parts).finalize().into_bytes().into()
}

/// Whether `tag` is the HMAC-SHA256 of the concatenated parts. Compares in constant time.
pub(crate) fn is_hmac_sha256(key: &[u8; 32], parts: &[&[u8]], tag: &[u8]) -> bool {
    hmac_of(key, parts).verify_slice(tag).is_ok()
}

/// Derives a key for one purpose from a sync key: HMAC-SHA256 of the purpose's label.
pub(crate) fn derive_labelled(key: &Secret<32>, label: &[u8]) -> Secret<32> {
    Secret::from_bytes(hmac_sha256(key.as_bytes(), &[label]))
}

/// Derives 64 bytes with scrypt. `None` if scrypt refuses the parameters; callers check them first.
pub(crate) fn derive_scrypt(
    passphrase: &[u8],
    salt: &[u8; 32],
    log_n: u8,
    r: u32,
    p: u32,
) -> Option<Box<Secret<64>>> {
    let params = scrypt::Params::new(log_n, r, p, 64).ok()?;
    // In one place, so that handing it on leaves no copies.
    let mut key = Box::new(Secret::from_bytes([0; 64]));
    let derived = scrypt::scrypt(passphrase, salt, &params, (*key).as_mut());
    wipe_stack();
    derived.ok().map(|()| key)
}

/// Overwrites the stack below the caller. The library leaves a passphrase of up to 64 bytes there, as
/// the key of its HMAC.
#[inline(never)]
fn wipe_stack() {
    let mut room = Zeroizing::new([1_u8; STACK_LEN]);
    // Otherwise nobody would read it, and it would not be written.
    std::hint::black_box(&mut *room);
}

/// Encrypts or decrypts in place with AES-256 in counter mode. The counter begins at zero.
///
/// Never encrypt two plaintexts under one key; the caller must ensure this.
pub(crate) fn apply_aes_ctr(key: &[u8; 32], bytes: &mut [u8]) {
    let mut cipher = <ctr::Ctr128BE<Aes256> as KeyIvInit>::new(key.into(), &[0; BLOCK_LEN].into());
    cipher.apply_keystream(bytes);
}

/// Encrypts whole blocks in place with AES-256 in CBC mode, without padding. An incomplete last
/// block is left as it is.
pub(crate) fn encrypt_aes_cbc(key: &[u8; 32], iv: &[u8; BLOCK_LEN], bytes: &mut [u8]) {
    let mut cipher = <cbc::Encryptor<Aes256> as KeyIvInit>::new(key.into(), iv.into());
    cipher.encrypt_blocks(Array::slice_as_chunks_mut(bytes).0);
}

/// Decrypts what [`encrypt_aes_cbc`] encrypted, in place.
pub(crate) fn decrypt_aes_cbc(key: &[u8; 32], iv: &[u8; BLOCK_LEN], bytes: &mut [u8]) {
    let mut cipher = <cbc::Decryptor<Aes256> as KeyIvInit>::new(key.into(), iv.into());
    cipher.decrypt_blocks(Array::slice_as_chunks_mut(bytes).0);
}
