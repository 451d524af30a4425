//! Who asks for a signature, for what, and whether it is given.

use std::fmt;
use std::path::PathBuf;

use passmate_core::guard::Guarded;

use crate::consent::quoted;
use crate::peer::Peer;

/// How much of a name is shown, in bytes.
const NAME_LEN_MAX: usize = 64;

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
    /// What is done with the key, as in "wants to sign". What the client chose is quoted, so that it
    /// is not read as a part of the sentence.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Login {
                user,
                host_key: Some(host),
            } => format!(
                "log in as {} at the host with the key {host}, with",
                named(user)
            ),
            Self::Login {
                user,
                host_key: None,
            } => format!(
                "log in as {} at a host that it does not name, with",
                named(user)
            ),
            Self::Signature { namespace } => {
                format!("sign something for {} with", named(namespace))
            }
            Self::Unknown => "sign something with".to_owned(),
        }
    }
}

/// A name that a client gave.
fn named(name: &str) -> String {
    quoted(name, NAME_LEN_MAX)
}

impl fmt::Debug for dyn Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Approver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_client_ends_no_sentence_and_acts_on_nothing() {
        const HOSTILE: &str = "git\n\u{1b}[2J\" with x. It says why: \"ok";
        let user = HOSTILE.to_owned();
        for host_key in [None, Some("SHA256:x".to_owned())] {
            let user = user.clone();
            let text = Purpose::Login { user, host_key }.text();
            assert!(
                text.starts_with(r#"log in as "git\n\u{1b}[2J' with x. It says why: 'ok" at"#),
                "{text}"
            );
        }
        let namespace = "x".repeat(100_000);
        let text = Purpose::Signature { namespace }.text();
        assert!(text.len() < 120, "{text}");
    }
}
