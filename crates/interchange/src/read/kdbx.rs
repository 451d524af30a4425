//! KeePass' encrypted file, KDBX 3.1, 4.0 and 4.1, opened with a password, a key file or both.
//!
//! | part | 3.1 | 4 |
//! | --- | --- | --- |
//! | signature, version | 12 bytes | 12 bytes |
//! | header | id (1), length (2), value, until id 0 | id (1), length (4), value, until id 0 |
//! | proof of the key | 32 known bytes begin the plaintext | SHA-256 and HMAC of the header |
//! | proof of the header | its SHA-256 in the XML | the same |
//! | body | one ciphertext over blocks with a SHA-256 | blocks with an HMAC, of one ciphertext |
//! | content | XML, may be compressed | inner header, then XML; may be compressed |
//!
//! The ciphers are AES-256 and Twofish in CBC mode, and ChaCha20. Protected values are encrypted
//! once more, with a stream cipher. Hardware keys are not supported.

use std::io::Read;

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use argon2::{Algorithm, Version};
use chacha20::ChaCha20;
use data_encoding::BASE64;
use flate2::read::GzDecoder;
use zeroize::Zeroizing;

use super::keepass::key::{CompositeKey, key_of_file};
use super::{Imported, ReadOptions, keepass};
use crate::crypto::{
    Argon2Cost, KdfError, Key, decrypt_aes_cbc, decrypt_twofish_cbc, derive_argon2, is_hmac_sha256,
    sha256,
};
use crate::error::ImportError;
use crate::progress::Progress;
use crate::syntax::kdbx::{
    CIPHER_AES, CIPHER_CHACHA20, CIPHER_TWOFISH, InnerStream, KDF_AES, KDF_AES_4, KDF_ARGON2D,
    KDF_ARGON2ID, SIGNATURE, sha512,
};
use crate::syntax::xml::Node;
use crate::syntax::{json, xml};

/// The most rounds of AES-KDF.
const AES_ROUNDS_MAX: u64 = 1 << 29;
/// After so many rounds of AES-KDF, its progress is said.
const PROGRESS_ROUNDS: u64 = 1 << 16;
/// The greatest decompressed length of a file, in bytes.
const PAYLOAD_LEN_MAX: usize = 256 * 1024 * 1024;

const CUT: ImportError = ImportError::Damaged {
    what: "it is cut off",
};
const HEADER: ImportError = ImportError::Damaged {
    what: "a part of its header is missing or wrong",
};
const BLOCK: ImportError = ImportError::Damaged {
    what: "one of its blocks was changed",
};

const HEADER_CHANGED: ImportError = ImportError::Damaged {
    what: "its header was changed",
};

/// Reads a file.
pub(crate) fn read(bytes: &[u8], options: ReadOptions<'_>) -> Result<Imported, ImportError> {
    let mut bytes_left = Bytes(bytes);
    let signature: [u8; 8] = bytes_left.array().map_err(|_| ImportError::NotThisFormat {
        expected: "a KeePass file",
    })?;
    if signature != SIGNATURE {
        return Err(ImportError::NotThisFormat {
            expected: "a KeePass file",
        });
    }
    let _minor: [u8; 2] = bytes_left.array()?;
    let major = u16::from_le_bytes(bytes_left.array()?);
    if !matches!(major, 3 | 4) {
        return Err(ImportError::NotSupported {
            what: "a version of KeePass' format other than 3 and 4",
        });
    }
    let header = Header::read(&mut bytes_left, major)?;
    let header_len = bytes.len() - bytes_left.0.len();
    let header_bytes = bytes.get(..header_len).ok_or(CUT)?;
    header.kdf.check()?;
    let parts = CompositeKey::of(&options, key_of_file)?;
    let transformed = header.kdf.derive(&composite_of(&parts), options.progress)?;
    let key = Zeroizing::new(sha256(&[header.master_seed, transformed.as_slice()]));
    let opened = if major == 4 {
        open_4(header_bytes, &header, &transformed, &key, bytes_left)
    } else {
        open_3(&header, &key, bytes_left.0)
    };
    let (xml, mut stream) = opened.map_err(|error| match error {
        ImportError::WrongSecret => parts.wrong(),
        error => error,
    })?;
    let tree = xml::read(json::text_of(&xml)?, Some(&mut |bytes| stream.apply(bytes)))?;
    if !has_header_hash(&tree, header_bytes) {
        return Err(HEADER_CHANGED);
    }
    keepass::read_tree(&tree)
}

