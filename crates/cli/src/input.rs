//! Files that a command reads whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::units::readable;
use zeroize::Zeroizing;

/// Longest file with variables, in bytes.
const VARIABLES_LEN_MAX: usize = 1024 * 1024;

/// All of a file with variables.
pub(crate) fn read_text(path: &Path) -> Result<Zeroizing<String>, Problem> {
    let bytes = read_whole(path, VARIABLES_LEN_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Problem::usage(
            format!("{} is not UTF-8 text", path.display()),
            "save it as UTF-8",
        )
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// All of a file; `-` is standard input.
pub(crate) fn read_whole(path: &Path, len_max: usize) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut bytes = Zeroizing::new(Vec::new());
    let limit = len_max as u64 + 1;
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        Problem::new(
            ProblemKind::File,
            format!("cannot read {}: {error}", path.display()),
            "check the path and the file's mode",
        )
    })?;
    if bytes.len() > len_max {
        return Err(Problem::new(
            ProblemKind::TooLarge,
            format!("{} is longer than {}", path.display(), readable(len_max)),
            "check the path",
        ));
    }
    Ok(bytes)
}
