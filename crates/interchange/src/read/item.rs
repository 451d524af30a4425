//! Items: entries of other programs as a path and fields, and what is lost of them.

use std::collections::{BTreeMap, BTreeSet};

use passmate_vault::login::FieldRole;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::Imported;
use crate::error::{ImportError, ItemName};
use crate::limits::{
    FIELDS_ALL_MAX, FIELDS_MAX, ITEMS_MAX, NAME_LEN_MAX, NAMES_LEN_MAX, PATH_LEN_MAX,
};
use crate::loss::Loss;
use crate::passkey::Passkey;

/// Replaces `/` in a name of a program that does not use it as a separator: U+2215.
pub(crate) const SLASH: char = '\u{2215}';
/// The name of an item without a name.
const UNTITLED: &str = "untitled";
/// How many characters of an item's name an error shows.
const EXCERPT_LEN: usize = 40;

/// One entry of another program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Identifies the item in its source, and stays when the item is changed there. It is the
    /// source's own id. For tables without ids, it is made of folder, name, address and user name.
    pub source_id: String,
    /// The folders and the name, as the path of a record. Other items may have the same path.
    pub path: String,
    /// The fields that are set, with unique names.
    pub fields: Vec<Field>,
    /// The values that fields had before, in any order. A field may have none now.
    pub earlier: Vec<Earlier>,
    /// The time of the last change in the source, in seconds since 1970.
    pub modified: Option<i64>,
}

impl Item {
    /// The last part of its path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The value of the field in which readers put what has this meaning; empty if there is none.
    pub(crate) fn value(&self, role: FieldRole) -> &str {
        let is_it = |field: &&Field| field.name == role.name();
        let field = self.fields.iter().find(is_it);
        field.map_or("", |field| &field.value)
    }
}

/// A field of an item.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name, without control characters.
    pub name: String,
    /// Its value, never empty.
    pub value: Zeroizing<String>,
}

/// A value that a field had before.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// The name of the field.
    pub name: String,
    /// The value, never empty.
    pub value: Zeroizing<String>,
    /// When the field got the value, in seconds since 1970. `None` if the source does not tell.
    pub since: Option<i64>,
}

impl std::fmt::Debug for Earlier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Earlier({:?}, [redacted], {:?})", self.name, self.since)
    }
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Field({:?}, [redacted])", self.name)
    }
}

/// Collects the items of a file. It is the only way to make an [`Item`], so that their number, and
/// the length of their names, have limits for every format.
#[derive(Default)]
pub(crate) struct Collector {
    imported: Imported,
    items: usize,
    fields: usize,
    names_len: usize,
}

impl Collector {
    /// Begins an item in these folders. The names are cleaned as in [`path_of`].
    pub(crate) fn begin<'a>(
        &mut self,
        source_id: impl Into<String>,
        folders: impl IntoIterator<Item = &'a str>,
        name: &str,
    ) -> Result<Builder<'_>, ImportError> {
        self.count_item()?;
        let item_name = ItemName {
            number: self.items,
            name: clean(name).chars().take(EXCERPT_LEN).collect(),
        };
        let mut longest = name.len();
        let path = path_of(
            folders
                .into_iter()
                .inspect(|folder| longest = longest.max(folder.len())),
            name,
        );
        let is_in = |what, len: usize, limit| match len {
            len if len <= limit => Ok(()),
            _ => Err(ImportError::NameTooLong {
                what,
                item: item_name.clone(),
                limit,
            }),
        };
        is_in("the name or a folder", longest, NAME_LEN_MAX)?;
        is_in("the path", path.len(), PATH_LEN_MAX)?;
        let mut builder = Builder {
            collector: self,
            item_name,
            item: Item {
                source_id: source_id.into(),
                path,
                fields: Vec::new(),
                earlier: Vec::new(),
                modified: None,
            },
            names: BTreeSet::new(),
            numbers: BTreeMap::new(),
            losses: Vec::new(),
        };
        builder.count_names(builder.item.path.len())?;
        Ok(builder)
    }

    /// Adds a loss of the whole file.
    pub(crate) fn lose(&mut self, loss: Loss) {
        self.imported.losses.push(loss);
    }

    /// Adds the loss of an item that has no path. It counts as an item.
    pub(crate) fn lose_item(&mut self, what: &str) -> Result<(), ImportError> {
        self.count_item()?;
        self.lose(Loss::of_file(what));
        Ok(())
    }

    fn count_item(&mut self) -> Result<(), ImportError> {
        self.items += 1;
        if self.items > ITEMS_MAX {
            return Err(ImportError::TooMany {
                what: "items",
                limit: ITEMS_MAX,
            });
        }
        Ok(())
    }

    pub(crate) fn into_imported(self) -> Imported {
        self.imported
    }
}

