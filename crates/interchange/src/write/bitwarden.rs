//! Bitwarden's JSON, not encrypted. Each record is an item in a folder, of the kind that fits its
//! fields: a login, a card, an identity, an SSH key, or else a note. Fields without a place of their
//! own are custom fields. Secret custom fields have the type "hidden".

mod limits;

use std::borrow::Cow;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jiff::Timestamp;
use passmate_vault::login::{FieldRole, Kind, is_secret};
use passmate_vault::otp::{OtpAuth, OtpKind};
use passmate_vault::record::{Change, Domain};
use passmate_vault::view::{View, ViewField};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{Entry, earlier_values, entries, value_of};
use crate::loss::Loss;
use crate::passkey::Passkey;
use crate::read::item::time_of as seconds_from;

/// The members of a card, and the names of the fields that they come from.
const CARD: &[(&str, &[&str])] = &[
    ("cardholderName", &["cardholder name", "cardholder"]),
    ("brand", &["brand"]),
    ("number", &["number", "card number"]),
    ("expMonth", &["exp month"]),
    ("expYear", &["exp year"]),
    ("code", &["code", "cvv", "cvc"]),
];
const IDENTITY: &[(&str, &[&str])] = &[
    ("title", &["title"]),
    ("firstName", &["first name"]),
    ("middleName", &["middle name"]),
    ("lastName", &["last name"]),
    ("address1", &["address1"]),
    ("address2", &["address2"]),
    ("address3", &["address3"]),
    ("city", &["city"]),
    ("state", &["state"]),
    ("postalCode", &["postal code"]),
    ("country", &["country"]),
    ("company", &["company"]),
    ("email", &["email"]),
    ("phone", &["phone"]),
    ("ssn", &["ssn"]),
    ("username", &["username"]),
    ("passportNumber", &["passport number"]),
    ("licenseNumber", &["license number"]),
];
const SSH_KEY: &[(&str, &[&str])] = &[
    ("privateKey", &["private key"]),
    ("publicKey", &["public key"]),
    ("keyFingerprint", &["key fingerprint", "fingerprint"]),
];

/// The object identifier of the curve P-256 in the DER of a key.
const P256: [u8; 10] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];

