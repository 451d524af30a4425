//! The Passmate sync server: keeps sealed vaults (btokens) that it cannot read.
#![forbid(unsafe_code)]

pub mod memory;
pub mod store;
