//! What keeps an unlocked vault out of reach of other programs of the same user, and off the disk.

/// Takes from this process what could carry its memory elsewhere: core dumps, and debuggers that
/// are attached. Called before anything secret is read. What the system does not know or allow is
/// left as it is.
pub fn harden() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    );
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Keeps the memory of this process out of swap, if the system lets it lock as much as it likes. With
/// a limit it does not try, because no memory would be had beyond it, and a key derivation needs 128
/// MiB.
pub fn keep_out_of_swap() {
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::{MlockAllFlags, mlockall};
        use rustix::process::{Resource, getrlimit};
        // What is mapped and never used, such as most of the stacks of threads, stays free.
        let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
        if getrlimit(Resource::Memlock).current.is_none() {
            let _ = mlockall(all);
        }
    }
}
