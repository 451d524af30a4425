//! Everything that an operator can set, as one value: gathered from flags, environment and file,
//! checked once, here. What the rest of the server gets is known to work together.

mod layers;
mod settings;
mod values;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use passmate_proto::{BANNER_LEN_MAX, BTOKEN_LEN_MAX_DEFAULT, PORT};

use crate::limits::rate::loopback;
pub use crate::limits::rate::{Rate, SourceLimits};
use crate::store::StoreUrl;
pub use layers::{Environment, Origin};
use layers::{Layer, Written};
pub(crate) use settings::{all_args, command, example, place_args};
pub use values::{ListenAddress, ListenHost, ValueError};
pub(crate) use values::{is_host_name, parse_duration};

/// Read if it is there and no other file is named.
const FILE_DEFAULT: &str = "/etc/passmate/server.toml";

/// Everything that an operator can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where layout 1 is spoken.
    pub listen: Vec<ListenAddress>,
    /// Where layout 2 is spoken.
    pub listen_v2: Vec<ListenAddress>,
    /// Proxies that say in front of each connection whom they carry it for, with the PROXY
    /// protocol.
    pub proxy_from: Vec<IpNet>,
    /// Where the server keeps what it makes itself: certificate, key, by default the store.
    pub data_dir: PathBuf,
    /// Where the accounts are stored.
    pub store: StoreUrl,
    /// The operator's certificate and key; without one the server makes its own.
    pub certificate: Option<CertificateFiles>,
    /// The operator's banner, sent byte for byte; without one the server writes the default.
    pub banner: Option<Arc<[u8]>>,
    /// What any client may take.
    pub limits: Limits,
    /// Who may make accounts.
    pub registration: Registration,
    /// Where the operator's page, metrics and health are, if anywhere.
    pub admin_listen: Option<AdminAddress>,
    /// Whether the log names clients' addresses.
    pub log_addresses: bool,
    /// How the log is written.
    pub log: LogFormat,
}

/// Where an operator looks at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// An address of this machine.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl std::fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl AdminAddress {
    /// Only this machine reaches the address.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// Two PEM files that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and its intermediates.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// Who may make accounts. Those who have one are served in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Registration {
    /// Whoever comes.
    #[default]
    Open,
    /// Whoever was invited, and whoever finds an open seat.
    Invite,
    /// Nobody.
    Closed,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What any client may take; each one an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest btoken in bytes, included.
    pub btoken_len_max: u32,
    /// How long an update of layout 1 waits for its last row before the server sends it.
    pub confirm_grace: Duration,
    /// TLS handshake and hello together.
    pub handshake_timeout: Duration,
    /// Silence in any phase, in either direction.
    pub idle_timeout: Duration,
    /// One connection in all.
    pub session_timeout: Duration,
    /// Connections at once; the file descriptors may lower it further.
    pub connections_max: usize,
    /// Bytes of btokens in memory over all connections.
    pub memory_max: u64,
    /// Accounts in the store.
    pub accounts_max: u64,
    /// What one source may take.
    pub source: SourceLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            btoken_len_max: BTOKEN_LEN_MAX_DEFAULT,
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

/// Where one [`Config`] comes from; kept, so that SIGHUP can ask again.
#[derive(Debug, Clone)]
pub struct Sources {
    flags: Layer,
    environment: Environment,
    file: Option<PathBuf>,
    file_default: PathBuf,
}

impl Sources {
    /// Reads a command line whose command is `serve`.
    ///
    /// # Errors
    /// What clap prints: a mistake, or the help or version that was asked for.
    pub fn from_args(
        args: impl IntoIterator<Item = OsString>,
        environment: Environment,
    ) -> Result<Self, clap::Error> {
        let matches = command().try_get_matches_from(args)?;
        let Some(("serve", matches)) = matches.subcommand() else {
            return Err(command().error(
                clap::error::ErrorKind::MissingSubcommand,
                "a command is needed, such as `serve`",
            ));
        };
        Ok(Self::from_matches(matches, environment))
    }

    /// Takes from a command what it has of the settings.
    pub(crate) fn from_matches(matches: &clap::ArgMatches, environment: Environment) -> Self {
        Self {
            flags: settings::flags(matches),
            environment,
            file: matches.get_one::<String>("config").map(PathBuf::from),
            file_default: PathBuf::from(FILE_DEFAULT),
        }
    }

