//! The address of a PostgreSQL database, with the options that are ours.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use zeroize::Zeroizing;

use crate::store::BadStoreUrl;

/// The folder in which Debian's PostgreSQL puts its socket.
const SOCKET_FOLDER: &str = "/var/run/postgresql";
const DEADLINE: Duration = Duration::from_secs(5);
const DEADLINE_SECONDS_MAX: u64 = 60;
const BATCH_LEN: usize = 512;

/// The address of a PostgreSQL database, such as `postgres://passmate@db.example.org/passmate`.
#[derive(Clone)]
pub struct PostgresUrl {
    /// As it was written. It may hold a password.
    text: Zeroizing<String>,
    config: Config,
    /// One for each host.
    pub(super) hosts: Vec<Config>,
    pub(super) tls: TlsMode,
    /// Changes in one transaction, at most.
    pub(super) batch_len_max: usize,
    /// How long one statement may take, and how long one waits for a connection.
    pub(super) deadline: Duration,
    pub(super) durability: Durability,
}

/// How a connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// Not at all, as on a socket of this machine.
    Disable,
    /// Encrypted, with whoever answers.
    Require,
    /// The certificate is of this authority.
    VerifyCa(PathBuf),
    /// The certificate is of this authority, or of one that the system trusts, and names the host.
    VerifyFull(Option<PathBuf>),
}

/// Whether a database may be used that could lose what it confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    Required,
    Unchecked,
}

/// The values of our own options.
#[derive(Default)]
struct Options {
    sslmode: Option<String>,
    sslrootcert: Option<PathBuf>,
    batch: Option<usize>,
    deadline: Option<u64>,
    durability: Option<Durability>,
}

impl Options {
    /// Takes our options out of a URL, and returns the rest of it.
    fn split(text: &str) -> Result<(Zeroizing<String>, Self), BadStoreUrl> {
        let after_password = text.find('@').unwrap_or(0);
        let (credentials, rest) = text.split_at(after_password);
        let Some((place, query)) = rest.split_once('?') else {
            return Ok((text.to_owned().into(), Self::default()));
        };
        let mut options = Self::default();
        let mut others = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            if !options.take(name, value)? {
                others.push(option);
            }
        }
        let mut url = Zeroizing::new(format!("{credentials}{place}"));
        if !others.is_empty() {
            url.push('?');
            url.push_str(&others.join("&"));
        }
        Ok((url, options))
    }

    /// Whether the option is one of ours.
    fn take(&mut self, name: &str, value: &str) -> Result<bool, BadStoreUrl> {
        let value = percent_decode_str(value).decode_utf8_lossy();
        match name {
            "sslmode" => self.sslmode = Some(value.into_owned()),
            "sslrootcert" => self.sslrootcert = Some(value.into_owned().into()),
            "batch" => match value.parse() {
                Ok(len @ 1..=BATCH_LEN) => self.batch = Some(len),
                _ => return Err(bad("batch", "write 1 to 512")),
            },
            "deadline" => match value.parse() {
                Ok(seconds @ 1..=DEADLINE_SECONDS_MAX) => self.deadline = Some(seconds),
                _ => return Err(bad("deadline", "write 1 to 60, in seconds")),
            },
            "durability" => match &*value {
                "required" => self.durability = Some(Durability::Required),
                "unchecked" => self.durability = Some(Durability::Unchecked),
                _ => return Err(bad("durability", "write required or unchecked")),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn tls(&self, config: &Config) -> Result<TlsMode, BadStoreUrl> {
        let root = self.sslrootcert.clone();
        match (self.sslmode.as_deref(), root) {
            (None, None) if is_of_this_machine(config) => Ok(TlsMode::Disable),
            (None | Some("verify-full"), root) => Ok(TlsMode::VerifyFull(root)),
            (Some("verify-ca"), Some(root)) => Ok(TlsMode::VerifyCa(root)),
            (Some("require"), None) => Ok(TlsMode::Require),
            // As with other clients, an authority that is given is also asked.
            (Some("require"), Some(root)) => Ok(TlsMode::VerifyCa(root)),
            (Some("disable"), None) => Ok(TlsMode::Disable),
            (Some("verify-ca"), None) | (Some("disable"), Some(_)) => Err(bad(
                "sslrootcert",
                "verify-ca needs it, and disable has none",
            )),
            (Some(_), _) => {
                let write = "write disable, require, verify-ca or verify-full";
                Err(bad("sslmode", write))
            }
        }
    }
}

fn bad(option: &'static str, write: &'static str) -> BadStoreUrl {
    BadStoreUrl::PostgresOption { option, write }
}

/// Whether nobody can listen between this process and any of the hosts.
fn is_of_this_machine(config: &Config) -> bool {
    let is_local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    };
    let mut addresses = config.get_hostaddrs().iter();
    match config.get_hostaddrs() {
        [] => config.get_hosts().iter().all(is_local),
        [..] => addresses.all(IpAddr::is_loopback),
    }
}

impl FromStr for PostgresUrl {
    type Err = BadStoreUrl;

    fn from_str(text: &str) -> Result<Self, BadStoreUrl> {
        let (url, options) = Options::split(text)?;
        let mut config: Config = url.parse().map_err(|_| BadStoreUrl::NotPostgres)?;
        // A password with an `@` that is not written as %40 would end in the host, and be shown.
        let has_at = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
        let credentials = url
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('@'));
        let is_no_user = credentials.is_some_and(|(user, _)| {
            let user = user.split(':').next().unwrap_or_default();
            user.contains(['/', '?'])
        });
        if is_no_user || config.get_hosts().iter().any(has_at) {
            return Err(BadStoreUrl::NotPostgres);
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host_path(Path::new(SOCKET_FOLDER));
        }
        let deadline = options.deadline.map_or(DEADLINE, Duration::from_secs);
        let tls = options.tls(&config)?;
        if config.get_application_name().is_none() {
            config.application_name("passmate-server");
        }
        // A standby, or a primary that is one no longer, serves nobody.
        config
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(deadline)
            .tcp_user_timeout(2 * deadline)
            .keepalives_idle(Duration::from_secs(30))
            .ssl_mode(match tls {
                TlsMode::Disable => SslMode::Disable,
                _ => SslMode::Require,
            });
        Ok(Self {
            text: text.to_owned().into(),
            hosts: split_hosts(&config)?,
            config,
            tls,
            batch_len_max: options.batch.unwrap_or(BATCH_LEN),
            deadline,
            durability: options.durability.unwrap_or(Durability::Required),
        })
    }
}

