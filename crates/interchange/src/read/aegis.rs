//! Aegis' JSON, plain or encrypted.
//!
//! In an encrypted file, `header.slots` has the key of the database once for each way to unlock it.
//! A slot of a password has the parameters of scrypt, which derives the key for AES-256-GCM that
//! decrypts the slot's `key`. That key decrypts `db`, with the nonce and the tag in
//! `header.params`.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use passmate_vault::Passphrase;
use passmate_vault::login::FieldRole;
use passmate_vault::otp::{OtpAuth, OtpKind, split_names};
use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Imported;
use super::item::{Collector, text_of};
use super::otpauth::{begin_code, read_settings};
use crate::crypto::{Key, ScryptCost, decrypt_aes_gcm, derive_scrypt};
use crate::error::ImportError;
use crate::syntax::json;

/// The kind of a slot whose key comes from a password.
const SLOT_PASSWORD: u64 = 1;
/// The most slots that are tried.
const SLOTS_MAX: usize = 16;

const DAMAGED: ImportError = ImportError::Damaged {
    what: "its encrypted part is malformed",
};

#[derive(Deserialize)]
struct Outer {
    #[serde(default)]
    header: Header,
    db: Value,
}

#[derive(Deserialize, Default)]
struct Header {
    #[serde(default)]
    slots: Option<Vec<Slot>>,
    #[serde(default)]
    params: Option<Sealing>,
}

/// The nonce and the tag of something encrypted, in hexadecimal.
#[derive(Deserialize)]
struct Sealing {
    nonce: String,
    tag: String,
}

#[derive(Deserialize)]
struct Slot {
    #[serde(rename = "type")]
    kind: u64,
    #[serde(default)]
    key: String,
    key_params: Option<Sealing>,
    n: Option<u64>,
    r: Option<u32>,
    p: Option<u32>,
    #[serde(default)]
    salt: String,
}

#[derive(Deserialize)]
struct Database {
    entries: json::Items<Value>,
    #[serde(default)]
    groups: Option<Vec<Group>>,
}

#[derive(Deserialize)]
struct Group {
    uuid: String,
    #[serde(default)]
    name: String,
}

/// Reads an export.
pub(crate) fn read(bytes: &[u8], secret: Option<&Passphrase>) -> Result<Imported, ImportError> {
    let file: Outer = json::read(bytes)?;
    match &file.db {
        Value::Object(_) => read_database(from_value(file.db)?),
        Value::String(db) => read_database(json::read(&open(&file.header, db, secret)?)?),
        _ => Err(ImportError::NotThisFormat {
            expected: "an export of Aegis",
        }),
    }
}

/// Reads a value whose position in the file is not known any more.
fn from_value<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ImportError> {
    serde_json::from_value(value).map_err(|_| ImportError::NotThisFormat {
        expected: "an export of Aegis: its database has no list of entries",
    })
}

fn open(
    header: &Header,
    db: &str,
    secret: Option<&Passphrase>,
) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let params = header.params.as_ref().ok_or(DAMAGED)?;
    let (nonce, tag) = (hex(&params.nonce)?, hex(&params.tag)?);
    let db = BASE64.decode(db.as_bytes()).map_err(|_| DAMAGED)?;
    let slots = header.slots.iter().flatten();
    let slots: Vec<&Slot> = slots
        .filter(|slot| slot.kind == SLOT_PASSWORD)
        .take(SLOTS_MAX)
        .collect();
    if slots.is_empty() {
        return Err(ImportError::NotSupported {
            what: "encryption without a password (export it with one)",
        });
    }
    let costs: Result<Vec<_>, _> = slots.iter().map(|slot| slot.cost()).collect();
    let costs = costs?;
    let secret = secret.ok_or(ImportError::SecretNeeded)?;
    for (slot, cost) in slots.into_iter().zip(costs) {
        if let Some(key) = slot.open(cost, secret)? {
            return decrypt_aes_gcm(&key, &nonce, &db, &tag).ok_or(ImportError::Damaged {
                what: "its data was changed or cut off",
            });
        }
    }
    Err(ImportError::WrongSecret)
}

