//! FIDO's Credential Exchange Format (CXF), not encrypted.
//!
//! Each record is an item, and folders are collections. Fields become credentials by the table in
//! `syntax::cxf`, and those without a place in it are custom fields. Where a record has another name
//! for a field than the table, an extension has that name, so that our own import gets it back.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use passmate_vault::Vault;
use passmate_vault::login::{FieldRole, is_secret, role_of};
use passmate_vault::otp::{OtpAuth, OtpKind};
use passmate_vault::record::Domain;
use passmate_vault::view::{ViewField, ViewRecord};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Entry, Notices, entries};
use crate::crypto::sha256;
use crate::loss::Loss;
use crate::passkey::Passkey;
use crate::syntax::cxf::{
    BASIC_AUTH, DEPTH_MAX, EXTENSION, EXTENSION_NAMES, EXTENSION_VALUES, Form, KINDS, Kind, Member,
    der_of, year_month_of,
};

/// The longest id of an item, in bytes.
const ID_LEN_MAX: usize = 64;
/// The longest period of one-time codes, in seconds.
const PERIOD_MAX: u64 = 255;
/// The fields in which importers put the end of a card, if its format has two members for it.
const EXPIRY: [[&str; 2]; 2] = [
    ["exp year", "exp month"],
    ["expiration year", "expiration month"],
];
const PRIVATE_KEY: &str =
    "its private key is exported as text: it is no PEM of PKCS #8, or there is no type of the key";
/// The beginning of the address of an Android app.
const ANDROID: &str = "androidapp://";

pub(super) fn write(vault: &Vault, notices: &mut Notices) -> Zeroizing<Vec<u8>> {
    let view = vault.view();
    let mut root = Collection::default();
    let mut items = Vec::new();
    let (mut newest, mut with_history) = (0, 0);
    for entry in entries(&view) {
        let id = id_of(entry.record.id.as_text().as_bytes());
        let mut item = Item::new(&entry, notices);
        item.put_folders(&mut root, &id);
        let modified = entry.record.fields();
        let modified = modified.filter_map(|field| field.stamp.seconds()).max();
        newest = modified.unwrap_or(0).max(newest);
        with_history += usize::from(has_former_values(&entry.record));
        items.push(item.into_value(&id, modified));
    }
    match with_history {
        0 => {}
        1 => notices
            .losses
            .push(Loss::of_file("the former values of 1 record")),
        count => notices.losses.push(Loss::of_file(format!(
            "the former values of {count} records"
        ))),
    }
    let all = json!({
        "version": { "major": 1, "minor": 0 },
        "exporterRpId": "passmate.invalid",
        "exporterDisplayName": "Passmate",
        // The time of the newest value: a writer has no clock.
        "timestamp": newest,
        "accounts": [{
            "id": id_of(b"passmate"),
            "username": "",
            "email": "",
            "collections": root.into_values(""),
            "items": items,
        }],
    });
    let mut bytes = Zeroizing::new(Vec::new());
    serde_json::to_writer_pretty(&mut *bytes, &all).expect("a Vec takes all bytes");
    bytes.push(b'\n');
    bytes
}

/// An id in base64url. The format limits its length.
fn id_of(bytes: &[u8]) -> String {
    if bytes.len() > ID_LEN_MAX {
        BASE64URL_NOPAD.encode(&sha256(&[bytes]))
    } else {
        BASE64URL_NOPAD.encode(bytes)
    }
}

fn has_former_values(record: &ViewRecord<'_>) -> bool {
    record.record.fields().any(|changes| {
        let is_user = |domain| domain == Domain::User;
        let mut values = changes
            .iter()
            .filter(|change| is_user(change.key.domain))
            .filter_map(|change| change.value.shown());
        let first = values.next();
        values.any(|value| Some(value) != first)
    })
}

/// A folder.
#[derive(Default)]
struct Collection {
    items: Vec<Value>,
    inner: BTreeMap<String, Self>,
}

