//! Field references: `{REF:P@I:UUID}` in a value stands for the password of the entry with this
//! UUID. The first letter names the wanted field, the second one the field in which the text after
//! the colon is looked up.
//!
//! The rules are:
//!  - an entry is found by the whole text, as KeePassXC does; else in any case; else, if it is the
//!    only one, by a part of the text, as KeePass does;
//!  - a value that is inserted may have references too. A reference that leads back to itself, that
//!    finds nothing, or whose value is not text, stays as it is;
//!  - the length of a reference has a limit, and so have for a file the number of references that
//!    are followed, the bytes that are inserted, and those that are searched.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE, HEXUPPER};
use zeroize::Zeroizing;

use crate::limits::FILE_LEN_MAX;
use crate::syntax::xml::Node;

/// How deep values with references may be nested.
const DEPTH_MAX: usize = 12;
/// The most references that are followed in a file.
const FOLLOWED_MAX: usize = 1_000_000;
/// The longest text that a reference looks up, in bytes.
const SOUGHT_LEN_MAX: usize = 256;
/// The most bytes that are searched for a part of a text, in a file.
const SEARCHED_MAX: usize = 256 * 1024 * 1024;
/// How many bytes could be searched in the time that a text takes besides its length.
const TEXT_COST: usize = 16;

/// A field that a reference names by a letter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Letter {
    Title,
    User,
    Password,
    Url,
    Notes,
    Id,
    /// All strings beyond the standard ones.
    Others,
}

impl Letter {
    fn of(letter: u8) -> Option<Self> {
        Some(match letter.to_ascii_uppercase() {
            b'T' => Self::Title,
            b'U' => Self::User,
            b'P' => Self::Password,
            b'A' => Self::Url,
            b'N' => Self::Notes,
            b'I' => Self::Id,
            b'O' => Self::Others,
            _ => return None,
        })
    }

    fn key(self) -> &'static str {
        match self {
            Self::Title => "Title",
            Self::User => "UserName",
            Self::Password => "Password",
            Self::Url => "URL",
            Self::Notes => "Notes",
            Self::Id | Self::Others => "",
        }
    }
}

/// The standard strings of an entry.
pub(super) const STANDARD: [&str; 5] = ["Title", "UserName", "Password", "URL", "Notes"];

/// A reference in a text.
struct Reference<'t> {
    /// All of it, with the braces.
    text: &'t str,
    wanted: Letter,
    scanned: Letter,
    sought: &'t str,
}

impl<'t> Reference<'t> {
    /// The text before the first reference, the reference, and the text after it.
    fn find(text: &'t str) -> Option<(&'t str, Self, &'t str)> {
        const BEGIN: &[u8] = b"{REF:";
        let mut from = 0;
        loop {
            let rest = text.as_bytes().get(from..)?;
            let is_begin = |window: &[u8]| window.eq_ignore_ascii_case(BEGIN);
            let begin = from + rest.windows(BEGIN.len()).position(is_begin)?;
            from = begin + BEGIN.len();
            // The letters are checked before the end is searched, and it is searched near by only,
            // so that the work stays linear.
            let [wanted, b'@', scanned, b':', ..] = text.as_bytes().get(from..)? else {
                continue;
            };
            let (Some(wanted), Some(scanned)) = (Letter::of(*wanted), Letter::of(*scanned)) else {
                continue;
            };
            if wanted == Letter::Others {
                continue;
            }
            let sought = from + 4;
            let near = text
                .as_bytes()
                .get(sought..)?
                .iter()
                .take(SOUGHT_LEN_MAX + 1);
            let end = match near.copied().position(|byte| byte == b'}') {
                None | Some(0) => continue,
                Some(len) => sought + len,
            };
            let reference = Self {
                text: text.get(begin..=end)?,
                wanted,
                scanned,
                sought: text.get(sought..end)?,
            };
            return Some((text.get(..begin)?, reference, text.get(end + 1..)?));
        }
    }
}

