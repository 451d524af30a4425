//! The log of uses: what an agent handed out, to which program, and what it refused. It is a file
//! beside the vault, and each entry is sealed under the vault's [`LogKey`]. The rules are:
//!  - it stays on this device;
//!  - it has no values of fields;
//!  - it is bounded: the oldest entries go first;
//!  - an entry that is damaged hides no other: the next one is looked for;
//!  - a program of the same user can delete it, or its end. It is for finding out what happened, and
//!    no proof against such a program.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use getrandom::SysRng;
use passmate_vault::LogKey;
use passmate_vault::format::btoken::{self, BTOKEN_OVERHEAD, PAD_LEN};
use rand_core::UnwrapErr;
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The file is shortened when it is longer, in bytes. An entry takes about 4 KiB.
const FILE_LEN_MAX: u64 = 8 << 20;
/// How many bytes are left of it then, at most.
const KEPT_LEN_MAX: usize = 4 << 20;
/// The longest entry, sealed, in bytes.
const ENTRY_LEN_MAX: usize = 64 << 10;
/// How many bytes that look like entries and are none are tried to open, so that a file that
/// somebody made for it keeps nobody waiting.
const TRIED_LEN_MAX: usize = 64 << 20;
/// The longest text of an entry, in bytes.
const TEXT_LEN_MAX: usize = 1024;
/// How many records an entry names.
const RECORDS_MAX: usize = 16;

/// A use of a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseEntry {
    /// When, in seconds since 1970.
    pub time: i64,
    /// What was done, such as `read`.
    pub what: String,
    /// The paths of the records, those that a person guards if the use is of the whole vault.
    pub records: Vec<String>,
    /// The program, with its process and its parents.
    pub by: String,
    /// Why, as the program says.
    pub reason: Option<String>,
    /// Whether it was allowed.
    pub allowed: bool,
}

/// What a log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseLog {
    /// The entries that the key opens, the oldest first.
    pub entries: Vec<UseEntry>,
    /// How many bytes are no such entries: they are damaged, or of another vault.
    pub unread_len: u64,
}

/// The log of the vault of this file.
#[must_use]
pub fn log_of(vault: &Path) -> PathBuf {
    let mut name = vault.as_os_str().to_owned();
    name.push(".log");
    name.into()
}

/// Adds an entry.
///
/// # Errors
/// The system's error.
pub fn append(vault: &Path, key: &LogKey, entry: &UseEntry) -> io::Result<()> {
    let entry = bounded(entry);
    let text = serde_json::to_vec(&entry).map_err(io::Error::other)?;
    let sealed = btoken::seal(&text, key, &mut UnwrapErr(SysRng));
    let len = u32::try_from(sealed.len()).map_err(io::Error::other)?;
    let path = log_of(vault);
    let mut file = open(&path, OpenOptions::new().append(true).create(true))?;
    if file.metadata()?.len() > FILE_LEN_MAX {
        shorten(&path, key)?;
        file = open(&path, OpenOptions::new().append(true).create(true))?;
    }
    // One write, so that two agents do not mix their entries.
    let frame = [&len.to_be_bytes(), sealed.as_slice()].concat();
    whole_or_nothing(&file, frame.len(), |mut file| file.write_all(&frame))
}

/// Takes back what a write of this length left behind when it failed, for example on a full disk.
fn whole_or_nothing(
    file: &File,
    len: usize,
    write: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let before = file.metadata()?.len();
    write(file).inspect_err(|_| {
        let full = before.saturating_add(len as u64);
        let is_ours = |found: u64| found > before && found < full;
        if file.metadata().is_ok_and(|found| is_ours(found.len())) {
            // What stays is passed over.
            let _ = file.set_len(before);
        }
    })
}

