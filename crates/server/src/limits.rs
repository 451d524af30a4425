//! What clients may take of the server: connections, new accounts, refusals, memory.

pub mod memory;
pub(crate) mod rate;
