//! Finding records by a few letters.

use std::cmp::Reverse;
use std::collections::HashMap;

use nucleo_matcher::pattern::{Atom, AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use passmate_vault::guard::is_guarded;
use passmate_vault::login::is_secret;
use passmate_vault::view::ViewRecord;
use passmate_vault::{Text, Vault};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::records::text;

/// Characters of a text that are searched; the rest is ignored.
const LEN_MAX: usize = 4096;

/// What a word counts more in the path than in a field.
const PATH_BONUS: u32 = 8;
/// What a word counts more in the last part of a path than in the whole.
const NAME_BONUS: u32 = 8;

/// A record that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// Its path.
    pub path: String,
    /// Its id.
    pub id: String,
    /// Whether each word is in its path, and in no field better.
    pub in_path: bool,
}

/// The records that match each word of `query`: its letters, in this order, in the path, or the word
/// itself in a field that is no secret. `max` of them at most, the best first: those whose last part
/// is the query, then those whose last part begins with it, then the others by how well they match;
/// of those that match alike, the shorter path is first. The syntax is that of fzf. Of a
/// [guarded](crate::guard) record only the path is searched.
pub(crate) fn search(vault: &Vault, query: &str, max: usize) -> Vec<Match> {
    // Whoever searches does so again at the next key.
    let index = vault.derived(index);
    let mut search = Search::new(query);
    let ranked = index.iter();
    let ranked = ranked.filter_map(|record| Some((search.rank(record)?, record)));
    let mut found: Vec<_> = ranked.collect();
    // Without a query nothing matches better than another.
    let len = |record: &Searched| match search.words.is_empty() {
        true => 0,
        false => record.path.len(),
    };
    found.sort_by(|(a, one), (b, other)| {
        a.cmp(b)
            .then_with(|| len(one).cmp(&len(other)))
            .then_with(|| one.path.cmp(&other.path))
    });
    found.truncate(max);
    let matches = found.into_iter().map(|(rank, record)| Match {
        path: record.path.clone(),
        id: record.id.clone(),
        in_path: rank.in_path,
    });
    matches.collect()
}

/// What is searched of a record.
struct Searched {
    path: String,
    id: String,
    /// The path in lower case: whether a letter is large must not count.
    lower: String,
    /// The values of fields that are no secrets.
    values: Vec<Zeroizing<String>>,
    /// All of it in one text, to find quickly what has nothing of a query.
    together: Zeroizing<String>,
}

fn index(vault: &Vault) -> Vec<Searched> {
    let view = vault.view();
    let mut names = Names::default();
    let records = view.records().iter();
    records.map(|record| names.searched(record)).collect()
}

/// The names of fields that were met, and whether they are searched. Most records have the same.
#[derive(Default)]
struct Names<'a>(HashMap<&'a Text, bool>);

impl<'a> Names<'a> {
    fn searched(&mut self, record: &ViewRecord<'a>) -> Searched {
        let path = text(&record.path);
        let lower = path.to_lowercase();
        let values = match is_guarded(record) {
            // Who may search could guess what is in its fields, letter by letter.
            true => Vec::new(),
            false => self.open_values(record),
        };
        let len = values.iter().map(|value| value.len() + 1).sum::<usize>();
        // A text that grows would leave copies behind.
        let mut together = Zeroizing::new(String::with_capacity(lower.len() + len));
        together.push_str(&lower);
        for value in &values {
            together.push(' ');
            together.push_str(value);
        }
        Searched {
            id: text(record.id.as_text()),
            path,
            lower,
            values,
            together,
        }
    }

    /// The values of fields that are no secrets.
    fn open_values(&mut self, record: &ViewRecord<'a>) -> Vec<Zeroizing<String>> {
        let fields = record.fields().filter(|field| {
            let is_open = self.0.entry(field.name);
            *is_open.or_insert_with(|| !is_secret(&field.name.to_string_lossy()))
        });
        fields.map(|field| text(&field.value).into()).collect()
    }
}

/// How well a record matches. The best is the least.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    end: End,
    score: Reverse<u32>,
    in_path: bool,
}

/// How a path ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// With the query as a whole part, or as several.
    Same,
    /// With a part that begins with the query.
    BeginsWith,
    Other,
}

/// A word of a query.
struct Word {
    /// Its letters may be apart.
    in_path: Atom,
    /// Letters that are apart say nothing about a long text.
    in_field: Atom,
}

impl Word {
    fn new(in_path: &Atom) -> Self {
        let mut in_field = in_path.clone();
        if in_field.kind == AtomKind::Fuzzy {
            in_field.kind = AtomKind::Substring;
        }
        Self {
            in_path: in_path.clone(),
            in_field,
        }
    }
}

