//! Any table (CSV): the meaning of its columns follows from their names, or a person says it.

use passmate_vault::login::{FieldRole, role_of};
use serde::{Deserialize, Serialize};

use super::Imported;
use super::item::{Collector, words_of};
use super::tables::{Column, Header, NOTES, OTP, PASSWORD, Program, Rows, URL, USER, read_rows};
use crate::error::ImportError;
use crate::syntax::csv::Sheet;

const FOLDER: Column<'_> = Column::Folder(&['/', '\\']);
const TAGS: Column<'_> = Column::Tags(';');
const EXPIRES: Column<'_> = Column::Known(FieldRole::Expires);

/// The names of columns by their meanings, in lower case and with a blank between words. If a table
/// has several names of one meaning, the first of the list has it, and the others are fields. All
/// columns with an address have the meaning.
const SYNONYMS: &[(Column<'static>, &[&str])] = &[
    (
        Column::Name,
        &[
            "name",
            "title",
            "item name",
            "entry",
            "entry name",
            "item",
            "account name",
            "account",
            "label",
            "site name",
            "service",
            "service name",
            "display name",
            "secret name",
            "password name",
            "nickname",
        ],
    ),
    (
        USER,
        &[
            "user",
            "username",
            "user name",
            "login",
            "login name",
            "login username",
            "userid",
            "user id",
            "login id",
            "account id",
            "email",
            "e mail",
            "email address",
            "mail",
        ],
    ),
    (
        PASSWORD,
        &[
            "password",
            "pass",
            "passwd",
            "pwd",
            "pass word",
            "login password",
            "passphrase",
            "secret",
        ],
    ),
    (
        URL,
        &[
            "url",
            "urls",
            "uri",
            "website",
            "web site",
            "website url",
            "website address",
            "web address",
            "site",
            "site url",
            "login url",
            "login urls",
            "login uri",
            "secret url",
            "password url",
            "link",
            "domain",
            "hostname",
            "origin",
            "match url",
        ],
    ),
    (
        NOTES,
        &[
            "notes",
            "note",
            "comment",
            "comments",
            "extra",
            "memo",
            "remarks",
            "description",
            "additional info",
        ],
    ),
    (
        OTP,
        &[
            "otp",
            "totp",
            "otpauth",
            "otp url",
            "otp secret",
            "totp secret",
            "totp secret key",
            "totp seed",
            "login totp",
            "2fa",
            "twofa secret",
            "one time password",
            "authenticator key",
        ],
    ),
    (
        FOLDER,
        &[
            "folder",
            "group",
            "grouping",
            "category",
            "collection",
            "collections",
            "vault",
            "path",
        ],
    ),
    (TAGS, &["tags", "tag", "labels"]),
    (
        Column::Favourite,
        &["favorite", "favourite", "fav", "starred"],
    ),
    (EXPIRES, &["expires", "expires at", "password expires"]),
    (
        Column::Modified,
        &[
            "modified",
            "last modified",
            "date modified",
            "modified date",
            "modified at",
            "modify time",
            "updated",
            "updated at",
            "last updated",
            "time password changed",
        ],
    ),
    (Column::Id, &["uuid", "guid"]),
    (
        Column::Skipped,
        &[
            "created",
            "date created",
            "created date",
            "created at",
            "create time",
            "time created",
            "time last used",
            "last used",
            "icon",
        ],
    ),
];

/// What the columns of a table mean, as a person says it: `user=2,password=Pass word,folder=`.
///
/// Each part is a meaning and a column. A meaning is `name`, `user`, `password`, `url`, `notes`,
/// `otp`, `folder`, `tags`, `favourite`, `expires`, `modified`, `id`, `skip`, or the name of a
/// field. A column is its name in the first line, or its number from 1; none says that no column
/// has the meaning. A part in quotes may have commas: `"password=Pass, word"`. Columns that no part
/// names have the meaning of their names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnMap {
    parts: Vec<(Meaning, String)>,
    has_header: bool,
}

