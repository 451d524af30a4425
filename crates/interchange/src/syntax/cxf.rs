//! The parts of FIDO's Credential Exchange Format that reading and writing share: which member of
//! which kind of credential is which field.

use jiff::civil::Date;

/// The name of our extension. It has the names of the fields of a vault that are in a member, if
/// they are not those of the table, and their values, if they are written in another form.
pub(crate) const EXTENSION: &str = "passmate-fields";
/// The member of our extension that has the names.
pub(crate) const EXTENSION_NAMES: &str = "names";
/// The member of our extension that has the values.
pub(crate) const EXTENSION_VALUES: &str = "values";
/// The deepest nesting of collections that is written. Our reader takes more, others may not.
pub(crate) const DEPTH_MAX: usize = 32;

/// A kind of credential whose members are fields.
pub(crate) struct Kind {
    /// Its `type`.
    pub(crate) word: &'static str,
    pub(crate) members: &'static [Member],
}

/// A member of a credential.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    /// The name of the field.
    pub(crate) field: &'static str,
    /// Other names that importers give to such a field.
    pub(crate) others: &'static [&'static str],
    /// Whether a record that has the field is exported as this kind.
    pub(crate) is_mark: bool,
}

/// The form of a member's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    Text,
    Secret,
    Boolean,
    Date,
    YearMonth,
    Country,
    Subdivision,
    WifiSecurity,
    /// A text that is not an object with a `fieldType`.
    Plain,
    /// A private key: base64url of the DER of PKCS #8. Our field has it as PEM.
    PrivateKey,
}

impl Form {
    /// The `fieldType`; `None` if the member is a text alone.
    pub(crate) const fn field_type(self) -> Option<&'static str> {
        match self {
            Self::Text => Some("string"),
            Self::Secret => Some("concealed-string"),
            Self::Boolean => Some("boolean"),
            Self::Date => Some("date"),
            Self::YearMonth => Some("year-month"),
            Self::Country => Some("country-code"),
            Self::Subdivision => Some("subdivision-code"),
            Self::WifiSecurity => Some("wifi-network-security-type"),
            Self::Plain | Self::PrivateKey => None,
        }
    }

    /// Whether a value has this form.
    pub(crate) fn accepts(self, value: &str) -> bool {
        let is_upper = |part: &str| part.bytes().all(|byte| byte.is_ascii_uppercase());
        match self {
            Self::Text | Self::Secret | Self::Plain => true,
            Self::Boolean => matches!(value, "true" | "false"),
            Self::Date => value.len() == 10 && value.parse::<Date>().is_ok(),
            Self::YearMonth => year_month_of(&[value]).is_some(),
            Self::Country => value.len() == 2 && is_upper(value),
            Self::Subdivision => value.split_once('-').is_some_and(|(country, part)| {
                let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
                country.len() == 2
                    && is_upper(country)
                    && (1..=3).contains(&part.len())
                    && part.bytes().all(is_part)
            }),
            Self::WifiSecurity => matches!(
                value,
                "unsecured" | "wpa-personal" | "wpa2-personal" | "wpa3-personal" | "wep"
            ),
            Self::PrivateKey => der_of(value).is_some(),
        }
    }
}

/// A year and a month as the format has them, `2030-12`. They are in that form already, as `12/2030`
/// or `12/30`, or as two values, the year first.
pub(crate) fn year_month_of(values: &[&str]) -> Option<String> {
    let (year, month) = match values {
        [value] => match value.split_once('/') {
            Some((month, year)) => (year, month),
            None => value
                .split_once('-')
                .filter(|(_, month)| month.len() == 2)?,
        },
        [year, month] => (*year, *month),
        _ => return None,
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(year) || !is_number(month) || !(1..=2).contains(&month.len()) {
        return None;
    }
    let century = match year.len() {
        2 => "20",
        4 => "",
        _ => return None,
    };
    let text = format!("{century}{year}-{month:0>2}");
    format!("{text}-01").parse::<Date>().is_ok().then_some(text)
}

/// The DER in a private key, if [`pem_of`] makes the same text of it.
pub(crate) fn der_of(pem: &str) -> Option<Vec<u8>> {
    let body = pem.strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let lines: String = body.lines().collect();
    let der = data_encoding::BASE64.decode(lines.as_bytes()).ok()?;
    (pem_of(&der) == pem).then_some(der)
}

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----\n";
const PEM_END: &str = "-----END PRIVATE KEY-----\n";

/// The PEM of a private key in the DER of PKCS #8.
pub(crate) fn pem_of(der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let mut pem = PEM_BEGIN.to_owned();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(PEM_END);
    pem
}

const fn member(
    name: &'static str,
    form: Form,
    field: &'static str,
    others: &'static [&'static str],
) -> Member {
    Member {
        name,
        form,
        field,
        others,
        is_mark: false,
    }
}

