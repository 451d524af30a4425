//! FIDO's Credential Exchange Format (CXF): JSON, as it is or in a ZIP archive.
//!
//! An item has several *credentials*, such as `basic-auth` and `totp`, and each becomes fields. The
//! values are read one by one, so that a missing or odd one does not refuse the file. Members that
//! the format does not define become fields of their names.

use std::collections::BTreeMap;

use data_encoding::{BASE64URL_NOPAD, Specification};
use passmate_vault::login::FieldRole;
use passmate_vault::otp::OtpAuth;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Imported;
use super::item::{Builder, Collector, text_of, words_of};
use super::otpauth::read_settings;
use crate::error::ImportError;
use crate::limits::ITEMS_MAX;
use crate::loss::Loss;
use crate::passkey::Passkey;
use crate::syntax::cxf::{
    BASIC_AUTH, EXTENSION, EXTENSION_NAMES, EXTENSION_VALUES, Form, KINDS, Kind, pem_of,
    year_month_of,
};
use crate::syntax::json;
use crate::syntax::zip::Archive;

/// The version of the format that is read.
const MAJOR: u64 = 1;
/// How many characters of a name in the file a loss shows.
const EXCERPT_LEN: usize = 80;
const TOTP_MEMBERS: &[&str] = &[
    "secret",
    "period",
    "digits",
    "username",
    "algorithm",
    "issuer",
];
const ITEM_MEMBERS: &[&str] = &[
    "id",
    "creationAt",
    "modifiedAt",
    "title",
    "subtitle",
    "favorite",
    "scope",
    "credentials",
    "tags",
    "extensions",
];
const EXPECTED: &str = "an export in the Credential Exchange Format";

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    version: Value,
    accounts: Option<Vec<Account>>,
    /// Members of an encrypted exchange.
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    username: Value,
    #[serde(default)]
    email: Value,
    #[serde(default)]
    collections: Value,
    items: Option<json::Items<Value>>,
    #[serde(default)]
    extensions: Value,
}

/// Reads an export in an archive.
pub(crate) fn read_archive(archive: &mut Archive<'_>) -> Result<Imported, ImportError> {
    let no_export = ImportError::NotThisFormat { expected: EXPECTED };
    let has_end = |end| move |name: &&str| name.ends_with(end);
    let Some(path) = archive.names().find(has_end(".json")) else {
        return Err(match archive.names().any(|name| has_end(".jwe")(&name)) {
            true => encrypted(),
            false => no_export,
        });
    };
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    read(&archive.read(&name)?.ok_or(no_export)?)
}

/// Reads an export.
pub(crate) fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    let file: Header = json::read(bytes)?;
    let Some(accounts) = file.accounts else {
        if file.payload.is_string() {
            return Err(encrypted());
        }
        return Err(ImportError::NotThisFormat { expected: EXPECTED });
    };
    let major = file.version.get("major").and_then(Value::as_u64);
    if major.is_some_and(|major| major > MAJOR) {
        return Err(ImportError::NotSupported {
            what: "a newer version of the Credential Exchange Format",
        });
    }
    let mut collector = Collector::default();
    // Several accounts are told apart by folders.
    let is_one = accounts.len() == 1;
    for account in accounts {
        let name = [&account.username, &account.email];
        let name = name.into_iter().filter_map(Value::as_str);
        let name = name.filter(|_| !is_one).find(|name| !name.is_empty());
        read_account(&account, name.unwrap_or_default(), &mut collector)?;
    }
    Ok(collector.into_imported())
}

fn encrypted() -> ImportError {
    ImportError::NotSupported {
        what: "the encryption of an exchange between two programs (export without it)",
    }
}

fn read_account(
    account: &Account,
    name: &str,
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let mut collections = Collections::default();
    collections.read(&account.collections, None)?;
    let id = account.id.as_str().unwrap_or_default();
    for item in account.items.iter().flat_map(|items| &items.0) {
        read_item(item, [id, name], &collections, collector)?;
    }
    match collections.subtitles {
        0 => {}
        1 => collector.lose(Loss::of_file("the subtitle of 1 collection")),
        count => collector.lose(Loss::of_file(format!(
            "the subtitles of {count} collections"
        ))),
    }
    for extension in list_of(&account.extensions) {
        let what = excerpt(extension, "name");
        collector.lose(Loss::of_file(format!(
            "the extension \"{what}\" of an account"
        )));
    }
    Ok(())
}

