//! A vault in the forms that other programs read. What a form has no place for goes into the notes
//! or a field of the same name, never away; only the history stays here, except in our own forms.

use passmate_interchange::KdbxEntry;
use passmate_vault::login::FieldRole;
use passmate_vault::view::{View, ViewRecord};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use passmate_core::otp::Otp;

/// A record in the terms that most programs share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The path before its last part.
    pub folder: String,
    /// The last part of the path.
    pub name: String,
    /// Who logs in.
    pub user: String,
    /// The password.
    pub password: String,
    /// Where.
    pub url: String,
    /// The secret of one-time codes.
    pub otp: String,
    /// Text.
    pub notes: String,
    /// All other fields, in the order of their names.
    pub others: Vec<(String, String)>,
}

impl Entry {
    /// What a record is to other programs.
    #[must_use]
    pub fn of(record: &ViewRecord<'_>) -> Self {
        let path = record.path.to_string_lossy();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let mut fields: Vec<(String, String)> = record
            .fields()
            .map(|field| {
                (
                    field.name.to_string_lossy().into_owned(),
                    field.value.to_string_lossy().into_owned(),
                )
            })
            .collect();
        let mut take = |names: &[&str]| {
            let place = names.iter().find_map(|name| {
                fields
                    .iter()
                    .position(|(other, _)| other.eq_ignore_ascii_case(name))
            });
            place.map_or_else(String::new, |place| fields.remove(place).1)
        };
        Self {
            user: take(FieldRole::User.names()),
            password: take(FieldRole::Password.names()),
            url: take(FieldRole::Url.names()),
            otp: take(FieldRole::Otp.names()),
            notes: take(FieldRole::Notes.names()),
            folder: folder.to_owned(),
            name: name.to_owned(),
            others: fields,
        }
    }
}

/// What KeePass' file takes of each record, in folders as groups; fields for which `is_secret`
/// holds are protected there.
#[must_use]
pub fn to_keepass(view: &View<'_>, is_secret: impl Fn(&str) -> bool) -> Vec<KdbxEntry> {
    view.records()
        .iter()
        .map(|record| keepass_entry(record, &is_secret))
        .collect()
}

/// The names that every entry has in KeePass, and the one under which KeePassXC keeps what one-time
/// codes are made from.
const KEEPASS_KEYS: [&str; 6] = ["Title", "UserName", "Password", "URL", "Notes", "otp"];

fn keepass_entry(record: &ViewRecord<'_>, is_secret: &impl Fn(&str) -> bool) -> KdbxEntry {
    let Entry {
        folder,
        name,
        user,
        password,
        url,
        otp,
        notes,
        others,
    } = Entry::of(record);
    let otp = Otp::address_of(&otp, &name).map_or(otp, |address| address.to_string());
    let mut strings: Vec<(String, String, bool)> = KEEPASS_KEYS
        .into_iter()
        .zip([name, user, password, url, notes, otp])
        .filter(|(key, value)| *key == "Title" || !value.is_empty())
        .map(|(key, value)| (key.to_owned(), value, matches!(key, "Password" | "otp")))
        .collect();
    for (mut name, value) in others {
        let is_secret = is_secret(&name);
        while KEEPASS_KEYS.contains(&name.as_str()) || strings.iter().any(|(key, ..)| *key == name)
        {
            name.push('_');
        }
        strings.push((name, value, is_secret));
    }
    let times = || {
        record
            .record
            .changes()
            .iter()
            .filter_map(|change| change.stamp.deciding_seconds())
    };
    let id = Sha256::digest(record.id.as_text().as_bytes());
    KdbxEntry {
        id: std::array::from_fn(|place| id.get(place).copied().unwrap_or_default()),
        groups: folder.split('/').map(str::to_owned).collect(),
        strings,
        times: (
            times().min().unwrap_or_default(),
            times().max().unwrap_or_default(),
        ),
    }
}

