//! What opens a KeePass file: a password, a key file, or both.
//!
//! A key file has 32 bytes of key. They are, in this order of trying:
//!  - the content of the element `Data` of an XML file: base64 in version 1.0, hex digits in version
//!    2.0, where the attribute `Hash` has the first 4 bytes of their SHA-256;
//!  - the whole file, if it is 32 bytes long;
//!  - the bytes of 64 hex digits;
//!  - the SHA-256 of any other file.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE, HEXUPPER};
use zeroize::Zeroizing;

use crate::crypto::{Key, sha256};
use crate::error::ImportError;
use crate::read::ReadOptions;
use crate::syntax::{json, xml};

/// The parts of a key, at least one.
pub(crate) struct CompositeKey<'a> {
    pub(crate) password: Option<&'a [u8]>,
    pub(crate) key_file: Option<Key>,
}

impl<'a> CompositeKey<'a> {
    /// # Errors
    /// [`ImportError::SecretNeeded`] if there is neither part, or the key file is damaged.
    pub(crate) fn of(
        options: &ReadOptions<'a>,
        key_of: fn(&[u8]) -> Result<Key, ImportError>,
    ) -> Result<Self, ImportError> {
        let key = Self {
            password: options.secret.map(|secret| secret.as_bytes()),
            key_file: options.key_file.map(key_of).transpose()?,
        };
        if key.password.is_none() && key.key_file.is_none() {
            return Err(ImportError::SecretNeeded);
        }
        Ok(key)
    }

    /// The error for a key that does not open the file.
    pub(crate) fn wrong(&self) -> ImportError {
        match (self.password, &self.key_file) {
            (Some(_), None) => ImportError::WrongSecret,
            (Some(_), Some(_)) => ImportError::WrongSecretOrKeyFile,
            // The key file alone was tried first.
            (None, _) => ImportError::SecretNeeded,
        }
    }
}

/// The key in a key file of KeePass 2.
pub(crate) fn key_of_file(bytes: &[u8]) -> Result<Key, ImportError> {
    match key_of_xml(bytes)? {
        Some(key) => Ok(key),
        None => key_of_plain_file(bytes),
    }
}

/// The key in a key file of KeePass 1, which knows no XML.
pub(crate) fn key_of_plain_file(bytes: &[u8]) -> Result<Key, ImportError> {
    if bytes.is_empty() {
        return Err(ImportError::KeyFile {
            what: "it is empty",
        });
    }
    if let Ok(key) = bytes.try_into() {
        return Ok(Zeroizing::new(key));
    }
    if bytes.len() == 64
        && let Some(key) = decode(|| HEXLOWER_PERMISSIVE.decode(bytes))
    {
        return Ok(key);
    }
    Ok(Zeroizing::new(sha256(&[bytes])))
}

fn key_of_xml(bytes: &[u8]) -> Result<Option<Key>, ImportError> {
    const NO_KEY: ImportError = ImportError::KeyFile {
        what: "it is an XML key file without a key of 32 bytes",
    };
    // What is no XML is a key file of another form.
    let file = json::text_of(bytes).and_then(|text| xml::read(text, None));
    let Some(file) = file.ok().filter(|file| file.name == "KeyFile") else {
        return Ok(None);
    };
    let version = file
        .child("Meta")
        .map_or("", |meta| meta.text_of("Version"));
    let key = file.child("Key").ok_or(NO_KEY)?;
    let data = key.child("Data").ok_or(NO_KEY)?;
    let text: Zeroizing<String> = Zeroizing::new(
        data.text
            .chars()
            .filter(|letter| !letter.is_whitespace())
            .collect(),
    );
    match version.split('.').next() {
        Some("1") => decode(|| BASE64.decode(text.as_bytes()))
            .ok_or(NO_KEY)
            .map(Some),
        Some("2") => {
            let key = decode(|| HEXLOWER_PERMISSIVE.decode(text.as_bytes())).ok_or(NO_KEY)?;
            let [a, b, c, d, ..] = sha256(&[key.as_slice()]);
            let is_good = data
                .hash
                .as_ref()
                .is_none_or(|hash| hash.eq_ignore_ascii_case(&HEXUPPER.encode(&[a, b, c, d])));
            if !is_good {
                return Err(ImportError::KeyFile {
                    what: "its key does not match its hash, so it was changed",
                });
            }
            Ok(Some(key))
        }
        _ => Err(ImportError::KeyFile {
            what: "its version is neither 1 nor 2",
        }),
    }
}

fn decode(decode: impl FnOnce() -> Result<Vec<u8>, data_encoding::DecodeError>) -> Option<Key> {
    let bytes = Zeroizing::new(decode().ok()?);
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = *b"0123456789abcdefghijklmnopqrstuv";

    #[track_caller]
    fn check(file: &str, expected: Result<Key, ImportError>) {
        assert_eq!(key_of_file(file.as_bytes()), expected, "{file}");
    }

    fn xml(version: &str, data: &str) -> String {
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<KeyFile>\n<Meta><Version>{version}\
             </Version></Meta><Key>{data}</Key></KeyFile>"
        )
    }

    #[test]
    fn every_form_of_a_key_file_has_its_key() {
        let key = || Ok(Zeroizing::new(KEY));
        let (hex, base64) = (HEXUPPER.encode(&KEY), BASE64.encode(&KEY));
        check("0123456789abcdefghijklmnopqrstuv", key());
        check(&hex, key());
        check(&hex.to_lowercase(), key());
        check(&xml("1.00", &format!("<Data>{base64}</Data>")), key());
        let (left, right) = hex.split_at(32);
        let hash = HEXUPPER.encode(&sha256(&[&KEY])[..4]);
        let data = |hash: &str| format!("<Data Hash=\"{hash}\">\n\t{left}\n {right}</Data>");
        check(&xml("2.0", &data(&hash)), key());
        let damaged = key_of_file(xml("2.0", &data("00000000")).as_bytes());
        assert!(matches!(damaged, Err(ImportError::KeyFile { .. })));
        for other in ["<a/>", "<KeyFile", "x", &hex[1..], &"z".repeat(64)] {
            check(other, Ok(Zeroizing::new(sha256(&[other.as_bytes()]))));
        }
        for wrong in [
            xml("3.0", "<Data/>"),
            xml("1.0", "<Data>AAAA</Data>"),
            xml("1.0", ""),
            xml("2.0", "<Data>zz</Data>"),
            String::new(),
        ] {
            let error = key_of_file(wrong.as_bytes()).unwrap_err();
            assert!(matches!(error, ImportError::KeyFile { .. }), "{wrong}");
        }
    }
}
