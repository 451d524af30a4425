//! How much room is left on the disk, and when that is too little for more accounts or larger
//! btokens.
//!
//! Devices that replace a btoken by one that is no longer always may: a disk that fills up must
//! stop newcomers first and a person's own vault last.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::files::{Disk, disk_of};
use parking_lot::Mutex;

/// How long an answer of the system counts.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct DiskSpace {
    folder: Option<PathBuf>,
    last: Mutex<Option<(Instant, Disk)>>,
}

impl DiskSpace {
    /// The room on the file system of this folder.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self {
            folder: folder.map(Path::to_owned),
            last: Mutex::default(),
        }
    }

    /// Less than the smaller of 20 % and 2 GiB is left.
    pub(super) fn is_low_for_creates(&self) -> bool {
        self.space()
            .is_some_and(|space| is_below(space, 5, 2 << 30))
    }

    /// Less than the smaller of 5 % and 512 MiB is left.
    pub(super) fn is_low_for_growth(&self) -> bool {
        self.space()
            .is_some_and(|space| is_below(space, 20, 512 << 20))
    }

    /// What the system said within the last second; none if it does not say, which is no reason to
    /// refuse.
    fn space(&self) -> Option<Disk> {
        let mut last = self.last.lock();
        if let Some((_, space)) = last.filter(|(asked, _)| asked.elapsed() < FRESH) {
            return Some(space);
        }
        let disk = disk_of(self.folder.as_deref()?).ok()?;
        *last = Some((Instant::now(), disk));
        Some(disk)
    }
}

fn is_below(disk: Disk, part: u64, most: u64) -> bool {
    disk.free < (disk.size / part).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_a_share_and_a_size_counts() {
        let gib = 1 << 30;
        let is_low = |free, size| is_below(Disk { free, size }, 5, 2 * gib);
        assert!(is_low(gib, 100 * gib));
        assert!(!is_low(2 * gib, 100 * gib));
        assert!(is_low(gib - 1, 5 * gib));
        assert!(!is_low(gib, 5 * gib));
        assert!(!is_low(0, 0), "a system that does not know");
    }

    #[test]
    fn a_folder_that_is_gone_refuses_nobody() {
        let disk = DiskSpace::new(Some(Path::new("/nowhere/at/all")));
        assert!(!disk.is_low_for_creates() && !disk.is_low_for_growth());
    }
}
