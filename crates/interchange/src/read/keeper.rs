//! Keeper's exports: JSON, and CSV without names of columns.
//!
//! In both, a `\` in a folder's path separates folders, and `\\` is a backslash in a name. Fields
//! beyond the standard ones have names such as `$date:issued:1`: a type, a name that a person gave,
//! and a number.

use ::csv::StringRecord;
use passmate_vault::login::FieldRole;
use serde_json::{Map, Value};

use super::Imported;
use super::item::{Builder, Collector, date_of, words_of};
use super::members::text_from;
use crate::error::ImportError;
use crate::passkey::{Passkey, pkcs8_of_p256};
use crate::syntax::csv::Sheet;
use crate::syntax::json::{Members, Node};

const NO_EXPORT: ImportError = ImportError::NotThisFormat {
    expected: "Keeper's JSON export",
};
/// The field in which one-time codes were before fields had types.
const OLD_OTP: &str = "TFC:Keeper";
/// The columns before the further fields, as some versions name them in the first line.
const COLUMNS: [&str; 7] = [
    "folder",
    "title",
    "login",
    "password",
    "website address",
    "notes",
    "shared folder",
];

/// Reads the table.
pub(crate) fn read_table(bytes: &[u8]) -> Result<Imported, ImportError> {
    let sheet = Sheet::read(bytes)?.with_commas();
    let mut collector = Collector::default();
    for row in sheet.rows() {
        let (_, row) = row?;
        if !is_header(&row) && row.iter().any(|cell| !cell.is_empty()) {
            read_row(&row, &mut collector)?;
        }
    }
    Ok(collector.into_imported())
}

fn is_header(row: &StringRecord) -> bool {
    let names = COLUMNS.iter().take(4).zip(row);
    row.len() >= 4
        && names
            .into_iter()
            .all(|(name, cell)| cell.trim().eq_ignore_ascii_case(name))
}

fn read_row(row: &StringRecord, collector: &mut Collector) -> Result<(), ImportError> {
    let cell = |place| row.get(place).unwrap_or_default();
    let [folder, name, user, password, url, notes, shared] = [0, 1, 2, 3, 4, 5, 6].map(cell);
    let folders = [split_path(shared), split_path(folder)].concat();
    let source_id = [folders.join("/").as_str(), name, url, user].join("\0");
    let folders = folders.iter().map(String::as_str);
    let mut builder = collector.begin(source_id, folders, name)?;
    for (role, value) in [
        (FieldRole::User, user),
        (FieldRole::Password, password),
        (FieldRole::Url, url),
        (FieldRole::Notes, notes),
    ] {
        builder.add(role.name(), value)?;
    }
    let mut further = row.iter().skip(COLUMNS.len());
    while let Some(name) = further.next() {
        let value = further.next().unwrap_or_default();
        read_field(name, Value::from(value), &mut builder)?;
    }
    builder.finish();
    Ok(())
}

/// Reads the JSON export.
pub(crate) fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    let file = Node::document(bytes)?.members()?;
    let mut collector = Collector::default();
    for record in file.get("records").ok_or(NO_EXPORT)?.list()? {
        if let Some(record) = collector.members_of(&record)? {
            read_record(record, &mut collector)?;
        }
    }
    Ok(collector.into_imported())
}

fn read_record(mut record: Members, collector: &mut Collector) -> Result<(), ImportError> {
    let (id, name, user) = (
        record.text("uid"),
        record.text("title"),
        record.text("login"),
    );
    let mut folders = record.list("folders").into_iter().map(|folder| {
        let mut folder = Members::from(folder);
        let [shared, own] = ["shared_folder", "folder"].map(|name| folder.text(name));
        [split_path(&shared), split_path(&own)].concat()
    });
    let folder = folders.next().unwrap_or_default();
    let source_id = match id.as_str() {
        "" => [folder.join("/").as_str(), &name, &user].join("\0"),
        id => id.to_owned(),
    };
    let mut builder = collector.begin(source_id, folder.iter().map(String::as_str), &name)?;
    builder.set_modified(record.number("last_modified"));
    for (role, value) in [
        (FieldRole::User, user),
        (FieldRole::Password, record.text("password")),
        (FieldRole::Url, record.text("login_url")),
        (FieldRole::Notes, record.text("notes")),
    ] {
        builder.add(role.name(), value)?;
    }
    let mut fields = record.object("custom_fields");
    for (name, value) in fields.rest() {
        read_field(&name, value, &mut builder)?;
    }
    for mut file in builder.take_objects(&mut record, "attachments")? {
        builder.lose(format!("the attachment {}", file.text("name")))?;
    }
    for (name, _) in record.object("references").rest() {
        builder.lose_link(&name, "item")?;
    }
    for folder in folders {
        builder.lose(format!("the further folder {}", folder.join("/")))?;
    }
    record.skip(&["$type", "schema"]);
    builder.lose_rest(record, "")?;
    builder.finish();
    Ok(())
}