    /// Every layer, the one that wins first.
    fn layers(&self) -> Result<Vec<Layer>, ConfigError> {
        let (variables, variable_files) = layers::environment(&self.environment)?;
        let named = match &self.file {
            Some(path) => Some(path.clone()),
            None => self
                .environment
                .text("PASSMATE_SERVER_CONFIG")?
                .map(PathBuf::from),
        };
        let file = match named {
            Some(path) => layers::file(&path)?,
            None => match layers::file(&self.file_default) {
                Err(ConfigError::Unreadable { error, .. })
                    if error.kind() == io::ErrorKind::NotFound =>
                {
                    Layer::default()
                }
                found => found?,
            },
        };
        Ok(vec![self.flags.clone(), variables, variable_files, file])
    }
}

impl Config {
    /// What `serve` does without any option, in this data dir.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            listen: vec![ListenAddress::everywhere()],
            listen_v2: Vec::new(),
            proxy_from: Vec::new(),
            store: StoreUrl::sqlite(data_dir.join("passmate.db")),
            data_dir,
            certificate: None,
            banner: None,
            limits: Limits::default(),
            registration: Registration::Open,
            admin_listen: None,
            log_addresses: false,
            log: LogFormat::Text,
        }
    }

    /// Gathers the configuration: flag, environment, file named in the environment, file, default.
    ///
    /// # Errors
    /// The first thing that is wrong, with the place where it was written.
    pub fn gather(sources: &Sources) -> Result<Self, ConfigError> {
        let gathered = Gathered {
            layers: sources.layers()?,
        };
        let data_dir = match gathered.find("data-dir") {
            Some(written) => PathBuf::from(written.one_filled()?),
            None => data_dir_default(&sources.environment)?,
        };
        let mut config = Self::new(data_dir);
        gathered.set(
            "store",
            |text| Ok(text.parse::<StoreUrl>()?),
            &mut config.store,
        )?;
        config.certificate = gathered.certificate()?;
        config.banner = gathered.banner()?;
        gathered.set("registration", parse_registration, &mut config.registration)?;
        gathered.set(
            "admin-listen",
            |text| values::parse_admin(text).map(Some),
            &mut config.admin_listen,
        )?;
        gathered.set(
            "log-addresses",
            values::parse_switch,
            &mut config.log_addresses,
        )?;
        gathered.set("log", parse_log_format, &mut config.log)?;
        gathered.limits(&mut config.limits)?;
        if let Some(written) = gathered.find("proxy-from") {
            config.proxy_from = networks(written)?;
        }
        gathered.listeners(&mut config)?;
        Ok(config)
    }
}

impl Config {
    /// The folder with notes about backups: beside the store, or the data dir if the store is not
    /// on this machine.
    pub(crate) fn notes_folder(&self) -> &Path {
        self.store.folder().unwrap_or(&self.data_dir)
    }
}

/// Settings that differ and take effect only at a restart.
pub(crate) fn changed_at_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let settings = [
        ("listen", old.listen != new.listen),
        ("listen-v2", old.listen_v2 != new.listen_v2),
        ("data-dir", old.data_dir != new.data_dir),
        ("store", old.store != new.store),
        ("admin-listen", old.admin_listen != new.admin_listen),
        ("log-addresses", old.log_addresses != new.log_addresses),
        ("log", old.log != new.log),
    ];
    let changed = settings.into_iter().filter(|(_, is_other)| *is_other);
    changed.map(|(name, _)| name).collect()
}

/// A setting as it is in force.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) name: &'static str,
    /// What was written, or the default in words.
    pub(crate) value: String,
    /// Where it was written; nowhere if it is the default.
    pub(crate) origin: Option<Origin>,
}

impl Config {
    /// Every setting with its value and where that was written.
    ///
    /// # Errors
    /// As [`gather`](Self::gather).
    pub(crate) fn explain(&self, sources: &Sources) -> Result<Vec<InForce>, ConfigError> {
        let gathered = Gathered {
            layers: sources.layers()?,
        };
        let in_force = |setting: &settings::Setting| {
            let written = gathered.find(setting.name);
            let value = match (setting.name, written) {
                // Where these are depends on the machine.
                ("data-dir", _) => self.data_dir.display().to_string(),
                ("store", _) => self.store.to_string(),
                (_, Some(written)) => written.texts.join(", "),
                (_, None) => setting.default.to_owned(),
            };
            InForce {
                name: setting.name,
                value,
                origin: written.map(|written| written.origin.clone()),
            }
        };
        Ok(settings::SETTINGS.iter().map(in_force).collect())
    }
}