/// What the log holds for this key.
///
/// # Errors
/// The system's error. A file that is missing has no entries.
pub fn read(vault: &Path, key: &LogKey) -> io::Result<UseLog> {
    let file = match open(&log_of(vault), OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(UseLog::default()),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(2 * FILE_LEN_MAX).read_to_end(&mut bytes)?;
    let found = entries(&bytes, key);
    let read: usize = found.iter().map(|(place, _)| place.len()).sum();
    Ok(UseLog {
        unread_len: bytes.len().saturating_sub(read) as u64,
        entries: found.into_iter().map(|(_, entry)| entry).collect(),
    })
}

/// Opens a regular file. A link is not followed, and a pipe keeps nobody waiting.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let not_regular = || io::Error::other("it is not a regular file");
    let opened = options.mode(0o600).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        // A pipe that nobody reads.
        Some(Errno::NXIO) => not_regular(),
        _ => error,
    })?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(not_regular()),
    }
}

/// The entries that the key opens, each with its place in the file. Behind bytes that are no entry,
/// the next entry is looked for.
fn entries(bytes: &[u8], key: &LogKey) -> Vec<(Range<usize>, UseEntry)> {
    let mut found = Vec::new();
    let mut tried = 0;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(sealed) = first_sealed(rest) else {
            at += 1;
            continue;
        };
        let opened = btoken::open(sealed, key).ok();
        match opened.and_then(|text| serde_json::from_slice(text.trim_ascii_end()).ok()) {
            Some(entry) => {
                let end = at + LEN_LEN + sealed.len();
                found.push((at..end, entry));
                at = end;
            }
            None => {
                tried += sealed.len();
                if tried > TRIED_LEN_MAX {
                    break;
                }
                at += 1;
            }
        }
    }
    found
}

/// Bytes of the length before each entry.
const LEN_LEN: usize = 4;

/// What these bytes begin with, if it may be a sealed entry.
fn first_sealed(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk::<LEN_LEN>()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    let is_possible = len <= ENTRY_LEN_MAX
        && len > BTOKEN_OVERHEAD
        && (len - BTOKEN_OVERHEAD).is_multiple_of(PAD_LEN);
    rest.get(..len).filter(|_| is_possible)
}

/// Keeps the newest entries that the key opens.
fn shorten(path: &Path, key: &LogKey) -> io::Result<()> {
    let mut bytes = Vec::new();
    let file = open(path, OpenOptions::new().read(true))?;
    file.take(2 * FILE_LEN_MAX).read_to_end(&mut bytes)?;
    let all = entries(&bytes, key);
    let all: Vec<_> = all
        .into_iter()
        .filter_map(|(place, _)| bytes.get(place))
        .collect();
    let mut left = KEPT_LEN_MAX;
    let newest = all.iter().rev().take_while(|frame| {
        let fits = frame.len() <= left;
        left = left.saturating_sub(frame.len());
        fits
    });
    let count = newest.count();
    let kept = all.iter().skip(all.len() - count);
    let folder = crate::disk::folder_of(path);
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    for frame in kept {
        new.write_all(frame)?;
    }
    fs::rename(new.into_temp_path().keep()?, path)
}

