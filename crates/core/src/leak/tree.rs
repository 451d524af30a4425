//! Scans the files of a folder, and of the folders in it. The rules are:
//!  - every ordinary file is read, whatever its name is and whatever other programs ignore;
//!  - no link is followed but one that a person names, and no pipe, socket or device is read;
//!  - what cannot be read is told: without it nobody knows whether a value stands there.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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
                }
            } else if metadata.is_file() {
                let flags = if is_root {
                    NONBLOCK
                } else {
                    NONBLOCK | NOFOLLOW
                };
                let mut options = OpenOptions::new();
                let mut file = options.read(true).custom_flags(flags).open(&path)?;
                if is_file(&file, metadata.ino()) {
                    files += 1;
                    scanner.scan(&mut file, &mut |found| tell(Event::Found(&path, found)))?;
                }
            }
            Ok(())
        });
        if let Err(error) = scanned {
            tell(Event::Unreadable(&path, error));
        }
    }
    files
}

/// It may have been replaced since it was looked at.
fn is_file(file: &File, ino: u64) -> bool {
    let metadata = file.metadata();
    metadata.is_ok_and(|metadata| metadata.is_file() && metadata.ino() == ino)
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
