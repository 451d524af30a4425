//! Reads what other password managers export, and writes KeePass' file. No I/O: bytes in, values
//! out; time and randomness are passed in.
//!
//! The rules are:
//!  - what is not carried is a [`Loss`], never silent;
//!  - a record's id is derived from its identity in the source, so the same file twice changes
//!    nothing;
//!  - an import never takes back what a person did in Passmate since: see [`apply`];
//!  - what a file asks for, in memory, work, depth or number, is checked before it is spent;
//!  - no error holds a value out of the file.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod apply;
mod crypto;
mod error;
mod limits;
mod loss;
mod read;
mod syntax;
mod write;

pub use apply::{Applied, Outcome, apply};
pub use error::ImportError;
pub use limits::{FIELDS_MAX, FILE_LEN_MAX, ITEMS_MAX};
pub use loss::Loss;
pub use read::item::{Field, Item};
pub use read::pass::parse_pass;
pub use read::{Format, Imported, parse};
pub use write::kdbx::{KdbxEntry, write_kdbx};
