use std::path::{Path, PathBuf};

use passmate_core::escape::{escape, escape_path};
use passmate_core::leak::scan::{Finding, Scanner, VALUE_LEN_LEAST, VALUE_LEN_MIN};
use passmate_core::leak::tree::{Event, scan_tree};
use passmate_core::problem::{Problem, ProblemKind};
use serde_json::{Value, json};

use crate::app::App;
use crate::output::NAME;
use crate::report::plain;

/// Findings that one JSON object can hold.
const FINDINGS_MAX: usize = 10_000;

/// Find values of the vault in files, for example before a commit
///
/// Looks for the values of all secret fields in every file below DIR, as they are, as in a string of
/// JSON, percent-encoded and in base64. Shows file, line, field and record, never the value. Files
/// that are compressed or encrypted hide what they hold, so the past of a git repository is not
/// searched.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folders or files
    #[arg(default_value = ".", value_name = "DIR")]
    places: Vec<PathBuf>,
    /// Look for values of this length in bytes and longer ones
    #[arg(long, value_name = "N", default_value_t = VALUE_LEN_MIN, value_parser = len_min)]
    min_length: usize,
    /// Look for values that a field had before, too
    #[arg(long)]
    history: bool,
}

fn len_min(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(len) if len >= VALUE_LEN_LEAST => Ok(len),
        _ => Err(format!("it must be a number from {VALUE_LEN_LEAST} on")),
    }
}

#[derive(Default)]
struct Tally {
    findings: usize,
    objects: Vec<Value>,
    unreadable: usize,
    answered: Option<Problem>,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let missing = args.places.iter().find(|place| !place.exists());
    if let Some(place) = missing {
        return Err(Problem::new(
            ProblemKind::File,
            format!("there is no file or folder {}", place.display()),
            "check the path",
        ));
    }
    let values = plain(app.open()?.secret_values(args.history))?;
    let scanner = Scanner::new(values, args.min_length);
    app.out
        .note(&format!("looking for {} values", scanner.count()));
    let mut tally = Tally::default();
    let mut files = 0;
    for place in &args.places {
        files += scan_tree(&scanner, place, &mut |event| tell(app, &mut tally, event));
    }
    if let Some(problem) = tally.answered {
        return Err(problem);
    }
    if app.out.json {
        app.out.object(json!({
            "findings": tally.objects,
            "count": tally.findings,
            "files": files,
            "unreadable": tally.unreadable,
        }))?;
    }
    let Tally {
        findings,
        unreadable,
        ..
    } = tally;
    match (findings, unreadable) {
        (0, 0) => {
            app.out
                .note(&format!("no value stands in the {files} files"));
            Ok(())
        }
        (0, _) => Err(Problem::new(
            ProblemKind::File,
            match unreadable {
                1 => "1 file or folder cannot be read, so nobody knows what it holds".to_owned(),
                count => format!(
                    "{count} files or folders cannot be read, so nobody knows what they hold"
                ),
            },
            "run it as a user who can read them, or name other folders",
        )),
        (1, _) => Err(found("a value of this vault stands in a file")),
        _ => Err(found(&format!(
            "values of this vault stand in files, at {findings} places"
        ))),
    }
}

fn found(message: &str) -> Problem {
    Problem::new(
        ProblemKind::Findings,
        message,
        "remove them there and change what others may have seen: `passmate gen PATH`",
    )
}

fn tell(app: &App, tally: &mut Tally, event: Event<'_>) {
    match event {
        Event::Found(file, finding) => {
            tally.findings += 1;
            if !app.out.json {
                if tally.answered.is_none() {
                    tally.answered = app.out.styled_line(&line(app, file, &finding)).err();
                }
            } else if tally.objects.len() < FINDINGS_MAX {
                tally.objects.push(object(file, &finding));
            }
        }
        Event::Unreadable(path, error) => {
            tally.unreadable += 1;
            app.out
                .warn(&format!("cannot read {}: {error}", path.display()));
        }
    }
}

/// `src/config:12: password of web/shop`.
fn line(app: &App, file: &Path, finding: &Finding) -> String {
    let form = match finding.form.name() {
        "plain" => String::new(),
        form => format!(", {form}"),
    };
    let former = if finding.origin.is_former {
        ", a former value"
    } else {
        ""
    };
    format!(
        "{}:{}: {} of {}{former}{form}",
        app.out.styled(NAME, &escape(&file.display().to_string())),
        finding.line,
        escape(&finding.origin.field),
        escape_path(&finding.origin.record),
    )
}

fn object(file: &Path, finding: &Finding) -> Value {
    json!({
        "file": file.to_string_lossy(),
        "line": finding.line,
        "path": finding.origin.record,
        "field": finding.origin.field,
        "former": finding.origin.is_former,
        "form": finding.form.name(),
    })
}