/// A meaning that a person gave to a column.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Meaning {
    Known(Column<'static>),
    Field(String),
}

/// Why a text does not say what columns mean.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ColumnMapError {
    /// A part has no `=` or no meaning.
    #[error("{part:?} does not have the form MEANING=COLUMN")]
    NoColumn {
        /// The part.
        part: String,
    },
    /// Two parts name one column.
    #[error("the column {column:?} has two meanings")]
    Twice {
        /// The column.
        column: String,
    },
}

/// No column has another meaning than that of its name.
impl Default for ColumnMap {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            has_header: true,
        }
    }
}

impl ColumnMap {
    /// Reads the meanings.
    ///
    /// # Errors
    /// A part is malformed, or a column is named twice.
    pub fn parse(text: &str) -> Result<Self, ColumnMapError> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        let mut parts: Vec<(Meaning, String)> = Vec::new();
        for row in reader.records().filter_map(Result::ok) {
            for part in &row {
                let split = part.split_once('=');
                let split = split.map(|(meaning, column)| (meaning.trim(), column.trim()));
                let Some((meaning, column)) = split.filter(|(meaning, _)| !meaning.is_empty())
                else {
                    let part = part.to_owned();
                    return Err(ColumnMapError::NoColumn { part });
                };
                let column = column.to_owned();
                if !column.is_empty() && parts.iter().any(|(_, had)| *had == column) {
                    return Err(ColumnMapError::Twice { column });
                }
                parts.push((Meaning::of(meaning), column));
            }
        }
        Ok(Self {
            parts,
            has_header: true,
        })
    }

    /// The same for a table whose first line is a row already. Columns that are not named are
    /// fields `column 1` and so on.
    #[must_use]
    pub fn without_header(self) -> Self {
        Self {
            has_header: false,
            ..self
        }
    }

    /// The place of each column that has a meaning.
    fn places(&self, header: &Header) -> Result<Vec<(usize, Column<'_>)>, ImportError> {
        let mut places = Vec::new();
        for (meaning, column) in &self.parts {
            if column.is_empty() {
                continue;
            }
            let is_it = |name: &String| self.has_header && name.eq_ignore_ascii_case(column);
            let of_number = || {
                let number = column.parse::<usize>().ok()?.checked_sub(1)?;
                (number < header.names().len()).then_some(number)
            };
            let place = header.names().iter().position(is_it).or_else(of_number);
            let place = place.ok_or_else(|| ImportError::NoSuchColumn {
                column: column.clone(),
            })?;
            places.push((place, meaning.column()));
        }
        Ok(places)
    }

    fn has(&self, column: Column<'_>) -> bool {
        self.parts
            .iter()
            .any(|(meaning, _)| meaning.column() == column)
    }
}

impl Meaning {
    fn of(word: &str) -> Self {
        let known = match word.to_lowercase().as_str() {
            "name" | "title" => Column::Name,
            "folder" | "group" => FOLDER,
            "modified" => Column::Modified,
            "id" => Column::Id,
            "skip" => Column::Skipped,
            lower => match role_of(lower) {
                Some(FieldRole::Tags) => TAGS,
                Some(FieldRole::Favourite) => Column::Favourite,
                Some(
                    role @ (FieldRole::User
                    | FieldRole::Password
                    | FieldRole::Url
                    | FieldRole::Notes
                    | FieldRole::Otp
                    | FieldRole::Expires),
                ) => Column::Known(role),
                _ => return Self::Field(word.to_owned()),
            },
        };
        Self::Known(known)
    }

    fn column(&self) -> Column<'_> {
        match self {
            Self::Known(column) => *column,
            Self::Field(name) => Column::Field(name),
        }
    }
}

/// How a column of a table was understood.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ColumnUse {
    /// Its name in the first line, or its number.
    pub column: String,
    /// The meaning, in the words of [`ColumnMap`]. A field of the column's own name has that name.
    pub meaning: String,
}

