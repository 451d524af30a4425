//! Proton Pass' export: JSON, as it is or as `data.json` in a ZIP archive.

use std::collections::BTreeMap;
use std::rc::Rc;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD};
use passmate_vault::login::FieldRole;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::Imported;
use super::item::{Builder, Collector, Distinct, words_of};
use super::members::text_from;
use super::sections::{SectionField, add_fields};
use crate::error::ImportError;
use crate::passkey::{Passkey, pkcs8_of_p256};
use crate::syntax::json::{Members, Node};
use crate::syntax::zip::Archive;

/// The state of an item in the trash.
const TRASHED: i64 = 2;
/// The longest content of a passkey.
const CONTENT_LEN_MAX: usize = 16 * 1024;
/// The most folders around a folder.
const DEPTH_MAX: usize = 64;

const NO_EXPORT: ImportError = ImportError::NotThisFormat {
    expected: "an export of Proton Pass",
};
const ENCRYPTED: ImportError = ImportError::WrongExport {
    what: "the file is encrypted with PGP",
    instead: "decrypt it with `gpg --decrypt`, or export without a passphrase",
};

/// Reads an export with attachments.
pub(crate) fn read_archive(archive: &mut Archive<'_>) -> Result<Imported, ImportError> {
    match archive.read("data.json")? {
        Some(data) => read(&data),
        None if archive.names().any(|name| name.ends_with(".pgp")) => Err(ENCRYPTED),
        None => Err(NO_EXPORT),
    }
}

/// Reads an export.
pub(crate) fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    if bytes.starts_with(b"-----BEGIN PGP") {
        return Err(ENCRYPTED);
    }
    let file = Node::document(bytes)?.members()?;
    if file.get("encrypted").is_some_and(Node::is_true) {
        return Err(ENCRYPTED);
    }
    let mut collector = Collector::default();
    for vault in file.get("vaults").ok_or(NO_EXPORT)?.members()?.values() {
        let mut vault = vault.members()?;
        let name = vault.get("name").and_then(Node::text).unwrap_or_default();
        let folders = Folders::read(vault.remove("folders"))?;
        let Some(items) = vault.remove("items") else {
            continue;
        };
        for item in items.list()? {
            if let Some(item) = collector.members_of(&item)? {
                read_item(item, &name, &folders, &mut collector)?;
            }
        }
    }
    Ok(collector.into_imported())
}

/// The folders of a vault by their ids, each with its parent's id and its name.
struct Folders(BTreeMap<String, (String, String)>);

impl Folders {
    fn read(list: Option<Node<'_>>) -> Result<Self, ImportError> {
        let mut folders = BTreeMap::new();
        if let Some(list) = list {
            for folder in list.list()? {
                let mut folder = Members::from(folder.read_value()?);
                let parent = (folder.text("parentFolderId"), folder.text("name"));
                folders.insert(folder.text("folderId"), parent);
            }
        }
        Ok(Self(folders))
    }

    /// The names of a folder and those around it, the outermost first.
    fn path_of(&self, id: &str) -> Vec<&str> {
        let first = self.0.get(id);
        let around = std::iter::successors(first, |(parent, _)| self.0.get(parent));
        let mut path: Vec<&str> = around
            .take(DEPTH_MAX)
            .map(|(_, name)| name.as_str())
            .collect();
        path.reverse();
        path
    }
}

fn read_item(
    mut item: Members,
    vault: &str,
    folders: &Folders,
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let mut data = item.object("data");
    let (mut metadata, mut content) = (data.object("metadata"), data.object("content"));
    let name = metadata.text("name");
    // An item has a user name, an email address, or both. Older exports call either of them
    // `username`.
    let (user, email) = (content.text("itemUsername"), content.text("itemEmail"));
    let users = [user, content.text("username"), email.clone()];
    let user = users.into_iter().find(|user| !user.is_empty());
    let user = user.unwrap_or_default();
    // An item's id is unique only within its vault.
    let source_id = match [item.text("shareId"), item.text("itemId")] {
        [_, id] if id.is_empty() => [vault, &name, &user].join("\0"),
        ids => ids.join("\0"),
    };
    let folder = item.text("folderId");
    let path = std::iter::once(vault).chain(folders.path_of(&folder));
    let mut builder = collector.begin(source_id, path, &name)?;
    if item.number("state") == Some(TRASHED) {
        return builder.lose_all("it is in the trash");
    }
    builder.set_modified(item.number("modifyTime"));
    builder.add(FieldRole::User.name(), user.as_str())?;
    builder.add(FieldRole::Password.name(), content.text("password"))?;
    if email != user {
        builder.add("email", email)?;
    }
    read_urls(&mut content, &mut builder)?;
    builder.add(FieldRole::Otp.name(), content.text("totpUri"))?;
    builder.add("alias", item.text("aliasEmail"))?;
    builder.add(FieldRole::Notes.name(), metadata.text("note"))?;
    if item.is("pinned") {
        builder.add(FieldRole::Favourite.name(), "yes")?;
    }
    for passkey in builder.take_objects(&mut content, "passkeys")? {
        builder.add_passkey(&passkey_of(passkey))?;
    }
    if let Some(security) = content.number("security") {
        let known = ["", "WPA", "WPA2", "WPA3", "WEP"];
        let name = usize::try_from(security).ok().and_then(|n| known.get(n));
        let name = name.map_or_else(|| security.to_string(), |name| (*name).to_owned());
        builder.add("security", name)?;
    }
    let mut fields = Vec::new();
    for (name, value) in content.rest() {
        match value {
            Value::Array(list) if list.iter().any(Value::is_object) => {
                read_list(&name, list, &mut fields, &mut builder)?;
            }
            value => builder.add(&words_of(&name), text_from(value))?,
        }
    }
    let extra = data.list("extraFields");
    read_list("extraFields", extra, &mut fields, &mut builder)?;
    add_fields(fields, &mut builder)?;
    for name in Builder::take_texts(&mut item, "files") {
        builder.lose(format!("the attachment {name}"))?;
    }
    for (members, place) in [(metadata, "metadata."), (data, "data.")] {
        let mut members = members;
        members.skip(&["itemUuid", "platformSpecific", "type"]);
        builder.lose_rest(members, place)?;
    }
    builder.finish();
    Ok(())
}