/// The SHA-256 of the hashes of the parts of the key.
fn composite_of(parts: &CompositeKey<'_>) -> Key {
    let password = parts.password.map(|password| sha256(&[password]));
    let password = password.as_ref().map_or(&[][..], |hash| hash);
    let key_file = parts
        .key_file
        .as_ref()
        .map_or(&[][..], |key| key.as_slice());
    Zeroizing::new(sha256(&[password, key_file]))
}

/// Whether the XML has the hash of this header, or none. In KDBX 3 nothing else proves the header,
/// and a changed one decrypts protected values to something else.
fn has_header_hash(tree: &Node, header: &[u8]) -> bool {
    let hash = tree
        .child("Meta")
        .map_or("", |meta| meta.text_of("HeaderHash"));
    let hash = hash.trim();
    hash.is_empty() || hash == BASE64.encode(&sha256(&[header]))
}

fn open_4(
    header_bytes: &[u8],
    header: &Header<'_>,
    transformed: &Key,
    key: &Key,
    mut bytes: Bytes<'_>,
) -> Result<(Zeroizing<Vec<u8>>, InnerStream), ImportError> {
    let hash: [u8; 32] = bytes.array()?;
    if hash != sha256(&[header_bytes]) {
        return Err(HEADER_CHANGED);
    }
    let base = Zeroizing::new(sha512(&[header.master_seed, transformed.as_slice(), &[1]]));
    let block_key = |index: u64| Zeroizing::new(sha512(&[&index.to_le_bytes(), base.as_slice()]));
    let tag: [u8; 32] = bytes.array()?;
    if !is_hmac_sha256(block_key(u64::MAX).as_slice(), &[header_bytes], &tag) {
        return Err(ImportError::WrongSecret);
    }
    let mut ciphertext = Vec::new();
    for index in 0u64.. {
        let tag: [u8; 32] = bytes.array()?;
        let len: [u8; 4] = bytes.array()?;
        let block = bytes.take(u32::from_le_bytes(len))?;
        if !is_hmac_sha256(
            block_key(index).as_slice(),
            &[&index.to_le_bytes(), &len, block],
            &tag,
        ) {
            return Err(BLOCK);
        }
        if block.is_empty() {
            break;
        }
        ciphertext.extend_from_slice(block);
    }
    let payload = header.decompress(header.decrypt(key, &ciphertext).ok_or(BLOCK)?)?;
    let mut inner = Bytes(&payload);
    let (mut stream_id, mut stream_key) = (0, Vec::new());
    loop {
        let [id] = inner.array()?;
        let len = u32::from_le_bytes(inner.array()?);
        let value = inner.take(len)?;
        match id {
            0 => break,
            1 => stream_id = u32::from_le_bytes(value.try_into().map_err(|_| HEADER)?),
            2 => stream_key = value.to_vec(),
            // Attachments. They are counted in their entries.
            _ => {}
        }
    }
    Ok((
        Zeroizing::new(inner.0.to_vec()),
        InnerStream::new(stream_id, &stream_key)?,
    ))
}

fn open_3(
    header: &Header<'_>,
    key: &Key,
    ciphertext: &[u8],
) -> Result<(Zeroizing<Vec<u8>>, InnerStream), ImportError> {
    // These known bytes are the only proof of the password.
    let plaintext = header
        .decrypt(key, ciphertext)
        .ok_or(ImportError::WrongSecret)?;
    let mut bytes = Bytes(
        plaintext
            .strip_prefix(header.start_bytes)
            .ok_or(ImportError::WrongSecret)?,
    );
    let mut payload = Zeroizing::new(Vec::with_capacity(bytes.0.len()));
    loop {
        let _index: [u8; 4] = bytes.array()?;
        let hash: [u8; 32] = bytes.array()?;
        let len = u32::from_le_bytes(bytes.array()?);
        let block = bytes.take(len)?;
        if block.is_empty() {
            break;
        }
        if hash != sha256(&[block]) {
            return Err(BLOCK);
        }
        payload.extend_from_slice(block);
    }
    Ok((
        header.decompress(payload)?,
        InnerStream::new(header.stream_id, header.stream_key)?,
    ))
}

/// Bytes that are read from the front.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, len: u32) -> Result<&'a [u8], ImportError> {
        let len = usize::try_from(len).map_err(|_| CUT)?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ImportError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(*taken)
    }
}

