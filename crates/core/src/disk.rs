//! The files of a vault. The rules are:
//!  - whatever fails and whenever, the vault's name refers to the complete old content or the
//!    complete new content;
//!  - the content before the last change of records stays in a file with `.prev` at the end;
//!  - only the owner has access: folders 0700, files 0600;
//!  - only the holder of the lock writes. The lock is a separate file that is never removed: if it
//!    were unlinked, two processes could lock two files of one name.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long a writer waits for another one. Most saves take less than a second; a change of the
/// passphrase derives a key for each file that it encrypts anew.
const LOCK_PATIENCE: Duration = Duration::from_secs(15);
/// Opening a pipe or a device must not block.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
/// Opening a symbolic link must fail, with the error [`LOOP`].
const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
const LOOP: i32 = rustix::io::Errno::LOOP.raw_os_error();
/// The pause between two attempts to lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The operations that a vault needs of a file system, about one system call each.
///
/// [`RealDisk`] does them. Tests use a disk whose n-th operation fails.
pub trait Disk: fmt::Debug {
    /// Reads a file of at most `len_max` bytes; a longer one is an error.
    ///
    /// # Errors
    /// The system's error.
    fn read(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>>;

    /// Reads the first `len` bytes of a file of at most `len_max`, or all if it has fewer.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn read_begin(&self, path: &Path, len: u64, len_max: u64) -> io::Result<Vec<u8>>;

    /// Reads a file of a folder in which others write: as [`read`](Self::read), but a symbolic link
    /// is an error.
    ///
    /// # Errors
    /// The system's error.
    fn read_unlinked(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>>;

    /// Creates a folder and its parents, with mode 0700.
    ///
    /// # Errors
    /// The system's error; an existing folder is not an error.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// Creates a file with mode 0600, which must not exist yet, writes it and flushes it to the
    /// disk.
    ///
    /// # Errors
    /// The system's error; a part may have been written.
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file a second name, which must not exist yet.
    ///
    /// # Errors
    /// The system's error; some file systems cannot do it.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the rights of everybody but the owner.
    ///
    /// # Errors
    /// The system's error; some file systems cannot do it.
    fn restrict(&self, path: &Path) -> io::Result<()>;

    /// Renames a file and replaces the one with the new name.
    ///
    /// # Errors
    /// The system's error; nothing changed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's error.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Flushes a folder's names to the disk.
    ///
    /// # Errors
    /// The system's error.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn read(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
        read_regular(path, NONBLOCK, u64::MAX, len_max)
    }

    fn read_begin(&self, path: &Path, len: u64, len_max: u64) -> io::Result<Vec<u8>> {
        read_regular(path, NONBLOCK, len, len_max)
    }

    fn read_unlinked(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
        read_regular(path, NONBLOCK | NOFOLLOW, u64::MAX, len_max).map_err(|error| {
            match error.raw_os_error() {
                Some(number) if number == LOOP => io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a symbolic link, which is not followed",
                ),
                _ => error,
            }
        })
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn restrict(&self, path: &Path) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        match File::open(path)?.sync_all() {
            // The file system has no such operation: nothing more can be done there.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
            {
                Ok(())
            }
            done => done,
        }
    }
}

/// Reads the first `len` bytes of a regular file that is opened with these flags.
fn read_regular(path: &Path, flags: i32, len: u64, len_max: u64) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "larger than any vault");
    // Reading a pipe would block, so check what was opened first.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    if metadata.len() > len_max {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(len)).unwrap_or(0));
    // It may grow meanwhile.
    file.take(len.min(len_max.saturating_add(1)))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).map_or(true, |len| len > len_max) {
        return Err(too_large());
    }
    Ok(bytes)
}

/// The path with a suffix.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The path of the previous copy.
#[must_use]
pub fn previous_of(path: &Path) -> PathBuf {
    beside(path, ".prev")
}