/// Builds one item.
pub(crate) struct Builder<'c> {
    collector: &'c mut Collector,
    item_name: ItemName,
    item: Item,
    names: BTreeSet<String>,
    // The next number to try for a name, so that no number is tried twice.
    numbers: BTreeMap<String, u32>,
    losses: Vec<Loss>,
}

impl Builder<'_> {
    pub(crate) fn set_modified(&mut self, seconds: Option<i64>) {
        self.item.modified = seconds;
    }

    /// Adds a field, unless its value is empty. A name that exists already gets a number: `url 2`.
    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) -> Result<(), ImportError> {
        let value = Zeroizing::new(value.into());
        if value.is_empty() {
            return Ok(());
        }
        self.count_field()?;
        let base = self.field_name(name)?;
        let mut name = base.clone();
        if self.names.contains(&name) {
            let number = self.numbers.entry(base.clone()).or_insert(2);
            while self.names.contains(&name) {
                name = format!("{base} {number}");
                *number += 1;
            }
        }
        self.count_names(name.len())?;
        self.names.insert(name.clone());
        self.item.fields.push(Field { name, value });
        Ok(())
    }

    /// The names of the fields so far, in lower case.
    pub(crate) fn lower_names(&self) -> BTreeSet<String> {
        self.names.iter().map(|name| name.to_lowercase()).collect()
    }

    /// Adds a field if there is a value.
    pub(crate) fn add_some(
        &mut self,
        name: &str,
        value: Option<String>,
    ) -> Result<(), ImportError> {
        value.map_or(Ok(()), |value| self.add(name, value))
    }

    /// Adds a value that a field had before, unless it is empty. `since` is when the field got it.
    ///
    /// The name is that under which [`add`](Self::add) stored the present value.
    pub(crate) fn add_earlier(
        &mut self,
        name: &str,
        value: impl Into<String>,
        since: Option<i64>,
    ) -> Result<(), ImportError> {
        let value = Zeroizing::new(value.into());
        if value.is_empty() {
            return Ok(());
        }
        self.count_field()?;
        let name = self.field_name(name)?;
        self.count_names(name.len())?;
        self.item.earlier.push(Earlier { name, value, since });
        Ok(())
    }

    /// Adds a field and the values that it had before, each with the time at which it got them.
    pub(crate) fn add_with_earlier(
        &mut self,
        name: &str,
        value: &str,
        earlier: impl IntoIterator<Item = (String, Option<i64>)>,
    ) -> Result<(), ImportError> {
        let count = self.item.fields.len();
        self.add(name, value)?;
        // The field may have got a number.
        let stored = self.item.fields.get(count);
        let name = stored.map_or(name, |field| &field.name).to_owned();
        let mut earlier = earlier.into_iter();
        earlier.try_for_each(|(value, since)| self.add_earlier(&name, value, since))
    }

    /// Adds the values that a field had before, each with the time at which the next one replaced
    /// it. `created` is when the item was made.
    pub(crate) fn add_replaced(
        &mut self,
        name: &str,
        replaced: impl IntoIterator<Item = (String, Option<i64>)>,
        created: Option<i64>,
    ) -> Result<(), ImportError> {
        let mut replaced: Vec<_> = replaced.into_iter().collect();
        replaced.sort_by_key(|(_, until)| *until);
        let mut since = created;
        for (value, until) in replaced {
            self.add_earlier(name, value, since)?;
            since = until;
        }
        Ok(())
    }

    /// Adds a passkey as a field.
    pub(crate) fn add_passkey(&mut self, passkey: &Passkey) -> Result<(), ImportError> {
        self.add(FieldRole::Passkey.name(), passkey.to_value().as_str())
    }

    pub(crate) fn lose(&mut self, what: impl Into<String>) -> Result<(), ImportError> {
        let loss = Loss::new(self.item.path.clone(), what);
        self.count_names(loss.path.len() + loss.what.len())?;
        self.losses.push(loss);
        Ok(())
    }

    /// Adds the loss of a field that is a link to something else.
    pub(crate) fn lose_link(&mut self, field: &str, to: &str) -> Result<(), ImportError> {
        self.check_name(field)?;
        self.lose(format!(
            "the field {field}, which is a link to another {to}"
        ))
    }

    /// Adds a loss of `count` things, unless there are none.
    pub(crate) fn lose_count(&mut self, count: usize, what: &str) -> Result<(), ImportError> {
        match count {
            0 => Ok(()),
            1 => self.lose(format!("1 {what}")),
            count => self.lose(format!("{count} {what}s")),
        }
    }

    /// Drops the item: all of it is a loss.
    pub(crate) fn lose_all(mut self, why: &str) -> Result<(), ImportError> {
        self.lose(format!("the whole item: {why}"))?;
        self.collector.imported.losses.append(&mut self.losses);
        Ok(())
    }

    pub(crate) fn finish(self) {
        self.collector.imported.items.push(self.item);
        self.collector.imported.losses.extend(self.losses);
    }

    fn count_field(&mut self) -> Result<(), ImportError> {
        self.collector.fields += 1;
        let in_item = self.item.fields.len() + self.item.earlier.len() + 1;
        for (count, what, limit) in [
            (in_item, "fields in one item", FIELDS_MAX),
            (self.collector.fields, "fields", FIELDS_ALL_MAX),
        ] {
            if count > limit {
                return Err(ImportError::TooMany { what, limit });
            }
        }
        Ok(())
    }

    /// The cleaned name of a field.
    fn field_name(&self, name: &str) -> Result<String, ImportError> {
        self.check_name(name)?;
        let cleaned = clean(name);
        Ok(if cleaned.is_empty() {
            "field".to_owned()
        } else {
            cleaned
        })
    }

    fn check_name(&self, name: &str) -> Result<(), ImportError> {
        if name.len() > NAME_LEN_MAX {
            return Err(self.too_long("the name of a field", NAME_LEN_MAX));
        }
        Ok(())
    }

    /// Counts a path or name that takes memory anew.
    fn count_names(&mut self, len: usize) -> Result<(), ImportError> {
        self.collector.names_len = self.collector.names_len.saturating_add(len);
        if self.collector.names_len > NAMES_LEN_MAX {
            return Err(self.too_long("the sum of all names up to those", NAMES_LEN_MAX));
        }
        Ok(())
    }

    fn too_long(&self, what: &'static str, limit: usize) -> ImportError {
        ImportError::NameTooLong {
            what,
            item: self.item_name.clone(),
            limit,
        }
    }
}

