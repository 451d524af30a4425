//! Settings from flags, the environment and a file become the one [`App`] that commands get. A flag
//! goes before a variable, a variable before the file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::Deserialize;

use super::ask::{Ask, PassphraseSource};
use super::error::{Code, Failure};
use super::output::{Color, Output};
use super::{App, Global};
use passmate_core::session::VaultLocation;
use passmate_core::sync::Guard;

/// Longest settings file, in bytes.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// The settings file. Its keys are the flags' names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    vault: Option<PathBuf>,
    profile: Option<String>,
    passphrase_file: Option<PathBuf>,
    passphrase_command: Option<String>,
    color: Option<Color>,
    #[serde(default)]
    sync: SyncFile,
}

/// What belongs to `passmate sync`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SyncFile {
    auto: Option<bool>,
    guard_records: Option<usize>,
    guard_percent: Option<usize>,
}

/// A variable of the environment; an empty one counts as not set.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn text_variable(name: &str) -> Result<Option<String>, Failure> {
    let text = |value: OsString| {
        value.into_string().map_err(|_| {
            Failure::usage(
                format!("{name} is not UTF-8 text"),
                format!("set {name} anew"),
            )
        })
    };
    variable(name).map(text).transpose()
}

pub(super) fn gather(global: &Global) -> Result<App, Failure> {
    let file = read_file(global)?;
    let color = global.color.or(file.color).unwrap_or_default();
    let path = vault_path(global, &file)?;
    Ok(App {
        is_default_vault: path == default_vault().unwrap_or_default(),
        location: VaultLocation::new(path),
        ask: Ask {
            no_input: global.no_input,
            yes: global.yes,
            passphrase: passphrase_source(global, &file)?,
        },
        out: Output::new(global.json, global.quiet, global.verbose, color),
        is_offline: global.offline,
        syncs_after_changes: file.sync.auto.unwrap_or(false),
        guard: Guard {
            records: file.sync.guard_records.unwrap_or(Guard::default().records),
            percent: file.sync.guard_percent.unwrap_or(Guard::default().percent),
        },
    })
}

/// Where a TOML text is wrong and why, without the text itself.
pub(super) fn toml_fault(text: &str, error: &toml::de::Error) -> String {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    format!(
        "line {}: {}",
        before.matches('\n').count() + 1,
        error.message()
    )
}

fn read_file(global: &Global) -> Result<File, Failure> {
    let named = global
        .config
        .clone()
        .or_else(|| variable("PASSMATE_CONFIG").map(PathBuf::from));
    let (path, is_named) = match named {
        Some(path) => (path, true),
        None => (base()?.config_dir().join("passmate/config.toml"), false),
    };
    let failed = |why: String| {
        Failure::new(
            Code::File,
            format!("cannot read the settings {}: {why}", path.display()),
            "check --config and PASSMATE_CONFIG",
        )
    };
    let text = match std::fs::metadata(&path) {
        Err(error) if !is_named && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(File::default());
        }
        Ok(metadata) if metadata.len() > FILE_LEN_MAX => {
            return Err(failed("it is longer than 1 MiB".to_owned()));
        }
        _ => std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?,
    };
    toml::from_str(&text).map_err(|error| {
        Failure::usage(
            format!("{}, {}", path.display(), toml_fault(&text, &error)),
            "its keys are vault, profile, passphrase-file, passphrase-command, color, sync.auto, sync.guard-records and \
             sync.guard-percent",
        )
    })
}

fn base() -> Result<impl BaseStrategy, Failure> {
    etcetera::choose_base_strategy().map_err(|_| {
        Failure::new(
            Code::File,
            "there is no home folder",
            "set HOME, or name the vault with --vault and settings with --config",
        )
    })
}

fn vault_path(global: &Global, file: &File) -> Result<PathBuf, Failure> {
    let layers = [
        (global.vault.clone(), global.profile.clone()),
        (
            variable("PASSMATE_VAULT").map(PathBuf::from),
            text_variable("PASSMATE_PROFILE")?,
        ),
        (file.vault.clone(), file.profile.clone()),
    ];
    for layer in layers {
        match layer {
            (Some(_), Some(_)) => {
                return Err(Failure::usage(
                    "a vault and a profile are named in the same location",
                    "name one of the two",
                ));
            }
            (Some(vault), None) => return Ok(vault),
            (None, Some(profile)) => {
                check_profile(&profile)?;
                return Ok(base()?
                    .data_dir()
                    .join("passmate/profiles")
                    .join(profile)
                    .join("vault.pmdb"));
            }
            (None, None) => {}
        }
    }
    default_vault()
}

fn default_vault() -> Result<PathBuf, Failure> {
    Ok(base()?.data_dir().join("passmate/vault.pmdb"))
}

fn check_profile(name: &str) -> Result<(), Failure> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(is_plain) {
        return Err(Failure::usage(
            "a profile's name has letters, digits, dots, dashes and underscores, 64 bytes at most, and no dot in front",
            "choose another name, or name a file with --vault",
        ));
    }
    Ok(())
}

fn passphrase_source(global: &Global, file: &File) -> Result<PassphraseSource, Failure> {
    let layers = [
        (
            global.passphrase_file.clone(),
            global.passphrase_command.clone(),
        ),
        (
            variable("PASSMATE_PASSPHRASE_FILE").map(PathBuf::from),
            text_variable("PASSMATE_PASSPHRASE_COMMAND")?,
        ),
        (
            file.passphrase_file.clone(),
            file.passphrase_command.clone(),
        ),
    ];
    for layer in layers {
        return Ok(match layer {
            (Some(_), Some(_)) => {
                return Err(Failure::usage(
                    "a passphrase file and a passphrase command are named in the same location",
                    "name one of the two",
                ));
            }
            (Some(path), None) if path == Path::new("-") => PassphraseSource::Stdin,
            (Some(path), None) => PassphraseSource::File(path),
            (None, Some(command)) => PassphraseSource::Command(command),
            (None, None) => continue,
        });
    }
    Ok(PassphraseSource::Terminal)
}
