//! Where a value can come from, and which source wins: flag, variable, file named by a variable,
//! configuration file. (The default is what is left.)

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::settings::{BANNER_FILE, Kind, SETTINGS, Setting, VARIABLE_PREFIX, setting};
use super::values::{ValueError, nearest};
use crate::files;

/// No file that a setting comes from is longer; 1 MiB.
const FILE_LEN_MAX: u64 = 1 << 20;

/// Variables in our name space that are not ours: Kubernetes describes a service called
/// `passmate-server` to every pod with them.
const FOREIGN: [&str; 3] = ["SERVICE_HOST", "SERVICE_PORT", "PORT"];

/// One source's values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer(BTreeMap<&'static str, Written>);

impl Layer {
    pub(crate) fn put(&mut self, setting: &'static Setting, written: Written) {
        self.0.insert(setting.name, written);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Written> {
        self.0.get(name)
    }
}

/// A value as somebody wrote it, and where.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) texts: Vec<String>,
    pub(crate) origin: Origin,
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
    /// Under this key of the configuration file.
    File(PathBuf, String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => write!(f, "{name}"),
            Self::VariableFile(name, path) => write!(f, "{name} ({})", path.display()),
            Self::File(path, key) => write!(f, "`{key}` in {}", path.display()),
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

    /// The value, if the variable is there and not empty: service managers and compose files
    /// pass what nobody filled in as an empty text.
    ///
    /// # Errors
    /// The value is not UTF-8.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
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

/// The two layers of the environment: values in variables, values in files that variables name.
pub(crate) fn environment(environment: &Environment) -> Result<(Layer, Layer), ConfigError> {
    let (mut direct, mut from_files) = (Layer::default(), Layer::default());
    let mut known = vec![format!("{VARIABLE_PREFIX}CONFIG")];
    for setting in SETTINGS {
        let variable = setting.variable();
        if let Some(text) = environment.text(&variable)? {
            let written = Written {
                texts: split(setting, text),
                origin: Origin::Variable(variable.clone()),
            };
            // BANNER_FILE is to BANNER what any other variable's _FILE is to it.
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
        known.push(variable_of(setting));
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
                nearest,
            });
        }
    }
    Ok((direct, from_files))
}

fn variable_of(setting: &Setting) -> String {
    setting.variable()
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

/// A list in one text is separated by commas, blanks or lines.
fn split(setting: &Setting, text: &str) -> Vec<String> {
    match setting.kind {
        Kind::Many => text
            .split([',', ' ', '\t', '\n', '\r'])
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect(),
        Kind::One | Kind::Switch => vec![text.to_owned()],
    }
}

/// The layer of a configuration file.
pub(crate) fn file(path: &Path) -> Result<Layer, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable {
        origin: path.display().to_string(),
        error,
    };
    parse_file(path, &read_text(path).map_err(unreadable)?)
}

fn parse_file(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // The parser's own display quotes the line, and a line may hold a password.
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
                key,
                place: Some(path.to_owned()),
                nearest: nearest.map(str::to_owned),
            });
        };
        let origin = Origin::File(path.to_owned(), key);
        let texts = match value {
            toml::Value::Array(items) if setting.kind == Kind::Many => {
                items.into_iter().map(scalar).collect::<Option<Vec<_>>>()
            }
            value => scalar(value).map(|text| vec![text]),
        };
        let Some(texts) = texts else {
            return Err(ConfigError::WrongType {
                origin,
                list: setting.kind == Kind::Many,
            });
        };
        layer.put(setting, Written { texts, origin });
    }
    Ok(layer)
}

fn scalar(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        _ => None,
    }
}

/// Reads a small text file; longer than 1 MiB or not UTF-8 is an error.
fn read_text(path: &Path) -> io::Result<String> {
    let bytes = files::read(path, FILE_LEN_MAX)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}

impl Written {
    /// The one text that was written.
    pub(crate) fn one(&self) -> Result<&str, ConfigError> {
        match self.texts.as_slice() {
            [text] => Ok(text),
            [] => Err(self.bad(ValueError::Empty)),
            [_, _, ..] => Err(self.bad(ValueError::Repeated)),
        }
    }

    /// The one text that was written, which must not be empty.
    pub(crate) fn one_filled(&self) -> Result<&str, ConfigError> {
        match self.one()? {
            "" => Err(self.bad(ValueError::Empty)),
            text => Ok(text),
        }
    }

    /// The error that says what is wrong with this value, and where it was written.
    pub(crate) fn bad(&self, error: ValueError) -> ConfigError {
        ConfigError::BadValue {
            origin: self.origin.clone(),
            error,
        }
    }
}
