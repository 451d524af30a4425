//! Bitwarden's JSON export, plain or encrypted under a password.
//!
//! In an encrypted export, PBKDF2 or Argon2id derives a key from the password and `salt`.
//! HKDF-Expand with `enc` and `mac` derives the keys for AES-256-CBC and HMAC-SHA256 from it.
//! `encKeyValidation_DO_NOT_EDIT` tells a wrong password from damage, and `data` is the plain
//! export.

use std::collections::BTreeMap;

use argon2::{Algorithm, Version};
use data_encoding::BASE64;
use passmate_vault::Passphrase;
use passmate_vault::login::FieldRole;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::Imported;
use super::item::{Collector, seconds_of, text_of, words_of};
use crate::crypto::{
    Argon2Cost, KdfError, Key, check_pbkdf2, decrypt_aes_cbc, derive_argon2, derive_pbkdf2,
    expand_hkdf, is_hmac_sha256, sha256,
};
use crate::error::ImportError;
use crate::loss::Loss;
use crate::syntax::json;

/// Reads an export.
pub(crate) fn read_json(
    bytes: &[u8],
    secret: Option<&Passphrase>,
) -> Result<Imported, ImportError> {
    let outer: Outer = json::read(bytes)?;
    if !outer.encrypted {
        return read_plain(json::read(bytes)?);
    }
    if !outer.password_protected {
        return Err(ImportError::NotSupported {
            what: "encryption for a Bitwarden account (export it \"password protected\" instead)",
        });
    }
    let opened = open(&json::read(bytes)?, secret)?;
    read_plain(json::read(&opened)?)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outer {
    encrypted: bool,
    #[serde(default)]
    password_protected: bool,
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

#[derive(Deserialize)]
struct Plain {
    #[serde(default)]
    folders: Option<Vec<Folder>>,
    #[serde(default)]
    collections: Option<Vec<Folder>>,
    items: json::Items<Entry>,
}

#[derive(Deserialize)]
struct Folder {
    id: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: Option<String>,
    folder_id: Option<String>,
    #[serde(default)]
    collection_ids: Option<Vec<String>>,
    #[serde(rename = "type")]
    kind: u32,
    name: Option<String>,
    notes: Option<String>,
    #[serde(default)]
    favorite: Option<bool>,
    #[serde(default)]
    reprompt: Option<u32>,
    revision_date: Option<String>,
    deleted_date: Option<String>,
    archived_date: Option<String>,
    #[serde(default)]
    fields: Option<Vec<CustomField>>,
    login: Option<Login>,
    // Members of the other kinds are carried by their names, whatever they are.
    card: Option<serde_json::Map<String, Value>>,
    identity: Option<serde_json::Map<String, Value>>,
    ssh_key: Option<serde_json::Map<String, Value>>,
    password_history: Option<Vec<serde::de::IgnoredAny>>,
    attachments: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct CustomField {
    name: Option<String>,
    value: Option<String>,
    #[serde(rename = "type", default)]
    kind: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    uris: Option<Vec<Uri>>,
    username: Option<String>,
    password: Option<String>,
    totp: Option<String>,
    fido2_credentials: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct Uri {
    uri: Option<String>,
}

/// The kind of a field that shows another one's value.
const LINKED: u32 = 3;
/// Logins, notes, cards, identities, SSH keys.
const KIND_MAX: u32 = 5;

fn read_plain(file: Plain) -> Result<Imported, ImportError> {
    let folders = file.folders.into_iter().chain(file.collections).flatten();
    let folders: BTreeMap<String, String> = folders
        .filter_map(|folder| Some((folder.id?, folder.name?)))
        .collect();
    let mut collector = Collector::default();
    let mut marks: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in file.items.0 {
        let is_marked = [
            ("favourite", entry.favorite == Some(true)),
            ("ask again", entry.reprompt.unwrap_or(0) != 0),
            ("archived", entry.archived_date.is_some()),
        ];
        for (mark, _) in is_marked.into_iter().filter(|(_, is_marked)| *is_marked) {
            *marks.entry(mark).or_insert(0) += 1;
        }
        read_entry(entry, &folders, &mut collector)?;
    }
    for (mark, count) in marks {
        collector.lose(Loss::of_mark(mark, count));
    }
    Ok(collector.into_imported())
}

fn read_entry(
    entry: Entry,
    folders: &BTreeMap<String, String>,
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let name = entry.name.unwrap_or_default();
    let collections = entry.collection_ids.unwrap_or_default();
    let folder = entry
        .folder_id
        .iter()
        .chain(&collections)
        .find_map(|id| folders.get(id))
        .map_or("", String::as_str);
    let login = entry.login;
    let source_id = entry.id.unwrap_or_else(|| {
        let user = login
            .as_ref()
            .and_then(|login| login.username.as_deref())
            .unwrap_or_default();
        [folder, &name, user].join("\0")
    });
    // Bitwarden itself nests folders by the slashes in their names.
    let mut builder = collector.begin(source_id, folder.split('/'), &name)?;
    if entry.deleted_date.is_some() {
        return builder.lose_all("it is in the trash");
    }
    builder.set_modified(entry.revision_date.as_deref().and_then(seconds_of));
    if let Some(login) = login {
        builder.add_some(FieldRole::User.name(), login.username)?;
        builder.add_some(FieldRole::Password.name(), login.password)?;
        for uri in login.uris.unwrap_or_default() {
            builder.add_some(FieldRole::Url.name(), uri.uri)?;
        }
        builder.add_some(FieldRole::Otp.name(), login.totp)?;
        builder.lose_count(
            login.fido2_credentials.map_or(0, |all| all.len()),
            "passkey",
        )?;
    }
    for (name, value) in [entry.card, entry.identity, entry.ssh_key]
        .into_iter()
        .flatten()
        .flatten()
    {
        builder.add(&words_of(&name), text_of(&value))?;
    }
    builder.add_some(FieldRole::Notes.name(), entry.notes)?;
    for field in entry.fields.unwrap_or_default() {
        let name = field.name.unwrap_or_default();
        if field.kind == LINKED {
            builder.lose_link(&name, "field")?;
        } else {
            builder.add_some(&name, field.value)?;
        }
    }
    builder.lose_count(
        entry.password_history.map_or(0, |all| all.len()),
        "former password",
    )?;
    builder.lose_count(entry.attachments.map_or(0, |all| all.len()), "attachment")?;
    if collections.len() > 1 {
        builder.lose("all but the first of its collections")?;
    }
    if entry.kind > KIND_MAX {
        builder.lose("what belongs to a kind of item that is newer")?;
    }
    builder.finish();
    Ok(())
}
