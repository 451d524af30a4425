//! The settings as options on the command line, and as a configuration file to start from.

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::layers::{Layer, Origin, Written};
use super::settings::{DATA, Example, SETTINGS, Setting, SettingKind, VARIABLE_PREFIX};

/// `passmate-server serve` with all settings.
pub(crate) fn serve_command() -> Command {
    Command::new("serve")
        .about("Run the server in the foreground; the log goes to standard error")
        .long_about(
            "Run the server in the foreground; the log goes to standard error.\n\n\
             Without any option the server listens on port 29556, keeps accounts and a self-signed \
             certificate in its data dir, and prints the command that sets up a first device.\n\n\
             Each setting is taken from the first of: the flag; the environment variable; the file \
             that the variable with _FILE appended names; the configuration file, where the flag's \
             name is the key (idle-timeout = \"30s\"); the default. An empty variable counts as \
             not set. Durations are written 500ms, 10s, 24h; sizes in bytes or like 2MiB.",
        )
        .after_help(
            "SIGHUP reloads certificate, banner, registration and limits. SIGTERM and SIGINT let \
             running exchanges finish (10 s) and exit; a second one exits at once.",
        )
        .arg(config_arg())
        .args(SETTINGS.iter().map(Setting::arg))
}

/// The options that name a server and its data, before or behind the words of a command.
pub(crate) fn place_args() -> impl Iterator<Item = Arg> {
    let settings = SETTINGS
        .iter()
        .filter(|setting| setting.heading == DATA)
        .map(Setting::arg);
    std::iter::once(config_arg().help_heading(DATA))
        .chain(settings)
        .map(|arg| arg.global(true))
}

/// All settings as options, for commands that look at what `serve` would do.
pub(crate) fn all_args() -> impl Iterator<Item = Arg> {
    std::iter::once(config_arg()).chain(SETTINGS.iter().map(Setting::arg))
}

fn config_arg() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(NonEmptyStringValueParser::new())
        .help(format!(
            "Read settings from this TOML file [env: {VARIABLE_PREFIX}CONFIG] \
         [default: /etc/passmate/server.toml, if it exists]"
        ))
}

impl Setting {
    fn arg(&self) -> Arg {
        let variable = self.variable();
        let arg = Arg::new(self.name)
            .long(self.name)
            .value_name(self.value_name)
            .help(format!(
                "{} [env: {variable}] [default: {}]",
                self.help, self.default
            ))
            .help_heading(self.heading);
        match self.kind {
            SettingKind::One => arg.action(ArgAction::Set).allow_hyphen_values(false),
            SettingKind::Many => arg.action(ArgAction::Append),
            SettingKind::Switch => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
        }
    }
}

/// The settings that were given as flags.
pub(super) fn flags(matches: &ArgMatches) -> Layer {
    let mut layer = Layer::default();
    for setting in SETTINGS {
        // Commands other than `serve` do not have all settings.
        if let Ok(Some(values)) = matches.try_get_many::<String>(setting.name) {
            let texts = values.cloned().collect();
            let origin = Origin::Flag(setting.name);
            layer.put(setting, Written { texts, origin });
        }
    }
    layer
}

/// A configuration file with all settings, which changes none of them.
pub(crate) fn example() -> String {
    let mut text = String::from(
        "# All settings of passmate-server. A line that begins with `# ` shows a default: remove \
         the `# ` to change it.\n\
         # A line that begins with `#: ` is an example for a setting without a fixed default.\n\
         # Durations are 500ms, 10s, 2m, 24h; sizes are bytes, KiB, MiB, GiB.\n",
    );
    let mut heading = "";
    for setting in SETTINGS {
        if setting.heading != heading {
            heading = setting.heading;
            text.push_str(&format!("\n#### {heading}\n"));
        }
        text.push_str(&format!(
            "\n## {}\n## Default: {}. Variable: {}\n",
            setting.help,
            setting.default,
            setting.variable()
        ));
        text.push_str(&match setting.example {
            Example::Default(value) => format!("# {} = {value}\n", setting.name),
            Example::Only(value) => format!("#: {} = {value}\n", setting.name),
        });
    }
    text
}
