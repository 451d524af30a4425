//! The container: the encrypted vault file on a device.
//!
//! The format is that of Tarsnap's `scrypt` utility, which opens our containers:
//!
//! | offset | length | content |
//! | --- | --- | --- |
//! | 0 | 6 | `scrypt` |
//! | 6 | 1 | 0, the version |
//! | 7 | 1 | log2 of N |
//! | 8 | 4 | r, big endian |
//! | 12 | 4 | p, big endian |
//! | 16 | 32 | salt |
//! | 48 | 16 | the first half of the SHA-256 of bytes 0 to 47 |
//! | 64 | 32 | HMAC-SHA256 of bytes 0 to 63: tells a wrong passphrase from damage |
//! | 96 | n | the plaintext under AES-256-CTR |
//! | 96 + n | 32 | HMAC-SHA256 of all before it |
//!
//! scrypt derives 64 bytes from passphrase and salt: the encryption key, then the HMAC key.
//!
//! The counter begins at zero for every key, so a key must never encrypt a second plaintext.
//! Therefore every container has a fresh salt, and encryption takes its keys by value.

use std::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::{apply_aes_ctr, derive_scrypt, hmac_sha256, is_hmac_sha256, sha256};
use crate::secret::{Passphrase, Secret};

/// Bytes that a container adds to its plaintext.
pub const CONTAINER_OVERHEAD: usize = HEADER_LEN + TAG_LEN;
/// The most memory that the key derivation of a container may take, scratch included, in bytes: a
/// table of 1 GiB, which is the largest that other programs write, and 1 MiB for the rest.
pub const SCRYPT_MEMORY_MAX: u64 = (1 << 30) + (1 << 20);
/// The most work that the key derivation may take, as 4·N·r·p: 32 times that of
/// [`Params::STANDARD`].
pub const SCRYPT_WORK_MAX: u64 = 1 << 27;

const MAGIC: &[u8; 6] = b"scrypt";
const SALT_LEN: usize = 32;
const SALTED_LEN: usize = 48;
const SUMMED_LEN: usize = 64;
const HEADER_LEN: usize = 96;
const TAG_LEN: usize = 32;

/// The cost parameters of scrypt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Params {
    log_n: u8,
    r: u32,
    p: u32,
}

impl Params {
    /// The parameters of new containers: N = 2^17, r = 8, p = 1. They take 128 MiB of memory.
    pub const STANDARD: Self = Self {
        log_n: 17,
        r: 8,
        p: 1,
    };

    /// Parameters within the limits.
    ///
    /// # Errors
    /// [`ContainerError::ParamsInvalid`] if scrypt does not allow them,
    /// [`ContainerError::TooExpensive`] beyond [`SCRYPT_MEMORY_MAX`] or [`SCRYPT_WORK_MAX`].
    pub fn new(log_n: u8, r: u32, p: u32) -> Result<Self, ContainerError> {
        // N = 2 … 2^63, r·p < 2^30, and N < 2^(16·r): the bounds of scrypt itself.
        let rp = u64::from(r) * u64::from(p);
        let is_scrypt = (1..64).contains(&log_n)
            && r > 0
            && p > 0
            && rp < 1 << 30
            && u64::from(log_n) < 16 * u64::from(r);
        if !is_scrypt {
            return Err(ContainerError::ParamsInvalid { log_n, r, p });
        }
        let params = Self { log_n, r, p };
        let (memory, work) = (params.memory_needed(), params.work_needed());
        if memory > u128::from(SCRYPT_MEMORY_MAX) || work > u128::from(SCRYPT_WORK_MAX) {
            let memory_mib = u64::try_from(memory >> 20).unwrap_or(u64::MAX);
            return Err(ContainerError::TooExpensive {
                log_n,
                r,
                p,
                memory_mib,
            });
        }
        Ok(params)
    }

    /// log2 of N.
    #[must_use]
    pub const fn log_n(self) -> u8 {
        self.log_n
    }

    /// The other parameters, if they take more memory and more work than these.
    #[must_use]
    pub fn or_dearer(self, other: Self) -> Self {
        let is_dearer = other.memory_needed() > self.memory_needed()
            && other.work_needed() > self.work_needed();
        if is_dearer { other } else { self }
    }

    /// The memory that a derivation takes, scratch included, in bytes.
    #[must_use]
    pub fn memory_bytes(self) -> u64 {
        u64::try_from(self.memory_needed()).expect("within the limits, which are below 2^64")
    }

    /// The work of a derivation: 4·N·r·p.
    #[must_use]
    pub fn work(self) -> u64 {
        u64::try_from(self.work_needed()).expect("within the limits, which are below 2^64")
    }