/// Writes a file. The warnings name what Bitwarden's server would refuse.
pub(super) fn write(view: &View<'_>, warnings: &mut Vec<Loss>) -> Zeroizing<Vec<u8>> {
    let entries: Vec<Entry<'_>> = entries(view).collect();
    let mut folders: Vec<&str> = entries.iter().map(|entry| entry.folder.as_str()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders.retain(|folder| !folder.is_empty());
    let folder_id = |folder: &str| {
        folders
            .binary_search(&folder)
            .ok()
            .map(|place| format!("folder-{}", place + 1))
    };
    let mut items = Vec::with_capacity(entries.len());
    for entry in &entries {
        let item = item(entry, folder_id(&entry.folder), warnings);
        limits::check(&item, &entry.path(), warnings);
        items.push(item);
    }
    for folder in &folders {
        limits::check_folder(folder, warnings);
    }
    let all = json!({
        "encrypted": false,
        "folders": folders
            .iter()
            .map(|folder| json!({ "id": folder_id(folder), "name": folder }))
            .collect::<Vec<_>>(),
        "items": items,
    });
    let mut bytes = Zeroizing::new(Vec::new());
    serde_json::to_writer_pretty(&mut *bytes, &all).expect("a Vec takes all bytes");
    bytes.push(b'\n');
    bytes
}

/// Builds one item.
struct Builder<'e, 'a> {
    entry: &'e Entry<'a>,
    /// The fields that have no place yet.
    fields: Vec<ViewField<'a>>,
    /// The members of the item.
    item: Map<String, Value>,
}

fn item(entry: &Entry<'_>, folder_id: Option<String>, warnings: &mut Vec<Loss>) -> Value {
    let (created, modified) = entry.times();
    let Value::Object(item) = json!({
        "id": entry.record.id.as_text().to_string_lossy(),
        "organizationId": null,
        "folderId": folder_id,
        "collectionIds": null,
        "reprompt": 0,
        "name": entry.name,
        "creationDate": time_of(created),
        "revisionDate": time_of(modified),
    }) else {
        return Value::Null;
    };
    let mut builder = Builder {
        entry,
        fields: entry.record.fields().collect(),
        item,
    };
    let favourite = builder.take(FieldRole::Favourite);
    let notes = entry.login.notes.clone();
    builder.take_field(notes.as_ref());
    builder.insert("favorite", favourite.is_some());
    builder.insert("notes", text_or_null(&value_of(&notes)));
    let passkeys = builder.take_passkeys(warnings);
    let totp = builder.take_totp();
    let login = &entry.login;
    let is_login = login.password.is_some()
        || login.url.is_some()
        || !login.further_urls.is_empty()
        || totp.is_some()
        || !passkeys.is_empty();
    let kind = match Kind::of(&entry.record) {
        kind @ (Kind::Card | Kind::Identity | Kind::SshKey) if !is_login => kind,
        _ if is_login || login.user.is_some() => Kind::Login,
        _ => Kind::Note,
    };
    match kind {
        Kind::Card => builder.take_members(3, "card", CARD),
        Kind::Identity => builder.take_members(4, "identity", IDENTITY),
        Kind::SshKey => builder.take_members(5, "sshKey", SSH_KEY),
        Kind::Login => builder.take_login(totp, passkeys),
        _ => {
            builder.insert("type", 2);
            builder.insert("secureNote", json!({ "type": 0 }));
        }
    }
    builder.take_rest();
    Value::Object(builder.item)
}

impl<'a> Builder<'_, 'a> {
    fn insert(&mut self, member: &str, value: impl Into<Value>) {
        self.item.insert(member.to_owned(), value.into());
    }

    fn take(&mut self, role: FieldRole) -> Option<ViewField<'a>> {
        let field = role.find(&self.entry.record);
        self.take_field(field.as_ref());
        field
    }

    fn take_field(&mut self, field: Option<&ViewField<'a>>) {
        if let Some(field) = field {
            self.fields.retain(|other| other.name != field.name);
        }
    }

    /// Takes the fields from which the members of a kind come, each from the first that is there.
    fn take_members(&mut self, number: i32, kind: &str, members: &[(&str, &[&str])]) {
        let mut object = Map::new();
        for (member, names) in members {
            let place = names.iter().find_map(|name| {
                let mut fields = self.fields.iter();
                fields.position(|field| field.name.as_bytes() == name.as_bytes())
            });
            let value = place.map(|place| self.fields.remove(place).value);
            let value = value.map(|value| value.to_string_lossy().into_owned());
            object.insert((*member).to_owned(), value.into());
        }
        self.insert("type", number);
        self.insert(kind, object);
    }

    fn take_login(&mut self, totp: Option<Zeroizing<String>>, passkeys: Vec<Value>) {
        let login = &self.entry.login;
        let urls: Vec<_> = login.url.iter().chain(&login.further_urls).collect();
        let mut object = Map::new();
        for (member, value) in [
            ("username", text_or_null(&value_of(&login.user))),
            ("password", text_or_null(&value_of(&login.password))),
            (
                "totp",
                text_or_null(totp.as_deref().map_or("", String::as_str)),
            ),
        ] {
            object.insert(member.to_owned(), value);
        }
        let uris = urls
            .iter()
            .map(|url| json!({ "match": null, "uri": url.value.to_string_lossy() }));
        object.insert("uris".to_owned(), uris.collect());
        if !passkeys.is_empty() {
            object.insert("fido2Credentials".to_owned(), passkeys.into());
        }
        for field in urls.into_iter().chain(&login.user).chain(&login.password) {
            self.fields.retain(|other| other.name != field.name);
        }
        self.insert("type", 1);
        self.insert("login", object);
    }

    /// Takes the secret of codes that follow the time. Bitwarden makes no others, so they stay.
    fn take_totp(&mut self) -> Option<Zeroizing<String>> {
        let field = self.entry.login.otp.as_ref()?;
        let text = field.value.to_string_lossy();
        let auth = OtpAuth::parse(&text).ok()?;
        let is_address = text.starts_with("otpauth://totp/") && !text.contains("&amp;");
        let is_letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let totp = match auth.kind {
            OtpKind::Counted { .. } => return None,
            OtpKind::Steam => Zeroizing::new(format!("steam://{}", *auth.secret_in_base32())),
            OtpKind::Timed { .. } if is_address || is_letters => {
                Zeroizing::new(text.clone().into_owned())
            }
            OtpKind::Timed { .. } => auth.to_address(),
        };
        self.take_field(Some(&field.clone()));
        Some(totp)
    }

    /// Takes the passkeys that Bitwarden can use.
    fn take_passkeys(&mut self, warnings: &mut Vec<Loss>) -> Vec<Value> {
        let base = FieldRole::Passkey.name();
        let number_of = |field: &ViewField<'_>| {
            let name = field.name.to_string_lossy();
            let rest = name.strip_prefix(base)?;
            match rest.strip_prefix(' ') {
                None => rest.is_empty().then_some(1_u32),
                Some(number) => number.parse().ok(),
            }
        };
        let mut fields: Vec<_> = self
            .fields
            .iter()
            .filter_map(|field| Some((number_of(field)?, field.clone())))
            .collect();
        fields.sort_by_key(|(number, _)| *number);
        let mut passkeys = Vec::new();
        for (_, field) in fields {
            let value = field.value.to_string_lossy();
            match Passkey::parse(&value).and_then(|passkey| passkey_of(&passkey)) {
                Some(passkey) => {
                    passkeys.push(passkey);
                    self.take_field(Some(&field));
                }
                None => warnings.push(Loss::new(
                    self.entry.path(),
                    format!(
                        "the passkey of {} is only kept in a field: Bitwarden uses none without an \
                         id and a site, and no other keys than ECDSA on P-256",
                        self.entry.path()
                    ),
                )),
            }
        }
        passkeys
    }

    /// Makes custom fields of what is left, and adds the earlier values of secret ones and of the
    /// password. Bitwarden keeps the former as `NAME: VALUE`.
    fn take_rest(&mut self) {
        let mut fields = Vec::new();
        let mut history = Vec::new();
        if let Some(password) = &self.entry.login.password {
            history.extend(self.history_of(password, None));
        }
        for field in &self.fields {
            let (name, value) = (field.name.to_string_lossy(), field.value.to_string_lossy());
            let kind = i32::from(is_secret(&name));
            if kind == 1 {
                history.extend(self.history_of(field, Some(&name)));
            }
            fields.push(json!({ "name": name, "value": value, "type": kind, "linkedId": null }));
        }
        history.sort_by_key(|(until, _)| std::cmp::Reverse(*until));
        let history: Vec<Value> = history.into_iter().map(|(_, value)| value).collect();
        self.insert("fields", fields);
        self.insert(
            "passwordHistory",
            if history.is_empty() {
                Value::Null
            } else {
                history.into()
            },
        );
    }

    fn history_of(&self, field: &ViewField<'_>, name: Option<&Cow<'_, str>>) -> Vec<(i64, Value)> {
        let record = self.entry.record.record;
        let changes: &[Change] = record.history(Domain::User, field.name);
        let item = |earlier: super::Earlier| {
            let value = match name {
                None => earlier.value,
                Some(name) => Zeroizing::new(format!("{name}: {}", *earlier.value)),
            };
            let former = json!({ "lastUsedDate": time_of(earlier.until), "password": *value });
            (earlier.until, former)
        };
        earlier_values(changes).into_iter().map(item).collect()
    }
}

