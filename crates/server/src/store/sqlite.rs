//! The embedded engine: SQLite.

mod check;
mod copy;
mod engine;
mod error;
mod lock;
mod operator;
mod reader;
mod schema;

#[cfg(test)]
pub(crate) use engine::tests::make_first_schema;

pub(crate) use lock::lock_file;

pub use copy::ClosedStore;
pub use engine::Sqlite;
pub use operator::AdminStore;
pub use reader::SqliteReader;
