//! The Passmate sync server: keeps sealed vaults (btokens) that it cannot read.
//!
//! [`Server::start`] is the whole of it; [`main`] adds arguments, signals and an exit code.
#![forbid(unsafe_code)]

mod admin;
pub mod backup;
pub mod config;
mod conn;
mod gate;
mod listen;
pub mod logs;
pub mod memory;
mod program;
mod proxy;
mod report;
mod server;
pub mod service;
pub mod store;
mod systemd;
pub mod tls;
mod watch;

pub use listen::ListenError;
pub use program::main;
pub use server::{Listening, Reloaded, Server, StartError};
