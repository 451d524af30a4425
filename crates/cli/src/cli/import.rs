//! `import`: what other programs keep becomes records.

mod pass;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use passmate_interchange::{
    Applied, FILE_LEN_MAX, Format, ImportError, Imported, Loss, Outcome, apply, parse,
};
use passmate_vault::Passphrase;
use passmate_vault::format::container::ContainerError;
use serde_json::json;
use zeroize::Zeroizing;

use super::App;
use super::ask::{Ask, PassphraseSource};
use super::error::{Code, Failure};
use passmate_core::session::Session;

/// Bring in what another program keeps
///
/// An import may be repeated: the same file again changes nothing, a newer one brings what changed
/// there, and nothing that you changed, moved or deleted here since is taken back. What cannot be
/// carried is listed on standard error. `passmate undo` takes an import back.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What wrote the file
    #[arg(value_parser = formats())]
    format: Format,
    /// The file; `-` is standard input. For pass the folder, for example ~/.password-store
    file: PathBuf,
    /// Show what would come, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// The file's own password is this other file's first line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file_passphrase_file: Option<PathBuf>,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    let words = Format::ALL
        .iter()
        .map(|format| PossibleValue::new(format.word()).help(format.about()));
    PossibleValuesParser::new(words)
        .try_map(|word| Format::from_word(&word).ok_or("there is no such format"))
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let is_stdin = |path: &Path| path == Path::new("-");
    let readers_of_stdin = [
        is_stdin(&args.file),
        app.ask.passphrase == PassphraseSource::Stdin,
        args.file_passphrase_file.as_deref().is_some_and(is_stdin),
    ];
    if readers_of_stdin.into_iter().filter(|reads| *reads).count() > 1 {
        return Err(Failure::usage(
            "standard input can be only one of file and passphrases",
            "name a file instead",
        ));
    }
    if args.format == Format::Pass {
        let imported = pass::read(app, &args.file)?;
        return bring_in(app, args.format, args.dry_run, &mut app.open()?, &imported);
    }
    // Nobody should type a passphrase for a file that cannot be read.
    let bytes = read(&args.file)?;
    let plain = match parse(args.format, &bytes, None) {
        Err(ImportError::SecretNeeded) => None,
        parsed => Some(parsed.map_err(|error| failure_of(&error, args.format))?),
    };
    let mut session = app.open()?;
    let is_plain = plain.is_some();
    let imported = match plain {
        Some(imported) => imported,
        None => open(app, args, &bytes)?,
    };
    bring_in(app, args.format, args.dry_run, &mut session, &imported)?;
    if is_plain && !args.dry_run {
        app.out.note(
            "the imported file is not encrypted: delete it when you have looked at the records",
        );
    }
    Ok(())
}

/// Makes records of it, and tells what came of that.
pub(super) fn bring_in(
    app: &App,
    format: Format,
    dry_run: bool,
    session: &mut Session,
    imported: &Imported,
) -> Result<(), Failure> {
    let applied = session.edit(|vault, now| apply(imported, vault, format, now))?;
    if !dry_run {
        session.save()?;
    }
    report(app, format, dry_run, imported, &applied)
}

/// A file of at most as many bytes as can be imported, or one more.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: io::Error| {
        Failure::new(
            Code::File,
            format!("cannot read {}: {error}", path.display()),
            "check the path and the file's mode",
        )
    };
    let mut bytes = Zeroizing::new(Vec::new());
    // One more than is taken, so that the importer sees that it is too long.
    let limit = u64::try_from(FILE_LEN_MAX).map_or(u64::MAX, |limit| limit.saturating_add(1));
    if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    } else {
        File::open(path)
            .map_err(failed)?
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    }
    Ok(bytes)
}

/// Reads an encrypted file; who types a wrong password may try again twice.
fn open(app: &App, args: &Args, bytes: &[u8]) -> Result<Imported, Failure> {
    let source = match &args.file_passphrase_file {
        None => PassphraseSource::Terminal,
        Some(path) if path == Path::new("-") => PassphraseSource::Stdin,
        Some(path) => PassphraseSource::File(path.clone()),
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
        match parse(args.format, bytes, Some(&secret)) {
            Err(ImportError::WrongSecret) if tries_left > 0 => {
                app.out.warn("wrong password for the file, try again");
                tries_left -= 1;
            }
            parsed => return parsed.map_err(|error| failure_of(&error, args.format)),
        }
    }
}

