//! Signing with a private key, as an agent of SSH does it.

use std::fmt;

use rsa::signature::{Signer, Verifier};
use ssh_key::encoding::{Decode, Encode};
use ssh_key::private::KeypairData;
use ssh_key::{HashAlg, PrivateKey, PublicKey, Signature};

use super::{SshKeyError, parse};

/// The longest data that is signed, in bytes.
const DATA_LEN_MAX: usize = 256 * 1024;

/// A private key that signs.
pub struct SigningKey {
    key: PrivateKey,
    public: Vec<u8>,
}

/// The hash of an RSA signature. A signature of another key has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaHash {
    /// `rsa-sha2-256`.
    Sha256,
    /// `rsa-sha2-512`.
    Sha512,
}

/// Without the private key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a private key without a passphrase: that of OpenSSH, or PEM.
    ///
    /// # Errors
    /// See [`SshKeyError`].
    pub fn read(text: &str) -> Result<Self, SshKeyError> {
        let key = parse(text, None)?;
        let public = key.public_key().to_bytes();
        let public = public.map_err(|_| SshKeyError::Kind)?;
        Ok(Self { key, public })
    }

    /// The public key, as it goes over the wire.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The fingerprint of the public key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Signs data. The answer is the signature as it goes over the wire; `None` if the key cannot
    /// sign so: an RSA key signs with SHA-2 only.
    #[must_use]
    pub fn sign(&self, data: &[u8], hash: Option<RsaHash>) -> Option<Vec<u8>> {
        if data.len() > DATA_LEN_MAX {
            return None;
        }
        let signature = match self.key.key_data() {
            KeypairData::Rsa(pair) => {
                let hash = match hash? {
                    RsaHash::Sha256 => HashAlg::Sha256,
                    RsaHash::Sha512 => HashAlg::Sha512,
                };
                (pair, Some(hash)).try_sign(data)
            }
            pair => pair.try_sign(data),
        };
        signature.ok()?.encode_vec().ok()
    }
}

/// The fingerprint of a public key as it goes over the wire, if it has signed this data.
#[must_use]
pub fn verified(public: &[u8], signature: &[u8], data: &[u8]) -> Option<String> {
    let key = PublicKey::from_bytes(public).ok()?;
    let mut rest = signature;
    let signature = Signature::decode(&mut rest).ok()?;
    let is_whole = rest.is_empty();
    let verified = key.key_data().verify(data, &signature);
    (is_whole && verified.is_ok()).then(|| key.fingerprint(HashAlg::Sha256).to_string())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn each_kind_of_key_signs_and_its_signature_is_verified() {
        let dir = tempfile::tempdir().unwrap();
        for (kind, bits) in [
            ("ed25519", ""),
            ("ecdsa", "256"),
            ("ecdsa", "384"),
            ("ecdsa", "521"),
            ("rsa", "2048"),
        ] {
            let file = dir.path().join(format!("{kind}{bits}"));
            let mut make = Command::new("ssh-keygen");
            make.args(["-q", "-N", "", "-t", kind, "-f"]).arg(&file);
            if !bits.is_empty() {
                make.args(["-b", bits]);
            }
            if make.status().is_err() {
                eprintln!("not run: ssh-keygen is not installed");
                return;
            }
            let key = SigningKey::read(&std::fs::read_to_string(&file).unwrap()).unwrap();
            let hashes = [Some(RsaHash::Sha256), Some(RsaHash::Sha512)];
            for hash in hashes {
                let signature = key.sign(b"data", hash).unwrap();
                let found = verified(key.public(), &signature, b"data");
                assert_eq!(found, Some(key.fingerprint()), "{kind}");
                assert_eq!(verified(key.public(), &signature, b"Data"), None);
                assert_eq!(verified(key.public(), &signature[1..], b"data"), None);
                let more = [&signature[..], b"x"].concat();
                assert_eq!(verified(key.public(), &more, b"data"), None);
            }
            // SHA-1 is not used any more.
            assert_eq!(key.sign(b"data", None).is_none(), kind == "rsa");
            assert_eq!(key.sign(&vec![0; DATA_LEN_MAX + 1], hashes[0]), None);
        }
    }
}
