//! Who asks for a signature, for what, and whether it is given.

use std::fmt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// The process on the other side of the socket, as the system names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its number. It may belong to another process once this one has ended.
    pub pid: Option<i32>,
    /// Its program.
    pub program: Option<PathBuf>,
}

impl Peer {
    /// The process that made this connection.
    #[must_use]
    pub fn of(stream: &UnixStream) -> Self {
        let pid = pid_of(stream);
        let program = pid.and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
        Self { pid, program }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn pid_of(stream: &UnixStream) -> Option<i32> {
    let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
    Some(peer.pid.as_raw_nonzero().get())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn pid_of(_: &UnixStream) -> Option<i32> {
    None
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// A login at a host.
    Login {
        /// The user there.
        user: String,
        /// The fingerprint of the host's key, if the client has proved that it is connected to it.
        host_key: Option<String>,
    },
    /// A signature of a file or a commit.
    Signature {
        /// What kind of signature it is: `git` for commits, `file` for files.
        namespace: String,
    },
    /// Something else.
    Unknown,
}

/// A use of a key that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Who asks.
    pub peer: Peer,
    /// The vault of the key.
    pub vault: PathBuf,
    /// The path of its record.
    pub record: String,
    /// The fingerprint of the key.
    pub fingerprint: String,
    /// What is signed.
    pub purpose: Purpose,
    /// The client hands on what a program on another machine asks for.
    pub is_forwarded: bool,
}

/// Decides about each use of a key, and may ask a person. Other clients are served meanwhile.
pub trait Approver: Send + Sync {
    /// Whether the key is used.
    fn approves(&self, used: &Use) -> bool;
}

/// Approves every use but those that come from another machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalUse;

impl Approver for LocalUse {
    fn approves(&self, used: &Use) -> bool {
        !used.is_forwarded
    }
}

impl fmt::Debug for dyn Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Approver")
    }
}
