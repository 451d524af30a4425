//! A text that could not be saved, in a file that only its owner can read. The next command does not
//! delete it.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use passmate_core::command::command;
use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use tempfile::TempPath;

use super::place;
use crate::app::App;

/// A text that is not saved yet, in a file that is deleted with this. A signal that ends the process
/// leaves the file.
pub(crate) struct Kept(TempPath);

impl Kept {
    pub(crate) fn new(app: &App, text: &str) -> Result<Self, Problem> {
        write(&place(app)?, text).map(Self).map_err(|error| {
            let message = format!("what you typed could not be kept in a file: {error}");
            Problem::new(ProblemKind::File, message, "")
        })
    }

    /// Where it is, for a message.
    pub(crate) fn file(&self) -> String {
        escape(&self.0.display().to_string())
    }

    /// Leaves the file, and says so in the problem.
    pub(crate) fn stay(self, problem: Problem) -> Problem {
        let place = self.file();
        match self.0.keep() {
            Ok(file) => {
                let hint = format!(
                    "what you typed is in {place}, which only you can read; {} deletes it; {}",
                    command(["rm"]).arg(&file),
                    problem.hint
                );
                problem.with_hint(hint)
            }
            Err(error) => lost(problem, &error.to_string()),
        }
    }
}

/// The problem that also says where the text is now.
pub(crate) fn kept(app: &App, problem: Problem, text: &str) -> Problem {
    match Kept::new(app, text) {
        Ok(kept) => kept.stay(problem),
        Err(error) => lost(problem, &error.message),
    }
}

fn lost(problem: Problem, why: &str) -> Problem {
    let hint = format!("{why}, and is lost; {}", problem.hint);
    problem.with_hint(hint)
}

/// Writes a text into a new file.
fn write(place: &Path, text: &str) -> io::Result<TempPath> {
    let mut file = tempfile::Builder::new()
        .prefix("passmate-kept-")
        .suffix(".toml")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(place)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file.into_temp_path())
}