    /// What the `scrypt` crate allocates: a table of N lines, a line for each of the `p` lanes, and
    /// a line of scratch.
    fn memory_needed(self) -> u128 {
        let line = 128 * u128::from(self.r);
        (line << self.log_n) + line * u128::from(self.p) + line
    }

    fn work_needed(self) -> u128 {
        (4 * u128::from(self.r) * u128::from(self.p)) << self.log_n
    }

    /// Derives the two keys.
    fn derive_keys(
        self,
        passphrase: &Passphrase,
        salt: &[u8; SALT_LEN],
    ) -> Result<Keys, ContainerError> {
        // scrypt aborts the program if it cannot allocate. Reserving the memory first turns that
        // into an error.
        let needed =
            usize::try_from(self.memory_needed()).map_err(|_| ContainerError::NotEnoughMemory)?;
        Vec::<u8>::new()
            .try_reserve_exact(needed)
            .map_err(|_| ContainerError::NotEnoughMemory)?;
        let Self { log_n, r, p } = self;
        let derived = derive_scrypt(passphrase.as_bytes(), salt, log_n, r, p);
        let derived = derived.ok_or(ContainerError::ParamsInvalid { log_n, r, p })?;
        Ok(Keys(derived))
    }
}

/// The keys of one container. They encrypt once: [`Keys::encrypt`] takes them by value.
struct Keys(Box<Secret<64>>);

impl Keys {
    fn data(&self) -> &[u8; 32] {
        let half = self.0.as_bytes().first_chunk();
        half.expect("half of 64 bytes is 32 bytes")
    }

    fn mac(&self) -> &[u8; 32] {
        let half = self.0.as_bytes().last_chunk();
        half.expect("half of 64 bytes is 32 bytes")
    }

    /// Completes a container that has its first 64 bytes.
    fn encrypt(self, mut container: Vec<u8>, plaintext: &[u8]) -> Vec<u8> {
        let header_tag = hmac_sha256(self.mac(), &[&container]);
        container.extend_from_slice(&header_tag);
        container.extend_from_slice(plaintext);
        let (_, ciphertext) = container.split_at_mut(HEADER_LEN);
        apply_aes_ctr(self.data(), ciphertext);
        let tag = hmac_sha256(self.mac(), &[&container]);
        container.extend_from_slice(&tag);
        container
    }
}

/// Why a container does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum ContainerError {
    /// It does not begin with `scrypt`.
    #[error("this is not a scrypt container")]
    NotAContainer,
    /// It is a container of a newer format.
    #[error("this is a scrypt container of format {version}, but only format 0 is supported")]
    VersionUnknown {
        /// The format's number.
        version: u8,
    },
    /// It is shorter than a container can be.
    #[error(
        "the file is cut off: it has {len} bytes, but a container has at least {CONTAINER_OVERHEAD}"
    )]
    Truncated {
        /// The length in bytes.
        len: usize,
    },
    /// The header's checksum does not match the header.
    #[error("the file's header is damaged")]
    HeaderDamaged,
    /// scrypt does not allow these parameters.
    #[error("the file has invalid scrypt parameters (logN {log_n}, r {r}, p {p})")]
    ParamsInvalid {
        /// log2 of N.
        log_n: u8,
        /// The block size.
        r: u32,
        /// The parallelism.
        p: u32,
    },
    /// The parameters ask for more memory or work than is allowed.
    #[error(
        "the file asks for more work than is allowed \
         (logN {log_n}, r {r}, p {p}: {memory_mib} MiB of memory)"
    )]
    TooExpensive {
        /// log2 of N.
        log_n: u8,
        /// The block size.
        r: u32,
        /// The parallelism.
        p: u32,
        /// The memory that the derivation would take, in MiB.
        memory_mib: u64,
    },
    /// The system does not provide the memory that the derivation takes.
    #[error("there is not enough memory to derive the key")]
    NotEnoughMemory,
    /// The passphrase is wrong, or somebody changed the header's tag or salt on purpose.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The passphrase is right, but the data after the header was changed.
    #[error("the file is damaged")]
    Damaged,
}

/// Encrypts a plaintext under a passphrase and a fresh salt.
///
/// # Errors
/// [`ContainerError::NotEnoughMemory`], and no other.
pub fn make_container(
    plaintext: &[u8],
    passphrase: &Passphrase,
    params: Params,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Vec<u8>, ContainerError> {
    Ok(ContainerKey::derive(passphrase, params, rng)?.seal(plaintext))
}

/// The key of a container that is not written yet, with its fresh salt. The derivation takes nearly
/// all the time of making a container, and does not need the plaintext.
///
/// It seals once, because no key may encrypt two plaintexts.
pub struct ContainerKey {
    /// The first 64 bytes of the container.
    summed: Vec<u8>,
    params: Params,
    keys: Keys,
}

impl fmt::Debug for ContainerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContainerKey([redacted])")
    }
}

