//! What goes wrong in a store.

use std::io;
use std::path::PathBuf;

/// Why an engine could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// There is no space for the batch. Nothing of it took place.
    #[error("the disk is full")]
    Full,
    /// Another process holds the store at the moment. Nothing of the batch took place.
    #[error("the store is busy")]
    Busy,
    /// The bytes that were read are not those that were stored.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The database cannot be reached, or refuses to work. Nothing of the batch took place.
    #[error("the database cannot be used: {0}")]
    Unavailable(String),
    /// Any other failure, such as an I/O error or a failed fsync. After a commit it is unknown
    /// what took place.
    #[error("the store failed: {0}")]
    Failed(String),
    /// The path of the store names another file, or none: nobody would find what is stored.
    #[error("{} was moved, deleted or replaced while the server used it", .0.display())]
    Moved(PathBuf),
}

impl EngineError {
    /// Whether nothing more may be confirmed, so that the process must end.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Moved(_))
    }
}

/// Why a store cannot be opened, or could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} is in use by another server", path.display())]
    InUse {
        /// The locked file.
        path: PathBuf,
    },
    #[error("the store is being restored, which locks {}", path.display())]
    Restoring {
        /// The locked file.
        path: PathBuf,
    },
    #[error("there is no store at {}", path.display())]
    Missing { path: PathBuf },
    #[error("there is no store in the database {store}")]
    NoDatabase { store: String },
    /// An operator command needs a newer schema, and only a server upgrades it.
    #[error("the store has schema {found}, and this command needs {needed}")]
    OlderSchema { found: i64, needed: i64 },
    #[error(
        "{} has schema {found}{}, but this program, passmate-server {}, supports schemas up to \
         {known}",
        path.display(),
        program.as_ref().map(|version| format!(" of passmate-server {version}")).unwrap_or_default(),
        env!("CARGO_PKG_VERSION")
    )]
    NewerSchema {
        path: PathBuf,
        found: i64,
        known: i64,
        /// The version of the program that made the schema.
        program: Option<String>,
    },
    #[error("{} is a database of another program", path.display())]
    NotOurs { path: PathBuf },
    #[error("cannot open the store {}: {cause}", path.display())]
    Open { path: PathBuf, cause: String },
    #[error("the file system of {} is read-only", path.display())]
    ReadOnly { path: PathBuf },
    #[error("{store} has accounts already")]
    NotEmpty { store: String },
    /// A migration or a restore has not ended.
    #[error("{store} has taken in only a part of another store")]
    Unfinished { store: String },
    /// A database server could lose what it confirms.
    #[error("the database {store} does not keep what it confirms: {cause}")]
    NotDurable { store: String, cause: String },
    #[error("a store in PostgreSQL cannot {what}")]
    NotOfPostgres {
        what: &'static str,
        instead: &'static str,
    },
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The connection to the database was lost while it committed.
    #[error("the database did not say whether the change took place")]
    OutcomeUnknown,
    /// [`Store::close`](super::Store::close) was called.
    #[error("the store is closed")]
    Closed,
    /// The writer thread has ended without an answer, so the outcome of the change is unknown.
    #[error("the store's writer thread has ended")]
    WriterEnded,
    /// A read panicked or was cancelled.
    #[error("a read of the store was aborted")]
    ReadAborted,
}

impl StoreError {
    /// A file of the store cannot be opened, made or replaced.
    pub(super) fn cannot_open(path: PathBuf, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            _ => Self::Open {
                path,
                cause: error.to_string(),
            },
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "stop the other server, or give this one another --data-dir",
            Self::Restoring { .. } => "wait until the restore has ended",
            Self::Missing { .. } => {
                "give --data-dir or --store as `passmate-server serve` gets it, or start the \
                 server once"
            }
            Self::NoDatabase { .. } => {
                "give --store as `passmate-server serve` gets it, or start the server once"
            }
            Self::OlderSchema { .. } => {
                "start the server once with this version, or restart it: it upgrades the store"
            }
            Self::NewerSchema { .. } => {
                "run that version or a newer one; this one reads the store again after you restore \
                 the backup that was made before the upgrade"
            }
            Self::NotOurs { .. } => "give another --store",
            Self::Open { .. } => {
                "check the owner and mode of the file and of its folder, and the disk"
            }
            Self::ReadOnly { .. } => {
                "the system makes it read-only when the disk fails: look at its log (`journalctl \
                 -k`), copy the data dir to another disk, and give the copy with --data-dir"
            }
            Self::NotEmpty { .. } => {
                "give an empty database, so that nothing is overwritten; nothing was changed"
            }
            Self::Unfinished { .. } => {
                "repeat the `migrate-store` or `restore` that was interrupted, or begin anew with \
                 an empty database"
            }
            Self::NotDurable { .. } => {
                "turn the setting on, or add durability=unchecked to the URL of a store that may be \
                 lost, such as one for tests"
            }
            Self::Engine(EngineError::Unavailable(_)) => {
                "check that the database runs, that this machine reaches it, and the URL in --store"
            }
            Self::NotOfPostgres { instead, .. } => instead,
            Self::OutcomeUnknown => "look at the store before you repeat the change",
            Self::Engine(EngineError::Full) => "free some space on the disk",
            Self::Engine(EngineError::Busy) => {
                "another program holds the database: wait for it, or end it"
            }
            Self::Engine(EngineError::Damaged(_)) => {
                "`passmate-server verify` names the damage: delete the damaged account, or save \
                 what is whole with `backup --salvage` and restore it"
            }
            Self::Engine(EngineError::Failed(_)) | Self::WriterEnded | Self::ReadAborted => {
                "look at the system's log (`journalctl -k`) and the disk (`smartctl -a`), then start \
                 the server again"
            }
            Self::Engine(EngineError::Moved(_)) => {
                "put the data dir back where it was, or give its new place with --data-dir; then \
                 start the server again"
            }
            Self::Closed => "start the server again",
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_read_only_file_system_is_told_from_a_wrong_mode() {
        let error = |errno: Errno| StoreError::cannot_open("/x".into(), &errno.into());
        let read_only = error(Errno::ROFS);
        assert!(
            matches!(read_only, StoreError::ReadOnly { .. }),
            "{read_only}"
        );
        assert!(read_only.hint().contains("another disk"));
        assert!(matches!(error(Errno::ACCESS), StoreError::Open { .. }));
    }
}
