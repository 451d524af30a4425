//! Backups that come from elsewhere, and go to standard output. A backup is verified as a file
//! before the first byte of it leaves, and before a byte of it is used.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::super::Failure;
use super::place::Place;
use super::s3;
use crate::backup::{Backup, BackupError, Staging, staging_in};
use crate::exit::Code;
use crate::files;

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

/// A backup that a command reads: a file, what standard input gave, or what an object store sent.
pub(super) struct Source {
    pub(super) file: PathBuf,
    name: PathBuf,
    /// It holds the file if that is a temporary one.
    _staging: Option<Staging>,
}

impl Source {
    /// Takes what is no file of this machine into a folder.
    pub(super) fn of(place: &Place, folder: &Path) -> Result<Self, Failure> {
        let name = place.name("standard input").into();
        let (staging, file) = match place {
            Place::File(path) => {
                return Ok(Self {
                    file: path.clone(),
                    name: path.clone(),
                    _staging: None,
                });
            }
            Place::Stream => receive(folder)?,
            Place::Object(url) => s3::fetch(url, folder)?,
        };
        Ok(Self {
            file,
            name,
            _staging: Some(staging),
        })
    }

    /// Opens the backup and verifies its hash.
    pub(super) fn open(&self) -> Result<Backup, BackupError> {
        Backup::open(&self.file).map_err(|error| error.named(&self.name))
    }
}

/// Takes what standard input gives.
fn receive(folder: &Path) -> Result<(Staging, PathBuf), Failure> {
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
    Ok((staging, file))
}