/// A passkey as Bitwarden writes it; `None` if it cannot use it.
fn passkey_of(passkey: &Passkey) -> Option<Value> {
    let id = BASE64URL_NOPAD
        .decode(passkey.credential_id.as_bytes())
        .ok()?;
    let key = Zeroizing::new(BASE64URL_NOPAD.decode(passkey.key.as_bytes()).ok()?);
    let is_p256 = key.windows(P256.len()).any(|window| window == P256);
    if !is_p256 || !passkey.is_whole() {
        return None;
    }
    let mut members = passkey.other.clone();
    if members
        .get("creationDate")
        .is_some_and(|date| !date.is_string())
    {
        members.remove("creationDate");
    }
    for (member, value) in [
        ("keyType", json!("public-key")),
        ("keyAlgorithm", json!("ECDSA")),
        ("keyCurve", json!("P-256")),
        ("counter", json!("0")),
        ("rpName", json!(passkey.rp_id)),
        ("discoverable", json!("true")),
        ("creationDate", created_of(passkey)),
    ] {
        members.entry(member).or_insert(value);
    }
    for (member, value) in [
        ("credentialId", credential_id(&id)),
        ("keyValue", passkey.key.clone()),
        ("rpId", passkey.rp_id.clone()),
        ("userHandle", passkey.user_handle.clone()),
        ("userName", passkey.username.clone()),
        ("userDisplayName", passkey.user_display_name.clone()),
    ] {
        members.insert(member.to_owned(), value.into());
    }
    Some(members.into())
}

