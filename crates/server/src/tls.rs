//! What the server proves itself with: the operator's certificate, or a self-signed one that is
//! made once in the data dir and kept, so that the pin on people's devices stays true.
//!
//! One [`ServerConfig`] serves every connection until SIGHUP or a change of the files brings
//! another. It keeps no session data: a client comes with one exchange, and unread tickets only
//! cost it a reset.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ServerConfig};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use zeroize::Zeroizing;

use crate::config::CertificateFiles;
use crate::files;

/// No PEM file of ours or of an operator is longer.
const PEM_LEN_MAX: u64 = 1 << 20;
/// The names of the files that the server makes itself.
pub(crate) const OWN_CERTIFICATE: &str = "cert.pem";
pub(crate) const OWN_KEY: &str = "key.pem";

/// SHA-256 of a server's SubjectPublicKeyInfo; shown as `sha256:` and 64 lower-case hex digits.
///
/// It stays the same for as long as the key does, whatever happens to the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", HEXLOWER.encode(&self.0))
    }
}

/// A certificate with its key, ready to serve, and what people should know about it.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// For every connection; sessions are neither kept nor resumed.
    pub config: Arc<ServerConfig>,
    /// What a device pins.
    pub pin: Pin,
    /// The DNS names of the certificate, wildcards left out.
    pub names: Vec<String>,
    /// Whether the server made the certificate itself.
    pub is_own: bool,
    /// When the certificate expires, in seconds since 1970.
    pub not_after: i64,
    /// What works, but not as the operator may believe.
    pub warnings: Vec<Warning>,
}

/// What an operator should know about a certificate that is served nevertheless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Its time is over.
    #[error("the certificate has expired: only clients with the pin still connect; renew it")]
    Expired,
    /// Its time has not come.
    #[error(
        "the certificate is not valid yet: only clients with the pin connect; look at the clock"
    )]
    NotYetValid,
    /// It says of itself that it is a CA, as `openssl req -x509` makes them by default.
    #[error(
        "the certificate is a CA's (CA:TRUE) and no server's: clients take it with --pin, not \
         with --ca-file; make one with `-addext basicConstraints=critical,CA:FALSE`"
    )]
    IsCa,
    /// Ed25519.
    #[error("the key is Ed25519, which Passmate's desktop client does not know: use ECDSA or RSA")]
    UnknownToDesktop,
}

impl Identity {
    /// Loads the operator's pair, or the data dir's own, which is made if it is not there.
    ///
    /// # Errors
    /// What is wrong with which file. Nothing that exists is ever written over.
    pub(crate) fn load(
        files: Option<&CertificateFiles>,
        data_dir: &Path,
    ) -> Result<Self, TlsError> {
        match files {
            Some(files) => Self::from_files(&files.certificate, &files.key, false),
            None => {
                let (certificate, key) = (data_dir.join(OWN_CERTIFICATE), data_dir.join(OWN_KEY));
                make_own(&certificate, &key)?;
                Self::from_files(&certificate, &key, true)
            }
        }
    }

    fn from_files(certificate: &Path, key: &Path, is_own: bool) -> Result<Self, TlsError> {
        let chain = read_chain(certificate)?;
        let key_der = read_key(key)?;
        let bad = |reason: CertificateFault| TlsError::Certificate {
            path: certificate.to_owned(),
            reason,
        };
        let leaf = chain.first().ok_or_else(|| bad(CertificateFault::None))?;
        let pin = pin_of(leaf).map_err(|error| bad(CertificateFault::Unusable(error)))?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| {
            bad(CertificateFault::Unusable(
                rustls::CertificateError::BadEncoding.into(),
            ))
        })?;
        let mut warnings = warnings(&parsed);
        let names = dns_names(&parsed);
        let not_after = parsed.validity().not_after.timestamp();

