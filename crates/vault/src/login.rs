//! The meaning of field names: which field is the user name, which one is secret, and what kind of
//! record a set of fields makes.
//!
//! A field's name is free text, so the meaning is a convention. Every part of Passmate uses this
//! module: the terminal masks secret fields, exporters write the user name into another program's
//! place for it, importers name fields by their role. The rules are:
//!  - case does not matter, but if a record has a name in two spellings, the one in lower case has
//!    the role: `password` before `Password`;
//!  - a role has several names. If a record has more than one of them, the first in
//!    [`FieldRole::names`] has the role, and the others are ordinary fields;
//!  - a name with a number, such as `url 2`, is a further field of the same meaning. It never has
//!    the role, but is as secret as the field without a number;
//!  - a field whose name has no known meaning is secret.

use crate::view::{ViewField, ViewRecord};

/// The meaning of a field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FieldRole {
    /// The name with which one logs in.
    User,
    /// The password.
    Password,
    /// The address of the site or program.
    Url,
    /// The secret of one-time codes: an `otpauth:` address or a base32 text.
    Otp,
    /// Free text.
    Notes,
    /// The name of a wireless network.
    Ssid,
    /// The number or the holder of a payment card.
    Card,
    /// A part of a person's name.
    Person,
    /// A key that only its owner has, such as one of SSH.
    PrivateKey,
    /// A key that is meant for others.
    PublicKey,
    /// Tells a person which account this is, without being needed to log in.
    Label,
    /// What the site accepts as a password, in the syntax of Apple's `passwordrules`.
    PasswordRule,
    /// Words by which records are grouped, separated by commas.
    Tags,
    /// When the password is to be replaced or the account ends: a date or a time of RFC 3339.
    Expires,
    /// Set on the records that matter most.
    Favourite,
    /// A passkey, as JSON of FIDO's Credential Exchange Format.
    Passkey,
}

impl FieldRole {
    const ALL: [Self; 16] = [
        Self::User,
        Self::Password,
        Self::Url,
        Self::Otp,
        Self::Notes,
        Self::Ssid,
        Self::Card,
        Self::Person,
        Self::PrivateKey,
        Self::PublicKey,
        Self::Label,
        Self::PasswordRule,
        Self::Tags,
        Self::Expires,
        Self::Favourite,
        Self::Passkey,
    ];

    /// The name under which Passmate's own programs and importers store a field of this role.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.names() {
            [name, ..] => name,
            [] => "",
        }
    }

    /// The names with this role, in lower case, the preferred one first.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::User => &["user", "username", "login", "email", "e-mail"],
            Self::Password => &["password", "pass", "secret"],
            Self::Url => &["url", "website", "uri"],
            Self::Otp => &["otp", "totp", "2fa", "one-time password", "otpauth"],
            Self::Notes => &["notes", "note", "comment"],
            Self::Ssid => &["ssid"],
            Self::Card => &["card number", "cardholder name", "cardholder"],
            Self::Person => &["first name", "last name", "full name"],
            Self::PrivateKey => &["private key", "private-key", "private_key"],
            Self::PublicKey => &["public key", "public-key", "public_key", "fingerprint"],
            Self::Label => &["host", "account", "name"],
            Self::PasswordRule => &["password rule", "password rules", "passwordrules"],
            Self::Tags => &["tags"],
            Self::Expires => &["expires", "expiry"],
            Self::Favourite => &["favourite", "favorite"],
            Self::Passkey => &["passkey"],
        }
    }

    /// Whether a field with this role is masked on a screen and protected in an export.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        !matches!(
            self,
            Self::User
                | Self::Url
                | Self::Notes
                | Self::PublicKey
                | Self::Label
                | Self::PasswordRule
                | Self::Tags
                | Self::Expires
                | Self::Favourite
        )
    }

    /// The field of a record that has this role.
    #[must_use]
    pub fn find<'a>(self, record: &ViewRecord<'a>) -> Option<ViewField<'a>> {
        let mut fields: Vec<_> = record.fields().collect();
        self.take(&mut fields)
    }

    fn take<'a>(self, fields: &mut Vec<ViewField<'a>>) -> Option<ViewField<'a>> {
        let names: Vec<_> = fields
            .iter()
            .map(|field| field.name.to_string_lossy())
            .collect();
        let place = self.place(&names)?;
        Some(fields.remove(place))
    }

    /// Which of the fields of a record with these names has this role.
    #[must_use]
    pub fn place(self, names: &[impl AsRef<str>]) -> Option<usize> {
        self.names().iter().find_map(|known| {
            let same = names.iter().position(|name| name.as_ref() == *known);
            same.or_else(|| names.iter().position(|name| is_name(name.as_ref(), known)))
        })
    }

    /// Takes the further fields of this meaning, `NAME N`, in the order of their numbers.
    fn take_further<'a>(self, fields: &mut Vec<ViewField<'a>>) -> Vec<ViewField<'a>> {
        let number_of = |field: &ViewField<'_>| {
            let name = field.name.to_string_lossy();
            let (base, number) = split_number(&name)?;
            let is_known = self.names().iter().any(|known| is_name(base, known));
            is_known.then_some(number)
        };
        let mut further: Vec<_> = fields
            .extract_if(.., |field| number_of(field).is_some())
            .collect();
        further.sort_by_key(number_of);
        further
    }
}

