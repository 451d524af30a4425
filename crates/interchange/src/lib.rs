//! Reads and writes the files of other password managers. No I/O: the crate turns bytes into values
//! and values into bytes. Time and randomness are arguments.
//!
//! | room | content |
//! | --- | --- |
//! | `syntax` | CSV, JSON, XML, YAML, ZIP and KDBX, without the meaning of their content |
//! | `read` | one file for each program: [`parse`] turns bytes into [`Imported`] |
//! | `apply` | [`apply()`] puts what was read into a vault, so that an import may be repeated |
//! | `write` | one file for each program: [`write()`] turns a vault into [`Written`] |
//!
//! The rules are:
//!  - a part of a file that is not imported or exported is a [`Loss`];
//!  - a record's id is derived from its identity in the source and a random key of the vault, so
//!    importing a file twice changes nothing, and nobody can predict the ids;
//!  - an import never undoes what a person did in Passmate after an earlier one, and brings no
//!    stamp from the future that would win over a later edit;
//!  - the memory, work, depth and number of items that a file asks for are checked before they are
//!    spent. Items, their names and their losses are only made by a `Collector`, which counts them;
//!  - no error holds a value of a file or a vault.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod apply;
mod crypto;
mod error;
mod limits;
mod loss;
mod passkey;
mod progress;
mod read;
mod syntax;
mod write;

pub use apply::{Applied, Outcome, Same, apply};
pub use crypto::KdfError;
pub use error::{ImportError, ItemName};
pub use limits::{
    ARCHIVE_LEN_MAX, FIELDS_ALL_MAX, FIELDS_MAX, FILE_LEN_MAX, ITEMS_MAX, NAME_LEN_MAX,
    NAMES_LEN_MAX, PATH_LEN_MAX,
};
pub use loss::Loss;
pub use progress::Progress;
pub use read::columns::{ColumnMap, ColumnMapError, ColumnUse};
pub use read::item::{Earlier, Field, Item, host_of};
pub use read::pass::{PassEntry, parse_pass};
pub use read::{Format, Imported, ReadOptions, guess, parse, parse_from};
pub use write::{ExportError, ExportFormat, WriteOptions, Written, write};
