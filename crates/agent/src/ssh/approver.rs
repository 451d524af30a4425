//! Who asks for a signature, for what, and whether it is given.

use std::fmt;
use std::path::PathBuf;

use passmate_core::guard::Guarded;

use crate::peer::Peer;

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
    /// The record, if a person guards it.
    pub guarded: Option<Guarded>,
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

impl Purpose {
    /// What is done with the key, as in "wants to sign".
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Login {
                user,
                host_key: Some(host),
            } => format!("log in as {user} at the host with the key {host}, with"),
            Self::Login {
                user,
                host_key: None,
            } => format!("log in as {user} at a host that it does not name, with"),
            Self::Signature { namespace } => format!("sign something for {namespace} with"),
            Self::Unknown => "sign something with".to_owned(),
        }
    }
}

impl fmt::Debug for dyn Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Approver")
    }
}
