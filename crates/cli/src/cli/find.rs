use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use passmate_vault::login::is_secret;
use passmate_vault::view::ViewRecord;
use serde_json::json;

use super::App;
use super::error::{Code, Failure};

/// Find records by a few letters, the best first
///
/// The letters have to occur in this order, not side by side, in a path or in a field that is no
/// secret (user, url and the like); neither case nor accents count. Words may come in any order;
/// 'word, ^begin, end$ and !not mean what they mean in fzf. Prints paths as every command takes
/// them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to look for
    #[arg(required = true)]
    term: Vec<String>,
    /// So many at most
    #[arg(long, short = 'n', default_value_t = 50)]
    count: usize,
}

/// Longer texts are not looked at beyond this.
const LEN_MAX: usize = 4096;

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    let view = session.vault().view();
    let term = args.term.join(" ");
    let mut search = Search::new(&term);
    let mut found: Vec<_> = view
        .records()
        .iter()
        .filter_map(|record| Some((search.rank(record)?, record)))
        .collect();
    found.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.path.cmp(&other.path)));
    found.truncate(args.count);
    if found.is_empty() {
        let hint = "try fewer letters; `passmate ls` shows what there is";
        return Err(Failure::new(
            Code::NotFound,
            format!("nothing matches {term}"),
            hint,
        ));
    }
    if app.out.json {
        let records: Vec<_> = found
            .iter()
            .map(|(rank, record)| {
                let id = record.id.as_text().to_string_lossy();
                json!({ "path": record.path.to_string_lossy(), "id": id, "in_path": rank.0 })
            })
            .collect();
        return app.out.object(json!({ "records": records }));
    }
    found
        .iter()
        .try_for_each(|(_, record)| app.out.line(&record.path.to_string_lossy()))
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
