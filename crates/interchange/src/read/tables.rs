//! Tables (CSV): the first line names the columns, and each further line is an item.
//!
//! Columns are found by name, in any case and any order. An unknown column becomes a field with its
//! name, so that no cell is lost silently. Cells that a row lacks at its end are empty. A row with
//! more cells than the first line has columns is a loss: nobody can tell which cell is which.

use std::collections::{BTreeMap, BTreeSet};

use ::csv::StringRecord;
use passmate_vault::login::FieldRole;
use serde_json::Value;

use super::item::{Builder, Collector, bare_host_of, host_of, time_of};
use super::members::text_from;
use super::{Format, Imported};
use crate::error::ImportError;
use crate::limits::FIELDS_MAX;
use crate::loss::Loss;
use crate::syntax::csv::Sheet;
use crate::syntax::json::{Members, Node};

/// The columns of a format.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    /// Columns that the format always has, each with the names that it had in some version.
    required: &'static [&'static [&'static str]],
    /// The names of the columns, in lower case, and their meanings.
    columns: &'static [(&'static str, Column<'static>)],
    /// What cells beyond the last column are.
    beyond: Option<Column<'static>>,
    program: Program,
}

/// A program whose rows need care.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// A row may hold the keys of the browser's account.
    Firefox,
    /// Cells may have HTML entities. Notes have an address of their own.
    Lastpass,
    /// A row may be a folder.
    Nordpass,
    Other,
    /// The ids may be numbers of rows, which other files have too.
    Unknown,
}

