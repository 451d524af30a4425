use passmate_core::escape::escape_path;
use passmate_core::problem::{Problem, ProblemKind};
use serde_json::json;

use crate::app::App;
use crate::report::plain;

/// Find records by a few letters, best match first
///
/// Searches paths and fields that are not secret (user, url and the like). In a path, the letters
/// must occur in this order but need not be adjacent; a field must hold the word itself. Case and
/// accents are ignored. Several words match in any order. The operators 'word, ^begin, end$ and !not
/// are those of fzf. A record whose name is the term is first. Prints one path a line, as
/// `passmate ls --flat`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to look for
    #[arg(required = true)]
    term: Vec<String>,
    /// Print at most this many records
    #[arg(long, short = 'n', default_value_t = 50)]
    count: usize,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let term = args.term.join(" ");
    let found = plain(vault.search(&term, args.count))?;
    if found.is_empty() {
        return Err(Problem::new(
            ProblemKind::NotFound,
            format!("no record matches {term}"),
            "try fewer letters; `passmate ls` lists all records",
        ));
    }
    if app.out.json {
        let records = found
            .iter()
            .map(|found| json!({ "path": found.path, "id": found.id, "in_path": found.in_path }));
        return app
            .out
            .object(json!({ "records": records.collect::<Vec<_>>() }));
    }
    found
        .iter()
        .try_for_each(|found| app.out.line(&escape_path(&found.path)))
}
