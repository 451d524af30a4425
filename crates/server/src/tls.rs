//! How the server proves its identity: with the operator's certificate, or with a self-signed one
//! that is made once in the data dir and kept, so that the pin on people's devices stays valid.
//!
//! One [`ServerConfig`](rustls::ServerConfig) serves all connections until SIGHUP or a change of
//! the files replaces it. It keeps no session data: a client makes one exchange per connection, and
//! unread session tickets would make the system reset the connection.

mod chain;
mod error;
mod identity;
mod own;
mod served;

pub(crate) use chain::{Chain, Leaf, look_at_chain};
pub use error::{CertificateFault, KeyFault, TlsError};
pub(crate) use identity::Identity;
pub use identity::{Pin, Warning};
pub(crate) use own::{
    OWN_CERTIFICATE, OWN_KEY, host_name, make_data_dir, make_next, next_identity, own_key,
    own_leaf, put_own_chain, renew, switch_to_next,
};
pub(crate) use served::{ServedCertificate, expect_key, key_changed_at};

#[cfg(test)]
mod tests;
