//! The sources of a value, in the order in which they win: flag, variable, file named by a
//! variable, configuration file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::error::ConfigError;
use super::settings::{BANNER_FILE, SETTINGS, Setting, SettingKind, VARIABLE_PREFIX, setting};
use super::values::{ListenAddress, ValueError, nearest, parse_listen, parse_name, parse_network};
use crate::files;
use crate::limits::rate::loopback;

/// The length of the longest file with settings, in bytes.
const FILE_LEN_MAX: u64 = 1 << 20;

/// Variables with our prefix that are not settings: Kubernetes sets them in every pod, to describe
/// a service called `passmate-server`.
const FOREIGN: [&str; 3] = ["SERVICE_HOST", "SERVICE_PORT", "PORT"];

/// The values of one source.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer(BTreeMap<&'static str, Written>);

impl Layer {
    pub(super) fn put(&mut self, setting: &'static Setting, written: Written) {
        self.0.insert(setting.name, written);
    }

    pub(super) fn get(&self, name: &str) -> Option<&Written> {
        self.0.get(name)
    }
}

/// A value as it was written, and where.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) texts: Vec<String>,
    pub(super) origin: Origin,
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// On the command line, as this flag.
    Flag(&'static str),
    /// In this environment variable.
    Variable(String),
    /// In the file that this environment variable names.
    VariableFile(String, PathBuf),
    /// In this line of the configuration file, under this key.
    File {
        path: PathBuf,
        key: String,
        /// Counted from 1; `None` if the key is written in an unusual way.
        line: Option<usize>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => write!(f, "{name}"),
            Self::VariableFile(name, path) => write!(f, "{name} ({})", path.display()),
            Self::File { path, key, line } => {
                write!(f, "`{key}` in {}", path.display())?;
                line.map_or(Ok(()), |line| write!(f, ", line {line}"))
            }
        }
    }
}

/// The environment variables that settings come from.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value of a variable, if it is set and not empty: service managers and compose files pass
    /// unset values as empty texts.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        match self.0.get(std::ffi::OsStr::new(name)) {
            Some(value) if !value.is_empty() => match value.to_str() {
                Some(text) => Ok(Some(text)),
                None => Err(ConfigError::NotUtf8 {
                    name: name.to_owned(),
                }),
            },
            _ => Ok(None),
        }
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// The two layers of the environment: values in variables, and values in files that variables
/// name.
pub(super) fn environment(environment: &Environment) -> Result<(Layer, Layer), ConfigError> {
    let (mut direct, mut from_files) = (Layer::default(), Layer::default());
    let mut known = vec![format!("{VARIABLE_PREFIX}CONFIG")];
    for setting in SETTINGS {
        let variable = setting.variable();
        if let Some(text) = environment.text(&variable)? {
            let written = Written {
                texts: split(setting, text),
                origin: Origin::Variable(variable.clone()),
            };
            // BANNER_FILE is the _FILE variable of BANNER.
            let layer = if setting.name == BANNER_FILE {
                &mut from_files
            } else {
                &mut direct
            };
            layer.put(setting, written);
        }
        if setting.has_variable_file() {
            let variable = format!("{variable}_FILE");
            if let Some(path) = environment.text(&variable)? {
                let path = PathBuf::from(path);
                let origin = Origin::VariableFile(variable.clone(), path.clone());
                let text = read_text(&path).map_err(|error| ConfigError::Unreadable {
                    origin: origin.to_string(),
                    error,
                })?;
                from_files.put(
                    setting,
                    Written {
                        texts: split(setting, text.trim()),
                        origin,
                    },
                );
            }
            known.push(variable);
        }
        known.push(setting.variable());
    }
    for name in environment.0.keys() {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else {
            continue;
        };
        let foreign = FOREIGN.iter().any(|word| {
            rest.strip_prefix(word)
                .is_some_and(|tail| tail.is_empty() || tail.starts_with('_'))
        });
        if !foreign && !known.iter().any(|known| *known == name) {
            let short = known
                .iter()
                .filter_map(|known| known.strip_prefix(VARIABLE_PREFIX));
            let rest = rest.to_ascii_lowercase();
            let short: Vec<String> = short.map(str::to_ascii_lowercase).collect();
            let nearest = nearest_variable(&rest, &short);
            return Err(ConfigError::UnknownKey {
                key: name.into_owned(),
                place: None,
                line: None,
                nearest,
            });
        }
    }
    Ok((direct, from_files))
}

fn nearest_variable(rest: &str, short: &[String]) -> Option<String> {
    let dashed: Vec<String> = short.iter().map(|word| word.replace('_', "-")).collect();
    nearest(rest, dashed.iter().map(String::as_str)).map(|word| {
        format!(
            "{VARIABLE_PREFIX}{}",
            word.replace('-', "_").to_ascii_uppercase()
        )
    })
}

/// Splits a list at commas, spaces and line ends.
fn split(setting: &Setting, text: &str) -> Vec<String> {
    match setting.kind {
        SettingKind::Many => text
            .split([',', ' ', '\t', '\n', '\r'])
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect(),
        SettingKind::One | SettingKind::Switch => vec![text.to_owned()],
    }
}

