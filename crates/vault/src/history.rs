//! Operations on the history of a vault: reverting to an earlier state, undoing changes step by
//! step, truncating, which forgets the changes before a given time, and purging, which forgets
//! single changes.

pub mod purge;
mod revert;
pub mod truncate;
pub mod undo;