struct Header<'a> {
    cipher: [u8; 16],
    is_compressed: bool,
    master_seed: &'a [u8],
    iv: &'a [u8],
    kdf: Kdf<'a>,
    // Only in version 3.1.
    start_bytes: &'a [u8],
    stream_id: u32,
    stream_key: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(bytes: &mut Bytes<'a>, major: u16) -> Result<Self, ImportError> {
        let mut values: [Option<&'a [u8]>; 16] = [None; 16];
        loop {
            let [id] = bytes.array()?;
            let len = match major {
                3 => u32::from(u16::from_le_bytes(bytes.array()?)),
                _ => u32::from_le_bytes(bytes.array()?),
            };
            let value = bytes.take(len)?;
            if id == 0 {
                break;
            }
            if let Some(place) = values.get_mut(usize::from(id)) {
                *place = Some(value);
            }
        }
        let value = |id: usize| values.get(id).copied().flatten().ok_or(HEADER);
        let number = |id| {
            value(id)?
                .try_into()
                .map(u32::from_le_bytes)
                .map_err(|_| HEADER)
        };
        let cipher = value(2)?.try_into().map_err(|_| HEADER)?;
        if !matches!(cipher, CIPHER_AES | CIPHER_CHACHA20 | CIPHER_TWOFISH) {
            return Err(ImportError::NotSupported {
                what: "an unknown cipher",
            });
        }
        let kdf = if major == 3 {
            let rounds = u64::from_le_bytes(value(6)?.try_into().map_err(|_| HEADER)?);
            Kdf::Aes {
                seed: value(5)?.try_into().map_err(|_| HEADER)?,
                rounds,
            }
        } else {
            Kdf::read(value(11)?)?
        };
        let (mut start_bytes, mut stream_id, mut stream_key): (&[u8], _, &[u8]) = (&[], 0, &[]);
        if major == 3 {
            (start_bytes, stream_id, stream_key) = (value(9)?, number(10)?, value(8)?);
            if start_bytes.len() != 32 {
                return Err(HEADER);
            }
        }
        let is_compressed = match number(3)? {
            0 => false,
            1 => true,
            _ => return Err(HEADER),
        };
        let (master_seed, iv) = (value(4)?, value(7)?);
        Ok(Self {
            cipher,
            is_compressed,
            master_seed,
            iv,
            kdf,
            start_bytes,
            stream_id,
            stream_key,
        })
    }

    fn decrypt(&self, key: &Key, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self.cipher {
            CIPHER_AES => decrypt_aes_cbc(key, self.iv, ciphertext),
            CIPHER_TWOFISH => decrypt_twofish_cbc(key, self.iv, ciphertext),
            CIPHER_CHACHA20 => {
                let nonce: &[u8; 12] = self.iv.try_into().ok()?;
                let mut plaintext = Zeroizing::new(ciphertext.to_vec());
                let mut cipher = <ChaCha20 as KeyIvInit>::new((&**key).into(), nonce.into());
                cipher.try_apply_keystream(&mut plaintext).ok()?;
                Some(plaintext)
            }
            _ => None,
        }
    }

    fn decompress(&self, payload: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, ImportError> {
        if !self.is_compressed {
            return Ok(payload);
        }
        let limit = u64::try_from(PAYLOAD_LEN_MAX).unwrap_or(u64::MAX);
        let mut plain = Zeroizing::new(Vec::new());
        let read = GzDecoder::new(payload.as_slice())
            .take(limit.saturating_add(1))
            .read_to_end(&mut plain);
        read.map_err(|_| ImportError::Damaged {
            what: "its content does not decompress",
        })?;
        if plain.len() > PAYLOAD_LEN_MAX {
            return Err(ImportError::TooLong {
                limit: PAYLOAD_LEN_MAX,
            });
        }
        Ok(plain)
    }
}

enum Kdf<'a> {
    Aes {
        seed: [u8; 32],
        rounds: u64,
    },
    Argon2 {
        algorithm: Algorithm,
        version: Version,
        salt: &'a [u8],
        cost: Argon2Cost,
    },
}

