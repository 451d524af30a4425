//! Files and folders. The rules are:
//!  - files that the server makes are readable by their owner alone (mode 0600, folders 0700);
//!  - a file that root makes belongs to the user that runs the server;
//!  - a file is replaced as a whole: after a crash the path holds the old content or the new;
//!  - opening never blocks, and what is not a regular file is an error.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// `open(2)` returns at once, whatever the path names.
const NO_WAIT: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// The folder that a path is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// The path with `suffix` appended to its last part.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens a regular file for reading.
///
/// A pipe without a writer would block the server at start, and at every reload.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Checked before opening, because opening a device may have an effect, and again afterwards,
    // because the path may name another file by then.
    check_is_regular(&fs::metadata(path)?)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(NO_WAIT)
        .open(path)?;
    check_is_regular(&file.metadata()?)?;
    Ok(file)
}

fn check_is_regular(found: &fs::Metadata) -> io::Result<()> {
    if found.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ))
    }
}

/// Opens a folder, to lock it or to name what is in it. A symbolic link is an error.
pub(crate) fn open_folder(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed() | NO_WAIT)
        .open(path)
}

/// Reads a regular file of at most `len_max` bytes; a longer one is an error.
pub(crate) fn read(path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The usual name for an empty file, as in `--config /dev/null`.
    if path == Path::new("/dev/null") {
        return Ok(bytes);
    }
    let read = open(path)?.take(len_max + 1).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read <= len_max) {
        Ok(bytes)
    } else {
        Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {len_max} bytes"),
        ))
    }
}

/// Creates a file with mode 0600; one that exists is an error.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Writes a new file and flushes it to the disk: the whole file, or none. One that exists is an
/// error.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    give_to_owner_of(folder, file.as_file())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_folder_of(path)
}

/// Replaces a file and flushes the new content to the disk.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = with_suffix(path, ".part");
    let _ = fs::remove_file(&part);
    let mut file = create_new(&part)?;
    file.write_all(bytes)?;
    give_to_owner_of(folder_of(path), &file)?;
    file.sync_all()?;
    rename(&part, path)
}

/// Renames a file and flushes the change of its folder to the disk.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder_of(to)
}

/// Links an existing file to its own path with `.replaced` appended, in place of an earlier one;
/// false if the file does not exist.
pub(crate) fn keep_as_replaced(path: &Path) -> io::Result<bool> {
    let kept = with_suffix(path, ".replaced");
    if !path.try_exists()? {
        return Ok(false);
    }
    match fs::remove_file(&kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::hard_link(path, kept).map(|()| true),
    }
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file that a path names.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

/// Flushes the folder of a path, so that a created, renamed or removed name survives a crash.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// Makes a folder with mode 0700, and its parents, where they do not exist.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Gives a file that root made to the owner of another file or folder, because the server runs as
/// that user.
pub(crate) fn give_to_owner_of(other: &Path, file: &File) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (wanted, found) = (other.metadata()?, file.metadata()?);
    if (wanted.uid(), wanted.gid()) == (found.uid(), found.gid()) {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(wanted.uid()), Some(wanted.gid()))
}

/// Whether a lock shuts out everyone, or only those who want the lock alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockMode {
    Exclusive,
    Shared,
}

/// What became of an attempt to take a lock.
#[derive(Debug)]
pub(crate) enum Locking {
    /// The lock is held until the file is dropped.
    Taken(File),
    /// Another process holds it.
    Held,
}

/// Locks a file that exists only to be locked, and creates it first if needed.
///
/// The system releases the lock when the process ends, however it ends. The file is never removed:
/// otherwise two processes could each lock a file of the same name.
pub(crate) fn lock(path: &Path, mode: LockMode) -> io::Result<Locking> {
    let file = open_lock_file(path)?;
    let locked = match mode {
        LockMode::Exclusive => file.try_lock(),
        LockMode::Shared => file.try_lock_shared(),
    };
    match locked {
        Ok(()) => Ok(Locking::Taken(file)),
        Err(TryLockError::WouldBlock) => Ok(Locking::Held),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    match create_new(path) {
        Ok(file) => {
            give_to_owner_of(folder_of(path), &file)?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = OpenOptions::new()
                .write(true)
                .custom_flags(NO_WAIT)
                .open(path)?;
            check_is_regular(&file.metadata()?)?;
            Ok(file)
        }
        Err(error) => Err(error),
    }
}

/// Space on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Disk {
    /// Bytes that a process without privileges may still use.
    pub(crate) free: u64,
    pub(crate) size: u64,
}

/// The file system that a path is on.
pub(crate) fn disk_of(path: &Path) -> io::Result<Disk> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Disk {
        free: bytes(found.f_bavail),
        size: bytes(found.f_blocks),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_place_of_a_lock_file_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.lock");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert!(lock(&path, LockMode::Exclusive).is_err());
        fs::remove_file(&path).unwrap();
        assert!(matches!(
            lock(&path, LockMode::Exclusive),
            Ok(Locking::Taken(_))
        ));
    }
}
