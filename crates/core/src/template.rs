//! What a new record of each kind asks for.

use passmate_interchange::host_of;
use passmate_vault::login::FieldRole;

use crate::answer::Reply;
use crate::api::VaultApi;
use crate::generate::site::SiteRule;

/// A kind of new record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// An account on a site or in a program.
    Login,
    /// A payment card.
    Card,
    /// A person's data.
    Identity,
    /// A pair of keys of SSH.
    Ssh,
    /// A wireless network.
    Wifi,
    /// A text.
    Note,
}

impl Template {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Login,
        Self::Card,
        Self::Identity,
        Self::Ssh,
        Self::Wifi,
        Self::Note,
    ];

    /// One word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Card => "card",
            Self::Identity => "identity",
            Self::Ssh => "ssh",
            Self::Wifi => "wifi",
            Self::Note => "note",
        }
    }

    /// The fields that a person is asked for, in this order. Exporters know their names. The fields
    /// of [`Template::Ssh`] come from a file.
    #[must_use]
    pub const fn fields(self) -> &'static [&'static str] {
        match self {
            // The address comes first: the rule for the password depends on it.
            Self::Login => &["url", "user", "password", "otp"],
            Self::Card => &[
                "cardholder name",
                "card number",
                "expiry date",
                "code",
                "pin",
                "notes",
            ],
            Self::Identity => &[
                "first name",
                "last name",
                "birth date",
                "email",
                "phone",
                "street address",
                "postal code",
                "city",
                "country",
            ],
            Self::Ssh => &["private key", "public key"],
            Self::Wifi => &["ssid", "password"],
            Self::Note => &["notes"],
        }
    }
}

/// Whether nobody may see a field of a template while it is typed. A name or a birth date is masked
/// later, and easier to type when it is seen.
#[must_use]
pub fn is_typed_hidden(name: &str) -> bool {
    matches!(
        name,
        "password" | "otp" | "card number" | "code" | "pin" | "private key"
    )
}

/// How many records are looked at for the rule of a site.
const RECORDS_MAX: usize = 20;

/// A rule that another record of the same site has, and the path of that record.
///
/// # Errors
/// The vault cannot be read.
pub fn rule_of_site(vault: &mut dyn VaultApi, url: &str) -> Reply<Option<(String, SiteRule)>> {
    let Some(host) = host_of(url) else {
        return Ok(None);
    };
    // The operator for an exact match; a host has no blanks or it would match nothing.
    for found in vault.search(&format!("'{host}"), RECORDS_MAX)? {
        let record = vault.record(&found.path)?;
        let is_of_site = |name: &str| {
            let field = record.field(name).ok();
            field.and_then(|field| host_of(&field.value).map(str::to_owned))
        };
        let mut names = FieldRole::Url.names().iter();
        let is_same = names
            .any(|name| is_of_site(name).is_some_and(|other| other.eq_ignore_ascii_case(host)));
        if !is_same {
            continue;
        }
        // A rule of another record that cannot be read is no reason to stop.
        if let Ok(Some(rule)) = vault.password_rule(&found.path) {
            return Ok(Some((found.path, rule)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use passmate_vault::Vault;
    use passmate_vault::login::Kind;

    use super::*;

    #[test]
    fn the_page_lists_the_fields_of_each_template() {
        let page = include_str!("../../../docs/fields.md");
        for template in Template::ALL {
            let row = page.lines().find(|line| {
                let name = format!("| `{}`", template.name());
                line.starts_with(&name)
                    && template
                        .fields()
                        .iter()
                        .all(|field| line.contains(&format!("`{field}`")))
            });
            assert!(row.is_some(), "{template:?}");
        }
    }

    #[test]
    fn a_record_of_a_template_is_of_its_kind() {
        for (template, kind) in [
            (Template::Login, Kind::Login),
            (Template::Card, Kind::Card),
            (Template::Identity, Kind::Identity),
            (Template::Ssh, Kind::SshKey),
            (Template::Wifi, Kind::Wifi),
            (Template::Note, Kind::Note),
        ] {
            let mut vault = Vault::new();
            vault.create_record("A".into(), "x", 1).unwrap();
            for name in template.fields() {
                vault.set(&"A".into(), *name, "x", 2).unwrap();
            }
            let view = vault.view();
            assert_eq!(Kind::of(view.get("x").unwrap()), kind, "{template:?}");
        }
    }
}