/// The collections of an account.
#[derive(Default)]
struct Collections<'a> {
    /// The title of each, and the collection around it.
    titles: Vec<(&'a str, Option<usize>)>,
    /// The collections of each item, by its id.
    of_items: BTreeMap<&'a str, Vec<usize>>,
    links: usize,
    /// How many have a subtitle.
    subtitles: usize,
}

impl<'a> Collections<'a> {
    fn read(&mut self, collections: &'a Value, around: Option<usize>) -> Result<(), ImportError> {
        for collection in list_of(collections) {
            let title = collection.get("title").and_then(Value::as_str);
            let place = self.titles.len();
            self.titles.push((title.unwrap_or_default(), around));
            let subtitle = collection.get("subtitle").map(text_of);
            self.subtitles += usize::from(subtitle.is_some_and(|text| !text.is_empty()));
            for link in list_of(collection.get("items").unwrap_or(&Value::Null)) {
                self.links += 1;
                if self.links > ITEMS_MAX {
                    return Err(ImportError::TooMany {
                        what: "items in collections",
                        limit: ITEMS_MAX,
                    });
                }
                if let Some(item) = link.get("item").and_then(Value::as_str) {
                    self.of_items.entry(item).or_default().push(place);
                }
            }
            // The parser of JSON limits the depth.
            let inner = collection.get("subCollections").unwrap_or(&Value::Null);
            self.read(inner, Some(place))?;
        }
        Ok(())
    }

    /// The titles from the outermost collection to this one.
    fn folders(&self, mut place: Option<usize>) -> Vec<&'a str> {
        let mut folders = Vec::new();
        while let Some((title, around)) = place.and_then(|place| self.titles.get(place)) {
            folders.push(*title);
            place = *around;
        }
        folders.reverse();
        folders
    }
}

fn read_item(
    item: &Value,
    [account, account_name]: [&str; 2],
    collections: &Collections<'_>,
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let text = |name: &str| item.get(name).map(text_of).unwrap_or_default();
    let title = text("title");
    let id = text("id");
    let places = collections.of_items.get(id.as_str());
    let places = places.map(Vec::as_slice).unwrap_or_default();
    let mut folders = vec![account_name];
    folders.extend(collections.folders(places.first().copied()));
    let urls = item.pointer("/scope/urls").unwrap_or(&Value::Null);
    let urls: Vec<&str> = list_of(urls).filter_map(Value::as_str).collect();
    // Without an id, an item is identified as the row of a table.
    let source_id = if id.is_empty() {
        let url = urls.first().copied().unwrap_or_default();
        [folders.join("/").as_str(), &title, url].join("\0")
    } else {
        format!("{account}\0{id}")
    };
    let name = match title.as_str() {
        "" => urls
            .first()
            .and_then(|url| super::item::host_of(url))
            .unwrap_or_default(),
        title => title,
    };
    let mut builder = collector.begin(source_id, folders, name)?;
    let Some(members) = item.as_object() else {
        return builder.lose_all("it is no object");
    };
    builder.set_modified(item.get("modifiedAt").and_then(Value::as_i64));
    builder.add("subtitle", text("subtitle"))?;
    for url in urls {
        builder.add(FieldRole::Url.name(), url)?;
    }
    read_apps(item, &mut builder)?;
    read_credentials(item, &mut builder)?;
    for (name, value) in members {
        if !ITEM_MEMBERS.contains(&name.as_str()) {
            builder.add(&words_of(name), value_of(value))?;
        }
    }
    let tags: Vec<&str> = list_of(item.get("tags").unwrap_or(&Value::Null))
        .filter_map(Value::as_str)
        .collect();
    builder.add(FieldRole::Tags.name(), tags.join(", "))?;
    if item.get("favorite") == Some(&Value::Bool(true)) {
        builder.add(FieldRole::Favourite.name(), "yes")?;
    }
    if places.len() > 1 {
        builder.lose("all but the first of its collections")?;
    }
    lose_extensions(item, &mut builder)?;
    builder.finish();
    Ok(())
}

/// The Android apps in which an item is used, as addresses.
fn read_apps(item: &Value, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let apps = item.pointer("/scope/androidApps").unwrap_or(&Value::Null);
    let mut certificates = 0;
    for app in list_of(apps) {
        let id = app
            .get("bundleId")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !id.is_empty() {
            builder.add(FieldRole::Url.name(), format!("androidapp://{id}"))?;
        }
        certificates += usize::from(app.get("certificate").is_some_and(Value::is_object));
    }
    builder.lose_count(certificates, "certificate of an app")
}

