//! 1Password's export, `.1pux`: a ZIP archive with the JSON file `export.data` and the attachments.

use std::rc::Rc;

use passmate_vault::login::FieldRole;
use serde_json::Value;

use super::Imported;
use super::item::{Builder, Collector, date_of};
use super::members::text_from;
use super::sections::{SectionField, add_fields};
use crate::error::ImportError;
use crate::loss::Loss;
use crate::syntax::json::{Members, Node};
use crate::syntax::zip::Archive;

const NO_EXPORT: ImportError = ImportError::NotThisFormat {
    expected: "a .1pux file",
};

/// Reads an export.
pub(crate) fn read(archive: &mut Archive<'_>) -> Result<Imported, ImportError> {
    let data = archive.read("export.data")?.ok_or(NO_EXPORT)?;
    let file = Node::document(&data)?.members()?;
    let accounts: Vec<_> = file.get("accounts").ok_or(NO_EXPORT)?.list()?.collect();
    let mut collector = Collector::default();
    let mut archived = 0;
    for account in &accounts {
        let account_name = name_of(account, &["accountName", "name"])?;
        // With only one account, the account gets no folder.
        let account_name = match accounts.as_slice() {
            [_] => "",
            _ => account_name.as_str(),
        };
        let Some(vaults) = account.members()?.remove("vaults") else {
            continue;
        };
        for vault in vaults.list()? {
            let vault_name = name_of(&vault, &["name"])?;
            let Some(items) = vault.members()?.remove("items") else {
                continue;
            };
            for item in items.list()? {
                let Some(mut item) = collector.members_of(&item)? else {
                    continue;
                };
                // In files of the first versions, each item is the only member of another one.
                let wrapped = item.object("item");
                let item = if wrapped.is_empty() { item } else { wrapped };
                archived += usize::from(read_item(
                    item,
                    [account_name, &vault_name],
                    &mut collector,
                )?);
            }
        }
    }
    if archived > 0 {
        collector.lose(Loss::of_mark("archived", archived));
    }
    Ok(collector.into_imported())
}

/// The first of these members of `attrs` that is not empty.
fn name_of(node: &Node<'_>, names: &[&str]) -> Result<String, ImportError> {
    let Some(attrs) = node.members()?.remove("attrs") else {
        return Ok(String::new());
    };
    let mut attrs = Members::from(attrs.read_value()?);
    let mut found = names.iter().map(|name| attrs.text(name));
    Ok(found.find(|name| !name.is_empty()).unwrap_or_default())
}

/// Members of an item, its overview and its details that say nothing to people, or repeat what
/// others say.
const SKIPPED: &[&str] = &["categoryUuid", "createdAt", "templateUuid"];
const SKIPPED_OVERVIEW: &[&str] = &[
    "ainfo",
    "appIds",
    "icons",
    "pbe",
    "pgrng",
    "ps",
    "subtitle",
    "watchtowerExclusions",
];
const SKIPPED_DETAILS: &[&str] = &["htmlAction", "htmlForm", "htmlID", "htmlMethod", "htmlName"];