struct Search {
    words: Vec<Word>,
    /// All words, for a text in which all must be.
    pattern: Pattern,
    /// Their letters, if all are ASCII.
    ascii: Option<Vec<Vec<u8>>>,
    /// The query as the end of a path, in lower case.
    end: String,
    matcher: Matcher,
    buffer: Vec<char>,
    /// What matches in a part of a text matches in the whole text too: nothing is anchored to its
    /// begin or end, and nothing must be absent.
    is_free: bool,
}

impl Search {
    fn new(query: &str) -> Self {
        let pattern = Pattern::parse(query, CaseMatching::Ignore, Normalization::Smart);
        let mut atoms = pattern.atoms.iter();
        let end = query.trim().trim_start_matches(['\'', '^']);
        Self {
            is_free: atoms.all(|atom| {
                let is_anywhere = matches!(atom.kind, AtomKind::Fuzzy | AtomKind::Substring);
                is_anywhere && !atom.negative
            }),
            words: pattern.atoms.iter().map(Word::new).collect(),
            end: end.trim_end_matches('$').to_lowercase(),
            ascii: ascii_words(&pattern),
            pattern,
            matcher: Matcher::new(Config::DEFAULT.match_paths()),
            buffer: Vec::new(),
        }
    }

    /// How well a record matches: each word must be in its path or in one of its open fields.
    fn rank(&mut self, record: &Searched) -> Option<Rank> {
        // Most records have nothing of it.
        let is_whole = record.together.len() <= LEN_MAX;
        if self.is_free && is_whole && !self.has_letters(&record.together) {
            return None;
        }
        let path = &record.lower;
        let name = path.rsplit('/').next().unwrap_or_default();
        let (mut score, mut in_path) = (0, true);
        for word in &self.words {
            let mut score_in = |atom: &Atom, text: &str| {
                let text = Utf32Str::new(beginning(text), &mut self.buffer);
                atom.score(text, &mut self.matcher).map(u32::from)
            };
            if word.in_field.negative {
                // A word that must be absent is so everywhere.
                let mut values = record.values.iter();
                score_in(&word.in_path, path)?;
                values.try_for_each(|value| score_in(&word.in_field, value).map(drop))?;
                continue;
            }
            let in_whole = score_in(&word.in_path, path).map(|whole| {
                let name = score_in(&word.in_path, name).map(|name| name + NAME_BONUS);
                PATH_BONUS + name.unwrap_or(0).max(whole)
            });
            let fields = record.values.iter();
            let field = fields
                .filter_map(|value| score_in(&word.in_field, value))
                .max();
            in_path &= in_whole.is_some() && in_whole >= field;
            score += in_whole.max(field)?;
        }
        Some(Rank {
            end: end_of(path, &self.end),
            score: Reverse(score),
            in_path,
        })
    }

    /// Whether a text may have all words; what it surely has not need not be scored.
    fn has_letters(&mut self, text: &str) -> bool {
        if let Some(words) = self.ascii.as_ref().filter(|_| text.is_ascii()) {
            return words.iter().all(|word| has_in_order(text, word));
        }
        let text = Utf32Str::new(beginning(text), &mut self.buffer);
        self.pattern.score(text, &mut self.matcher).is_some()
    }
}

/// The letters of the words, if they are ASCII. In a text that is too, that is all of them.
fn ascii_words(pattern: &Pattern) -> Option<Vec<Vec<u8>>> {
    let words = pattern.atoms.iter().map(|atom| match atom.needle_text() {
        Utf32Str::Ascii(letters) => Some(letters.to_ascii_lowercase()),
        Utf32Str::Unicode(_) => None,
    });
    words.collect()
}

/// Whether the letters of a word are in a text, in this order. Case does not count.
fn has_in_order(text: &str, word: &[u8]) -> bool {
    let mut rest = text.bytes();
    let mut letters = word.iter();
    letters.all(|letter| rest.any(|other| other.to_ascii_lowercase() == *letter))
}

