use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::identity::dns_names;
use super::own::self_signed;
use super::*;
use crate::config::CertificateFiles;

/// A pair on disk, as an operator makes it.
struct Pair {
    dir: tempfile::TempDir,
    files: CertificateFiles,
}

fn pair(key: &rcgen::KeyPair, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Pair {
    let mut params = rcgen::CertificateParams::new(vec!["sync.example.org".to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.self_signed(key).unwrap().pem();
    written(&certificate, &key.serialize_pem())
}

fn written(certificate: &str, key: &str) -> Pair {
    let dir = tempfile::tempdir().unwrap();
    let files = CertificateFiles {
        certificate: dir.path().join("c"),
        key: dir.path().join("k"),
    };
    fs::write(&files.certificate, certificate).unwrap();
    fs::write(&files.key, key).unwrap();
    Pair { dir, files }
}

fn ecdsa() -> rcgen::KeyPair {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

fn load(pair: &Pair) -> Result<Identity, TlsError> {
    Identity::load(Some(&pair.files), pair.dir.path())
}

/// The error and hint that the operator reads.
fn complaint(pair: &Pair) -> String {
    let error = load(pair).unwrap_err();
    format!("{error}\n{}", error.hint())
}

#[test]
fn the_own_pair_is_made_once_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let first = Identity::load(None, dir.path()).unwrap();
    assert!(first.is_own);
    assert_eq!(first.warnings, []);
    for name in [OWN_CERTIFICATE, OWN_KEY] {
        let mode = fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        2,
        "nothing else is left there"
    );
    let certificate = fs::read(dir.path().join(OWN_CERTIFICATE)).unwrap();
    assert_eq!(Identity::load(None, dir.path()).unwrap().pin, first.pin);
    assert_eq!(
        fs::read(dir.path().join(OWN_CERTIFICATE)).unwrap(),
        certificate
    );
}

#[test]
fn a_lost_certificate_is_replaced_and_a_lost_key_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let first = Identity::load(None, dir.path()).unwrap();
    fs::remove_file(dir.path().join(OWN_CERTIFICATE)).unwrap();
    assert_eq!(Identity::load(None, dir.path()).unwrap().pin, first.pin);
    fs::remove_file(dir.path().join(OWN_KEY)).unwrap();
    assert!(matches!(
        Identity::load(None, dir.path()),
        Err(TlsError::KeyIsGone { .. })
    ));
    assert!(!dir.path().join(OWN_KEY).exists());
}

#[test]
fn the_own_certificate_names_this_machine_and_never_expires() {
    let pem = self_signed(&ecdsa(), "my-machine").unwrap();
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(dns_names(&parsed), ["my-machine", "localhost"]);
    let text = format!(
        "{:?}",
        parsed.subject_alternative_name().unwrap().unwrap().value
    );
    assert!(text.contains("[127, 0, 0, 1]"), "{text}");
    assert!(parsed.validity().not_after.timestamp() > 253_000_000_000);
    assert!(!parsed.is_ca());
    // An invalid host name does not prevent a start.
    assert!(self_signed(&ecdsa(), "no host's name").is_ok());
    assert!(self_signed(&ecdsa(), "").is_ok());
}

#[test]
fn the_pin_is_the_hash_of_the_public_key() {
    let key = ecdsa();
    let (first, second) = (
        pair(&key, |_| {}),
        pair(&key, |params| params.serial_number = Some(7.into())),
    );
    assert_eq!(load(&first).unwrap().pin, load(&second).unwrap().pin);
    assert_ne!(
        load(&first).unwrap().pin,
        load(&pair(&ecdsa(), |_| {})).unwrap().pin
    );
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
    assert_eq!(load(&first).unwrap().pin, Pin(Sha256::digest(spki).into()));
    let shown = load(&first).unwrap().pin.to_string();
    assert!(shown.starts_with("sha256:") && shown.len() == 7 + 64 && shown == shown.to_lowercase());
}

#[test]
fn every_form_of_key_that_openssl_writes_is_accepted() {
    for name in ["rsa_pkcs8", "rsa_pkcs1", "p256_sec1", "p384_pkcs8"] {
        let read = |end: &str| {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
            fs::read_to_string(dir.join(format!("{name}.{end}"))).unwrap()
        };
        let pair = written(&read("cert.pem"), &read("key.pem"));
        let identity = load(&pair).unwrap();
        assert_eq!(identity.warnings, [], "{name}");
        assert_eq!(identity.names, ["sync.example.org"], "{name}");
    }
}

#[test]
fn a_long_rsa_key_is_served_with_a_warning() {
    let size = rcgen::RsaKeySize::_3072;
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
    let identity = load(&pair(&key, |_| {})).unwrap();
    assert_eq!(identity.warnings, [Warning::LongRsa { bits: 3072 }]);
    let warning = &identity.warnings[0];
    assert!(warning.remedy().contains("ECDSA P-256"), "{warning}");
}

#[test]
fn faults_of_a_pair_are_named_with_a_remedy() {
    let good = ecdsa();
    let certificate = rcgen::CertificateParams::new(vec!["a.example".to_owned()])
        .unwrap()
        .self_signed(&good)
        .unwrap()
        .pem();
    let key = good.serialize_pem();
    let check = |certificate: &str, key: &str, part: &str| {
        let text = complaint(&written(certificate, key));
        assert!(text.contains(part), "{text}");
        assert!(!text.contains("MIG"), "a part of the key is shown: {text}");
    };
    check(
        &certificate,
        &ecdsa().serialize_pem(),
        "is not the key of the certificate",
    );
    check("", &key, "no certificate in the file");
    check(&key, &key, "has a private key, and no certificate");
    check(&certificate, "", "no private key in the file");
    check(
        &certificate,
        &certificate,
        "has a certificate, and no private key",
    );
    check("0\u{1}", &key, "may be DER");
    check(&certificate, "0\u{1}", "may be DER");
    // Editors of Windows begin a file with a byte order mark.
    load(&written(
        &format!("\u{feff}{certificate}"),
        &format!("\u{feff}{key}"),
    ))
    .unwrap();
    check(
        &certificate,
        &key.replace("PRIVATE", "ENCRYPTED PRIVATE"),
        "encrypted with a passphrase",
    );
    check(&certificate.replace("MII", "!!!"), &key, "not PEM");
    let mut missing = written(&certificate, &key);
    missing.files.key.push("x");
    assert!(
        complaint(&missing).contains("cannot read"),
        "{}",
        complaint(&missing)
    );
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check(junk, &key, "the certificate in");
}

#[test]
fn a_certificate_that_needs_a_pin_causes_a_warning() {
    let check = |change: fn(&mut rcgen::CertificateParams), expected: Warning| {
        assert_eq!(load(&pair(&ecdsa(), change)).unwrap().warnings, [expected]);
    };
    check(
        |params| params.not_after = rcgen::date_time_ymd(2021, 1, 1),
        Warning::Expired,
    );
    check(
        |params| params.not_before = rcgen::date_time_ymd(3021, 1, 1),
        Warning::NotYetValid,
    );
    check(
        |params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained),
        Warning::IsCa,
    );
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    assert_eq!(
        load(&pair(&key, |_| {})).unwrap().warnings,
        [Warning::UnknownToDesktop]
    );
}

#[test]
fn no_session_outlives_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let config = Identity::load(None, dir.path()).unwrap().config;
    assert_eq!(config.send_tls13_tickets, 0);
    assert!(!config.session_storage.can_cache());
    assert!(!config.ticketer.enabled());
    assert!(config.alpn_protocols.is_empty());
}