/// What a column means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Column<'a> {
    /// The folders, with one of these separators.
    Folder(&'a [char]),
    /// The folders, with this separator. A first folder that is the same for all items is skipped.
    FolderBelowRoot(&'a [char]),
    /// Folders that are separated by commas, of which the first counts. Each may have folders in
    /// it.
    Collections,
    Name,
    /// A field of this name. It is also the item's name if there is no other.
    NameAndField(&'a str),
    /// The source's own id.
    Id,
    /// A field with this meaning.
    Known(FieldRole),
    /// A field of this name.
    Field(&'a str),
    /// Addresses that are joined by commas, or a list of them in JSON.
    Urls,
    /// Lines of `name: value`.
    Fields,
    /// A list in JSON of objects with `label` and `value`.
    JsonFields,
    /// A field as RoboForm writes it: `name,,,type,value`, or in older versions
    /// `name:…:value`.
    RoboformField,
    /// The kind of the row.
    Kind,
    /// The time of the last change.
    Modified,
    /// Tags, with this separator.
    Tags(char),
    Favourite,
    /// A mark that is not imported. Items that have it are counted.
    Mark(&'static str),
    /// Not imported and no loss: the number of an icon, or a time of creation or use.
    Skipped,
}

pub(crate) const USER: Column<'_> = Column::Known(FieldRole::User);
pub(crate) const PASSWORD: Column<'_> = Column::Known(FieldRole::Password);
pub(crate) const URL: Column<'_> = Column::Known(FieldRole::Url);
pub(crate) const NOTES: Column<'_> = Column::Known(FieldRole::Notes);
pub(crate) const OTP: Column<'_> = Column::Known(FieldRole::Otp);
const SLASH: Column<'_> = Column::Folder(&['/']);

pub(crate) const BITWARDEN: Table = Table {
    required: &[&["name"], &["login_password"]],
    columns: &[
        ("folder", SLASH),
        ("collections", Column::Collections),
        ("favorite", Column::Favourite),
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
    beyond: None,
    program: Program::Other,
};

/// KeePassXC's columns, and those that KeePass 1 and 2 write.
pub(crate) const KEEPASSXC: Table = Table {
    required: &[&["title", "account"], &["password"]],
    columns: &[
        ("group", Column::FolderBelowRoot(&['/'])),
        ("title", Column::Name),
        ("account", Column::Name),
        ("username", USER),
        ("user name", USER),
        ("login name", USER),
        ("password", PASSWORD),
        ("url", URL),
        ("web site", URL),
        ("notes", NOTES),
        ("comments", NOTES),
        ("totp", OTP),
        ("icon", Column::Skipped),
        ("last modified", Column::Modified),
        ("created", Column::Skipped),
    ],
    beyond: None,
    program: Program::Other,
};

pub(crate) const CHROME: Table = Table {
    required: &[&["url"], &["username"], &["password"]],
    columns: &[
        ("name", Column::Name),
        ("url", URL),
        ("username", USER),
        ("password", PASSWORD),
        ("note", NOTES),
        ("notes", NOTES),
        ("comment", NOTES),
        ("tags", Column::Tags(',')),
    ],
    beyond: None,
    program: Program::Other,
};

/// Firefox' columns, and those of its add-ons before Firefox could export.
pub(crate) const FIREFOX: Table = Table {
    required: &[&["url", "hostname"], &["username"], &["password"]],
    columns: &[
        ("url", URL),
        ("hostname", URL),
        ("username", USER),
        ("password", PASSWORD),
        ("httprealm", Column::Field("realm")),
        ("formactionorigin", Column::Field("form")),
        ("formsubmiturl", Column::Field("form")),
        ("usernamefield", Column::Skipped),
        ("passwordfield", Column::Skipped),
        ("guid", Column::Id),
        ("timecreated", Column::Skipped),
        ("timelastused", Column::Skipped),
        ("timepasswordchanged", Column::Modified),
    ],
    beyond: None,
    program: Program::Firefox,
};

pub(crate) const SAFARI: Table = Table {
    required: &[&["title"], &["url"], &["username"], &["password"]],
    columns: &[
        ("title", Column::Name),
        ("url", URL),
        ("username", USER),
        ("password", PASSWORD),
        ("notes", NOTES),
        ("otpauth", OTP),
    ],
    beyond: None,
    program: Program::Other,
};

/// The columns of 1Password 8, and those that 1Password 6 and 7 write.
pub(crate) const ONEPASSWORD: Table = Table {
    required: &[&["title"], &["username"], &["password"]],
    columns: &[
        ("uuid", Column::Id),
        ("title", Column::Name),
        ("url", URL),
        ("urls", Column::Urls),
        ("website", URL),
        ("username", USER),
        ("password", PASSWORD),
        ("otpauth", OTP),
        ("one-time password", OTP),
        ("favorite", Column::Favourite),
        ("archived", Column::Mark("archived")),
        ("tags", Column::Tags(';')),
        ("notes", NOTES),
        ("notesplain", NOTES),
        ("created date", Column::Skipped),
        ("modified date", Column::Modified),
        ("scope", Column::Skipped),
        ("autosubmit", Column::Skipped),
        ("ainfo", Column::Skipped),
        ("ps", Column::Skipped),
    ],
    beyond: None,
    program: Program::Other,
};

pub(crate) const LASTPASS: Table = Table {
    required: &[&["url"], &["username"], &["password"], &["name"]],
    columns: &[
        ("url", URL),
        ("username", USER),
        ("password", PASSWORD),
        ("totp", OTP),
        ("extra", NOTES),
        ("name", Column::Name),
        ("grouping", Column::Folder(&['\\'])),
        ("fav", Column::Favourite),
    ],
    beyond: None,
    program: Program::Lastpass,
};

/// NordPass' columns; older versions lack some.
pub(crate) const NORDPASS: Table = Table {
    required: &[&["name"], &["password"], &["cardnumber"]],
    columns: &[
        ("name", Column::Name),
        ("url", URL),
        ("additional_urls", Column::Urls),
        ("username", USER),
        ("password", PASSWORD),
        ("note", NOTES),
        ("cardholdername", Column::Field("cardholder name")),
        ("cardnumber", Column::Field("card number")),
        ("expirydate", Column::Field("expiry date")),
        ("zipcode", Column::Field("zip code")),
        ("folder", SLASH),
        ("full_name", Column::Field("full name")),
        ("phone_number", Column::Field("phone number")),
        ("type", Column::Kind),
        ("custom_fields", Column::JsonFields),
    ],
    beyond: None,
    program: Program::Nordpass,
};

pub(crate) const ROBOFORM: Table = Table {
    required: &[&["name"], &["login"], &["pwd"]],
    columns: &[
        ("name", Column::Name),
        ("url", URL),
        ("matchurl", URL),
        ("login", USER),
        ("pwd", PASSWORD),
        ("note", NOTES),
        ("folder", SLASH),
        ("rffieldsv2", Column::RoboformField),
        ("rf_fields", Column::RoboformField),
    ],
    // Only the first field has a column.
    beyond: Some(Column::RoboformField),
    program: Program::Other,
};

pub(crate) const DASHLANE: &[Table] = &[
    Table {
        required: &[&["title"], &["username"], &["password"]],
        columns: &[
            ("username", USER),
            ("username2", Column::Field("user 2")),
            ("username3", Column::Field("user 3")),
            ("title", Column::Name),
            ("password", PASSWORD),
            ("note", NOTES),
            ("url", URL),
            ("category", Column::Folder(&[])),
            ("otpsecret", OTP),
            ("otpurl", OTP),
        ],
        beyond: None,
        program: Program::Other,
    },
    Table {
        required: &[&["cc_number", "account_number"]],
        columns: &[
            ("name", Column::Name),
            ("account_name", Column::NameAndField("account name")),
            ("account_holder", Column::Field("account holder")),
            ("cc_number", Column::Field("card number")),
            ("expiration_month", Column::Field("expiration month")),
            ("expiration_year", Column::Field("expiration year")),
            ("routing_number", Column::Field("routing number")),
            ("account_number", Column::Field("account number")),
            ("issuing_bank", Column::Field("issuing bank")),
            ("note", NOTES),
        ],
        beyond: None,
        program: Program::Other,
    },
    Table {
        required: &[&["number"], &["expiration_date", "issue_date"]],
        columns: &[
            ("type", Column::NameAndField("type")),
            ("name", Column::Field("full name")),
            ("issue_date", Column::Field("issue date")),
            ("expiration_date", Column::Field("expiration date")),
            ("place_of_issue", Column::Field("place of issue")),
        ],
        beyond: None,
        program: Program::Other,
    },
    Table {
        required: &[&["first_name"], &["last_name"]],
        columns: &[
            ("item_name", Column::Name),
            ("type", Column::NameAndField("type")),
            ("first_name", Column::Field("first name")),
            ("middle_name", Column::Field("middle name")),
            ("last_name", Column::Field("last name")),
            ("date_of_birth", Column::Field("date of birth")),
            ("place_of_birth", Column::Field("place of birth")),
            ("email_type", Column::Field("email type")),
            ("phone_number", Column::Field("phone number")),
            ("address_recipient", Column::Field("address recipient")),
            ("address_building", Column::Field("address building")),
            ("address_apartment", Column::Field("address apartment")),
            ("address_floor", Column::Field("address floor")),
            ("address_door_code", Column::Field("address door code")),
            ("job_title", Column::Field("job title")),
        ],
        beyond: None,
        program: Program::Other,
    },
    Table {
        required: &[&["ssid"]],
        columns: &[
            ("name", Column::Name),
            ("ssid", Column::NameAndField("ssid")),
            ("passphrase", PASSWORD),
            ("note", NOTES),
        ],
        beyond: None,
        program: Program::Other,
    },
    Table {
        required: &[&["title"], &["note"]],
        columns: &[
            ("title", Column::Name),
            ("note", NOTES),
            ("category", Column::Folder(&[])),
        ],
        beyond: None,
        program: Program::Other,
    },
];

/// Columns that tell the program of a table. The first row of which a table has all columns counts.
const TELLING: &[(&[&str], Format)] = &[
    (&["name", "login_password"], Format::BitwardenCsv),
    (&["grouping", "extra"], Format::LastpassCsv),
    (&["cardholdername", "folder"], Format::NordpassCsv),
    (&["matchurl", "pwd"], Format::RoboformCsv),
    (&["rf_fields", "pwd"], Format::RoboformCsv),
    (&["username2", "username3"], Format::Dashlane),
    (&["title", "otpsecret"], Format::Dashlane),
    (&["cc_number", "account_holder"], Format::Dashlane),
    (&["item_name", "first_name"], Format::Dashlane),
    (&["guid", "httprealm"], Format::FirefoxCsv),
    (&["hostname", "formsubmiturl"], Format::FirefoxCsv),
    (&["title", "otpauth", "tags"], Format::OnepasswordCsv),
    (&["title", "ainfo", "scope"], Format::OnepasswordCsv),
    (&["title", "url", "otpauth"], Format::SafariCsv),
    (&["group", "title", "password"], Format::KeepassCsv),
    (&["account", "login name", "web site"], Format::KeepassCsv),
    (
        &["folder", "title", "login", "website address"],
        Format::KeeperCsv,
    ),
    (&["name", "url", "username", "password"], Format::ChromeCsv),
];

/// The program whose table has these columns.
pub(super) fn guess(bytes: &[u8]) -> Option<Format> {
    let sheet = Sheet::read(bytes).ok()?;
    let (_, first) = sheet.rows().next()?.ok()?;
    let header = Header::of(&first).ok()?;
    let fits = |(columns, _): &&(&[&str], Format)| columns.iter().all(|name| header.has(name));
    TELLING.iter().find(fits).map(|(_, format)| *format)
}

/// The address that LastPass writes for an item without one.
const LASTPASS_NO_URL: &str = "http://sn";
/// The address of the row in which Firefox keeps the keys of its account.
const FIREFOX_ACCOUNT: &str = "chrome://FirefoxAccounts";
/// What LastPass writes for characters that mean something in HTML.
const ENTITIES: &[&str] = &["&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&#039;"];
/// The length of an id, in bytes, from which on no other file has it: that of a UUID in binary.
const ID_LEN_MIN: usize = 16;
/// How many lines a loss names.
const LINES_SHOWN: usize = 20;

/// Reads a table.
pub(crate) fn read(bytes: &[u8], table: Table) -> Result<Imported, ImportError> {
    let mut collector = Collector::default();
    read_as(&[table], bytes, &mut collector)?;
    Ok(collector.into_imported())
}

/// Reads a table as the first of these that has its columns.
pub(crate) fn read_as(
    tables: &[Table],
    bytes: &[u8],
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let sheet = Sheet::read(bytes)?;
    let mut rows = sheet.rows();
    let header = match rows.next() {
        Some(row) => Header::of(&row?.1)?,
        None => Header::default(),
    };
    let missing = |table: &&Table| header.missing(table);
    let table = match tables.iter().find(|table| missing(table).is_none()) {
        Some(table) => table,
        None => {
            let column = tables.first().and_then(|table| missing(&table));
            let column = column.unwrap_or_default();
            return Err(ImportError::MissingColumn { column });
        }
    };
    let columns = header.columns(|name| {
        let found = table.columns.iter().find(|(column, _)| *column == name);
        found.map(|(_, column)| *column)
    });
    read_rows(
        &sheet,
        Rows {
            columns: &columns,
            beyond: table.beyond,
            program: table.program,
            has_header: true,
        },
        collector,
    )
}

/// The names of columns.
#[derive(Default)]
pub(crate) struct Header(Vec<String>);

impl Header {
    pub(crate) fn of(row: &StringRecord) -> Result<Self, ImportError> {
        if row.len() > FIELDS_MAX {
            return Err(ImportError::TooMany {
                what: "columns",
                limit: FIELDS_MAX,
            });
        }
        let name = |(number, cell): (usize, &str)| match cell.trim() {
            "" => format!("column {number}"),
            name => name.to_owned(),
        };
        Ok(Self((1..).zip(row).map(name).collect()))
    }

    /// Names the columns by their numbers.
    pub(crate) fn number(&mut self) {
        for (number, name) in (1..).zip(&mut self.0) {
            *name = format!("column {number}");
        }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }

    /// The first column that a table requires and this one lacks.
    fn missing(&self, table: &Table) -> Option<&'static str> {
        let mut required = table.required.iter();
        let missing = required.find(|names| !names.iter().any(|name| self.has(name)))?;
        missing.first().copied()
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|had| had.eq_ignore_ascii_case(name))
    }

    /// The meaning of each column. One that has none is a field of its name.
    pub(crate) fn columns<'a>(
        &'a self,
        meaning: impl Fn(&str) -> Option<Column<'a>>,
    ) -> Vec<Column<'a>> {
        let of_name = |name: &'a String| {
            let known = meaning(&name.to_lowercase());
            known.unwrap_or(Column::Field(name))
        };
        self.0.iter().map(of_name).collect()
    }
}

