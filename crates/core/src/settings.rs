//! The settings file, and where vaults are.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use passmate_sync::Policy;
use serde::{Deserialize, Serialize};

/// The keys of a settings file, for an error.
const KEYS: [&str; 8] = [
    "vault",
    "profile",
    "passphrase-file",
    "passphrase-command",
    "color",
    "auto",
    "guard-records",
    "guard-percent",
];

/// The longest settings file that is read, in bytes.
pub const FILE_LEN_MAX: u64 = 1024 * 1024;

/// How and when a vault syncs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncSettings {
    /// Sync after each change.
    pub auto: bool,
    /// Never use the network.
    pub offline: bool,
    /// When a sync alters so much that a person must agree first.
    pub policy: Policy,
}

/// The settings file. Its keys are the names of the command line's options.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The vault file.
    pub vault: Option<PathBuf>,
    /// Another vault of the same person, by name.
    pub profile: Option<String>,
    /// The passphrase is this file's first line.
    pub passphrase_file: Option<PathBuf>,
    /// The passphrase is the first line of what this shell command writes.
    pub passphrase_command: Option<String>,
    /// When a terminal gets colours.
    pub color: Option<Color>,
    #[serde(default)]
    sync: SyncSection,
}

/// When a terminal gets colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SyncSection {
    auto: Option<bool>,
    guard_records: Option<usize>,
    guard_percent: Option<usize>,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no home folder to look in.
    #[error("there is no home folder")]
    NoHome,
    /// The file cannot be read.
    #[error("cannot read the settings {}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The file is wrong.
    #[error("{}, {fault}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Line and fault, without the text itself.
        fault: String,
    },
    /// The name of a profile is invalid.
    #[error(
        "a profile's name may contain only letters, digits, dots, dashes and underscores, 64 \
         bytes at \
         most, and no dot in front"
    )]
    ProfileName,
}

impl Settings {
    /// The settings in `path`, or in the default file if there is one.
    ///
    /// # Errors
    /// See [`SettingsError`]. A default file that does not exist is no error.
    pub fn read(path: Option<&Path>) -> Result<Self, SettingsError> {
        let (path, is_named) = match path {
            Some(path) => (path.to_owned(), true),
            None => (base()?.config_dir().join("passmate/config.toml"), false),
        };
        let unreadable = |why: String| SettingsError::Unreadable {
            path: path.clone(),
            why,
        };
        let text = match std::fs::metadata(&path) {
            Err(error) if !is_named && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Ok(metadata) if metadata.len() > FILE_LEN_MAX => {
                return Err(unreadable("it is longer than 1 MiB".to_owned()));
            }
            _ => std::fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?,
        };
        toml::from_str(&text).map_err(|error| SettingsError::Wrong {
            fault: toml_fault(&text, &error, &KEYS),
            path,
        })
    }

    /// How and when the vault syncs; `offline` forbids the network.
    #[must_use]
    pub fn sync(&self, offline: bool) -> SyncSettings {
        let default = Policy::default();
        SyncSettings {
            auto: self.sync.auto.unwrap_or(false),
            offline,
            policy: Policy {
                records: self.sync.guard_records.unwrap_or(default.records),
                percent: self.sync.guard_percent.unwrap_or(default.percent),
                ..default
            },
        }
    }
}

/// How many profiles are looked at.
const PROFILES_MAX: usize = 1000;

/// The vault of a person who named none: `$XDG_DATA_HOME/passmate/vault.pmdb`.
///
/// # Errors
/// [`SettingsError::NoHome`].
pub fn default_vault() -> Result<PathBuf, SettingsError> {
    Ok(base()?.data_dir().join("passmate/vault.pmdb"))
}

/// The profiles, in order of their names, and the paths of their vaults, which may be missing.
///
/// # Errors
/// [`SettingsError::NoHome`].
pub fn profiles() -> Result<Vec<(String, PathBuf)>, SettingsError> {
    let folder = base()?.data_dir().join("passmate/profiles");
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut profiles: Vec<_> = entries
        .take(PROFILES_MAX)
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let vault = profile_vault(&name).ok()?;
            entry.path().is_dir().then_some((name, vault))
        })
        .collect();
    profiles.sort();
    Ok(profiles)
}

/// The vault of a profile: `$XDG_DATA_HOME/passmate/profiles/NAME/vault.pmdb`.
///
/// # Errors
/// [`SettingsError::NoHome`], or [`SettingsError::ProfileName`]: a name has letters, digits, dots,
/// dashes and underscores, 64 bytes at most, and does not begin with a dot.
pub fn profile_vault(name: &str) -> Result<PathBuf, SettingsError> {
    let is_fine = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(is_fine) {
        return Err(SettingsError::ProfileName);
    }
    let folder = base()?.data_dir().join("passmate/profiles");
    Ok(folder.join(name).join("vault.pmdb"))
}

