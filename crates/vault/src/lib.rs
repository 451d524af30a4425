//! What a Passmate vault is: records with their whole history, the merge, the formats and their
//! cryptography. No I/O; time and randomness are passed in.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod association;
pub mod btoken;
pub mod codec;
pub mod compat;
pub mod container;
mod crypto;
pub mod details;
pub mod folder;
pub mod history;
pub mod merge;
pub mod record;
pub mod secret;
mod seen;
pub mod sync_key;
pub mod view;

pub use association::{Association, Pin, PinError, Shape, Trust};
pub use codec::Document;
pub use folder::SharedFolder;
pub use record::{EditError, RecordId, Text, Vault};
pub use secret::{Passphrase, Secret};
pub use seen::SeenChanges;
pub use sync_key::{SyncKey, SyncKeyError};