/// How the rows of a table are read.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) columns: &'a [Column<'a>],
    pub(crate) beyond: Option<Column<'a>>,
    pub(crate) program: Program,
    pub(crate) has_header: bool,
}

/// What was counted in the rows.
#[derive(Default)]
struct Counts {
    marks: BTreeMap<&'static str, usize>,
    entities: usize,
    account_rows: usize,
    long_rows: usize,
    long_lines: Vec<String>,
}

/// Reads all rows of a table.
pub(crate) fn read_rows(
    sheet: &Sheet,
    rows: Rows<'_>,
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let header_len = usize::from(rows.has_header);
    let has_root = has_common_root(sheet, rows)?;
    let mut counts = Counts::default();
    for row in sheet.rows().skip(header_len) {
        let (line, row) = row?;
        let mut beyond = row.iter().skip(rows.columns.len());
        if rows.beyond.is_none() && beyond.any(|cell| !cell.is_empty()) {
            counts.long_rows += 1;
            if counts.long_lines.len() < LINES_SHOWN {
                counts.long_lines.push(line.to_string());
            }
            continue;
        }
        read_row(&row, rows, has_root, &mut counts, collector)?;
    }
    for (mark, count) in counts.marks {
        collector.lose(Loss::of_mark(mark, count));
    }
    if counts.account_rows > 0 {
        collector.lose(Loss::of_file("the keys of the Firefox account"));
    }
    if counts.entities > 0 {
        let rows = counted(counts.entities);
        collector.lose(Loss::of_file(format!(
            "{rows} with HTML entities such as \"&amp;\", which LastPass may have put in the place \
             of \"&\", \"<\" and \">\": they are imported as they are"
        )));
    }
    if counts.long_rows > 0 {
        let rows = counted(counts.long_rows);
        let more = if counts.long_rows > counts.long_lines.len() {
            " and further ones"
        } else {
            ""
        };
        collector.lose(Loss::of_file(format!(
            "{rows} with more cells than the first line has columns, at line {}{more}",
            counts.long_lines.join(", ")
        )));
    }
    Ok(())
}

