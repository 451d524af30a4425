//! How a server proves its identity. The rules are:
//!  - one of three: the system's trust store, a CA file, or a pin on the server's public key;
//!  - the handshake's signature is verified in all three: a certificate alone is a copy anyone may
//!    have;
//!  - with a pin, only the public key counts: not the name, the chain or the dates;
//!  - there is no fourth way that accepts every certificate.
//!
//! Sessions are never resumed: a resumed session would not ask the verifier again.

mod problem;

use std::sync::{Arc, Mutex, PoisonError};

use diceware_wordlists::Wordlist;
use passmate_proto::pin_words;
use passmate_vault::{Pin, Trust};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};

pub use passmate_sync::transport::{CertificateProblem, TrustProblem};

/// Longest CA file accepted, in bytes: it is kept in the vault.
pub const CA_FILE_LEN_MAX: usize = 64 * 1024;

/// Why a CA file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CaError {
    /// It is longer than [`CA_FILE_LEN_MAX`].
    #[error("the CA file is longer than 64 KiB")]
    TooLong,
    /// No `BEGIN CERTIFICATE` block is in it.
    #[error("the CA file holds no PEM certificate")]
    NoCertificate,
    /// A certificate in it cannot be read.
    #[error("the CA file holds a certificate that cannot be read")]
    Malformed,
    /// The cryptography refused to start.
    #[error("TLS cannot be set up on this system")]
    Unusable,
}

/// The certificates of a CA file as PEM text; everything else in it, such as a private key, is left
/// out.
///
/// # Errors
/// See [`CaError`].
pub fn read_ca(pem: &[u8]) -> Result<String, CaError> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    if pem.len() > CA_FILE_LEN_MAX {
        return Err(CaError::TooLong);
    }
    let text = String::from_utf8_lossy(pem);
    let mut kept = String::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        inside |= line == BEGIN;
        if inside {
            kept.push_str(line);
            kept.push('\n');
        }
        inside &= line != END;
    }
    parse_ca(&kept)?;
    Ok(kept)
}

fn parse_ca(pem: &str) -> Result<RootCertStore, CaError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots
            .add(certificate.map_err(|_| CaError::Malformed)?)
            .map_err(|_| CaError::Malformed)?;
    }
    if roots.is_empty() {
        Err(CaError::NoCertificate)
    } else {
        Ok(roots)
    }
}

/// What was seen in the last handshake.
#[derive(Debug, Clone, Default)]
pub struct Sighting {
    /// The pin of the key that the server showed.
    pub shown: Option<Pin>,
    /// From when to when the certificate that it showed is valid, in Unix seconds.
    pub valid: Option<(i64, i64)>,
    /// Why it was not trusted.
    pub problem: Option<TrustProblem>,
}

/// A TLS configuration that trusts by one rule, and what it saw last.
#[derive(Debug, Clone)]
pub struct TlsTrust {
    config: Arc<ClientConfig>,
    sighting: Arc<Mutex<Sighting>>,
}

impl TlsTrust {
    /// The configuration for a rule. TLS 1.3 and 1.2.
    ///
    /// # Errors
    /// The CA file that the rule holds cannot be used.
    pub fn new(trust: &Trust) -> Result<Self, CaError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let rule = match trust {
            // A system without a trust store is a system that knows no issuer.
            Trust::System => Rule::Chain(
                rustls_platform_verifier::Verifier::new(provider.clone())
                    .ok()
                    .map(|verifier| {
                        let verifier: Arc<dyn ServerCertVerifier> = Arc::new(verifier);
                        verifier
                    }),
            ),
            Trust::Ca(pem) => {
                let roots = Arc::new(parse_ca(pem)?);
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
                Rule::Chain(Some(verifier.map_err(|_| CaError::Unusable)?))
            }
            Trust::Pins { current, next } => Rule::Pins {
                current: *current,
                next: *next,
            },
        };
        let sighting = Arc::new(Mutex::new(Sighting::default()));
        let verifier = Verifier {
            rule,
            provider: provider.clone(),
            sighting: sighting.clone(),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|_| CaError::Unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            sighting,
        })
    }

    /// The configuration for a new connection; forgets what the last handshake showed.
    pub(crate) fn begin(&self) -> Arc<ClientConfig> {
        *self.sighting.lock().unwrap_or_else(PoisonError::into_inner) = Sighting::default();
        self.config.clone()
    }

    /// What was seen in the last handshake.
    #[must_use]
    pub fn sighting(&self) -> Sighting {
        self.sighting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The pin of a certificate: SHA-256 of its `SubjectPublicKeyInfo`.
///
/// # Errors
/// The bytes are no certificate.
pub fn derive_pin(certificate: &CertificateDer<'_>) -> Result<Pin, CertificateError> {
    let parsed =
        ParsedCertificate::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(Pin::from_bytes(
        Sha256::digest(parsed.subject_public_key_info().as_ref()).into(),
    ))
}

/// Digits of a pin that a person must type at least: 80 bits.
const DIGITS_MIN: usize = 20;

/// What a person typed to confirm the key that a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// It is the pin: all of it, its words, or enough of its first digits.
    Matches,
    /// It is another pin.
    Differs,
    /// It is a part of a pin, or no pin at all.
    TooShort,
}

