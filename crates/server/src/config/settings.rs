//! The one table of what can be set: flags, variables, the file's keys and the help come from it.

use clap::{Arg, ArgAction, ArgMatches, Command, builder::NonEmptyStringValueParser};

use super::layers::{Layer, Origin, Written};

/// What every variable of ours begins with.
pub(crate) const VARIABLE_PREFIX: &str = "PASSMATE_SERVER_";

/// How many values a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One text.
    One,
    /// Several; a flag is repeated, a variable separates with commas, the file has a list.
    Many,
    /// True or false; the bare flag is true.
    Switch,
}

/// One thing that can be set.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The flag without its dashes, which is also the file's key.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    value_name: &'static str,
    help: &'static str,
    pub(crate) default: &'static str,
    example: Example,
    heading: &'static str,
}

/// A value as it stands in a configuration file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Example {
    /// The default: written there it changes nothing.
    Default(&'static str),
    /// Something that people write there; by default there is nothing, or what depends on the
    /// machine.
    Only(&'static str),
}

impl Setting {
    /// The variable's name.
    pub(crate) fn variable(&self) -> String {
        format!(
            "{VARIABLE_PREFIX}{}",
            self.name.replace('-', "_").to_ascii_uppercase()
        )
    }

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
            Kind::One => arg.action(ArgAction::Set).allow_hyphen_values(false),
            Kind::Many => arg.action(ArgAction::Append),
            Kind::Switch => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
        }
    }

    /// Whether `…_FILE` names a file with the value; only a banner has a setting of its own for it.
    pub(crate) fn has_variable_file(&self) -> bool {
        self.name != BANNER && self.name != BANNER_FILE
    }
}

pub(crate) const BANNER: &str = "banner";
pub(crate) const BANNER_FILE: &str = "banner-file";

const NETWORK: &str = "Network";
const DATA: &str = "Data";
const IDENTITY: &str = "What clients see";
const ADMISSION: &str = "Who is let in";
const LIMITS: &str = "Limits";
const SOURCES: &str = "Limits for one source (an IPv4 address, or the /64 of an IPv6 address)";
const LOGS: &str = "Watching it";

