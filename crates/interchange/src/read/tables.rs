//! Tables (CSV): the first line names the columns, and each further line is an item.
//!
//! Columns are found by name, in any case and any order. An unknown column becomes a field with its
//! name, so that no cell is lost silently.

use std::collections::BTreeMap;

use ::csv::StringRecord;
use passmate_vault::login::FieldRole;

use super::item::{Collector, host_of, seconds_of};
use super::{Format, Imported};
use crate::error::ImportError;
use crate::limits::FIELDS_MAX;
use crate::loss::Loss;
use crate::syntax::{csv, json};

/// The columns of a format.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    /// Columns that the format always has.
    required: &'static [&'static str],
    /// The names of the columns, in lower case, and their meanings.
    columns: &'static [(&'static str, Column)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    /// The folders, with this separator.
    Folder(char),
    /// The folders, with this separator. The first folder is the same for all items and is skipped.
    FolderBelowRoot(char),
    Name,
    /// The source's own id.
    Id,
    /// A field with this meaning.
    Known(FieldRole),
    /// A field of this name.
    Field(&'static str),
    /// Addresses that are joined by commas.
    Urls,
    /// Lines of `name: value`.
    Fields,
    Iso,
    Milliseconds,
    /// A mark that is not imported. Items that have it are counted.
    Mark(&'static str),
    /// Not imported and no loss: the number of an icon, or a time of creation or use.
    Skipped,
}

const USER: Column = Column::Known(FieldRole::User);
const PASSWORD: Column = Column::Known(FieldRole::Password);
const URL: Column = Column::Known(FieldRole::Url);
const NOTES: Column = Column::Known(FieldRole::Notes);
const OTP: Column = Column::Known(FieldRole::Otp);

pub(crate) const BITWARDEN: Table = Table {
    required: &["name", "login_uri", "login_username", "login_password"],
    columns: &[
        ("folder", Column::Folder('/')),
        ("collections", Column::Folder('/')),
        ("favorite", Column::Mark("favourite")),
        ("type", Column::Skipped),
        ("name", Column::Name),
        ("notes", NOTES),
        ("fields", Column::Fields),
        ("reprompt", Column::Mark("ask again")),
        ("archiveddate", Column::Mark("archived")),
        ("login_uri", Column::Urls),
        ("login_username", USER),
        ("login_password", PASSWORD),
        ("login_totp", OTP),
    ],
};

pub(crate) const KEEPASSXC: Table = Table {
    required: &["group", "title", "username", "password"],
    columns: &[
        ("group", Column::FolderBelowRoot('/')),
        ("title", Column::Name),
        ("username", USER),
        ("password", PASSWORD),
        ("url", URL),
        ("notes", NOTES),
        ("totp", OTP),
        ("icon", Column::Skipped),
        ("last modified", Column::Iso),
        ("created", Column::Skipped),
    ],
};

pub(crate) const CHROME: Table = Table {
    required: &["name", "url", "username", "password"],
    columns: &[
        ("name", Column::Name),
        ("url", URL),
        ("username", USER),
        ("password", PASSWORD),
        ("note", NOTES),
    ],
};

pub(crate) const FIREFOX: Table = Table {
    required: &["url", "username", "password", "guid"],
    columns: &[
        ("url", URL),
        ("username", USER),
        ("password", PASSWORD),
        ("httprealm", Column::Field("realm")),
        ("formactionorigin", Column::Field("form")),
        ("guid", Column::Id),
        ("timecreated", Column::Skipped),
        ("timelastused", Column::Skipped),
        ("timepasswordchanged", Column::Milliseconds),
    ],
};

pub(crate) const SAFARI: Table = Table {
    required: &["title", "url", "username", "password", "otpauth"],
    columns: &[
        ("title", Column::Name),
        ("url", URL),
        ("username", USER),
        ("password", PASSWORD),
        ("notes", NOTES),
        ("otpauth", OTP),
    ],
};

pub(crate) const ONEPASSWORD: Table = Table {
    required: &["title", "username", "password", "otpauth", "tags"],
    columns: &[
        ("title", Column::Name),
        ("url", URL),
        ("website", URL),
        ("username", USER),
        ("password", PASSWORD),
        ("otpauth", OTP),
        ("favorite", Column::Mark("favourite")),
        ("archived", Column::Mark("archived")),
        ("tags", Column::Field("tags")),
        ("notes", NOTES),
    ],
};

pub(crate) const LASTPASS: Table = Table {
    required: &["url", "username", "password", "extra", "name", "grouping"],
    columns: &[
        ("url", URL),
        ("username", USER),
        ("password", PASSWORD),
        ("totp", OTP),
        ("extra", NOTES),
        ("name", Column::Name),
        ("grouping", Column::Folder('\\')),
        ("fav", Column::Mark("favourite")),
    ],
};

/// The tables of programs, those with the most columns of their own first.
const TABLES: &[(Format, Table)] = &[
    (Format::BitwardenCsv, BITWARDEN),
    (Format::LastpassCsv, LASTPASS),
    (Format::OnepasswordCsv, ONEPASSWORD),
    (Format::SafariCsv, SAFARI),
    (Format::KeepassCsv, KEEPASSXC),
    (Format::FirefoxCsv, FIREFOX),
    (Format::ChromeCsv, CHROME),
];

/// The program whose table has these columns.
pub(super) fn guess(text: &str) -> Option<Format> {
    let (headers, _) = csv::read(text).ok()?;
    let names: Vec<String> = headers.iter().map(str::to_lowercase).collect();
    let has = |column: &&str| names.iter().any(|name| name == column);
    let fits = |(_, table): &&(Format, Table)| table.required.iter().all(has);
    TABLES.iter().find(fits).map(|(format, _)| *format)
}

/// The address that LastPass writes for an item without one.
const LASTPASS_NO_URL: &str = "http://sn";

/// Reads a table.
pub(crate) fn read(bytes: &[u8], table: Table) -> Result<Imported, ImportError> {
    let text = json::text_of(bytes)?;
    let (headers, rows) = csv::read(text)?;
    if headers.len() > FIELDS_MAX {
        return Err(ImportError::TooMany {
            what: "columns",
            limit: FIELDS_MAX,
        });
    }
    let names: Vec<String> = headers.iter().map(str::to_lowercase).collect();
    if let Some(column) = table
        .required
        .iter()
        .find(|column| !names.iter().any(|name| name == *column))
    {
        return Err(ImportError::MissingColumn { column });
    }
    let roles: Vec<_> = names
        .iter()
        .zip(&headers)
        .map(|(name, header)| {
            (
                table
                    .columns
                    .iter()
                    .find(|(column, _)| column == name)
                    .map(|(_, role)| *role),
                header,
            )
        })
        .collect();
    let mut collector = Collector::default();
    let mut marks = BTreeMap::new();
    for row in rows {
        read_row(&row?, &roles, &mut marks, &mut collector)?;
    }
    for (mark, count) in marks {
        collector.lose(Loss::of_mark(mark, count));
    }
    Ok(collector.into_imported())
}

type Roles<'a> = [(Option<Column>, &'a str)];

