//! Finding records by a few letters.

use std::collections::HashMap;

use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use passmate_vault::login::is_secret;
use passmate_vault::view::ViewRecord;
use passmate_vault::{Text, Vault};
use serde::{Deserialize, Serialize};

use crate::guard::has_guard;
use crate::records::text;

/// Characters of a text that are searched; the rest is ignored.
const LEN_MAX: usize = 4096;

/// What a match in the path counts more than one in a field.
const PATH_BONUS: u32 = 8;

/// A record that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// Its path.
    pub path: String,
    /// Its id.
    pub id: String,
    /// Whether its path matches; otherwise path and fields do together.
    pub in_path: bool,
}

/// The records whose path, or path and fields that are no secrets, have the letters of `query` in
/// this order; the best first, `max` of them at most. The syntax is that of fzf. Of a
/// [guarded](crate::guard) record only the path is searched.
pub(crate) fn search(vault: &Vault, query: &str, max: usize) -> Vec<Match> {
    let view = vault.view();
    let mut search = Search::new(query);
    let mut found: Vec<_> = view
        .records()
        .iter()
        .filter_map(|record| Some((search.rank(record)?, record)))
        .collect();
    found.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.path.cmp(&other.path)));
    found.truncate(max);
    let matches = found.into_iter().map(|((_, in_path), record)| Match {
        path: text(&record.path),
        id: text(record.id.as_text()),
        in_path,
    });
    matches.collect()
}

struct Search<'a> {
    pattern: Pattern,
    matcher: Matcher,
    buffer: Vec<char>,
    /// What matches in a part of a text matches in the whole text too: nothing is anchored to its
    /// begin or end, and nothing must be absent.
    is_free: bool,
    /// The names of fields that were met, and whether they are searched. Most records have the same.
    is_open: HashMap<&'a Text, bool>,
}

impl<'a> Search<'a> {
    fn new(term: &str) -> Self {
        let pattern = Pattern::parse(term, CaseMatching::Ignore, Normalization::Smart);
        let mut atoms = pattern.atoms.iter();
        Self {
            is_free: atoms.all(|atom| {
                let is_anywhere = matches!(atom.kind, AtomKind::Fuzzy | AtomKind::Substring);
                is_anywhere && !atom.negative
            }),
            pattern,
            matcher: Matcher::new(Config::DEFAULT.match_paths()),
            buffer: Vec::new(),
            is_open: HashMap::new(),
        }
    }

    /// How well a record matches, and whether its path does best: in its path, in one of its open
    /// fields, or in both together, which counts if neither matches alone.
    fn rank(&mut self, record: &ViewRecord<'a>) -> Option<(u32, bool)> {
        let path = record.path.to_string_lossy();
        let fields = record.fields().filter(|field| {
            let is_open = self.is_open.entry(field.name);
            *is_open.or_insert_with(|| !is_secret(&field.name.to_string_lossy()))
        });
        let values: Vec<_> = fields.map(|field| field.value).collect();
        let values = values.iter().map(|value| value.to_string_lossy());
        let values: Vec<_> = values.collect();
        let mut together = path.to_string();
        for value in &values {
            together.push(' ');
            together.push_str(value);
        }
        // Most records have nothing of it.
        let is_whole = together.len() <= LEN_MAX;
        if self.is_free && is_whole && self.score(&together).is_none() {
            return None;
        }
        let in_path = self.score(&path);
        if has_guard(record) {
            // Who may search could guess what is in its fields, letter by letter.
            return in_path.map(|path| (path + PATH_BONUS, true));
        }
        let in_field = values.iter().filter_map(|value| self.score(value)).max();
        match (in_path, in_field) {
            (Some(path), field) if Some(path + PATH_BONUS) >= field => {
                Some((path + PATH_BONUS, true))
            }
            (_, Some(field)) => Some((field, false)),
            _ => Some((self.score(&together)?, false)),
        }
    }

    fn score(&mut self, text: &str) -> Option<u32> {
        let end = text
            .char_indices()
            .nth(LEN_MAX)
            .map_or(text.len(), |(end, _)| end);
        let text = Utf32Str::new(text.get(..end)?, &mut self.buffer);
        self.pattern.score(text, &mut self.matcher)
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
    fn what_is_anchored_or_excluded_is_looked_for_in_each_text_alone() {
        let vault = vault(&[("shop", &[("user", "bob"), ("url", "https://x.example")])]);
        for query in ["^bob", "bob$", "^bob$", "!carol", "'bob", "shop !zzz"] {
            assert_eq!(paths(&vault, query), ["shop"], "{query}");
        }
        assert!(paths(&vault, "^ob").is_empty());
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
}