/// The layers, asked for one setting at a time.
struct Gathered {
    layers: Vec<Layer>,
}

impl Gathered {
    fn find(&self, name: &str) -> Option<&Written> {
        self.layers.iter().find_map(|layer| layer.get(name))
    }

    fn set<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, ValueError>,
        value: &mut T,
    ) -> Result<(), ConfigError> {
        if let Some(written) = self.find(name) {
            *value = parse(written.one_filled()?).map_err(|error| written.bad(error))?;
        }
        Ok(())
    }

    fn addresses(&self, name: &str) -> Result<Option<Vec<ListenAddress>>, ConfigError> {
        let Some(written) = self.find(name) else {
            return Ok(None);
        };
        if written.texts.iter().any(|text| text == "none") {
            return match written.texts.as_slice() {
                [_] => Ok(Some(Vec::new())),
                _ => Err(written.bad(ValueError::NoneAndMore)),
            };
        }
        if written.texts.is_empty() {
            return Err(written.bad(ValueError::Empty));
        }
        let parse = |text: &String| match text.as_str() {
            "" => Err(written.bad(ValueError::Empty)),
            text => values::parse_listen(text).map_err(|error| written.bad(error)),
        };
        written
            .texts
            .iter()
            .map(parse)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn listeners(&self, config: &mut Config) -> Result<(), ConfigError> {
        config.listen_v2 = self.addresses("listen-v2")?.unwrap_or_default();
        match self.addresses("listen")? {
            Some(listen) => config.listen = listen,
            // The operator gave the port to layout 2.
            None if config.listen_v2.iter().any(|address| address.port == PORT) => {
                config.listen = Vec::new();
            }
            None => {}
        }
        if config.listen.is_empty() && config.listen_v2.is_empty() {
            return Err(ConfigError::NothingToListenOn);
        }
        Ok(())
    }

    fn certificate(&self) -> Result<Option<CertificateFiles>, ConfigError> {
        match (self.find("tls-cert"), self.find("tls-key")) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(CertificateFiles {
                certificate: PathBuf::from(certificate.one_filled()?),
                key: PathBuf::from(key.one_filled()?),
            })),
            (Some(given), None) => Err(alone(given, "tls-key")),
            (None, Some(given)) => Err(alone(given, "tls-cert")),
        }
    }

    fn banner(&self) -> Result<Option<Arc<[u8]>>, ConfigError> {
        for layer in &self.layers {
            let (text, file) = (
                layer.get(settings::BANNER),
                layer.get(settings::BANNER_FILE),
            );
            let (written, bytes) = match (text, file) {
                (None, None) => continue,
                (Some(_), Some(file)) => {
                    return Err(ConfigError::TwoBanners {
                        origin: file.origin.clone(),
                    });
                }
                (Some(text), None) => (text, text.one()?.as_bytes().to_vec()),
                (None, Some(file)) => (file, read_banner(file)?),
            };
            if u32::try_from(bytes.len()).map_or(true, |len| len > BANNER_LEN_MAX)
                || std::str::from_utf8(&bytes).is_err()
            {
                return Err(ConfigError::NotABanner {
                    origin: written.origin.clone(),
                });
            }
            return Ok(Some(bytes.into()));
        }
        Ok(None)
    }

    fn limits(&self, limits: &mut Limits) -> Result<(), ConfigError> {
        let size = |least: u64, most: u64| {
            move |text: &str| {
                let size = values::parse_size(text)?;
                within(size, least, most, |bytes| format!("{bytes} bytes"))
            }
        };
        let number = |least: u64, most: u64| {
            move |text: &str| {
                within(values::parse_number(text)?, least, most, |number| {
                    number.to_string()
                })
            }
        };
        let time = |text: &str| {
            let (least, most) = (Duration::from_millis(10), Duration::from_secs(86_400));
            within(parse_duration(text)?, least, most, |time| {
                match time.as_secs() {
                    0 => format!("{}ms", time.as_millis()),
                    seconds => format!("{seconds}s"),
                }
            })
        };
        let mut btoken_len_max = u64::from(limits.btoken_len_max);
        self.set("btoken-max", size(1, 512 << 20), &mut btoken_len_max)?;
        limits.btoken_len_max = u32::try_from(btoken_len_max).unwrap_or(u32::MAX);
        self.set("confirm-grace", time, &mut limits.confirm_grace)?;
        self.set("handshake-timeout", time, &mut limits.handshake_timeout)?;
        self.set("idle-timeout", time, &mut limits.idle_timeout)?;
        self.set("session-timeout", time, &mut limits.session_timeout)?;
        let mut connections_max = u64::try_from(limits.connections_max).unwrap_or(u64::MAX);
        self.set(
            "connections-max",
            number(1, 1_000_000),
            &mut connections_max,
        )?;
        limits.connections_max = usize::try_from(connections_max).unwrap_or(usize::MAX);
        self.set("memory-max", size(1, 1 << 44), &mut limits.memory_max)?;
        self.set("accounts-max", number(0, 1 << 40), &mut limits.accounts_max)?;
        let SourceLimits {
            exempt,
            connections_max,
            creates,
            creates_all,
            refusals,
            pause_max,
        } = &mut limits.source;
        if let Some(written) = self.find("limit-exempt") {
            *exempt = networks(written)?;
        }
        let mut of_source = u64::try_from(*connections_max).unwrap_or(u64::MAX);
        self.set("limit-connections", number(1, 1_000_000), &mut of_source)?;
        *connections_max = usize::try_from(of_source).unwrap_or(usize::MAX);
        // As many at once as in one stretch of time; all sources together as many as in ten.
        let rate = |times: u32| move |text: &str| values::parse_rate(text, times);
        self.set("limit-creates", rate(1), creates)?;
        self.set("limit-creates-all", rate(10), creates_all)?;
        self.set("limit-refusals", rate(1), refusals)?;
        self.set("limit-pause", time, pause_max)?;
        if limits.memory_max < 4 * btoken_len_max {
            return Err(ConfigError::MemoryTooSmall {
                memory_max: limits.memory_max,
                btoken_len_max: limits.btoken_len_max,
            });
        }
        if limits.confirm_grace >= limits.idle_timeout {
            return Err(ConfigError::GraceTooLong);
        }
        Ok(())
    }
}