impl ContainerKey {
    /// Derives a key from a passphrase and a fresh salt.
    ///
    /// # Errors
    /// [`ContainerError::NotEnoughMemory`], and no other.
    pub fn derive(
        passphrase: &Passphrase,
        params: Params,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, ContainerError> {
        let mut salt = [0; SALT_LEN];
        rng.fill_bytes(&mut salt);
        let keys = params.derive_keys(passphrase, &salt)?;

        let mut summed = Vec::with_capacity(SUMMED_LEN);
        summed.extend_from_slice(MAGIC);
        summed.extend_from_slice(&[0, params.log_n]);
        summed.extend_from_slice(&params.r.to_be_bytes());
        summed.extend_from_slice(&params.p.to_be_bytes());
        summed.extend_from_slice(&salt);
        let sum = sha256(&summed);
        summed.extend(sum.iter().take(SUMMED_LEN - SALTED_LEN));
        Ok(Self {
            summed,
            params,
            keys,
        })
    }

    /// What the derivation cost.
    #[must_use]
    pub const fn params(&self) -> Params {
        self.params
    }

    /// Encrypts a plaintext.
    #[must_use]
    pub fn seal(self, plaintext: &[u8]) -> Vec<u8> {
        let mut container = Vec::with_capacity(plaintext.len() + CONTAINER_OVERHEAD);
        container.extend_from_slice(&self.summed);
        self.keys.encrypt(container, plaintext)
    }
}

/// Decrypts a container.
///
/// Checks the parameters in the header before it allocates memory for them, then the header's tag,
/// then the tag of the whole container, and only then decrypts.
///
/// # Errors
/// See [`ContainerError`].
pub fn open_container(
    container: &[u8],
    passphrase: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
    let Header { params, salt } = read_header(container)?;
    let keys = params.derive_keys(passphrase, salt)?;

    let truncated = ContainerError::Truncated {
        len: container.len(),
    };
    let (summed, rest) = container.split_at_checked(SUMMED_LEN).ok_or(truncated)?;
    let (header_tag, rest) = rest.split_at_checked(TAG_LEN).ok_or(truncated)?;
    if !is_hmac_sha256(keys.mac(), &[summed], header_tag) {
        return Err(ContainerError::WrongPassphrase);
    }
    let ciphertext_len = rest.len().checked_sub(TAG_LEN).ok_or(truncated)?;
    let (ciphertext, tag) = rest.split_at_checked(ciphertext_len).ok_or(truncated)?;
    if !is_hmac_sha256(keys.mac(), &[summed, header_tag, ciphertext], tag) {
        return Err(ContainerError::Damaged);
    }
    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    apply_aes_ctr(keys.data(), &mut plaintext);
    Ok(plaintext)
}

/// The parameters in a container's header. Needs no passphrase.
///
/// # Errors
/// Those that [`open_container`] reports before it uses the passphrase.
pub fn container_params(container: &[u8]) -> Result<Params, ContainerError> {
    Ok(read_header(container)?.params)
}

struct Header<'a> {
    params: Params,
    salt: &'a [u8; SALT_LEN],
}