/// The role of a field with this name, if it has one.
#[must_use]
pub fn role_of(name: &str) -> Option<FieldRole> {
    FieldRole::ALL
        .into_iter()
        .find(|role| role.names().iter().any(|other| is_name(name, other)))
}

/// Whether a field with this name is masked on a screen and protected in an export. True for every
/// name without a known meaning.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let base = split_number(name).map_or(name, |(base, _)| base);
    role_of(base).is_none_or(FieldRole::is_secret)
}

/// Whether this is the name of a further field of a role, such as `url 2`.
#[must_use]
pub fn is_further(name: &str, role: FieldRole) -> bool {
    let base = split_number(name).map(|(base, _)| base);
    base.is_some_and(|base| role.names().iter().any(|known| is_name(base, known)))
}

/// The parts of the name of a further field: `url` and 2 for `url 2`.
fn split_number(name: &str) -> Option<(&str, u32)> {
    let (base, number) = name.rsplit_once(' ')?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| number.parse().ok()).flatten()?;
    Some((base, number))
}

fn is_name(name: &str, known: &str) -> bool {
    name.eq_ignore_ascii_case(known)
}

/// The field from which a record's one-time codes are made: the one with the role
/// [`Otp`](FieldRole::Otp), else the first whose value is an `otpauth:` address.
#[must_use]
pub fn find_otp<'a>(record: &ViewRecord<'a>) -> Option<ViewField<'a>> {
    take_otp(&mut record.fields().collect())
}

fn take_otp<'a>(fields: &mut Vec<ViewField<'a>>) -> Option<ViewField<'a>> {
    FieldRole::Otp.take(fields).or_else(|| {
        let place = fields.iter().position(is_otp_address)?;
        Some(fields.remove(place))
    })
}

fn is_otp_address(field: &ViewField<'_>) -> bool {
    const SCHEME: &[u8] = b"otpauth://";
    let begin = field.value.as_bytes().get(..SCHEME.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(SCHEME))
}

/// A record in the terms that password managers share.
///
/// Each field of the record is in exactly one place.
#[derive(Clone, Debug)]
pub struct Login<'a> {
    /// The user name.
    pub user: Option<ViewField<'a>>,
    /// The password.
    pub password: Option<ViewField<'a>>,
    /// The address.
    pub url: Option<ViewField<'a>>,
    /// The further addresses: `url 2` and so on.
    pub further_urls: Vec<ViewField<'a>>,
    /// The secret of one-time codes.
    pub otp: Option<ViewField<'a>>,
    /// The notes.
    pub notes: Option<ViewField<'a>>,
    /// All other fields, in the order of their names.
    pub others: Vec<ViewField<'a>>,
}

impl<'a> Login<'a> {
    /// Sorts the fields of a record by their roles.
    #[must_use]
    pub fn of(record: &ViewRecord<'a>) -> Self {
        let mut fields: Vec<_> = record.fields().collect();
        Self {
            user: FieldRole::User.take(&mut fields),
            password: FieldRole::Password.take(&mut fields),
            url: FieldRole::Url.take(&mut fields),
            further_urls: FieldRole::Url.take_further(&mut fields),
            notes: FieldRole::Notes.take(&mut fields),
            otp: take_otp(&mut fields),
            others: fields,
        }
    }
}

/// The kind of a record, which follows from its fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A wireless network.
    Wifi,
    /// A payment card.
    Card,
    /// A person's data.
    Identity,
    /// A pair of keys, as for SSH, without a password.
    SshKey,
    /// An account on a site or in a program.
    Login,
    /// Text and nothing else.
    Note,
    /// None of these.
    Other,
}

