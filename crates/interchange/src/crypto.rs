//! The cryptography of other programs' files. The rules are:
//!  - the parameters of a file are checked against limits before a key is derived;
//!  - a tag is checked, in constant time, before anything is decrypted.

use aes::Aes256;
use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::AeadInOut;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use passmate_vault::format::container::{ContainerError, Params as ScryptParams};
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

/// The cost parameters of scrypt, within the limits of Passmate's own files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScryptCost(ScryptParams, scrypt::Params);

impl ScryptCost {
    /// Refuses parameters beyond the limits.
    pub(crate) fn new(n: u64, r: u32, p: u32) -> Result<Self, KdfError> {
        let unusable = KdfError::Unusable {
            what: "its key derivation has an invalid parameter",
        };
        if !n.is_power_of_two() {
            return Err(unusable);
        }
        // A power of two below 2^64 has at most 63 zeros.
        let log_n = u8::try_from(n.trailing_zeros()).unwrap_or(u8::MAX);
        let params = ScryptParams::new(log_n, r, p).map_err(|error| match error {
            ContainerError::TooExpensive { .. } => KdfError::TooExpensive {
                what: format!("scrypt with N = {n}, r = {r} and p = {p}"),
            },
            _ => unusable.clone(),
        })?;
        let own = scrypt::Params::new(log_n, r, p, 32).map_err(|_| unusable)?;
        Ok(Self(params, own))
    }
}

/// The first 32 bytes of scrypt.
pub(crate) fn derive_scrypt(
    password: &[u8],
    salt: &[u8],
    ScryptCost(cost, params): ScryptCost,
) -> Result<Key, KdfError> {
    // scrypt aborts the program if it cannot allocate. Reserving the memory first turns that into
    // an error.
    let needed = usize::try_from(cost.memory_bytes()).map_err(|_| KdfError::NotEnoughMemory)?;
    Vec::<u8>::new()
        .try_reserve_exact(needed)
        .map_err(|_| KdfError::NotEnoughMemory)?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(password, salt, &params, &mut *key).expect("32 bytes are a valid length");
    Ok(key)
}

/// Decrypts AES-256 in GCM mode. `None` if the nonce or the tag does not have its length, or if the
/// tag is wrong.
pub(crate) fn decrypt_aes_gcm(
    key: &[u8; 32],
    nonce: &[u8],
    ciphertext: &[u8],
    tag: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let nonce: &[u8; 12] = nonce.try_into().ok()?;
    let tag: &[u8; 16] = tag.try_into().ok()?;
    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    <Aes256Gcm as KeyInit>::new(key.into())
        .decrypt_inout_detached(
            nonce.into(),
            &[],
            plaintext.as_mut_slice().into(),
            tag.into(),
        )
        .ok()?;
    Some(plaintext)
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
