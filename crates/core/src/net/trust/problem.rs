//! What is wrong with a certificate, by name, so that each has its remedy.

use passmate_sync::transport::CertificateProblem;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, OtherError};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How many of a certificate's names are told, and how long each may be.
const NAMES_MAX: usize = 4;
const NAME_LEN_MAX: usize = 64;

/// Whether issuer and subject are the same.
pub(super) fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| parsed.subject().as_raw() == parsed.issuer().as_raw())
}

/// Its first and last second, in Unix time.
pub(super) fn validity_of(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let validity = parsed.validity();
    Some((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}

/// The verifier's verdict in our words.
pub(super) fn name_problem(
    error: &rustls::Error,
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> CertificateProblem {
    let rustls::Error::InvalidCertificate(error) = error else {
        return CertificateProblem::Unreadable;
    };
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return CertificateProblem::Unreadable;
    };
    let now = to_seconds(now);
    match error {
        CertificateError::UnknownIssuer => CertificateProblem::UnknownIssuer,
        // The context is that of whichever certificate of the chain it was.
        CertificateError::ExpiredContext { not_after, .. } => CertificateProblem::Expired {
            not_after: to_seconds(*not_after),
            now,
        },
        CertificateError::Expired => CertificateProblem::Expired {
            not_after: parsed.validity().not_after.timestamp(),
            now,
        },
        CertificateError::NotValidYetContext { not_before, .. } => {
            CertificateProblem::NotYetValid {
                not_before: to_seconds(*not_before),
                now,
            }
        }
        CertificateError::NotValidYet => CertificateProblem::NotYetValid {
            not_before: parsed.validity().not_before.timestamp(),
            now,
        },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateProblem::WrongName {
                wanted: server_name.to_str().into_owned(),
                names: collect_names(&parsed),
            }
        }
        CertificateError::Revoked => CertificateProblem::Revoked,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            CertificateProblem::NotForServers
        }
        CertificateError::Other(OtherError(_)) if parsed.is_ca() => {
            CertificateProblem::CaUsedAsLeaf
        }
        CertificateError::BadEncoding
        | CertificateError::UnhandledCriticalExtension
        | CertificateError::Other(OtherError(_)) => CertificateProblem::Unreadable,
        _ => CertificateProblem::BadSignature,
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