/// Newer exports have the addresses twice.
fn read_urls(content: &mut Members, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let mut urls = Distinct::from(Builder::take_texts(content, "urls"));
    for mut address in builder.take_objects(content, "autofillUrls")? {
        urls.push(address.text("url"));
    }
    let name = FieldRole::Url.name();
    let mut urls = urls.into_texts().into_iter();
    urls.try_for_each(|url| builder.add(name, url))
}

/// Reads a list of fields, or of sections with lists of fields.
fn read_list(
    place: &str,
    list: Vec<Value>,
    fields: &mut Vec<SectionField>,
    builder: &mut Builder<'_>,
) -> Result<(), ImportError> {
    for element in list {
        let mut element = Members::from(element);
        let section: Rc<str> = element.text("sectionName").into();
        let in_section = builder.take_objects(&mut element, "sectionFields")?;
        let is_section = !section.is_empty() || !in_section.is_empty();
        let found = if is_section {
            in_section
        } else {
            vec![element]
        };
        for mut field in found {
            let name = field.text("fieldName");
            let mut data = field.object("data");
            let has_data = !data.is_empty();
            for (kind, value) in data.rest() {
                let name = match kind.as_str() {
                    "totpUri" => FieldRole::Otp.name(),
                    _ => &name,
                };
                fields.push(SectionField {
                    section: Rc::clone(&section),
                    name: name.to_owned(),
                    value: text_from(value).into(),
                    earlier: Vec::new(),
                });
            }
            field.skip(&["type"]);
            if !has_data && field.rest().next().is_some() {
                builder.lose_member(place)?;
            }
        }
    }
    Ok(())
}

/// Proton writes bytes in base64. The private key is in `content`, in a form of its own.
fn passkey_of(mut passkey: Members) -> Passkey {
    let bytes_of = |base64: &str| {
        let decoded = BASE64
            .decode(base64.as_bytes())
            .or_else(|_| BASE64_NOPAD.decode(base64.as_bytes()));
        decoded.ok().map(Zeroizing::new)
    };
    let url_safe = |base64: String| match bytes_of(&base64) {
        Some(bytes) => BASE64URL_NOPAD.encode(&bytes),
        None => base64,
    };
    let content = passkey.text("content");
    let key = bytes_of(&content).and_then(|content| key_of(&content));
    let mut passkey = Passkey {
        credential_id: url_safe(passkey.text("credentialId")),
        rp_id: passkey.text("rpId"),
        username: passkey.text("userName"),
        user_display_name: passkey.text("userDisplayName"),
        user_handle: url_safe(passkey.text("userHandle")),
        key: key.map_or_else(String::new, |key| key.to_string()),
        other: passkey.rest().collect(),
    };
    // It also has what sites derive secrets from, and a key of a type that is not known here.
    passkey
        .other
        .insert("content".to_owned(), Value::String(content));
    passkey
}

/// The private key in Proton's form of a passkey: MessagePack in MessagePack, with the parameters
/// of a COSE key as pairs of label and value.
fn key_of(content: &[u8]) -> Option<Zeroizing<String>> {
    #[derive(Deserialize)]
    struct Outer {
        c: Vec<u8>,
        v: u8,
    }
    #[derive(Deserialize)]
    struct Inner {
        key: Key,
    }
    #[derive(Deserialize)]
    struct Key {
        par: Vec<(Typed, Typed)>,
    }
    #[derive(Deserialize)]
    struct Typed {
        #[serde(default)]
        c: Value,
    }
    // What COSE calls the curve P-256, in 16 bytes.
    const P256: u8 = 1;
    if content.len() > CONTENT_LEN_MAX {
        return None;
    }
    let outer: Outer = rmp_serde::from_slice(content).ok()?;
    let packed = Zeroizing::new(outer.c);
    if outer.v != 1 {
        return None;
    }
    let mut inner: Inner = rmp_serde::from_slice(&packed).ok()?;
    let mut parameter = |label: i64| {
        let mut parameters = inner.key.par.iter_mut();
        let (_, value) = parameters.find(|(found, _)| found.c == label)?;
        match value.c.take() {
            Value::Object(mut integer) => integer.remove("inner").and_then(bytes_of_list),
            list => bytes_of_list(list),
        }
    };
    let (curve, number) = (parameter(-1)?, [-4, -2, -3].map(parameter));
    let [d, x, y] = number.map(|number| number.map(|bytes| BASE64URL_NOPAD.encode(&bytes)));
    let is_p256 =
        matches!(curve.as_slice(), [P256, rest @ ..] if rest.iter().all(|byte| *byte == 0));
    let (d, x, y) = (Zeroizing::new(d?), x?, y?);
    is_p256.then(|| pkcs8_of_p256(&d, &x, &y)).flatten()
}

fn bytes_of_list(list: Value) -> Option<Zeroizing<Vec<u8>>> {
    let Value::Array(list) = list else {
        return None;
    };
    let bytes = list.iter().map(|byte| u8::try_from(byte.as_u64()?).ok());
    Some(Zeroizing::new(bytes.collect::<Option<Vec<u8>>>()?))
}