/// Bitwarden's JSON, not encrypted: logins in folders, with all other fields as custom ones. Fields
/// for which `is_secret` holds are hidden there.
#[must_use]
pub fn to_bitwarden(view: &View<'_>, is_secret: impl Fn(&str) -> bool) -> Zeroizing<Vec<u8>> {
    let entries: Vec<(String, Entry)> = view
        .records()
        .iter()
        .map(|record| {
            (
                record.id.as_text().to_string_lossy().into_owned(),
                Entry::of(record),
            )
        })
        .collect();
    let mut folders: Vec<&str> = entries
        .iter()
        .map(|(_, entry)| entry.folder.as_str())
        .collect();
    folders.sort_unstable();
    folders.dedup();
    folders.retain(|folder| !folder.is_empty());
    let folder_id = |folder: &str| {
        folders
            .binary_search(&folder)
            .ok()
            .map(|place| format!("folder-{}", place + 1))
    };
    let text = |text: &str| {
        if text.is_empty() {
            Value::Null
        } else {
            Value::from(text)
        }
    };
    let item = |(id, entry): &(String, Entry)| {
        let field = |(name, value): &(String, String)| json!({ "name": name, "value": value, "type": i32::from(is_secret(name)), "linkedId": null });
        let uris = if entry.url.is_empty() {
            json!([])
        } else {
            json!([{ "match": null, "uri": entry.url }])
        };
        json!({
            "id": id,
            "organizationId": null,
            "folderId": folder_id(&entry.folder),
            "collectionIds": null,
            "type": 1,
            "reprompt": 0,
            "favorite": false,
            "name": entry.name,
            "notes": text(&entry.notes),
            "fields": entry.others.iter().map(field).collect::<Vec<_>>(),
            "login": {
                "uris": uris,
                "username": text(&entry.user),
                "password": text(&entry.password),
                "totp": text(&entry.otp),
            },
        })
    };
    let all = json!({
        "encrypted": false,
        "folders": folders
            .iter()
            .map(|folder| json!({ "id": folder_id(folder), "name": folder }))
            .collect::<Vec<_>>(),
        "items": entries.iter().map(item).collect::<Vec<_>>(),
    });
    let mut bytes = Zeroizing::new(serde_json::to_vec_pretty(&all).unwrap_or_default());
    bytes.push(b'\n');
    bytes
}

/// A table with the columns that KeePassXC and most others read. Fields without a column stand in
/// the notes, as `name: value`.
///
/// # Errors
/// There is no memory for it.
pub fn to_csv(view: &View<'_>) -> Result<Zeroizing<Vec<u8>>, csv::Error> {
    let mut writer = csv::WriterBuilder::new()
        .quote_style(csv::QuoteStyle::Always)
        .from_writer(Vec::new());
    writer.write_record([
        "Group", "Title", "Username", "Password", "URL", "Notes", "TOTP",
    ])?;
    for record in view.records() {
        let Entry {
            folder,
            name,
            user,
            password,
            url,
            otp,
            notes,
            others,
        } = Entry::of(record);
        let lines = others
            .iter()
            .map(|(name, value)| format!("{name}: {value}"));
        let notes = [notes]
            .into_iter()
            .filter(|notes| !notes.is_empty())
            .chain(lines)
            .collect::<Vec<_>>()
            .join("\n");
        writer.write_record([folder, name, user, password, url, notes, otp])?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(Zeroizing::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use passmate_vault::Vault;

    fn vault() -> Vault {
        let mut vault = Vault::new();
        vault
            .create_record("A".into(), "web/shop, \"best\"", 1)
            .unwrap();
        for (name, value) in [
            ("Login", "bob"),
            ("email", "b@x"),
            ("password", "p\"w,d"),
            ("url", "https://shop.example"),
            ("note", "one\ntwo"),
            ("totp", "GEZDGNBV"),
            ("pin", "1234"),
        ] {
            vault.set(&"A".into(), name, value, 2).unwrap();
        }
        vault.create_record("B".into(), "top", 1).unwrap();
        vault.create_record("C".into(), "gone", 1).unwrap();
        vault.delete(&"C".into(), 2).unwrap();
        vault
    }

    #[test]
    fn every_field_of_a_record_is_somewhere() {
        let vault = vault();
        let view = vault.view();
        let entry = Entry::of(view.get("web/shop, \"best\"").unwrap());
        assert_eq!(
            (entry.folder.as_str(), entry.name.as_str()),
            ("web", "shop, \"best\"")
        );
        assert_eq!(
            (entry.user.as_str(), entry.password.as_str()),
            ("bob", "p\"w,d")
        );
        assert_eq!(
            (entry.notes.as_str(), entry.otp.as_str()),
            ("one\ntwo", "GEZDGNBV")
        );
        let others: Vec<_> = entry
            .others
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(others, [("email", "b@x"), ("pin", "1234")]);
    }

    #[test]
    fn a_table_survives_commas_quotes_and_lines() {
        let csv = to_csv(&vault().view()).unwrap();
        let mut reader = csv::Reader::from_reader(csv.as_slice());
        let rows: Vec<Vec<String>> = reader
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect())
            .collect();
        assert_eq!(rows.len(), 2);
        let shop = rows.iter().find(|row| row[0] == "web").unwrap();
        assert_eq!(
            shop[1..],
            [
                "shop, \"best\"",
                "bob",
                "p\"w,d",
                "https://shop.example",
                "one\ntwo\nemail: b@x\npin: 1234",
                "GEZDGNBV"
            ]
        );
    }

    #[test]
    fn bitwarden_gets_logins_in_folders_and_secrets_hidden() {
        let json: Value =
            serde_json::from_slice(&to_bitwarden(&vault().view(), |name| name == "pin")).unwrap();
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
        assert_eq!(
            items.iter().find(|item| item["name"] == "top").unwrap()["login"]["password"],
            Value::Null
        );
    }
}
