//! An unlocked vault, on disk and synced with others: everything that a front end may do with one.
//! Nothing in here parses arguments, asks or prints.
//!
//! A front end opens a [`Session`](session::Session) and works with it through
//! [`VaultApi`](api::VaultApi).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod adopt;
pub mod answer;
pub mod api;
pub mod audit;
mod breach;
pub mod clock;
mod codes;
pub mod command;
pub mod credentials;
pub mod disk;
pub mod disposal;
pub mod doctor;
pub mod edit;
pub mod env;
pub mod escape;
pub mod export;
pub mod exposure;
pub mod generate;
pub mod guard;
pub mod harden;
pub mod history;
pub mod import;
pub mod leak;
pub mod log_n;
mod lossy;
mod memory;
mod naming;
pub mod net;
pub mod otp;
pub mod pass_store;
pub mod plain_file;
pub mod problem;
pub mod records;
pub mod recover;
pub mod reference;
pub mod search;
pub mod session;
pub mod settings;
pub mod settings_file;
pub mod share;
pub mod shared_folder;
pub mod size;
pub mod ssh_key;
pub mod state;
pub mod strength;
pub mod sync_all;
pub mod sync_setup;
pub mod sync_status;
pub mod template;
pub mod undo;
pub mod units;
pub mod use_log;

pub use passmate_interchange as interchange;
pub use passmate_sync as sync;