/// Reads a table.
pub(crate) fn read(bytes: &[u8], map: Option<&ColumnMap>) -> Result<Imported, ImportError> {
    let sheet = Sheet::read(bytes)?;
    let first = sheet.rows().next().transpose()?;
    let has_header = map.is_none_or(|map| map.has_header);
    let mut header = match &first {
        Some((_, row)) => Header::of(row)?,
        None => Header::default(),
    };
    if !has_header {
        header.number();
    }
    let mut columns: Vec<Option<Column<'_>>> = vec![None; header.names().len()];
    for (place, column) in map.map_or(Ok(Vec::new()), |map| map.places(&header))? {
        if let Some(had) = columns.get_mut(place) {
            *had = Some(column);
        }
    }
    if has_header {
        find_by_name(&header, map, &mut columns);
    }
    let is_login =
        |column: &Option<Column<'_>>| matches!(column, Some(USER | PASSWORD | URL | NOTES | OTP));
    // Without a header, only the person can know.
    if (map.is_none() || !has_header) && !columns.iter().any(is_login) {
        return Err(ImportError::UnknownColumns);
    }
    let fields = header.names().iter().map(|name| Column::Field(name));
    let columns: Vec<Column<'_>> = columns
        .into_iter()
        .zip(fields)
        .map(|(column, field)| column.unwrap_or(field))
        .collect();
    let mut collector = Collector::default();
    read_rows(
        &sheet,
        Rows {
            columns: &columns,
            beyond: None,
            program: Program::Unknown,
            has_header,
        },
        &mut collector,
    )?;
    let mut imported = collector.into_imported();
    let used = header.names().iter().zip(&columns);
    imported.columns = used
        .map(|(name, column)| ColumnUse {
            column: name.clone(),
            meaning: word_of(*column).to_owned(),
        })
        .collect();
    Ok(imported)
}

/// Whether a table of several columns has one for the password.
pub(super) fn has_password(bytes: &[u8]) -> bool {
    let has = |sheet: Sheet| {
        let (_, first) = sheet.rows().next()?.ok()?;
        let header = Header::of(&first).ok()?;
        let mut columns = vec![None; header.names().len()];
        find_by_name(&header, None, &mut columns);
        Some(columns.len() > 1 && columns.contains(&Some(PASSWORD)))
    };
    Sheet::read(bytes).ok().and_then(has).unwrap_or_default()
}

