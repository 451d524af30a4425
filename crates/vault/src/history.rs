//! Operations on the history of a vault: reverting to an earlier state, and truncating, which
//! forgets the changes before a given time.

mod revert;
pub mod truncate;
