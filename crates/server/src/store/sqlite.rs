//! The embedded engine: SQLite.

mod copy;
mod engine;
mod operator;

#[cfg(test)]
pub(crate) use engine::tests::make_first_schema;

pub use copy::{ClosedStore, ForeignAccount, Sum};
pub use engine::{Sqlite, SqliteReader};
pub use operator::{Account, AdminStore, Invite, Opening};
