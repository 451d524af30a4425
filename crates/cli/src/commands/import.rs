use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use passmate_core::import::problem_of;
use passmate_core::interchange::{Format, ImportError, Imported, ReadOptions, parse};
use passmate_core::pass_store;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_vault::Passphrase;

use crate::app::App;
use crate::importing::{bring_in, preview, read};
use crate::prompt::{Ask, PassphraseSource};

/// Import records from another program
///
/// An import can be repeated: the same file changes nothing, and a newer file brings only what
/// changed there. It never reverts what you changed, moved or deleted here. Data that cannot be
/// imported is listed on standard error. `passmate undo` undoes an import.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The program and format that wrote the file
    #[arg(value_parser = formats())]
    format: Format,
    /// The file; `-` is standard input. For pass, the store's folder, for example ~/.password-store
    file: PathBuf,
    /// Show what an import would do, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Read the file's own password from the first line of this file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file_passphrase_file: Option<PathBuf>,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    let words = Format::all().map(|format| PossibleValue::new(format.word()).help(format.about()));
    PossibleValuesParser::new(words)
        .try_map(|word| Format::from_word(&word).ok_or("there is no such format"))
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let is_stdin = |path: &Path| path == Path::new("-");
    let readers_of_stdin = [
        is_stdin(&args.file),
        app.ask.passphrase == PassphraseSource::Stdin,
        args.file_passphrase_file.as_deref().is_some_and(is_stdin),
    ];
    if readers_of_stdin.into_iter().filter(|reads| *reads).count() > 1 {
        return Err(Problem::usage(
            "standard input can be only one of file and passphrases",
            "name a file instead",
        ));
    }
    if args.format == Format::Pass {
        let imported = pass_store::read(&args.file, !app.ask.no_input)?;
        let mut vault = app.open()?;
        return if args.dry_run {
            preview(app, &mut *vault, args.format, &imported)
        } else {
            bring_in(app, &mut *vault, args.format, imported)
        };
    }
    // Nobody should type a passphrase for a file that cannot be read.
    let bytes = read(&args.file)?;
    let plain = match parse(args.format, &bytes, ReadOptions::default()) {
        Err(ImportError::SecretNeeded) => None,
        parsed => Some(parsed.map_err(|error| problem_of(&error, args.format))?),
    };
    let mut vault = app.open()?;
    let is_plain = plain.is_some();
    let imported = match plain {
        Some(imported) => imported,
        None => open(app, args, &bytes)?,
    };
    if args.dry_run {
        return preview(app, &mut *vault, args.format, &imported);
    }
    bring_in(app, &mut *vault, args.format, imported)?;
    if is_plain {
        app.out
            .note("the imported file is not encrypted: check the records, then delete it");
    }
    Ok(())
}

/// Reads an encrypted file; who types a wrong password may try again twice.
fn open(app: &App, args: &Args, bytes: &[u8]) -> Result<Imported, Problem> {
    let source = match &args.file_passphrase_file {
        None => PassphraseSource::Terminal,
        Some(path) => PassphraseSource::of_path(path, app.ask.no_input),
    };
    let mut tries_left = if source == PassphraseSource::Terminal {
        2
    } else {
        0
    };
    let ask = Ask {
        passphrase: source,
        ..app.ask.clone()
    };
    loop {
        let secret = ask_secret(&ask)?;
        match parse(args.format, bytes, ReadOptions::with_secret(Some(&secret))) {
            Err(ImportError::WrongSecret) if tries_left > 0 => {
                app.out.warn("wrong password for the file, try again");
                tries_left -= 1;
            }
            parsed => return parsed.map_err(|error| problem_of(&error, args.format)),
        }
    }
}

fn ask_secret(ask: &Ask) -> Result<Passphrase, Problem> {
    ask.passphrase("Password of the file: ")
        .map_err(|problem| match problem.kind {
            ProblemKind::Locked if ask.no_input => Problem::new(
                ProblemKind::Locked,
                "the file is encrypted, but there is no terminal to ask for its password",
                "give --file-passphrase-file, or run it on a terminal",
            ),
            _ => Problem {
                hint: "check --file-passphrase-file".to_owned(),
                ..problem
            },
        })
}
