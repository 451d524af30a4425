//! Gathers the configuration: for each setting the first source that has it wins, and its row in
//! the table of settings applies the value.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use passmate_proto::{BANNER_LEN_MAX, PORT};

use super::error::ConfigError;
use super::layers::{self, Environment, Layer, Origin, Written};
use super::settings::{Effect, SETTINGS, Setting};
use super::{Acme, CertificateFiles, Config, ListenAddress, command};
use crate::files;
use crate::store::StoreUrl;

/// Read if it exists and no other file is named.
const FILE_DEFAULT: &str = "/etc/passmate/server.toml";

/// Where a configuration comes from. It is kept, so that a reload can gather again.
#[derive(Debug, Clone)]
pub struct Sources {
    flags: Layer,
    environment: Environment,
    file: Option<PathBuf>,
    pub(super) file_default: PathBuf,
}

impl Sources {
    /// Takes the settings that were given to a command as flags.
    pub(crate) fn from_matches(matches: &clap::ArgMatches, environment: Environment) -> Self {
        Self {
            flags: command::flags(matches),
            environment,
            file: matches.get_one::<String>("config").map(PathBuf::from),
            file_default: PathBuf::from(FILE_DEFAULT),
        }
    }

    /// The configuration file that is read, if there is one.
    ///
    /// # Errors
    /// As [`Config::gather`].
    pub(crate) fn config_file(&self) -> Result<Option<PathBuf>, ConfigError> {
        let default = || {
            self.file_default
                .exists()
                .then(|| self.file_default.clone())
        };
        Ok(self.named_file()?.or_else(default))
    }

    /// The configuration file that an option or a variable names.
    fn named_file(&self) -> Result<Option<PathBuf>, ConfigError> {
        Ok(match &self.file {
            Some(path) => Some(path.clone()),
            None => self
                .environment
                .text("PASSMATE_SERVER_CONFIG")?
                .map(PathBuf::from),
        })
    }

    /// Whether anything says where the data is, other than the home of the user.
    ///
    /// # Errors
    /// As [`Config::gather`].
    pub(crate) fn name_the_place(&self) -> Result<bool, ConfigError> {
        let layers = self.layers()?;
        let mut names = ["data-dir", "store"].iter();
        let is_set = names.any(|name| layers.iter().any(|layer| layer.get(name).is_some()));
        Ok(is_set || self.environment.text("STATE_DIRECTORY")?.is_some())
    }

    /// All layers, the one that wins first.
    fn layers(&self) -> Result<Vec<Layer>, ConfigError> {
        let (variables, variable_files) = layers::environment(&self.environment)?;
        let file = match self.named_file()? {
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

/// A configuration in the making. Settings that depend on others are collected here and resolved
/// when all are known.
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) listen: Option<Vec<ListenAddress>>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) store: Option<StoreUrl>,
    pub(super) certificate: Option<(Origin, PathBuf)>,
    pub(super) key: Option<(Origin, PathBuf)>,
    /// Without names there is none.
    pub(super) acme: Acme,
    /// Where the first setting about it was written.
    pub(super) acme_origin: Option<Origin>,
    /// The banner as text and as a file, each with the rank of its layer.
    pub(super) banner: Option<(usize, Written)>,
    pub(super) banner_file: Option<(usize, Written)>,
    /// The rank of the layer that the current setting comes from; 0 wins.
    pub(super) rank: usize,
}

impl Config {
    /// Gathers the configuration: flag, variable, file named by a variable, configuration file,
    /// default.
    ///
    /// # Errors
    /// The first fault, with the place where it was written.
    pub fn gather(sources: &Sources) -> Result<Self, ConfigError> {
        let layers = sources.layers()?;
        let mut draft = Draft::new();
        for setting in SETTINGS {
            if let Some((rank, written)) = find(&layers, setting) {
                draft.rank = rank;
                (setting.apply)(&mut draft, written)?;
            }
        }
        draft.finish(&sources.environment)
    }

    /// Every setting with its value and its origin.
    ///
    /// # Errors
    /// As [`gather`](Self::gather).
    pub(crate) fn explain(&self, sources: &Sources) -> Result<Vec<InForce>, ConfigError> {
        let layers = sources.layers()?;
        let in_force = |setting: &Setting| {
            let written = find(&layers, setting).map(|(_, written)| written);
            let value = match (setting.name, written) {
                // The defaults of these depend on the machine.
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
        Ok(SETTINGS.iter().map(in_force).collect())
    }
}

/// A setting as it is in force.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) name: &'static str,
    /// The value as it was written, or the default in words.
    pub(crate) value: String,
    /// Where the value was written; none for the default.
    pub(crate) origin: Option<Origin>,
}

/// Settings that differ and take effect only at a restart.
pub(crate) fn changed_at_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let is_changed = |setting: &&Setting| match setting.effect {
        Effect::Reload => false,
        Effect::Restart(is_same) => !is_same(old, new),
    };
    let changed = SETTINGS.iter().filter(is_changed);
    changed.map(|setting| setting.name).collect()
}

fn find<'a>(layers: &'a [Layer], setting: &Setting) -> Option<(usize, &'a Written)> {
    let mut layers = layers.iter().enumerate();
    layers.find_map(|(rank, layer)| Some((rank, layer.get(setting.name)?)))
}

