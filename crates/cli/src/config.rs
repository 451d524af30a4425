//! Settings from options, the environment and a file become the one [`App`] that commands get. An
//! option takes precedence over a variable, a variable over the file.

use std::ffi::OsString;
use std::path::PathBuf;

use passmate_core::command::shell_word;
use passmate_core::escape::escape;
use passmate_core::problem::Problem;
use passmate_core::session::VaultLocation;
use passmate_core::settings::keys::Key;
use passmate_core::settings::{Color, Settings, default_file, default_vault, profile_vault};
use passmate_vault::format::container::Params;

use crate::app::App;
use crate::output::Output;
use crate::prompt::{Ask, PassphraseSource};
use crate::terminal::Terminal;

/// The options of every command. They may stand before or after its name.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The vault file [env: PASSMATE_VAULT] [default: $XDG_DATA_HOME/passmate/vault.pmdb]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "profile")]
    pub(crate) vault: Option<PathBuf>,
    /// The vault of this profile [env: PASSMATE_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The settings file [env: PASSMATE_CONFIG] [default: $XDG_CONFIG_HOME/passmate/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Read the passphrase from the first line of this file; `-` is standard input [env:
    /// PASSMATE_PASSPHRASE_FILE]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "passphrase_command"
    )]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Read the passphrase from the first line that this shell command prints [env:
    /// PASSMATE_PASSPHRASE_COMMAND]
    #[arg(long, global = true, value_name = "CMD")]
    pub(crate) passphrase_command: Option<String>,
    /// Print one JSON object; an error is one too, on standard error
    #[arg(long, global = true, overrides_with = "json")]
    pub(crate) json: bool,
    /// Never ask; fail where an answer is needed
    #[arg(long, global = true, overrides_with = "no_input")]
    pub(crate) no_input: bool,
    /// Never contact a server; a shared folder is still synced
    #[arg(long, global = true, overrides_with = "offline")]
    pub(crate) offline: bool,
    /// Answer yes to questions, except: `sync --replace-remote`, whether a sync may take the guard
    /// from a record, the pin of an unknown server, and what `sync rotate` or `sync upgrade` holds
    /// back
    #[arg(long, global = true, overrides_with = "yes")]
    pub(crate) yes: bool,
    /// Why the command needs a record, for the person who is asked whether it may have it
    #[arg(long, global = true, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Print only answers and errors
    #[arg(
        long,
        short,
        global = true,
        conflicts_with = "verbose",
        overrides_with = "quiet"
    )]
    pub(crate) quiet: bool,
    /// Print details too
    #[arg(long, short, global = true, overrides_with = "verbose")]
    pub(crate) verbose: bool,
    /// When to print in colour
    #[arg(long, global = true, value_name = "WHEN")]
    pub(crate) color: Option<When>,
}

/// When answers are printed in colour.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

impl From<When> for Color {
    fn from(when: When) -> Self {
        match when {
            When::Auto => Self::Auto,
            When::Always => Self::Always,
            When::Never => Self::Never,
        }
    }
}

impl Global {
    /// The output that these options want, without settings.
    pub(crate) fn output(&self) -> Output {
        self.output_with(None)
    }

    fn output_with(&self, color: Option<Color>) -> Output {
        let color = self.color.map(Color::from).or(color).unwrap_or_default();
        Output::new(self.json, self.quiet, self.verbose, color).with_option(self.vault_option())
    }

    /// A setting that an option or a variable gives, and which of them does.
    pub(crate) fn setting(&self, key: &Key) -> Option<(String, String)> {
        let path = |path: &Option<PathBuf>| Some(path.as_ref()?.display().to_string());
        let color = || {
            let when = self.color?;
            Some(format!("{when:?}").to_lowercase())
        };
        let option = match key.name {
            "vault" => path(&self.vault),
            "profile" => self.profile.clone(),
            "passphrase-file" => path(&self.passphrase_file),
            "passphrase-command" => self.passphrase_command.clone(),
            "color" => color(),
            _ => None,
        };
        if let Some(value) = option {
            return Some((value, format!("the option --{}", key.name)));
        }
        let name = key.variable?;
        let value = variable(name)?.to_string_lossy().into_owned();
        Some((value, format!("the variable {name}")))
    }

