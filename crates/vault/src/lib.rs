//! A Passmate vault: records with their whole history, the merge, the file formats and their
//! cryptography. No I/O; time and randomness are arguments.
//!
//! | room | what it knows |
//! | --- | --- |
//! | [`record`] | records, fields, changes, and the edits that add changes |
//! | [`merge`] | the union of two vaults |
//! | [`view`] | what people see of a vault |
//! | [`login`] | the meaning of field names |
//! | [`guard`] | records that a person guards |
//! | [`history`] | reverting to an earlier state, undoing, truncating the history, purging |
//! | [`sync`] | what a vault remembers of its account, its devices and its shared folder |
//! | [`report`] | what a sync did to each record and field |
//! | [`compat`] | what the original programs cannot read |
//! | [`sync_key`] and [`folder_key`] | the keys of accounts and of shared folders, and their text |
//! | [`wire`] | how values travel to another process of the same person |
//! | [`format`](mod@format) | vault files, btokens, and their encryption |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod compat;
mod crypto;
pub mod folder_key;
pub mod format;
pub mod guard;
pub mod history;
pub mod log_key;
pub mod login;
pub mod merge;
pub mod otp;
pub mod record;
pub mod report;
pub mod secret;
pub mod sync;
pub mod sync_key;
pub mod view;
pub mod wire;

pub use folder_key::{FolderKey, FolderKeyError};
pub use format::Document;
pub use log_key::LogKey;
pub use record::{EditError, RecordId, Text, Vault};
pub use secret::{Passphrase, Secret};
pub use sync::account::{Account, AccountKey, Pin, PinError, Retired, Trust};
pub use sync::baseline::Baseline;
pub use sync::delta::Delta;
pub use sync::device_text::{DeviceText, DeviceTextError};
pub use sync::roll_call::{
    Anomaly, AnomalyKind, DeviceEntry, DeviceId, OwnDevice, RollCall, derive_read_hash,
    make_device_id,
};
pub use sync::seen::SeenChanges;
pub use sync::shape::Shape;
pub use sync::shared_folder::SharedFolder;
pub use sync_key::{SyncKey, SyncKeyError};
