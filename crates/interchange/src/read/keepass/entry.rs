//! One version of an entry, present or earlier, as fields.

use std::collections::{BTreeMap, BTreeSet};

use passmate_vault::login::FieldRole;
use zeroize::Zeroizing;

use super::otp::{self, Strings};
use super::references::{self, References, STANDARD};
use super::time_of;
use crate::passkey::Passkey;
use crate::read::item::clean;
use crate::syntax::kdbx::{FURTHER_URL, expiry_of, seconds_of_expiry, tags_of};
use crate::syntax::kpex;
use crate::syntax::xml::Node;

/// The data of plugins and programs that says how to match addresses and how to type. It is neither
/// imported nor listed, as for all programs.
const TYPING_RULES: [&str; 8] = [
    "KeePassXC-Browser Settings",
    "KeePassXC-Browser",
    "BrowserHideEntry",
    "BrowserSkipAutoSubmit",
    "BrowserOnlyHttpAuth",
    "BrowserNotHttpAuth",
    "BrowserOmitWww",
    "_LAST_MODIFIED",
];

/// A version of an entry.
pub(super) struct Version<'a> {
    pub(super) title: Zeroizing<String>,
    pub(super) modified: Option<i64>,
    /// Names, which are unique, and values, which are not empty.
    pub(super) fields: Vec<(String, Zeroizing<String>)>,
    /// The names of attachments.
    pub(super) attachments: Vec<&'a str>,
    pub(super) losses: Vec<String>,
}

impl<'a> Version<'a> {
    /// Reads a version. An address of one-time codes without a name gets the label, or the title.
    pub(super) fn read(
        entry: &'a Node,
        label: Option<&str>,
        references: &mut References<'_>,
    ) -> Self {
        let mut losses = Vec::new();
        let mut strings: Strings<'a> = Vec::new();
        for (key, value) in references::strings(entry) {
            if value.is_binary {
                losses.push(format!("the value of {}, which is not text", clean(key)));
                continue;
            }
            let (value, is_whole) = references.resolve(&value.text);
            if !is_whole {
                losses.push(format!(
                    "the references in {} to other entries, which are not found: their text is \
                     kept",
                    clean(key)
                ));
            }
            strings.push((key, value));
        }
        let mut fields = Fields::default();
        let title = take(&mut strings, "Title").unwrap_or_default();
        // The standard strings come first, so that a custom one with the same name gets a number.
        for (key, role) in [
            ("UserName", FieldRole::User),
            ("Password", FieldRole::Password),
            ("URL", FieldRole::Url),
        ] {
            fields.add(role.name(), take(&mut strings, key).unwrap_or_default());
        }
        for url in take_further_urls(&mut strings) {
            fields.add(FieldRole::Url.name(), url);
        }
        fields.add(
            FieldRole::Notes.name(),
            take(&mut strings, "Notes").unwrap_or_default(),
        );
        for address in otp::take(&mut strings, label.unwrap_or(&title), &mut losses) {
            fields.add(FieldRole::Otp.name(), address);
        }
        if let Some(passkey) = take_passkey(&mut strings, &mut losses) {
            fields.add(FieldRole::Passkey.name(), passkey);
        }
        if let Some(tags) = tags(entry, &strings) {
            fields.add(FieldRole::Tags.name(), tags);
        }
        let times = entry.child("Times");
        let expires = times.filter(|times| times.text_of("Expires").eq_ignore_ascii_case("true"));
        if let Some(times) = expires {
            match time_of(times.text_of("ExpiryTime")) {
                Some(seconds) => {
                    fields.add_some(FieldRole::Expires.name(), expiry(seconds, &strings))
                }
                None => losses.push("the time at which it expires".to_owned()),
            }
        }
        for (key, value) in strings {
            if !STANDARD.contains(&key) {
                fields.add(key, value);
            }
        }
        fields.add_text("override url", entry.text_of("OverrideURL"));
        let data = entry.all("CustomData").flat_map(|data| data.all("Item"));
        for item in data {
            let key = item.text_of("Key");
            if !TYPING_RULES.contains(&key) {
                fields.add_text(key, item.text_of("Value"));
            }
        }
        Self {
            title,
            modified: times.and_then(|times| time_of(times.text_of("LastModificationTime"))),
            fields: fields.list,
            attachments: entry
                .all("Binary")
                .map(|binary| binary.text_of("Key"))
                .collect(),
            losses,
        }
    }

