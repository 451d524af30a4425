use std::path::Path;

use clap::Subcommand;
use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::settings::keys::{KEYS, Key};
use passmate_core::settings::{Settings, default_vault, read_text};
use passmate_core::settings_file::Changed;
use serde_json::{Map, Value, json};

use crate::completing;
use crate::config::Global;
use crate::output::{NAME, Output};

/// Show or change the settings
///
/// An option goes before a variable of the environment, a variable before the settings file, and the
/// file before the default. Changes are made in the file; its comments stay.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the value of a setting
    Get {
        /// Name of the setting, for example sync.auto
        #[arg(add = completing::setting())]
        key: String,
    },
    /// Set a setting in the file
    Set {
        /// Name of the setting, for example sync.auto
        #[arg(add = completing::setting())]
        key: String,
        /// Its value
        #[arg(allow_hyphen_values = true, add = completing::value_of_setting())]
        value: String,
    },
    /// Remove a setting from the file, so that its default holds
    Unset {
        /// Name of the setting
        #[arg(add = completing::setting())]
        key: String,
    },
    /// Show all settings
    Show {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
    },
}

/// A setting as it holds for this command.
struct Setting {
    key: &'static Key,
    /// `None` if nothing is set, and there is no default.
    value: Option<String>,
    origin: String,
}

pub(crate) fn run(out: &Output, global: &Global, args: &Args) -> Result<(), Problem> {
    let file = global.settings_file()?;
    match &args.command {
        ConfigCommand::Get { key } => {
            let key = Key::find(key)?;
            let setting = Setting::of(key, global, &read(&file)?, &file);
            let Some(value) = setting.value else {
                return Err(Problem::new(
                    ProblemKind::NotFound,
                    format!("{} is not set, and has no default", key.name),
                    "`passmate config set KEY VALUE` sets it",
                ));
            };
            match out.json {
                true => {
                    out.object(json!({ "key": key.name, "value": value, "origin": setting.origin }))
                }
                false => out.value(&value),
            }
        }
        ConfigCommand::Set { key, value } => {
            let key = Key::find(key)?;
            let changed = key.set(&file, value)?;
            tell(out, global, key, &file, changed, "set")
        }
        ConfigCommand::Unset { key } => {
            let key = Key::find(key)?;
            let changed = key.unset(&file)?;
            tell(out, global, key, &file, changed, "removed")
        }
        ConfigCommand::Show { origin } => show(out, global, &file, *origin),
    }
}

/// Says what became of a key, and what goes before the file.
fn tell(
    out: &Output,
    global: &Global,
    key: &'static Key,
    file: &Path,
    changed: Changed,
    done: &str,
) -> Result<(), Problem> {
    let shown = file.display();
    out.note(&match changed {
        Changed::Yes => format!("{done} {} in {shown}", key.name),
        Changed::No => format!("nothing was changed in {shown}"),
    });
    if let Some((_, origin)) = global.setting(key) {
        out.warn(&format!("{origin} goes before the file for {}", key.name));
    }
    out.done()
}

fn show(out: &Output, global: &Global, file: &Path, with_origin: bool) -> Result<(), Problem> {
    let table = read(file)?;
    let settings = KEYS
        .iter()
        .map(|key| Setting::of(key, global, &table, file));
    if out.json {
        let settings: Map<_, _> = settings
            .map(|setting| {
                let value = json!({ "value": setting.value, "origin": setting.origin });
                (setting.key.name.to_owned(), value)
            })
            .collect();
        let file = Value::from(file.to_string_lossy());
        return out.object(json!({ "file": file, "settings": settings }));
    }
    for setting in settings {
        let name = out.styled(NAME, setting.key.name);
        let value = match &setting.value {
            Some(value) => escape(value),
            None => "(not set)".to_owned(),
        };
        let origin = match with_origin {
            true => format!("  ({})", escape(&setting.origin)),
            false => String::new(),
        };
        out.styled_line(&format!("{name} = {value}{origin}"))?;
    }
    Ok(())
}

impl Setting {
    fn of(key: &'static Key, global: &Global, table: &toml::Table, file: &Path) -> Self {
        let of_default = || {
            let vault = || Some(default_vault().ok()?.display().to_string());
            let is_vault = key.name == "vault";
            let value = if is_vault { vault() } else { None };
            (
                value.or_else(|| key.default.map(str::to_owned)),
                "default".to_owned(),
            )
        };
        let of_file = || Some((key.value_in(table)?, file.display().to_string()));
        let set = global.setting(key).or_else(of_file);
        let (value, origin) = match set {
            Some((value, origin)) => (Some(value), origin),
            None => of_default(),
        };
        Self { key, value, origin }
    }
}

/// The settings file as it is.
fn read(file: &Path) -> Result<toml::Table, Problem> {
    let text = read_text(file).unwrap_or_default();
    text.parse().map_err(|_| match Settings::read(Some(file)) {
        Err(error) => error.into(),
        Ok(_) => Problem::new(
            ProblemKind::File,
            format!(
                "the settings {} changed while they were read",
                file.display()
            ),
            "run it again",
        ),
    })
}