/// Texts in their order. One that is there already is not added again.
#[derive(Default)]
pub(crate) struct Distinct {
    texts: Vec<String>,
    known: BTreeSet<String>,
}

impl From<Vec<String>> for Distinct {
    fn from(texts: Vec<String>) -> Self {
        let known = texts.iter().cloned().collect();
        Self { texts, known }
    }
}

impl Distinct {
    pub(crate) fn push(&mut self, text: String) {
        if self.known.insert(text.clone()) {
            self.texts.push(text);
        }
    }

    pub(crate) fn into_texts(self) -> Vec<String> {
        self.texts
    }
}

/// Makes a path of folders and a name. In each part, `/` becomes U+2215, control characters become
/// blanks, and blanks at both ends are removed. Empty folders are skipped, and an empty name
/// becomes `untitled`.
pub(crate) fn path_of<'a>(folders: impl IntoIterator<Item = &'a str>, name: &str) -> String {
    let mut parts: Vec<String> = folders
        .into_iter()
        .map(clean_part)
        .filter(|part| !part.is_empty())
        .collect();
    let name = clean_part(name);
    parts.push(if name.is_empty() {
        UNTITLED.to_owned()
    } else {
        name
    });
    parts.join("/")
}

pub(crate) fn clean_part(part: &str) -> String {
    clean(part).replace('/', &SLASH.to_string())
}

