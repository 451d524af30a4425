//! The log of uses: what an agent handed out, to which program, and what it refused. It is a file
//! beside the vault, and each entry is sealed under the vault's [`LogKey`]. The rules are:
//!  - it stays on this device;
//!  - it has no values of fields;
//!  - it is bounded: the oldest entries go first;
//!  - a program of the same user can delete it, or its end. It is for finding out what happened, and
//!    no proof against such a program.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use getrandom::SysRng;
use passmate_vault::LogKey;
use passmate_vault::format::btoken;
use rand_core::UnwrapErr;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// The file is shortened when it is longer, in bytes. An entry takes about 4 KiB.
const FILE_LEN_MAX: u64 = 8 << 20;
/// How many bytes are left of it then, at most.
const KEPT_LEN_MAX: usize = 4 << 20;
/// The longest entry, sealed, in bytes.
const ENTRY_LEN_MAX: usize = 64 << 10;
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
    /// The paths of the records; empty for the whole vault.
    pub records: Vec<String>,
    /// The program, with its process and its parents.
    pub by: String,
    /// Why, as the program says.
    pub reason: Option<String>,
    /// Whether it was allowed.
    pub allowed: bool,
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
        shorten(&path)?;
        file = open(&path, OpenOptions::new().append(true).create(true))?;
    }
    // One write, so that two agents do not mix their entries.
    file.write_all(&[&len.to_be_bytes(), sealed.as_slice()].concat())
}

/// The entries that the key opens, the oldest first.
///
/// # Errors
/// The system's error. A file that is missing has no entries.
pub fn read(vault: &Path, key: &LogKey) -> io::Result<Vec<UseEntry>> {
    let file = match open(&log_of(vault), OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(2 * FILE_LEN_MAX).read_to_end(&mut bytes)?;
    let opened = frames(&bytes).filter_map(|sealed| {
        let text = btoken::open(sealed, key).ok()?;
        serde_json::from_slice(text.trim_ascii_end()).ok()
    });
    Ok(opened.collect())
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    options.mode(0o600).custom_flags(no_link).open(path)
}

/// The sealed entries of a file. What follows an entry that was cut off is left out.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let (sealed, rest) = rest
            .split_at_checked(len)
            .filter(|_| len <= ENTRY_LEN_MAX)?;
        bytes = rest;
        Some(sealed)
    })
}

/// Keeps the newest entries.
fn shorten(path: &Path) -> io::Result<()> {
    let mut bytes = Vec::new();
    let file = open(path, OpenOptions::new().read(true))?;
    file.take(2 * FILE_LEN_MAX).read_to_end(&mut bytes)?;
    let all: Vec<_> = frames(&bytes).collect();
    let mut left = KEPT_LEN_MAX;
    let newest = all.iter().rev().take_while(|sealed| {
        let fits = sealed.len() + 4 <= left;
        left = left.saturating_sub(sealed.len() + 4);
        fits
    });
    let count = newest.count();
    let kept = all.iter().skip(all.len() - count);
    let folder = crate::disk::folder_of(path);
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    for sealed in kept {
        let len = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        new.write_all(&len.to_be_bytes())?;
        new.write_all(sealed)?;
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

    #[test]
    fn entries_come_back_under_their_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (vault, own) = (dir.path().join("vault.pmdb"), key());
        assert!(read(&vault, &own).unwrap().is_empty());
        append(&vault, &own, &entry(1)).unwrap();
        append(&vault, &key(), &entry(2)).unwrap();
        append(&vault, &own, &entry(3)).unwrap();
        assert_eq!(read(&vault, &own).unwrap(), [entry(1), entry(3)]);
        let bytes = fs::read(log_of(&vault)).unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"web/bank"));
        // A crash cut the last one off.
        fs::write(log_of(&vault), &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(read(&vault, &own).unwrap(), [entry(1)]);
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
        let left = read(&vault, &own).unwrap();
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
