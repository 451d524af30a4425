//! A passkey as KeePassXC and KeePassDX store it: strings of an entry whose names begin with
//! `KPEX_PASSKEY_`. The ids are in base64url without padding, the private key is PEM of PKCS #8.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::passkey::Passkey;

/// The begin of all names. Members of a passkey with such a name have no member of their own in the
/// exchange format, such as `KPEX_PASSKEY_FLAG_BE`.
pub(crate) const PREFIX: &str = "KPEX_PASSKEY_";
const USERNAME: &str = "KPEX_PASSKEY_USERNAME";
const CREDENTIAL_ID: &str = "KPEX_PASSKEY_CREDENTIAL_ID";
/// The name of the credential id in the first versions.
const GENERATED_ID: &str = "KPEX_PASSKEY_GENERATED_USER_ID";
const PRIVATE_KEY: &str = "KPEX_PASSKEY_PRIVATE_KEY_PEM";
const RELYING_PARTY: &str = "KPEX_PASSKEY_RELYING_PARTY";
const USER_HANDLE: &str = "KPEX_PASSKEY_USER_HANDLE";

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
/// The length of a line in PEM.
const PEM_WIDTH: usize = 64;

/// The passkey in these strings; `None` if a part of it is missing or wrong.
pub(crate) fn read<'s>(strings: impl Iterator<Item = (&'s str, &'s str)>) -> Option<Passkey> {
    let mut passkey = Passkey::default();
    let (mut id, mut generated_id) = (None, None);
    let mut other = Map::new();
    for (name, value) in strings {
        match name {
            USERNAME => passkey.username = value.to_owned(),
            CREDENTIAL_ID => id = Some(base64url(value)?),
            GENERATED_ID => generated_id = Some(base64url(value)?),
            PRIVATE_KEY => passkey.key = key_of_pem(value)?,
            RELYING_PARTY => passkey.rp_id = value.to_owned(),
            USER_HANDLE => passkey.user_handle = base64url(value)?,
            _ => drop(other.insert(name.to_owned(), Value::from(value))),
        }
    }
    passkey.credential_id = id.or(generated_id)?;
    passkey.other = other;
    let has_all = [&passkey.credential_id, &passkey.rp_id, &passkey.key]
        .iter()
        .all(|part| !part.is_empty());
    has_all.then_some(passkey)
}

/// The strings of a passkey; `None` if its members cannot be written as such.
pub(crate) fn write(passkey: &Passkey) -> Option<Vec<(String, Zeroizing<String>)>> {
    let key = BASE64URL_NOPAD.decode(passkey.key.as_bytes()).ok()?;
    let key = Zeroizing::new(key);
    let mut strings = vec![
        (USERNAME, Zeroizing::new(passkey.username.clone())),
        (CREDENTIAL_ID, Zeroizing::new(passkey.credential_id.clone())),
        (PRIVATE_KEY, pem_of(&key)),
        (RELYING_PARTY, Zeroizing::new(passkey.rp_id.clone())),
        (USER_HANDLE, Zeroizing::new(passkey.user_handle.clone())),
    ];
    strings.retain(|(_, value)| !value.is_empty());
    let mut strings: Vec<_> = strings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for (name, value) in &passkey.other {
        if let Value::String(value) = value
            && name.starts_with(PREFIX)
        {
            strings.push((name.clone(), Zeroizing::new(value.clone())));
        }
    }
    let read_back = read(
        strings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    read_back.map(|_| strings)
}

/// Base64url without padding, from base64 of any kind.
fn base64url(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches('=');
    let text = text.replace('+', "-").replace('/', "_");
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    Some(text)
}

fn key_of_pem(pem: &str) -> Option<String> {
    let body = pem.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let body: Zeroizing<String> = Zeroizing::new(
        body.chars()
            .filter(|letter| !letter.is_whitespace())
            .collect(),
    );
    let key = Zeroizing::new(BASE64.decode(body.as_bytes()).ok()?);
    Some(BASE64URL_NOPAD.encode(&key))
}

fn pem_of(key: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(BASE64.encode(key));
    let mut pem = Zeroizing::new(String::with_capacity(2 * body.len() + 100));
    pem.push_str(PEM_BEGIN);
    pem.push('\n');
    let mut rest = body.as_str();
    while let Some((line, after)) = rest.split_at_checked(PEM_WIDTH.min(rest.len())) {
        if line.is_empty() {
            break;
        }
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(PEM_END);
    pem.push('\n');
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passkey_keeps_its_strings() {
        let strings = [
            (USERNAME, "alice"),
            (CREDENTIAL_ID, "AQIDBA"),
            (
                PRIVATE_KEY,
                "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\
                 AAAAAAAAAAAA\nAAAA\n-----END PRIVATE KEY-----\n",
            ),
            (RELYING_PARTY, "example.org"),
            (USER_HANDLE, "_-8"),
            ("KPEX_PASSKEY_FLAG_BE", "1"),
            ("KPEX_PASSKEY_FLAG_BS", "0"),
        ];
        let passkey = read(strings.into_iter()).unwrap();
        assert_eq!(passkey.user_handle, "_-8");
        let written = write(&passkey).unwrap();
        let again = read(
            written
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        assert_eq!(again.unwrap().to_value(), passkey.to_value());
        let of = |name: &str| written.iter().find(|(found, _)| found == name).unwrap();
        assert_eq!(of("KPEX_PASSKEY_FLAG_BS").1.as_str(), "0");
        assert!(
            of(PRIVATE_KEY)
                .1
                .lines()
                .all(|line| line.len() <= PEM_WIDTH)
        );
        for (place, _) in strings.iter().enumerate().skip(1).take(3) {
            let without = strings
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != place);
            assert!(
                read(without.map(|(_, string)| *string)).is_none(),
                "{place}"
            );
        }
    }

    #[test]
    fn parts_that_are_no_passkey_are_refused() {
        for (name, value) in [
            (CREDENTIAL_ID, "not base64!"),
            (
                PRIVATE_KEY,
                "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----",
            ),
            (PRIVATE_KEY, PEM_BEGIN),
            (RELYING_PARTY, ""),
        ] {
            let strings = [
                (CREDENTIAL_ID, "AQID"),
                (
                    PRIVATE_KEY,
                    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
                ),
                (RELYING_PARTY, "x"),
                (name, value),
            ];
            assert!(read(strings.into_iter()).is_none(), "{name}");
        }
    }
}