fn read_credentials(item: &Value, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let credentials = item.get("credentials").unwrap_or(&Value::Null);
    let type_of = |credential: &Value| {
        let word = credential.get("type").and_then(Value::as_str);
        word.unwrap_or_default().to_owned()
    };
    let has_login = list_of(credentials).any(|credential| type_of(credential) == BASIC_AUTH);
    let names = custom_names(credentials);
    let public_key = public_key_of(credentials);
    for credential in list_of(credentials) {
        let Some(members) = credential.as_object() else {
            builder.lose("a credential that is no object")?;
            continue;
        };
        let word = type_of(credential);
        let mut known: &[&str] = &[];
        match word.as_str() {
            "totp" => {
                read_totp(members, builder)?;
                known = TOTP_MEMBERS;
            }
            "passkey" => read_passkey(members, builder)?,
            "note" => {
                read_field(members, "content", FieldRole::Notes.name(), builder)?;
                known = &["content"];
            }
            "custom-fields" => {
                read_custom_fields(members, &names, builder)?;
                known = &["fields", "id", "label"];
            }
            "generated-password" => {
                let name = match has_login {
                    true => "generated password",
                    false => FieldRole::Password.name(),
                };
                builder.add(
                    name,
                    members.get("password").map(text_of).unwrap_or_default(),
                )?;
                known = &["password"];
            }
            "file" => {
                let name = excerpt(credential, "name");
                builder.lose(format!("the attachment \"{name}\""))?;
                continue;
            }
            "item-reference" => {
                builder.lose("a link to another item")?;
                continue;
            }
            word => match KINDS.iter().find(|kind| kind.word == word) {
                Some(kind) => read_kind(kind, members, &public_key, builder)?,
                None => {
                    let word = excerpt(credential, "type");
                    builder.lose(format!("a credential of the unknown kind \"{word}\""))?;
                    continue;
                }
            },
        }
        let kind = KINDS.iter().find(|kind| kind.word == word);
        let is_known = |name: &str| {
            let is_member = kind.is_some_and(|kind| kind.members.iter().any(|m| m.name == name));
            matches!(name, "type" | "extensions") || is_member || known.contains(&name)
        };
        if word != "passkey" {
            for (name, value) in members.iter().filter(|(name, _)| !is_known(name)) {
                builder.add(&words_of(name), value_of(value))?;
            }
        }
        lose_extensions(credential, builder)?;
    }
    Ok(())
}

fn read_kind(
    kind: &Kind,
    members: &Map<String, Value>,
    public_key: &str,
    builder: &mut Builder<'_>,
) -> Result<(), ImportError> {
    for member in kind.members {
        let Some(value) = members.get(member.name) else {
            continue;
        };
        // The type of a key is also the first word of the public key.
        let word = public_key.split_once(' ').map(|(word, _)| word);
        if member.form == Form::Plain && word.is_some() && value.as_str() == word {
            continue;
        }
        match member.form {
            Form::PrivateKey => match decode(&text_of(value)) {
                Some(der) => builder.add(member.field, pem_of(&der))?,
                None => builder.add(member.field, text_of(value))?,
            },
            _ => read_field(members, member.name, member.field, builder)?,
        }
    }
    Ok(())
}

/// Adds the value of a member, under the names of our extension if the member has it.
fn read_field(
    members: &Map<String, Value>,
    member: &str,
    field: &str,
    builder: &mut Builder<'_>,
) -> Result<(), ImportError> {
    let Some(object) = members.get(member) else {
        return Ok(());
    };
    let value = value_of(object);
    let is_own =
        |extension: &&Value| extension.get("name").and_then(Value::as_str) == Some(EXTENSION);
    let extensions = object.get("extensions").unwrap_or(&Value::Null);
    for extension in list_of(extensions).filter(|extension| !is_own(extension)) {
        let what = excerpt(extension, "name");
        builder.lose(format!("the extension \"{what}\""))?;
    }
    let Some(own) = list_of(extensions).find(is_own) else {
        return builder.add(field, value);
    };
    let texts = |member: &str| -> Vec<&str> {
        let texts = list_of(own.get(member).unwrap_or(&Value::Null));
        texts.filter_map(Value::as_str).take(2).collect()
    };
    let (names, values) = (texts(EXTENSION_NAMES), texts(EXTENSION_VALUES));
    // Another program may have changed the value since.
    if values.len() == names.len() && year_month_of(&values).as_ref() == Some(&value) {
        let mut fields = names.into_iter().zip(values);
        return fields.try_for_each(|(name, value)| builder.add(name, value));
    }
    match names.as_slice() {
        [name] => builder.add(name, value),
        _ => builder.add(field, value),
    }
}

