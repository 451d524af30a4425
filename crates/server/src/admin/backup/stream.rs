//! Backups that come from standard input and go to standard output, which `-` names. A backup is
//! verified as a file before the first byte of it leaves, and before a byte of it is used.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::super::Failure;
use crate::backup::{BackupError, Staging, staging_in};
use crate::exit::Code;
use crate::files;

/// Whether a path is standard input or output.
pub(super) fn is_stream(path: &Path) -> bool {
    path == Path::new("-")
}

/// # Errors
/// Standard output cannot take a backup.
pub(super) fn check_output(is_json: bool) -> Result<(), Failure> {
    if is_json {
        return Err(Failure::new(
            Code::Usage,
            "standard output has the backup, and no room for JSON",
            "leave out --json; the exit code says whether the backup was made",
        ));
    }
    if io::stdout().is_terminal() {
        return Err(Failure::new(
            Code::Usage,
            "a backup is no text for a terminal",
            "pipe it: `passmate-server backup - | ssh HOST 'cat > passmate.backup'`",
        ));
    }
    Ok(())
}

/// Writes a complete backup to standard output.
pub(super) fn send(file: &Path) -> Result<(), BackupError> {
    let failed = |error| BackupError::Io {
        doing: "write",
        path: "standard output".into(),
        error,
    };
    let mut file = File::open(file).map_err(failed)?;
    let mut out = io::stdout().lock();
    io::copy(&mut file, &mut out)
        .and_then(|_| out.flush())
        .map_err(failed)
}

/// A backup that a command reads: a file, or what standard input gave.
pub(super) struct Source {
    pub(super) file: PathBuf,
    /// It holds the file that standard input gave.
    _staging: Option<Staging>,
}

impl Source {
    /// Takes what standard input gives into a folder.
    pub(super) fn of(path: &Path, folder: &Path) -> Result<Self, Failure> {
        if !is_stream(path) {
            return Ok(Self {
                file: path.to_owned(),
                _staging: None,
            });
        }
        let mut input = io::stdin().lock();
        if input.is_terminal() {
            return Err(Failure::new(
                Code::Usage,
                "a backup is not typed on a terminal",
                "give a file, or pipe one: `ssh HOST 'cat passmate.backup' | passmate-server \
                 restore -`",
            ));
        }
        let staging = staging_in(folder, ".passmate-received-")?;
        let file = staging.path().join("passmate.backup");
        let failed = |error| BackupError::Io {
            doing: "keep what standard input gave in",
            path: file.clone(),
            error,
        };
        let mut target = files::create_new(&file).map_err(failed)?;
        io::copy(&mut input, &mut target).map_err(failed)?;
        Ok(Self {
            file,
            _staging: Some(staging),
        })
    }
}

/// What `log` and errors call a backup.
pub(super) fn name_of(path: &Path, stream: &str) -> String {
    if is_stream(path) {
        return stream.to_owned();
    }
    let absolute = std::path::absolute(path);
    absolute.as_deref().unwrap_or(path).display().to_string()
}
