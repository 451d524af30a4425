//! Servers that run on this machine, and which data dir each has. A command that is given the wrong
//! data dir finds nothing, and finds out here where the server is.
//!
//! A server keeps `server.lock` in its data dir open. Only root sees the files of another process.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::files::{FileId, folder_of, with_suffix};
use crate::server::DATA_DIR_LOCK;
use crate::text::printable;

/// The name of this program, as the system keeps it for a process.
const PROGRAM: &str = "passmate-server";
/// How much is read of a command line, in bytes.
const COMMAND_LEN_MAX: u64 = 4096;
/// The most servers that are named.
const NAMED_MAX: usize = 5;

/// The servers that run with another data dir. None if one runs with the data dir of this
/// configuration, or no server can be seen.
pub(super) fn elsewhere(config: &Config) -> Option<RunningElsewhere> {
    let own = own_locks(config);
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
        let locks = open_locks(&path);
        if locks.iter().any(|(_, id)| own.contains(id)) {
            return None;
        }
        let data_dir = locks.into_iter().next().map(|(path, _)| path);
        servers.push(RunningServer { pid, data_dir });
    }
    // Where the files of the others cannot be seen, one of them may be that of this configuration.
    let is_seen = servers.iter().all(|server| server.data_dir.is_some());
    if servers.is_empty() || (!is_seen && is_locked(config)) {
        return None;
    }
    servers.sort_by_key(|server| server.pid);
    Some(RunningElsewhere(servers))
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
    let read = |name: &str| {
        let mut bytes = Vec::new();
        let file = File::open(process.join(name)).ok()?;
        file.take(COMMAND_LEN_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let is_ours = read("comm").is_some_and(|name| name.trim_ascii() == PROGRAM.as_bytes());
    is_ours
        && read("cmdline").is_some_and(|words| {
            let mut words = words.split(|byte| *byte == 0);
            words.any(|word| word == b"serve")
        })
}

/// The data dirs whose lock a process has open.
fn open_locks(process: &Path) -> Vec<(PathBuf, FileId)> {
    let files = fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    files
        .filter_map(|file| {
            let path = fs::read_link(file.path()).ok()?;
            let is_lock = path.file_name()? == DATA_DIR_LOCK;
            let id = is_lock.then(|| FileId::of(&file.path()).ok())??;
            Some((folder_of(&path).to_owned(), id))
        })
        .collect()
}

fn own_locks(config: &Config) -> Vec<FileId> {
    lock_paths(config)
        .iter()
        .filter_map(|path| FileId::of(path).ok())
        .collect()
}

/// The locks that a server of this configuration holds.
fn lock_paths(config: &Config) -> Vec<PathBuf> {
    let of_store = config.store.file().map(|file| with_suffix(file, ".lock"));
    let of_data_dir = config.data_dir.join(DATA_DIR_LOCK);
    of_store.into_iter().chain([of_data_dir]).collect()
}

/// Whether another process holds a lock of this configuration.
fn is_locked(config: &Config) -> bool {
    lock_paths(config).iter().any(|path| {
        File::open(path)
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_that_a_process_has_open_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let of_self = || open_locks(Path::new("/proc/self"));
        let config = Config::new(dir.path());
        assert!(own_locks(&config).is_empty());
        let lock = File::create(dir.path().join(DATA_DIR_LOCK)).unwrap();
        let found = of_self();
        assert_eq!(found[0].0, dir.path().canonicalize().unwrap());
        assert_eq!(own_locks(&config), [found[0].1]);
        assert!(!is_locked(&config));
        lock.lock().unwrap();
        assert!(is_locked(&config));
        drop(lock);
        assert!(of_self().is_empty());
        assert!(!is_server(Path::new("/proc/self")));
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