fn read_row(
    row: &StringRecord,
    roles: &Roles<'_>,
    marks: &mut BTreeMap<&'static str, usize>,
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let cell = |wanted: fn(&Column) -> bool| {
        let found = roles
            .iter()
            .zip(row)
            .find(|((role, _), cell)| role.as_ref().is_some_and(wanted) && !cell.is_empty());
        found.map_or("", |(_, cell)| cell)
    };
    let url = cell(|role| matches!(*role, Column::Urls | URL));
    let user = cell(|role| matches!(*role, USER));
    let name = match cell(|role| matches!(role, Column::Name)) {
        "" => host_of(url).unwrap_or(user),
        name => name,
    };
    let mut folders: Vec<&str> = Vec::new();
    for ((role, _), cell) in roles.iter().zip(row) {
        match role {
            Some(Column::Folder(separator)) => folders.extend(cell.split(*separator)),
            Some(Column::FolderBelowRoot(separator)) => {
                folders.extend(cell.split(*separator).skip(1))
            }
            _ => {}
        }
    }
    let source_id = match cell(|role| matches!(role, Column::Id)) {
        "" => [folders.join("/").as_str(), name, url, user].join("\0"),
        id => id.to_owned(),
    };
    let mut builder = collector.begin(source_id, folders, name)?;
    for ((role, header), cell) in roles.iter().zip(row) {
        match role {
            None => builder.add(header, cell)?,
            Some(URL) if cell == LASTPASS_NO_URL => {}
            Some(Column::Known(role)) => builder.add(role.name(), cell)?,
            Some(Column::Field(name)) => builder.add(name, cell)?,
            Some(Column::Urls) => split_urls(cell)
                .into_iter()
                .try_for_each(|url| builder.add(FieldRole::Url.name(), url))?,
            Some(Column::Fields) => {
                split_fields(cell)
                    .into_iter()
                    .try_for_each(|(name, value)| builder.add(&name, value))?;
            }
            Some(Column::Iso) => builder.set_modified(seconds_of(cell)),
            Some(Column::Milliseconds) => {
                builder.set_modified(cell.parse::<i64>().ok().map(|time| time / 1000))
            }
            Some(Column::Mark(mark))
                if !matches!(cell.to_lowercase().as_str(), "" | "0" | "false") =>
            {
                *marks.entry(*mark).or_insert(0) += 1;
            }
            Some(
                Column::Folder(_)
                | Column::FolderBelowRoot(_)
                | Column::Name
                | Column::Id
                | Column::Mark(_)
                | Column::Skipped,
            ) => {}
        }
    }
    builder.finish();
    Ok(())
}

/// Splits addresses that are joined by commas. An address may contain commas too: a part without
/// `://` belongs to the address before it.
fn split_urls(cell: &str) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for part in cell.split(',') {
        match urls.last_mut() {
            Some(last) if !part.contains("://") => {
                last.push(',');
                last.push_str(part);
            }
            _ => urls.push(part.to_owned()),
        }
    }
    urls
}

/// Splits lines of `name: value`. A line without a colon belongs to the value before it.
fn split_fields(cell: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in cell.lines() {
        match (line.split_once(": "), fields.last_mut()) {
            (Some((name, value)), _) => fields.push((name.to_owned(), value.to_owned())),
            (None, Some((_, value))) => {
                value.push('\n');
                value.push_str(line);
            }
            (None, None) => fields.push(("field".to_owned(), line.to_owned())),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_commas_when_several_share_a_cell() {
        assert_eq!(
            split_urls("https://a/x,y,https://b"),
            ["https://a/x,y", "https://b"]
        );
        assert_eq!(split_urls(""), [""]);
    }
}
