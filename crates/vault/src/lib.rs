//! What a Passmate vault is: records with their whole history, the merge, the formats and their
//! cryptography. No I/O; time and randomness are passed in.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod compat;
mod crypto;
pub mod format;
pub mod history;
pub mod login;
pub mod merge;
pub mod record;
pub mod report;
pub mod secret;
pub mod sync;
pub mod sync_key;
pub mod view;

pub use format::Document;
pub use record::{EditError, RecordId, Text, Vault};
pub use secret::{Passphrase, Secret};
pub use sync::account::{Account, AccountKey, Pin, PinError, Trust};
pub use sync::delta::Delta;
pub use sync::seen::SeenChanges;
pub use sync::shape::Shape;
pub use sync::shared_folder::SharedFolder;
pub use sync_key::{SyncKey, SyncKeyError};