/// A configuration for each host, so that each gets its own time: one that is stopped still accepts
/// connections, and says nothing.
fn split_hosts(config: &Config) -> Result<Vec<Config>, BadStoreUrl> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let ports = config.get_ports();
    let count = hosts.len().max(addresses.len());
    let is_even = |len: usize| len == 0 || len == count;
    if !is_even(hosts.len())
        || !is_even(addresses.len())
        || (ports.len() > 1 && !is_even(ports.len()))
    {
        return Err(BadStoreUrl::NotPostgres);
    }
    let single = |place: usize| {
        let mut one = Config::new();
        match hosts.get(place) {
            Some(Host::Tcp(name)) => drop(one.host(name)),
            Some(Host::Unix(folder)) => drop(one.host_path(folder)),
            None => {}
        }
        if let Some(address) = addresses.get(place) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(place).or(ports.first()) {
            one.port(*port);
        }
        if let Some(user) = config.get_user() {
            one.user(user);
        }
        if let Some(password) = config.get_password() {
            one.password(password);
        }
        if let Some(name) = config.get_dbname() {
            one.dbname(name);
        }
        if let Some(options) = config.get_options() {
            one.options(options);
        }
        if let Some(name) = config.get_application_name() {
            one.application_name(name);
        }
        if let Some(timeout) = config.get_connect_timeout() {
            one.connect_timeout(*timeout);
        }
        if let Some(timeout) = config.get_tcp_user_timeout() {
            one.tcp_user_timeout(*timeout);
        }
        one.keepalives(config.get_keepalives())
            .keepalives_idle(config.get_keepalives_idle())
            .ssl_mode(config.get_ssl_mode())
            .ssl_negotiation(config.get_ssl_negotiation())
            .channel_binding(config.get_channel_binding())
            .target_session_attrs(config.get_target_session_attrs());
        one
    };
    Ok((0..count).map(single).collect())
}

impl PartialEq for PostgresUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PostgresUrl {}

