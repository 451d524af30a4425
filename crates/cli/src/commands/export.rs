use std::io::{self, Write};
use std::path::{Path, PathBuf};

use passmate_core::export::{ExportForm, file_exists, write_new};
use passmate_core::interchange::{ExportFormat, Loss};
use passmate_core::problem::{Problem, ProblemKind};
use serde_json::json;

use crate::app::App;
use crate::importing::{loss_line, loss_object};
use crate::report::plain;

/// Export all records for another program, or as a copy
///
/// Only you can read the new file; an existing file is never overwritten. Formats without
/// encryption ask for confirmation first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The format
    format: Format,
    /// The file to create; `-` is standard output [default: standard output]
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A Passmate vault with the history and without the sync key, under the same passphrase
    Passmate,
    /// A vault of the original Passmate 2 with the history, under the same passphrase
    Passmate2,
    /// A KeePass database (KDBX 4) with earlier values, under the same passphrase
    Kdbx,
    /// An HTML page to print, with the sync key as text and QR code: it restores the vault from its
    /// server
    Paper,
    /// JSON as Bitwarden imports it; not encrypted
    Bitwarden,
    /// CSV as KeePassXC imports it; not encrypted
    Csv,
    /// JSON in FIDO's Credential Exchange Format; not encrypted
    Cxf,
}

impl From<Format> for ExportForm {
    fn from(format: Format) -> Self {
        match format {
            Format::Passmate => Self::File(ExportFormat::Passmate),
            Format::Passmate2 => Self::File(ExportFormat::Passmate2),
            Format::Kdbx => Self::File(ExportFormat::Kdbx),
            Format::Bitwarden => Self::File(ExportFormat::Bitwarden),
            Format::Csv => Self::File(ExportFormat::Csv),
            Format::Cxf => Self::File(ExportFormat::Cxf),
            Format::Paper => Self::Paper,
        }
    }
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let form = ExportForm::from(args.format);
    // As everywhere, `-` is the standard stream.
    let file = args.file.as_deref().filter(|file| *file != Path::new("-"));
    if let Some(file) = file.filter(|file| file.symlink_metadata().is_ok()) {
        return Err(file_exists(file));
    }
    if form.is_encrypted() && file.is_none() && app.out.is_terminal() {
        return Err(Problem::usage(
            "the export is binary, and standard output is a terminal",
            "name a file, or redirect the output with >",
        ));
    }
    if !form.is_encrypted() {
        let place = file.map_or_else(
            || "standard output".into(),
            |file| file.display().to_string(),
        );
        let what = match form {
            ExportForm::Paper => "The key to all passwords",
            ExportForm::File(_) => "All passwords",
        };
        app.ask
            .confirm(&format!("{what} will be unencrypted in {place}. Go on?"))?;
    }
    let exported = plain(vault.export(form))?;
    for loss in exported.losses.iter().chain(&exported.warnings) {
        app.out.warn(&loss_line(loss));
    }
    let Some(file) = file else {
        return write_out(&exported.bytes);
    };
    write_new(file, &exported.bytes)?;
    let records = exported.records;
    if app.out.json {
        let objects = |losses: &[Loss]| losses.iter().map(loss_object).collect::<Vec<_>>();
        return app.out.object(json!({
            "file": file.to_string_lossy(),
            "records": records,
            "losses": objects(&exported.losses),
            "warnings": objects(&exported.warnings),
        }));
    }
    app.out
        .note(&format!("{records} records are in {}", file.display()));
    Ok(())
}

fn write_out(bytes: &[u8]) -> Result<(), Problem> {
    match io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Problem::new(
            ProblemKind::File,
            format!("cannot write standard output: {error}"),
            "check the disk and the folder",
        )),
        _ => Ok(()),
    }
}
