//! Files of certificates, and how the certificates in them follow on each other.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::error::{CertificateFault, TlsError};
use super::identity::dns_names;
use crate::files;

/// The length of the longest PEM file, in bytes.
const PEM_LEN_MAX: u64 = 1 << 20;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

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

/// The server's own certificate, as one that is to be renewed sees it.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    /// The DNS names, without wildcards.
    pub(crate) names: Vec<String>,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) is_self_signed: bool,
}

/// Looks at the first certificate of a file.
pub(super) fn look_at_leaf(path: &Path) -> Result<Leaf, TlsError> {
    let chain = read_chain(path)?;
    let leaf = chain.first().map(|leaf| X509Certificate::from_der(leaf));
    let Some(Ok((_, leaf))) = leaf else {
        return Err(TlsError::Certificate {
            path: path.to_owned(),
            reason: CertificateFault::Unusable(rustls::CertificateError::BadEncoding.into()),
        });
    };
    Ok(Leaf {
        names: dns_names(&leaf),
        not_before: leaf.validity().not_before.timestamp(),
        not_after: leaf.validity().not_after.timestamp(),
        is_self_signed: leaf.issuer() == leaf.subject(),
    })
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

/// Reads a PEM file, without the byte order mark that editors of Windows put in front.
pub(super) fn read_pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = files::read(path, PEM_LEN_MAX);
    let mut bytes = read.map_err(|error| TlsError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// Whether a file has this text.
pub(super) fn contains(file: &[u8], text: &str) -> bool {
    file.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Whether a file without PEM may be DER: each certificate and key is a sequence.
pub(super) fn is_der(file: &[u8]) -> bool {
    file.starts_with(&[0x30])
}

pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |reason| TlsError::Certificate {
        path: path.to_owned(),
        reason,
    };
    let bytes = Zeroizing::new(read_pem(path)?);
    let chain = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(CertificateFault::NotPem(error)))?;
    if chain.is_empty() {
        return Err(bad(match &bytes {
            bytes if contains(bytes, "PRIVATE KEY-") => CertificateFault::IsKey,
            bytes if is_der(bytes) => CertificateFault::IsDer,
            _ => CertificateFault::None,
        }));
    }
    Ok(chain)
}
