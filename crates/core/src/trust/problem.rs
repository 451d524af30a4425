//! What is wrong with a certificate, by name, so that each has its remedy.

use passmate_vault::Pin;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, OtherError};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How many of a certificate's names are told, and how long each may be.
const NAMES_MAX: usize = 4;
const NAME_LEN_MAX: usize = 64;

/// A server's certificate that was not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustProblem {
    /// What is wrong.
    pub problem: Problem,
    /// The pin of the key that the server showed: a claim, nothing more.
    pub shown: Pin,
    /// The certificate names itself as its issuer, as those do that a server makes for itself.
    pub self_signed: bool,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The key is neither the pinned one nor the next.
    PinMismatch {
        /// The pinned key.
        current: Pin,
        /// The key that the operator announced.
        next: Option<Pin>,
    },
    /// No CA that is known here has issued it.
    UnknownIssuer,
    /// This system knows no CA at all.
    NoTrustStore,
    /// A CA's own certificate stands in the place of a server's, as many self-signed ones do.
    CaUsedAsLeaf,
    /// It is made out to other names.
    WrongName {
        /// The host that was asked for.
        wanted: String,
        /// Names that it is made out to: from the peer, bounded, to be escaped.
        names: Vec<String>,
    },
    /// Its time is over.
    Expired {
        /// Its last second, in Unix time.
        not_after: i64,
        /// This device's clock, in Unix time.
        now: i64,
    },
    /// Its time has not come.
    NotYetValid {
        /// Its first second, in Unix time.
        not_before: i64,
        /// This device's clock, in Unix time.
        now: i64,
    },
    /// It was withdrawn.
    Revoked,
    /// It was issued for something else than servers.
    NotForServers,
    /// Its signature is wrong, or made in a way that is not accepted.
    BadSignature,
    /// It cannot be read, or holds what is not understood.
    Unreadable,
}

/// Whether issuer and subject are the same.
pub(super) fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| parsed.subject().as_raw() == parsed.issuer().as_raw())
}

/// The verifier's verdict in our words.
/// From when to when it is valid, in Unix seconds.
pub(super) fn validity_of(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let validity = parsed.validity();
    Some((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}

pub(super) fn name_problem(
    error: &rustls::Error,
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Problem {
    let rustls::Error::InvalidCertificate(error) = error else {
        return Problem::Unreadable;
    };
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Problem::Unreadable;
    };
    let now = to_seconds(now);
    match error {
        CertificateError::UnknownIssuer => Problem::UnknownIssuer,
        // The context is that of whichever certificate of the chain it was.
        CertificateError::ExpiredContext { not_after, .. } => Problem::Expired {
            not_after: to_seconds(*not_after),
            now,
        },
        CertificateError::Expired => Problem::Expired {
            not_after: parsed.validity().not_after.timestamp(),
            now,
        },
        CertificateError::NotValidYetContext { not_before, .. } => Problem::NotYetValid {
            not_before: to_seconds(*not_before),
            now,
        },
        CertificateError::NotValidYet => Problem::NotYetValid {
            not_before: parsed.validity().not_before.timestamp(),
            now,
        },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Problem::WrongName {
                wanted: server_name.to_str().into_owned(),
                names: collect_names(&parsed),
            }
        }
        CertificateError::Revoked => Problem::Revoked,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Problem::NotForServers
        }
        CertificateError::Other(OtherError(_)) if parsed.is_ca() => Problem::CaUsedAsLeaf,
        CertificateError::BadEncoding
        | CertificateError::UnhandledCriticalExtension
        | CertificateError::Other(OtherError(_)) => Problem::Unreadable,
        _ => Problem::BadSignature,
    }
}

fn to_seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// The names that a certificate is made out to. An old one without any has its name in the subject,
/// where nobody looks any more.
fn collect_names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    let shown = extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.chars().take(NAME_LEN_MAX).collect()),
            GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
                Ok(v4) => Some(std::net::Ipv4Addr::from(v4).to_string()),
                Err(_) => <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|v6| std::net::Ipv6Addr::from(v6).to_string()),
            },
            _ => None,
        });
    shown.take(NAMES_MAX).collect()
}