const fn mark(
    name: &'static str,
    form: Form,
    field: &'static str,
    others: &'static [&'static str],
) -> Member {
    Member {
        is_mark: true,
        ..member(name, form, field, others)
    }
}

/// The kinds, in the order in which a record is sorted into them. `basic-auth` is not marked by a
/// field: it has the user name and the password of any record.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        word: "wifi",
        members: &[
            mark("ssid", Form::Text, "ssid", &[]),
            member("networkSecurityType", Form::WifiSecurity, "security", &[]),
            member("passphrase", Form::Secret, "password", &[]),
            member("hidden", Form::Boolean, "hidden", &[]),
        ],
    },
    Kind {
        word: "credit-card",
        members: &[
            mark("number", Form::Secret, "card number", &["number"]),
            mark("fullName", Form::Text, "cardholder name", &["cardholder"]),
            member("cardType", Form::Text, "brand", &["card type", "type"]),
            member(
                "verificationNumber",
                Form::Secret,
                "code",
                &[
                    "verification number",
                    "cvv",
                    "cvc",
                    "security code",
                    "card security code",
                ],
            ),
            member("pin", Form::Secret, "pin", &[]),
            member(
                "expiryDate",
                Form::YearMonth,
                "expiry date",
                &["expiration date", "card expiration date"],
            ),
            member("validFrom", Form::YearMonth, "valid from", &[]),
        ],
    },
    Kind {
        word: "person-name",
        members: &[
            member("title", Form::Text, "title", &[]),
            mark("given", Form::Text, "first name", &[]),
            member("givenInformal", Form::Text, "nickname", &[]),
            member("given2", Form::Text, "middle name", &[]),
            member("surnamePrefix", Form::Text, "last name prefix", &[]),
            mark("surname", Form::Text, "last name", &[]),
            member("surname2", Form::Text, "second last name", &[]),
            member("credentials", Form::Text, "credentials", &[]),
            member("generation", Form::Text, "generation", &[]),
        ],
    },
    Kind {
        word: "address",
        members: &[
            mark(
                "streetAddress",
                Form::Text,
                "street address",
                &["address1", "address", "street"],
            ),
            mark("postalCode", Form::Text, "postal code", &["zip"]),
            member("city", Form::Text, "city", &[]),
            member("territory", Form::Subdivision, "state", &[]),
            member("country", Form::Country, "country", &[]),
            member("tel", Form::Text, "phone", &[]),
        ],
    },
    Kind {
        word: "passport",
        members: &[
            mark("passportNumber", Form::Text, "passport number", &[]),
            mark("passportType", Form::Text, "passport type", &[]),
            member("issuingCountry", Form::Country, "issuing country", &[]),
            member(
                "nationalIdentificationNumber",
                Form::Text,
                "national identification number",
                &[],
            ),
            member("nationality", Form::Text, "nationality", &[]),
            member("fullName", Form::Text, "full name", &[]),
            member("birthDate", Form::Date, "birth date", &[]),
            member("birthPlace", Form::Text, "birth place", &[]),
            member("sex", Form::Text, "sex", &[]),
            member("issueDate", Form::Date, "issue date", &[]),
            member("expiryDate", Form::Date, "expiry date", &[]),
            member("issuingAuthority", Form::Text, "issuing authority", &[]),
        ],
    },
    Kind {
        word: "identity-document",
        members: &[
            mark("documentNumber", Form::Text, "document number", &[]),
            mark(
                "identificationNumber",
                Form::Text,
                "identification number",
                &[],
            ),
            member("issuingCountry", Form::Country, "issuing country", &[]),
            member("nationality", Form::Text, "nationality", &[]),
            member("fullName", Form::Text, "full name", &[]),
            member("birthDate", Form::Date, "birth date", &[]),
            member("birthPlace", Form::Text, "birth place", &[]),
            member("sex", Form::Text, "sex", &[]),
            member("issueDate", Form::Date, "issue date", &[]),
            member("expiryDate", Form::Date, "expiry date", &[]),
            member("issuingAuthority", Form::Text, "issuing authority", &[]),
        ],
    },
    Kind {
        word: "drivers-license",
        members: &[
            mark("licenseNumber", Form::Text, "license number", &[]),
            mark("licenseClass", Form::Text, "license class", &[]),
            member("territory", Form::Subdivision, "state", &[]),
            member("country", Form::Country, "country", &[]),
            member("fullName", Form::Text, "full name", &[]),
            member("birthDate", Form::Date, "birth date", &[]),
            member("issueDate", Form::Date, "issue date", &[]),
            member("expiryDate", Form::Date, "expiry date", &[]),
            member("issuingAuthority", Form::Text, "issuing authority", &[]),
        ],
    },
    Kind {
        word: "ssh-key",
        members: &[
            mark("privateKey", Form::PrivateKey, "private key", &[]),
            member("keyType", Form::Plain, "key type", &[]),
            member("keyComment", Form::Plain, "key comment", &[]),
            member("creationDate", Form::Date, "creation date", &[]),
            member("expiryDate", Form::Date, "expiry date", &[]),
            member("keyGenerationSource", Form::Text, "key source", &[]),
        ],
    },
    Kind {
        word: "api-key",
        members: &[
            mark("key", Form::Secret, "api key", &[]),
            member("username", Form::Text, "user", &[]),
            member("keyType", Form::Text, "api key type", &[]),
            member("url", Form::Text, "url", &[]),
            member("validFrom", Form::Date, "valid from", &[]),
            member("expiryDate", Form::Date, "expiry date", &[]),
        ],
    },
    Kind {
        word: BASIC_AUTH,
        members: &[
            member("username", Form::Text, "user", &[]),
            member("password", Form::Secret, "password", &[]),
        ],
    },
];

