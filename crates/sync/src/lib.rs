//! Syncs one vault between several devices: fetch → open → merge → save here → seal → replace,
//! and again if another device was faster. The rules are:
//!  - what was fetched is merged and saved here before anything is sent;
//!  - what cannot be opened is neither merged nor overwritten;
//!  - nothing is sent that the server has, and nothing is written here that is not new;
//!  - a change counts as synced only if the server confirmed it or a fetch found it there;
//!  - whatever the server answers, no record is lost here;
//!  - nothing from outside is merged that has not passed the gate ([`admit()`]).
//!
//! Nothing in here opens a socket or a file, reads a clock, prints, or holds a lock. A
//! [`Transport`] reaches the server, a [`Replica`] saves the vault, an [`Env`] has the randomness.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod account;
pub mod admit;
mod attempt;
mod client;
mod content;
mod env;
mod error;
pub mod exchange;
pub mod held;
mod leave;
mod options;
mod replica;
mod report;
mod retry;
mod roll_call;
mod rollback;
mod rotate;
mod setup;
pub mod transport;
mod upgrade;
pub mod wire;

pub use account::trust_pin;
pub use admit::{Admitted, admit};
pub use client::SyncClient;
pub use content::{Content, derive_fingerprint};
pub use env::Env;
pub use error::{RemoteError, SaveError, SyncError, SyncErrorKind};
pub use exchange::Greeting;
pub use held::{Effect, HeldBack, HeldRecord};
pub use leave::leave;
pub use options::{Decision, Options, Policy, Reason, Room};
pub use replica::Replica;
pub use report::{Ahead, Preview, Report};
pub use rollback::Rollback;
pub use setup::{Endpoint, Probed, SameKey, probe, request};
pub use transport::{ConnectError, Transport};
pub use wire::StreamEnd;
