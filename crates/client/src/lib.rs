//! The Passmate client: an encrypted vault on this device, kept in step with others.
#![forbid(unsafe_code)]

pub mod disk;
pub mod net;
pub mod session;
pub mod state;
pub mod sync;
pub mod trust;