/// Every setting, in the order of the help.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        name: "listen",
        kind: Kind::Many,
        value_name: "ADDR",
        help: "Take connections here, layout 1; repeatable; `none` for no such listener",
        default: "[::]:29556, both IP versions; gives way to a --listen-v2 on port 29556",
        example: Example::Default("[\"[::]:29556\"]"),
        heading: NETWORK,
    },
    Setting {
        name: "listen-v2",
        kind: Kind::Many,
        value_name: "ADDR",
        help: "Take connections of released Passmate programs here (layout 2); repeatable",
        default: "none",
        example: Example::Only("[\"[::]:29557\"]"),
        heading: NETWORK,
    },
    Setting {
        name: "proxy-from",
        kind: Kind::Many,
        value_name: "CIDR",
        help: "Connections from here begin with a PROXY protocol header (v1 or v2), and its address counts; repeatable",
        default: "none",
        example: Example::Only("[\"10.0.0.5\"]"),
        heading: NETWORK,
    },
    Setting {
        name: "data-dir",
        kind: Kind::One,
        value_name: "DIR",
        help: "Keep everything here; made with mode 0700 if it is not there",
        default: "$STATE_DIRECTORY, else $XDG_DATA_HOME/passmate-server",
        example: Example::Only("\"/var/lib/passmate-server\""),
        heading: DATA,
    },
    Setting {
        name: "store",
        kind: Kind::One,
        value_name: "URL",
        help: "Keep the accounts here: sqlite:PATH",
        default: "sqlite:<data-dir>/passmate.db",
        example: Example::Only("\"sqlite:/var/lib/passmate-server/passmate.db\""),
        heading: DATA,
    },
    Setting {
        name: "tls-cert",
        kind: Kind::One,
        value_name: "PEM",
        help: "The certificate, followed by its intermediates; needs --tls-key",
        default: "self-signed, made once in the data dir",
        example: Example::Only("\"/etc/passmate/fullchain.pem\""),
        heading: IDENTITY,
    },
    Setting {
        name: "tls-key",
        kind: Kind::One,
        value_name: "PEM",
        help: "The certificate's private key, RSA or ECDSA; needs --tls-cert",
        default: "made once in the data dir",
        example: Example::Only("\"/etc/passmate/privkey.pem\""),
        heading: IDENTITY,
    },
    Setting {
        name: BANNER,
        kind: Kind::One,
        value_name: "TEXT",
        help: "Greet clients with this text, at most 32 KiB, sent byte for byte",
        default: "the program's name and version, and a line with the largest btoken",
        example: Example::Only("\"Ada's box at home\""),
        heading: IDENTITY,
    },
    Setting {
        name: BANNER_FILE,
        kind: Kind::One,
        value_name: "FILE",
        help: "Greet clients with this file's content",
        default: "none",
        example: Example::Only("\"/etc/passmate/banner.txt\""),
        heading: IDENTITY,
    },
    Setting {
        name: "registration",
        kind: Kind::One,
        value_name: "open|invite|closed",
        help: "Let anybody make an account, or who was invited (`passmate-server invite`), or nobody",
        default: "open",
        example: Example::Default("\"open\""),
        heading: ADMISSION,
    },
    Setting {
        name: "btoken-max",
        kind: Kind::One,
        value_name: "BYTES",
        help: "Accept btokens up to this size",
        default: "2MiB",
        example: Example::Default("\"2MiB\""),
        heading: LIMITS,
    },
    Setting {
        name: "confirm-grace",
        kind: Kind::One,
        value_name: "TIME",
        help: "Wait this long for an update's last row before the server sends it itself",
        default: "500ms",
        example: Example::Default("\"500ms\""),
        heading: LIMITS,
    },
    Setting {
        name: "handshake-timeout",
        kind: Kind::One,
        value_name: "TIME",
        help: "A client has this long for the TLS handshake and its hello",
        default: "10s",
        example: Example::Default("\"10s\""),
        heading: LIMITS,
    },
    Setting {
        name: "idle-timeout",
        kind: Kind::One,
        value_name: "TIME",
        help: "Cut a client that neither sends nor takes a byte for this long",
        default: "30s",
        example: Example::Default("\"30s\""),
        heading: LIMITS,
    },
    Setting {
        name: "session-timeout",
        kind: Kind::One,
        value_name: "TIME",
        help: "One connection lasts at most this long",
        default: "120s",
        example: Example::Default("\"120s\""),
        heading: LIMITS,
    },
    Setting {
        name: "connections-max",
        kind: Kind::One,
        value_name: "N",
        help: "Serve this many connections at once",
        default: "10000, or 80 % of the file descriptors if that is less",
        example: Example::Default("10000"),
        heading: LIMITS,
    },
    Setting {
        name: "memory-max",
        kind: Kind::One,
        value_name: "BYTES",
        help: "Hold this many bytes of btokens in memory over all connections",
        default: "256MiB",
        example: Example::Default("\"256MiB\""),
        heading: LIMITS,
    },
    Setting {
        name: "accounts-max",
        kind: Kind::One,
        value_name: "N",
        help: "Keep this many accounts; further ones are refused",
        default: "100000",
        example: Example::Default("100000"),
        heading: LIMITS,
    },
    Setting {
        name: "limit-exempt",
        kind: Kind::Many,
        value_name: "CIDR",
        help: "Set no limits on these sources; repeatable; `none` for none",
        default: "loopback, which is 127.0.0.0/8 and ::1",
        example: Example::Default("[\"loopback\"]"),
        heading: SOURCES,
    },
    Setting {
        name: "limit-connections",
        kind: Kind::One,
        value_name: "N",
        help: "Serve this many connections of one source at once",
        default: "100",
        example: Example::Default("100"),
        heading: SOURCES,
    },
    Setting {
        name: "limit-creates",
        kind: Kind::One,
        value_name: "RATE",
        help: "Make this many accounts for one source, as many at once",
        default: "20/h",
        example: Example::Default("\"20/h\""),
        heading: SOURCES,
    },
    Setting {
        name: "limit-creates-all",
        kind: Kind::One,
        value_name: "RATE",
        help: "Make this many accounts for all sources together, ten times as many at once",
        default: "10/s",
        example: Example::Default("\"10/s\""),
        heading: SOURCES,
    },
    Setting {
        name: "limit-refusals",
        kind: Kind::One,
        value_name: "RATE",
        help: "Refuse a wrong account or key of one source this often before it is not heard for a while",
        default: "30/m",
        example: Example::Default("\"30/m\""),
        heading: SOURCES,
    },
    Setting {
        name: "limit-pause",
        kind: Kind::One,
        value_name: "TIME",
        help: "That while is 10 s, then twice as long each time up to this",
        default: "10m",
        example: Example::Default("\"10m\""),
        heading: SOURCES,
    },
    Setting {
        name: "admin-listen",
        kind: Kind::One,
        value_name: "ADDR",
        help: "Show the operator a status page, /metrics, /health/live and /health/ready here: ADDRESS:PORT or unix:PATH",
        default: "none",
        example: Example::Only("\"127.0.0.1:9556\""),
        heading: LOGS,
    },
    Setting {
        name: "log-addresses",
        kind: Kind::Switch,
        value_name: "BOOL",
        help: "Write clients' addresses into the log",
        default: "off",
        example: Example::Default("false"),
        heading: LOGS,
    },
    Setting {
        name: "log",
        kind: Kind::One,
        value_name: "text|json",
        help: "How the log on standard error is written; RUST_LOG says how much",
        default: "text",
        example: Example::Default("\"text\""),
        heading: LOGS,
    },
];

