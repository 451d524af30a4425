//! What keeps an unlocked vault out of reach of other programs of the same user.

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