/// The file whose lock keeps two programs from writing a file at once.
pub(crate) fn lock_of(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

/// Replaces a file atomically and keeps the old content as the previous copy. The [`Lock`] proves
/// that no other process does the same.
///
/// # Errors
/// The name still refers to the old content, or to the new content if only the last flush failed.
pub fn replace(disk: &dyn Disk, _lock: &Lock, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    write_anew(disk, &new, bytes)?;
    if let Err(error) = keep_previous(disk, path) {
        let _ = disk.remove(&new);
        return Err(error);
    }
    finish_replace(disk, &new, path)
}

/// Replaces a file and its previous copy, the previous copy first: an interruption in between
/// leaves the file unchanged.
///
/// # Errors
/// As [`replace`]; the previous copy may be new already.
pub fn replace_both(
    disk: &dyn Disk,
    lock: &Lock,
    path: &Path,
    bytes: &[u8],
    previous: &[u8],
) -> io::Result<()> {
    let kept = beside(path, ".prev.new");
    write_anew(disk, &kept, previous)?;
    if let Err(error) = disk.rename(&kept, &previous_of(path)) {
        let _ = disk.remove(&kept);
        return Err(error);
    }
    overwrite(disk, lock, path, bytes)
}

/// Replaces a file atomically and leaves its previous copy unchanged.
///
/// # Errors
/// As [`replace`].
pub fn overwrite(disk: &dyn Disk, _lock: &Lock, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    write_anew(disk, &new, bytes)?;
    finish_replace(disk, &new, path)
}

/// Writes a new file under the name `new`, renames what has the vault's name to `aside`, if there
/// is something, and then gives the new file that name.
///
/// # Errors
/// Nothing was replaced. What had the vault's name may have the name `aside`, and the content the
/// name `new`.
pub fn put_back(
    disk: &dyn Disk,
    _lock: &Lock,
    path: &Path,
    bytes: &[u8],
    new: &Path,
    aside: Option<&Path>,
) -> io::Result<()> {
    disk.write_new(new, bytes)?;
    if let Some(aside) = aside {
        disk.rename(path, aside)?;
    }
    disk.rename(new, path)?;
    disk.sync_folder(folder_of(path))
}

fn finish_replace(disk: &dyn Disk, new: &Path, path: &Path) -> io::Result<()> {
    if let Err(error) = disk.rename(new, path) {
        let _ = disk.remove(new);
        return Err(error);
    }
    disk.sync_folder(folder_of(path))
}

fn write_anew(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // An interrupted save left this file; its process no longer holds the lock.
    remove_if_there(disk, path)?;
    disk.write_new(path, bytes).inspect_err(|_| {
        let _ = disk.remove(path);
    })
}

fn keep_previous(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let (linked, previous) = (beside(path, ".prev.new"), previous_of(path));
    remove_if_there(disk, &linked)?;
    // A vault that was copied here may be readable by others; its previous copy must not be.
    match disk
        .link(path, &linked)
        .and_then(|()| disk.restrict(&linked))
    {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // The file system has no hard links or no rights: make a copy instead.
        Err(_) => {
            remove_if_there(disk, &linked)?;
            let bytes = disk.read(path, u64::MAX - 1)?;
            disk.write_new(&linked, &bytes).inspect_err(|_| {
                let _ = disk.remove(&linked);
            })?;
        }
    }
    disk.rename(&linked, &previous)
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The folder of a file; the working directory for a bare name.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// The right to write a vault's files. The system releases it when the process ends, however it
/// ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another program is writing, for longer than any save takes.
    #[error("another program is writing the vault")]
    Busy,
    /// The lock file cannot be made or locked.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Lock {
    /// Waits for the right to write the vault at `path`, for 15 seconds at most.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn take(path: &Path) -> Result<Self, LockError> {
        Self::take_within(path, LOCK_PATIENCE)
    }

    fn take_within(path: &Path, patience: Duration) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        let options = options
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(NONBLOCK);
        let file = options.open(lock_of(path))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) if begun.elapsed() >= patience => {
                    return Err(LockError::Busy);
                }
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// The file system, of which the n-th operation fails and, if it is a write, leaves half of it
    /// behind.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct FailingDisk {
        /// Operations until one fails; at 0 all fail from then on if `is_dead`.
        pub(crate) left: Arc<AtomicUsize>,
        pub(crate) done: Arc<AtomicUsize>,
        /// After the first failure nothing works any more, as after a crash.
        pub(crate) is_dead: bool,
        pub(crate) has_no_links: bool,
    }

    impl FailingDisk {
        /// From now on so many operations succeed, and the next one fails.
        pub(crate) fn fail_after(&self, left: usize) {
            self.left.store(left, Ordering::Relaxed);
        }

        pub(crate) fn has_failed(&self) -> bool {
            self.left.load(Ordering::Relaxed) == 0
        }

        /// Operations so far.
        pub(crate) fn done(&self) -> usize {
            self.done.load(Ordering::Relaxed)
        }

        pub(crate) fn failing_at(number: usize, is_dead: bool) -> Self {
            Self {
                left: Arc::new(AtomicUsize::new(number)),
                is_dead,
                ..Self::default()
            }
        }

        fn step(&self) -> io::Result<()> {
            self.done.fetch_add(1, Ordering::Relaxed);
            match self.left.load(Ordering::Relaxed) {
                0 if self.is_dead => Err(io::Error::from(io::ErrorKind::StorageFull)),
                0 => Ok(()),
                1 => {
                    self.left.store(0, Ordering::Relaxed);
                    Err(io::Error::from(io::ErrorKind::StorageFull))
                }
                left => {
                    self.left.store(left - 1, Ordering::Relaxed);
                    Ok(())
                }
            }
        }
    }

    impl Disk for FailingDisk {
        fn read(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
            self.step()?;
            RealDisk.read(path, len_max)
        }

        fn read_begin(&self, path: &Path, len: u64, len_max: u64) -> io::Result<Vec<u8>> {
            self.step()?;
            RealDisk.read_begin(path, len, len_max)
        }

        fn read_unlinked(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
            self.step()?;
            RealDisk.read_unlinked(path, len_max)
        }

        fn make_folder(&self, path: &Path) -> io::Result<()> {
            self.step()?;
            RealDisk.make_folder(path)
        }

        fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            if let Err(error) = self.step() {
                let (half, _) = bytes.split_at(bytes.len() / 2);
                let _ = RealDisk.write_new(path, half);
                return Err(error);
            }
            RealDisk.write_new(path, bytes)
        }

        fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step()?;
            if self.has_no_links {
                return Err(io::Error::from(io::ErrorKind::Unsupported));
            }
            RealDisk.link(from, to)
        }

        fn restrict(&self, path: &Path) -> io::Result<()> {
            self.step()?;
            RealDisk.restrict(path)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step()?;
            RealDisk.rename(from, to)
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.step()?;
            RealDisk.remove(path)
        }

        fn sync_folder(&self, path: &Path) -> io::Result<()> {
            self.step()?;
            RealDisk.sync_folder(path)
        }
    }

    #[test]
    fn a_replace_that_fails_anywhere_leaves_the_old_content_or_the_new() {
        for (is_dead, has_no_links) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let mut failures = 0;
            for number in 1.. {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("vault");
                fs::write(&path, "old").unwrap();
                let lock = Lock::take(&path).unwrap();
                let disk = FailingDisk {
                    has_no_links,
                    ..FailingDisk::failing_at(number, is_dead)
                };
                let result = replace(&disk, &lock, &path, b"new content");
                let content = fs::read(&path).unwrap();
                assert!(
                    content == b"old" || content == b"new content",
                    "operation {number}"
                );
                if result.is_ok() {
                    assert_eq!(
                        (content.as_slice(), fs::read(previous_of(&path)).unwrap()),
                        (&b"new content"[..], b"old".to_vec())
                    );
                }
                // Whatever was left behind does not stand in the way of the next save.
                replace(&RealDisk, &lock, &path, b"newer").unwrap();
                assert_eq!(
                    (
                        fs::read(&path).unwrap(),
                        fs::read(previous_of(&path)).unwrap()
                    ),
                    (b"newer".to_vec(), content)
                );
                if disk.done() < number {
                    break;
                }
                failures += usize::from(result.is_err());
            }
            assert!(failures >= 4, "{failures} operations can fail");
        }
    }

    #[test]
    fn files_and_folders_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        RealDisk.make_folder(&folder).unwrap();
        let path = folder.join("vault");
        let lock = Lock::take(&path).unwrap();
        replace(&RealDisk, &lock, &path, b"x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&RealDisk, &lock, &path, b"y").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir.path().join("a")), mode(&folder)), (0o700, 0o700));
        assert_eq!(
            (
                mode(&path),
                mode(&previous_of(&path)),
                mode(&beside(&path, ".lock"))
            ),
            (0o600, 0o600, 0o600)
        );
    }

    #[test]
    fn one_writes_at_a_time_and_a_writer_that_is_gone_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        let first = Lock::take(&path).unwrap();
        assert!(matches!(
            Lock::take_within(&path, Duration::from_millis(50)),
            Err(LockError::Busy)
        ));
        drop(first);
        Lock::take_within(&path, Duration::ZERO).unwrap();
        assert!(beside(&path, ".lock").exists(), "the lock file stays");
    }

    #[test]
    fn what_is_no_file_or_too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(RealDisk.read(dir.path(), 10).is_err());
        let pipe = dir.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        assert!(
            RealDisk.read(&pipe, 10).is_err(),
            "nobody writes to it, and it is not waited for"
        );
        let path = dir.path().join("file");
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(RealDisk.read(&path, 10).unwrap(), b"0123456789");
        assert_eq!(RealDisk.read_begin(&path, 4, 10).unwrap(), b"0123");
        assert_eq!(RealDisk.read_begin(&path, 20, 10).unwrap(), b"0123456789");
        assert_eq!(
            RealDisk.read_begin(&path, 4, 9).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        assert_eq!(
            RealDisk.read(&path, 9).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        assert_eq!(
            RealDisk
                .read(&dir.path().join("none"), 9)
                .unwrap_err()
                .kind(),
            io::ErrorKind::NotFound
        );
    }
}