/// The setting of that name.
pub(crate) fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// `passmate-server` as clap knows it.
pub(crate) fn command() -> Command {
    let serve = Command::new("serve")
        .about("Run the server in the foreground; the log goes to standard error")
        .long_about(
            "Run the server in the foreground; the log goes to standard error.\n\n\
             Without any option it takes connections on port 29556, keeps accounts and a \
             self-signed certificate in its data dir, and prints the line that sets up a first \
             device.\n\n\
             A setting is taken from: the flag; the environment; the file that the same \
             variable with _FILE at its end names; the configuration file, where the flag's name is the key \
             (idle-timeout = \"30s\"); the default. An empty variable counts as not set. \
             Times are written 500ms, 10s, 24h; sizes in bytes or like 2MiB.",
        )
        .after_help(
            "SIGHUP reads certificate, banner, registration and limits again. SIGTERM or SIGINT lets running \
             exchanges finish (10 s) and ends; a second one ends at once.",
        )
        .arg(config_arg())
        .args(SETTINGS.iter().map(Setting::arg));
    let command = Command::new("passmate-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The Passmate sync server: keeps sealed vaults that it cannot read")
        .after_help("Start with `passmate-server serve`: it needs no configuration.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .subcommand(serve);
    crate::admin::add_commands(command)
}

fn config_arg() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(NonEmptyStringValueParser::new())
        .help(format!(
            "Read settings from this TOML file [env: {VARIABLE_PREFIX}CONFIG] \
         [default: /etc/passmate/server.toml if it is there]"
        ))
}

/// What tells a command other than `serve` which server is meant; before or behind the words of the
/// command.
pub(crate) fn place_args() -> impl Iterator<Item = Arg> {
    let settings = SETTINGS
        .iter()
        .filter(|setting| setting.heading == DATA)
        .map(Setting::arg);
    std::iter::once(config_arg().help_heading(DATA))
        .chain(settings)
        .map(|arg| arg.global(true))
}

/// What was given as flags.
pub(crate) fn flags(matches: &ArgMatches) -> Layer {
    let mut layer = Layer::default();
    for setting in SETTINGS {
        // Other commands than `serve` know few of them.
        if let Ok(Some(values)) = matches.try_get_many::<String>(setting.name) {
            let texts = values.cloned().collect();
            layer.put(
                setting,
                Written {
                    texts,
                    origin: Origin::Flag(setting.name),
                },
            );
        }
    }
    layer
}

/// All settings as flags, for commands that look at what `serve` would do.
pub(crate) fn all_args() -> impl Iterator<Item = Arg> {
    std::iter::once(config_arg()).chain(SETTINGS.iter().map(Setting::arg))
}

/// A configuration file with every setting, none of which changes anything.
pub(crate) fn example() -> String {
    let mut text = String::from(
        "# Every setting of passmate-server. A line that begins with `#` and one blank has the default: take the `#` away to change it.\n\
         # A line that begins with `#:` is an example of what has no default. Times are 500ms, 10s, 2m, 24h; sizes bytes, KiB, MiB, GiB.\n",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn every_option_of_the_contract_is_there() {
        let mut names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accounts-max",
                "admin-listen",
                "banner",
                "banner-file",
                "btoken-max",
                "confirm-grace",
                "connections-max",
                "data-dir",
                "handshake-timeout",
                "idle-timeout",
                "limit-connections",
                "limit-creates",
                "limit-creates-all",
                "limit-exempt",
                "limit-pause",
                "limit-refusals",
                "listen",
                "listen-v2",
                "log",
                "log-addresses",
                "memory-max",
                "proxy-from",
                "registration",
                "session-timeout",
                "store",
                "tls-cert",
                "tls-key",
            ]
        );
    }
}