/// Where a TOML text is wrong and why: the line, the key, and no part of a value, which may be a
/// secret. `keys` are names that may be shown although the text is not TOML.
#[must_use]
pub fn toml_fault(text: &str, error: &toml::de::Error, keys: &[&str]) -> String {
    let place = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(..place).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let is_toml = text.parse::<toml::Table>().is_ok();
    let key = key_at(text, place).filter(|key| is_toml || keys.contains(key));
    let of_key = key.map_or_else(String::new, |key| format!(", key `{key}`"));
    let why = if is_toml {
        without_value(error.message())
    } else {
        // The parser's own words are about its grammar.
        error.message().to_owned()
    };
    format!("line {number}{of_key}: {why}")
}

/// What was expected, without what was found.
fn without_value(message: &str) -> String {
    let expected = message
        .rsplit_once(", expected ")
        .map(|(_, what)| plain(what));
    match expected {
        Some(what) if message.starts_with("unknown field ") => {
            format!("this key is not known, expected {what}")
        }
        Some(what) => format!("the value is wrong, expected {what}"),
        None if message.starts_with("missing field ") => message.to_owned(),
        None => "the value is wrong".to_owned(),
    }
}

/// What the reader expected, in the words of TOML.
fn plain(expected: &str) -> &str {
    match expected {
        _ if expected.starts_with("struct ") => "a table",
        "usize" | "u64" | "u32" | "u16" | "i64" => "a number",
        "path string" | "a path string" => "a path",
        _ => expected,
    }
}

/// The bare key whose line, or whose value of several lines, is at this place.
fn key_at(text: &str, place: usize) -> Option<&str> {
    let mut begin = 0;
    let mut open: Option<(&str, &str)> = None;
    for line in text.split_inclusive('\n') {
        let first = open.map_or(line, |(first, _)| first);
        let mut rest = line;
        loop {
            let quotes = match open {
                Some((_, quotes)) => rest.find(quotes).map(|at| (at, quotes)),
                None => ["\"\"\"", "'''"]
                    .into_iter()
                    .filter_map(|quotes| Some((rest.find(quotes)?, quotes)))
                    .min(),
            };
            let Some((at, quotes)) = quotes else { break };
            open = open.is_none().then_some((line, quotes));
            rest = rest.get(at + quotes.len()..).unwrap_or_default();
        }
        begin += line.len();
        if place < begin || begin == text.len() {
            let key = first.split_once('=')?.0.trim();
            let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            return (!key.is_empty() && key.chars().all(is_bare)).then_some(key);
        }
    }
    None
}

fn base() -> Result<impl BaseStrategy, SettingsError> {
    etcetera::choose_base_strategy().map_err(|_| SettingsError::NoHome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        let error = toml::from_str::<Settings>(text).unwrap_err();
        toml_fault(text, &error, &KEYS)
    }

    #[test]
    fn a_fault_names_line_and_key() {
        for (text, begin) in [
            (
                "vault = 5\n",
                "line 1, key `vault`: the value is wrong, expected ",
            ),
            (
                "\ncolor = \"hunter2\"",
                "line 2, key `color`: the value is wrong, expected one of",
            ),
            (
                "\npasword = \"x\"",
                "line 2, key `pasword`: this key is not known, expected one of",
            ),
            ("profile = \"x\nvault = \"y\"", "line 1, key `profile`: "),
            (
                "[sync]\nauto = \"hunter2\"",
                "line 2, key `auto`: the value is wrong, expected a bool",
            ),
        ] {
            let fault = fault(text);
            assert!(fault.starts_with(begin), "{text:?}: {fault}");
        }
    }

    #[test]
    fn no_fault_shows_a_part_of_a_value() {
        const SECRET: &str = "hunter2";
        let values = [
            "\"hunter2\"",
            "\"hunter2",
            "hunter2",
            "'hunter2'",
            "\"x\" hunter2",
            "[\"hunter2\"]",
            "{ hunter2 = 1 }",
            "\"\\hunter2\"",
            "\"\"\"\nhunter2 = 5\n\\q\"\"\"",
            "\"\"\"\nhunter2=",
            "\"x, expected hunter2\"",
            "2026-hunter2",
        ];
        let keys = [
            "vault",
            "color",
            "sync",
            "sync.auto",
            "sync.guard-records",
            "passphrase-file",
        ];
        for (key, value) in keys.iter().flat_map(|key| values.map(|value| (key, value))) {
            let text = format!("{key} = {value}\n");
            if let Err(error) = toml::from_str::<Settings>(&text) {
                let fault = toml_fault(&text, &error, &KEYS);
                assert!(!fault.contains(SECRET), "{text:?}: {fault}");
            }
        }
        for text in [
            "hunter2",
            "hunter2==",
            "= hunter2",
            "[hunter2",
            "passphrase hunter2 = 5",
        ] {
            assert!(!fault(text).contains(SECRET), "{text}");
        }
    }
}
