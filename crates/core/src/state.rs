//! What this device remembers of its syncs: a small file beside the vault, without secrets and
//! without names.
//!
//! Losing or damaging it does no harm: the device then remembers no sync. Because of this file, a
//! sync without changes need not write the vault.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use passmate_sync::{Report, SyncErrorKind};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

/// Longest file read, in bytes.
const STATE_LEN_MAX: u64 = 64 * 1024;
/// The format's version.
const VERSION: u32 = 1;

/// What this device remembers of its syncs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// The last successful sync.
    pub last_sync: Option<LastSync>,
    /// The last try, whatever became of it.
    pub last_try: Option<LastTry>,
}

/// A successful sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSync {
    /// When, in Unix seconds.
    pub time: i64,
    /// Changes that came.
    pub received: usize,
    /// Changes that went.
    pub sent: usize,
    /// Conflicts that the merge resolved.
    #[serde(rename = "settled")]
    pub conflicts_resolved: usize,
    /// Changes that vault and server had in common then: all of both.
    pub common: usize,
    /// The longest btoken that the server takes, in bytes, if it stated that.
    pub btoken_len_max: Option<u32>,
}

/// A try to sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTry {
    /// When, in Unix seconds.
    pub time: i64,
    /// Why it failed; `None` if it succeeded.
    pub error: Option<SyncErrorKind>,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    last_sync: Option<LastSync>,
    last_try: Option<LastTry>,
}

impl State {
    /// The state that belongs to the vault at `vault`; an empty one if the file is not there or is
    /// no state.
    #[must_use]
    pub fn load(vault: &Path) -> Self {
        read(&path_of(vault)).unwrap_or_default()
    }

    /// Replaces the state that belongs to the vault at `vault`. Readable by nobody else.
    ///
    /// # Errors
    /// It could not be written; the file is as it was.
    pub fn save(&self, vault: &Path) -> io::Result<()> {
        let path = path_of(vault);
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let stored = Stored {
            version: VERSION,
            last_sync: self.last_sync,
            last_try: self.last_try,
        };
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&stored)?)?;
        file.persist(&path)?;
        Ok(())
    }

    /// Removes the state of a vault that has no server any more.
    ///
    /// # Errors
    /// It is there and could not be removed.
    pub fn forget(vault: &Path) -> io::Result<()> {
        match fs::remove_file(path_of(vault)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Remembers a sync that came through at `now`, in Unix seconds.
    pub fn note_synced(&mut self, now: i64, report: &Report) {
        self.last_sync = Some(LastSync {
            time: now,
            received: report.received,
            sent: report.sent,
            conflicts_resolved: report.conflicts_resolved,
            common: report.common,
            btoken_len_max: report.greeting.btoken_len_max(),
        });
        self.last_try = Some(LastTry {
            time: now,
            error: None,
        });
    }

    /// Remembers a try at `now`, in Unix seconds, that did not come through.
    pub fn note_failed(&mut self, now: i64, error: SyncErrorKind) {
        self.last_try = Some(LastTry {
            time: now,
            error: Some(error),
        });
    }
}

/// The vault's path with `.state` behind it.
#[must_use]
pub fn path_of(vault: &Path) -> PathBuf {
    let mut path = OsString::from(vault);
    path.push(".state");
    path.into()
}

fn read(path: &Path) -> Option<State> {
    // Reading a pipe would block.
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(STATE_LEN_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    let stored: Stored = serde_json::from_slice(&bytes).ok()?;
    let Stored {
        version,
        last_sync,
        last_try,
    } = stored;
    (version == VERSION).then_some(State {
        last_sync,
        last_try,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use passmate_sync::Greeting;

    fn synced() -> State {
        let greeting = Greeting {
            layout: None,
            banner: b"x\nbtoken-max 4096\n".to_vec(),
        };
        let report = Report {
            received: 1,
            sent: 2,
            conflicts_resolved: 3,
            common: 40,
            greeting,
            ..Report::default()
        };
        let mut state = State::default();
        state.note_synced(1_700_000_000, &report);
        state
    }

    #[test]
    fn what_was_remembered_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let vault = folder.path().join("vault.pmdb");
        assert_eq!(State::load(&vault), State::default());
        let mut state = synced();
        state.note_failed(1_700_000_100, SyncErrorKind::NotTrusted);
        state.save(&vault).unwrap();
        assert_eq!(State::load(&vault), state);
        assert_eq!(state.last_sync.unwrap().btoken_len_max, Some(4096));
        let text = fs::read_to_string(folder.path().join("vault.pmdb.state")).unwrap();
        assert!(text.contains("\"error\":\"not-trusted\""), "{text}");
        State::forget(&vault).unwrap();
        State::forget(&vault).unwrap();
        assert_eq!(State::load(&vault), State::default());
    }

    #[test]
    fn nobody_else_reads_the_state() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let vault = folder.path().join("v");
        synced().save(&vault).unwrap();
        assert_eq!(
            fs::metadata(path_of(&vault)).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_file_that_is_no_state_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let vault = folder.path().join("v");
        synced().save(&vault).unwrap();
        let good = fs::read(path_of(&vault)).unwrap();
        for cut in 0..good.len() {
            fs::write(path_of(&vault), good.get(..cut).unwrap()).unwrap();
            assert_eq!(State::load(&vault), State::default());
        }
        let newer = String::from_utf8(good)
            .unwrap()
            .replace("\"version\":1", "\"version\":2");
        for bad in [newer, "[".repeat(60_000), " ".repeat(70_000)] {
            fs::write(path_of(&vault), bad).unwrap();
            assert_eq!(State::load(&vault), State::default());
        }
    }
}
