use std::cell::RefCell;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use passmate_core::command::command;
use passmate_core::disposal;
use passmate_core::import::problem_of;
use passmate_core::interchange::{
    ColumnMap, ColumnMapError, Format, ImportError, Imported, ReadOptions, guess, parse_from,
};
use passmate_core::pass_store;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_vault::Passphrase;
use zeroize::Zeroizing;

use crate::app::App;
use crate::importing::{Input, Report, bring_in, preview, read};
use crate::meter::Meter;
use crate::prompt::{Ask, PassphraseSource};

/// Import records from another program
///
/// An import can be repeated: the same file changes nothing, and a newer file brings only what
/// changed there. It never reverts what you changed, moved or deleted here. Data that cannot be
/// imported is listed on standard error. `passmate undo` undoes an import.
///
/// How each program makes its export is in docs/import.md.
#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct Args {
    /// The program and format that wrote the file [default: what the file looks like]
    #[arg(value_parser = formats())]
    format: Option<Format>,
    /// The file; `-` is standard input. For pass, the store's folder, for example ~/.password-store
    file: PathBuf,
    /// Show what an import would do, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Read the file's own password from the first line of this file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file_passphrase_file: Option<PathBuf>,
    /// KeePass' key file
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// What the columns of a CSV file mean, where their names do not say it:
    /// user=2,password=Pass,skip=7
    #[arg(long, value_name = "MEANING=COLUMN,…", value_parser = column_map)]
    map: Option<ColumnMap>,
    /// The first line of a CSV file is a row, and does not name the columns
    #[arg(long)]
    no_header: bool,
    /// Say how to get rid of the file afterwards, on the file system where it lies
    #[arg(long)]
    shred_hint: bool,
}

fn column_map(text: &str) -> Result<ColumnMap, ColumnMapError> {
    ColumnMap::parse(text)
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
    check_is_file(&args.file)?;
    let source = Source::read(app, args)?;
    let format = source.format;
    // Nobody should type a passphrase for a file that cannot be read.
    let plain = match source.parse(app, None) {
        Err(ImportError::SecretNeeded) => None,
        parsed => Some(parsed.map_err(|error| problem_of(&error, format))?),
    };
    let mut vault = app.open_to_change()?;
    let is_plain = plain.is_some() && !source.is_folder();
    let imported = match plain {
        Some(imported) => imported,
        None => open(app, args, &source)?,
    };
    let report = Report {
        format,
        losses: imported.losses.clone(),
        columns: imported.columns.clone(),
        disposal: if args.shred_hint {
            disposal::advice(&args.file)
        } else {
            Vec::new()
        },
    };
    if args.dry_run {
        return preview(app, &mut *vault, &report, &imported);
    }
    bring_in(app, &mut *vault, &report, imported)?;
    if is_plain && !args.shred_hint {
        app.out.note(
            "the imported file is not encrypted: check the records, then delete it \
             (--shred-hint says what that can do here)",
        );
    }
    Ok(())
}

/// Whoever gave a format and forgot the file should read that.
fn check_is_file(file: &Path) -> Result<(), Problem> {
    let format = file.to_str().and_then(Format::from_word);
    match format {
        Some(format) if !file.exists() => {
            let again = command(["passmate", "import"])
                .word(format.word())
                .word("FILE");
            Err(Problem::usage(
                format!(
                    "{} is a format, and there is no file of this name",
                    format.word()
                ),
                format!("give the file too: {again}"),
            ))
        }
        _ => Ok(()),
    }
}

/// What is imported, before it is opened.
struct Source {
    format: Format,
    content: Content,
    key_file: Option<Zeroizing<Vec<u8>>>,
    columns: Option<ColumnMap>,
}

enum Content {
    File(RefCell<Input>),
    /// A store of `pass`, which is read with `gpg`.
    Folder(Imported),
}

impl Args {
    /// What a person said of the columns.
    fn columns(&self) -> Option<ColumnMap> {
        if self.map.is_none() && !self.no_header {
            return None;
        }
        let map = self.map.clone().unwrap_or_default();
        Some(if self.no_header {
            map.without_header()
        } else {
            map
        })
    }
}

impl Source {
    fn read(app: &App, args: &Args) -> Result<Self, Problem> {
        let is_folder = args.file.is_dir();
        if args.format == Some(Format::Pass) || (args.format.is_none() && is_folder) {
            let mut meter = Meter::start(&app.out, "decrypting the entries");
            let imported = pass_store::read(&args.file, !app.ask.no_input, meter.progress())?;
            meter.stop();
            return Ok(Self {
                format: Format::Pass,
                content: Content::Folder(imported),
                key_file: None,
                columns: None,
            });
        }
        let mut input = Input::open(&args.file)?;
        let columns = args.columns();
        let format = match args.format {
            Some(format) => format,
            // Only such a file has columns whose meaning a person says.
            None if columns.is_some() => Format::Csv,
            None => guessed(app, &args.file, &mut input)?,
        };
        if columns.is_some() && format != Format::Csv {
            return Err(Problem::usage(
                format!(
                    "--map and --no-header are for csv, not for {}",
                    format.word()
                ),
                "leave them out, or import the file as csv",
            ));
        }
        Ok(Self {
            format,
            content: Content::File(RefCell::new(input)),
            key_file: args.key_file.as_deref().map(read).transpose()?,
            columns,
        })
    }

    fn is_folder(&self) -> bool {
        matches!(self.content, Content::Folder(_))
    }

    fn parse(&self, app: &App, secret: Option<&Passphrase>) -> Result<Imported, ImportError> {
        let input = match &self.content {
            Content::Folder(imported) => return Ok(imported.clone()),
            Content::File(input) => input,
        };
        let meter = Meter::start(&app.out, "reading the file");
        let options = ReadOptions {
            secret,
            key_file: self.key_file.as_deref().map(Vec::as_slice),
            columns: self.columns.as_ref(),
            progress: Some(meter.progress()),
        };
        parse_from(self.format, &mut *input.borrow_mut(), options)
    }
}

/// The format that the file has by its looks.
fn guessed(app: &App, file: &Path, input: &mut Input) -> Result<Format, Problem> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let format = guess(input, &name).ok_or_else(|| {
        Problem::new(
            ProblemKind::NotSupported,
            "this file looks like none of the formats that can be imported",
            "name the format: `passmate import --help` lists them; nothing was changed",
        )
    })?;
    app.out.note(&format!(
        "this looks like {} ({}); if it is something else, name the format before the file",
        format.word(),
        format.about(),
    ));
    Ok(format)
}

/// Reads an encrypted file; who types a wrong password may try again twice.
fn open(app: &App, args: &Args, file: &Source) -> Result<Imported, Problem> {
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
        match file.parse(app, Some(&secret)) {
            Err(error @ (ImportError::WrongSecret | ImportError::WrongSecretOrKeyFile))
                if tries_left > 0 =>
            {
                app.out.warn(&format!("{error}, try again"));
                tries_left -= 1;
            }
            parsed => return parsed.map_err(|error| problem_of(&error, file.format)),
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