        let provider = Arc::new(provider());
        let pair =
            CertifiedKey::from_der(chain, key_der, &provider).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
                    certificate: certificate.to_owned(),
                    key: key.to_owned(),
                },
                error => TlsError::Key {
                    path: key.to_owned(),
                    reason: KeyFault::Unusable(error),
                },
            })?;
        if pair.key.algorithm() == rustls::SignatureAlgorithm::ED25519 {
            warnings.push(Warning::UnknownToDesktop);
        }
        Ok(Self {
            config: server_config(provider, pair)?,
            pin,
            names,
            is_own,
            not_after,
            warnings,
        })
    }
}

/// TLS 1.3 and 1.2, post-quantum key exchange preferred, no ALPN, no resumption, no early data.
/// AWS-LC with AES-128 before AES-256: its key schedule needs no SHA-384, which no processor
/// computes itself.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    provider
}

fn server_config(
    provider: Arc<CryptoProvider>,
    pair: CertifiedKey,
) -> Result<Arc<ServerConfig>, TlsError> {
    let resolver = rustls::sign::SingleCertAndKey::from(pair);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Provider)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    // Of all suites these cost both sides least where the processor computes AES and SHA-256
    // itself; what is inside is sealed already, with AES-256.
    config.ignore_client_order = true;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn pin_of(leaf: &CertificateDer<'_>) -> Result<Pin, rustls::Error> {
    let spki = ParsedCertificate::try_from(leaf)?.subject_public_key_info();
    Ok(Pin(Sha256::digest(&spki).into()))
}

fn read_pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read(path, PEM_LEN_MAX).map_err(|error| TlsError::Unreadable {
        path: path.to_owned(),
        error,
    })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |reason| TlsError::Certificate {
        path: path.to_owned(),
        reason,
    };
    let bytes = read_pem(path)?;
    let chain = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(CertificateFault::NotPem(error)))?;
    if chain.is_empty() {
        return Err(bad(CertificateFault::None));
    }
    Ok(chain)
}

/// How the certificates in a file follow on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chain {
    /// One that stands for itself, or each issued by the one behind it.
    Whole,
    /// One that somebody issued who is not in the file: right only if devices trust that one.
    Alone,
    /// The one of this number, counted from 1, was not issued by the one behind it.
    Broken(usize),
}

/// Looks at a file of certificates by the names of subjects and issuers.
pub(crate) fn look_at_chain(path: &Path) -> Result<Chain, TlsError> {
    let chain = read_chain(path)?;
    let unusable = || CertificateFault::Unusable(rustls::CertificateError::BadEncoding.into());
    let bad = |_| TlsError::Certificate {
        path: path.to_owned(),
        reason: unusable(),
    };
    let parsed = chain.iter().map(|one| {
        X509Certificate::from_der(one)
            .map(|(_, parsed)| parsed)
            .map_err(bad)
    });
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    let broken = parsed
        .windows(2)
        .position(|pair| matches!(pair, [one, next] if one.issuer() != next.subject()));
    Ok(match (broken, parsed.as_slice()) {
        (Some(place), _) => Chain::Broken(place + 1),
        (None, [leaf]) if leaf.issuer() != leaf.subject() => Chain::Alone,
        _ => Chain::Whole,
    })
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = Zeroizing::new(read_pem(path)?);
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let text = String::from_utf8_lossy(&bytes);
        let reason = match error {
            _ if text.contains("ENCRYPTED") => KeyFault::Encrypted,
            pem::Error::NoItemsFound => KeyFault::None,
            error => KeyFault::NotPem(error),
        };
        TlsError::Key {
            path: path.to_owned(),
            reason,
        }
    })
}

fn warnings(leaf: &X509Certificate<'_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let now = crate::clock::now();
    if leaf.validity().not_after.timestamp() < now {
        warnings.push(Warning::Expired);
    }
    if leaf.validity().not_before.timestamp() > now {
        warnings.push(Warning::NotYetValid);
    }
    if leaf.is_ca() {
        warnings.push(Warning::IsCa);
    }
    warnings
}

fn dns_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let names = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) if crate::config::is_host_name(name) => Some(*name),
            _ => None,
        });
    names.map(str::to_owned).collect()
}

