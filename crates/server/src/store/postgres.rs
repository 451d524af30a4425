//! PostgreSQL: the engine for several servers on one database, and its operator side. Nothing
//! outside this folder uses tokio-postgres. The rules are:
//!
//!  - **Plain SQL.** One statement for each batch of replacements, unnamed statements, and no state
//!    in a session, so that poolers and other databases with this protocol can stand in between.
//!    Only the schema is changed under a lock of its own.
//!  - **Nothing is held while a client thinks**, and nothing while this process is stopped: the
//!    database ends a transaction that waits for us.
//!  - **Every statement has a deadline here.** A database that is stopped still acknowledges what
//!    is sent to it.
//!  - **A statement is never cancelled.** A commit that waits for a standby would end as if it had
//!    succeeded. After the deadline the socket is closed, and the outcome is unknown.
//!  - **A warning at a commit is no confirmation.** It tells of a commit that no standby has.
//!  - **An unknown outcome is settled by a write.** The same batch is made once more on a new
//!    connection. It finds the revisions of the first attempt, or makes them. A read would find
//!    what is not replicated.

mod audit;
mod batch;
mod connection;
mod database;
mod engine;
mod error;
mod health;
mod inspector;
mod intake;
mod invited;
mod operator;
mod pool;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod tls;
mod url;

pub use engine::Postgres;
pub(super) use inspector::PostgresInspector;
pub(super) use intake::{EmptyPostgres, PostgresIntake};
pub(super) use operator::PostgresOperator;
pub use reader::PostgresReader;
pub use url::PostgresUrl;