    /// The settings file, if the person named one.
    fn named_settings(&self) -> Option<PathBuf> {
        let named = self.config.clone();
        named.or_else(|| variable("PASSMATE_CONFIG").map(PathBuf::from))
    }

    /// The settings file.
    pub(crate) fn settings_file(&self) -> Result<PathBuf, Problem> {
        match self.named_settings() {
            Some(named) => Ok(named),
            None => Ok(default_file()?),
        }
    }

    /// The option by which the person named the vault, as they could type it again.
    fn vault_option(&self) -> Option<String> {
        match (&self.vault, &self.profile) {
            // With `=`, because a name may begin with a dash.
            (Some(vault), _) => Some(format!("--vault={}", shell_word(vault))),
            (None, Some(profile)) => Some(format!("--profile={}", shell_word(profile))),
            (None, None) => None,
        }
    }
}

/// A variable of the environment; an empty one counts as not set.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn text_variable(name: &str) -> Result<Option<String>, Problem> {
    let text = |value: OsString| {
        value.into_string().map_err(|_| {
            Problem::usage(
                format!("{name} is not UTF-8 text"),
                format!("set {name} anew"),
            )
        })
    };
    variable(name).map(text).transpose()
}

/// The one [`App`] that commands get. What it writes has this key derivation.
pub(crate) fn gather(global: &Global, cost: Params) -> Result<App, Problem> {
    let settings = Settings::read(global.named_settings().as_deref())?;
    let (path, profile) = vault_path(global, &settings)?;
    let is_default_vault = default_vault().is_ok_and(|default| default == path);
    let out = global.output_with(settings.color);
    Ok(App {
        vault_name: match profile {
            Some(profile) => Some(profile),
            None if is_default_vault => None,
            None => Some(escape(&path.display().to_string())),
        },
        is_default_vault,
        location: VaultLocation::new(path).with_params(cost),
        cost,
        ask: Ask {
            no_input: global.no_input,
            yes: global.yes,
            passphrase: passphrase_source(global, &settings)?,
            terminal: Terminal::new(),
            pinentry: settings.pinentry().map(ToOwned::to_owned),
            out: out.clone(),
        },
        out,
        sync: settings.sync(global.offline),
        holding: settings.holding(global.offline),
        clipboard: settings.clipboard(),
        breach_url: settings.breach_url(),
        starts_agent: settings.starts_agent(),
        reason: global.reason.clone(),
    })
}

/// The vault, and its profile if one was named.
fn vault_path(global: &Global, settings: &Settings) -> Result<(PathBuf, Option<String>), Problem> {
    let layers = [
        (global.vault.clone(), global.profile.clone()),
        (
            variable("PASSMATE_VAULT").map(PathBuf::from),
            text_variable("PASSMATE_PROFILE")?,
        ),
        (settings.vault.clone(), settings.profile.clone()),
    ];
    for layer in layers {
        match layer {
            (Some(_), Some(_)) => {
                return Err(Problem::usage(
                    "a vault and a profile are named in the same place",
                    "name one of the two",
                ));
            }
            (Some(vault), None) => return Ok((vault, None)),
            (None, Some(profile)) => return Ok((profile_vault(&profile)?, Some(profile))),
            (None, None) => {}
        }
    }
    Ok((default_vault()?, None))
}

fn passphrase_source(global: &Global, settings: &Settings) -> Result<PassphraseSource, Problem> {
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
            settings.passphrase_file.clone(),
            settings.passphrase_command.clone(),
        ),
    ];
    for layer in layers {
        return Ok(match layer {
            (Some(_), Some(_)) => {
                return Err(Problem::usage(
                    "a passphrase file and a passphrase command are named in the same place",
                    "name one of the two",
                ));
            }
            (Some(path), None) => PassphraseSource::of_path(&path, global.no_input),
            (None, Some(command)) => PassphraseSource::Command(command),
            (None, None) => continue,
        });
    }
    Ok(PassphraseSource::Terminal)
}
