//! A passkey as the value of one field: JSON with the members of a passkey in FIDO's Credential
//! Exchange Format, and what a source has beyond them.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// A passkey. Bytes are in base64url without padding.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Passkey {
    /// The id under which the site knows it.
    pub(crate) credential_id: String,
    /// The domain of the site.
    pub(crate) rp_id: String,
    /// The account's name at the site.
    #[serde(default)]
    pub(crate) username: String,
    /// The account's name as the site shows it.
    #[serde(default)]
    pub(crate) user_display_name: String,
    /// The id of the account at the site.
    #[serde(default)]
    pub(crate) user_handle: String,
    /// The private key, as DER of PKCS #8.
    pub(crate) key: String,
    /// Members beyond those of the exchange format, such as a counter of uses.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

impl Passkey {
    /// The passkey in a field's value.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        serde_json::from_str(value).ok()
    }

    /// A passkey from the members of an object. `None` without an id, a site or a key. Texts that
    /// are missing or of another type are empty.
    pub(crate) fn of_members(mut members: Map<String, Value>) -> Option<Self> {
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let [credential_id, user_handle, key] = ["credentialId", "userHandle", "key"].map(|name| {
            let text = text(name);
            text.trim_end_matches('=').to_owned()
        });
        let passkey = Self {
            credential_id,
            rp_id: text("rpId"),
            username: text("username"),
            user_display_name: text("userDisplayName"),
            user_handle,
            key,
            other: members,
        };
        passkey.is_whole().then_some(passkey)
    }

    /// Whether it has an id, a site and a key, without which no program can use it.
    pub(crate) fn is_whole(&self) -> bool {
        let required = [&self.credential_id, &self.rp_id, &self.key];
        required.into_iter().all(|text| !text.is_empty())
    }

    /// Whether it is whole, and its bytes are base64url, as the exchange format requires.
    pub(crate) fn is_exact(&self) -> bool {
        let bytes = [&self.credential_id, &self.user_handle, &self.key];
        let mut bytes = bytes.into_iter();
        self.is_whole() && bytes.all(|text| BASE64URL_NOPAD.decode(text.as_bytes()).is_ok())
    }

    /// Whether it counts its uses. A copy of such a passkey has the same counter, which sites may
    /// refuse.
    pub(crate) fn has_counter(&self) -> bool {
        match self.other.get("counter") {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => !matches!(text.as_str(), "" | "0"),
            Some(counter) => counter.as_u64() != Some(0),
        }
    }

    /// Its members, as in the value of a field.
    pub(crate) fn into_members(self) -> Map<String, Value> {
        let mut members = self.other;
        for (name, text) in [
            ("credentialId", self.credential_id),
            ("rpId", self.rp_id),
            ("username", self.username),
            ("userDisplayName", self.user_display_name),
            ("userHandle", self.user_handle),
            ("key", self.key),
        ] {
            members.insert(name.to_owned(), text.into());
        }
        members
    }

    /// The value of a field.
    pub(crate) fn to_value(&self) -> Zeroizing<String> {
        Zeroizing::new(serde_json::to_string(self).expect("all members are texts or JSON"))
    }
}

/// The key of PKCS #8 for a key on the curve P-256, of which sources have the private number and
/// the point. All of them are base64url, as in a JSON Web Key.
pub(crate) fn pkcs8_of_p256(d: &str, x: &str, y: &str) -> Option<Zeroizing<String>> {
    // The DER of all such keys is the same but for the 96 bytes.
    const HEAD: &[u8] = b"\x30\x81\x87\x02\x01\x00\x30\x13\
        \x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\
        \x04\x6d\x30\x6b\x02\x01\x01\x04\x20";
    const POINT: &[u8] = b"\xa1\x44\x03\x42\x00\x04";
    let number = |text: &str| {
        let bytes = BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes());
        let bytes = Zeroizing::new(bytes.ok()?);
        (bytes.len() == 32).then_some(bytes)
    };
    let (d, x, y) = (number(d)?, number(x)?, number(y)?);
    let der = Zeroizing::new([HEAD, &d, POINT, &x, &y].concat());
    Some(Zeroizing::new(BASE64URL_NOPAD.encode(&der)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example on the page of formats.
    fn example() -> &'static str {
        let page = include_str!("../../../docs/formats.md");
        let mut lines = page.lines();
        let is_it = |line: &&str| line.starts_with("{\"credentialId\"");
        lines.find(is_it).expect("the page has an example")
    }

    #[test]
    fn the_page_has_a_passkey_as_it_is_stored() {
        let passkey = Passkey::parse(example()).unwrap();
        assert_eq!(passkey.to_value().as_str(), example());
        assert!(passkey.is_exact() && !passkey.has_counter());
        let page = include_str!("../../../docs/formats.md");
        for name in passkey.into_members().keys() {
            let is_named = page.contains(&format!("| `{name}` |")) || name == "counter";
            assert!(is_named, "{name}");
        }
    }

    #[test]
    fn members_make_the_passkey_that_has_them() {
        let passkey = Passkey::parse(example()).unwrap();
        let again = Passkey::of_members(passkey.clone().into_members()).unwrap();
        assert_eq!(again.to_value(), passkey.to_value());
        for required in ["credentialId", "rpId", "key"] {
            let mut members = passkey.clone().into_members();
            members.insert(required.to_owned(), Value::Null);
            assert!(Passkey::of_members(members).is_none(), "{required}");
            let value = passkey.to_value();
            let mut value: Map<_, _> = serde_json::from_str(&value).unwrap();
            value.insert(required.to_owned(), Value::from(""));
            let broken = Passkey::parse(&Value::from(value).to_string()).unwrap();
            assert!(!broken.is_exact(), "{required}");
        }
        let mut members = passkey.into_members();
        members.insert("username".to_owned(), Value::from(7));
        members.insert("userHandle".to_owned(), Value::from("_w=="));
        let odd = Passkey::of_members(members).unwrap();
        assert_eq!(
            (odd.username.as_str(), odd.user_handle.as_str()),
            ("", "_w")
        );
    }

    #[test]
    fn a_counter_is_one_unless_it_is_zero() {
        for (counter, has_counter) in [
            ("0", false),
            ("\"0\"", false),
            ("null", false),
            ("\"\"", false),
            ("1", true),
            ("\"12\"", true),
            ("true", true),
        ] {
            let value = example().replace("\"counter\":0", &format!("\"counter\":{counter}"));
            let passkey = Passkey::parse(&value).unwrap();
            assert_eq!(passkey.has_counter(), has_counter, "{counter}");
        }
    }

    #[test]
    fn a_key_on_p_256_is_the_der_that_openssl_writes() {
        let key = pkcs8_of_p256(
            "EjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJCrze8",
            "Rxw-dYxJBChbun5TEY7Q9SSt6wdX0lvS-Oew1236cUw",
            "3VIPesqKi5F6zDf1HejwybvjrYWDgucC3CWhLQn3qFg",
        );
        let expected = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgEjRWeJCrze8SNFZ4kKvN7xI0Vni\
                        Qq83vEjRWeJCrze-hRANCAARHHD51jEkEKFu6flMRjtD1JK3rB1fSW9L457DXbfpxTN1SD3rKio\
                        uResw39R3o8Mm7462Fg4LnAtwloS0J96hY";
        assert_eq!(key.unwrap().as_str(), expected);
        assert!(pkcs8_of_p256("AA", "AA", "AA").is_none());
    }
}
