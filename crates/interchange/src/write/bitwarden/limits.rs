//! The lengths that Bitwarden's server takes. It refuses the whole import if one text is longer, so
//! it is better to know before.
//!
//! The server limits the encrypted text, which its clients send as `2.IV|CIPHERTEXT|TAG` in base64.

use serde_json::Value;

use crate::loss::Loss;

/// The limits in characters of encrypted text: for names and short texts, for passwords and custom
/// fields, and for notes and addresses.
const SHORT: usize = 1000;
const MIDDLE: usize = 5000;
const LONG: usize = 10_000;

/// Texts of an item, with their names for people. A `*` stands for each element of a list.
const TEXTS: &[(&str, &str, usize)] = &[
    ("/name", "name", SHORT),
    ("/notes", "notes", LONG),
    ("/login/username", "user name", SHORT),
    ("/login/password", "password", MIDDLE),
    ("/login/totp", "secret of one-time codes", SHORT),
    ("/login/uris/*/uri", "address", LONG),
    (
        "/login/fido2Credentials/*/keyValue",
        "key of a passkey",
        SHORT,
    ),
    (
        "/login/fido2Credentials/*/credentialId",
        "id of a passkey",
        SHORT,
    ),
    (
        "/login/fido2Credentials/*/userHandle",
        "user of a passkey",
        SHORT,
    ),
    ("/fields/*/name", "name of a custom field", SHORT),
    ("/fields/*/value", "custom field", MIDDLE),
    ("/passwordHistory/*/password", "former password", MIDDLE),
    ("/sshKey/privateKey", "private key", MIDDLE),
    ("/sshKey/publicKey", "public key", MIDDLE),
    ("/sshKey/keyFingerprint", "fingerprint", SHORT),
    ("/card/*", "card", SHORT),
    ("/identity/*", "identity", SHORT),
];

/// Warns of each text of an item that is too long.
pub(super) fn check(item: &Value, path: &str, warnings: &mut Vec<Loss>) {
    for (pointer, name, limit) in TEXTS {
        let mut longest = 0;
        visit(item, pointer, &mut |text| longest = longest.max(text.len()));
        if encrypted_len(longest) > *limit {
            warnings.push(Loss::new(
                path,
                format!(
                    "Bitwarden would refuse the file: in {path}, the {name} has {longest} bytes, \
                     and at most {} are allowed",
                    plain_len_max(*limit)
                ),
            ));
        }
    }
}

/// Warns of a folder whose name is too long.
pub(super) fn check_folder(name: &str, warnings: &mut Vec<Loss>) {
    if encrypted_len(name.len()) > SHORT {
        warnings.push(Loss::of_file(format!(
            "Bitwarden would refuse the file: the name of a folder has {} bytes, and at most {} \
             are allowed",
            name.len(),
            plain_len_max(SHORT)
        )));
    }
}

fn visit(value: &Value, pointer: &str, found: &mut dyn FnMut(&str)) {
    let Some(pointer) = pointer.strip_prefix('/') else {
        if let Value::String(text) = value {
            found(text);
        }
        return;
    };
    let end = pointer.find('/').unwrap_or(pointer.len());
    let (member, rest) = pointer.split_at(end);
    match value {
        Value::Array(list) if member == "*" => {
            list.iter().for_each(|value| visit(value, rest, found))
        }
        Value::Object(all) if member == "*" => {
            all.values().for_each(|value| visit(value, rest, found))
        }
        Value::Object(all) => all
            .get(member)
            .into_iter()
            .for_each(|value| visit(value, rest, found)),
        _ => {}
    }
}

/// The length of a text after encryption: `2.`, and in base64 an IV of 16 bytes, whole blocks of 16
/// bytes with at least one byte of padding, and a tag of 32 bytes, with bars between them.
const fn encrypted_len(len: usize) -> usize {
    let padded = (len / 16 + 1) * 16;
    2 + base64_len(16) + 1 + base64_len(padded) + 1 + base64_len(32)
}

const fn base64_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

/// The longest text whose encrypted form is not longer than the limit.
const fn plain_len_max(limit: usize) -> usize {
    let mut len = 0;
    while encrypted_len(len + 16) <= limit {
        len += 16;
    }
    len + 15
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_limits_are_those_of_encrypted_texts() {
        for (limit, len) in [(SHORT, 687), (MIDDLE, 3695), (LONG, 7439)] {
            assert_eq!(plain_len_max(limit), len);
            assert!(encrypted_len(len) <= limit && encrypted_len(len + 1) > limit);
        }
    }

    #[test]
    fn each_text_that_is_too_long_is_named() {
        let long = "x".repeat(20_000);
        let item = json!({
            "name": long, "notes": long,
            "login": { "username": long, "uris": [{ "uri": "short" }, { "uri": long }] },
            "fields": [{ "name": "a", "value": long }],
            "card": { "number": long },
        });
        let mut warnings = Vec::new();
        check(&item, "web/shop", &mut warnings);
        assert_eq!(warnings.len(), 6);
        assert!(warnings.iter().all(|warning| !warning.what.contains("xxx")));
        let fits = json!({ "name": "x".repeat(687), "notes": "x".repeat(7439) });
        let mut warnings = Vec::new();
        check(&fits, "web/shop", &mut warnings);
        assert_eq!(warnings, []);
    }
}