impl Collection {
    /// The collections in this one, whose path is `path`.
    fn into_values(self, path: &str) -> Vec<Value> {
        let values = self.inner.into_iter().map(|(title, mut collection)| {
            let path = format!("{path}/{title}");
            let items = std::mem::take(&mut collection.items);
            let mut value = json!({
                "id": BASE64URL_NOPAD.encode(&sha256(&[path.as_bytes()])),
                "title": title,
                "items": items,
            });
            let inner = collection.into_values(&path);
            if let (Some(members), false) = (value.as_object_mut(), inner.is_empty()) {
                members.insert("subCollections".to_owned(), inner.into());
            }
            value
        });
        values.collect()
    }
}

/// A record that is being sorted into credentials.
struct Item<'e, 'a> {
    entry: &'e Entry<'a>,
    /// The fields that have no place yet.
    rest: Vec<ViewField<'a>>,
    credentials: Vec<Value>,
    notices: &'e mut Notices,
}

impl<'e, 'a> Item<'e, 'a> {
    fn new(entry: &'e Entry<'a>, notices: &'e mut Notices) -> Self {
        let login = &entry.login;
        let rest = [&login.user, &login.password].into_iter().flatten();
        Self {
            entry,
            rest: rest.chain(&login.others).cloned().collect(),
            credentials: Vec::new(),
            notices,
        }
    }

    fn loss(&self, what: &str) -> Loss {
        Loss::new(self.entry.path(), what)
    }

    fn lose(&mut self, what: &str) {
        let loss = self.loss(what);
        self.notices.losses.push(loss);
    }

    /// Says that something is in the file, but not where other programs look for it.
    fn warn(&mut self, what: &str) {
        let warning = self.loss(what);
        self.notices.warnings.push(warning);
    }

    fn put_folders(&mut self, root: &mut Collection, id: &str) {
        let folders: Vec<&str> = self.entry.folder.split('/').collect();
        if folders.len() > DEPTH_MAX {
            self.lose("its folders beyond the 32 outermost ones");
        }
        let mut place = root;
        for folder in folders.into_iter().take(DEPTH_MAX) {
            if !folder.is_empty() {
                place = place.inner.entry(folder.to_owned()).or_default();
            }
        }
        place.items.push(json!({ "item": id }));
    }

    fn into_value(mut self, id: &str, modified: Option<i64>) -> Value {
        // Kinds that are marked by a field go before the login, which has any password.
        for kind in KINDS {
            self.put_kind(kind);
        }
        self.put_otp();
        self.put_passkeys();
        if let Some(notes) = &self.entry.login.notes {
            let content = editable(Form::Text, &notes.value.to_string_lossy());
            let content = with_names(content, FieldRole::Notes.name(), &[notes]);
            self.credentials
                .push(json!({ "type": "note", "content": content }));
        }
        let tags = self.take_role(FieldRole::Tags);
        let favourite = self.take_favourite();
        self.put_custom_fields();
        let mut value = json!({
            "id": id,
            "title": self.entry.name,
            "credentials": self.credentials,
        });
        let Some(members) = value.as_object_mut() else {
            return value;
        };
        if let Some(modified) = modified.filter(|modified| *modified >= 0) {
            members.insert("modifiedAt".to_owned(), modified.into());
        }
        if let Some(scope) = scope_of(self.entry) {
            members.insert("scope".to_owned(), scope);
        }
        if let Some(tags) = tags {
            let tags = tags.value.to_string_lossy();
            let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
            members.insert("tags".to_owned(), tags.collect::<Vec<_>>().into());
        }
        if favourite {
            members.insert("favorite".to_owned(), true.into());
        }
        value
    }

