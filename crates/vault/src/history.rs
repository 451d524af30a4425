//! What happens to a record's past: going back to an earlier value, and forgetting what is older
//! than a given time.

mod revert;
pub mod truncate;
