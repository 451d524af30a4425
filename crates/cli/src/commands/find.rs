use passmate_core::problem::{Problem, ProblemKind};
use serde_json::json;

use crate::app::App;
use crate::report::plain;

/// Find records by a few letters, the best first
///
/// The letters must occur in this order, not side by side, in a path or in a field that is no
/// secret (user, url and the like); case and accents do not count. Words may come in any order;
/// 'word, ^begin, end$ and !not mean what they mean in fzf. Prints paths as every command takes
/// them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to look for
    #[arg(required = true)]
    term: Vec<String>,
    /// The number of records, at most
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
            format!("nothing matches {term}"),
            "try fewer letters; `passmate ls` shows what there is",
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
    found.iter().try_for_each(|found| app.out.line(&found.path))
}
