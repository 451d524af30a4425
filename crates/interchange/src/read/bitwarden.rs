//! Bitwarden's JSON export, plain or encrypted under a password, as it is or as `data.json` in a
//! ZIP archive with the attachments.
//!
//! In an encrypted export, PBKDF2 or Argon2id derives a key from the password and `salt`.
//! HKDF-Expand with `enc` and `mac` derives the keys for AES-256-CBC and HMAC-SHA256 from it.
//! `encKeyValidation_DO_NOT_EDIT` tells a wrong password from damage, and `data` is the plain
//! export.

use std::collections::{BTreeMap, BTreeSet};

use argon2::{Algorithm, Version};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use passmate_vault::Passphrase;
use passmate_vault::login::FieldRole;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::Imported;
use super::item::{Builder, Collector, Distinct, seconds_of};
use super::members::text_from;
use crate::crypto::{
    Argon2Cost, KdfError, Key, check_pbkdf2, decrypt_aes_cbc, derive_argon2, derive_pbkdf2,
    expand_hkdf, is_hmac_sha256, sha256,
};
use crate::error::ImportError;
use crate::limits::NAME_LEN_MAX;
use crate::loss::Loss;
use crate::passkey::Passkey;
use crate::syntax::json::{self, Members, Node};
use crate::syntax::zip::Archive;

const NO_EXPORT: ImportError = ImportError::NotThisFormat {
    expected: "Bitwarden's JSON export",
};

/// Reads an export.
pub(crate) fn read(bytes: &[u8], secret: Option<&Passphrase>) -> Result<Imported, ImportError> {
    read_document(bytes, secret, Attachments::new())
}

/// Reads an export with attachments.
pub(crate) fn read_archive(
    archive: &mut Archive<'_>,
    secret: Option<&Passphrase>,
) -> Result<Imported, ImportError> {
    let data = archive.read("data.json")?.ok_or(NO_EXPORT)?;
    let mut attachments = Attachments::new();
    for name in archive.names() {
        if let Some((id, name)) = name
            .split_once("attachments/")
            .and_then(|(_, name)| name.split_once('/'))
        {
            let of_item = attachments.entry(id.to_owned()).or_default();
            of_item.push(name.to_owned());
        }
    }
    read_document(&data, secret, attachments)
}

/// The names of the attachments in an archive, by the ids of their items.
type Attachments = BTreeMap<String, Vec<String>>;

fn read_document(
    bytes: &[u8],
    secret: Option<&Passphrase>,
    attachments: Attachments,
) -> Result<Imported, ImportError> {
    let file = Node::document(bytes)?.members()?;
    let is = |name| file.get(name).is_some_and(Node::is_true);
    if !is("encrypted") {
        return read_plain(&file, attachments);
    }
    if !is("passwordProtected") {
        return Err(ImportError::WrongExport {
            what: "only the Bitwarden account that exported the file can decrypt it",
            instead: "export again, as \".json\", or as \".json (Encrypted)\" of the type \
                      \"Password protected\"",
        });
    }
    let opened = open(&json::read(bytes)?, secret)?;
    read_plain(&Node::document(&opened)?.members()?, attachments)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protected {
    salt: String,
    kdf_type: u32,
    kdf_iterations: u32,
    #[serde(default)]
    kdf_memory: Option<u32>,
    #[serde(default)]
    kdf_parallelism: Option<u32>,
    #[serde(rename = "encKeyValidation_DO_NOT_EDIT")]
    validation: String,
    data: String,
}

fn open(file: &Protected, secret: Option<&Passphrase>) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let validation = Sealed::parse(&file.validation)?;
    let data = Sealed::parse(&file.data)?;
    let kdf = Kdf::of(file)?;
    let secret = secret.ok_or(ImportError::SecretNeeded)?;
    let key = kdf.derive(secret.as_bytes(), file.salt.as_bytes())?;
    let (encryption, mac) = (expand_hkdf(&key, b"enc"), expand_hkdf(&key, b"mac"));
    if !validation.is_sealed_by(&mac) {
        return Err(ImportError::WrongSecret);
    }
    if !data.is_sealed_by(&mac) {
        return Err(ImportError::Damaged {
            what: "its data was changed or cut off",
        });
    }
    decrypt_aes_cbc(&encryption, &data.iv, &data.ciphertext).ok_or(ImportError::Damaged {
        what: "its data has no padding",
    })
}

/// How the key comes from the password; within the limits.
enum Kdf {
    Pbkdf2 { rounds: u32 },
    Argon2id(Argon2Cost),
}

impl Kdf {
    fn of(file: &Protected) -> Result<Self, ImportError> {
        match file.kdf_type {
            0 => {
                check_pbkdf2(file.kdf_iterations)?;
                Ok(Self::Pbkdf2 {
                    rounds: file.kdf_iterations,
                })
            }
            1 => {
                let missing = ImportError::Damaged {
                    what: "its key derivation lacks a parameter",
                };
                let (Some(memory), Some(lanes)) = (file.kdf_memory, file.kdf_parallelism) else {
                    return Err(missing);
                };
                let passes = file.kdf_iterations.into();
                let cost = Argon2Cost {
                    memory_kib: u64::from(memory) * 1024,
                    passes,
                    lanes,
                };
                cost.check()?;
                Ok(Self::Argon2id(cost))
            }
            _ => Err(ImportError::NotSupported {
                what: "an unknown key derivation",
            }),
        }
    }

