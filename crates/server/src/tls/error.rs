//! Why there is no identity to serve with.

use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;

/// Why there is no identity to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("cannot write {}: {error}", path.display())]
    Unwritable { path: PathBuf, error: io::Error },
    #[error("{} belongs to another user (uid {owner})", path.display())]
    Foreign { path: PathBuf, owner: u32 },
    #[error("the certificate in {} cannot be used: {reason}", path.display())]
    Certificate {
        path: PathBuf,
        reason: CertificateFault,
    },
    #[error("the private key in {} cannot be used: {reason}", path.display())]
    Key { path: PathBuf, reason: KeyFault },
    #[error("{} is not the key of the certificate in {}", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("{} is missing, but its certificate exists", path.display())]
    KeyIsGone { path: PathBuf },
    #[error("cannot make a certificate: {0}")]
    Making(rcgen::Error),
    #[error("TLS is not available: {0}")]
    Provider(rustls::Error),
}

/// What is wrong with a certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    #[error("there is no certificate in the file")]
    None,
    #[error("the file has a private key, and no certificate")]
    IsKey,
    #[error("the file is not PEM, it may be DER")]
    IsDer,
    #[error("it is not PEM ({0})")]
    NotPem(pem::Error),
    #[error("{0}")]
    Unusable(rustls::Error),
}

/// What is wrong with a private key. Never shows a part of the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    #[error("there is no private key in the file")]
    None,
    #[error("the file has a certificate, and no private key")]
    IsCertificate,
    #[error("the file is not PEM, it may be DER")]
    IsDer,
    #[error("it is encrypted with a passphrase")]
    Encrypted,
    #[error("it is not PEM ({0})")]
    NotPem(pem::Error),
    #[error("{0}")]
    Unusable(rustls::Error),
}

impl TlsError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => {
                "check that the file exists and that the server's user may read it"
            }
            Self::Unwritable { .. } => {
                "give a --data-dir that the server's user may write to, on a disk with free space"
            }
            Self::Foreign { .. } => {
                "run the server as that user, or give it another --data-dir; if the folder is the \
                 server's, `chown -R USER DIR`"
            }
            Self::Certificate {
                reason: CertificateFault::IsKey,
                ..
            }
            | Self::Key {
                reason: KeyFault::IsCertificate,
                ..
            } => "give the certificate with --tls-cert, and its key with --tls-key",
            Self::Certificate {
                reason: CertificateFault::IsDer,
                ..
            } => "convert it: `openssl x509 -inform DER -in CERT -out NEW`",
            Self::Key {
                reason: KeyFault::IsDer,
                ..
            } => "convert it: `openssl pkey -inform DER -in KEY -out NEW`, with mode 0600",
            Self::Certificate { .. } => {
                "give a PEM file with the server's X.509 v3 certificate first, then its \
                 intermediates"
            }
            Self::Key {
                reason: KeyFault::Encrypted,
                ..
            } => {
                "the server starts without a person to ask: decrypt the key (`openssl pkey -in \
                 KEY -out NEW`) \
                 and keep it with mode 0600"
            }
            Self::Key { .. } => {
                "give a PEM file with an RSA (2048 bits or more) or ECDSA (P-256, P-384) private \
                 key"
            }
            Self::Mismatch { .. } => {
                "give the two files of one pair; the server's own certificate must be the first \
                 in its file"
            }
            Self::KeyIsGone { .. } => {
                "restore the key from a backup; or remove cert.pem for a new pair, whose pin every \
                 device must be told"
            }
            Self::Making(_) | Self::Provider(_) => {
                "give --tls-cert and --tls-key, and report this as a bug"
            }
        }
    }
}