/// When a passkey was made, which Bitwarden requires. Without a time in the source it is always the
/// same one, because a time of the record would seem to be that of the passkey.
fn created_of(passkey: &Passkey) -> Value {
    /// The members of other programs, in seconds or milliseconds since 1970 or as text.
    const MEMBERS: [&str; 3] = ["createTime", "createdDate", "creationDate"];
    let of_member = |name: &str| {
        let seconds = match passkey.other.get(name)? {
            Value::String(text) => seconds_from(text),
            Value::Number(number) => seconds_from(&number.to_string()),
            _ => None,
        };
        Some(time_of(seconds?)).filter(|time| !time.is_null())
    };
    let created = MEMBERS.into_iter().find_map(of_member);
    created.unwrap_or_else(|| time_of(0))
}

/// A UUID if the id is as long, else base64url.
fn credential_id(id: &[u8]) -> String {
    if id.len() != 16 {
        return format!("b64.{}", BASE64URL_NOPAD.encode(id));
    }
    let hex = HEXLOWER.encode(id);
    let mut uuid = String::with_capacity(36);
    for (place, digit) in hex.char_indices() {
        if matches!(place, 8 | 12 | 16 | 20) {
            uuid.push('-');
        }
        uuid.push(digit);
    }
    uuid
}

/// A time as JavaScript writes it.
fn time_of(seconds: i64) -> Value {
    let time = Timestamp::from_second(seconds).ok();
    time.map_or(Value::Null, |time| format!("{time:.3}").into())
}