impl Slot {
    fn cost(&self) -> Result<ScryptCost, ImportError> {
        let (Some(n), Some(r), Some(p)) = (self.n, self.r, self.p) else {
            return Err(ImportError::Damaged {
                what: "its key derivation lacks a parameter",
            });
        };
        Ok(ScryptCost::new(n, r, p)?)
    }

    /// The key of the database; `None` if the password is not that of this slot.
    fn open(&self, cost: ScryptCost, secret: &Passphrase) -> Result<Option<Key>, ImportError> {
        let params = self.key_params.as_ref().ok_or(DAMAGED)?;
        let (nonce, tag) = (hex(&params.nonce)?, hex(&params.tag)?);
        let (sealed, salt) = (hex(&self.key)?, hex(&self.salt)?);
        let derived = derive_scrypt(secret.as_bytes(), &salt, cost)?;
        let Some(key) = decrypt_aes_gcm(&derived, &nonce, &sealed, &tag) else {
            return Ok(None);
        };
        let key: &[u8; 32] = key.as_slice().try_into().map_err(|_| DAMAGED)?;
        Ok(Some(Zeroizing::new(*key)))
    }
}

fn hex(text: &str) -> Result<Vec<u8>, ImportError> {
    HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .map_err(|_| DAMAGED)
}

fn read_database(database: Database) -> Result<Imported, ImportError> {
    let groups = database.groups.into_iter().flatten();
    let groups: BTreeMap<_, _> = groups.map(|group| (group.uuid, group.name)).collect();
    let mut collector = Collector::default();
    for entry in database.entries.0 {
        read_entry(&entry, &groups, &mut collector)?;
    }
    Ok(collector.into_imported())
}

fn read_entry(
    entry: &Value,
    groups: &BTreeMap<String, String>,
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let none = Map::new();
    let entry = entry.as_object().unwrap_or(&none);
    let text = |name: &str| entry.get(name).map(text_of).unwrap_or_default();
    let info = entry
        .get("info")
        .and_then(Value::as_object)
        .unwrap_or(&none);
    // Older files have the name of one group, newer ones the ids of several.
    let mut names = vec![text("group")];
    let ids = entry.get("groups").and_then(Value::as_array);
    for id in ids.into_iter().flatten().filter_map(Value::as_str) {
        names.extend(groups.get(id).cloned());
    }
    names.retain(|name| !name.is_empty());
    let (label, issuer) = split_names(&text("name"), &text("issuer"));
    let auth = read_settings(
        &text("type"),
        info.get("secret")
            .and_then(Value::as_str)
            .unwrap_or_default(),
        info,
        ["algo", "digits", "period", "counter"],
    )
    .map(|auth| OtpAuth {
        label: label.clone(),
        issuer: issuer.clone(),
        ..auth
    });
    // Without a secret, its names are those of the loss.
    let named = OtpAuth {
        label,
        issuer,
        ..OtpAuth::new(OtpKind::Steam, Zeroizing::default())
    };
    let folder: Vec<&str> = names.first().map(String::as_str).into_iter().collect();
    let id = Some(text("uuid")).filter(|id| !id.is_empty());
    let mut builder = begin_code(
        collector,
        id.as_deref(),
        &folder,
        auth.as_ref().unwrap_or(&named),
    )?;
    let auth = match auth {
        Ok(auth) => auth,
        Err(error) => return builder.lose_all(&error),
    };
    builder.add(FieldRole::Otp.name(), auth.to_address().as_str())?;
    builder.add(FieldRole::Notes.name(), text("note"))?;
    if entry.get("favorite") == Some(&Value::Bool(true)) {
        builder.add(FieldRole::Favourite.name(), "yes")?;
    }
    // A record is in one folder.
    let further: Vec<&str> = names.iter().skip(1).map(String::as_str).collect();
    builder.add(FieldRole::Tags.name(), further.join(", "))?;
    builder.finish();
    Ok(())
}