/// The name without control characters, and without blanks at both ends.
pub(crate) fn clean(name: &str) -> String {
    let blank = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    name.chars()
        .map(blank)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The host of an address with a scheme, as the name of an item without a name. As browsers do, it
/// takes `\` for `/`.
#[must_use]
pub fn host_of(url: &str) -> Option<&str> {
    let is_slash = |byte: u8| matches!(byte, b'/' | b'\\');
    let mut begins = url.as_bytes().windows(3);
    let begin = begins.position(
        |begin| matches!(begin, [b':', one, other] if is_slash(*one) && is_slash(*other)),
    )?;
    let host = bare_host_of(url.get(begin + 3..)?);
    (!host.is_empty()).then_some(host)
}

/// The host of an address without a scheme: what is before the path, without `user:password@`.
pub(crate) fn bare_host_of(address: &str) -> &str {
    let host = address.split(['/', '\\', '?', '#']).next();
    let host = host.unwrap_or_default();
    if let Some((_, host)) = host.rsplit_once('@') {
        return host;
    }
    // A password may have a slash too. Then its begin stands where a port does.
    match host.split_once(':') {
        Some((user, port))
            if !host.starts_with('[')
                && address.contains('@')
                && !port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            user
        }
        _ => host,
    }
}

/// Reads a time in the form of RFC 3339, as seconds since 1970.
pub(crate) fn seconds_of(time: &str) -> Option<i64> {
    time.trim()
        .parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_second)
}

/// Reads a time in one of the forms that tables have: RFC 3339, the same without a zone (then it is
/// UTC) or without a time, and seconds, milliseconds or microseconds since 1970.
pub(crate) fn time_of(text: &str) -> Option<i64> {
    let text = text.trim();
    let of_number = || {
        text.parse::<i64>().ok().map(|number| match number.abs() {
            ..100_000_000_000 => number,
            100_000_000_000..100_000_000_000_000 => number / 1000,
            _ => number / 1_000_000,
        })
    };
    let of_civil = || {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(zoned.timestamp().as_second())
    };
    seconds_of(text).or_else(of_number).or_else(of_civil)
}

/// The date of a time in UTC: `2030-12-31`.
pub(crate) fn date_of(seconds: i64) -> Option<String> {
    let time = jiff::Timestamp::from_second(seconds).ok()?;
    Some(time.strftime("%Y-%m-%d").to_string())
}

/// Turns `firstName` into `first name`.
pub(crate) fn words_of(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    let mut was_upper = true;
    for character in name.chars() {
        if character.is_uppercase() && !was_upper {
            words.push(' ');
        }
        was_upper = character.is_uppercase();
        words.extend(character.to_lowercase());
    }
    words
}

