//! Limits for imported files.

/// The longest file that is read, in bytes.
pub const FILE_LEN_MAX: usize = 64 * 1024 * 1024;
/// The longest archive that is read, in bytes. Each file in it that is read has
/// [`FILE_LEN_MAX`] as its limit; attachments are not read.
pub const ARCHIVE_LEN_MAX: usize = u32::MAX as usize;
/// The most items that a file may have.
pub const ITEMS_MAX: usize = 200_000;
/// The most fields that one item may have.
pub const FIELDS_MAX: usize = 10_000;
/// The most fields that all items of a file may have together.
pub const FIELDS_ALL_MAX: usize = 2_000_000;
/// The longest name of a folder, an item or a field, in bytes.
pub const NAME_LEN_MAX: usize = 4096;
/// The longest path of an item, in bytes.
pub const PATH_LEN_MAX: usize = 16 * 1024;
/// The most bytes that the paths and names of all items take together: a folder's name is part of
/// the path of each item in it, and a column's name is that of a field of each row.
pub const NAMES_LEN_MAX: usize = 64 * 1024 * 1024;
