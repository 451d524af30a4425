//! The pair that the server makes itself. The rules are:
//!  - an existing file is never overwritten by a new key;
//!  - the key is on disk before its certificate is made: a crash between them leaves a key, for
//!    which the next start makes a certificate, and the pin stays;
//!  - during a change of the key, the data dir always holds one key, with its certificate or
//!    without one.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::chain::{Leaf, look_at_leaf, read_pem};
use super::error::{KeyFault, TlsError};
use super::identity::Identity;
use crate::files;

/// The files of the pair that the server makes.
pub(crate) const OWN_CERTIFICATE: &str = "cert.pem";
pub(crate) const OWN_KEY: &str = "key.pem";
/// The files of the announced pair.
const NEXT_CERTIFICATE: &str = "next-cert.pem";
const NEXT_KEY: &str = "next-key.pem";

/// Makes the key and the certificate, where they do not exist.
pub(super) fn make_own(certificate: &Path, key: &Path) -> Result<(), TlsError> {
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
        (false, true) => read_key_pair(key)?,
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

/// A certificate for this machine in PEM. It never expires, because devices trust the pin.
pub(super) fn self_signed(pair: &rcgen::KeyPair, host: &str) -> Result<String, rcgen::Error> {
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
    // The early start tolerates clocks that are slow. The end is RFC 5280's date for "no
    // well-defined expiration".
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    Ok(params.self_signed(pair)?.pem())
}

/// The name of this machine; empty if it is not a valid host name.
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

/// Replaces the certificate by a new one for the same key.
pub(crate) fn renew(data_dir: &Path) -> Result<Identity, TlsError> {
    let (certificate, key) = (data_dir.join(OWN_CERTIFICATE), data_dir.join(OWN_KEY));
    let pair = read_key_pair(&key)?;
    let made = self_signed(&pair, &host_name()).map_err(TlsError::Making)?;
    put(&certificate, made.as_bytes())?;
    Identity::from_files(&certificate, &key, true)
}

/// The server's own key.
pub(crate) fn own_key(data_dir: &Path) -> Result<rcgen::KeyPair, TlsError> {
    read_key_pair(&data_dir.join(OWN_KEY))
}

/// The server's own certificate.
pub(crate) fn own_leaf(data_dir: &Path) -> Result<Leaf, TlsError> {
    look_at_leaf(&data_dir.join(OWN_CERTIFICATE))
}

/// Replaces the certificate by a chain that an authority issued for the server's own key.
///
/// # Errors
/// The chain is not for that key, or cannot be used. Nothing changes then.
pub(crate) fn put_own_chain(data_dir: &Path, chain: &[u8]) -> Result<(), TlsError> {
    let (certificate, key) = (data_dir.join(OWN_CERTIFICATE), data_dir.join(OWN_KEY));
    let new = files::with_suffix(&certificate, ".issued");
    let _ = fs::remove_file(&new);
    write_new(&new, chain)?;
    Identity::from_files(&new, &key, true)?;
    rename(&new, &certificate)
}

fn read_key_pair(key: &Path) -> Result<rcgen::KeyPair, TlsError> {
    let bytes = Zeroizing::new(read_pem(key)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| TlsError::Key {
        path: key.to_owned(),
        reason: KeyFault::None,
    })?;
    rcgen::KeyPair::from_pem(text).map_err(TlsError::Making)
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), TlsError> {
    files::replace(path, bytes).map_err(unwritable(path))
}

/// The announced pair, if there is one.
pub(crate) fn next_identity(data_dir: &Path) -> Result<Option<Identity>, TlsError> {
    let (certificate, key) = (data_dir.join(NEXT_CERTIFICATE), data_dir.join(NEXT_KEY));
    // The certificate is written last, so its presence shows that the pair is complete.
    if certificate.exists() && key.exists() {
        Identity::from_files(&certificate, &key, true).map(Some)
    } else {
        Ok(None)
    }
}

/// Makes a pair to be announced.
pub(crate) fn make_next(data_dir: &Path) -> Result<Identity, TlsError> {
    let (certificate, key) = (data_dir.join(NEXT_CERTIFICATE), data_dir.join(NEXT_KEY));
    // An incomplete pair was never announced.
    for half in [&certificate, &key] {
        let _ = fs::remove_file(half);
    }
    make_own(&certificate, &key)?;
    Identity::from_files(&certificate, &key, true)
}

/// Replaces the pair by the announced one. If this is interrupted, the next start of the server
/// makes the certificate that is missing.
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

/// Makes the data dir with mode 0700, or sets that mode.
pub(crate) fn make_data_dir(dir: &Path) -> Result<(), TlsError> {
    let unwritable = |error| TlsError::Unwritable {
        path: dir.to_owned(),
        error,
    };
    files::make_folder(dir).map_err(unwritable)?;
    let Err(error) = fs::set_permissions(dir, PermissionsExt::from_mode(0o700)) else {
        return Ok(());
    };
    let owner = fs::metadata(dir).map(|folder| folder.uid());
    Err(match owner {
        // Only the owner may set the mode.
        Ok(owner) if owner != rustix::process::geteuid().as_raw() => TlsError::Foreign {
            path: dir.to_owned(),
            owner,
        },
        _ => unwritable(error),
    })
}
