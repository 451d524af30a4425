//! The Passmate sync server: keeps sealed vaults (btokens) that it cannot read.
//!
//! [`Server::start`] is the whole of it; [`main`] adds arguments, signals and an exit code.
#![forbid(unsafe_code)]

mod admin;
pub mod backup;
mod clock;
pub mod config;
mod conn;
mod files;
pub mod limits;
mod listen;
mod observe;
mod program;
mod proxy;
mod server;
pub mod service;
pub mod store;
mod systemd;
pub mod tls;

pub use listen::ListenError;
pub use program::main;
pub use server::{Listening, Reloaded, Server, StartError};