/// The names of all custom fields of an item, and whether several have the name.
fn custom_names(credentials: &Value) -> BTreeMap<String, bool> {
    let mut names = BTreeMap::new();
    for credential in list_of(credentials) {
        for field in list_of(credential.get("fields").unwrap_or(&Value::Null)) {
            let name = field
                .get("label")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let several = names.contains_key(name);
            names.insert(name.to_owned(), several);
        }
    }
    names
}

/// The public key that our export has as a custom field; empty if there is none.
fn public_key_of(credentials: &Value) -> String {
    let fields = list_of(credentials)
        .flat_map(|credential| list_of(credential.get("fields").unwrap_or(&Value::Null)));
    let is_it = |field: &&Value| field.get("label").and_then(Value::as_str) == Some("public key");
    fields
        .into_iter()
        .find(is_it)
        .map(value_of)
        .unwrap_or_default()
}

/// Reads a section of custom fields. Its label tells apart the fields that several sections have.
fn read_custom_fields(
    members: &Map<String, Value>,
    names: &BTreeMap<String, bool>,
    builder: &mut Builder<'_>,
) -> Result<(), ImportError> {
    let section = members
        .get("label")
        .and_then(Value::as_str)
        .unwrap_or_default();
    for field in list_of(members.get("fields").unwrap_or(&Value::Null)) {
        let label = field
            .get("label")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let is_shared = names.get(label).copied().unwrap_or(false);
        let name = if label.is_empty() {
            section.to_owned()
        } else if is_shared && !section.is_empty() {
            format!("{section} {label}")
        } else {
            label.to_owned()
        };
        builder.add(&name, value_of(field))?;
        lose_extensions(field, builder)?;
    }
    Ok(())
}

/// Reads the secret of one-time codes.
fn read_totp(members: &Map<String, Value>, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let text = |name: &str| members.get(name).map(text_of).unwrap_or_default();
    let names = ["algorithm", "digits", "period", "counter"];
    match read_settings("totp", &text("secret"), members, names) {
        Ok(auth) => {
            let auth = OtpAuth {
                label: text("username"),
                issuer: text("issuer"),
                ..auth
            };
            builder.add(FieldRole::Otp.name(), auth.to_address().as_str())?;
        }
        Err(error) => {
            for name in TOTP_MEMBERS {
                builder.add(&format!("one-time code {name}"), text(name))?;
            }
            builder.lose(format!(
                "the meaning of its one-time codes, whose settings are fields: {error}"
            ))?;
        }
    }
    Ok(())
}

fn read_passkey(
    members: &Map<String, Value>,
    builder: &mut Builder<'_>,
) -> Result<(), ImportError> {
    let mut members = members.clone();
    members.remove("type");
    match Passkey::of_members(members) {
        Some(passkey) => builder.add_passkey(&passkey),
        None => builder.lose("a passkey without its id, its site or its key"),
    }
}

fn lose_extensions(object: &Value, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    for extension in list_of(object.get("extensions").unwrap_or(&Value::Null)) {
        match extension.get("name").and_then(Value::as_str) {
            Some(EXTENSION) => {}
            Some("shared") => builder.lose("that it is shared with other people")?,
            _ => {
                let what = excerpt(extension, "name");
                builder.lose(format!("the extension \"{what}\""))?;
            }
        }
    }
    Ok(())
}

/// The value of a field, which is an object with a `value` or a text.
fn value_of(field: &Value) -> String {
    text_of(field.get("value").unwrap_or(field))
}

fn list_of(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The beginning of a name in the file, without control characters.
fn excerpt(object: &Value, name: &str) -> String {
    let text = object.get(name).and_then(Value::as_str).unwrap_or_default();
    text.chars()
        .filter(|character| !character.is_control())
        .take(EXCERPT_LEN)
        .collect()
}

/// Decodes base64url, with or without padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut specification: Specification = BASE64URL_NOPAD.specification();
    specification.check_trailing_bits = false;
    let text = text.trim_end_matches('=');
    specification.encoding().ok()?.decode(text.as_bytes()).ok()
}
