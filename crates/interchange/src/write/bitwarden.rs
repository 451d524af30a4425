//! Bitwarden's JSON, not encrypted. Each record is a login in a folder; fields without a place of
//! their own are custom fields. Secret custom fields have the type "hidden".

use passmate_vault::login::is_secret;
use passmate_vault::view::View;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Entry, entries, other_fields, value_of};

pub(super) fn write(view: &View<'_>) -> Zeroizing<Vec<u8>> {
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
    let all = json!({
        "encrypted": false,
        "folders": folders
            .iter()
            .map(|folder| json!({ "id": folder_id(folder), "name": folder }))
            .collect::<Vec<_>>(),
        "items": entries
            .iter()
            .map(|entry| item(entry, folder_id(&entry.folder)))
            .collect::<Vec<_>>(),
    });
    let mut bytes = Zeroizing::new(Vec::new());
    serde_json::to_writer_pretty(&mut *bytes, &all).expect("a Vec takes all bytes");
    bytes.push(b'\n');
    bytes
}

fn item(entry: &Entry<'_>, folder_id: Option<String>) -> Value {
    let login = &entry.login;
    let url = value_of(&login.url);
    let uris = if url.is_empty() {
        json!([])
    } else {
        json!([{ "match": null, "uri": url }])
    };
    let fields: Vec<Value> = other_fields(login)
        .map(|(name, value)| {
            let kind = i32::from(is_secret(&name));
            json!({ "name": name, "value": value, "type": kind, "linkedId": null })
        })
        .collect();
    json!({
        "id": entry.record.id.as_text().to_string_lossy(),
        "organizationId": null,
        "folderId": folder_id,
        "collectionIds": null,
        "type": 1,
        "reprompt": 0,
        "favorite": false,
        "name": entry.name,
        "notes": text_or_null(&value_of(&login.notes)),
        "fields": fields,
        "login": {
            "uris": uris,
            "username": text_or_null(&value_of(&login.user)),
            "password": text_or_null(&value_of(&login.password)),
            "totp": text_or_null(&value_of(&login.otp)),
        },
    })
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
        let json: Value = serde_json::from_slice(&write(&vault().view())).unwrap();
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