/// The kind that has user name and password.
pub(crate) const BASIC_AUTH: &str = "basic-auth";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_stays_the_same_text() {
        for der in [&b""[..], &[0; 47], &[7; 48], &[9; 200]] {
            let pem = pem_of(der);
            assert_eq!(der_of(&pem).as_deref(), Some(der));
            assert_eq!(der_of(&pem.replace('\n', "\r\n")), None);
        }
        assert_eq!(der_of("-----BEGIN OPENSSH PRIVATE KEY-----\n"), None);
    }

    #[test]
    fn a_year_and_a_month_have_several_forms() {
        for (values, text) in [
            (&["2030-12"][..], Some("2030-12")),
            (&["01/2030"], Some("2030-01")),
            (&["1/30"], Some("2030-01")),
            (&["2030", "3"], Some("2030-03")),
            (&["30", "03"], Some("2030-03")),
            (&["2030", "13"], None),
            (&["2030", "003"], None),
            (&["203", "3"], None),
            (&["", ""], None),
            (&["+230", "+3"], None),
        ] {
            assert_eq!(year_month_of(values).as_deref(), text, "{values:?}");
        }
    }

    #[test]
    fn forms_take_only_their_values() {
        for (form, good, bad) in [
            (
                Form::Date,
                "2030-02-28",
                &["2030-02-29", "2030-2-28", "2030-12", ""][..],
            ),
            (
                Form::YearMonth,
                "2030-12",
                &["2030-13", "2030", "2030-12-01", "2030-1", "/", "13/30"],
            ),
            (Form::Country, "DE", &["de", "DEU", "Germany"]),
            (
                Form::Subdivision,
                "US-CA",
                &["CA", "US-", "us-ca", "US-CALI"],
            ),
            (Form::Boolean, "true", &["yes", "True"]),
            (Form::WifiSecurity, "wep", &["WPA"]),
        ] {
            assert!(form.accepts(good), "{good}");
            bad.iter()
                .for_each(|bad| assert!(!form.accepts(bad), "{form:?} {bad}"));
        }
    }
}
