//! An unlocked vault, on disk and in step with others: everything that a front end may do with one.
//! Nothing in here parses arguments, asks or prints.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod clock;
pub mod disk;
pub mod env;
pub mod harden;
pub mod link;
pub mod net;
pub mod otp;
pub mod paper;
pub mod qr;
pub mod session;
pub mod shared_folder;
pub mod state;
pub mod sync_status;
pub mod trust;

pub use passmate_sync as sync;
