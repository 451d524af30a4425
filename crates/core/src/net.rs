//! The transport to a server: a blocking TCP stream, TLS, and deadlines over all of it.
//!
//! The limits of the protocol machine bound the memory. The deadline of the exchange ends the
//! connection to a server that sends without end; surplus bytes are discarded.

mod address;
mod connect;
mod stream;
pub mod trust;

use std::time::{Duration, Instant};

use passmate_proto::ClientConfig;
use passmate_sync::exchange::Connection;
use passmate_sync::transport::{ConnectError, Transport};
use passmate_sync::wire::{Certificate, StreamEnd};
use passmate_vault::Account;

use crate::net::trust::{CaError, Sighting, TlsTrust};
pub use address::{Address, AddressError};
pub(crate) use connect::describe;

/// How long a client waits.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// For a connection to one address of a server.
    pub connect: Duration,
    /// For the next byte.
    pub silence: Duration,
    /// For one exchange in all, the connection included.
    pub total: Duration,
    /// For all exchanges with this [`Server`], such as those of one sync that is tried again.
    pub all: Duration,
}

impl Deadlines {
    /// For a sync that follows a change, which a person did not ask for: a server that is silent
    /// for 2 seconds is left for later.
    pub const AFTER_CHANGE: Self = Self {
        connect: Duration::from_secs(2),
        silence: Duration::from_secs(2),
        total: Duration::from_secs(10),
        all: Duration::from_secs(10),
    };

    /// For a look before a question: a person waits for it.
    pub const BEFORE_QUESTION: Self = Self {
        connect: Duration::from_secs(5),
        silence: Duration::from_secs(5),
        total: Duration::from_secs(10),
        all: Duration::from_secs(10),
    };
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            total: Duration::from_secs(120),
            all: Duration::from_secs(300),
        }
    }
}

/// Why the server of an account cannot be reached at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableAccount {
    /// Its host or port is not valid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Its CA file is not valid.
    #[error(transparent)]
    Ca(#[from] CaError),
}

/// A server over the network.
#[derive(Debug)]
pub struct Server {
    address: Address,
    trust: TlsTrust,
    deadlines: Deadlines,
    limits: ClientConfig,
    /// When the time for all exchanges is up; it begins with the first one.
    ends: Option<Instant>,
}

/// When an exchange must be done, and which limit that is, in seconds.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    limit: u64,
}

impl Server {
    /// A server that is reached at `address` and trusted by `trust`. Nothing is sent yet.
    #[must_use]
    pub fn new(address: Address, trust: TlsTrust) -> Self {
        Self {
            address,
            trust,
            deadlines: Deadlines::default(),
            limits: ClientConfig::default(),
            ends: None,
        }
    }

    /// The server that a vault is tied to.
    ///
    /// # Errors
    /// The account holds a host or a CA file that cannot be used: an older or newer program
    /// accepted it.
    pub fn of(account: &Account) -> Result<Self, UnusableAccount> {
        let address = Address::new(&account.host, account.port)?;
        Ok(Self::new(address, TlsTrust::new(&account.trust)?))
    }

    /// The same server with other deadlines.
    #[must_use]
    pub fn with_deadlines(self, deadlines: Deadlines) -> Self {
        Self { deadlines, ..self }
    }

    /// The deadline of the next exchange.
    fn deadline(&mut self) -> Deadline {
        let Deadlines { total, all, .. } = self.deadlines;
        let now = Instant::now();
        let ends = *self.ends.get_or_insert(now + all);
        if now + total < ends {
            Deadline {
                at: now + total,
                limit: total.as_secs(),
            }
        } else {
            Deadline {
                at: ends,
                limit: all.as_secs(),
            }
        }
    }

    /// What the server showed in the last handshake.
    #[must_use]
    pub fn sighting(&self) -> Sighting {
        self.trust.sighting()
    }
}

impl Transport for Server {
    fn connect(&mut self) -> Result<Connection, ConnectError> {
        let deadline = self.deadline();
        if deadline.at <= Instant::now() {
            let end = StreamEnd::TookTooLong(deadline.limit);
            return Err(ConnectError::Handshake(end));
        }
        let tcp = connect::connect(&self.address, &self.deadlines, deadline)?;
        let config = self.trust.begin();
        let stream =
            stream::TlsStream::handshake(tcp, config, &self.address, &self.deadlines, deadline);
        let stream = stream.map_err(|error| match self.trust.sighting().problem {
            Some(problem) => ConnectError::NotTrusted(Box::new(problem)),
            None => error,
        })?;
        let Sighting { shown, valid, .. } = self.trust.sighting();
        let certificate = Certificate { pin: shown, valid };
        Ok(Connection::new(Box::new(stream), self.limits, certificate))
    }
}

#[cfg(test)]
mod tests;
