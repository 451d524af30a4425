//! Private keys of SSH from files, as records hold them: in the form of OpenSSH, without a
//! passphrase of their own, because the vault is encrypted.

pub mod signing;

use ed25519_dalek::SigningKey;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use ssh_key::private::{EcdsaKeypair, KeypairData, RsaKeypair};
use ssh_key::{HashAlg, Kdf, LineEnding, PrivateKey};
use zeroize::Zeroizing;

use crate::problem::{Problem, ProblemKind};

/// The most rounds of bcrypt that a passphrase of a key may take: some ten seconds.
const ROUNDS_MAX: u32 = 1000;

/// A key for a record.
pub struct SshKey {
    /// The private key.
    pub private: Zeroizing<String>,
    /// The public key, in one line.
    pub public: String,
    /// The fingerprint, as `ssh-add -l` shows it.
    pub fingerprint: String,
}

/// Without the private key.
impl std::fmt::Debug for SshKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshKey")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// Why a file is no key for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SshKeyError {
    /// It is no private key.
    #[error("it is no private key of OpenSSH or in PEM")]
    NoKey,
    /// It is a public key.
    #[error("it is a public key")]
    Public,
    /// It has a passphrase.
    #[error("it has a passphrase")]
    PassphraseNeeded,
    /// The passphrase is another one.
    #[error("the passphrase of the key is wrong")]
    WrongPassphrase,
    /// It has a passphrase in a form that is not read, or one that takes too long.
    #[error("its encryption is not supported")]
    Encryption,
    /// It is a key on a token, or of a kind that is not read.
    #[error("a key of this kind is not supported")]
    Kind,
}

impl From<SshKeyError> for Problem {
    fn from(error: SshKeyError) -> Self {
        let (kind, hint) = match error {
            SshKeyError::NoKey => (
                ProblemKind::Usage,
                "name a file that `ssh-keygen` made, such as ~/.ssh/id_ed25519",
            ),
            SshKeyError::Public => (
                ProblemKind::Usage,
                "name the private key, whose file has no .pub at its end",
            ),
            SshKeyError::PassphraseNeeded => (
                ProblemKind::Locked,
                "run it on a terminal, or take the passphrase from a copy of the file with \
                 `ssh-keygen -p -f COPY`",
            ),
            SshKeyError::WrongPassphrase => (
                ProblemKind::WrongPassphrase,
                "nothing was stored; try again",
            ),
            SshKeyError::Encryption => (
                ProblemKind::NotSupported,
                "`ssh-keygen -p -f COPY` takes the passphrase from a copy of the file",
            ),
            SshKeyError::Kind => (
                ProblemKind::NotSupported,
                "Ed25519, RSA and ECDSA keys are; one on a token stays there",
            ),
        };
        Self::new(kind, format!("the key cannot be stored: {error}"), hint)
    }
}

/// Reads a private key: that of OpenSSH, or PEM in PKCS#1, SEC 1 or PKCS#8.
///
/// # Errors
/// See [`SshKeyError`]. With [`SshKeyError::PassphraseNeeded`] or
/// [`SshKeyError::WrongPassphrase`], call again with the passphrase.
pub fn read_key(file: &[u8], passphrase: Option<&[u8]>) -> Result<SshKey, SshKeyError> {
    let text = std::str::from_utf8(file).map_err(|_| SshKeyError::NoKey)?;
    let key = parse(text, passphrase)?;
    let private = key.to_openssh(LineEnding::LF);
    let private = private.map_err(|_| SshKeyError::Kind)?;
    let public = key.public_key().to_openssh();
    Ok(SshKey {
        private: Zeroizing::new(private.trim_end().to_owned()),
        public: public.map_err(|_| SshKeyError::Kind)?,
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
    })
}

fn parse(text: &str, passphrase: Option<&[u8]>) -> Result<PrivateKey, SshKeyError> {
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.contains("PUBLIC KEY-----") {
        return Err(SshKeyError::Public);
    }
    let (label, pem) = find_pem(text).ok_or(SshKeyError::NoKey)?;
    let key = match label {
        "OPENSSH PRIVATE KEY" => of_openssh(pem, passphrase)?,
        _ if pem.contains("ENCRYPTED") => return Err(SshKeyError::Encryption),
        _ => of_pem(label, pem)?,
    };
    if !matches!(
        key.key_data(),
        KeypairData::Ed25519(_) | KeypairData::Rsa(_) | KeypairData::Ecdsa(_)
    ) {
        return Err(SshKeyError::Kind);
    }
    Ok(key)
}

/// The first private key of a file in PEM, and its label. OpenSSL writes parameters before it.
fn find_pem(text: &str) -> Option<(&str, &str)> {
    const BEGIN: &str = "-----BEGIN ";
    let mut rest = text;
    loop {
        rest = rest.get(rest.find(BEGIN)?..)?;
        let label = rest.get(BEGIN.len()..)?.split("-----").next()?;
        if label.ends_with("PRIVATE KEY") {
            return Some((label, rest));
        }
        rest = rest.get(BEGIN.len()..)?;
    }
}

fn of_openssh(pem: &str, passphrase: Option<&[u8]>) -> Result<PrivateKey, SshKeyError> {
    let key = PrivateKey::from_openssh(pem).map_err(|_| SshKeyError::NoKey)?;
    if !key.is_encrypted() {
        return Ok(key);
    }
    if !matches!(key.kdf(), Kdf::Bcrypt { rounds, .. } if *rounds <= ROUNDS_MAX) {
        return Err(SshKeyError::Encryption);
    }
    let passphrase = passphrase.ok_or(SshKeyError::PassphraseNeeded)?;
    key.decrypt(passphrase)
        .map_err(|_| SshKeyError::WrongPassphrase)
}

