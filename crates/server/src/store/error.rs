//! What goes wrong in a store.

use std::path::PathBuf;

/// Why an engine could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// There is no room for it. Nothing of the batch took place.
    #[error("the disk is full")]
    Full,
    /// Another process holds the store for the moment. Nothing of the batch took place.
    #[error("the store is busy")]
    Busy,
    /// What was read is not what was stored.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Anything else, an I/O error or a failed fsync among it. After a commit nobody can say what
    /// took place.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Why a store cannot be opened, or could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another server uses it.
    #[error("{} is in use by another server", path.display())]
    InUse {
        /// What is locked.
        path: PathBuf,
    },
    /// A restore is about to replace it.
    #[error("the store is being restored, which locks {}", path.display())]
    Restoring {
        /// What is locked.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no store at {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The server that uses it is older than this program, so it must not be changed now.
    #[error("{} is in use by a server that is older than this program", path.display())]
    OlderServer {
        /// The store.
        path: PathBuf,
    },
    /// A newer version of this program made it.
    #[error("{} has schema {found}, and this program knows schemas up to {known}", path.display())]
    NewerSchema {
        /// The store.
        path: PathBuf,
        /// The schema that is there.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// A database of another program.
    #[error("{} is a database, but not one of this program", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be opened or made.
    #[error("cannot open the store {}: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system or the engine says.
        cause: String,
    },
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store was closed, or failed before.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "stop the other server, or give this one another --data-dir",
            Self::Restoring { .. } => "wait until the restore has ended",
            Self::Missing { .. } => {
                "give --data-dir or --store as `passmate-server serve` gets it, or start the server once"
            }
            Self::OlderServer { .. } => "start the server again with this version",
            Self::NewerSchema { .. } => {
                "run the newer passmate-server, or restore the backup from before its upgrade"
            }
            Self::NotOurs { .. } => "give another --store",
            Self::Open { .. } => {
                "look at the owner and mode of the file and of its folder, and at the disk"
            }
            Self::Engine(EngineError::Full) => "make room on the disk",
            Self::Engine(EngineError::Busy) => "another program holds the database: end it",
            Self::Engine(EngineError::Damaged(_)) => "stop the server and restore a backup",
            Self::Engine(EngineError::Failed(_)) => {
                "look at the disk and the system's log, then start the server again"
            }
            Self::Closed => "start the server again",
        }
    }
}
