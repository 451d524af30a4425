//! A passkey as the value of one field: JSON with the members of a passkey in FIDO's Credential
//! Exchange Format, and what a source has beyond them.

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