/// An entry, and what references may want of it. An entry may have very many strings, so they are
/// not searched for each reference.
struct Listed<'a> {
    entry: &'a Node,
    id: Option<[u8; 16]>,
    /// The values of the standard strings, in the order of [`STANDARD`].
    standard: [Option<&'a Node>; STANDARD.len()],
}

impl<'a> Listed<'a> {
    fn of(entry: &'a Node) -> Self {
        let mut standard = [None; STANDARD.len()];
        for (key, value) in strings(entry) {
            let mut places = STANDARD.iter().zip(&mut standard);
            if let Some((_, place)) = places.find(|(standard, _)| **standard == key) {
                place.get_or_insert(value);
            }
        }
        Self {
            entry,
            id: id_of(entry),
            standard,
        }
    }

    fn value(&self, letter: Letter) -> Option<&'a Node> {
        let mut values = STANDARD.iter().zip(self.standard);
        let (_, value) = values.find(|(key, _)| **key == letter.key())?;
        value
    }
}

/// The entries of a file, as references find them.
#[derive(Default)]
pub(super) struct References<'a> {
    entries: Vec<Listed<'a>>,
    /// The entry with this text in this field: the first one of the file.
    exact: BTreeMap<Letter, BTreeMap<&'a str, usize>>,
    lower: BTreeMap<Letter, BTreeMap<String, usize>>,
    by_id: BTreeMap<[u8; 16], usize>,
    /// The values that are being inserted.
    open: Vec<(usize, Letter)>,
    followed: usize,
    inserted: usize,
    searched: usize,
}

impl<'a> References<'a> {
    /// Adds an entry that references may find.
    pub(super) fn add(&mut self, entry: &'a Node) {
        let entry = Listed::of(entry);
        if let Some(id) = entry.id {
            self.by_id.entry(id).or_insert(self.entries.len());
        }
        self.entries.push(entry);
    }

    /// The text with the values for its references, and whether all of them were found.
    pub(super) fn resolve(&mut self, text: &str) -> (Zeroizing<String>, bool) {
        let mut out = Zeroizing::new(String::new());
        self.open.clear();
        let is_whole = self.insert(text, &mut out);
        (out, is_whole)
    }

    fn insert(&mut self, mut text: &str, out: &mut Zeroizing<String>) -> bool {
        let mut is_whole = true;
        while let Some((before, reference, after)) = Reference::find(text) {
            out.push_str(before);
            let len = out.len();
            if !self.follow(&reference, out) {
                out.truncate(len);
                out.push_str(reference.text);
                is_whole = false;
            }
            text = after;
        }
        out.push_str(text);
        is_whole
    }

    fn follow(&mut self, reference: &Reference<'_>, out: &mut Zeroizing<String>) -> bool {
        self.followed += 1;
        if self.followed > FOLLOWED_MAX || self.open.len() >= DEPTH_MAX {
            return false;
        }
        let Some((place, entry)) = self
            .find(reference)
            .and_then(|place| Some((place, self.entries.get(place)?)))
        else {
            return false;
        };
        if reference.wanted == Letter::Id {
            let id = entry.id.map(|id| HEXUPPER.encode(&id));
            out.push_str(id.as_deref().unwrap_or_default());
            return id.is_some();
        }
        let step = (place, reference.wanted);
        let Some(value) = entry.value(reference.wanted) else {
            // A field that is not set is empty.
            return true;
        };
        self.inserted = self.inserted.saturating_add(value.text.len());
        if value.is_binary || self.open.contains(&step) || self.inserted > FILE_LEN_MAX {
            return false;
        }
        self.open.push(step);
        let is_whole = self.insert(&value.text, out);
        self.open.pop();
        is_whole
    }