/// Makes what is missing of the data dir's own key and certificate.
///
/// The key is on disk before its certificate is made, so a crash between them leaves a key that
/// the next start makes a certificate for: the pin does not change.
fn make_own(certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let exists = |path: &Path| {
        path.try_exists().map_err(|error| TlsError::Unreadable {
            path: path.to_owned(),
            error,
        })
    };
    let pair = match (exists(certificate)?, exists(key)?) {
        (true, true) => return Ok(()),
        (true, false) => {
            return Err(TlsError::KeyIsGone {
                path: key.to_owned(),
            });
        }
        (false, true) => {
            let bytes = Zeroizing::new(read_pem(key)?);
            let text = std::str::from_utf8(&bytes).map_err(|_| TlsError::Key {
                path: key.to_owned(),
                reason: KeyFault::None,
            })?;
            rcgen::KeyPair::from_pem(text).map_err(TlsError::Making)?
        }
        (false, false) => {
            let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
                .map_err(TlsError::Making)?;
            write_new(key, pair.serialize_pem().as_bytes())?;
            pair
        }
    };
    let made = self_signed(&pair, &host_name()).map_err(TlsError::Making)?;
    write_new(certificate, made.as_bytes())
}

/// A certificate for this machine in PEM, without an end: what a device trusts is the pin.
fn self_signed(pair: &rcgen::KeyPair, host: &str) -> Result<String, rcgen::Error> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    if crate::config::is_host_name(host) && host != "localhost" {
        names.insert(0, host.to_owned());
    }
    let mut params = rcgen::CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "passmate-server");
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    // RFC 5280's date for "no well-defined expiration"; the beginning forgives slow clocks.
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    Ok(params.self_signed(pair)?.pem())
}

/// The machine's name; empty if it has none that is a host's name.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    if crate::config::is_host_name(&name) {
        name
    } else {
        String::new()
    }
}

/// Beside the own pair: the one that is announced.
const NEXT_CERTIFICATE: &str = "next-cert.pem";
const NEXT_KEY: &str = "next-key.pem";

/// Makes a new certificate for the own key, in the place of the one that is there.
pub(crate) fn renew(data_dir: &Path) -> Result<Identity, TlsError> {
    let (certificate, key) = (data_dir.join(OWN_CERTIFICATE), data_dir.join(OWN_KEY));
    let bytes = Zeroizing::new(read_pem(&key)?);
    let bad = || TlsError::Key {
        path: key.clone(),
        reason: KeyFault::None,
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| bad())?;
    let pair = rcgen::KeyPair::from_pem(text).map_err(TlsError::Making)?;
    let made = self_signed(&pair, &host_name()).map_err(TlsError::Making)?;
    let new = data_dir.join("cert.pem.new");
    let _ = fs::remove_file(&new);
    write_new(&new, made.as_bytes())?;
    rename(&new, &certificate)?;
    Identity::from_files(&certificate, &key, true)
}

/// The pair that is announced, if one is.
pub(crate) fn next_identity(data_dir: &Path) -> Result<Option<Identity>, TlsError> {
    let (certificate, key) = (data_dir.join(NEXT_CERTIFICATE), data_dir.join(NEXT_KEY));
    // The certificate is written last.
    if certificate.exists() && key.exists() {
        Identity::from_files(&certificate, &key, true).map(Some)
    } else {
        Ok(None)
    }
}

/// Makes the pair that is to be announced.
pub(crate) fn make_next(data_dir: &Path) -> Result<Identity, TlsError> {
    let (certificate, key) = (data_dir.join(NEXT_CERTIFICATE), data_dir.join(NEXT_KEY));
    // Half a pair was announced to nobody.
    for half in [&certificate, &key] {
        let _ = fs::remove_file(half);
    }
    make_own(&certificate, &key)?;
    Identity::from_files(&certificate, &key, true)
}

