//! The folder in which a record is a text for a while. The rules are:
//!  - it is in memory, unless the person agrees to the disk, and only its owner can read it;
//!  - it is locked while it is used, so that a command can tell what a killed `edit` left behind.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::process::geteuid;
use tempfile::TempDir;

/// What the name of each folder begins with.
const PREFIX: &str = "passmate-edit-";
/// How many files are looked at for folders that were left behind.
const ENTRIES_MAX: usize = 10_000;
/// How often another command may take a new folder for one that was left behind.
const TRIES: usize = 3;

/// A folder with a text, deleted when it is dropped.
pub(super) struct Folder {
    dir: TempDir,
    /// Dropped last, so that nobody else deletes the folder meanwhile.
    _lock: File,
}

impl Folder {
    pub(super) fn new(place: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            let dir = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(place)?;
            let lock = open_folder(dir.path())?;
            flock(&lock, FlockOperation::LockExclusive)?;
            // A command may have deleted it between its making and its locking.
            if dir.path().exists() {
                fs::create_dir(dir.path().join("state"))?;
                return Ok(Self { dir, _lock: lock });
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// The file that the person edits.
    pub(super) fn text(&self) -> PathBuf {
        self.dir.path().join("record.toml")
    }

    /// The folder for whatever else an editor writes.
    pub(super) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }
}

/// A folder in memory for folders, if there is one.
pub(super) fn in_memory() -> Option<PathBuf> {
    places().into_iter().find(|place| is_memory(place))
}

/// Deletes what an `edit` left behind that was killed. What cannot be deleted stays.
pub(crate) fn delete_leftovers() {
    for place in places().into_iter().chain([std::env::temp_dir()]) {
        let Ok(entries) = fs::read_dir(&place) else {
            continue;
        };
        for entry in entries.take(ENTRIES_MAX).flatten() {
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(PREFIX.as_bytes())
            {
                let _ = delete_leftover(&entry.path());
            }
        }
    }
}

fn delete_leftover(path: &Path) -> io::Result<()> {
    let found = path.symlink_metadata()?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() {
        return Ok(());
    }
    let lock = open_folder(path)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    fs::remove_dir_all(path)
}

fn open_folder(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(open(path, flags, Mode::empty())?))
}

/// Folders that are safe and may be in memory.
fn places() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|place| place.is_absolute() && is(place, is_private));
    let shared = PathBuf::from("/dev/shm");
    let shared = Some(shared).filter(|place| is(place, is_safe_for_all));
    runtime.into_iter().chain(shared).collect()
}

fn is(place: &Path, what: impl FnOnce(&Metadata) -> bool) -> bool {
    place
        .metadata()
        .is_ok_and(|found| found.is_dir() && what(&found))
}

/// Whether nobody else can look into a folder, or put another in the place of one in it.
fn is_private(folder: &Metadata) -> bool {
    folder.uid() == geteuid().as_raw() && folder.mode() & 0o077 == 0
}

/// Whether everybody can make folders in a folder, and nobody can replace another's.
fn is_safe_for_all(folder: &Metadata) -> bool {
    const STICKY: u32 = 0o1000;
    folder.uid() == 0 && (folder.mode() & STICKY != 0 || folder.mode() & 0o022 == 0)
}

/// Whether what is written there stays in memory.
#[cfg(target_os = "linux")]
fn is_memory(place: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58F6;
    let kind =
        rustix::fs::statfs(place).map(|found| u64::from_ne_bytes(found.f_type.to_ne_bytes()));
    matches!(kind, Ok(TMPFS | RAMFS))
}

#[cfg(not(target_os = "linux"))]
fn is_memory(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_can_open_is_not_private() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, expected) in [
            (0o700, true),
            (0o750, false),
            (0o701, false),
            (0o777, false),
        ] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(is(folder.path(), is_private), expected, "{mode:o}");
        }
    }

    #[test]
    fn the_folder_of_another_user_is_not_private() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let other = Some(geteuid().as_raw() + 1);
        if std::os::unix::fs::chown(folder.path(), other, None).is_err() {
            eprintln!("not run: only root can give a folder away");
            return;
        }
        assert!(!is(folder.path(), is_private));
        // What lies there under our name is not ours to delete.
        let found = folder.path().join("passmate-edit-x");
        fs::create_dir(&found).unwrap();
        std::os::unix::fs::chown(&found, other, None).unwrap();
        delete_leftover(&found).unwrap();
        assert!(found.exists());
    }

    #[test]
    fn only_a_folder_that_nobody_uses_is_left_behind() {
        let place = tempfile::tempdir().unwrap();
        let used = Folder::new(place.path()).unwrap();
        fs::write(used.text(), "x").unwrap();
        assert!(delete_leftover(used.dir.path()).is_err());
        assert!(used.text().exists());

        let left = place.path().join("passmate-edit-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("record.toml"), "x").unwrap();
        delete_leftover(&left).unwrap();
        assert!(!left.exists());

        let link = place.path().join("passmate-edit-link");
        std::os::unix::fs::symlink(used.dir.path(), &link).unwrap();
        delete_leftover(&link).unwrap();
        assert!(used.text().exists());
    }
}