fn counted(rows: usize) -> String {
    match rows {
        1 => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    }
}

/// Whether the folders of all rows begin with the same one.
fn has_common_root(sheet: &Sheet, rows: Rows<'_>) -> Result<bool, ImportError> {
    let mut columns = rows.columns.iter().enumerate();
    let place = columns.find_map(|(place, column)| match column {
        Column::FolderBelowRoot(separators) => Some((place, *separators)),
        _ => None,
    });
    let Some((place, separators)) = place else {
        return Ok(false);
    };
    let mut root: Option<String> = None;
    for row in sheet.rows().skip(usize::from(rows.has_header)) {
        let (_, row) = row?;
        let folder = row.get(place).unwrap_or_default();
        let first = folder.split(separators).next().unwrap_or_default();
        if first.is_empty() || root.as_ref().is_some_and(|root| root != first) {
            return Ok(false);
        }
        root.get_or_insert_with(|| first.to_owned());
    }
    Ok(root.is_some())
}

fn read_row(
    row: &StringRecord,
    rows: Rows<'_>,
    has_root: bool,
    counts: &mut Counts,
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let columns = rows.columns.iter().copied();
    let columns = columns.chain(std::iter::repeat(rows.beyond.unwrap_or(Column::Skipped)));
    let cells: Vec<_> = columns
        .zip(row)
        .filter(|(_, cell)| !cell.is_empty())
        .collect();
    if cells.is_empty() {
        // Spreadsheet programs write such rows at the end.
        return Ok(());
    }
    let cell = |wanted: fn(&Column<'_>) -> bool| {
        let found = cells.iter().find(|(column, _)| wanted(column));
        found.map_or("", |(_, cell)| *cell)
    };
    let url = cell(|column| matches!(*column, Column::Urls | URL));
    let user = cell(|column| matches!(*column, USER));
    match rows.program {
        Program::Firefox if url == FIREFOX_ACCOUNT => {
            counts.account_rows += 1;
            return Ok(());
        }
        Program::Nordpass if is_nordpass_folder(&cells) => return Ok(()),
        Program::Lastpass => {
            let has_entity = |cell: &str| ENTITIES.iter().any(|entity| cell.contains(entity));
            counts.entities += usize::from(row.iter().any(has_entity));
        }
        _ => {}
    }
    let names = [
        cell(|column| matches!(column, Column::Name)),
        cell(|column| matches!(column, Column::NameAndField(_))),
        host_of(url).unwrap_or_default(),
        // Some programs write the host alone.
        bare_host_of(url),
        user,
    ];
    let name = names.into_iter().find(|name| !name.is_empty());
    let name = name.unwrap_or_default();
    let mut folders: Vec<&str> = Vec::new();
    let mut further_collections = Vec::new();
    for (column, cell) in &cells {
        match column {
            Column::Folder(separators) => folders.extend(cell.split(*separators)),
            Column::FolderBelowRoot(separators) => {
                folders.extend(cell.split(*separators).skip(usize::from(has_root)));
            }
            Column::Collections => {
                let mut collections = cell.split(',');
                folders.extend(collections.next().unwrap_or_default().split('/'));
                further_collections.extend(collections);
            }
            _ => {}
        }
    }
    let source_id = match cell(|column| matches!(column, Column::Id)) {
        "" => [folders.join("/").as_str(), name, url, user].join("\0"),
        id if rows.program == Program::Unknown && id.len() < ID_LEN_MIN => {
            [id, name, url, user].join("\0")
        }
        id => id.to_owned(),
    };
    let mut builder = collector.begin(source_id, folders, name)?;
    let mut urls = BTreeSet::new();
    for (column, cell) in cells {
        if let Column::Mark(mark) = column {
            if is_set(cell) {
                *counts.marks.entry(mark).or_insert(0) += 1;
            }
        } else if column == URL {
            if cell != LASTPASS_NO_URL && urls.insert(cell) {
                builder.add(FieldRole::Url.name(), cell)?;
            }
        } else if column == NOTES && rows.program == Program::Lastpass {
            read_lastpass_note(cell, &mut builder)?;
        } else {
            add_cell(column, cell, &mut builder)?;
        }
    }
    for collection in further_collections {
        builder.lose(format!("the further collection {}", collection.trim()))?;
    }
    builder.finish();
    Ok(())
}

