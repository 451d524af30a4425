//! The agent of SSH: it lists the keys of unlocked vaults, and signs with them.
//!
//! | room | what it knows |
//! | --- | --- |
//! | [`message`] | the messages of the protocol (draft-ietf-sshm-ssh-agent) |
//! | [`connection`] | what one client may do, and to which hosts it is connected |
//! | [`approver`] | who asks, for what, and whether a use is allowed |
//! | `keys` | the keys of the unlocked vaults |
//! | `serve` | the socket |
//!
//! The rules are:
//!  - a private key never leaves the agent, and none can be added or removed through the socket;
//!  - a locked vault has no keys;
//!  - every signature passes the [`Approver`](approver::Approver);
//!  - a client that is connected to a host proves it: the host has signed the session.

pub mod approver;
pub mod connection;
mod keys;
pub mod message;
mod serve;

pub(crate) use keys::KeysOfVaults;
pub(crate) use serve::{Socket, serve};
