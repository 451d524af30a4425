//! A text that could not be saved, in a file that only its owner can read. The next command does not
//! delete it.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use passmate_core::command::command;
use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};

use super::place;
use crate::app::App;

/// The problem that also says where the text is now.
pub(crate) fn kept(app: &App, problem: Problem, text: &str) -> Problem {
    let kept = place(app).and_then(|place| {
        write(&place, text).map_err(|error| {
            let message = format!("what you typed could not be kept in a file: {error}");
            Problem::new(ProblemKind::File, message, "")
        })
    });
    let hint = match kept {
        Ok(file) => format!(
            "what you typed is in {}, which only you can read; {} deletes it; {}",
            escape(&file.display().to_string()),
            command(["rm"]).arg(&file),
            problem.hint
        ),
        Err(lost) => format!("{}, and is lost; {}", lost.message, problem.hint),
    };
    problem.with_hint(hint)
}

/// Writes a text into a new file.
fn write(place: &Path, text: &str) -> io::Result<PathBuf> {
    let mut file = tempfile::Builder::new()
        .prefix("passmate-kept-")
        .suffix(".toml")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(place)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file.into_temp_path().keep()?)
}