/// Compares the key that a server shows with what a person got from its operator: the whole pin,
/// its first 20 digits or more, or its words. Case, blanks, dashes and colons do not matter.
#[must_use]
pub fn compare_pin(shown: &Pin, typed: &str) -> Typed {
    let squeeze = |text: &str| {
        let kept = text
            .chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, '-' | ':'));
        kept.collect::<String>().to_lowercase()
    };
    let typed = squeeze(typed);
    if typed == squeeze(&words_of(shown)) {
        return Typed::Matches;
    }
    let digits = typed.strip_prefix("sha256").unwrap_or(&typed);
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && digits.len() < DIGITS_MIN {
        return Typed::TooShort;
    }
    let shown = shown.to_string();
    let is_begin = shown
        .strip_prefix("sha256:")
        .is_some_and(|all| all.starts_with(digits));
    if is_hex && is_begin {
        Typed::Matches
    } else {
        Typed::Differs
    }
}

/// A pin in words, as its server prints it.
#[must_use]
pub fn words_of(pin: &Pin) -> String {
    pin_words(pin.as_bytes(), Wordlist::EffLong.get_list())
}

#[derive(Debug)]
enum Rule {
    /// `None`: the system has no trust store.
    Chain(Option<Arc<dyn ServerCertVerifier>>),
    Pins {
        current: Pin,
        next: Option<Pin>,
    },
}

#[derive(Debug)]
struct Verifier {
    rule: Rule,
    provider: Arc<CryptoProvider>,
    sighting: Arc<Mutex<Sighting>>,
}

impl Verifier {
    fn judge(
        &self,
        shown: Pin,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Distrust> {
        let distrust = |error: rustls::Error, problem| {
            Err(Distrust {
                error,
                problem: Box::new(problem),
            })
        };
        match &self.rule {
            Rule::Pins { current, next } if *current == shown || *next == Some(shown) => Ok(()),
            Rule::Pins { current, next } => distrust(
                CertificateError::ApplicationVerificationFailure.into(),
                CertificateProblem::PinMismatch {
                    current: *current,
                    next: *next,
                },
            ),
            Rule::Chain(None) => distrust(
                CertificateError::UnknownIssuer.into(),
                CertificateProblem::NoTrustStore,
            ),
            Rule::Chain(Some(verifier)) => {
                match verifier.verify_server_cert(end_entity, intermediates, server_name, &[], now)
                {
                    Ok(_) => Ok(()),
                    Err(error) => {
                        let problem = problem::name_problem(&error, end_entity, server_name, now);
                        distrust(error, problem)
                    }
                }
            }
        }
    }
}

/// A verdict, as a TLS error and as a certificate problem.
struct Distrust {
    error: rustls::Error,
    problem: Box<CertificateProblem>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = derive_pin(end_entity)?;
        let verdict = self.judge(shown, end_entity, intermediates, server_name, now);
        let mut sighting = self.sighting.lock().unwrap_or_else(PoisonError::into_inner);
        sighting.shown = Some(shown);
        sighting.valid = problem::validity_of(end_entity);
        match verdict {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(Distrust { error, problem }) => {
                let self_signed = problem::is_self_signed(end_entity);
                sighting.problem = Some(TrustProblem {
                    problem: *problem,
                    shown,
                    self_signed,
                });
                Err(error)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