/// Networks, `loopback` for those of this machine, or `none` for none.
fn networks(written: &Written) -> Result<Vec<IpNet>, ConfigError> {
    match written.texts.as_slice() {
        [none] if none == "none" => return Ok(Vec::new()),
        texts if texts.iter().any(|text| text == "none") => {
            return Err(written.bad(ValueError::NoneAndMore));
        }
        [] => return Err(written.bad(ValueError::Empty)),
        _ => {}
    }
    let mut networks = Vec::new();
    for text in &written.texts {
        match text.as_str() {
            "loopback" => networks.extend(loopback()),
            text => networks.push(values::parse_network(text).map_err(|error| written.bad(error))?),
        }
    }
    Ok(networks)
}

fn alone(given: &Written, missing: &'static str) -> ConfigError {
    ConfigError::Alone {
        given: given.origin.clone(),
        missing,
    }
}

fn read_banner(written: &Written) -> Result<Vec<u8>, ConfigError> {
    let path = Path::new(written.one_filled()?);
    crate::files::read(path, u64::from(BANNER_LEN_MAX)).map_err(|error| ConfigError::Unreadable {
        origin: format!("{} ({})", written.origin, path.display()),
        error,
    })
}

fn within<T: PartialOrd>(
    value: T,
    least: T,
    most: T,
    show: impl Fn(T) -> String,
) -> Result<T, ValueError> {
    if value < least || value > most {
        return Err(ValueError::OutOfRange {
            least: show(least),
            most: show(most),
        });
    }
    Ok(value)
}

fn parse_log_format(text: &str) -> Result<LogFormat, ValueError> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(ValueError::NotOneOf("text, json")),
    }
}

fn parse_registration(text: &str) -> Result<Registration, ValueError> {
    match text {
        "open" => Ok(Registration::Open),
        "invite" => Ok(Registration::Invite),
        "closed" => Ok(Registration::Closed),
        _ => Err(ValueError::NotOneOf("open, invite, closed")),
    }
}

/// `$STATE_DIRECTORY` as systemd gives it, else below `$XDG_DATA_HOME`, else below `$HOME`.
fn data_dir_default(environment: &Environment) -> Result<PathBuf, ConfigError> {
    if let Some(dirs) = environment.text("STATE_DIRECTORY")? {
        // A unit with several state directories gets them separated by colons.
        let first = dirs.split(':').next().unwrap_or(dirs);
        return Ok(PathBuf::from(first));
    }
    // The XDG specification: a relative path is to be ignored.
    let absolute = |path: &&str| Path::new(path).is_absolute();
    if let Some(dir) = environment.text("XDG_DATA_HOME")?.filter(absolute) {
        return Ok(Path::new(dir).join("passmate-server"));
    }
    match environment.text("HOME")?.filter(absolute) {
        Some(home) => Ok(Path::new(home).join(".local/share/passmate-server")),
        None => Err(ConfigError::NoDataDir),
    }
}

