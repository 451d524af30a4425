//! The Passmate sync server: keeps sealed vaults (btokens) that it cannot read.
#![forbid(unsafe_code)]