/// As much of a text as is searched.
fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(LEN_MAX);
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// How a path ends, in whole parts: as many as the query has.
fn end_of(path: &str, query: &str) -> End {
    let slashes = query.matches('/').count();
    let mut begins = path.rmatch_indices('/').map(|(slash, _)| slash + 1);
    let begin = begins.nth(slashes).unwrap_or(0);
    let parts = path.get(begin..).unwrap_or_default();
    match parts.strip_prefix(query) {
        _ if query.is_empty() => End::Other,
        Some("") => End::Same,
        Some(_) => End::BeginsWith,
        None => End::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records by path, with fields.
    fn vault(records: &[(&str, &[(&str, &str)])]) -> Vault {
        let mut vault = Vault::new();
        for (path, fields) in records {
            vault.create_record((*path).into(), *path, 1).unwrap();
            for (name, value) in *fields {
                vault.set(&(*path).into(), *name, *value, 2).unwrap();
            }
        }
        vault
    }

    #[test]
    fn a_guarded_record_is_found_by_its_path_alone() {
        let fields = [("notes", "carol"), ("tags", "ask")];
        let vault = vault(&[("bank", &fields), ("shop", &fields[..1])]);
        assert_eq!(paths(&vault, "carol"), ["shop"]);
        assert_eq!(paths(&vault, "bank"), ["bank"]);
        assert!(paths(&vault, "bank carol").is_empty());
        assert!(paths(&vault, "ask").is_empty());
    }

    #[test]
    fn what_is_anchored_is_looked_for_in_each_text_and_what_is_excluded_in_none() {
        let vault = vault(&[("shop", &[("user", "bob"), ("url", "https://x.example")])]);
        for query in ["^bob", "bob$", "^bob$", "!carol", "'bob", "shop !zzz"] {
            assert_eq!(paths(&vault, query), ["shop"], "{query}");
        }
        for query in ["^ob", "!bob", "shop !x.example", "shop !hop"] {
            assert!(paths(&vault, query).is_empty(), "{query}");
        }
    }

    fn paths(vault: &Vault, query: &str) -> Vec<String> {
        let found = search(vault, query, 10).into_iter();
        found.map(|found| found.path).collect()
    }

    #[test]
    fn every_field_that_is_no_secret_is_searched() {
        let vault = vault(&[(
            "shop",
            &[
                ("user", "bob"),
                ("url", "https://shop.example"),
                ("notes", "ask Carol"),
                ("public key", "ssh-ed25519 AAAA"),
                ("password", "hunter"),
                ("pin", "4711"),
            ],
        )]);
        for query in [
            "bob",
            "example",
            "carol",
            "ed25519",
            "shop bob",
            "bob carol",
        ] {
            assert_eq!(paths(&vault, query), ["shop"], "{query}");
        }
        for query in ["hunter", "4711", "shop hunter"] {
            assert_eq!(paths(&vault, query), [""; 0], "{query}");
        }
    }

    #[test]
    fn the_better_match_is_first_wherever_it_is() {
        let vault = vault(&[
            ("mexico/batik/oil", &[]),
            ("bank", &[("user", "mail@example.org")]),
            ("mail", &[]),
            ("webmail", &[]),
        ]);
        let found = paths(&vault, "mail");
        assert_eq!(found.first().unwrap(), "mail");
        assert_eq!(found.last().unwrap(), "mexico/batik/oil");
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn the_whole_last_part_is_first_then_its_begin_then_the_shorter_path() {
        let vault = vault(&[
            ("Mail 34", &[]),
            ("Private/Mail 19", &[]),
            ("Shop ping/A very long name", &[]),
            ("Shop ping/Mail 49", &[]),
            ("Work/GitHub", &[]),
            ("Work/GitHub 38", &[]),
            ("Work/Mail", &[]),
            ("shop", &[]),
            ("web/github", &[]),
            ("web/shop", &[]),
            ("workshop", &[]),
        ]);
        let first = |query: &str, count| {
            let mut found = paths(&vault, query);
            found.truncate(count);
            found
        };
        assert_eq!(first("shop", 2), ["shop", "web/shop"]);
        assert_eq!(first("SHOP", 1), ["shop"]);
        assert_eq!(first("shp", 2), ["shop", "web/shop"]);
        assert_eq!(first("ping/mail", 1), ["Shop ping/Mail 49"]);
        assert_eq!(
            first("mail", 4),
            [
                "Work/Mail",
                "Mail 34",
                "Private/Mail 19",
                "Shop ping/Mail 49"
            ]
        );
        assert_eq!(first("ghub", 2), ["web/github", "Work/GitHub"]);
    }

    #[test]
    fn letters_that_are_apart_in_a_field_are_no_match() {
        let vault = vault(&[
            ("ssh/ec", &[("public key", "AAAAbEaxnyk/bzzazznzzk")]),
            ("web/shop", &[("user", "bank@example.org")]),
            ("bank", &[]),
        ]);
        assert_eq!(paths(&vault, "bank"), ["bank", "web/shop"]);
        assert_eq!(paths(&vault, "shop bank"), ["web/shop"]);
    }

    #[test]
    fn nothing_that_matches_is_left_out_early() {
        let texts = [
            "web/shop bob https://Shop.example",
            "a b",
            "",
            "bücher/größe",
            "5 7 site",
        ];
        let queries = [
            "shop", "SHP", "bob shop", "'shop", "grosse", "größe", "57", "75", "xyz", "b",
        ];
        for (query, text) in queries
            .iter()
            .flat_map(|query| texts.map(|text| (query, text)))
        {
            let mut search = Search::new(query);
            let exact = Utf32Str::new(text, &mut search.buffer);
            let matches = search.pattern.score(exact, &mut search.matcher).is_some();
            assert!(search.has_letters(text) || !matches, "{query}: {text}");
        }
        assert!(!Search::new("75").has_letters("5 7 site"));
    }
}