fn of_pem(label: &str, pem: &str) -> Result<PrivateKey, SshKeyError> {
    let rsa = |key: rsa::PrivateKey| RsaKeypair::try_from(key).ok().map(PrivateKey::from);
    let p256 = |key: p256::SecretKey| {
        PrivateKey::from(EcdsaKeypair::NistP256 {
            public: key.public_key().into(),
            private: key.into(),
        })
    };
    let ed25519 = |key: SigningKey| PrivateKey::from(ssh_key::private::Ed25519Keypair::from(key));
    let key = match label {
        "RSA PRIVATE KEY" => rsa::PrivateKey::from_pkcs1_pem(pem).ok().and_then(rsa),
        "EC PRIVATE KEY" => p256::SecretKey::from_sec1_pem(pem).ok().map(p256),
        "PRIVATE KEY" => {
            let of_ed25519 = SigningKey::from_pkcs8_pem(pem).ok().map(ed25519);
            let of_p256 = || p256::SecretKey::from_pkcs8_pem(pem).ok().map(p256);
            let of_rsa = || rsa::PrivateKey::from_pkcs8_pem(pem).ok().and_then(rsa);
            of_ed25519.or_else(of_p256).or_else(of_rsa)
        }
        _ => None,
    };
    key.ok_or(SshKeyError::Kind)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Runs a program that makes a key; `None` if it is not installed.
    fn make(program: &str, args: &[&str], file: &Path) -> Option<Vec<u8>> {
        let made = Command::new(program).args(args).arg(file).output().ok()?;
        assert!(made.status.success(), "{program} {args:?}: {made:?}");
        Some(std::fs::read(file).unwrap())
    }

    /// What `ssh-keygen` says is the public key of a private one.
    fn public_of(key: &SshKey, dir: &Path) -> String {
        use std::os::unix::fs::PermissionsExt;
        let file = dir.join("stored");
        std::fs::write(&file, format!("{}\n", *key.private)).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let said = Command::new("ssh-keygen")
            .args(["-y", "-f"])
            .arg(&file)
            .output();
        let said = said.unwrap();
        assert!(said.status.success(), "{said:?}");
        let line = String::from_utf8(said.stdout).unwrap();
        line.split(' ')
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
            .trim()
            .to_owned()
    }

    #[test]
    fn keys_of_ssh_keygen_and_openssl_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut read = 0;
        for (number, (program, args)) in [
            ("ssh-keygen", &["-q", "-N", "", "-t", "ed25519", "-f"][..]),
            ("ssh-keygen", &["-q", "-N", "", "-t", "ecdsa", "-f"]),
            (
                "ssh-keygen",
                &["-q", "-N", "", "-t", "ecdsa", "-b", "384", "-f"],
            ),
            (
                "ssh-keygen",
                &["-q", "-N", "", "-t", "rsa", "-b", "2048", "-f"],
            ),
            (
                "ssh-keygen",
                &["-q", "-N", "", "-t", "rsa", "-b", "2048", "-m", "PEM", "-f"],
            ),
            (
                "ssh-keygen",
                &["-q", "-N", "", "-t", "ecdsa", "-m", "PEM", "-f"],
            ),
            (
                "ssh-keygen",
                &["-q", "-N", "", "-t", "ecdsa", "-m", "PKCS8", "-f"],
            ),
            (
                "openssl",
                &["genpkey", "-quiet", "-algorithm", "ed25519", "-out"],
            ),
            (
                "openssl",
                &["genpkey", "-quiet", "-algorithm", "RSA", "-out"],
            ),
            (
                "openssl",
                &["ecparam", "-genkey", "-name", "prime256v1", "-out"],
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let file = dir.path().join(number.to_string());
            let Some(text) = make(program, args, &file) else {
                eprintln!("not run: {program} is not installed");
                continue;
            };
            let key = read_key(&text, None).unwrap_or_else(|error| panic!("{args:?}: {error}"));
            let public = key.public.split(' ').take(2).collect::<Vec<_>>().join(" ");
            if Command::new("ssh-keygen").arg("-?").output().is_ok() {
                assert_eq!(public, public_of(&key, dir.path()), "{args:?}");
            }
            assert!(key.fingerprint.starts_with("SHA256:"));
            // What is stored is read again.
            let again = read_key(key.private.as_bytes(), None).unwrap();
            assert_eq!(again.public, key.public);
            read += 1;
        }
        eprintln!("{read} keys were read");
    }

    #[test]
    fn a_key_with_a_passphrase_is_stored_without() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let args = ["-q", "-a", "2", "-N", "hunter2", "-t", "ed25519", "-f"];
        let Some(text) = make("ssh-keygen", &args, &file) else {
            eprintln!("not run: ssh-keygen is not installed");
            return;
        };
        let error = |passphrase| read_key(&text, passphrase).unwrap_err();
        assert_eq!(error(None), SshKeyError::PassphraseNeeded);
        assert_eq!(error(Some(&b"other"[..])), SshKeyError::WrongPassphrase);
        let key = read_key(&text, Some(b"hunter2")).unwrap();
        assert!(read_key(key.private.as_bytes(), None).is_ok());
        let public = std::fs::read(file.with_extension("pub")).unwrap();
        assert_eq!(read_key(&public, None).unwrap_err(), SshKeyError::Public);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            &b""[..],
            b"\xff",
            b"hello",
            b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
            b"-----BEGIN -----BEGIN PRIVATE KEY",
        ] {
            assert!(read_key(text, None).is_err(), "{text:?}");
        }
    }
}
