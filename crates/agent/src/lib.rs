//! The agent: one process of a user that holds unlocked vaults for the other programs of that user,
//! and locks them in time.
//!
//! | room | what it knows |
//! | --- | --- |
//! | [`place`] | where the socket is, and that nobody else can reach it |
//! | [`wire`] | what goes through the socket |
//! | [`vaults`] | the unlocked vaults, and when they are locked |
//! | `background` | when a vault is synced while nobody waits |
//! | `desktop` | that the machine is about to sleep, and that the screen is locked |
//! | [`dialogs`] | asking a person where no terminal is |
//! | [`peer`] | which program asks |
//! | [`consent`] | asking a person before a guarded record is used |
//! | [`serve`] | the listener, and a thread for each client |
//! | [`ssh`] | the agent of SSH, on a socket of its own |
//! | [`client`] | the other side: [`Client`](client::Client) is a vault |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod background;
pub mod client;
pub mod consent;
#[cfg(target_os = "linux")]
pub mod desktop;
pub mod dialogs;
pub mod peer;
pub mod place;
pub mod serve;
pub mod ssh;
pub mod vaults;
pub mod wire;
