//! Scans the files of a folder, and of the folders in it. The rules are:
//!  - every ordinary file is read, whatever its name is and whatever other programs ignore;
//!  - no link is followed but one that a person names, and no pipe is read but such a one. Sockets
//!    and devices are not read: some never end;
//!  - what a person names, and what cannot be read, is told if it was not read: without it nobody
//!    knows whether a value stands there.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::scan::{Finding, Scanner};

/// A pipe must not block.
const NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();
const NOFOLLOW: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// What a scan comes upon.
#[derive(Debug)]
pub enum Event<'p> {
    /// A value stands in a file.
    Found(&'p Path, Finding),
    /// A file or folder cannot be read.
    Unreadable(&'p Path, io::Error),
}

/// Scans a file, or all files of a folder in the order of their names. The answer is the number of
/// files that were read.
pub fn scan_tree(scanner: &Scanner, root: &Path, tell: &mut dyn FnMut(Event<'_>)) -> u64 {
    let mut files = 0;
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let is_root = path == root;
        let metadata = if is_root {
            fs::metadata(&path)
        } else {
            fs::symlink_metadata(&path)
        };
        let scanned = metadata.and_then(|metadata| {
            if metadata.is_dir() {
                // The system makes the files there up, and some never end.
                if !is_made_up(&path) {
                    waiting.extend(entries(&path, tell)?);
                } else if is_root {
                    return Err(not_read("the system makes up the files there"));
                }
            } else if let Some(flags) = flags(&metadata, is_root) {
                let mut options = OpenOptions::new();
                let mut file = options.read(true).custom_flags(flags).open(&path)?;
                if !is_same(&file, &metadata) {
                    return Err(not_read("it was replaced meanwhile"));
                }
                files += 1;
                scanner.scan(&mut file, &mut |found| tell(Event::Found(&path, found)))?;
            } else if is_root {
                return Err(not_read("it is a device or a socket"));
            }
            Ok(())
        });
        if let Err(error) = scanned {
            tell(Event::Unreadable(&path, error));
        }
    }
    files
}

/// How something is opened to be read; `None` if it is not read.
fn flags(metadata: &Metadata, is_root: bool) -> Option<i32> {
    match (metadata.file_type(), is_root) {
        (kind, true) if kind.is_file() => Some(NONBLOCK),
        (kind, false) if kind.is_file() => Some(NONBLOCK | NOFOLLOW),
        // Whoever names a pipe waits for what comes out of it, as of `<(git log -p)`.
        (kind, true) if kind.is_fifo() => Some(0),
        _ => None,
    }
}

/// It may have been replaced since it was looked at.
fn is_same(file: &File, looked_at: &Metadata) -> bool {
    file.metadata().is_ok_and(|metadata| {
        metadata.file_type() == looked_at.file_type() && metadata.ino() == looked_at.ino()
    })
}

fn not_read(why: &str) -> io::Error {
    io::Error::other(format!("{why}, so it is not read"))
}

/// The entries of a folder, the last first.
fn entries(folder: &Path, tell: &mut dyn FnMut(Event<'_>)) -> io::Result<Vec<PathBuf>> {
    let mut names: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(folder)? {
        match entry {
            Ok(entry) => names.push(entry.file_name()),
            Err(error) => tell(Event::Unreadable(folder, error)),
        }
    }
    names.sort_unstable();
    let paths = names.into_iter().rev().map(|name| folder.join(name));
    Ok(paths.collect())
}

#[cfg(target_os = "linux")]
fn is_made_up(folder: &Path) -> bool {
    /// What the system says of a mounted sysfs.
    const SYSFS: u64 = 0x6265_6572;
    let kind = rustix::fs::statfs(folder).map(|found| found.f_type);
    kind.is_ok_and(|kind| {
        kind == rustix::fs::PROC_SUPER_MAGIC || u64::try_from(kind).is_ok_and(|kind| kind == SYSFS)
    })
}

#[cfg(not(target_os = "linux"))]
fn is_made_up(_: &Path) -> bool {
    false
}
