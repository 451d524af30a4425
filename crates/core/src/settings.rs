//! The settings file, and where vaults are.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use passmate_sync::Policy;
use serde::Deserialize;

/// The longest settings file that is read, in bytes.
pub const FILE_LEN_MAX: u64 = 1024 * 1024;

/// How and when a vault syncs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
            fault: toml_fault(&text, &error),
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

/// The vault of a person who named none: `$XDG_DATA_HOME/passmate/vault.pmdb`.
///
/// # Errors
/// [`SettingsError::NoHome`].
pub fn default_vault() -> Result<PathBuf, SettingsError> {
    Ok(base()?.data_dir().join("passmate/vault.pmdb"))
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

/// Where a TOML text is wrong and why, without the text itself.
#[must_use]
pub fn toml_fault(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.unwrap_or_default().matches('\n').count() + 1;
    format!("line {line}: {}", error.message())
}

fn base() -> Result<impl BaseStrategy, SettingsError> {
    etcetera::choose_base_strategy().map_err(|_| SettingsError::NoHome)
}
