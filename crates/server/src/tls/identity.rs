//! A certificate with its key, ready to serve.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use diceware_wordlists::Wordlist;
use passmate_proto::pin_words;
use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ServerConfig};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;
use zeroize::Zeroizing;

use super::chain::{contains, is_der, read_chain, read_pem};
use super::error::{CertificateFault, KeyFault, TlsError};
use super::own::{OWN_CERTIFICATE, OWN_KEY, make_own};
use crate::config::CertificateFiles;

/// A handshake with a longer RSA key costs the server many times as much: where a signature with
/// ECDSA P-256 takes 14 µs, one with RSA takes 0.2 ms with 2048 bits and 3 ms with 4096.
const RSA_BITS_MAX: usize = 2048;

/// SHA-256 of a server's SubjectPublicKeyInfo, shown as `sha256:` and 64 lower-case hex digits.
///
/// It stays the same as long as the key does, also if the certificate is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin(pub(super) [u8; 32]);

impl Pin {
    /// The same pin in words, for people who type it.
    #[must_use]
    pub fn words(&self) -> String {
        pin_words(&self.0, Wordlist::EffLong.get_list())
    }

    /// The pin that is shown as this text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?;
        let bytes = HEXLOWER.decode(digits.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", HEXLOWER.encode(&self.0))
    }
}

/// A certificate with its key, ready to serve.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The TLS configuration of every connection. Sessions are neither kept nor resumed.
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) pin: Pin,
    /// The DNS names of the certificate, without wildcards.
    pub(crate) names: Vec<String>,
    /// The server made the certificate itself, and no authority issued it.
    pub(crate) is_own: bool,
    /// When the certificate expires, in seconds since 1970.
    pub(crate) not_after: i64,
    /// What the operator should know.
    pub(crate) warnings: Vec<Warning>,
}

/// A fault of a certificate that is served nevertheless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error("the certificate has expired: only clients with the pin still connect")]
    Expired,
    #[error("the certificate is not valid yet: only clients with the pin connect")]
    NotYetValid,
    /// `openssl req -x509` makes such certificates by default.
    #[error(
        "the certificate is that of a CA (CA:TRUE): clients accept it with --pin, but not \
         with --ca-file"
    )]
    IsCa,
    #[error("the key is Ed25519, which Passmate's desktop client does not support")]
    UnknownToDesktop,
    #[error(
        "the key is RSA with {bits} bits: each handshake costs the server so much that a single \
         source can keep it busy"
    )]
    LongRsa {
        /// The length of the key.
        bits: usize,
    },
}

impl Warning {
    /// Logs the warning with its remedy.
    pub(crate) fn log(&self) {
        tracing::warn!(hint = self.remedy(), "{self}");
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Expired => "renew it, with the same key if devices pin it; SIGHUP loads it",
            Self::NotYetValid => {
                "check the clock of this machine, and the dates of the certificate"
            }
            Self::IsCa => {
                "make one with `-addext basicConstraints=critical,CA:FALSE`, for the same key if \
                 devices pin it; SIGHUP loads it"
            }
            Self::UnknownToDesktop => {
                "use an ECDSA P-256 key, or RSA with 2048 bits; where devices pin the key, give \
                 them the new pin first"
            }
            Self::LongRsa { .. } => {
                "use an ECDSA P-256 key (certbot --key-type ecdsa), or RSA with 2048 bits; where \
                 devices pin the key, give them the new pin first"
            }
        }
    }
}

impl Identity {
    /// Loads the operator's pair, or the one in the data dir, which is made if it does not exist.
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

    pub(super) fn from_files(
        certificate: &Path,
        key: &Path,
        is_own: bool,
    ) -> Result<Self, TlsError> {
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
        let is_self_signed = parsed.issuer() == parsed.subject();

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
            is_own: is_own && is_self_signed,
            not_after,
            warnings,
        })
    }
}

/// AWS-LC, with AES-128 before AES-256: the key schedule of AES-128 needs no SHA-384, which no
/// processor has instructions for.
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

/// TLS 1.3 and 1.2, post-quantum key exchange preferred, no ALPN, no resumption, no early data.
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
    // The first suites cost both sides least where the processor has instructions for AES and
    // SHA-256. The content is sealed with AES-256 already.
    config.ignore_client_order = true;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn pin_of(leaf: &CertificateDer<'_>) -> Result<Pin, rustls::Error> {
    let spki = ParsedCertificate::try_from(leaf)?.subject_public_key_info();
    Ok(Pin(Sha256::digest(&spki).into()))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = Zeroizing::new(read_pem(path)?);
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let reason = match error {
            _ if contains(&bytes, "ENCRYPTED") => KeyFault::Encrypted,
            pem::Error::NoItemsFound if contains(&bytes, "-BEGIN CERTIFICATE-") => {
                KeyFault::IsCertificate
            }
            pem::Error::NoItemsFound if is_der(&bytes) => KeyFault::IsDer,
            pem::Error::NoItemsFound => KeyFault::None,
            error => KeyFault::NotPem(error),
        };
        TlsError::Key {
            path: path.to_owned(),
            reason,
        }
    })
}

pub(super) fn warnings(leaf: &X509Certificate<'_>) -> Vec<Warning> {
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
    if let Ok(PublicKey::RSA(key)) = leaf.public_key().parsed()
        && key.key_size() > RSA_BITS_MAX
    {
        let bits = key.key_size();
        warnings.push(Warning::LongRsa { bits });
    }
    warnings
}

pub(super) fn dns_names(leaf: &X509Certificate<'_>) -> Vec<String> {
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
