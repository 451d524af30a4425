//! What this process takes of the machine.

use std::fs;
#[cfg(target_os = "linux")]
use std::path::Path;

use rustix::process::{Resource, getrlimit};

/// Memory and file descriptors of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Process {
    /// Bytes of memory in RAM.
    pub(crate) resident: u64,
    /// Open file descriptors, and the most that the system allows.
    pub(crate) descriptors: u64,
    pub(crate) descriptors_max: u64,
}

impl Process {
    /// This process now; `None` where the system does not tell.
    #[cfg(target_os = "linux")]
    pub(crate) fn now() -> Option<Self> {
        let this = Path::new("/proc/self");
        let sizes = fs::read_to_string(this.join("statm")).ok()?;
        let pages: u64 = sizes.split(' ').nth(1)?.parse().ok()?;
        let descriptors = fs::read_dir(this.join("fd")).ok()?.count();
        Some(Self {
            resident: pages * rustix::param::page_size() as u64,
            // The folder that was read is one of them.
            descriptors: descriptors.saturating_sub(1) as u64,
            descriptors_max: descriptors_max(),
        })
    }

    /// This process now; `None` where the system does not tell.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn now() -> Option<Self> {
        Some(Self {
            resident: 0,
            descriptors: fs::read_dir("/dev/fd").ok()?.count().saturating_sub(1) as u64,
            descriptors_max: descriptors_max(),
        })
    }
}

fn descriptors_max() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_memory_and_descriptors() {
        let before = Process::now().unwrap();
        assert!(before.resident > 1 << 20, "{before:?}");
        let file = fs::File::open("/dev/null").unwrap();
        let after = Process::now().unwrap();
        // Other tests of this process open files meanwhile.
        assert!(
            after.descriptors > 3 && after.descriptors < after.descriptors_max,
            "{after:?}"
        );
        drop(file);
    }
}