/// Puts the announced pair in the place of the own one. Interrupted anywhere there is one key with
/// its certificate, or without one, and then the server makes that.
pub(crate) fn switch_to_next(data_dir: &Path) -> Result<Identity, TlsError> {
    let (certificate, key) = (data_dir.join(OWN_CERTIFICATE), data_dir.join(OWN_KEY));
    fs::remove_file(&certificate).map_err(|error| TlsError::Unwritable {
        path: certificate.clone(),
        error,
    })?;
    rename(&data_dir.join(NEXT_KEY), &key)?;
    rename(&data_dir.join(NEXT_CERTIFICATE), &certificate)?;
    Identity::from_files(&certificate, &key, true)
}

fn rename(from: &Path, to: &Path) -> Result<(), TlsError> {
    files::rename(from, to).map_err(unwritable(to))
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), TlsError> {
    files::write_new(path, bytes).map_err(unwritable(path))
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    let path = path.to_owned();
    move |error| TlsError::Unwritable { path, error }
}

/// Makes the data dir if it is not there, for its owner alone.
///
/// # Errors
/// It cannot be made, or something else has its name.
pub(crate) fn make_data_dir(dir: &Path) -> Result<(), TlsError> {
    let make = || {
        files::make_folder(dir)?;
        // Also a folder that the operator made with another mode.
        fs::set_permissions(dir, PermissionsExt::from_mode(0o700))
    };
    make().map_err(|error| TlsError::Unwritable {
        path: dir.to_owned(),
        error,
    })
}

/// Why there is no identity to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file or directory that cannot be made.
    #[error("cannot write {}: {error}", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The certificate cannot be used.
    #[error("the certificate in {} cannot be used: {reason}", path.display())]
    Certificate {
        /// Its file.
        path: PathBuf,
        /// Why.
        reason: CertificateFault,
    },
    /// The key cannot be used.
    #[error("the private key in {} cannot be used: {reason}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why.
        reason: KeyFault,
    },
    /// The key is another certificate's.
    #[error("{} is not the key of the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The own certificate is there, its key is not.
    #[error("{} is gone, but its certificate is still there", path.display())]
    KeyIsGone {
        /// Where the key was.
        path: PathBuf,
    },
    /// The self-signed certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Making(rcgen::Error),
    /// The cryptography library does not offer what we ask of it.
    #[error("TLS is not available: {0}")]
    Provider(rustls::Error),
}

/// What is wrong with a certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    /// The file holds none.
    #[error("there is no certificate in the file")]
    None,
    /// The file is damaged.
    #[error("it is not PEM ({0})")]
    NotPem(pem::Error),
    /// TLS does not take it.
    #[error("{0}")]
    Unusable(rustls::Error),
}

/// What is wrong with a private key; never shows a part of it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The file holds none.
    #[error("there is no private key in the file")]
    None,
    /// The file is protected by a passphrase.
    #[error("it is encrypted with a passphrase")]
    Encrypted,
    /// The file is damaged.
    #[error("it is not PEM ({0})")]
    NotPem(pem::Error),
    /// TLS does not take it.
    #[error("{0}")]
    Unusable(rustls::Error),
}

impl TlsError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => {
                "check that the file is there and that the server's user may read it"
            }
            Self::Unwritable { .. } => {
                "give a --data-dir that the server's user may write to, with room on its disk"
            }
            Self::Certificate { .. } => {
                "give a PEM file with the server's X.509 v3 certificate first, then its intermediates"
            }
            Self::Key {
                reason: KeyFault::Encrypted,
                ..
            } => {
                "the server starts unattended: decrypt the key (`openssl pkey -in KEY -out NEW`) \
                 and keep it with mode 0600"
            }
            Self::Key { .. } => {
                "give a PEM file with an RSA (2048 bits or more) or ECDSA (P-256, P-384) private key"
            }
            Self::Mismatch { .. } => {
                "give the two files of one pair; the server's own certificate must be the first in its file"
            }
            Self::KeyIsGone { .. } => {
                "put the key back from a backup; or remove cert.pem for a new pair with a new pin, \
                 which every device must then be told"
            }
            Self::Making(_) | Self::Provider(_) => {
                "give --tls-cert and --tls-key, and report this as a bug"
            }
        }
    }
}

#[cfg(test)]
mod tests;
