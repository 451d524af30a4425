//! Finding records by a few letters.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use passmate_vault::Vault;
use passmate_vault::login::is_secret;
use passmate_vault::view::ViewRecord;

use crate::records::text;

/// Characters of a text that are searched; the rest is ignored.
const LEN_MAX: usize = 4096;

/// A record that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Its path.
    pub path: String,
    /// Its id.
    pub id: String,
    /// Whether its path matches; otherwise path and fields do together.
    pub in_path: bool,
}

/// The records whose path, or path and fields that are no secrets, have the letters of `query` in
/// this order; the best first, `max` of them at most. The syntax is that of fzf.
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
    let matches = found.into_iter().map(|((in_path, _), record)| Match {
        path: text(&record.path),
        id: text(record.id.as_text()),
        in_path,
    });
    matches.collect()
}

struct Search {
    pattern: Pattern,
    matcher: Matcher,
    buffer: Vec<char>,
}

impl Search {
    fn new(term: &str) -> Self {
        Self {
            pattern: Pattern::parse(term, CaseMatching::Ignore, Normalization::Smart),
            matcher: Matcher::new(Config::DEFAULT.match_paths()),
            buffer: Vec::new(),
        }
    }

    /// How well a record matches: in its path, which counts more than all fields, or in its path
    /// and open fields together.
    fn rank(&mut self, record: &ViewRecord<'_>) -> Option<(bool, u32)> {
        let path = record.path.to_string_lossy();
        if let Some(score) = self.score(&path) {
            return Some((true, score));
        }
        let mut text = path.into_owned();
        for field in record.fields() {
            if !is_secret(&field.name.to_string_lossy()) {
                text.push(' ');
                text.push_str(&field.value.to_string_lossy());
            }
        }
        Some((false, self.score(&text)?))
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
