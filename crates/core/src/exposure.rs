//! Whether a file with a secret can be read by other users of this machine.

use std::fs::{File, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Rights of the group and of all others on a file.
const READ_OR_WRITE: u32 = 0o066;
/// Rights of the group and of all others to go through a folder.
const ENTER: u32 = 0o011;

/// Whether others than its owner can read or write a file. The rights of the folders that lead to
/// it count too. `false` if there is no such file.
#[must_use]
pub fn is_open_to_others(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    let is_open = path.metadata().is_ok_and(|file| is_open(&file));
    is_open && is_reachable(&path)
}

/// Whether others can read what is written to this file. Pipes and terminals are not files.
#[must_use]
pub fn is_written_for_others(file: &File) -> bool {
    let is_open = file.metadata().is_ok_and(|file| is_open(&file));
    is_open && path_of(file).is_none_or(|path| is_reachable(&path))
}

fn is_open(file: &Metadata) -> bool {
    file.is_file() && file.permissions().mode() & READ_OR_WRITE != 0
}

/// Whether the group or all others can go through all folders that lead to a file.
fn is_reachable(path: &Path) -> bool {
    let rights = path.ancestors().skip(1).map(|folder| {
        let rights = folder.metadata().map(|folder| folder.mode() & ENTER);
        rights.unwrap_or(ENTER)
    });
    rights.fold(ENTER, |all, one| all & one) != 0
}

/// The path of an open file, where the system tells it.
fn path_of(file: &File) -> Option<std::path::PathBuf> {
    use std::os::fd::AsRawFd;
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_file_is_open_if_its_rights_and_those_of_its_folders_say_so() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("secret");
        fs::write(&file, "x").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        for (of_top, of_folder, of_file, expected) in [
            (0o755, 0o755, 0o600, false),
            (0o755, 0o755, 0o644, true),
            (0o755, 0o755, 0o640, true),
            (0o755, 0o700, 0o644, false),
            (0o700, 0o755, 0o644, false),
            (0o711, 0o711, 0o622, true),
        ] {
            set(top.path(), of_top).unwrap();
            set(&folder, of_folder).unwrap();
            set(&file, of_file).unwrap();
            let what = format!("{of_top:o} {of_folder:o} {of_file:o}");
            assert_eq!(is_open_to_others(&file), expected, "{what}");
            let opened = File::open(&file).unwrap();
            assert_eq!(is_written_for_others(&opened), expected, "{what}");
        }
        assert!(!is_open_to_others(&folder.join("nothing")));
        assert!(!is_written_for_others(&File::open("/dev/null").unwrap()));
    }
}
