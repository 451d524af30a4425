//! Files of certificates, and how the certificates in them follow on each other.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::{CertificateFault, TlsError};
use crate::files;

/// The length of the longest PEM file, in bytes.
const PEM_LEN_MAX: u64 = 1 << 20;

/// The order of the certificates in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chain {
    /// Each certificate was issued by the next one, or the only one is self-signed.
    Whole,
    /// The only certificate was issued by one that is not in the file. Devices accept it only if
    /// they trust that one.
    Alone,
    /// The certificate with this number, counted from 1, was not issued by the next one.
    Broken(usize),
}

/// Compares the subjects and issuers of the certificates in a file.
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

pub(super) fn read_pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read(path, PEM_LEN_MAX).map_err(|error| TlsError::Unreadable {
        path: path.to_owned(),
        error,
    })
}

pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
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