impl Draft {
    fn new() -> Self {
        Self {
            config: Config::new(PathBuf::new()),
            listen: None,
            data_dir: None,
            store: None,
            certificate: None,
            key: None,
            acme: Acme::new(Vec::new()),
            acme_origin: None,
            banner: None,
            banner_file: None,
            rank: 0,
        }
    }

    /// Keeps where a setting of ACME was written, if it is the first one.
    pub(super) fn note_acme(&mut self, written: &Written) {
        self.acme_origin
            .get_or_insert_with(|| written.origin.clone());
    }

    fn finish(self, environment: &Environment) -> Result<Config, ConfigError> {
        let mut config = self.config;
        config.data_dir = match self.data_dir {
            Some(data_dir) => data_dir,
            None => data_dir_default(environment)?,
        };
        config.store = self
            .store
            .unwrap_or_else(|| Config::store_default(&config.data_dir));
        config.certificate = match (self.certificate, self.key) {
            (None, None) => None,
            (Some((_, certificate)), Some((_, key))) => Some(CertificateFiles { certificate, key }),
            (Some((given, _)), None) => return Err(alone(given, "tls-key")),
            (None, Some((given, _))) => return Err(alone(given, "tls-cert")),
        };
        config.acme = match self.acme_origin {
            None => None,
            Some(given) if self.acme.names.is_empty() => return Err(alone(given, "acme")),
            Some(given) if config.certificate.is_some() => {
                return Err(ConfigError::TwoCertificates { given });
            }
            Some(_) => Some(self.acme),
        };
        config.banner = banner(self.banner, self.banner_file)?;
        config.listen = match self.listen {
            Some(listen) => listen,
            // The operator gave the port to layout 2.
            None if config.listen_v2.iter().any(|address| address.port == PORT) => Vec::new(),
            None => config.listen,
        };
        if config.listen.is_empty() && config.listen_v2.is_empty() {
            return Err(ConfigError::NothingToListenOn);
        }
        let limits = &config.limits;
        if limits.memory_max < 4 * u64::from(limits.btoken_len_max) {
            return Err(ConfigError::MemoryTooSmall {
                memory_max: limits.memory_max,
                btoken_len_max: limits.btoken_len_max,
            });
        }
        if let Some(limit) = limits.account_limit
            && limit > limits.btoken_len_max
        {
            return Err(ConfigError::AccountLimitTooHigh {
                limit,
                btoken_len_max: limits.btoken_len_max,
            });
        }
        if limits.confirm_grace >= limits.idle_timeout {
            return Err(ConfigError::GraceTooLong);
        }
        Ok(config)
    }
}

fn alone(given: Origin, missing: &'static str) -> ConfigError {
    ConfigError::Alone { given, missing }
}

/// The banner of the layer that wins, as text or as the content of a file.
fn banner(
    text: Option<(usize, Written)>,
    file: Option<(usize, Written)>,
) -> Result<Option<Arc<[u8]>>, ConfigError> {
    let (written, bytes) = match (text, file) {
        (None, None) => return Ok(None),
        (Some((text_rank, _)), Some((file_rank, file))) if text_rank == file_rank => {
            let origin = file.origin;
            return Err(ConfigError::TwoBanners { origin });
        }
        (Some((text_rank, text)), Some((file_rank, _))) if text_rank < file_rank => {
            let bytes = text.one()?.as_bytes().to_vec();
            (text, bytes)
        }
        (_, Some((_, file))) => {
            let bytes = read_banner(&file)?;
            (file, bytes)
        }
        (Some((_, text)), None) => {
            let bytes = text.one()?.as_bytes().to_vec();
            (text, bytes)
        }
    };
    let is_short = u32::try_from(bytes.len()).is_ok_and(|len| len <= BANNER_LEN_MAX);
    if !is_short || std::str::from_utf8(&bytes).is_err() {
        let origin = written.origin;
        return Err(ConfigError::NotABanner { origin });
    }
    Ok(Some(bytes.into()))
}

fn read_banner(written: &Written) -> Result<Vec<u8>, ConfigError> {
    let path = Path::new(written.one_filled()?);
    let read = files::read(path, u64::from(BANNER_LEN_MAX));
    let bytes = read.map_err(|error| ConfigError::Unreadable {
        origin: format!("{} ({})", written.origin, path.display()),
        error,
    })?;
    // Editors of Windows begin a file with a byte order mark.
    let text = bytes.strip_prefix("\u{feff}".as_bytes());
    Ok(text.map(<[u8]>::to_vec).unwrap_or(bytes))
}

/// `$STATE_DIRECTORY` as systemd sets it, else below `$XDG_DATA_HOME`, else below `$HOME`.
fn data_dir_default(environment: &Environment) -> Result<PathBuf, ConfigError> {
    if let Some(dirs) = environment.text("STATE_DIRECTORY")? {
        // systemd separates several state directories with colons.
        let first = dirs.split(':').next().unwrap_or(dirs);
        return Ok(PathBuf::from(first));
    }
    // The XDG specification says that a relative path must be ignored.
    let absolute = |path: &&str| Path::new(path).is_absolute();
    if let Some(dir) = environment.text("XDG_DATA_HOME")?.filter(absolute) {
        return Ok(Path::new(dir).join("passmate-server"));
    }
    match environment.text("HOME")?.filter(absolute) {
        Some(home) => Ok(Path::new(home).join(".local/share/passmate-server")),
        None => Err(ConfigError::NoDataDir),
    }
}