/// Gives the columns that have no meaning yet that of their names.
fn find_by_name(header: &Header, map: Option<&ColumnMap>, columns: &mut [Option<Column<'_>>]) {
    let plain = |name: &String| words_of(&name.replace(['_', '-'], " ")).replace("  ", " ");
    let names: Vec<String> = header.names().iter().map(plain).collect();
    for (meaning, synonyms) in SYNONYMS {
        if map.is_some_and(|map| map.has(*meaning)) {
            continue;
        }
        for synonym in *synonyms {
            let mut is_found = false;
            let free = columns.iter_mut().zip(&names);
            for (column, _) in free.filter(|(column, name)| column.is_none() && name == synonym) {
                *column = Some(*meaning);
                is_found = true;
            }
            if is_found && !matches!(*meaning, URL | Column::Skipped) {
                break;
            }
        }
    }
}

/// The word for a meaning.
fn word_of(column: Column<'_>) -> &str {
    match column {
        Column::Name => "name",
        Column::Folder(_) | Column::FolderBelowRoot(_) | Column::Collections => "folder",
        Column::Id => "id",
        Column::Known(role) => role.name(),
        Column::Field(name) | Column::NameAndField(name) => name,
        Column::Urls => FieldRole::Url.name(),
        Column::Modified => "modified",
        Column::Tags(_) => FieldRole::Tags.name(),
        Column::Favourite => FieldRole::Favourite.name(),
        Column::Fields | Column::JsonFields | Column::RoboformField => "fields",
        Column::Kind | Column::Mark(_) | Column::Skipped => "skip",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: &str, map: Option<&str>, meanings: &[&str]) {
        let map = map.map(|map| ColumnMap::parse(map).unwrap());
        let imported = read(table.as_bytes(), map.as_ref()).unwrap();
        let found: Vec<_> = imported.columns.iter().map(|it| &it.meaning).collect();
        assert_eq!(found, meanings);
    }

    #[test]
    fn columns_are_found_by_synonyms() {
        check(
            "Site,Login Name,Pass,Web-Site,Comments,TOTP_secret,Category,Fav,PIN,Created",
            None,
            &[
                "url",
                "user",
                "password",
                "url",
                "notes",
                "otp",
                "folder",
                "favourite",
                "PIN",
                "skip",
            ],
        );
        // The first synonym has the meaning, and the others are fields.
        check(
            "email,username,password,title,account",
            None,
            &["email", "user", "password", "name", "account"],
        );
        assert_eq!(
            read(b"alice,hunter2\n", None).unwrap_err(),
            ImportError::UnknownColumns
        );
    }

    #[test]
    fn a_person_says_what_columns_mean() {
        check(
            "Kennwort,Benutzer,name,group,x",
            Some("password=1,User=benutzer,folder=,pin=5"),
            &["password", "user", "name", "group", "pin"],
        );
        check(
            "a,\"b, c\",name",
            Some("\"password=b, c\",skip=a,name="),
            &["skip", "password", "name"],
        );
        // A name goes before a number.
        check("2,1", Some("password=1"), &["2", "password"]);
        let map = ColumnMap::parse("password=x").unwrap();
        let error = read(b"a,b\n", Some(&map)).unwrap_err();
        assert_eq!(
            error,
            ImportError::NoSuchColumn {
                column: "x".to_owned()
            }
        );
    }

    #[test]
    fn a_table_may_lack_names_of_columns() {
        let map = ColumnMap::parse("name=1,password=3").unwrap();
        let imported = read(b"user,bob,pw\nb,c\n", Some(&map.without_header())).unwrap();
        let items = &imported.items;
        assert_eq!(items.len(), 2);
        assert_eq!((items[0].path.as_str(), items[0].fields.len()), ("user", 2));
        assert_eq!(items[0].fields[0].name, "column 2");
    }

    #[test]
    fn a_short_id_identifies_an_item_only_with_its_name() {
        let id = |table: &str, map: Option<&str>| {
            let map = map.map(|map| ColumnMap::parse(map).unwrap());
            let imported = read(table.as_bytes(), map.as_ref()).unwrap();
            imported.items[0].source_id.clone()
        };
        for (header, map) in [("uuid", None), ("guid", None), ("no", Some("id=no"))] {
            let of = |row: &str| id(&format!("{header},name,user,password\n{row}\n"), map);
            assert_ne!(of("1,a,u,p"), of("1,b,u,p"));
            assert_ne!(of("1,a,u,p"), of("2,a,u,p"));
            assert_eq!(of("1,a,u,p"), of("1,a,u,q"));
            let long = "0123456789abcdef";
            assert_eq!(of(&format!("{long},a,u,p")), long);
        }
    }

    #[test]
    fn a_table_without_names_needs_a_column_with_a_known_meaning() {
        for map in ["", "name=1", "pin=1,folder=2", "password="] {
            let map = ColumnMap::parse(map).unwrap().without_header();
            let error = read(b"user,password\n", Some(&map)).unwrap_err();
            assert_eq!(error, ImportError::UnknownColumns);
        }
    }

    #[test]
    fn a_malformed_part_is_named() {
        let error = |text: &str| ColumnMap::parse(text).unwrap_err();
        let part = "user".to_owned();
        assert_eq!(error("user"), ColumnMapError::NoColumn { part });
        let column = "1".to_owned();
        assert_eq!(error("user=1,pin=1"), ColumnMapError::Twice { column });
        assert!(ColumnMap::parse("").unwrap().parts.is_empty());
    }
}
