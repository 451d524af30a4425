//! Proton Pass' export: JSON, as it is or as `data.json` in a ZIP archive.

use std::collections::BTreeMap;

use passmate_vault::login::FieldRole;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::Imported;
use super::item::{Builder, Collector, text_of, words_of};
use crate::error::ImportError;
use crate::loss::Loss;
use crate::syntax::{json, zip};

/// The state of an item in the trash.
const TRASHED: i64 = 2;

/// Reads an export.
pub(crate) fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    if bytes.starts_with(b"-----BEGIN PGP") {
        return Err(encrypted());
    }
    let file: Export = if zip::is_zip(bytes) {
        match zip::read_member(bytes, "data.json")? {
            Some(data) => json::read(&data)?,
            None if zip::read_member(bytes, ".pgp")?.is_some() => return Err(encrypted()),
            None => {
                return Err(ImportError::NotThisFormat {
                    expected: "an export of Proton Pass",
                });
            }
        }
    } else {
        json::read(bytes)?
    };
    if file.encrypted {
        return Err(encrypted());
    }
    let mut collector = Collector::default();
    let mut pinned = 0;
    for vault in file.vaults.values() {
        for item in &vault.items.0 {
            pinned += usize::from(item.pinned);
            read_item(item, &vault.name, &mut collector)?;
        }
    }
    if pinned > 0 {
        collector.lose(Loss::of_mark("pinned", pinned));
    }
    Ok(collector.into_imported())
}

fn encrypted() -> ImportError {
    ImportError::NotSupported {
        what: "PGP (decrypt it with `gpg --decrypt`, or export without a passphrase)",
    }
}

#[derive(Deserialize)]
struct Export {
    #[serde(default)]
    encrypted: bool,
    vaults: BTreeMap<String, PassVault>,
}

#[derive(Deserialize)]
struct PassVault {
    name: String,
    items: json::Items<PassItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PassItem {
    item_id: String,
    #[serde(default)]
    share_id: String,
    data: Data,
    #[serde(default)]
    state: i64,
    alias_email: Option<String>,
    modify_time: Option<i64>,
    #[serde(default)]
    pinned: bool,
    #[serde(default)]
    files: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    metadata: Metadata,
    #[serde(default)]
    extra_fields: Vec<ExtraField>,
    #[serde(default)]
    content: Map<String, Value>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    note: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtraField {
    #[serde(default)]
    field_name: String,
    #[serde(default)]
    data: Map<String, Value>,
}

fn read_item(item: &PassItem, vault: &str, collector: &mut Collector) -> Result<(), ImportError> {
    let Data {
        metadata,
        extra_fields,
        content,
    } = &item.data;
    // An item's id is unique only within its vault.
    let source_id = format!("{}\0{}", item.share_id, item.item_id);
    let mut builder = collector.begin(source_id, [vault], &metadata.name)?;
    if item.state == TRASHED {
        return builder.lose_all("it is in the trash");
    }
    builder.set_modified(item.modify_time);
    let text = |key: &str| content.get(key).and_then(Value::as_str).unwrap_or_default();
    // An item has a user name, an email address, or both. Older exports call either of them
    // `username`.
    let users = ["itemUsername", "username", "itemEmail"].map(text);
    let user = users
        .into_iter()
        .find(|user| !user.is_empty())
        .unwrap_or_default();
    builder.add(FieldRole::User.name(), user)?;
    builder.add(FieldRole::Password.name(), text("password"))?;
    if text("itemEmail") != user {
        builder.add("email", text("itemEmail"))?;
    }
    for url in content
        .get("urls")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        builder.add(FieldRole::Url.name(), url.as_str().unwrap_or_default())?;
    }
    builder.add(FieldRole::Otp.name(), text("totpUri"))?;
    builder.add_some("alias", item.alias_email.clone())?;
    builder.add(FieldRole::Notes.name(), metadata.note.as_str())?;
    for (name, value) in content {
        match name.as_str() {
            "itemUsername" | "username" | "itemEmail" | "password" | "urls" | "totpUri" => {}
            "passkeys" => builder.lose_count(value.as_array().map_or(0, Vec::len), "passkey")?,
            "sections" | "extraSections" => read_sections(value, &mut builder)?,
            _ => builder.add(&words_of(name), text_of(value))?,
        }
    }
    extra_fields
        .iter()
        .try_for_each(|field| read_extra(field, &mut builder))?;
    builder.lose_count(item.files.len(), "attachment")?;
    builder.finish();
    Ok(())
}

/// Reads the sections of identities and custom items. Each is a list of further fields.
fn read_sections(sections: &Value, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    for section in sections.as_array().into_iter().flatten() {
        for field in section
            .get("sectionFields")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            match ExtraField::deserialize(field) {
                Ok(field) => read_extra(&field, builder)?,
                Err(_) => builder.lose("a field in a section, which has an unknown form")?,
            }
        }
    }
    Ok(())
}

fn read_extra(field: &ExtraField, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    for (kind, value) in &field.data {
        let name = if kind == "totpUri" {
            FieldRole::Otp.name()
        } else {
            &field.field_name
        };
        builder.add(name, text_of(value))?;
    }
    Ok(())
}
