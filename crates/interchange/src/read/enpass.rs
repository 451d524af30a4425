//! Enpass' JSON export.

use std::collections::BTreeMap;
use std::rc::Rc;

use passmate_vault::login::FieldRole;
use zeroize::Zeroizing;

use super::Imported;
use super::item::{Builder, Collector};
use super::members::text_from;
use super::sections::{SectionField, add_fields};
use crate::error::ImportError;
use crate::loss::Loss;
use crate::syntax::json::{Members, Node};

/// The most folders around a folder.
const DEPTH_MAX: usize = 64;
/// Members of an item that say nothing to people, or repeat what others say.
const SKIPPED: &[&str] = &[
    "auto_submit",
    "category",
    "icon",
    "subtitle",
    "template_type",
];

const NO_EXPORT: ImportError = ImportError::NotThisFormat {
    expected: "Enpass' JSON export",
};

/// Reads an export.
pub(crate) fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    let file = Node::document(bytes)?.members()?;
    let mut folders = BTreeMap::new();
    if let Some(list) = file.get("folders") {
        for folder in list.list()? {
            let mut folder = Members::from(folder.read_value()?);
            let parent = (folder.text("parent_uuid"), folder.text("title"));
            folders.insert(folder.text("uuid"), parent);
        }
    }
    let mut collector = Collector::default();
    let mut archived = 0;
    for item in file.get("items").ok_or(NO_EXPORT)?.list()? {
        if let Some(item) = collector.members_of(&item)? {
            archived += usize::from(read_item(item, &folders, &mut collector)?);
        }
    }
    if archived > 0 {
        collector.lose(Loss::of_mark("archived", archived));
    }
    Ok(collector.into_imported())
}

/// The folders by their ids, each with its parent's id and its name.
type Folders = BTreeMap<String, (String, String)>;

fn path_of<'f>(folders: &'f Folders, id: &str) -> Vec<&'f str> {
    let around = std::iter::successors(folders.get(id), |(parent, _)| folders.get(parent));
    let mut path: Vec<&str> = around
        .take(DEPTH_MAX)
        .map(|(_, name)| name.as_str())
        .collect();
    path.reverse();
    path
}

/// Reads an item, and returns whether it is archived.
fn read_item(
    mut item: Members,
    folders: &Folders,
    collector: &mut Collector,
) -> Result<bool, ImportError> {
    let (id, title) = (item.text("uuid"), item.text("title"));
    let mut in_folders = Builder::take_texts(&mut item, "folders").into_iter();
    let folder = in_folders.next().unwrap_or_default();
    let folder = path_of(folders, &folder);
    let source_id = match id.as_str() {
        "" => [folder.join("/").as_str(), &title, &item.text("subtitle")].join("\0"),
        id => id.to_owned(),
    };
    let mut builder = collector.begin(source_id, folder, &title)?;
    if item.is("trashed") {
        builder.lose_all("it is in the trash")?;
        return Ok(false);
    }
    builder.set_modified(item.number("updated_at"));
    let fields = builder.take_objects(&mut item, "fields")?;
    read_fields(fields, &mut builder)?;
    builder.add(FieldRole::Notes.name(), item.text("note"))?;
    if item.is("favorite") {
        builder.add(FieldRole::Favourite.name(), "yes")?;
    }
    for mut file in builder.take_objects(&mut item, "attachments")? {
        builder.lose(format!("the attachment {}", file.text("name")))?;
    }
    for id in in_folders {
        let further = path_of(folders, &id).join("/");
        builder.lose(format!("the further folder {further}"))?;
    }
    let is_archived = item.is("archived");
    item.skip(SKIPPED);
    item.skip(&["createdAt", "created_at"]);
    builder.lose_rest(item, "")?;
    builder.finish();
    Ok(is_archived)
}

/// A field and its type.
struct Field {
    kind: String,
    field: SectionField,
}

fn read_fields(list: Vec<Members>, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let mut section: Rc<str> = "".into();
    let mut fields = Vec::new();
    for mut field in list {
        let (label, kind) = (field.text("label"), field.text("type"));
        let value = Zeroizing::new(text_from(field.any("value")));
        let is_deleted = field.is("deleted");
        let mut former = Vec::new();
        for mut earlier in builder.take_objects(&mut field, "history")? {
            if earlier.is("encrypted") {
                builder.lose(format!("a former value of {label}, which is encrypted"))?;
            } else {
                former.push((earlier.text("value"), earlier.number("updated_at")));
            }
        }
        if kind == "section" {
            section = label.into();
        } else if is_deleted {
            if !value.is_empty() {
                builder.lose(format!("the deleted field {label}"))?;
            }
        } else {
            let section = Rc::clone(&section);
            fields.push(Field {
                kind,
                field: SectionField {
                    section,
                    name: label,
                    value,
                    earlier: former,
                },
            });
        }
    }
    // The first field of each of these types has its meaning. An address is a user name if there is
    // no other.
    for (kinds, role) in [
        (&["username", "email"][..], FieldRole::User),
        (&["password"], FieldRole::Password),
        (&["totp"], FieldRole::Otp),
    ] {
        let is_it = |kind: &&&str| {
            let mut found = fields.iter();
            found.any(|found| found.kind == **kind && !found.field.value.is_empty())
        };
        let Some(kind) = kinds.iter().find(is_it) else {
            continue;
        };
        let is_first = |found: &Field| found.kind == *kind && !found.field.value.is_empty();
        if let Some(place) = fields.iter().position(is_first) {
            add(role.name(), fields.remove(place), builder)?;
        }
    }
    let is_url = |field: &mut Field| field.kind == "url" || field.kind == ".Android#";
    for field in fields.extract_if(.., is_url).collect::<Vec<_>>() {
        add(FieldRole::Url.name(), field, builder)?;
    }
    let others = fields.into_iter().map(|Field { kind, field }| {
        let name = match kind.as_str() {
            "ccName" => "cardholder name".to_owned(),
            "ccNumber" => "card number".to_owned(),
            _ => field.name,
        };
        SectionField { name, ..field }
    });
    add_fields(others.collect(), builder)
}

fn add(name: &str, field: Field, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let SectionField { value, earlier, .. } = field.field;
    builder.add_with_earlier(name, &value, earlier)
}
