//! The free space on the store's disk, and whether it is enough for more accounts or larger
//! btokens. A btoken that does not grow may always be replaced.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::files::{Disk, disk_of};
use crate::health::{free_min_for_creates, free_min_for_growth};

/// How long an answer of the system is used.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct DiskSpace {
    /// None if the store is not on this machine.
    folder: Option<PathBuf>,
    last: Mutex<Option<(Instant, Disk)>>,
}

impl DiskSpace {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self {
            folder: folder.map(Path::to_owned),
            last: Mutex::default(),
        }
    }

    pub(super) fn is_low_for_creates(&self) -> bool {
        self.disk()
            .is_some_and(|disk| disk.free < free_min_for_creates(disk))
    }

    pub(super) fn is_low_for_growth(&self) -> bool {
        self.disk()
            .is_some_and(|disk| disk.free < free_min_for_growth(disk))
    }

    /// What the system said within the last second. None if it says nothing, which is no reason to
    /// refuse a change.
    fn disk(&self) -> Option<Disk> {
        let folder = self.folder.as_deref()?;
        let mut last = self.last.lock();
        if let Some((_, disk)) = last.filter(|(asked, _)| asked.elapsed() < FRESH) {
            return Some(disk);
        }
        let disk = disk_of(folder).ok()?;
        *last = Some((Instant::now(), disk));
        Some(disk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_disk_refuses_nobody() {
        for folder in [None, Some(Path::new("/nowhere/at/all"))] {
            let disk = DiskSpace::new(folder);
            assert!(!disk.is_low_for_creates() && !disk.is_low_for_growth());
        }
    }
}
