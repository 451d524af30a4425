//! A store of `pass`: a folder of files that `gpg` decrypts one by one.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use passmate_interchange::{FILE_LEN_MAX, Format, ITEMS_MAX, ImportError, Imported, parse_pass};
use zeroize::Zeroizing;

use crate::import::problem_of;
use crate::problem::{Problem, ProblemKind};

/// The deepest folder in a store.
const DEPTH_MAX: usize = 64;

/// Reads a store of `pass`: `gpg` decrypts each of its files. Without `may_ask`, gpg asks for no
/// passphrase.
///
/// # Errors
/// The folder is no store, or gpg cannot decrypt one of its files.
pub fn read(store: &Path, may_ask: bool) -> Result<Imported, Problem> {
    let mut files = Vec::new();
    find_files(store, DEPTH_MAX, &mut files)?;
    if files.is_empty() {
        let error = ImportError::NotThisFormat {
            expected: "a folder of pass: it has no .gpg file",
        };
        return Err(problem_of(&error, Format::Pass));
    }
    files.sort();
    let mut room = FILE_LEN_MAX;
    let mut entries = Vec::with_capacity(files.len());
    for file in &files {
        let content = decrypt(file, room, may_ask)?;
        room = room.saturating_sub(content.len());
        let name = file.strip_prefix(store).unwrap_or(file).with_extension("");
        entries.push((name.to_string_lossy().into_owned(), content));
    }
    let entries = entries
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_slice()));
    parse_pass(entries).map_err(|error| problem_of(&error, Format::Pass))
}

/// The entries below a folder. Hidden ones, such as `.git`, are none; links to folders are not
/// followed.
fn find_files(folder: &Path, depth_left: usize, files: &mut Vec<PathBuf>) -> Result<(), Problem> {
    let failed = |error: std::io::Error| {
        let message = format!("cannot read the folder {}: {error}", folder.display());
        Problem::new(
            ProblemKind::File,
            message,
            "give the store's folder, for example ~/.password-store",
        )
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type().map_err(failed)?.is_dir() {
            if depth_left == 0 {
                let error = ImportError::TooMany {
                    what: "levels",
                    limit: DEPTH_MAX,
                };
                return Err(problem_of(&error, Format::Pass));
            }
            find_files(&path, depth_left - 1, files)?;
        } else if path.extension().is_some_and(|extension| extension == "gpg") {
            if files.len() >= ITEMS_MAX {
                return Err(problem_of(
                    &ImportError::TooMany {
                        what: "items",
                        limit: ITEMS_MAX,
                    },
                    Format::Pass,
                ));
            }
            files.push(path);
        }
    }
    Ok(())
}

fn decrypt(file: &Path, len_max: usize, may_ask: bool) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let failed = |why: String| {
        Problem::new(
            ProblemKind::Other,
            format!("gpg cannot decrypt {}: {why}", file.display()),
            "`gpg --decrypt` on that file shows why; nothing was changed",
        )
    };
    let mut gpg = Command::new("gpg");
    gpg.args(["--quiet", "--batch", "--yes"]);
    if !may_ask {
        gpg.args(["--pinentry-mode", "error"]);
    }
    gpg.arg("--decrypt")
        .arg("--")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = gpg.spawn().map_err(|error| failed(error.to_string()))?;
    let mut content = Zeroizing::new(Vec::new());
    let limit = u64::try_from(len_max).unwrap_or(u64::MAX).saturating_add(1);
    let read = child
        .stdout
        .take()
        .map(|stdout| stdout.take(limit).read_to_end(&mut content));
    let is_too_long = content.len() > len_max;
    if is_too_long {
        // It may write without end.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    if is_too_long {
        return Err(problem_of(
            &ImportError::TooLong {
                limit: FILE_LEN_MAX,
            },
            Format::Pass,
        ));
    }
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    read.transpose()
        .map_err(|error| failed(error.to_string()))?;
    Ok(content)
}