impl<'a> Kdf<'a> {
    /// Reads the dictionary of KDBX 4: version (2), then type (1), key length (4), key, value
    /// length (4), value, until type 0.
    fn read(dictionary: &'a [u8]) -> Result<Self, ImportError> {
        let mut bytes = Bytes(dictionary);
        let _version: [u8; 2] = bytes.array()?;
        let mut entries: Vec<(&[u8], &'a [u8])> = Vec::new();
        loop {
            let [kind] = bytes.array()?;
            if kind == 0 {
                break;
            }
            let len = u32::from_le_bytes(bytes.array()?);
            let key = bytes.take(len)?;
            let len = u32::from_le_bytes(bytes.array()?);
            entries.push((key, bytes.take(len)?));
        }
        let find = |key: &[u8]| {
            entries
                .iter()
                .find(|(found, _)| *found == key)
                .map(|(_, value)| *value)
        };
        let value = |key: &[u8]| find(key).ok_or(HEADER);
        let long = |key| {
            value(key)?
                .try_into()
                .map(u64::from_le_bytes)
                .map_err(|_| HEADER)
        };
        let short = |key| {
            value(key)?
                .try_into()
                .map(u32::from_le_bytes)
                .map_err(|_| HEADER)
        };
        let uuid: [u8; 16] = value(b"$UUID")?.try_into().map_err(|_| HEADER)?;
        let algorithm = match uuid {
            KDF_AES | KDF_AES_4 => {
                return Ok(Self::Aes {
                    seed: value(b"S")?.try_into().map_err(|_| HEADER)?,
                    rounds: long(b"R")?,
                });
            }
            KDF_ARGON2D => Algorithm::Argon2d,
            KDF_ARGON2ID => Algorithm::Argon2id,
            _ => {
                return Err(ImportError::NotSupported {
                    what: "an unknown key derivation",
                });
            }
        };
        if [b"K", b"A"]
            .into_iter()
            .any(|key| find(key).is_some_and(|value| !value.is_empty()))
        {
            return Err(ImportError::NotSupported {
                what: "Argon2 with a key or data of its own",
            });
        }
        let version = match short(b"V")? {
            0x10 => Version::V0x10,
            0x13 => Version::V0x13,
            _ => {
                return Err(ImportError::NotSupported {
                    what: "an unknown version of Argon2",
                });
            }
        };
        let cost = Argon2Cost {
            memory_kib: long(b"M")? / 1024,
            passes: long(b"I")?,
            lanes: short(b"P")?,
        };
        Ok(Self::Argon2 {
            algorithm,
            version,
            salt: value(b"S")?,
            cost,
        })
    }

    /// Refuses expensive parameters, before the person is asked for a password.
    fn check(&self) -> Result<(), KdfError> {
        match self {
            Self::Aes { rounds, .. } => check_aes(*rounds),
            Self::Argon2 { cost, .. } => cost.check(),
        }
    }

    fn derive(&self, composite: &Key, progress: Option<&Progress>) -> Result<Key, KdfError> {
        match self {
            Self::Aes { seed, rounds } => Ok(derive_aes(seed, *rounds, composite, progress)),
            Self::Argon2 {
                algorithm,
                version,
                salt,
                cost,
            } => derive_argon2(*algorithm, *version, composite.as_slice(), salt, *cost),
        }
    }
}

/// Refuses more rounds than are allowed.
pub(super) fn check_aes(rounds: u64) -> Result<(), KdfError> {
    if rounds > AES_ROUNDS_MAX {
        return Err(KdfError::TooExpensive {
            what: format!("AES-KDF with {rounds} rounds"),
        });
    }
    Ok(())
}

/// The SHA-256 of the key after that many rounds of AES-256.
pub(super) fn derive_aes(
    seed: &[u8; 32],
    rounds: u64,
    composite: &Key,
    progress: Option<&Progress>,
) -> Key {
    let cipher = <Aes256 as KeyInit>::new(seed.into());
    let (left, right) = composite.split_at(16);
    let block = |half: &[u8]| <[u8; 16]>::try_from(half).expect("half of 32 bytes is 16 bytes");
    let mut blocks = [block(left).into(), block(right).into()];
    if let Some(progress) = progress {
        progress.begin(rounds);
    }
    let mut done = 0;
    while done < rounds {
        let end = rounds.min(done + PROGRESS_ROUNDS);
        for _ in done..end {
            cipher.encrypt_blocks(&mut blocks);
        }
        done = end;
        if let Some(progress) = progress {
            progress.set(done);
        }
    }
    let [left, right] = &blocks;
    Zeroizing::new(sha256(&[left, right]))
}