fn read_header(container: &[u8]) -> Result<Header<'_>, ContainerError> {
    let magic_len = MAGIC.len().min(container.len());
    if container.is_empty() || container.get(..magic_len) != MAGIC.get(..magic_len) {
        return Err(ContainerError::NotAContainer);
    }
    let truncated = ContainerError::Truncated {
        len: container.len(),
    };
    if container.len() < CONTAINER_OVERHEAD {
        return Err(truncated);
    }
    let (salted, rest) = container.split_at_checked(SALTED_LEN).ok_or(truncated)?;
    let (fixed, salt) = salted.split_last_chunk::<SALT_LEN>().ok_or(truncated)?;
    let (fixed, p) = fixed.split_last_chunk().ok_or(truncated)?;
    let (fixed, r) = fixed.split_last_chunk().ok_or(truncated)?;
    let (_, &[version, log_n]) = fixed.split_last_chunk().ok_or(truncated)?;
    if version != 0 {
        return Err(ContainerError::VersionUnknown { version });
    }
    let sum = sha256(salted);
    if !rest
        .iter()
        .zip(&sum)
        .take(SUMMED_LEN - SALTED_LEN)
        .all(|(found, expected)| found == expected)
    {
        return Err(ContainerError::HeaderDamaged);
    }
    let params = Params::new(log_n, u32::from_be_bytes(*r), u32::from_be_bytes(*p))?;
    Ok(Header { params, salt })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use getrandom::SysRng;
    use rand_core::UnwrapErr;

    use super::*;

    const CHEAP: Params = Params {
        log_n: 4,
        r: 1,
        p: 1,
    };

    fn passphrase() -> Passphrase {
        Passphrase::from("correct horse".to_owned())
    }

    #[test]
    fn a_container_opens_to_its_plaintext() {
        let mut rng = UnwrapErr(SysRng);
        for len in [0, 1, 15, 16, 17, 4096, 70_000] {
            let plaintext = vec![7; len];
            let container = make_container(&plaintext, &passphrase(), CHEAP, &mut rng).unwrap();
            assert_eq!(container.len(), len + CONTAINER_OVERHEAD);
            assert_eq!(
                *open_container(&container, &passphrase()).unwrap(),
                plaintext
            );
            let other = Passphrase::from("Correct horse".to_owned());
            assert_eq!(
                open_container(&container, &other),
                Err(ContainerError::WrongPassphrase)
            );
        }
    }

    #[test]
    fn a_key_never_encrypts_a_second_plaintext() {
        let mut rng = UnwrapErr(SysRng);
        let mut salts = BTreeSet::new();
        let mut streams = BTreeSet::new();
        for plaintext in [[0; 64]; 200] {
            let container = make_container(&plaintext, &passphrase(), CHEAP, &mut rng).unwrap();
            salts.insert(container[16..48].to_vec());
            // The plaintext is all zero, so the ciphertext is the key stream.
            streams.insert(container[96..160].to_vec());
        }
        assert_eq!((salts.len(), streams.len()), (200, 200));
    }

    #[test]
    fn the_standard_parameters_are_written_and_read() {
        let container = make_container(
            b"{}",
            &passphrase(),
            Params::STANDARD,
            &mut UnwrapErr(SysRng),
        )
        .unwrap();
        assert_eq!(container[..16], *b"scrypt\0\x11\0\0\0\x08\0\0\0\x01");
        assert_eq!(container_params(&container), Ok(Params::STANDARD));
        assert_eq!(*open_container(&container, &passphrase()).unwrap(), b"{}");
    }

    #[test]
    fn parameters_are_accepted_up_to_the_limits() {
        // Compare all log2 N and the edges of r and p with the rules as they are documented.
        let edges = [
            0,
            1,
            2,
            7,
            8,
            9,
            64,
            71,
            1 << 10,
            1 << 20,
            1 << 22,
            1 << 23,
            1 << 24,
            1 << 29,
            1 << 30,
            u32::MAX,
        ];
        for log_n in 0..=u8::MAX {
            for (r, p) in edges
                .into_iter()
                .flat_map(|r| edges.into_iter().map(move |p| (r, p)))
            {
                let (wide_r, wide_p) = (u128::from(r), u128::from(p));
                let is_known =
                    (1..=63).contains(&log_n) && r > 0 && p > 0 && wide_r * wide_p < 1 << 30;
                let expected = is_known
                    && u128::from(log_n) < 16 * wide_r
                    && ((128 * wide_r) << log_n) + 128 * wide_r * (wide_p + 1)
                        <= (1 << 30) + (1 << 20)
                    && (4 * wide_r * wide_p) << log_n <= 1 << 27;
                assert_eq!(
                    Params::new(log_n, r, p).is_ok(),
                    expected,
                    "{log_n} {r} {p}"
                );
            }
        }
        for (log_n, r, p) in [(17, 8, 1), (20, 8, 1), (14, 8, 71), (15, 8, 128)] {
            Params::new(log_n, r, p).unwrap();
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let container =
            make_container(b"secret", &passphrase(), CHEAP, &mut UnwrapErr(SysRng)).unwrap();
        for len in 0..container.len() {
            let error = open_container(&container[..len], &passphrase()).unwrap_err();
            let expected = match len {
                0 => ContainerError::NotAContainer,
                len if len < CONTAINER_OVERHEAD => ContainerError::Truncated { len },
                _ => ContainerError::Damaged,
            };
            assert_eq!(error, expected, "{len}");
        }
        for bit in 0..container.len() * 8 {
            let mut flipped = container.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = open_container(&flipped, &passphrase()).unwrap_err();
            let is_expected = match bit / 8 {
                0..6 => error == ContainerError::NotAContainer,
                6 => matches!(error, ContainerError::VersionUnknown { .. }),
                7..64 => error == ContainerError::HeaderDamaged,
                64..96 => error == ContainerError::WrongPassphrase,
                _ => error == ContainerError::Damaged,
            };
            assert!(is_expected, "bit {bit}: {error:?}");
        }
    }
}
