//! Servers that run on this machine, and which data dir each has. A command that is given the wrong
//! data dir finds nothing, and finds out here where the server is.
//!
//! A server keeps `server.lock` in its data dir open and locked. Everybody sees which files are
//! locked, by number; only root sees the names of the files of another process.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::files::{folder_of, with_suffix};
use crate::server::DATA_DIR_LOCK;
use crate::text::printable;

/// The name of this program, as the system keeps it for a process.
const PROGRAM: &str = "passmate-server";
/// How much is read of a command line, in bytes.
const COMMAND_LEN_MAX: u64 = 4096;
/// How much is read of the list of locks, in bytes.
const LOCKS_LEN_MAX: u64 = 4 << 20;
/// The most servers that are named.
const NAMED_MAX: usize = 5;

/// The servers that run with another data dir. None if one runs with the data dir of this
/// configuration, or no server can be seen.
pub(super) fn elsewhere(config: &Config) -> Option<RunningElsewhere> {
    if is_locked(config) {
        return None;
    }
    let mut servers = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(pid) = pid.filter(|pid| *pid != std::process::id() && is_server(&path)) else {
            continue;
        };
        let data_dir = open_locks(&path).into_iter().next();
        servers.push(RunningServer { pid, data_dir });
    }
    servers.sort_by_key(|server: &RunningServer| server.pid);
    (!servers.is_empty()).then_some(RunningElsewhere(servers))
}

/// Servers with another data dir, at least one.
#[derive(Debug)]
pub(super) struct RunningElsewhere(Vec<RunningServer>);

#[derive(Debug)]
struct RunningServer {
    pid: u32,
    /// None if this user cannot see it.
    data_dir: Option<PathBuf>,
}

impl fmt::Display for RunningElsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, server) in self.0.iter().take(NAMED_MAX).enumerate() {
            f.write_str(if place == 0 { "" } else { ", " })?;
            match &server.data_dir {
                Some(data_dir) => f.write_str(&printable(&data_dir.display().to_string()))?,
                None => f.write_str("a data dir that only root can see")?,
            }
            write!(f, " (process {})", server.pid)?;
        }
        match self.0.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Whether a process is a server, and not a command of an operator.
fn is_server(process: &Path) -> bool {
    let read = |name: &str| read(&process.join(name), COMMAND_LEN_MAX);
    let is_ours = read("comm").is_some_and(|name| name.trim_ascii() == PROGRAM.as_bytes());
    is_ours
        && read("cmdline").is_some_and(|words| {
            let mut words = words.split(|byte| *byte == 0);
            words.any(|word| word == b"serve")
        })
}

/// The data dirs whose lock a process has open.
fn open_locks(process: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    files
        .filter_map(|file| {
            let path = fs::read_link(file.path()).ok()?;
            (path.file_name()? == DATA_DIR_LOCK).then(|| folder_of(&path).to_owned())
        })
        .collect()
}

/// Whether a process holds a lock that a server of this configuration holds. To take the lock would
/// tell too, but a server that starts at that moment would find it taken.
fn is_locked(config: &Config) -> bool {
    let of_store = config.store.file().map(|file| with_suffix(file, ".lock"));
    let of_data_dir = config.data_dir.join(DATA_DIR_LOCK);
    let paths = of_store.into_iter().chain([of_data_dir]);
    let own: Vec<u64> = paths
        .filter_map(|path| Some(fs::metadata(path).ok()?.ino()))
        .collect();
    let locks = read(Path::new("/proc/locks"), LOCKS_LEN_MAX).unwrap_or_default();
    String::from_utf8_lossy(&locks)
        .lines()
        .filter_map(locked_inode)
        .any(|inode| own.contains(&inode))
}

/// The number of the file that a line of `/proc/locks` is about. The number of its device is not
/// compared, because some file systems give another one to programs.
fn locked_inode(line: &str) -> Option<u64> {
    let file = line
        .split_whitespace()
        .find(|word| word.matches(':').count() == 2)?;
    file.rsplit(':').next()?.parse().ok()
}

fn read(path: &Path, len_max: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(len_max).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_that_a_process_has_open_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let of_self = || open_locks(Path::new("/proc/self"));
        let config = Config::new(dir.path());
        assert!(!is_locked(&config));
        let lock = File::create(dir.path().join(DATA_DIR_LOCK)).unwrap();
        assert_eq!(of_self(), [dir.path().canonicalize().unwrap()]);
        assert!(!is_locked(&config));
        lock.lock().unwrap();
        assert!(is_locked(&config));
        drop(lock);
        assert!(of_self().is_empty());
        assert!(!is_locked(&config));
        assert!(!is_server(Path::new("/proc/self")));
    }

    #[test]
    fn a_line_of_locks_names_its_file() {
        let line = "2: FLOCK  ADVISORY  WRITE 9322 fe:01:131077 0 EOF";
        assert_eq!(locked_inode(line), Some(131_077));
        let waits = "2: -> FLOCK  ADVISORY  WRITE 9322 00:2f:77 0 EOF";
        assert_eq!(locked_inode(waits), Some(77));
        for other in ["", "1:", "a:b:c"] {
            assert_eq!(locked_inode(other), None);
        }
    }

    #[test]
    fn five_servers_are_named_and_no_terminal_is_controlled() {
        let server = |pid| RunningServer {
            pid,
            data_dir: (pid < 3).then(|| PathBuf::from(format!("/d\u{1b}/{pid}"))),
        };
        let shown = RunningElsewhere((1..=7).map(server).collect()).to_string();
        assert!(
            shown.starts_with(r"/d\u{1b}/1 (process 1), /d\u{1b}/2 (process 2), a data dir that")
                && shown.ends_with("(process 5) and 2 more"),
            "{shown}"
        );
    }
}
