//! The cryptography of other programs' files. The rules are:
//!  - the parameters of a file are checked against limits before a key is derived;
//!  - a tag is checked, in constant time, before anything is decrypted.

use aes::Aes256;
use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use twofish::Twofish;
use zeroize::Zeroizing;

/// The most rounds of PBKDF2.
pub(crate) const PBKDF2_ROUNDS_MAX: u32 = 10_000_000;
/// The most memory for Argon2, in KiB.
pub(crate) const ARGON2_MEMORY_MAX: u64 = 1 << 20;
/// The most work for Argon2, as memory times passes, in KiB.
pub(crate) const ARGON2_WORK_MAX: u64 = 16 << 20;
/// The most lanes of Argon2.
pub(crate) const ARGON2_LANES_MAX: u32 = 64;

/// Why a key could not be derived.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KdfError {
    /// The parameters ask for more work or memory than is allowed.
    #[error("the file asks for more than is allowed to derive its key: {what}")]
    TooExpensive {
        /// The derivation and its parameters.
        what: String,
    },
    /// The system does not provide the memory that the derivation takes.
    #[error("there is not enough memory to derive the file's key")]
    NotEnoughMemory,
    /// The parameters are invalid.
    #[error("the file is damaged: {what}")]
    Unusable {
        /// The invalid parameter.
        what: &'static str,
    },
}

pub(crate) type Key = Zeroizing<[u8; 32]>;

fn hmac_of(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length")
}

pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// The HMAC-SHA256 of the concatenated parts.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = hmac_of(key);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Whether `tag` is the HMAC-SHA256 of the concatenated parts. Compares in constant time.
pub(crate) fn is_hmac_sha256(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    let mut mac = hmac_of(key);
    parts.iter().for_each(|part| mac.update(part));
    mac.verify_slice(tag).is_ok()
}

/// The first 32 bytes of HKDF-Expand with SHA-256.
pub(crate) fn expand_hkdf(key: &[u8; 32], info: &[u8]) -> Key {
    let mut mac = hmac_of(key);
    mac.update(info);
    mac.update(&[1]);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Refuses parameters beyond the limits.
pub(crate) fn check_pbkdf2(rounds: u32) -> Result<(), KdfError> {
    match rounds {
        0 => Err(KdfError::Unusable {
            what: "its key derivation has no rounds",
        }),
        1..=PBKDF2_ROUNDS_MAX => Ok(()),
        _ => Err(KdfError::TooExpensive {
            what: format!("PBKDF2 with {rounds} rounds"),
        }),
    }
}

/// The first 32 bytes of PBKDF2 with HMAC-SHA256.
pub(crate) fn derive_pbkdf2(password: &[u8], salt: &[u8], rounds: u32) -> Result<Key, KdfError> {
    check_pbkdf2(rounds)?;
    let keyed = hmac_of(password);
    let mut mac = keyed.clone();
    mac.update(salt);
    mac.update(&1u32.to_be_bytes());
    let mut last: [u8; 32] = mac.finalize().into_bytes().into();
    let mut key = Zeroizing::new(last);
    for _ in 1..rounds {
        let mut mac = keyed.clone();
        mac.update(&last);
        last = mac.finalize().into_bytes().into();
        key.iter_mut()
            .zip(last)
            .for_each(|(byte, other)| *byte ^= other);
    }
    Ok(key)
}

/// The cost parameters of Argon2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argon2Cost {
    pub(crate) memory_kib: u64,
    pub(crate) passes: u64,
    pub(crate) lanes: u32,
}

impl Argon2Cost {
    /// Refuses parameters beyond the limits.
    pub(crate) fn check(self) -> Result<(), KdfError> {
        let Self {
            memory_kib,
            passes,
            lanes,
        } = self;
        let is_bounded = memory_kib <= ARGON2_MEMORY_MAX
            && memory_kib
                .checked_mul(passes)
                .is_some_and(|work| work <= ARGON2_WORK_MAX)
            && lanes <= ARGON2_LANES_MAX;
        if is_bounded {
            Ok(())
        } else {
            Err(self.refused())
        }
    }

    fn refused(self) -> KdfError {
        let Self {
            memory_kib,
            passes,
            lanes,
        } = self;
        KdfError::TooExpensive {
            what: format!(
                "Argon2 with {memory_kib} KiB of memory, {passes} passes and {lanes} lanes"
            ),
        }
    }
}

/// The first 32 bytes of Argon2.
pub(crate) fn derive_argon2(
    algorithm: Algorithm,
    version: Version,
    password: &[u8],
    salt: &[u8],
    cost: Argon2Cost,
) -> Result<Key, KdfError> {
    cost.check()?;
    let Argon2Cost {
        memory_kib,
        passes,
        lanes,
    } = cost;
    let too_expensive = |_| cost.refused();
    let memory = u32::try_from(memory_kib).map_err(too_expensive)?;
    let passes = u32::try_from(passes).map_err(too_expensive)?;
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(|_| cost.refused())?;
    // Argon2 aborts the program if it cannot allocate. Reserving the memory first turns that into
    // an error.
    let mut blocks: Vec<Block> = Vec::new();
    blocks
        .try_reserve_exact(params.block_count())
        .map_err(|_| KdfError::NotEnoughMemory)?;
    blocks.resize(params.block_count(), Block::default());
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(algorithm, version, params)
        .hash_password_into_with_memory(password, salt, &mut *key, &mut blocks)
        .map_err(|_| KdfError::Unusable {
            what: "its key derivation has an invalid salt",
        })?;
    Ok(key)
}

/// Decrypts AES-256 in CBC mode and removes the padding. `None` if the padding is wrong; that tells
/// an attacker nothing, because the caller has checked a tag before or takes it for a wrong
/// password.
pub(crate) fn decrypt_aes_cbc(
    key: &[u8; 32],
    iv: &[u8],
    ciphertext: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let iv: &[u8; 16] = iv.try_into().ok()?;
    decrypt_cbc::<cbc::Decryptor<Aes256>>(KeyIvInit::new(key.into(), iv.into()), ciphertext)
}

/// As [`decrypt_aes_cbc`], with Twofish under a key of 256 bits.
pub(crate) fn decrypt_twofish_cbc(
    key: &[u8; 32],
    iv: &[u8],
    ciphertext: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let iv: &[u8; 16] = iv.try_into().ok()?;
    decrypt_cbc::<cbc::Decryptor<Twofish>>(KeyIvInit::new(key.into(), iv.into()), ciphertext)
}

fn decrypt_cbc<C: BlockModeDecrypt<BlockSize = U16>>(
    mut cipher: C,
    ciphertext: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    let (blocks, rest) = Array::slice_as_chunks_mut(&mut plaintext);
    if !rest.is_empty() {
        return None;
    }
    cipher.decrypt_blocks(blocks);
    let padding = usize::from(*plaintext.last()?);
    let len = plaintext.len().checked_sub(padding)?;
    let is_padding = (1..=16).contains(&padding)
        && plaintext
            .iter()
            .skip(len)
            .all(|byte| usize::from(*byte) == padding);
    if !is_padding {
        return None;
    }
    plaintext.truncate(len);
    Some(plaintext)
}