/// NordPass writes a row for each folder. The first versions had no column for the kind.
fn is_nordpass_folder(cells: &[(Column<'_>, &str)]) -> bool {
    let mut kinds = cells.iter().filter(|(column, _)| *column == Column::Kind);
    match kinds.next() {
        Some((_, kind)) => *kind == "folder",
        None => matches!(cells, [(Column::Name, _)]),
    }
}

fn add_cell(column: Column<'_>, cell: &str, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    match column {
        Column::Known(role) => builder.add(role.name(), cell),
        Column::Field(name) | Column::NameAndField(name) => builder.add(name, cell),
        Column::Urls => split_urls(cell)
            .into_iter()
            .try_for_each(|url| builder.add(FieldRole::Url.name(), url)),
        Column::Fields => split_fields(cell)
            .into_iter()
            .try_for_each(|(name, value)| builder.add(&name, value)),
        Column::JsonFields => read_json_fields(cell, builder),
        Column::RoboformField => read_roboform_field(cell, builder),
        Column::Modified => {
            builder.set_modified(time_of(cell));
            Ok(())
        }
        Column::Tags(separator) => {
            let tags: Vec<&str> = cell.split(separator).map(str::trim).collect();
            builder.add(FieldRole::Tags.name(), tags.join(","))
        }
        Column::Favourite if is_set(cell) => builder.add(FieldRole::Favourite.name(), "yes"),
        Column::Folder(_)
        | Column::FolderBelowRoot(_)
        | Column::Collections
        | Column::Name
        | Column::Id
        | Column::Kind
        | Column::Favourite
        | Column::Mark(_)
        | Column::Skipped => Ok(()),
    }
}

/// Whether a mark is set.
fn is_set(cell: &str) -> bool {
    !matches!(
        cell.trim().to_lowercase().as_str(),
        "" | "0" | "false" | "no"
    )
}

/// Splits addresses: a list in JSON, or addresses that are joined by commas. An address may contain
/// commas too: a part without `://` belongs to the address before it.
fn split_urls(cell: &str) -> Vec<String> {
    if cell.starts_with('[')
        && let Ok(node) = Node::document(cell.as_bytes())
        && let Ok(Value::Array(list)) = node.read_value()
    {
        return list.into_iter().map(text_from).collect();
    }
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

/// A cell that is no list of fields is kept as it is.
fn read_json_fields(cell: &str, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let value = Node::document(cell.as_bytes()).and_then(|node| node.read_value());
    let Ok(Value::Array(fields)) = value else {
        return builder.add("custom fields", cell);
    };
    for field in fields {
        let mut field = Members::from(field);
        let name = field.text("label");
        builder.add(&name, text_from(field.any("value")))?;
    }
    Ok(())
}

/// LastPass writes the fields of a card, a wireless network and the like into the notes, as lines
/// of `NAME:VALUE` after the kind. A text that has other lines is kept as it is.
fn read_lastpass_note(cell: &str, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let Some(fields) = split_lastpass_note(cell) else {
        return builder.add(FieldRole::Notes.name(), cell);
    };
    for (name, value) in fields {
        // An empty date is `,,`.
        let is_empty_date = name.ends_with("Date") && value.trim_matches([',', '\r']).is_empty();
        let name = match name {
            "Language" => continue,
            _ if is_empty_date => continue,
            "NoteType" => "note type",
            "Notes" => FieldRole::Notes.name(),
            "Number" => "card number",
            "Name on Card" => "cardholder name",
            "Private Key" => "private key",
            "Public Key" => "public key",
            name => name,
        };
        builder.add(name, value.trim_end_matches('\r'))?;
    }
    Ok(())
}

/// The fields of a note. `Notes` is the last one and has all further lines; a key has its lines up
/// to its end.
fn split_lastpass_note(cell: &str) -> Option<Vec<(&str, &str)>> {
    let mut rest = cell.strip_prefix("NoteType:").and(Some(cell))?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once(':')?;
        if name.contains(['\r', '\n']) {
            return None;
        }
        let len = match (name, after.find("-----END")) {
            ("Notes", _) => after.len(),
            (_, Some(end)) if after.starts_with("-----BEGIN") => {
                let last = after.get(end..)?;
                end + last.find('\n').unwrap_or(last.len())
            }
            _ => after.find('\n').unwrap_or(after.len()),
        };
        let (value, next) = after.split_at_checked(len)?;
        fields.push((name, value));
        rest = next.strip_prefix('\n').unwrap_or(next);
    }
    Some(fields)
}

/// RoboForm repeats the user name and the password as fields with names of its own.
fn read_roboform_field(cell: &str, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let new: Vec<&str> = cell.splitn(5, ',').collect();
    let old: Vec<&str> = cell.splitn(4, ':').collect();
    let (name, value) = match (new.as_slice(), old.as_slice()) {
        ([name, _, _, _, value], _) => (*name, *value),
        (_, [name, value, "rck", _]) => (*name, *value),
        (_, [name, _, value, ..]) => (*name, *value),
        _ => ("field", cell),
    };
    match name {
        "User ID$" | "Password$" | "Script$" => Ok(()),
        "TOTP KEY$" => builder.add(FieldRole::Otp.name(), value),
        "-no-name-" => builder.add("field", value),
        name => builder.add(name, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_lastpass_is_its_fields_unless_it_has_other_lines() {
        let key = "-----BEGIN X-----\nProc-Type: 4\n\nAA\n-----END X-----";
        let note = format!("NoteType:SSH Key\nPrivate Key:{key}\nDate:,,\nNotes:a: b\nc");
        let fields = split_lastpass_note(&note).unwrap();
        let expected = [
            ("NoteType", "SSH Key"),
            ("Private Key", key),
            ("Date", ",,"),
            ("Notes", "a: b\nc"),
        ];
        assert_eq!(fields, expected);
        assert!(split_lastpass_note("NoteType:x\nHost:h\na line\nB:c").is_none());
        assert!(split_lastpass_note("NoteType:x\na line").is_none());
        assert!(split_lastpass_note("a: b").is_none());
    }

    #[test]
    fn an_address_keeps_its_commas_when_several_share_a_cell() {
        assert_eq!(
            split_urls("https://a/x,y,https://b"),
            ["https://a/x,y", "https://b"]
        );
        assert_eq!(split_urls("[\"https://a,b\"]"), ["https://a,b"]);
        assert_eq!(split_urls("[x"), ["[x"]);
        assert_eq!(split_urls(""), [""]);
    }
}
