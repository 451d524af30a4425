//! Which engine stores the accounts, and where. Everything else knows the engines only by their
//! contracts, so that a new engine is a folder, and a variant here.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::postgres::{EmptyPostgres, PostgresInspector, PostgresIntake, PostgresOperator};
use super::sqlite::{
    OfflineSqlite, SqliteInspector, SqliteIntake, SqliteOperator, lock_file, lock_path,
};
use super::transfer::Intake;
use super::{
    Actor, Inspector, OfflineStore, Operator, Postgres, PostgresUrl, Sqlite, Store, StoreError,
};
use crate::files::{folder_of, with_suffix};

/// The address of a store, such as `sqlite:/var/lib/passmate-server/passmate.db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A SQLite database in this file.
    Sqlite(PathBuf),
    /// A PostgreSQL database, which several servers may use.
    Postgres(Box<PostgresUrl>),
}

/// Why a text is not the address of a store. Never shows the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadStoreUrl {
    #[error("is not a store: write sqlite:PATH or postgres://USER@HOST/DATABASE")]
    NotAStore,
    #[error(
        "is not the address of a PostgreSQL database: write postgres://USER@HOST/DATABASE, and \
         `@`, `/` and `?` in a name or password as %40, %2F and %3F"
    )]
    NotPostgres,
    #[error("has a wrong value of {option}: {write}")]
    PostgresOption {
        option: &'static str,
        /// What to write instead.
        write: &'static str,
    },
    #[error("asks for a store in memory, which would lose every account at exit: give a path")]
    InMemory,
}

impl StoreUrl {
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite(path.into())
    }

    /// Opens the store for a server, or makes it; see [`Store::start`] for `on_fatal`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(
        &self,
        on_fatal: impl Fn(&StoreError) + Send + Sync + 'static,
    ) -> Result<Store, StoreError> {
        match self {
            Self::Sqlite(path) => Store::start(Sqlite::open(path)?, on_fatal),
            Self::Postgres(url) => Store::start(Postgres::open(url)?, on_fatal),
        }
    }

    /// Opens an existing store to change it as an operator. The schema stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none; others as in [`StoreError`].
    pub fn operator(&self, actor: Actor) -> Result<Box<dyn Operator>, StoreError> {
        match self {
            Self::Sqlite(path) => Ok(Box::new(SqliteOperator::open(path, actor)?)),
            Self::Postgres(url) => Ok(Box::new(PostgresOperator::open(url, actor)?)),
        }
    }

    /// Opens an existing store to look at it. The schema stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none; others as in [`StoreError`].
    pub fn inspector(&self) -> Result<Box<dyn Inspector>, StoreError> {
        match self {
            Self::Sqlite(path) => Ok(Box::new(SqliteInspector::open(path)?)),
            Self::Postgres(url) => Ok(Box::new(PostgresInspector::open(url)?)),
        }
    }

    /// Locks out servers and commands, so that the store can be replaced. A PostgreSQL database is
    /// not replaced: it must be empty.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if a server or a command uses the store.
    pub fn take_offline(&self) -> Result<Box<dyn OfflineStore>, StoreError> {
        match self {
            Self::Sqlite(path) => Ok(Box::new(OfflineSqlite::lock(path)?)),
            Self::Postgres(url) => Ok(Box::new(EmptyPostgres::find(url)?)),
        }
    }

    /// Opens a store to take in another one, or makes it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if a server uses it, where that is known; others as in [`StoreError`].
    pub(crate) fn intake(&self) -> Result<Box<dyn Intake>, StoreError> {
        match self {
            Self::Sqlite(path) => Ok(Box::new(SqliteIntake::open(path)?)),
            Self::Postgres(url) => Ok(Box::new(PostgresIntake::open(url)?)),
        }
    }

    /// Keeps servers from the store, until the file is closed. `None` if nobody can say on this machine
    /// whether a server uses it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if a server uses it.
    pub(crate) fn lock_out_servers(&self) -> Result<Option<File>, StoreError> {
        match self {
            Self::Sqlite(path) => lock_file(lock_path(path)).map(Some),
            Self::Postgres(_) => Ok(None),
        }
    }

    /// The file that holds the store, if it is a file of this machine.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// The folder that holds the store, if it is one of this machine.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.file().map(folder_of)
    }

    /// Bytes of the store's files on this machine.
    #[must_use]
    pub fn size_on_disk(&self) -> u64 {
        let len = |path: &Path| path.metadata().map_or(0, |file| file.len());
        match self {
            Self::Sqlite(path) => len(path) + len(&with_suffix(path, "-wal")),
            Self::Postgres(_) => 0,
        }
    }
}

impl FromStr for StoreUrl {
    type Err = BadStoreUrl;

    /// A relative path is taken from the working directory.
    fn from_str(text: &str) -> Result<Self, BadStoreUrl> {
        let scheme = text
            .split(':')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if scheme == "postgres" || scheme == "postgresql" {
            return Ok(Self::Postgres(Box::new(text.parse()?)));
        }
        let path = text.strip_prefix("sqlite:").ok_or(BadStoreUrl::NotAStore)?;
        // `sqlite:///x` is the URL form of `sqlite:/x`. After two slashes comes a host, which
        // SQLite does not have.
        let path = match path.strip_prefix("//") {
            Some(rest) if rest.starts_with('/') => rest,
            Some(_) => return Err(BadStoreUrl::NotAStore),
            None => path,
        };
        if path.contains(":memory:") {
            return Err(BadStoreUrl::InMemory);
        }
        if path.is_empty() || path.ends_with('/') || path.contains('\0') {
            return Err(BadStoreUrl::NotAStore);
        }
        Ok(Self::sqlite(path))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => write!(f, "{url}"),
        }
    }
}

#[cfg(test)]
mod tests;
