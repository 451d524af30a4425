//! SQLite: the embedded engine and its operator side. Nothing outside this folder uses rusqlite.

mod audit;
mod check;
mod connection;
mod content;
mod copy;
mod engine;
mod error;
mod intake;
mod lock;
mod operator;
mod reader;
mod revision;
mod schema;
mod sql;

#[cfg(test)]
pub(crate) use engine::tests::make_first_schema;

pub(super) use copy::OfflineSqlite;
pub use engine::Sqlite;
pub(super) use intake::SqliteIntake;
pub(super) use lock::{lock_file, lock_path};
pub(super) use operator::{SqliteInspector, SqliteOperator};
pub use reader::SqliteReader;
pub(crate) use schema::schema_newest;