fn ask_secret(ask: &Ask) -> Result<Passphrase, Failure> {
    ask.passphrase("Password of the file: ")
        .map_err(|failure| match failure.code {
            Code::Locked if ask.passphrase == PassphraseSource::Terminal => Failure::new(
                Code::Locked,
                "the file is encrypted and nobody can be asked for its password",
                "give --file-passphrase-file, or run it on a terminal",
            ),
            _ => Failure {
                hint: "check --file-passphrase-file".to_owned(),
                ..failure
            },
        })
}

fn report(
    app: &App,
    format: Format,
    dry_run: bool,
    imported: &Imported,
    applied: &Applied,
) -> Result<(), Failure> {
    let paths = |wanted| {
        applied
            .records
            .iter()
            .filter(move |(outcome, _)| *outcome == wanted)
            .map(|(_, path)| path)
    };
    let losses = &imported.losses;
    let [unchanged, deleted] =
        [Outcome::Unchanged, Outcome::Deleted].map(|outcome| applied.count(outcome));
    if app.out.json {
        let losses: Vec<_> = losses
            .iter()
            .map(|Loss { path, what }| json!({ "path": path, "what": what }))
            .collect();
        return app.out.object(json!({
            "format": format.word(),
            "dry_run": dry_run,
            "new": paths(Outcome::Created).collect::<Vec<_>>(),
            "changed": paths(Outcome::Changed).collect::<Vec<_>>(),
            "unchanged": unchanged,
            "deleted": deleted,
            "changes": applied.changes,
            "losses": losses,
        }));
    }
    if dry_run {
        for (word, outcome) in [("new", Outcome::Created), ("changed", Outcome::Changed)] {
            paths(outcome).try_for_each(|path| app.out.line(&format!("{word}: {path}")))?;
        }
    }
    for Loss { path, what } in losses {
        let whose = if path.is_empty() {
            String::new()
        } else {
            format!("{path}: ")
        };
        app.out.warn(&format!("not imported: {whose}{what}"));
    }
    let did = if dry_run { "would import" } else { "imported" };
    let mut parts = vec![
        format!("{} new", applied.count(Outcome::Created)),
        format!("{} changed", applied.count(Outcome::Changed)),
        format!("{unchanged} as before"),
    ];
    for (count, what) in [(deleted, "deleted"), (losses.len(), "not imported")] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    app.out.line(&format!(
        "{did} from {}: {}",
        format.word(),
        parts.join(", ")
    ))
}

/// What went wrong with a file, in words.
pub(super) fn failure_of(error: &ImportError, format: Format) -> Failure {
    let other = "the file may be another program's: `passmate import --help` lists the formats; nothing was changed";
    let (code, hint) = match error {
        ImportError::TooLong { .. } | ImportError::TooMany { .. } => {
            (Code::TooLarge, "import it in parts; nothing was changed")
        }
        ImportError::SecretNeeded => (
            Code::Locked,
            "give --file-passphrase-file, or run it on a terminal",
        ),
        ImportError::WrongSecret => (
            Code::WrongPassphrase,
            "the file has a password of its own; check caps lock and keyboard layout",
        ),
        ImportError::TooExpensive { .. }
        | ImportError::NotEnoughMemory
        | ImportError::Container(
            ContainerError::TooExpensive { .. } | ContainerError::NotEnoughMemory,
        ) => (
            Code::Other,
            "save it anew with cheaper settings in the program that wrote it",
        ),
        ImportError::NotSupported { .. } => (
            Code::NotSupported,
            "export it in another way; nothing was changed",
        ),
        ImportError::Codec(error) if error.is_newer() => {
            (Code::NotSupported, "update passmate on this device")
        }
        ImportError::Damaged { .. } | ImportError::Container(_) => (
            Code::Damaged,
            "make the file anew with the program that wrote it; nothing was changed",
        ),
        _ => (Code::Damaged, other),
    };
    Failure::new(
        code,
        format!("cannot import this as {}: {error}", format.word()),
        hint,
    )
}