/// Reads an item, and returns whether it is archived.
fn read_item(
    mut item: Members,
    folders: [&str; 2],
    collector: &mut Collector,
) -> Result<bool, ImportError> {
    let (mut details, mut overview) = (item.object("details"), item.object("overview"));
    let (id, title) = (item.text("uuid"), overview.text("title"));
    let source_id = match id.as_str() {
        "" => [
            folders.join("/").as_str(),
            &title,
            &overview.text("subtitle"),
        ]
        .join("\0"),
        id => id.to_owned(),
    };
    let mut builder = collector.begin(source_id, folders, &title)?;
    let state = item.text("state");
    if item.is("trashed") || state == "trashed" {
        builder.lose_all("it is in the trash")?;
        return Ok(false);
    }
    let created = item.number("createdAt");
    builder.set_modified(item.number("updatedAt"));
    let is_favourite = item.number("favIndex").is_some_and(|index| index != 0);
    let mut others = Vec::new();
    for mut field in builder.take_objects(&mut details, "loginFields")? {
        let designation = field.text("designation");
        let value = text_from(field.any("value"));
        match designation.as_str() {
            "username" => builder.add(FieldRole::User.name(), value)?,
            "password" => builder.add(FieldRole::Password.name(), value)?,
            _ => others.push((field.text("name"), value)),
        }
    }
    builder.add(FieldRole::Password.name(), details.text("password"))?;
    read_urls(&mut overview, &mut builder)?;
    builder.add(FieldRole::Notes.name(), details.text("notesPlain"))?;
    for (name, value) in others {
        builder.add(&name, value)?;
    }
    let mut attached = Vec::new();
    let mut document = details.object("documentAttributes");
    if !document.is_empty() {
        attached.push(document.text("fileName"));
    }
    let mut fields = Vec::new();
    for mut section in builder.take_objects(&mut details, "sections")? {
        let title = section.text("title").into();
        for field in builder.take_objects(&mut section, "fields")? {
            read_field(field, &title, &mut fields, &mut attached, &mut builder)?;
        }
    }
    add_fields(fields, &mut builder)?;
    let tags = Builder::take_texts(&mut overview, "tags").join(",");
    builder.add(FieldRole::Tags.name(), tags)?;
    if is_favourite {
        builder.add(FieldRole::Favourite.name(), "yes")?;
    }
    for name in attached {
        builder.lose(format!("the attachment {name}"))?;
    }
    let former = builder.take_objects(&mut details, "passwordHistory")?;
    let former = former
        .into_iter()
        .map(|mut former| (former.text("value"), former.number("time")));
    builder.add_replaced(FieldRole::Password.name(), former, created)?;
    for (mut members, place, skipped) in [
        (item, "", SKIPPED),
        (overview, "overview.", SKIPPED_OVERVIEW),
        (details, "details.", SKIPPED_DETAILS),
    ] {
        members.skip(skipped);
        builder.lose_rest(members, place)?;
    }
    builder.finish();
    Ok(state == "archived")
}

/// The main address is usually one of the list.
fn read_urls(overview: &mut Members, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let mut urls = vec![overview.text("url")];
    for url in overview.list("urls") {
        let url = match url {
            Value::Object(members) => Members::new(members).text("url"),
            url => text_from(url),
        };
        if urls.first() != Some(&url) {
            urls.push(url);
        }
    }
    let name = FieldRole::Url.name();
    urls.into_iter().try_for_each(|url| builder.add(name, url))
}

fn read_field(
    mut field: Members,
    section: &Rc<str>,
    fields: &mut Vec<SectionField>,
    attached: &mut Vec<String>,
    builder: &mut Builder<'_>,
) -> Result<(), ImportError> {
    let (title, id) = (field.text("title"), field.text("id"));
    let name = if title.is_empty() { &id } else { &title };
    let mut push = |name: &str, value: String| {
        fields.push(SectionField {
            section: Rc::clone(section),
            name: name.to_owned(),
            value: value.into(),
            earlier: Vec::new(),
        });
    };
    let mut value = match field.any("value") {
        Value::Object(value) => Members::new(value),
        value => {
            push(name, text_from(value));
            return Ok(());
        }
    };
    if let Some(seconds) = value.number("date") {
        // The time of day is noon, or that at which the field was set.
        push(
            name,
            date_of(seconds).unwrap_or_else(|| seconds.to_string()),
        );
    }
    if let Some(month) = value.number("monthYear").filter(|month| *month != 0) {
        push(name, format!("{:04}-{:02}", month / 100, month % 100));
    }
    let mut email = value.object("email");
    push(name, email.text("email_address"));
    push(FieldRole::Otp.name(), value.text("totp"));
    let mut key = value.object("sshKey");
    let mut metadata = key.object("metadata");
    let private = [key.text("privateKey"), metadata.text("privateKey")];
    let private = private.into_iter().find(|key| !key.is_empty());
    push(name, private.unwrap_or_default());
    for (member, name) in [
        ("publicKey", "public key"),
        ("fingerprint", "fingerprint"),
        ("keyType", "key type"),
    ] {
        push(name, metadata.text(member));
    }
    let mut file = value.object("file");
    if !file.is_empty() {
        attached.push(file.text("fileName"));
    }
    if !value.text("reference").is_empty() {
        builder.lose_link(name, "item")?;
    }
    for (_, value) in value.rest() {
        push(name, text_from(value));
    }
    Ok(())
}
