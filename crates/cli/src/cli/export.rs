use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use getrandom::SysRng;
use passmate_interchange::{ExportError, ExportFormat, WriteOptions, Written, write};
use rand_core::UnwrapErr;
use zeroize::Zeroizing;

use super::App;
use super::error::{Code, Failure};
use super::qr::failure_of;
use super::sync::{link_of, tied, trust_text};
use passmate_core::otp::Otp;
use passmate_core::paper::{Sheet, make_sheet};
use passmate_core::session::{Session, SessionError};

/// Write all records for another program, or as a copy
///
/// A file is made for you alone and never overwritten. What is not encrypted asks first.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The form
    format: Format,
    /// The file; without one it goes to standard output
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Our own vault file, with the history and without the sync key, under the same passphrase
    Passmate,
    /// A vault file of the original Passmate 2, with the history, under the same passphrase
    Passmate2,
    /// A KeePass database (KDBX 4) as KeePassXC opens it, under the same passphrase; without the
    /// history
    Kdbx,
    /// One page of HTML to print, with the sync key as text and as a QR code, to get the vault back
    /// from its server
    Paper,
    /// Bitwarden's JSON; not encrypted
    Bitwarden,
    /// A table as KeePassXC reads it; not encrypted
    Csv,
}

impl Format {
    /// The format for another program; `None` for paper, which no program reads.
    fn written(self) -> Option<ExportFormat> {
        match self {
            Self::Passmate => Some(ExportFormat::Passmate),
            Self::Passmate2 => Some(ExportFormat::Passmate2),
            Self::Kdbx => Some(ExportFormat::Kdbx),
            Self::Bitwarden => Some(ExportFormat::Bitwarden),
            Self::Csv => Some(ExportFormat::Csv),
            Self::Paper => None,
        }
    }
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    let to_terminal = args.file.is_none() && app.out.is_terminal();
    if let Some(file) = args
        .file
        .as_deref()
        .filter(|file| file.symlink_metadata().is_ok())
    {
        return Err(exists(file));
    }
    let format = args.format.written();
    let is_encrypted = format.is_some_and(ExportFormat::is_encrypted);
    if is_encrypted && to_terminal {
        return Err(Failure::usage(
            "this is no text for a terminal",
            "name a file, or send it elsewhere with >",
        ));
    }
    if !is_encrypted {
        let place = args.file.as_deref().map_or_else(
            || "standard output".into(),
            |file| file.display().to_string(),
        );
        let what = match args.format {
            Format::Paper => "The key to all passwords",
            _ => "All passwords",
        };
        app.ask.confirm(&format!(
            "{what} will be in {place}, readable for whoever gets it. Go on?"
        ))?;
    }
    let vault = session.vault();
    let bytes = match format {
        None => Zeroizing::new(paper(&session)?.as_bytes().to_vec()),
        Some(format) => {
            let params = session.params();
            let written = session.with_passphrase(|passphrase| {
                let options = WriteOptions {
                    passphrase,
                    params,
                    otp_address: Otp::address_of,
                };
                write(format, vault, options, &mut UnwrapErr(SysRng))
            });
            let Written { bytes, losses } = written.map_err(unwritten)?;
            for loss in losses {
                app.out.warn(&loss.what);
            }
            bytes
        }
    };
    let Some(file) = &args.file else {
        return io::stdout()
            .lock()
            .write_all(&bytes)
            .or_else(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => Ok(()),
                _ => Err(unwritable(Path::new("standard output"), &error)),
            });
    };
    write_new(file, &bytes)?;
    let records = vault.view().records().len();
    if app.out.json {
        return app
            .out
            .object(serde_json::json!({ "file": file.to_string_lossy(), "records": records }));
    }
    app.out
        .note(&format!("{records} records are in {}", file.display()));
    Ok(())
}

/// The sheet of the account that the vault is tied to.
fn paper(session: &Session) -> Result<Zeroizing<String>, Failure> {
    let association = tied(session)?;
    let day = jiff::Timestamp::from_second(session.now()).unwrap_or_default();
    let sheet = Sheet {
        day: &day
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime("%-d %B %Y")
            .to_string(),
        trust: &trust_text(&association.trust),
        records: session.vault().view().records().len(),
    };
    make_sheet(&link_of(association)?, sheet).map_err(|error| failure_of(&error))
}

fn write_new(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let mut opened = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(file),
            _ => unwritable(file, &error),
        })?;
    opened
        .write_all(bytes)
        .and_then(|()| opened.sync_all())
        .map_err(|error| {
            // Half of it is no export.
            let _ = std::fs::remove_file(file);
            unwritable(file, &error)
        })
}

fn unwritten(error: ExportError) -> Failure {
    match error {
        ExportError::Encode(error) => SessionError::from(error).into(),
        ExportError::Container(error) => SessionError::from(error).into(),
        ExportError::Kdf(_) => Failure::new(Code::Other, error.to_string(), "close other programs"),
        ExportError::TooLong => Failure::new(
            Code::TooLarge,
            error.to_string(),
            "export it in another format",
        ),
    }
}

fn exists(file: &Path) -> Failure {
    Failure::new(
        Code::Exists,
        format!("{} is there already", file.display()),
        "name another file, or remove it first",
    )
}

fn unwritable(file: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Code::File,
        format!("cannot write {}: {error}", file.display()),
        "look at the disk and the folder",
    )
}