    /// Takes the fields of a credential, if the record has one that marks it.
    fn put_kind(&mut self, kind: &Kind) {
        let is_marked = kind.members.iter().any(|member| {
            member.is_mark && self.position(member).is_some_and(|(_, is_good)| is_good)
        });
        if kind.word == "ssh-key" && self.rest.iter().any(is_private_key) {
            if !is_marked {
                self.warn(PRIVATE_KEY);
                return;
            }
            return self.put_ssh_key(kind);
        }
        if is_marked || kind.word == BASIC_AUTH {
            let members = self.take_members(kind);
            self.put_credential(kind, members);
        }
    }

    fn put_credential(&mut self, kind: &Kind, mut members: Vec<(String, Value)>) {
        if !members.is_empty() {
            members.push(("type".to_owned(), kind.word.into()));
            let members: serde_json::Map<_, _> = members.into_iter().collect();
            self.credentials.push(Value::Object(members));
        }
    }

    fn take_members(&mut self, kind: &Kind) -> Vec<(String, Value)> {
        let mut members = Vec::new();
        for member in kind.members {
            if let Some((place, true)) = self.position(member) {
                let field = self.rest.remove(place);
                let text = field.value.to_string_lossy();
                let value = match member.form {
                    Form::Plain => Value::from(text.as_ref()),
                    Form::PrivateKey => BASE64URL_NOPAD
                        .encode(&der_of(&text).unwrap_or_default())
                        .into(),
                    Form::YearMonth => {
                        let value = year_month_of(&[&text]).unwrap_or_default();
                        with_names(editable(member.form, &value), member.field, &[&field])
                    }
                    form => with_names(editable(form, &text), member.field, &[&field]),
                };
                members.push((member.name.to_owned(), value));
            } else if member.form == Form::YearMonth && member.name == "expiryDate" {
                members.extend(
                    self.take_expiry()
                        .map(|value| (member.name.to_owned(), value)),
                );
            }
        }
        members
    }

    /// A year and a month in two fields, as one value.
    fn take_expiry(&mut self) -> Option<Value> {
        let place = |name: &str| {
            let is_it = |field: &ViewField<'_>| field.name.as_bytes() == name.as_bytes();
            self.rest.iter().position(is_it)
        };
        let places = EXPIRY
            .iter()
            .find_map(|[year, month]| Some((place(year)?, place(month)?)));
        let (year_place, month_place) = places?;
        let (year, month) = (self.rest.get(year_place)?, self.rest.get(month_place)?);
        let text = year_month_of(&[year.value.as_str()?, month.value.as_str()?])?;
        let value = editable(Form::YearMonth, &text);
        let value = with_names(value, "", &[year, month]);
        self.rest.remove(year_place.max(month_place));
        self.rest.remove(year_place.min(month_place));
        Some(value)
    }

    /// A key needs its type, which is that of the public key if no field tells it.
    fn put_ssh_key(&mut self, kind: &Kind) {
        let value_of = |name: &str| {
            let is_it = |field: &&ViewField<'_>| field.name.as_bytes() == name.as_bytes();
            let field = self.rest.iter().find(is_it);
            field.map(|field| field.value.to_string_lossy().into_owned())
        };
        let public = value_of("public key").unwrap_or_default();
        let of_public = public.split_once(' ').map(|(word, _)| word.to_owned());
        let Some(key_type) = value_of("key type").or(of_public) else {
            return self.warn(PRIVATE_KEY);
        };
        let mut members = self.take_members(kind);
        if !members.iter().any(|(name, _)| name == "keyType") {
            members.push(("keyType".to_owned(), key_type.into()));
        }
        self.put_credential(kind, members);
    }