    fn derive(&self, secret: &[u8], salt: &[u8]) -> Result<Key, KdfError> {
        match self {
            Self::Pbkdf2 { rounds } => derive_pbkdf2(secret, salt, *rounds),
            Self::Argon2id(cost) => derive_argon2(
                Algorithm::Argon2id,
                Version::V0x13,
                secret,
                &sha256(&[salt]),
                *cost,
            ),
        }
    }
}

/// `2.IV|CIPHERTEXT|TAG`, each in base64.
struct Sealed {
    iv: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: Vec<u8>,
}

impl Sealed {
    fn parse(text: &str) -> Result<Self, ImportError> {
        let damaged = || ImportError::Damaged {
            what: "its encrypted part is malformed",
        };
        let parts = text.strip_prefix("2.").ok_or(ImportError::NotSupported {
            what: "an unknown encryption",
        })?;
        let parts: Result<Vec<_>, _> = parts
            .split('|')
            .map(|part| BASE64.decode(part.as_bytes()))
            .collect();
        let parts: [Vec<u8>; 3] = parts
            .map_err(|_| damaged())?
            .try_into()
            .map_err(|_| damaged())?;
        let [iv, ciphertext, tag] = parts;
        Ok(Self {
            iv,
            ciphertext,
            tag,
        })
    }

    fn is_sealed_by(&self, mac: &Key) -> bool {
        is_hmac_sha256(mac.as_slice(), &[&self.iv, &self.ciphertext], &self.tag)
    }
}

/// The kind of a field that shows another one's value.
const LINKED: i64 = 3;
/// Members of an item that say nothing to people, or repeat what others say.
const SKIPPED: &[&str] = &[
    "creationDate",
    "data",
    "edit",
    "encryptedFor",
    "key",
    "localData",
    "object",
    "organizationId",
    "organizationUseTotp",
    "permissions",
    "secureNote",
    "type",
    "viewPassword",
];

fn read_plain(
    file: &BTreeMap<String, Node<'_>>,
    mut attachments: Attachments,
) -> Result<Imported, ImportError> {
    let mut folders = BTreeMap::new();
    for list in ["folders", "collections"] {
        let Some(list) = file.get(list) else { continue };
        for folder in list.list()? {
            let mut folder = Members::from(folder.read_value()?);
            folders.insert(folder.text("id"), folder.text("name"));
        }
    }
    let mut collector = Collector::default();
    let mut marks: BTreeMap<&str, usize> = BTreeMap::new();
    for node in file.get("items").ok_or(NO_EXPORT)?.list()? {
        let Some(entry) = collector.members_of(&node)? else {
            continue;
        };
        read_entry(
            entry,
            &folders,
            &mut attachments,
            &mut marks,
            &mut collector,
        )?;
    }
    for (mark, count) in marks {
        collector.lose(Loss::of_mark(mark, count));
    }
    for name in attachments.values().flatten() {
        collector.lose(Loss::of_file(format!("the attachment {name} of no item")));
    }
    Ok(collector.into_imported())
}

fn read_entry(
    mut entry: Members,
    folders: &BTreeMap<String, String>,
    attachments: &mut Attachments,
    marks: &mut BTreeMap<&'static str, usize>,
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let (id, name) = (entry.text("id"), entry.text("name"));
    let mut login = entry.object("login");
    let user = login.text("username");
    let folder_ids = [entry.text("folderId")];
    let folder_ids = folder_ids
        .into_iter()
        .chain(Builder::take_texts(&mut entry, "collectionIds"));
    let mut in_folders = folder_ids
        .filter_map(|id| folders.get(&id))
        .map(String::as_str);
    let folder = in_folders.next().unwrap_or_default();
    let source_id = match id.as_str() {
        "" => [folder, &name, &user].join("\0"),
        id => id.to_owned(),
    };
    // Bitwarden itself nests folders by the slashes in their names.
    let mut builder = collector.begin(source_id, folder.split('/'), &name)?;
    let mut attached = Distinct::from(attachments.remove(&id).unwrap_or_default());
    if !entry.text("deletedDate").is_empty() {
        return builder.lose_all("it is in the trash");
    }
    builder.set_modified(seconds_of(&entry.text("revisionDate")));
    let is_marked = [
        ("ask again", entry.is("reprompt")),
        ("archived", !entry.text("archivedDate").is_empty()),
    ];
    for (mark, _) in is_marked.into_iter().filter(|(_, is_marked)| *is_marked) {
        *marks.entry(mark).or_insert(0) += 1;
    }
    builder.add(FieldRole::User.name(), user)?;
    read_login(login, &mut builder)?;
    builder.add(FieldRole::Notes.name(), entry.text("notes"))?;
    if entry.is("favorite") {
        builder.add(FieldRole::Favourite.name(), "yes")?;
    }
    let fields = builder.take_objects(&mut entry, "fields")?;
    let history = builder.take_objects(&mut entry, "passwordHistory")?;
    for file in builder.take_objects(&mut entry, "attachments")? {
        let mut file = file;
        attached.push(file.text("fileName"));
    }
    let created = seconds_of(&entry.text("creationDate"));
    entry.skip(SKIPPED);
    // Cards, identities, keys, and kinds that are newer than this program.
    for (name, value) in entry.rest() {
        match value {
            Value::Object(kind) => builder.add_rest(Members::new(kind))?,
            _ => builder.lose_member(&name)?,
        }
    }
    let mut hidden = Vec::new();
    for mut field in fields {
        let name = field.text("name");
        if field.number("type") == Some(LINKED) {
            builder.lose_link(&name, "field")?;
        } else {
            builder.add(&name, text_from(field.any("value")))?;
            hidden.push(name);
        }
    }
    read_history(history, &hidden, created, &mut builder)?;
    for name in attached.into_texts() {
        builder.lose(format!("the attachment {name}"))?;
    }
    for name in in_folders {
        builder.lose(format!("the further collection {name}"))?;
    }
    builder.finish();
    Ok(())
}

