//! All records in another form: for another program, or on paper.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use getrandom::SysRng;
use passmate_interchange::{ExportError, ExportFormat, Loss, WriteOptions, Written, write};
use rand_core::UnwrapErr;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::answer::Reply;
use crate::problem::{Problem, ProblemKind};
use crate::session::{Session, SessionError};
use crate::share::paper::{Sheet, make_sheet};
use crate::sync_setup::{link, tied};
use crate::sync_status::trust_text;

/// A form to export to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExportForm {
    /// A file of this or another program.
    File(ExportFormat),
    /// One page of HTML to print, with the sync key.
    Paper,
}

impl ExportForm {
    /// Whether it can be read only with the vault's passphrase.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        match self {
            Self::File(format) => format.is_encrypted(),
            Self::Paper => false,
        }
    }
}

/// All records in another form.
#[derive(Serialize, Deserialize)]
pub struct Exported {
    /// The file.
    #[serde(with = "passmate_vault::wire")]
    pub bytes: Zeroizing<Vec<u8>>,
    /// What it does not carry.
    pub losses: Vec<Loss>,
    /// What the other program may refuse or take for something else.
    pub warnings: Vec<Loss>,
    /// The number of records.
    pub records: usize,
}

/// Without the records.
impl fmt::Debug for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exported")
            .field("losses", &self.losses)
            .field("warnings", &self.warnings)
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

/// Writes all records.
pub(crate) fn export(session: &Session, form: ExportForm) -> Reply<Exported> {
    let vault = session.vault();
    let records = vault.view().records().len();
    let written = match form {
        ExportForm::Paper => Written {
            bytes: Zeroizing::new(paper(session, records)?.as_bytes().to_vec()),
            losses: Vec::new(),
            warnings: Vec::new(),
        },
        ExportForm::File(format) => {
            let params = session.params();
            session
                .with_passphrase(|passphrase| {
                    let options = WriteOptions { passphrase, params };
                    write(format, vault, options, &mut UnwrapErr(SysRng))
                })
                .map_err(problem_of)?
        }
    };
    Ok(Exported {
        bytes: written.bytes,
        losses: written.losses,
        warnings: written.warnings,
        records,
    })
}

/// The sheet of the account that the vault is tied to.
fn paper(session: &Session, records: usize) -> Reply<Zeroizing<String>> {
    let (account, _) = tied(session)?;
    let day = jiff::Timestamp::from_second(session.now()).unwrap_or_default();
    let day = day.to_zoned(jiff::tz::TimeZone::system());
    let sheet = Sheet {
        day: &day.strftime("%-d %B %Y").to_string(),
        trust: &trust_text(&account.trust),
        records,
    };
    Ok(make_sheet(&link(session)?, sheet)?)
}

fn problem_of(error: ExportError) -> Problem {
    match error {
        ExportError::Encode(error) => SessionError::from(error).into(),
        ExportError::Container(_) | ExportError::Kdf(_) => Problem::new(
            ProblemKind::Other,
            error.to_string(),
            "close other programs",
        ),
        ExportError::TooLong => Problem::new(
            ProblemKind::TooLarge,
            error.to_string(),
            "export it in another format",
        ),
    }
}

/// Writes a new file that only its owner can read.
///
/// # Errors
/// There is a file already, or it cannot be written; then nothing of it is left.
pub fn write_new(file: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let mut options = OpenOptions::new();
    let mut opened = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => file_exists(file),
            _ => unwritable(file, &error),
        })?;
    opened
        .write_all(bytes)
        .and_then(|()| opened.sync_all())
        .map_err(|error| {
            // Remove the incomplete file.
            let _ = std::fs::remove_file(file);
            unwritable(file, &error)
        })
}

/// A file that stands where one is to be written.
#[must_use]
pub fn file_exists(file: &Path) -> Problem {
    Problem::new(
        ProblemKind::Exists,
        format!("{} already exists", file.display()),
        "name another file, or remove it first",
    )
}

pub(crate) fn unwritable(file: &Path, error: &io::Error) -> Problem {
    Problem::new(
        ProblemKind::File,
        format!("cannot write {}: {error}", file.display()),
        "check the disk and the folder",
    )
}
