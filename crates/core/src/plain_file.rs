//! Files with values that are not encrypted. The rules are:
//!  - nobody but the owner can read them, from their first moment on;
//!  - a file is complete under its name or not there;
//!  - nothing takes the place of what is no ordinary file, such as a device or a link.

pub mod fifo;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::disk::folder_of;
use crate::export::unwritable;
use crate::problem::{Problem, ProblemKind};

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Free,
    /// An ordinary file.
    File,
}

/// What stands where a file is to be written.
///
/// # Errors
/// It is neither nothing nor an ordinary file, or cannot be looked at.
pub fn standing(path: &Path) -> Result<Standing, Problem> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Standing::File),
        Ok(_) => Err(Problem::new(
            ProblemKind::Exists,
            format!("{} exists, and is no ordinary file", path.display()),
            "name another file, or remove it first",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Standing::Free),
        Err(error) => Err(unwritable(path, &error)),
    }
}

/// Whether two paths name one file.
#[must_use]
pub fn is_same(one: &Path, other: &Path) -> bool {
    let of = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    of(one).is_some_and(|found| of(other) == Some(found))
}

/// Writes a file that only its owner can read. A file that has the name already is replaced.
///
/// # Errors
/// It cannot be written; then the former file is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    standing(path)?;
    let write = || {
        // It is made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder_of(path))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        fs::File::open(folder_of(path))?.sync_all()
    };
    write().map_err(|error| unwritable(path, &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, b"after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_or_a_folder_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (link, to) = (dir.path().join("link"), dir.path().join("to"));
        symlink(&to, &link).unwrap();
        for path in [&link, dir.path()] {
            assert_eq!(replace(path, b"x").unwrap_err().kind, ProblemKind::Exists);
        }
        assert!(!to.exists());
        let none = dir.path().join("none/file");
        assert_eq!(replace(&none, b"x").unwrap_err().kind, ProblemKind::File);
    }
}