fn read_login(mut login: Members, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    builder.add(FieldRole::Password.name(), login.text("password"))?;
    for address in login.list("uris") {
        let address = match address {
            Value::Object(members) => Members::new(members).text("uri"),
            address => text_from(address),
        };
        builder.add(FieldRole::Url.name(), address)?;
    }
    builder.add(FieldRole::Otp.name(), login.text("totp"))?;
    for passkey in builder.take_objects(&mut login, "fido2Credentials")? {
        match passkey_of(passkey) {
            Some(passkey) => builder.add_passkey(&passkey)?,
            None => builder.lose("a passkey without a key")?,
        }
    }
    login.skip(&["autofillOnPageLoad", "passwordRevisionDate", "uri"]);
    builder.lose_rest(login, "login.")
}

/// Former passwords, each with the time at which it was replaced. Former values of hidden fields
/// stand between them as `NAME: VALUE`.
fn read_history(
    history: Vec<Members>,
    fields: &[String],
    created: Option<i64>,
    builder: &mut Builder<'_>,
) -> Result<(), ImportError> {
    let names = fields.iter().map(String::as_str);
    let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    let mut replaced: BTreeMap<&str, Vec<(String, Option<i64>)>> = BTreeMap::new();
    for mut former in history {
        let until = seconds_of(&former.text("lastUsedDate"));
        let value = former.text("password");
        let splits = value.match_indices(": ").map(|(place, _)| place);
        let of_field = splits
            .take_while(|place| *place <= NAME_LEN_MAX)
            .find_map(|place| {
                let name = names.get(value.get(..place)?)?;
                Some((*name, value.get(place + 2..)?))
            });
        let (name, value) = match of_field {
            Some((name, value)) => (name, value.to_owned()),
            None => (FieldRole::Password.name(), value),
        };
        replaced.entry(name).or_default().push((value, until));
    }
    for (name, values) in replaced {
        builder.add_replaced(name, values, created)?;
    }
    Ok(())
}

fn passkey_of(mut passkey: Members) -> Option<Passkey> {
    let id = passkey.text("credentialId");
    let passkey = Passkey {
        credential_id: credential_id_of(&id).unwrap_or(id),
        rp_id: passkey.text("rpId"),
        username: passkey.text("userName"),
        user_display_name: passkey.text("userDisplayName"),
        user_handle: passkey.text("userHandle"),
        key: passkey.text("keyValue"),
        other: passkey.rest().collect(),
    };
    (!passkey.key.is_empty()).then_some(passkey)
}

/// Bitwarden writes a credential's id as a UUID, or as base64url after `b64.`.
fn credential_id_of(id: &str) -> Option<String> {
    if let Some(id) = id.strip_prefix("b64.") {
        return Some(id.trim_end_matches('=').to_owned());
    }
    let lengths = id.split('-').map(str::len);
    if !lengths.eq([8, 4, 4, 4, 12]) {
        return None;
    }
    let bytes = HEXLOWER_PERMISSIVE.decode(id.replace('-', "").as_bytes());
    Some(BASE64URL_NOPAD.encode(&bytes.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_id_is_the_bytes_of_a_uuid_or_base64() {
        let check = |id, expected: &str| {
            let id: Option<String> = credential_id_of(id);
            assert_eq!(id.as_deref(), Some(expected));
        };
        check(
            "2b3f1c0e-7a9d-4e2b-9c11-0f6a8d3e5b27",
            "Kz8cDnqdTiucEQ9qjT5bJw",
        );
        check("b64.AAEC", "AAEC");
        assert_eq!(credential_id_of("AAEC"), None);
    }
}
