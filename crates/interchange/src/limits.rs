//! Limits for imported files.

/// The longest file that is read, in bytes.
pub const FILE_LEN_MAX: usize = 64 * 1024 * 1024;
/// The most items that a file may have.
pub const ITEMS_MAX: usize = 200_000;
/// The most fields that one item may have.
pub const FIELDS_MAX: usize = 10_000;
