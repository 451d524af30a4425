//! What the tests of several crates share: a server in memory that fails on demand, a server in this
//! process or in one of its own, and a client that speaks the protocol byte by byte.
#![forbid(unsafe_code)]

#[cfg(feature = "cloud")]
pub mod cloud;
pub mod noise;
#[cfg(feature = "server")]
pub mod postgres;
#[cfg(feature = "server")]
pub mod process;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod wait;
#[cfg(feature = "server")]
pub mod wire;