    fn find(&mut self, reference: &Reference<'_>) -> Option<usize> {
        let sought = reference.sought;
        if reference.scanned == Letter::Id {
            let hex: String = sought.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
            let id = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?;
            return self.by_id.get(&<[u8; 16]>::try_from(id).ok()?).copied();
        }
        self.index(reference.scanned);
        let exact = self.exact.get(&reference.scanned)?;
        if let Some(place) = exact.get(sought) {
            return Some(*place);
        }
        let sought = sought.to_lowercase();
        let lower = self.lower.get(&reference.scanned)?;
        if let Some(place) = lower.get(&sought) {
            return Some(*place);
        }
        let mut found = None;
        for (text, place) in lower {
            self.searched = self.searched.saturating_add(text.len() + TEXT_COST);
            if self.searched > SEARCHED_MAX {
                return None;
            }
            if text.contains(&sought) && found.replace(*place).is_some_and(|other| other != *place)
            {
                return None;
            }
        }
        found
    }

    fn index(&mut self, scanned: Letter) {
        if self.exact.contains_key(&scanned) {
            return;
        }
        let (mut exact, mut lower) = (BTreeMap::new(), BTreeMap::new());
        for (place, listed) in self.entries.iter().enumerate() {
            for (key, value) in strings(listed.entry) {
                let is_scanned = match scanned {
                    Letter::Others => !STANDARD.contains(&key),
                    _ => key == scanned.key(),
                };
                if is_scanned && !value.text.is_empty() {
                    exact.entry(value.text.as_str()).or_insert(place);
                    lower.entry(value.text.to_lowercase()).or_insert(place);
                }
            }
        }
        self.exact.insert(scanned, exact);
        self.lower.insert(scanned, lower);
    }
}

/// The keys and values of the strings of an entry.
pub(super) fn strings(entry: &Node) -> impl Iterator<Item = (&str, &Node)> {
    entry.all("String").filter_map(|string| {
        #[cfg(test)]
        tests::VISITED.set(tests::VISITED.get() + 1);
        Some((string.text_of("Key"), string.child("Value")?))
    })
}