/// The place without the password and without options.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let mut socket = None;
        let ports = self.config.get_ports();
        for (place, host) in self.config.get_hosts().iter().enumerate() {
            let Host::Tcp(name) = host else {
                if let Host::Unix(folder) = host {
                    socket = Some(folder);
                }
                continue;
            };
            let comma = if place == 0 { "" } else { "," };
            match name.contains(':') {
                true => write!(f, "{comma}[{name}]")?,
                false => write!(f, "{comma}{name}")?,
            }
            if let Some(port) = ports.get(place).or(ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        if self.config.get_hosts().is_empty()
            && let Some(address) = self.config.get_hostaddrs().first()
        {
            write!(f, "{address}")?;
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())?;
        match socket {
            Some(folder) => write!(f, "?host={}", folder.display()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> PostgresUrl {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let text = "postgres://ada:se%63ret@db1.example.org:5433,db2.example.org:5434/pm?batch=1";
        let shown = format!("{0} {0:?}", url(text));
        assert!(
            shown.starts_with("postgres://ada@db1.example.org:5433,db2.example.org:5434/pm "),
            "{shown}"
        );
        assert!(
            !shown.contains("se%63ret") && !shown.contains("secret"),
            "{shown}"
        );
        let socket = url("postgres://ada@%2Frun%2Fpg/pm");
        assert_eq!(socket.to_string(), "postgres://ada@/pm?host=/run/pg");
        assert_eq!(
            url("postgres:///pm").to_string(),
            "postgres:///pm?host=/var/run/postgresql"
        );
    }

    #[test]
    fn the_network_is_crossed_with_a_verified_certificate_only() {
        let tls = |text: &str| text.parse::<PostgresUrl>().map(|url| url.tls);
        assert_eq!(
            tls("postgres://db.example.org/pm"),
            Ok(TlsMode::VerifyFull(None))
        );
        assert_eq!(
            tls("postgres://localhost,db/pm"),
            Ok(TlsMode::VerifyFull(None))
        );
        assert_eq!(
            tls("postgres://db/pm?hostaddr=127.0.0.1"),
            Ok(TlsMode::Disable)
        );
        assert_eq!(tls("postgres://127.0.0.1/pm"), Ok(TlsMode::Disable));
        assert_eq!(tls("postgres://%2Frun/pm"), Ok(TlsMode::Disable));
        assert_eq!(
            tls("postgres://db/pm?sslmode=disable"),
            Ok(TlsMode::Disable)
        );
        assert_eq!(
            tls("postgres://db/pm?sslmode=require"),
            Ok(TlsMode::Require)
        );
        let ca = || PathBuf::from("/a b");
        let with_ca = "postgres://db/pm?sslrootcert=/a%20b&sslmode=";
        assert_eq!(
            tls(&format!("{with_ca}verify-ca")),
            Ok(TlsMode::VerifyCa(ca()))
        );
        assert_eq!(
            tls(&format!("{with_ca}verify-full")),
            Ok(TlsMode::VerifyFull(Some(ca())))
        );
        for bad in ["sslmode=prefer", "sslmode=allow", "sslmode=verify-ca"] {
            assert!(tls(&format!("postgres://db/pm?{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_host_has_a_port_and_everything_else() {
        let hosts = url("postgres://ada:pw@db1:5433,db2:5434/pm").hosts;
        let ports: Vec<_> = hosts.iter().map(|one| one.get_ports().to_vec()).collect();
        assert_eq!(ports, [[5433], [5434]]);
        let names: Vec<_> = hosts.iter().map(|one| one.get_hosts().to_vec()).collect();
        let named = |name: &str| vec![Host::Tcp(name.to_owned())];
        assert_eq!(names, [named("db1"), named("db2")]);
        for host in hosts {
            assert_eq!(host.get_password(), Some(b"pw".as_slice()));
            assert_eq!(
                (host.get_user(), host.get_dbname()),
                (Some("ada"), Some("pm"))
            );
            assert_eq!(
                host.get_target_session_attrs(),
                TargetSessionAttrs::ReadWrite
            );
            assert_eq!(host.get_ssl_mode(), SslMode::Require);
        }
        let uneven = "postgres://db1,db2,db3/pm?hostaddr=192.0.2.1,192.0.2.2";
        assert_eq!(uneven.parse::<PostgresUrl>(), Err(BadStoreUrl::NotPostgres));
    }

    #[test]
    fn options_have_bounds() {
        let all = url("postgres://u:p?w@h/d?batch=1&deadline=9&durability=unchecked&keepalives=1");
        assert_eq!(all.config.get_password(), Some(b"p?w".as_slice()));
        assert_eq!((all.batch_len_max, all.deadline.as_secs()), (1, 9));
        assert_eq!(all.durability, Durability::Unchecked);
        for bad in [
            "batch=0",
            "batch=513",
            "batch=x",
            "deadline=0",
            "deadline=61",
            "durability=off",
            "colour=mauve",
        ] {
            let error = format!("postgres://u:secret@h/d?{bad}").parse::<PostgresUrl>();
            let error = error.unwrap_err().to_string();
            assert!(
                !error.contains("secret") && !error.contains("mauve"),
                "{error}"
            );
        }
    }
}