    /// The value of a field; empty if it is not set.
    pub(super) fn value(&self, role: FieldRole) -> &str {
        let found = self.fields.iter().find(|(name, _)| name == role.name());
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// Fields with unique names. A name that exists already gets a number, as in an item.
#[derive(Default)]
struct Fields {
    list: Vec<(String, Zeroizing<String>)>,
    names: BTreeSet<String>,
    numbers: BTreeMap<String, u32>,
}

impl Fields {
    fn add(&mut self, name: &str, value: Zeroizing<String>) {
        if value.is_empty() {
            return;
        }
        let base = match clean(name) {
            name if name.is_empty() => "field".to_owned(),
            name => name,
        };
        let mut name = base.clone();
        if self.names.contains(&name) {
            let number = self.numbers.entry(base.clone()).or_insert(2);
            while self.names.contains(&name) {
                name = format!("{base} {number}");
                *number += 1;
            }
        }
        self.names.insert(name.clone());
        self.list.push((name, value));
    }

    fn add_some(&mut self, name: &str, value: Option<String>) {
        self.add(name, Zeroizing::new(value.unwrap_or_default()));
    }

    fn add_text(&mut self, name: &str, value: &str) {
        self.add(name, Zeroizing::new(value.to_owned()));
    }
}

fn find<'s>(strings: &'s Strings<'_>, key: &str) -> Option<&'s str> {
    let found = strings.iter().find(|(found, _)| *found == key);
    found.map(|(_, value)| value.as_str())
}

fn take(strings: &mut Strings<'_>, key: &str) -> Option<Zeroizing<String>> {
    let place = strings.iter().position(|(found, _)| *found == key)?;
    Some(strings.remove(place).1)
}

/// Takes `KP2A_URL`, `KP2A_URL_1` and so on, and then `URL 2` and so on.
fn take_further_urls(strings: &mut Strings<'_>) -> Vec<Zeroizing<String>> {
    let place_of = |key: &str| {
        if let Some(number) = key.strip_prefix(FURTHER_URL) {
            let number = number.strip_prefix('_').unwrap_or(number);
            return Some((0, number.parse().unwrap_or(0)));
        }
        let (base, number) = key.split_once(' ')?;
        let number: u32 = number.parse().ok()?;
        base.eq_ignore_ascii_case("url").then_some((1, number))
    };
    let mut urls: Vec<_> = strings
        .extract_if(.., |(key, _)| place_of(key).is_some())
        .collect();
    urls.sort_by_key(|(key, _)| place_of(key));
    urls.into_iter().map(|(_, url)| url).collect()
}

fn take_passkey(strings: &mut Strings<'_>, losses: &mut Vec<String>) -> Option<Zeroizing<String>> {
    let parts = strings
        .iter()
        .filter(|(key, _)| key.starts_with(kpex::PREFIX))
        .map(|(key, value)| (*key, value.as_str()));
    parts.clone().next()?;
    let Some(passkey) = kpex::read(parts) else {
        losses.push("the passkey, of which a part is missing or wrong: the parts are kept".into());
        return None;
    };
    strings.retain(|(key, _)| !key.starts_with(kpex::PREFIX));
    // Our exports have the whole value, if the parts do not hold all of it.
    let exact = find(strings, FieldRole::Passkey.name());
    let is_exact = exact.and_then(Passkey::parse).is_some_and(|exact| {
        exact.credential_id == passkey.credential_id && exact.key == passkey.key
    });
    if is_exact {
        take(strings, FieldRole::Passkey.name())
    } else {
        Some(passkey.to_value())
    }
}

/// The tags of an entry, unless a string has the same ones.
fn tags(entry: &Node, strings: &Strings<'_>) -> Option<Zeroizing<String>> {
    let tags: Vec<_> = tags_of(entry.text_of("Tags")).collect();
    let written = find(strings, FieldRole::Tags.name()).unwrap_or_default();
    let is_same = tags_of(written).eq(tags.iter().copied());
    (!is_same).then(|| Zeroizing::new(tags.join(",")))
}

/// The expiry, unless a string has the same time.
fn expiry(seconds: i64, strings: &Strings<'_>) -> Option<String> {
    let written = find(strings, FieldRole::Expires.name()).and_then(seconds_of_expiry);
    if written == Some(seconds) {
        return None;
    }
    expiry_of(seconds)
}
