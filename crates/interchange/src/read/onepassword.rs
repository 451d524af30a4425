//! 1Password's export, `.1pux`: a ZIP archive with the JSON file `export.data` and the attachments.

use std::collections::BTreeMap;

use passmate_vault::login::FieldRole;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::Imported;
use super::item::{Collector, text_of};
use crate::error::ImportError;
use crate::loss::Loss;
use crate::syntax::{json, zip};

/// Reads an export.
pub(crate) fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    const EXPECTED: ImportError = ImportError::NotThisFormat {
        expected: "a .1pux file",
    };
    if !zip::is_zip(bytes) {
        return Err(EXPECTED);
    }
    let data = zip::read_member(bytes, "export.data")?.ok_or(EXPECTED)?;
    let file: Export = json::read(&data)?;
    let mut collector = Collector::default();
    let mut marks: BTreeMap<&str, usize> = BTreeMap::new();
    let has_many = file.accounts.len() > 1;
    for account in &file.accounts {
        let account_name = account
            .attrs
            .account_name
            .as_deref()
            .or(account.attrs.name.as_deref())
            .unwrap_or_default();
        for vault in &account.vaults {
            let vault_name = vault.attrs.name.as_deref().unwrap_or_default();
            // With only one account, the account gets no folder.
            let folders = [if has_many { account_name } else { "" }, vault_name];
            for OnepEntry::Wrapped { item } | OnepEntry::Plain(item) in &vault.items.0 {
                let is_marked = [
                    ("favourite", item.fav_index != 0),
                    ("archived", item.state.as_deref() == Some("archived")),
                ];
                for (mark, _) in is_marked.into_iter().filter(|(_, is_marked)| *is_marked) {
                    *marks.entry(mark).or_insert(0) += 1;
                }
                read_item(item, folders, &mut collector)?;
            }
        }
    }
    for (mark, count) in marks {
        collector.lose(Loss::of_mark(mark, count));
    }
    Ok(collector.into_imported())
}

#[derive(Deserialize)]
struct Export {
    accounts: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    attrs: Attrs,
    vaults: Vec<OnepVault>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attrs {
    account_name: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct OnepVault {
    attrs: Attrs,
    items: json::Items<OnepEntry>,
}

/// An item, in the current form and in the form of the first versions.
#[derive(Deserialize)]
#[serde(untagged)]
enum OnepEntry {
    Wrapped { item: Box<OnepItem> },
    Plain(Box<OnepItem>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OnepItem {
    uuid: String,
    #[serde(default)]
    fav_index: i64,
    updated_at: Option<i64>,
    state: Option<String>,
    #[serde(default)]
    trashed: bool,
    details: Details,
    overview: Overview,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(default)]
    login_fields: Vec<LoginField>,
    notes_plain: Option<String>,
    #[serde(default)]
    sections: Vec<Section>,
    // Only in items of the category "password".
    password: Option<String>,
    #[serde(default)]
    password_history: Vec<IgnoredAny>,
    document_attributes: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct LoginField {
    value: Option<String>,
    name: Option<String>,
    designation: Option<String>,
}

#[derive(Deserialize)]
struct Section {
    #[serde(default)]
    fields: Vec<SectionField>,
}

#[derive(Deserialize)]
struct SectionField {
    title: Option<String>,
    id: Option<String>,
    #[serde(default)]
    value: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
struct Overview {
    title: Option<String>,
    url: Option<String>,
    urls: Option<Vec<Url>>,
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Url {
    url: String,
}

fn read_item(
    item: &OnepItem,
    folders: [&str; 2],
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let OnepItem {
        details, overview, ..
    } = item;
    let title = overview.title.as_deref().unwrap_or_default();
    let mut builder = collector.begin(&item.uuid, folders, title)?;
    if item.trashed {
        return builder.lose_all("it is in the trash");
    }
    builder.set_modified(item.updated_at);
    for (designation, role) in [
        ("username", FieldRole::User),
        ("password", FieldRole::Password),
    ] {
        let is_it = |field: &&LoginField| field.designation.as_deref() == Some(designation);
        for field in details.login_fields.iter().filter(is_it) {
            builder.add_some(role.name(), field.value.clone())?;
        }
    }
    builder.add_some(FieldRole::Password.name(), details.password.clone())?;
    let urls: Vec<&str> = overview
        .urls
        .iter()
        .flatten()
        .map(|url| url.url.as_str())
        .collect();
    let main_url = overview.url.as_deref().filter(|url| !urls.contains(url));
    main_url
        .into_iter()
        .chain(urls)
        .try_for_each(|url| builder.add(FieldRole::Url.name(), url))?;
    builder.add_some(FieldRole::Notes.name(), details.notes_plain.clone())?;
    for field in &details.login_fields {
        if !matches!(field.designation.as_deref(), Some("username" | "password")) {
            builder.add_some(
                field.name.as_deref().unwrap_or_default(),
                field.value.clone(),
            )?;
        }
    }
    let mut attachments = usize::from(details.document_attributes.is_some());
    for field in details.sections.iter().flat_map(|section| &section.fields) {
        let title = field
            .title
            .as_deref()
            .filter(|title| !title.is_empty())
            .or(field.id.as_deref())
            .unwrap_or_default();
        for (kind, value) in &field.value {
            match kind.as_str() {
                "totp" => builder.add(FieldRole::Otp.name(), text_of(value))?,
                "file" => attachments += 1,
                "reference" => builder.lose_link(title, "item")?,
                _ => builder.add(title, text_of(value))?,
            }
        }
    }
    builder.add(
        "tags",
        overview.tags.as_deref().unwrap_or_default().join(","),
    )?;
    builder.lose_count(attachments, "attachment")?;
    builder.lose_count(details.password_history.len(), "former password")?;
    builder.finish();
    Ok(())
}