/// The layer of a configuration file.
pub(super) fn file(path: &Path) -> Result<Layer, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable {
        origin: path.display().to_string(),
        error,
    };
    parse_file(path, &read_text(path).map_err(unreadable)?)
}

fn parse_file(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // The parser's own message quotes the line, which may hold a password.
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        ConfigError::NotToml {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            message: error.message().to_owned(),
        }
    })?;
    let mut layer = Layer::default();
    for (key, value) in table {
        let Some(setting) = setting(&key) else {
            let nearest = nearest(&key, SETTINGS.iter().map(|setting| setting.name));
            return Err(ConfigError::UnknownKey {
                line: line_of(text, &key),
                key,
                place: Some(path.to_owned()),
                nearest: nearest.map(str::to_owned),
            });
        };
        let origin = Origin::File {
            path: path.to_owned(),
            line: line_of(text, &key),
            key,
        };
        let texts = match value {
            toml::Value::Array(items) if setting.kind == SettingKind::Many => {
                items.into_iter().map(scalar).collect::<Option<Vec<_>>>()
            }
            value => scalar(value).map(|text| vec![text]),
        };
        let Some(texts) = texts else {
            return Err(ConfigError::WrongType {
                origin,
                list: setting.kind == SettingKind::Many,
            });
        };
        layer.put(setting, Written { texts, origin });
    }
    Ok(layer)
}

/// The line that sets a key at the top of a valid TOML text.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let mut lines = text.lines();
    let place = lines.position(|line| {
        let named = line.split_once('=').map(|(name, _)| name.trim());
        named == Some(key)
    });
    place.map(|place| place + 1)
}

fn scalar(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        _ => None,
    }
}

/// Reads a text file of at most 1 MiB.
fn read_text(path: &Path) -> io::Result<String> {
    let bytes = files::read(path, FILE_LEN_MAX)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}

impl Written {
    /// The single text that was written.
    pub(super) fn one(&self) -> Result<&str, ConfigError> {
        match self.texts.as_slice() {
            [text] => Ok(text),
            [] => Err(self.bad(ValueError::Empty)),
            [_, _, ..] => Err(self.bad(ValueError::Repeated)),
        }
    }

    /// The single text that was written, which must not be empty.
    pub(super) fn one_filled(&self) -> Result<&str, ConfigError> {
        match self.one()? {
            "" => Err(self.bad(ValueError::Empty)),
            text => Ok(text),
        }
    }

    /// Parses the single text.
    pub(super) fn parse<T>(
        &self,
        parse: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Result<T, ConfigError> {
        parse(self.one_filled()?).map_err(|error| self.bad(error))
    }

    /// Parses the single text into `value`.
    pub(super) fn set_one<T>(
        &self,
        parse: impl Fn(&str) -> Result<T, ValueError>,
        value: &mut T,
    ) -> Result<(), ConfigError> {
        *value = self.parse(parse)?;
        Ok(())
    }

    /// Reads all texts into `value`.
    pub(super) fn set<T>(
        &self,
        read: impl Fn(&Self) -> Result<T, ConfigError>,
        value: &mut T,
    ) -> Result<(), ConfigError> {
        *value = read(self)?;
        Ok(())
    }

    /// A path, with its origin.
    pub(super) fn file(&self) -> Result<(Origin, PathBuf), ConfigError> {
        Ok((self.origin.clone(), PathBuf::from(self.one_filled()?)))
    }

    /// Addresses to listen on, or `none`.
    pub(super) fn addresses(&self) -> Result<Vec<ListenAddress>, ConfigError> {
        let texts = self.list_or_none()?;
        let parse = |text: &String| match text.as_str() {
            "" => Err(self.bad(ValueError::Empty)),
            text => parse_listen(text).map_err(|error| self.bad(error)),
        };
        texts.iter().map(parse).collect()
    }

    /// DNS names, or `none`.
    pub(super) fn names(&self) -> Result<Vec<String>, ConfigError> {
        let mut names = Vec::new();
        for text in self.list_or_none()? {
            let name = parse_name(text).map_err(|error| self.bad(error))?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Networks, `loopback` for those of this machine, or `none`.
    pub(super) fn networks(&self) -> Result<Vec<IpNet>, ConfigError> {
        let mut networks = Vec::new();
        for text in self.list_or_none()? {
            match text.as_str() {
                "loopback" => networks.extend(loopback()),
                text => networks.push(parse_network(text).map_err(|error| self.bad(error))?),
            }
        }
        Ok(networks)
    }

    /// A list that is not empty; `none` alone means an empty one.
    fn list_or_none(&self) -> Result<&[String], ConfigError> {
        match self.texts.as_slice() {
            [] => Err(self.bad(ValueError::Empty)),
            [none] if none == "none" => Ok(&[]),
            texts if texts.iter().any(|text| text == "none") => {
                Err(self.bad(ValueError::NoneAndMore))
            }
            texts => Ok(texts),
        }
    }

    /// The error for this value, with the place where it was written.
    pub(super) fn bad(&self, error: ValueError) -> ConfigError {
        ConfigError::BadValue {
            origin: self.origin.clone(),
            error,
        }
    }
}
