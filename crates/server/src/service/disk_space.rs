//! The free space on the store's disk, and whether it is enough for more accounts or larger
//! btokens. A btoken that does not grow may always be replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::files::{Disk, disk_of};
use crate::health::{free_min_for_creates, free_min_for_growth};

/// How long an answer of the system is used.
const FRESH: Duration = Duration::from_secs(1);
/// How long the system may take to answer. A disk that hangs must not delay whoever asks.
const ASK_TIME_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct DiskSpace {
    /// None if the store is not on this machine.
    folder: Option<PathBuf>,
    last: Arc<Mutex<LastAnswer>>,
}

#[derive(Debug, Default)]
struct LastAnswer {
    at: Option<Instant>,
    disk: Option<Disk>,
    /// A thread of the blocking pool is asking. A second one would only hang beside it.
    is_asking: bool,
}

impl DiskSpace {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self {
            folder: folder.map(Path::to_owned),
            last: Arc::default(),
        }
    }

    pub(super) async fn is_low_for_creates(&self) -> bool {
        let disk = self.disk(disk_of).await;
        disk.is_some_and(|disk| disk.free < free_min_for_creates(disk))
    }

    pub(super) async fn is_low_for_growth(&self) -> bool {
        let disk = self.disk(disk_of).await;
        disk.is_some_and(|disk| disk.free < free_min_for_growth(disk))
    }

    /// What the system said within the last second, or the last time that it answered. None if it
    /// never did, which is no reason to refuse a change.
    async fn disk(
        &self,
        ask: impl FnOnce(&Path) -> std::io::Result<Disk> + Send + 'static,
    ) -> Option<Disk> {
        let folder = self.folder.clone()?;
        {
            let mut last = self.last.lock();
            if last.is_asking || last.at.is_some_and(|at| at.elapsed() < FRESH) {
                return last.disk;
            }
            last.is_asking = true;
        }
        let told = Arc::clone(&self.last);
        let asking = tokio::task::spawn_blocking(move || {
            let answer = ask(&folder).ok();
            let mut last = told.lock();
            last.is_asking = false;
            last.at = Some(Instant::now());
            last.disk = answer;
        });
        let _ = tokio::time::timeout(ASK_TIME_MAX, asking).await;
        self.last.lock().disk
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn an_unknown_disk_refuses_nobody() {
        for folder in [None, Some(Path::new("/nowhere/at/all"))] {
            let disk = DiskSpace::new(folder);
            assert!(!disk.is_low_for_creates().await && !disk.is_low_for_growth().await);
        }
    }

    #[tokio::test]
    async fn a_disk_that_hangs_delays_nobody_for_long() {
        let space = DiskSpace::new(Some(Path::new("/")));
        let (answer, answered) = mpsc::channel();
        let hangs = move |_: &Path| Ok(answered.recv().unwrap());
        assert_eq!(space.disk(hangs).await, None);
        // Others do not ask meanwhile.
        assert_eq!(space.disk(|_| panic!("it is being asked")).await, None);
        let full = Disk { free: 1, size: 100 };
        answer.send(full).unwrap();
        while space.last.lock().is_asking {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            space.disk(|_| panic!("the answer is fresh")).await,
            Some(full)
        );
    }
}