/// Why there is no configuration to start with; each names where the fault was written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A name that means nothing.
    #[error(
        "unknown {} `{key}`{}",
        if place.is_some() { "key" } else { "environment variable" },
        place.as_ref().map(|path| format!(" in {}", path.display())).unwrap_or_default()
    )]
    UnknownKey {
        /// As written.
        key: String,
        /// The file, or the environment if there is none.
        place: Option<PathBuf>,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A value that cannot be what it was given for.
    #[error("{origin} {error}")]
    BadValue {
        /// Where it was written.
        origin: Origin,
        /// What is wrong with it.
        error: ValueError,
    },
    /// The file has a table, a float or a date where a text belongs.
    #[error("{origin} has a value of the wrong kind")]
    WrongType {
        /// Where it was written.
        origin: Origin,
        /// Whether a list is allowed there.
        list: bool,
    },
    /// A file that cannot be read.
    #[error("cannot read {origin}: {error}")]
    Unreadable {
        /// Which file, and who named it.
        origin: String,
        /// Why.
        error: io::Error,
    },
    /// The configuration file is not TOML. The line itself is not shown: it may hold a password.
    #[error("{} is not TOML, line {line}: {message}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// An environment variable that is not UTF-8.
    #[error("the environment variable {name} is not UTF-8")]
    NotUtf8 {
        /// Its name.
        name: String,
    },
    /// A certificate without its key, or the other way round.
    #[error("{given} is given without --{missing}")]
    Alone {
        /// What is there.
        given: Origin,
        /// What is not.
        missing: &'static str,
    },
    /// A banner as text and as a file.
    #[error("{origin} and a banner as text are given together")]
    TwoBanners {
        /// Where the second one was written.
        origin: Origin,
    },
    /// A banner that no client would take.
    #[error("{origin}: the banner is longer than 32 KiB or not UTF-8")]
    NotABanner {
        /// Where it was written.
        origin: Origin,
    },
    /// No listener is left.
    #[error("there is nothing to listen on")]
    NothingToListenOn,
    /// Nobody said where data goes, and there is no home.
    #[error("there is no place for the server's data: neither $STATE_DIRECTORY nor $HOME is set")]
    NoDataDir,
    /// One create of the longest btoken would never fit.
    #[error("memory-max is {memory_max} bytes, less than four times btoken-max ({btoken_len_max})")]
    MemoryTooSmall {
        /// Bytes.
        memory_max: u64,
        /// Bytes.
        btoken_len_max: u32,
    },
    /// The grace would never end before the silence does.
    #[error("confirm-grace is not shorter than idle-timeout")]
    GraceTooLong,
}

impl ConfigError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownKey {
                nearest: Some(nearest),
                ..
            } => {
                format!("the nearest known name is `{nearest}`")
            }
            Self::UnknownKey { nearest: None, .. } => {
                "`passmate-server serve --help` lists every name".to_owned()
            }
            Self::BadValue { .. } => {
                "`passmate-server serve --help` shows what each option takes".to_owned()
            }
            Self::WrongType { list, .. } => if *list {
                "write a text in quotes, or a list of texts"
            } else {
                "write a text in quotes, a whole number, true or false"
            }
            .to_owned(),
            Self::Unreadable { .. } => {
                "check that the file is there and that the server's user may read it".to_owned()
            }
            Self::NotToml { .. } => {
                "one setting a line, such as: idle-timeout = \"30s\"".to_owned()
            }
            Self::NotUtf8 { .. } => "give a value in UTF-8".to_owned(),
            Self::Alone { missing, .. } => {
                format!("give --{missing} too, or neither for a self-signed certificate")
            }
            Self::TwoBanners { .. } => "give one of them".to_owned(),
            Self::NotABanner { .. } => "shorten it, or write it in UTF-8".to_owned(),
            Self::NothingToListenOn => "`--listen none` needs a --listen-v2 beside it".to_owned(),
            Self::NoDataDir => "give --data-dir DIR".to_owned(),
            Self::MemoryTooSmall { .. } => {
                "creates may use a quarter of the memory, and one must fit: raise memory-max \
                 or lower btoken-max"
                    .to_owned()
            }
            Self::GraceTooLong => "lower confirm-grace or raise idle-timeout".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
