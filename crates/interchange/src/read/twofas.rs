//! 2FAS' JSON (`.2fas`), plain or encrypted.
//!
//! In an encrypted file, `servicesEncrypted` is `DATA:SALT:NONCE`, each in base64. PBKDF2 with
//! HMAC-SHA256 and 10000 rounds derives the key for AES-256-GCM. The last 16 bytes of the data are
//! the tag.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use passmate_vault::Passphrase;
use passmate_vault::login::FieldRole;
use passmate_vault::otp::{OtpAuth, OtpKind, split_names};
use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Imported;
use super::item::{Collector, text_of};
use super::otpauth::{begin_code, read_settings};
use crate::crypto::{decrypt_aes_gcm, derive_pbkdf2};
use crate::error::ImportError;
use crate::syntax::json;

/// The rounds of PBKDF2, which the format fixes.
const ROUNDS: u32 = 10_000;
const TAG_LEN: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outer {
    #[serde(default)]
    services: Option<json::Items<Value>>,
    #[serde(default)]
    services_encrypted: Option<String>,
    /// A known text under the same password.
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    groups: Option<Vec<Group>>,
}

#[derive(Deserialize)]
struct Group {
    id: String,
    #[serde(default)]
    name: String,
}

/// Reads an export.
pub(crate) fn read(bytes: &[u8], secret: Option<&Passphrase>) -> Result<Imported, ImportError> {
    let file: Outer = json::read(bytes)?;
    let sealed = file.services_encrypted.filter(|sealed| !sealed.is_empty());
    let services: json::Items<Value> = match (sealed, file.services) {
        (Some(sealed), _) => {
            let reference = file.reference.as_deref().unwrap_or_default();
            json::read(&open(&sealed, reference, secret)?)?
        }
        (None, Some(services)) => services,
        (None, None) => {
            return Err(ImportError::NotThisFormat {
                expected: "an export of 2FAS",
            });
        }
    };
    let groups = file.groups.into_iter().flatten();
    let groups: BTreeMap<_, _> = groups.map(|group| (group.id, group.name)).collect();
    let mut collector = Collector::default();
    for service in services.0 {
        read_service(&service, &groups, &mut collector)?;
    }
    Ok(collector.into_imported())
}

fn open(
    sealed: &str,
    reference: &str,
    secret: Option<&Passphrase>,
) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let sealed = Sealed::parse(sealed).ok_or(ImportError::Damaged {
        what: "its encrypted part is malformed",
    })?;
    let secret = secret.ok_or(ImportError::SecretNeeded)?;
    if let Some(opened) = sealed.open(secret)? {
        return Ok(opened);
    }
    // Only the reference tells a wrong password from damage.
    match Sealed::parse(reference) {
        Some(reference) if reference.open(secret)?.is_some() => Err(ImportError::Damaged {
            what: "its data was changed or cut off",
        }),
        _ => Err(ImportError::WrongSecret),
    }
}

struct Sealed {
    data: Vec<u8>,
    tag: Vec<u8>,
    salt: Vec<u8>,
    nonce: Vec<u8>,
}

impl Sealed {
    fn parse(text: &str) -> Option<Self> {
        let parts: Result<Vec<_>, _> = text
            .split(':')
            .map(|part| BASE64.decode(part.as_bytes()))
            .collect();
        let [mut data, salt, nonce] = parts.ok()?.try_into().ok()?;
        let tag = data.split_off(data.len().checked_sub(TAG_LEN)?);
        Some(Self {
            data,
            tag,
            salt,
            nonce,
        })
    }

    fn open(&self, secret: &Passphrase) -> Result<Option<Zeroizing<Vec<u8>>>, ImportError> {
        let key = derive_pbkdf2(secret.as_bytes(), &self.salt, ROUNDS)?;
        Ok(decrypt_aes_gcm(&key, &self.nonce, &self.data, &self.tag))
    }
}

fn read_service(
    service: &Value,
    groups: &BTreeMap<String, String>,
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let none = Map::new();
    let service = service.as_object().unwrap_or(&none);
    let otp = service
        .get("otp")
        .and_then(Value::as_object)
        .unwrap_or(&none);
    let text =
        |map: &Map<String, Value>, name: &str| map.get(name).map(text_of).unwrap_or_default();
    let first = |texts: [String; 2]| {
        let [one, other] = texts;
        if one.trim().is_empty() { other } else { one }
    };
    let account = first([text(otp, "account"), text(otp, "label")]);
    let (label, issuer) = split_names(&account, &text(otp, "issuer"));
    // The person may have renamed the service.
    let name = first([text(service, "name"), issuer.clone()]);
    let group = groups.get(&text(service, "groupId"));
    let folder: Vec<&str> = group.map(String::as_str).into_iter().collect();
    // Older files do not tell the kind.
    let kind = first([text(otp, "tokenType"), "totp".to_owned()]);
    let auth = read_settings(
        &kind,
        &text(service, "secret"),
        otp,
        ["algorithm", "digits", "period", "counter"],
    );
    let issuer = first([issuer, name.clone()]);
    let auth = auth.map(|auth| OtpAuth {
        label: label.clone(),
        issuer,
        ..auth
    });
    let named = OtpAuth {
        label,
        issuer: name,
        ..OtpAuth::new(OtpKind::Steam, Zeroizing::default())
    };
    let mut builder = begin_code(collector, None, &folder, &named)?;
    let updated = service.get("updatedAt").and_then(Value::as_i64);
    builder.set_modified(updated.map(|time| time / 1000));
    let auth = match auth {
        Ok(auth) => auth,
        Err(error) => return builder.lose_all(&error),
    };
    builder.add(FieldRole::Otp.name(), auth.to_address().as_str())?;
    builder.finish();
    Ok(())
}
