//! The configuration: one value, gathered from flags, environment and file, and checked here once.
//! The rest of the server can rely on its settings to fit together.

mod command;
mod error;
mod gather;
mod layers;
mod settings;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use passmate_proto::BTOKEN_LEN_MAX_DEFAULT;

pub use crate::limits::rate::{Rate, SourceLimits};
use crate::store::StoreUrl;

pub(crate) use command::{all_args, example, place_args, serve_command};
pub use error::ConfigError;
pub use gather::Sources;
pub(crate) use gather::changed_at_restart;
pub use layers::{Environment, Origin};
pub use values::{ListenAddress, ListenHost, ValueError};
pub(crate) use values::{is_host_name, parse_duration, parse_limit, parse_moment};

/// Everything that an operator can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where layout 1 is spoken.
    pub listen: Vec<ListenAddress>,
    /// Where layout 2 is spoken.
    pub listen_v2: Vec<ListenAddress>,
    /// Proxies that send a PROXY protocol header in front of each connection.
    pub proxy_from: Vec<IpNet>,
    /// The folder for what the server makes itself: certificate, key, by default the store.
    pub data_dir: PathBuf,
    /// Where the accounts are stored.
    pub store: StoreUrl,
    /// The operator's certificate and key. Without them the server makes its own.
    pub certificate: Option<CertificateFiles>,
    /// An authority issues the server's own certificate.
    pub acme: Option<Acme>,
    /// The operator's banner, sent byte for byte. Without it the server sends the default.
    pub banner: Option<Arc<[u8]>>,
    pub limits: Limits,
    pub registration: Registration,
    /// Where status page, metrics and health checks are served, if anywhere.
    pub admin_listen: Option<AdminAddress>,
    /// The log names the addresses of clients.
    pub log_addresses: bool,
    pub log: LogFormat,
}

impl Config {
    /// The configuration of `serve` without any option, in this data dir.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            listen: vec![ListenAddress::everywhere()],
            listen_v2: Vec::new(),
            proxy_from: Vec::new(),
            store: Self::store_default(&data_dir),
            data_dir,
            certificate: None,
            acme: None,
            banner: None,
            limits: Limits::default(),
            registration: Registration::Open,
            admin_listen: None,
            log_addresses: false,
            log: LogFormat::Text,
        }
    }

    fn store_default(data_dir: &Path) -> StoreUrl {
        StoreUrl::sqlite(data_dir.join("passmate.db"))
    }

    /// The folder with notes about backups: beside the store, or the data dir if the store is not
    /// on this machine.
    pub(crate) fn notes_folder(&self) -> &Path {
        self.store.folder().unwrap_or(&self.data_dir)
    }
}

/// The address of the admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl AdminAddress {
    /// Only this machine can reach the address.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Two PEM files that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and its intermediates.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
}

/// How the server's own certificate is issued by an authority that speaks ACME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The DNS names of the certificate; at least one.
    pub names: Vec<String>,
    /// The URL of the authority's directory.
    pub directory: String,
    /// The authority for the certificate of the directory itself, if it is no public one.
    pub ca_file: Option<PathBuf>,
    /// The mail address to which the authority writes.
    pub contact: Option<String>,
    /// Where the authority's checks arrive; it connects to port 443.
    pub listen: ListenAddress,
    /// A program that publishes TXT records, in place of a check by TLS.
    pub dns_hook: Option<PathBuf>,
}

impl Acme {
    /// The directory of Let's Encrypt.
    pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

    /// The names, from Let's Encrypt, with checks on port 443.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self {
            names,
            directory: Self::LETS_ENCRYPT.to_owned(),
            ca_file: None,
            contact: None,
            listen: ListenAddress::everywhere_on(443),
            dns_hook: None,
        }
    }
}

/// Who may create accounts. Existing accounts are served in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Registration {
    /// Anyone.
    #[default]
    Open,
    /// Invited devices, and others while there are open seats.
    Invite,
    /// No one.
    Closed,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What any client may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The length of the longest btoken in bytes, whatever an account may store.
    pub btoken_len_max: u32,
    /// The same for accounts without a limit of their own, if it is less.
    pub account_limit: Option<u32>,
    /// How long an update of layout 1 waits for its last row before the server sends it.
    pub confirm_grace: Duration,
    /// The time for TLS handshake and hello together.
    pub handshake_timeout: Duration,
    /// The time without a byte in either direction, in any phase.
    pub idle_timeout: Duration,
    /// The duration of a connection.
    pub session_timeout: Duration,
    /// Connections at the same time. The number of file descriptors may lower it.
    pub connections_max: usize,
    /// Bytes of btokens in memory, over all connections.
    pub memory_max: u64,
    /// Accounts in the store.
    pub accounts_max: u64,
    /// What one source may take.
    pub source: SourceLimits,
}

impl Limits {
    /// The longest btoken that an account may store, in bytes, if it may have a limit of its own and
    /// stores `stored` bytes now. A btoken that does not grow is accepted: a limit must not keep the
    /// changes of a device from the others.
    pub(crate) fn btoken_len_max_of(&self, own: Option<u32>, stored: usize) -> u32 {
        let limit = own.or(self.account_limit).unwrap_or(u32::MAX);
        let stored = u32::try_from(stored).unwrap_or(u32::MAX);
        limit.max(stored).min(self.btoken_len_max)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            btoken_len_max: BTOKEN_LEN_MAX_DEFAULT,
            account_limit: None,
            confirm_grace: Duration::from_millis(500),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            session_timeout: Duration::from_secs(120),
            connections_max: 10_000,
            memory_max: 256 << 20,
            accounts_max: 100_000,
            source: SourceLimits::default(),
        }
    }
}

#[cfg(test)]
mod tests;