/// Adds a further field. A list has several values of one field.
fn read_field(name: &str, value: Value, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let Some((kind, label)) = split_name(name) else {
        let name = if name == OLD_OTP {
            FieldRole::Otp.name()
        } else {
            name
        };
        return builder.add(name, text_from(value));
    };
    let values = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    // Keeper's own labels are written like types: `passportNumber`.
    let is_own = label.starts_with(|first: char| first.is_ascii_lowercase())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let label = if is_own {
        words_of(label)
    } else {
        label.to_owned()
    };
    let name = match label.as_str() {
        "" => words_of(kind),
        label => label.to_owned(),
    };
    for value in values {
        match (kind, value) {
            ("oneTimeCode", value) => builder.add(FieldRole::Otp.name(), text_from(value))?,
            ("url", value) => builder.add(FieldRole::Url.name(), text_from(value))?,
            ("birthDate" | "expirationDate" | "date", value) => {
                builder.add(&name, date_text(value))?;
            }
            (kind, _) if kind.ends_with("Ref") => builder.lose_link(&name, "item")?,
            ("passkey", Value::Object(members)) => {
                builder.add_passkey(&passkey_of(Members::new(members)))?;
            }
            ("phone", Value::Object(members)) => {
                let mut phone = Members::new(members);
                let parts = ["region", "number", "ext"].map(|part| phone.text(part));
                let parts = parts.iter().map(String::as_str);
                let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
                builder.add(&name, parts.join(" "))?;
            }
            ("securityQuestion", Value::Object(members)) => {
                let mut question = Members::new(members);
                builder.add(&question.text("question"), question.text("answer"))?;
            }
            (kind, Value::Object(members)) => {
                for (member, value) in Members::new(members).rest() {
                    let member = match (kind, member.as_str()) {
                        ("name", "first" | "middle" | "last") => format!("{member} name"),
                        _ => words_of(&member),
                    };
                    let name = match label.as_str() {
                        "" => member,
                        label => format!("{label} {member}"),
                    };
                    builder.add(&name, text_from(value))?;
                }
            }
            (_, value) => builder.add(&name, text_from(value))?,
        }
    }
    Ok(())
}

/// The type of a field and the name that a person gave to it.
fn split_name(name: &str) -> Option<(&str, &str)> {
    let typed = name.strip_prefix('$')?;
    let (kind, label) = typed.split_once(':').unwrap_or((typed, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let label = match label.rsplit_once(':') {
        Some((label, number)) if is_number(number) => label,
        _ => label,
    };
    Some((kind, label))
}

/// Keeper writes a date as the milliseconds of its midnight in the zone of the person. The nearest
/// midnight of UTC has the same date in all zones but the easternmost.
fn date_text(value: Value) -> String {
    const HALF_A_DAY: i64 = 12 * 60 * 60;
    let date = value.as_i64().map(|milliseconds| milliseconds / 1000);
    let date = date.and_then(|seconds| date_of(seconds.saturating_add(HALF_A_DAY)));
    date.unwrap_or_else(|| text_from(value))
}

fn passkey_of(mut passkey: Members) -> Passkey {
    let mut key = passkey.object("privateKey");
    let parts = ["d", "x", "y"].map(|part| key.text(part));
    let [d, x, y] = &parts;
    let pkcs8 = pkcs8_of_p256(d, x, y);
    let mut other = Map::new();
    if pkcs8.is_none() {
        // A key of another type stays in its own form.
        let kept = ["d", "x", "y"].iter().zip(&parts);
        let mut kept: Map<String, Value> = kept
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())))
            .collect();
        kept.extend(key.rest());
        other.insert("privateKey".to_owned(), Value::Object(kept));
    }
    other.insert("counter".to_owned(), passkey.any("signCount"));
    Passkey {
        credential_id: passkey.text("credentialId"),
        rp_id: passkey.text("relyingParty"),
        username: passkey.text("username"),
        user_display_name: String::new(),
        user_handle: passkey.text("userId"),
        key: pkcs8.map_or_else(String::new, |key| key.to_string()),
        other: other.into_iter().chain(passkey.rest()).collect(),
    }
}

/// Splits a path of folders.
fn split_path(path: &str) -> Vec<String> {
    let mut folders = vec![String::new()];
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        let is_backslash = character == '\\';
        if is_backslash && characters.next_if_eq(&'\\').is_none() {
            folders.push(String::new());
        } else if let Some(folder) = folders.last_mut() {
            folder.push(character);
        }
    }
    folders.retain(|folder| !folder.is_empty());
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_backslashes_are_one_in_a_name() {
        assert_eq!(split_path(r"a\b\\c/d\e"), ["a", r"b\c/d", "e"]);
        assert!(split_path("").is_empty());
    }

    #[test]
    fn a_name_has_a_type_and_a_label() {
        for (name, parts) in [
            ("$oneTimeCode", Some(("oneTimeCode", ""))),
            ("$oneTimeCode::2", Some(("oneTimeCode", ""))),
            ("$text:a: b:2", Some(("text", "a: b"))),
            ("$text:SSID", Some(("text", "SSID"))),
            ("plain", None),
        ] {
            assert_eq!(split_name(name), parts, "{name}");
        }
    }

    #[test]
    fn a_date_is_the_nearest_midnight() {
        for milliseconds in [648_597_600_000_i64, 648_604_800_000, 648_626_400_000] {
            assert_eq!(date_text(Value::from(milliseconds)), "1990-07-22");
        }
        assert_eq!(date_text(Value::from("1990")), "1990");
    }
}
