//! The Passmate client: an encrypted vault on this device, kept in step with others.
#![forbid(unsafe_code)]

mod cli;
pub mod disk;
pub mod export;
mod harden;
pub mod link;
pub mod net;
pub mod otp;
pub mod paper;
pub mod qr;
pub mod session;
pub mod state;
pub mod sync;
pub mod trust;

pub use cli::main;