/// A value as text. A value of several parts, such as a postal address, has one part in each line.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(parts) => {
            let part = |(name, part): (&String, &Value)| match text_of(part) {
                text if text.is_empty() => None,
                text => Some(format!("{name}: {text}")),
            };
            parts.iter().filter_map(part).collect::<Vec<_>>().join("\n")
        }
        Value::Array(parts) => parts
            .iter()
            .map(text_of)
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("\n"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_in_a_path() {
        let check =
            |folders: &[&str], name, path| assert_eq!(path_of(folders.iter().copied(), name), path);
        check(&["a", "b"], "c", "a/b/c");
        check(&[], "and/or", "and\u{2215}or");
        check(&["", " ", "x/y"], " tab\tline\n", "x\u{2215}y/tab line");
        check(&["a"], "\0", "a/untitled");
    }

    #[test]
    fn texts_are_found_again_without_a_look_at_each_of_them() {
        let mut texts = Distinct::from(vec!["x".to_owned(), "x".to_owned()]);
        // It would take hours to compare each text with all others.
        for _ in 0..2 {
            (0..400_000).for_each(|number| texts.push(format!("{number:06}")));
        }
        texts.push("x".to_owned());
        let texts = texts.into_texts();
        assert_eq!(texts.len(), 400_002);
        assert_eq!(texts.first_chunk().unwrap(), &["x", "x", "000000"]);
    }

    #[test]
    fn the_host_names_an_item_without_a_name() {
        assert_eq!(
            host_of("https://me@example.org:8443/x?y"),
            Some("example.org:8443")
        );
        assert_eq!(host_of("example.org"), None);
        assert_eq!(host_of("bob:s3cret@example.org"), None);
        for url in [
            "https:\\\\example.org\\bob",
            "https://bob:s3cret@example.org",
            "https://bob:s3cret@example.org\\@x",
            "https://example.org/@bob",
        ] {
            assert_eq!(host_of(url), Some("example.org"), "{url}");
            let (_, bare) = url.split_at(8);
            assert_eq!(bare_host_of(bare), "example.org", "{bare}");
        }
        assert_eq!(bare_host_of("bob:s3/cret@example.org"), "bob");
        assert_eq!(host_of("https://[::1]:80/@bob"), Some("[::1]:80"));
        assert_eq!(host_of("android://"), None);
    }

    #[test]
    fn a_time_is_read_in_the_forms_that_tables_have() {
        for text in [
            "2023-11-14T22:13:20Z",
            "2023-11-14 22:13:20",
            "1700000000",
            "1700000000000",
            "1700000000000000",
        ] {
            assert_eq!(time_of(text), Some(1_700_000_000), "{text}");
        }
        assert_eq!(time_of("2023-11-14"), Some(1_699_920_000));
        assert_eq!(time_of("yesterday"), None);
        assert_eq!(date_of(418_046_460).as_deref(), Some("1983-04-01"));
    }

    #[test]
    fn a_name_of_members_becomes_words() {
        for (name, words) in [("firstName", "first name"), ("IBAN", "iban"), ("x", "x")] {
            assert_eq!(words_of(name), words);
        }
    }

    #[test]
    fn a_replaced_value_is_older_than_the_one_that_replaced_it() {
        let mut collector = Collector::default();
        let mut builder = collector.begin("1", [], "x").unwrap();
        let replaced = [
            ("b", Some(20)),
            ("c", Some(30)),
            ("", Some(15)),
            ("a", None),
        ];
        let replaced = replaced.map(|(value, until)| (value.to_owned(), until));
        builder.add_replaced("password", replaced, Some(5)).unwrap();
        let earlier: Vec<_> = builder
            .item
            .earlier
            .iter()
            .map(|earlier| (earlier.value.as_str(), earlier.since))
            .collect();
        assert_eq!(earlier, [("a", Some(5)), ("b", Some(15)), ("c", Some(20))]);
    }

    #[test]
    fn empty_fields_are_skipped_and_names_are_unique() {
        let mut collector = Collector::default();
        let mut builder = collector.begin("1", [], "x").unwrap();
        for (name, value) in [
            ("url", "a"),
            ("url", "b"),
            ("url", ""),
            ("url 2", "c"),
            ("", "d"),
            ("\n", "e"),
        ] {
            builder.add(name, value).unwrap();
        }
        let names: Vec<_> = builder
            .item
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        assert_eq!(names, ["url", "url 2", "url 2 2", "field", "field 2"]);
    }
}