/// The same, without what would make it endless.
fn bounded(entry: &UseEntry) -> UseEntry {
    let cut = |text: &str| {
        let end = text.floor_char_boundary(TEXT_LEN_MAX);
        text.get(..end).unwrap_or_default().to_owned()
    };
    UseEntry {
        time: entry.time,
        what: cut(&entry.what),
        records: entry
            .records
            .iter()
            .take(RECORDS_MAX)
            .map(|path| cut(path))
            .collect(),
        by: cut(&entry.by),
        reason: entry.reason.as_deref().map(cut),
        allowed: entry.allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: i64) -> UseEntry {
        UseEntry {
            time: number,
            what: "read".to_owned(),
            records: vec!["web/bank".to_owned()],
            by: "/usr/bin/node (process 5)".to_owned(),
            reason: Some("to deploy".to_owned()),
            allowed: number % 2 == 0,
        }
    }

    fn key() -> LogKey {
        LogKey::make(&mut UnwrapErr(SysRng))
    }

    fn entries_of(vault: &Path, key: &LogKey) -> Vec<UseEntry> {
        read(vault, key).unwrap().entries
    }

    #[test]
    fn entries_come_back_under_their_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (vault, own) = (dir.path().join("vault.pmdb"), key());
        assert_eq!(read(&vault, &own).unwrap(), UseLog::default());
        append(&vault, &own, &entry(1)).unwrap();
        append(&vault, &key(), &entry(2)).unwrap();
        append(&vault, &own, &entry(3)).unwrap();
        assert_eq!(entries_of(&vault, &own), [entry(1), entry(3)]);
        let bytes = fs::read(log_of(&vault)).unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"web/bank"));
        // A crash cut the last one off.
        fs::write(log_of(&vault), &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(entries_of(&vault, &own), [entry(1)]);
    }

    #[test]
    fn what_follows_half_an_entry_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (vault, own) = (dir.path().join("vault.pmdb"), key());
        append(&vault, &own, &entry(1)).unwrap();
        let whole = fs::read(log_of(&vault)).unwrap();
        for cut in [1, 3, 5, whole.len() / 2, whole.len() - 1] {
            fs::write(log_of(&vault), [&whole, &whole[..cut]].concat()).unwrap();
            append(&vault, &own, &entry(2)).unwrap();
            append(&vault, &own, &entry(3)).unwrap();
            let log = read(&vault, &own).unwrap();
            assert_eq!(log.entries, [entry(1), entry(2), entry(3)], "{cut}");
            assert_eq!(log.unread_len, cut as u64);
        }
    }

    #[test]
    fn a_write_that_fails_leaves_no_half_of_an_entry() {
        let dir = tempfile::tempdir().unwrap();
        let (vault, own) = (dir.path().join("vault.pmdb"), key());
        append(&vault, &own, &entry(1)).unwrap();
        let file = open(&log_of(&vault), OpenOptions::new().append(true)).unwrap();
        let len = file.metadata().unwrap().len();
        let full_disk = |mut file: &File| {
            file.write_all(&[0; 10])?;
            Err(io::ErrorKind::StorageFull.into())
        };
        assert!(whole_or_nothing(&file, 20, full_disk).is_err());
        assert_eq!(file.metadata().unwrap().len(), len);
    }

    #[test]
    fn a_pipe_in_the_place_of_the_log_keeps_nobody_waiting() {
        use rustix::fs::{CWD, Mode, mkfifoat};
        let dir = tempfile::tempdir().unwrap();
        let vault = dir.path().join("vault.pmdb");
        mkfifoat(CWD, log_of(&vault), Mode::RUSR | Mode::WUSR).unwrap();
        assert!(read(&vault, &key()).is_err());
        assert!(append(&vault, &key(), &entry(1)).is_err());
    }

    #[test]
    fn the_oldest_entries_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let (vault, own) = (dir.path().join("vault.pmdb"), key());
        let mut count = 0;
        while log_of(&vault).metadata().map_or(0, |found| found.len()) <= FILE_LEN_MAX {
            append(&vault, &own, &entry(count)).unwrap();
            count += 1;
        }
        append(&vault, &own, &entry(count)).unwrap();
        let left = entries_of(&vault, &own);
        assert!(left.len() < usize::try_from(count).unwrap() * 2 / 3);
        assert_eq!(left.last().unwrap(), &entry(count));
    }

    #[test]
    fn a_link_in_the_place_of_the_log_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (vault, target) = (dir.path().join("vault.pmdb"), dir.path().join("x"));
        fs::write(&target, "x").unwrap();
        std::os::unix::fs::symlink(&target, log_of(&vault)).unwrap();
        assert!(append(&vault, &key(), &entry(1)).is_err());
        assert_eq!(fs::read(target).unwrap(), b"x");
    }
}
