//! The Passmate sync server: stores sealed vaults (btokens) that it cannot read.
//!
//! [`Server::start`] runs a server; [`main`] adds arguments, signals and an exit code.
#![forbid(unsafe_code)]

mod acme;
mod admin;
mod backup;
mod clock;
pub mod config;
mod conn;
mod control;
mod ended;
mod exit;
mod files;
mod health;
mod limits;
mod listen;
mod observe;
mod program;
mod proxy;
mod server;
mod service;
mod state;
pub mod store;
mod systemd;
mod text;
mod tls;

pub use listen::ListenError;
pub use program::main;
pub use server::{Listening, Reloaded, Server, StartError};
pub use tls::{CertificateFault, KeyFault, Pin, TlsError, Warning};