impl Kind {
    /// The kind of a record. If its fields fit several kinds, the first in the order of the
    /// variants.
    #[must_use]
    pub fn of(record: &ViewRecord<'_>) -> Self {
        let roles: Vec<_> = record
            .fields()
            .map(|field| role_of(&field.name.to_string_lossy()))
            .collect();
        let has = |role| roles.contains(&Some(role));
        if has(FieldRole::Ssid) {
            Self::Wifi
        } else if has(FieldRole::Card) {
            Self::Card
        } else if has(FieldRole::Person) {
            Self::Identity
        } else if has(FieldRole::PrivateKey) && !has(FieldRole::Password) {
            Self::SshKey
        } else if has(FieldRole::User) || has(FieldRole::Password) || has(FieldRole::Url) {
            Self::Login
        } else if !roles.is_empty() && roles.iter().all(|role| *role == Some(FieldRole::Notes)) {
            Self::Note
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Vault;

    fn vault(fields: &[(&str, &str)]) -> Vault {
        let mut vault = Vault::new();
        vault.create_record("A".into(), "x", 1).unwrap();
        for (name, value) in fields {
            vault.set(&"A".into(), *name, *value, 2).unwrap();
        }
        vault
    }

    #[test]
    fn only_names_known_to_be_open_are_not_secret() {
        for name in [
            "user",
            "Username",
            "E-MAIL",
            "url",
            "uri",
            "Notes",
            "public key",
            "host",
            "name",
            "Password Rule",
            "url 2",
            "Notes 13",
            "expires",
            "Favorite",
        ] {
            assert!(!is_secret(name), "{name}");
        }
        for name in [
            "password",
            "otp",
            "private key",
            "pin",
            "ssid",
            "card number",
            "",
            "userx",
            "password 2",
            "url 2x",
            "url2",
        ] {
            assert!(is_secret(name), "{name}");
        }
    }

    #[test]
    fn the_page_lists_every_name_as_it_is_shown() {
        let page = include_str!("../../../docs/fields.md");
        for role in FieldRole::ALL {
            let names: Vec<_> = role
                .names()
                .iter()
                .map(|name| format!("`{name}`"))
                .collect();
            let shown = if role.is_secret() { "masked" } else { "yes" };
            let row = format!("| {} | {shown} |", names.join(", "));
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn a_name_has_one_role_and_a_role_its_preferred_name() {
        let mut names: Vec<_> = FieldRole::ALL
            .iter()
            .flat_map(|role| role.names())
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for role in FieldRole::ALL {
            assert_eq!(role_of(&role.name().to_uppercase()), Some(role));
        }
        assert_eq!(role_of("favourite colour"), None);
    }

    #[test]
    fn the_preferred_name_wins_and_the_others_stay_fields() {
        let vault = vault(&[
            ("Login", "bob"),
            ("email", "b@x"),
            ("pass", "p"),
            ("comment", "c"),
            ("pin", "1"),
        ]);
        let view = vault.view();
        let login = Login::of(view.get("x").unwrap());
        let value = |field: &Option<ViewField<'_>>| {
            field
                .as_ref()
                .map(|field| field.value.to_string_lossy().into_owned())
        };
        assert_eq!(value(&login.user).as_deref(), Some("bob"));
        assert_eq!(value(&login.password).as_deref(), Some("p"));
        assert_eq!(value(&login.notes).as_deref(), Some("c"));
        assert!(login.url.is_none() && login.otp.is_none());
        let others: Vec<_> = login
            .others
            .iter()
            .filter_map(|field| field.name.as_str())
            .collect();
        assert_eq!(others, ["email", "pin"]);
    }

    #[test]
    fn the_spelling_in_lower_case_has_the_role() {
        let vault = vault(&[
            ("Password", "router"),
            ("password", "wifi"),
            ("ssid", "net"),
        ]);
        let view = vault.view();
        let password = FieldRole::Password.find(view.get("x").unwrap()).unwrap();
        assert_eq!(password.value.to_string_lossy(), "wifi");
    }

    #[test]
    fn further_addresses_are_in_the_order_of_their_numbers() {
        let vault = vault(&[
            ("url 10", "c"),
            ("Website 2", "b"),
            ("url", "a"),
            ("url x", "other"),
            ("user 2", "other"),
        ]);
        let view = vault.view();
        let login = Login::of(view.get("x").unwrap());
        let values = |fields: &[ViewField<'_>]| -> Vec<String> {
            let values = fields.iter().map(|field| field.value.to_string_lossy());
            values.map(|value| value.into_owned()).collect()
        };
        assert_eq!(values(&login.further_urls), ["b", "c"]);
        assert_eq!(values(&login.others), ["other", "other"]);
    }

    #[test]
    fn an_otpauth_address_is_found_under_any_name() {
        let named = vault(&[("code", "OTPAUTH://totp/x"), ("TOTP", "GEZDGNBV")]);
        let unnamed = vault(&[("code", "OTPAUTH://totp/x"), ("pin", "1")]);
        let none = vault(&[("pin", "otpauth")]);
        let found = |vault: &Vault| {
            let view = vault.view();
            find_otp(view.get("x").unwrap()).map(|field| field.name.clone())
        };
        assert_eq!(found(&named), Some("TOTP".into()));
        assert_eq!(found(&unnamed), Some("code".into()));
        assert_eq!(found(&none), None);
        let view = unnamed.view();
        assert!(Login::of(view.get("x").unwrap()).otp.is_some());
    }

    #[test]
    fn the_kind_follows_from_the_fields() {
        for (fields, kind) in [
            (&["ssid", "password"][..], Kind::Wifi),
            (&["cardholder name", "number", "code", "notes"], Kind::Card),
            (&["first name", "last name", "email"], Kind::Identity),
            (&["private key", "public key", "user"], Kind::SshKey),
            (&["private key", "password"], Kind::Login),
            (&["pass"], Kind::Login),
            (&["url", "notes"], Kind::Login),
            (&["Notes"], Kind::Note),
            (&["notes", "pin"], Kind::Other),
            (&[], Kind::Other),
        ] {
            let fields: Vec<_> = fields.iter().map(|name| (*name, "v")).collect();
            let vault = vault(&fields);
            assert_eq!(Kind::of(vault.view().get("x").unwrap()), kind, "{fields:?}");
        }
    }
}
