//! A passkey as the value of one field: JSON with the members of a passkey in FIDO's Credential
//! Exchange Format, and what a source has beyond them.

use data_encoding::BASE64URL_NOPAD;
use passmate_vault::login::FieldRole;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::ImportError;
use crate::read::item::Builder;

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
        let required = [&passkey.credential_id, &passkey.rp_id, &passkey.key];
        let is_whole = required.into_iter().all(|text| !text.is_empty());
        is_whole.then_some(passkey)
    }

    /// Whether its bytes are base64url, as the exchange format requires.
    pub(crate) fn is_exact(&self) -> bool {
        let bytes = [&self.credential_id, &self.user_handle, &self.key];
        bytes
            .into_iter()
            .all(|text| BASE64URL_NOPAD.decode(text.as_bytes()).is_ok())
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

impl Builder<'_> {
    /// Adds a passkey as a field.
    pub(crate) fn add_passkey(&mut self, passkey: &Passkey) -> Result<(), ImportError> {
        self.add(FieldRole::Passkey.name(), passkey.to_value().as_str())
    }
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
}