fn text_or_null(text: &str) -> Value {
    if text.is_empty() {
        Value::Null
    } else {
        Value::from(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::tests::vault;

    #[test]
    fn records_are_logins_in_folders_with_hidden_secrets() {
        let json: Value = serde_json::from_slice(&write(&vault().view(), &mut Vec::new())).unwrap();
        assert_eq!(
            json["folders"],
            json!([{ "id": "folder-1", "name": "web" }])
        );
        let items = json["items"].as_array().unwrap();
        assert_eq!(items.len(), 2);
        let shop = items
            .iter()
            .find(|item| item["folderId"] == "folder-1")
            .unwrap();
        assert_eq!(shop["login"]["uris"][0]["uri"], "https://shop.example");
        assert_eq!(
            shop["fields"][0],
            json!({ "name": "email", "value": "b@x", "type": 0, "linkedId": null })
        );
        assert_eq!(shop["fields"][1]["type"], 1);
        let top = items.iter().find(|item| item["name"] == "top").unwrap();
        assert_eq!(top["type"], 2);
    }

    fn written(fields: &[(&str, &str)]) -> (Value, Vec<Loss>) {
        let mut vault = passmate_vault::Vault::new();
        vault.create_record("A".into(), "x", 1).unwrap();
        for (name, value) in fields {
            vault.set(&"A".into(), *name, *value, 2).unwrap();
        }
        let mut warnings = Vec::new();
        let json: Value = serde_json::from_slice(&write(&vault.view(), &mut warnings)).unwrap();
        (json["items"][0].clone(), warnings)
    }

    #[test]
    fn a_record_becomes_the_kind_of_its_fields() {
        for (fields, kind, place, value) in [
            (&[("notes", "n")][..], 2, "/secureNote/type", json!(0)),
            (&[("pin", "1")], 2, "/fields/0/name", json!("pin")),
            (&[("email", "a@x")], 1, "/login/username", json!("a@x")),
            (
                &[
                    ("cardholder name", "A"),
                    ("number", "4111"),
                    ("email", "a@x"),
                ],
                3,
                "/card/number",
                json!("4111"),
            ),
            (
                &[("card number", "4111"), ("cvv", "123")],
                3,
                "/card/code",
                json!("123"),
            ),
            (
                &[("first name", "A"), ("username", "a"), ("extra", "e")],
                4,
                "/identity/username",
                json!("a"),
            ),
            (
                &[("private key", "k"), ("public key", "p")],
                5,
                "/sshKey/publicKey",
                json!("p"),
            ),
            // A password has a place in a login only.
            (
                &[("card number", "4111"), ("password", "p")],
                1,
                "/login/password",
                json!("p"),
            ),
            (
                &[("first name", "A"), ("url", "https://x")],
                1,
                "/login/uris/0/uri",
                json!("https://x"),
            ),
        ] {
            let (item, warnings) = written(fields);
            assert_eq!(item["type"], kind, "{fields:?}");
            assert_eq!(item.pointer(place), Some(&value), "{fields:?}");
            assert_eq!(warnings, []);
        }
    }

    #[test]
    fn only_codes_that_follow_the_time_are_a_totp() {
        for (otp, totp) in [
            ("JBSWY3DP", json!("JBSWY3DP")),
            ("steam://jbswy3dp", json!("steam://JBSWY3DP")),
            (
                "otpauth://totp/Steam:a?secret=JBSWY3DP&encoder=steam",
                json!("steam://JBSWY3DP"),
            ),
            (
                "otpauth://totp?secret=JBSWY3DP&amp;digits=8",
                json!("otpauth://totp/?secret=JBSWY3DP&period=30&digits=8"),
            ),
        ] {
            assert_eq!(written(&[("otp", otp)]).0["login"]["totp"], totp, "{otp}");
        }
        for otp in ["otpauth://hotp/a?secret=JBSWY3DP&counter=1", "no codes!"] {
            let (item, _) = written(&[("otp", otp), ("user", "a")]);
            assert_eq!(item["login"]["totp"], Value::Null);
            assert_eq!(item["fields"][0]["value"], otp);
        }
    }

    #[test]
    fn a_passkey_has_the_time_of_its_source_or_always_the_same_one() {
        let key = BASE64URL_NOPAD.encode(&P256);
        for (member, time) in [
            (json!({}), "1970-01-01T00:00:00.000Z"),
            (
                json!({ "createTime": 1_700_000_000 }),
                "2023-11-14T22:13:20.000Z",
            ),
            (
                json!({ "createdDate": 1_700_000_000_000_i64 }),
                "2023-11-14T22:13:20.000Z",
            ),
            (
                json!({ "createTime": "2023-11-14T22:13:20Z" }),
                "2023-11-14T22:13:20.000Z",
            ),
            (
                json!({ "createTime": u64::MAX }),
                "1970-01-01T00:00:00.000Z",
            ),
            (json!({ "creationDate": "2020-01-01" }), "2020-01-01"),
            (
                json!({ "creationDate": 1_700_000_000 }),
                "2023-11-14T22:13:20.000Z",
            ),
            (json!({ "creationDate": null }), "1970-01-01T00:00:00.000Z"),
        ] {
            let mut passkey = json!({ "credentialId": "AAAA", "rpId": "x", "key": key });
            let members = passkey.as_object_mut().unwrap();
            members.extend(member.as_object().unwrap().clone());
            let (item, _) = written(&[("passkey", &passkey.to_string())]);
            let created = &item["login"]["fido2Credentials"][0]["creationDate"];
            assert_eq!(created, time, "{member}");
        }
    }

    #[test]
    fn a_passkey_without_an_id_or_a_site_is_kept_in_a_field() {
        let key = BASE64URL_NOPAD.encode(&P256);
        for (id, site) in [("", "x"), ("AAAA", "")] {
            let passkey = json!({ "credentialId": id, "rpId": site, "key": key }).to_string();
            let (item, warnings) = written(&[("passkey", &passkey)]);
            assert_eq!(item["fields"][0]["value"], passkey);
            assert_eq!((item["login"].is_null(), warnings.len()), (true, 1));
        }
    }

    #[test]
    fn a_passkey_on_another_curve_is_kept_in_a_field() {
        let key = BASE64URL_NOPAD.encode(b"ed25519");
        let passkey = json!({ "credentialId": "AAAA", "rpId": "x", "key": key }).to_string();
        let (item, warnings) = written(&[("passkey", &passkey)]);
        assert_eq!(item["type"], 2);
        assert_eq!(item["fields"][0]["value"], passkey);
        assert_eq!(warnings.len(), 1);
    }
}