    /// Where a field for this member is, and whether its value has the member's form.
    fn position(&self, member: &Member) -> Option<(usize, bool)> {
        let is_name = |field: &ViewField<'_>, name: &str| {
            let field = field.name.as_str();
            field.is_some_and(|field| field.eq_ignore_ascii_case(name))
        };
        let login = &self.entry.login;
        // The user name and the password have several names, and only one of them has the role.
        let of_role = match member.field {
            "user" => Some(&login.user),
            "password" => Some(&login.password),
            _ => None,
        };
        let place = match of_role {
            Some(Some(of_role)) => self
                .rest
                .iter()
                .position(|field| field.name == of_role.name),
            Some(None) => None,
            None => {
                let mut names = [member.field]
                    .into_iter()
                    .chain(member.others.iter().copied());
                names.find_map(|name| self.rest.iter().position(|field| is_name(field, name)))
            }
        };
        let place = place?;
        let value = &self.rest.get(place)?.value;
        let is_good = value
            .as_str()
            .is_some_and(|value| member.form.accepts(value));
        Some((place, is_good))
    }

    fn put_otp(&mut self) {
        let Some(otp) = &self.entry.login.otp else {
            return;
        };
        let auth = OtpAuth::parse(&otp.value.to_string_lossy());
        let (auth, period) = match auth.map(|auth| (auth.kind, auth)) {
            Ok((OtpKind::Timed { period }, auth)) if period <= PERIOD_MAX => (auth, period),
            _ => {
                self.rest.push(otp.clone());
                return self.warn(
                    "its one-time codes are exported as text: the format has only codes that \
                     follow the time",
                );
            }
        };
        let mut credential = json!({
            "type": "totp",
            "secret": auth.secret_in_base32().as_str(),
            "period": period,
            "digits": auth.digits,
            "algorithm": auth.algorithm.name().to_ascii_lowercase(),
        });
        if let Some(members) = credential.as_object_mut() {
            for (name, text) in [("username", auth.label), ("issuer", auth.issuer)] {
                if !text.is_empty() {
                    members.insert(name.to_owned(), text.into());
                }
            }
        }
        self.credentials.push(credential);
    }

    fn put_passkeys(&mut self) {
        let number_of = |field: &ViewField<'_>| {
            let name = field.name.to_string_lossy().to_lowercase();
            let number = name.strip_prefix(FieldRole::Passkey.name())?;
            match number {
                "" => Some(1),
                _ => number.strip_prefix(' ')?.parse::<u32>().ok(),
            }
        };
        let mut fields: Vec<_> = self
            .rest
            .extract_if(.., |field| number_of(field).is_some())
            .collect();
        fields.sort_by_key(number_of);
        for field in fields {
            let passkey = Passkey::parse(&field.value.to_string_lossy());
            match passkey.filter(Passkey::is_exact) {
                Some(passkey) if passkey.has_counter() => {
                    self.lose("a passkey that counts its uses: the format forbids to export it")
                }
                Some(passkey) => {
                    let mut members = passkey.into_members();
                    members.insert("type".to_owned(), "passkey".into());
                    self.credentials.push(members.into());
                }
                None => {
                    self.rest.push(field);
                    self.warn("a passkey is exported as text: it lacks what the format requires");
                }
            }
        }
    }

    fn take_role(&mut self, role: FieldRole) -> Option<ViewField<'a>> {
        let is_it = |field: &ViewField<'_>| role_of(&field.name.to_string_lossy()) == Some(role);
        let place = self.rest.iter().position(is_it)?;
        Some(self.rest.remove(place))
    }

    /// Whether the record is a favourite. Another value than `yes` stays a field.
    fn take_favourite(&mut self) -> bool {
        let Some(field) = self.take_role(FieldRole::Favourite) else {
            return false;
        };
        let is_favourite = field.value.as_str() == Some("yes");
        if !is_favourite {
            self.rest.push(field);
        }
        is_favourite
    }

    fn put_custom_fields(&mut self) {
        let fields: Vec<Value> = self
            .rest
            .iter()
            .map(|field| {
                let name = field.name.to_string_lossy();
                let form = if is_secret(&name) {
                    Form::Secret
                } else {
                    Form::Text
                };
                let mut value = editable(form, &field.value.to_string_lossy());
                if let Some(members) = value.as_object_mut() {
                    members.insert("label".to_owned(), name.as_ref().into());
                }
                value
            })
            .collect();
        if !fields.is_empty() {
            self.credentials
                .push(json!({ "type": "custom-fields", "fields": fields }));
        }
    }
}