fn id_of(entry: &Node) -> Option<[u8; 16]> {
    let id = BASE64
        .decode(entry.text_of("UUID").trim().as_bytes())
        .ok()?;
    id.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::syntax::xml;

    thread_local! {
        /// How many strings were looked at.
        pub(super) static VISITED: Cell<usize> = const { Cell::new(0) };
    }

    fn file(entries: &[(&str, &[(&str, &str)])]) -> Node {
        let mut text = String::from("<Group>");
        for (id, fields) in entries {
            let id = BASE64.encode(id.repeat(16).as_bytes());
            text.push_str(&format!("<Entry><UUID>{id}</UUID>"));
            for (key, value) in *fields {
                text.push_str(&format!(
                    "<String><Key>{key}</Key><Value>{value}</Value></String>"
                ));
            }
            text.push_str("</Entry>");
        }
        text.push_str("</Group>");
        xml::read(&text, None).unwrap()
    }

    #[test]
    fn a_reference_finds_what_keepass_finds() {
        let file = file(&[
            ("1", &[("Title", "Domain"), ("Password", "other")]),
            (
                "2",
                &[
                    ("Title", "main"),
                    ("UserName", "alice"),
                    ("Password", "s3cret"),
                    ("URL", "https://a.example"),
                    ("Notes", "some text"),
                    ("pin", "1234"),
                ],
            ),
            ("3", &[("Title", "far"), ("Password", "{REF:P@T:main}!")]),
            ("4", &[("Title", "self"), ("Password", "x{REF:P@T:self}")]),
            ("5", &[("Title", "deep"), ("UserName", "{ref:u@t:MAIN}")]),
        ]);
        let mut references = References::default();
        file.all("Entry").for_each(|entry| references.add(entry));
        let id = HEXUPPER.encode(b"2222222222222222");
        for (text, expected, is_whole) in [
            ("{REF:P@T:main}", "s3cret", true),
            (
                "a {REF:U@T:Main}/{REF:P@U:alice} b",
                "a alice/s3cret b",
                true,
            ),
            (&format!("{{REF:A@I:{id}}}"), "https://a.example", true),
            (
                &format!("{{ref:n@i:{}}}", id.to_lowercase()),
                "some text",
                true,
            ),
            ("{REF:I@P:s3cret}", &id, true),
            ("{REF:T@O:1234}", "main", true),
            ("{REF:P@N:some}", "s3cret", true),
            ("{REF:P@T:far}", "s3cret!", true),
            ("{REF:U@T:deep}", "alice", true),
            ("{REF:U@T:far}", "", true),
            ("{REF:P@T:nowhere} ", "{REF:P@T:nowhere} ", false),
            // Part of two titles.
            ("{REF:P@T:ma}", "{REF:P@T:ma}", false),
            ("{REF:P@T:self}", "{REF:P@T:self}", false),
            // These are no references.
            ("{REF:O@T:main}", "{REF:O@T:main}", true),
            ("{REF:P@T:}{REF:P", "{REF:P@T:}{REF:P", true),
            ("{USERNAME} {REF:PT:x}", "{USERNAME} {REF:PT:x}", true),
        ] {
            let (resolved, whole) = references.resolve(text);
            assert_eq!((resolved.as_str(), whole), (expected, is_whole), "{text}");
        }
    }

    #[test]
    fn the_strings_of_an_entry_are_not_searched_for_each_reference() {
        let names: Vec<String> = (0..1000).map(|number| format!("a{number}")).collect();
        let mut fields: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        fields.extend([("Password", "s3cret"), ("Password", "second")]);
        let file = file(&[("1", &fields)]);
        let mut references = References::default();
        let before = VISITED.get();
        file.all("Entry").for_each(|entry| references.add(entry));
        let id = HEXUPPER.encode(b"1111111111111111");
        let text = format!("{{REF:P@I:{id}}}{{REF:N@I:{id}}}").repeat(100);
        let (resolved, is_whole) = references.resolve(&text);
        assert_eq!(
            (resolved.as_str(), is_whole),
            (&*"s3cret".repeat(100), true)
        );
        assert_eq!(VISITED.get() - before, fields.len());
    }

    #[test]
    fn the_end_of_a_reference_is_searched_near_by() {
        let title = "t".repeat(SOUGHT_LEN_MAX);
        let file = file(&[("1", &[("Title", title.as_str()), ("Password", "s3cret")])]);
        let mut references = References::default();
        file.all("Entry").for_each(|entry| references.add(entry));
        let mut resolve = |text: &str| references.resolve(text).0;
        assert_eq!(resolve(&format!("{{REF:P@T:{title}}}")).as_str(), "s3cret");
        // A longer one is text, in which another one may begin.
        let text = format!("{{REF:P@T:x{title}}}{{REF:P@T:{title}}}");
        assert_eq!(
            resolve(&text).as_str(),
            format!("{{REF:P@T:x{title}}}s3cret")
        );
        // To search the whole text for the end of each of these would take hours.
        for begin in ["{REF:O@T:", "{REF:P@T:"] {
            let text = format!("{}}}", begin.repeat(400_000));
            assert!(resolve(&text).starts_with(begin));
        }
    }

    #[test]
    fn references_that_multiply_are_stopped() {
        let mut entries = vec![(String::from("0"), "x".repeat(1000))];
        for number in 1..12 {
            let value = format!("{{REF:N@T:{}}}", number - 1).repeat(100);
            entries.push((number.to_string(), value));
        }
        let text: String = entries
            .iter()
            .map(|(title, notes)| {
                format!(
                    "<Entry><String><Key>Title</Key><Value>{title}</Value></String>\
                     <String><Key>Notes</Key><Value>{notes}</Value></String></Entry>"
                )
            })
            .collect();
        let file = xml::read(&format!("<Group>{text}</Group>"), None).unwrap();
        let mut references = References::default();
        file.all("Entry").for_each(|entry| references.add(entry));
        let (resolved, is_whole) = references.resolve("{REF:N@T:11}");
        assert!(!is_whole && resolved.len() < 2 * FILE_LEN_MAX);
        assert!(references.followed < 2 * FOLLOWED_MAX);
    }
}