fn is_private_key(field: &ViewField<'_>) -> bool {
    field.name.as_bytes() == b"private key"
}

/// A value with its type.
fn editable(form: Form, value: &str) -> Value {
    json!({ "fieldType": form.field_type(), "value": value })
}

/// Adds our extension, if the fields have another name than the member, or their values another form
/// than that of the member.
fn with_names(mut value: Value, member: &str, fields: &[&ViewField<'_>]) -> Value {
    let texts = |of: fn(&ViewField<'_>) -> String| -> Vec<String> {
        fields.iter().map(|field| of(field)).collect()
    };
    let names = texts(|field| field.name.to_string_lossy().into_owned());
    let values = texts(|field| field.value.to_string_lossy().into_owned());
    let is_same = value.get("value").and_then(Value::as_str) == values.first().map(String::as_str);
    if is_same && names == [member] {
        return value;
    }
    let mut extension = json!({ "name": EXTENSION, EXTENSION_NAMES: names });
    if let (Some(members), false) = (extension.as_object_mut(), is_same) {
        members.insert(EXTENSION_VALUES.to_owned(), values.into());
    }
    if let Some(members) = value.as_object_mut() {
        members.insert("extensions".to_owned(), json!([extension]));
    }
    value
}

/// The addresses and apps in which an item is used.
fn scope_of(entry: &Entry<'_>) -> Option<Value> {
    let login = &entry.login;
    let urls = login.url.iter().chain(&login.further_urls);
    let urls: Vec<_> = urls.map(|field| field.value.to_string_lossy()).collect();
    // The import has apps after addresses, so an app before an address stays an address.
    let apps = urls
        .iter()
        .rev()
        .take_while(|url| url.starts_with(ANDROID))
        .count();
    let (urls, apps) = urls.split_at_checked(urls.len().checked_sub(apps)?)?;
    let apps: Vec<Value> = apps
        .iter()
        .map(|app| json!({ "bundleId": app.strip_prefix(ANDROID) }))
        .collect();
    let is_empty = urls.is_empty() && apps.is_empty();
    (!is_empty).then(|| json!({ "urls": urls, "androidApps": apps }))
}

#[cfg(test)]
mod tests {
    use credential_exchange_format::{Credential, Header};

    use super::*;
    use crate::read::{Format, ReadOptions, parse};

    const HOSTILE: &str = "a\"b\\c\u{0}\u{1b}[2J\u{202e}\r\n\t😀 =1+1 é\u{301}&amp;";
    const PASSKEY: &str = r#"{"credentialId":"AAEC","rpId":"shop.example","username":"bob","userDisplayName":"Bob","userHandle":"_-8","key":"MIGHAgEA"}"#;

    #[test]
    fn a_passkey_without_an_id_a_site_or_a_key_is_a_custom_field() {
        for part in ["AAEC", "shop.example", "MIGHAgEA"] {
            let broken = PASSKEY.replace(part, "");
            let mut vault = Vault::new();
            vault.create_record("A".into(), "a", 1).unwrap();
            let id = "A".into();
            vault.set(&id, "passkey", broken.as_str(), 2).unwrap();
            let mut notices = Notices::default();
            let bytes = write(&vault, &mut notices);
            let json: Value = serde_json::from_slice(&bytes).unwrap();
            let credentials = json.pointer("/accounts/0/items/0/credentials").unwrap();
            assert_eq!(credentials[0]["type"], "custom-fields", "{part}");
            assert_eq!(credentials[0]["fields"][0]["value"], broken);
            assert_eq!(
                (credentials[1].is_null(), notices.warnings.len()),
                (true, 1)
            );
        }
    }

    fn pem() -> String {
        crate::syntax::cxf::pem_of(&[7; 100])
    }

    /// Records of every kind, each with a field of no kind and hostile values.
    fn records() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
        let text = |fields: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect()
        };
        let address = "otpauth://totp/Shop:bob?secret=JBSWY3DPEHPK3PXP&period=60&digits=8&issuer=Shop&algorithm=SHA256";
        let mut ssh = text(&[
            ("public key", "ssh-ed25519 AAAA bob"),
            ("key comment", HOSTILE),
        ]);
        ssh.push(("private key", pem()));
        let mut own_type = text(&[("key type", "ssh-rsa"), ("creation date", "2030-12-01")]);
        own_type.push(("private key", pem()));
        let mut no_type = text(&[("notes", "n")]);
        no_type.push(("private key", pem()));
        vec![
            ("empty", text(&[])),
            (
                "a/b/login",
                text(&[
                    ("user", HOSTILE),
                    ("password", HOSTILE),
                    ("url", "https://a"),
                    ("url 2", "x"),
                    ("url 3", "androidapp://org.x"),
                    ("otp", address),
                    ("notes", HOSTILE),
                    ("passkey", PASSKEY),
                    ("passkey 2", PASSKEY),
                    ("tags", "one, twö"),
                    ("favourite", "yes"),
                    ("expires", "2030-01-01T00:00:00Z"),
                    ("a\"b\\c 😀 =1/2", HOSTILE),
                ]),
            ),
            (
                "a/b/other names",
                text(&[
                    ("Login", "l"),
                    ("user 2", "x"),
                    ("email", "e"),
                    ("pass", "p"),
                    ("secret", "s"),
                    ("comment", "c"),
                    ("Password", "P"),
                    ("note 2", "n"),
                ]),
            ),
            (
                "a/apps",
                text(&[
                    ("url", "androidapp://org.x"),
                    ("url 2", "https://a"),
                    ("favourite", "no"),
                ]),
            ),
            (
                "a/card",
                text(&[
                    ("cardholder name", HOSTILE),
                    ("number", "4111"),
                    ("brand", "Visa"),
                    ("code", "123"),
                    ("exp year", "2030"),
                    ("exp month", "2"),
                    ("pin", "1"),
                    ("password", "p"),
                ]),
            ),
            (
                "a/card 2",
                text(&[
                    ("card number", "4"),
                    ("exp year", "2030"),
                    ("exp month", "02"),
                    ("valid from", "01/20"),
                    ("CVV", "1"),
                ]),
            ),
            (
                "a/card 3",
                text(&[
                    ("card number", "4"),
                    ("expiration date", "2030-12"),
                    ("valid from", "2020-01"),
                    ("expiry date 2", "x"),
                ]),
            ),
            (
                "a/card 4",
                text(&[
                    ("card number", "4"),
                    ("expiration month", "03"),
                    ("expiration year", "2030"),
                    ("Valid From", "1/2020"),
                ]),
            ),
            (
                "a/card 5",
                text(&[
                    ("card number", "4"),
                    ("expiry date", "soon"),
                    ("exp year", "2030"),
                    ("exp month", "13"),
                ]),
            ),
            (
                "a/identity",
                text(&[
                    ("title", "Dr"),
                    ("first name", HOSTILE),
                    ("middle name", "m"),
                    ("last name", "l"),
                    ("address1", "s"),
                    ("address2", "t"),
                    ("zip", "1"),
                    ("city", "c"),
                    ("state", "Bavaria"),
                    ("country", "DE"),
                    ("phone", "+1"),
                    ("email", "e"),
                    ("passport number", "P1"),
                    ("license number", "L1"),
                    ("full name", "f"),
                    ("birth date", "1983-04-01"),
                    ("expiry date", "soon"),
                    ("company", "c"),
                ]),
            ),
            (
                "a/document",
                text(&[
                    ("document number", "D"),
                    ("issuing country", "de"),
                    ("sex", "x"),
                    ("issue date", "2030-02-30"),
                ]),
            ),
            (
                "a/wifi",
                text(&[
                    ("ssid", HOSTILE),
                    ("password", "p"),
                    ("Security", "wpa2-personal"),
                    ("hidden", "yes"),
                ]),
            ),
            (
                "a/api",
                text(&[
                    ("api key", HOSTILE),
                    ("username", "u"),
                    ("password", "p"),
                    ("url", "https://a"),
                    ("valid from", "2030-01-01"),
                ]),
            ),
            ("ssh/own", ssh),
            ("ssh/type", own_type),
            ("ssh/no type", no_type),
            (
                "ssh/open",
                text(&[
                    (
                        "private key",
                        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
                    ),
                    ("key type", "ssh-rsa"),
                ]),
            ),
            ("otp/steam", text(&[("otp", "steam://JBSWY3DP")])),
            (
                "otp/counted",
                text(&[("totp", "otpauth://hotp/x?secret=JBSWY3DP&counter=1")]),
            ),
            (
                "otp/none",
                text(&[("otp", "no secret!"), ("passkey", "no passkey")]),
            ),
        ]
    }

    fn vault() -> Vault {
        let mut vault = Vault::new();
        for (place, (path, fields)) in records().into_iter().enumerate() {
            let id = passmate_vault::RecordId::from(format!("{place}{}", "i".repeat(60)).as_str());
            vault.create_record(id.clone(), path, 5).unwrap();
            for (name, value) in fields {
                vault.set(&id, name, value.as_str(), 7).unwrap();
            }
        }
        vault
    }

    /// The fields of each path, sorted by their names.
    fn sorted<'a>(
        records: impl IntoIterator<Item = (&'a str, Vec<(String, String)>)>,
    ) -> BTreeMap<&'a str, Vec<(String, String)>> {
        let sort = |(path, mut fields): (&'a str, Vec<(String, String)>)| {
            fields.sort();
            (path, fields)
        };
        records.into_iter().map(sort).collect()
    }

    #[test]
    fn an_export_is_imported_as_it_was() {
        let mut notices = Notices::default();
        let bytes = write(&vault(), &mut notices);
        let imported = parse(Format::Cxf, &bytes, ReadOptions::default()).unwrap();
        assert_eq!(imported.losses, []);
        assert_eq!(notices.losses, []);
        let items = imported.items.iter().map(|item| {
            let fields = item.fields.iter();
            let fields = fields.map(|field| (field.name.clone(), field.value.as_str().to_owned()));
            (item.path.as_str(), fields.collect())
        });
        let records = records();
        let expected = records.iter().map(|(path, fields)| {
            let fields = fields.iter();
            let fields = fields.map(|(field, value)| ((*field).to_owned(), value.clone()));
            (*path, fields.collect())
        });
        let (found, expected) = (sorted(items), sorted(expected));
        for (path, fields) in &expected {
            assert_eq!(found.get(path), Some(fields), "{path}");
        }
        assert_eq!(found.len(), expected.len());
        assert!(
            imported
                .items
                .iter()
                .all(|item| item.modified.is_none_or(|time| time == 7))
        );
        let warned: Vec<_> = notices
            .warnings
            .iter()
            .map(|loss| loss.path.as_str())
            .collect();
        assert_eq!(
            warned,
            [
                "otp/counted",
                "otp/none",
                "otp/none",
                "otp/steam",
                "ssh/no type",
                "ssh/open"
            ]
        );
    }

    #[test]
    fn an_export_has_the_types_of_the_format() {
        let bytes = write(&vault(), &mut Notices::default());
        let text = std::str::from_utf8(&bytes).unwrap();
        let header: Header = serde_json::from_str(text).unwrap();
        let account = header.accounts.first().unwrap();
        assert_eq!(account.items.len(), records().len());
        let mut words = std::collections::BTreeSet::new();
        for item in &account.items {
            assert!(item.id.as_ref().len() <= ID_LEN_MAX);
            for credential in &item.credentials {
                assert!(
                    !matches!(credential, Credential::Unknown { .. }),
                    "{credential:?}"
                );
                // The crate keeps a value of another type than its member has, and says so.
                assert!(
                    !format!("{credential:?}").contains("Unexpected("),
                    "{credential:?}"
                );
                let value = serde_json::to_value(credential).unwrap();
                words.insert(value["type"].as_str().unwrap().to_owned());
            }
        }
        let expected = [
            "address",
            "api-key",
            "basic-auth",
            "credit-card",
            "custom-fields",
            "drivers-license",
            "identity-document",
            "note",
            "passkey",
            "passport",
            "person-name",
            "ssh-key",
            "totp",
            "wifi",
        ];
        assert_eq!(words.into_iter().collect::<Vec<_>>(), expected);
        // The crate writes what it read.
        let again = serde_json::to_value(&header).unwrap();
        let ours: Value = serde_json::from_str(text).unwrap();
        assert_eq!(again["accounts"][0]["items"], ours["accounts"][0]["items"]);
        assert_eq!(
            again["accounts"][0]["collections"],
            ours["accounts"][0]["collections"]
        );
    }

    #[test]
    fn a_passkey_stays_exact_unless_the_format_forbids_it() {
        let mut vault = Vault::new();
        let id = passmate_vault::RecordId::from("A");
        vault.create_record(id.clone(), "x", 1).unwrap();
        let with = PASSKEY.replace('}', r#","counter":0,"fido2Extensions":{"payments":true}}"#);
        let counted = PASSKEY.replace('}', r#","counter":"3"}"#);
        vault.set(&id, "passkey", with.as_str(), 2).unwrap();
        vault.set(&id, "passkey 2", counted.as_str(), 2).unwrap();
        let mut notices = Notices::default();
        let bytes = write(&vault, &mut notices);
        let imported = parse(Format::Cxf, &bytes, ReadOptions::default()).unwrap();
        let fields = &imported.items.first().unwrap().fields;
        let values: Vec<_> = fields.iter().map(|field| field.value.as_str()).collect();
        assert_eq!(values, [with.as_str()]);
        let what: Vec<_> = notices
            .losses
            .iter()
            .map(|loss| loss.what.as_str())
            .collect();
        assert_eq!(
            what,
            ["a passkey that counts its uses: the format forbids to export it"]
        );
    }

    #[test]
    fn a_value_that_another_program_changed_is_the_present_one() {
        let bytes = write(&vault(), &mut Notices::default());
        let text = std::str::from_utf8(&bytes).unwrap();
        let text = text.replace("\"2030-02\"", "\"2031-07\"");
        let imported = parse(Format::Cxf, text.as_bytes(), ReadOptions::default()).unwrap();
        let card = imported.items.iter().find(|item| item.path == "a/card");
        let is_expiry = |name: &str| name.starts_with("exp");
        let expiry: Vec<_> = card
            .unwrap()
            .fields
            .iter()
            .filter(|field| is_expiry(&field.name))
            .map(|field| (field.name.as_str(), field.value.as_str()))
            .collect();
        assert_eq!(expiry, [("expiry date", "2031-07")]);
    }

    #[test]
    fn deep_folders_and_former_values_are_losses() {
        let mut vault = Vault::new();
        let id = passmate_vault::RecordId::from("A");
        let deep = "f/".repeat(200);
        vault
            .create_record(id.clone(), format!("{deep}x").as_str(), 1)
            .unwrap();
        vault.set(&id, "password", "old", 2).unwrap();
        vault.set(&id, "password", "new", 3).unwrap();
        let mut notices = Notices::default();
        let bytes = write(&vault, &mut notices);
        let imported = parse(Format::Cxf, &bytes, ReadOptions::default()).unwrap();
        let path = &imported.items.first().unwrap().path;
        assert_eq!(*path, format!("{}x", "f/".repeat(DEPTH_MAX)));
        let what: Vec<_> = notices
            .losses
            .iter()
            .map(|loss| loss.what.as_str())
            .collect();
        assert_eq!(
            what,
            [
                "its folders beyond the 32 outermost ones",
                "the former values of 1 record"
            ]
        );
    }
}
