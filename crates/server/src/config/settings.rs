//! The table of settings. A row is everything that the program knows about a setting: flag,
//! variable, key of the file, help, default, parser, and when a change takes effect.

use std::path::PathBuf;

use super::Config;
use super::error::ConfigError;
use super::gather::Draft;
use super::layers::Written;
use super::values::{
    parse_accounts, parse_admin, parse_btoken_len, parse_connections, parse_https, parse_limit,
    parse_listen, parse_log_format, parse_mail, parse_memory, parse_rate_of_all,
    parse_rate_of_source, parse_registration, parse_switch, parse_time,
};

/// The prefix of every variable.
pub(super) const VARIABLE_PREFIX: &str = "PASSMATE_SERVER_";

/// How many values a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SettingKind {
    One,
    /// A flag is repeated, a variable separates values with commas, the file has a list.
    Many,
    /// True or false; the bare flag means true.
    Switch,
}

/// When a change of a setting takes effect in a running server.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    /// At a reload, for new connections.
    Reload,
    /// At the next start. The function says whether two configurations agree in this setting.
    Restart(fn(&Config, &Config) -> bool),
}

/// One setting.
pub(super) struct Setting {
    /// The flag without its dashes, which is also the key of the file.
    pub(super) name: &'static str,
    pub(super) kind: SettingKind,
    pub(super) value_name: &'static str,
    pub(super) help: &'static str,
    pub(super) default: &'static str,
    pub(super) example: Example,
    pub(super) heading: &'static str,
    pub(super) effect: Effect,
    /// Parses the value and puts it into the draft.
    pub(super) apply: fn(&mut Draft, &Written) -> Result<(), ConfigError>,
}

/// A value as it is written in a configuration file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Example {
    /// The default, which changes nothing.
    Default(&'static str),
    /// A typical value of a setting without a fixed default.
    Only(&'static str),
}

impl Setting {
    /// The name of the variable.
    pub(super) fn variable(&self) -> String {
        format!(
            "{VARIABLE_PREFIX}{}",
            self.name.replace('-', "_").to_ascii_uppercase()
        )
    }

    /// Whether the variable with `_FILE` appended names a file with the value. The banner has a
    /// setting of its own for that.
    pub(super) fn has_variable_file(&self) -> bool {
        self.name != BANNER && self.name != BANNER_FILE
    }
}

/// The setting with this name.
pub(super) fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

pub(super) const BANNER: &str = "banner";
pub(super) const BANNER_FILE: &str = "banner-file";

const NETWORK: &str = "Network";
pub(super) const DATA: &str = "Data";
const IDENTITY: &str = "Identity";
const ADMISSION: &str = "Registration";
const LIMITS: &str = "Limits";
const SOURCES: &str =
    "Limits for one source (an IPv4 address or an IPv6 /64; wider networks get more)";
const LOGS: &str = "Monitoring";

/// All settings, in the order of the help.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "listen",
        kind: SettingKind::Many,
        value_name: "ADDR",
        help: "Listen here for layout 1; repeatable; `none` for no listener of layout 1",
        default: "[::]:29556, both IP versions; none if a --listen-v2 uses port 29556",
        example: Example::Default("[\"[::]:29556\"]"),
        heading: NETWORK,
        effect: Effect::Restart(|old, new| old.listen == new.listen),
        apply: |draft, written| {
            draft.listen = Some(written.addresses()?);
            Ok(())
        },
    },
    Setting {
        name: "listen-v2",
        kind: SettingKind::Many,
        value_name: "ADDR",
        help: "Listen here for layout 2, which released Passmate programs speak; repeatable",
        default: "none",
        example: Example::Only("[\"[::]:29557\"]"),
        heading: NETWORK,
        effect: Effect::Restart(|old, new| old.listen_v2 == new.listen_v2),
        apply: |draft, written| written.set(Written::addresses, &mut draft.config.listen_v2),
    },
    Setting {
        name: "proxy-from",
        kind: SettingKind::Many,
        value_name: "CIDR",
        help: "Connections from here begin with a PROXY protocol header (v1 or v2), which names \
            the client; repeatable",
        default: "none",
        example: Example::Only("[\"10.0.0.5\"]"),
        heading: NETWORK,
        effect: Effect::Reload,
        apply: |draft, written| written.set(Written::networks, &mut draft.config.proxy_from),
    },
    Setting {
        name: "data-dir",
        kind: SettingKind::One,
        value_name: "DIR",
        help: "The folder for all data; made with mode 0700 if it does not exist",
        default: "$STATE_DIRECTORY, else $XDG_DATA_HOME/passmate-server",
        example: Example::Only("\"/var/lib/passmate-server\""),
        heading: DATA,
        effect: Effect::Restart(|old, new| old.data_dir == new.data_dir),
        apply: |draft, written| {
            draft.data_dir = Some(PathBuf::from(written.one_filled()?));
            Ok(())
        },
    },
    Setting {
        name: "store",
        kind: SettingKind::One,
        value_name: "URL",
        help: "Where the accounts are stored: sqlite:PATH or postgres://USER@HOST/DATABASE",
        default: "sqlite:<data-dir>/passmate.db",
        example: Example::Only("\"sqlite:/var/lib/passmate-server/passmate.db\""),
        heading: DATA,
        effect: Effect::Restart(|old, new| old.store == new.store),
        apply: |draft, written| {
            draft.store = Some(written.parse(|text| Ok(text.parse()?))?);
            Ok(())
        },
    },
    Setting {
        name: "tls-cert",
        kind: SettingKind::One,
        value_name: "PEM",
        help: "The certificate, followed by its intermediates; needs --tls-key",
        default: "self-signed, made once in the data dir",
        example: Example::Only("\"/etc/passmate/fullchain.pem\""),
        heading: IDENTITY,
        effect: Effect::Reload,
        apply: |draft, written| {
            draft.certificate = Some(written.file()?);
            Ok(())
        },
    },
    Setting {
        name: "tls-key",
        kind: SettingKind::One,
        value_name: "PEM",
        help: "The certificate's private key, RSA or ECDSA; needs --tls-cert",
        default: "made once in the data dir",
        example: Example::Only("\"/etc/passmate/privkey.pem\""),
        heading: IDENTITY,
        effect: Effect::Reload,
        apply: |draft, written| {
            draft.key = Some(written.file()?);
            Ok(())
        },
    },
    Setting {
        name: "acme",
        kind: SettingKind::Many,
        value_name: "NAME",
        help: "Get a certificate for this DNS name from Let's Encrypt, or from --acme-directory, \
            and renew it; the key stays that of the data dir. It means that you agree to the \
            authority's terms; repeatable",
        default: "none",
        example: Example::Only("[\"sync.example.org\"]"),
        heading: IDENTITY,
        effect: Effect::Restart(|old, new| {
            let names = |config: &Config| config.acme.as_ref().map(|acme| acme.names.clone());
            names(old) == names(new)
        }),
        apply: |draft, written| {
            draft.acme.names = written.names()?;
            draft.acme_origin = Some(written.origin.clone());
            Ok(())
        },
    },
    Setting {
        name: "acme-directory",
        kind: SettingKind::One,
        value_name: "URL",
        help: "The directory of the authority, which speaks ACME",
        default: "Let's Encrypt",
        example: Example::Only("\"https://acme-v02.api.letsencrypt.org/directory\""),
        heading: IDENTITY,
        effect: Effect::Restart(|old, new| {
            let directory =
                |config: &Config| config.acme.as_ref().map(|acme| acme.directory.clone());
            directory(old) == directory(new)
        }),
        apply: |draft, written| {
            draft.note_acme(written);
            written.set_one(parse_https, &mut draft.acme.directory)
        },
    },
    Setting {
        name: "acme-ca-file",
        kind: SettingKind::One,
        value_name: "PEM",
        help: "The authority that the directory's own certificate is checked with",
        default: "those that the system trusts",
        example: Example::Only("\"/etc/passmate/acme-ca.pem\""),
        heading: IDENTITY,
        effect: Effect::Restart(|old, new| {
            let ca_file = |config: &Config| config.acme.as_ref().map(|acme| acme.ca_file.clone());
            ca_file(old) == ca_file(new)
        }),
        apply: |draft, written| {
            draft.note_acme(written);
            draft.acme.ca_file = Some(written.file()?.1);
            Ok(())
        },
    },
    Setting {
        name: "acme-contact",
        kind: SettingKind::One,
        value_name: "MAIL",
        help: "The mail address that the authority may write to",
        default: "none",
        example: Example::Only("\"admin@example.org\""),
        heading: IDENTITY,
        effect: Effect::Restart(|old, new| {
            let contact = |config: &Config| config.acme.as_ref().map(|acme| acme.contact.clone());
            contact(old) == contact(new)
        }),
        apply: |draft, written| {
            draft.note_acme(written);
            draft.acme.contact = Some(written.parse(parse_mail)?);
            Ok(())
        },
    },
    Setting {
        name: "acme-listen",
        kind: SettingKind::One,
        value_name: "ADDR",
        help: "Listen here for the authority's checks (TLS-ALPN-01), while an order is under way; \
            the authority connects to port 443 of each name",
        default: "[::]:443",
        example: Example::Only("\"[::]:443\""),
        heading: IDENTITY,
        effect: Effect::Restart(|old, new| {
            let listen = |config: &Config| config.acme.as_ref().map(|acme| acme.listen.clone());
            listen(old) == listen(new)
        }),
        apply: |draft, written| {
            draft.note_acme(written);
            written.set_one(parse_listen, &mut draft.acme.listen)
        },
    },
    Setting {
        name: "acme-dns-hook",
        kind: SettingKind::One,
        value_name: "PROGRAM",
        help: "Prove the names by DNS (DNS-01) in place of port 443: this program is run as \
            `PROGRAM set RECORD VALUE` and `PROGRAM clear RECORD`, and returns when the name \
            servers have the TXT record",
        default: "none",
        example: Example::Only("\"/etc/passmate/dns-hook\""),
        heading: IDENTITY,
        effect: Effect::Restart(|old, new| {
            let hook = |config: &Config| config.acme.as_ref().map(|acme| acme.dns_hook.clone());
            hook(old) == hook(new)
        }),
        apply: |draft, written| {
            draft.note_acme(written);
            draft.acme.dns_hook = Some(written.file()?.1);
            Ok(())
        },
    },
    Setting {
        name: BANNER,
        kind: SettingKind::One,
        value_name: "TEXT",
        help: "The text that clients are greeted with, at most 32 KiB, sent byte for byte",
        default: "the program's name and version, and a line with the longest btoken",
        example: Example::Only("\"Ada's box at home\""),
        heading: IDENTITY,
        effect: Effect::Reload,
        apply: |draft, written| {
            draft.banner = Some((draft.rank, written.clone()));
            Ok(())
        },
    },
    Setting {
        name: BANNER_FILE,
        kind: SettingKind::One,
        value_name: "FILE",
        help: "The file with the text that clients are greeted with",
        default: "none",
        example: Example::Only("\"/etc/passmate/banner.txt\""),
        heading: IDENTITY,
        effect: Effect::Reload,
        apply: |draft, written| {
            draft.banner_file = Some((draft.rank, written.clone()));
            Ok(())
        },
    },
    Setting {
        name: "registration",
        kind: SettingKind::One,
        value_name: "open|invite|closed",
        help: "Who may create accounts: anyone, invited devices (`passmate-server invite`), or no \
            one",
        default: "open",
        example: Example::Default("\"open\""),
        heading: ADMISSION,
        effect: Effect::Reload,
        apply: |draft, written| written.set_one(parse_registration, &mut draft.config.registration),
    },
    Setting {
        name: "btoken-max",
        kind: SettingKind::One,
        value_name: "BYTES",
        help: "The size of the longest btoken that is accepted",
        default: "2MiB",
        example: Example::Default("\"2MiB\""),
        heading: LIMITS,
        effect: Effect::Reload,
        apply: |draft, written| {
            written.set_one(parse_btoken_len, &mut draft.config.limits.btoken_len_max)
        },
    },
    Setting {
        name: "account-limit",
        kind: SettingKind::One,
        value_name: "BYTES",
        help: "The size of the longest btoken of an account without a limit of its own, which \
            `account limit` sets; at most --btoken-max",
        default: "none, so that --btoken-max decides",
        example: Example::Only("\"512KiB\""),
        heading: LIMITS,
        effect: Effect::Reload,
        apply: |draft, written| {
            let limit = written.parse(parse_limit)?;
            draft.config.limits.account_limit = limit;
            Ok(())
        },
    },
    Setting {
        name: "confirm-grace",
        kind: SettingKind::One,
        value_name: "TIME",
        help: "How long an update waits for its last row before the server sends it",
        default: "500ms",
        example: Example::Default("\"500ms\""),
        heading: LIMITS,
        effect: Effect::Reload,
        apply: |draft, written| written.set_one(parse_time, &mut draft.config.limits.confirm_grace),
    },
    Setting {
        name: "handshake-timeout",
        kind: SettingKind::One,
        value_name: "TIME",
        help: "The time that a client has for the TLS handshake and its hello",
        default: "10s",
        example: Example::Default("\"10s\""),
        heading: LIMITS,
        effect: Effect::Reload,
        apply: |draft, written| {
            written.set_one(parse_time, &mut draft.config.limits.handshake_timeout)
        },
    },
    Setting {
        name: "idle-timeout",
        kind: SettingKind::One,
        value_name: "TIME",
        help: "Cut a client that neither sends nor receives a byte for this long",
        default: "30s",
        example: Example::Default("\"30s\""),
        heading: LIMITS,
        effect: Effect::Reload,
        apply: |draft, written| written.set_one(parse_time, &mut draft.config.limits.idle_timeout),
    },
    Setting {
        name: "session-timeout",
        kind: SettingKind::One,
        value_name: "TIME",
        help: "The longest duration of a connection",
        default: "120s",
        example: Example::Default("\"120s\""),
        heading: LIMITS,
        effect: Effect::Reload,
        apply: |draft, written| {
            written.set_one(parse_time, &mut draft.config.limits.session_timeout)
        },
    },
    Setting {
        name: "connections-max",
        kind: SettingKind::One,
        value_name: "N",
        help: "The most connections at the same time",
        default: "10000, or 80 % of the file descriptors if that is less",
        example: Example::Default("10000"),
        heading: LIMITS,
        effect: Effect::Reload,
        apply: |draft, written| {
            written.set_one(parse_connections, &mut draft.config.limits.connections_max)
        },
    },
    Setting {
        name: "memory-max",
        kind: SettingKind::One,
        value_name: "BYTES",
        help: "The most bytes of btokens in memory, over all connections",
        default: "256MiB",
        example: Example::Default("\"256MiB\""),
        heading: LIMITS,
        effect: Effect::Reload,
        apply: |draft, written| written.set_one(parse_memory, &mut draft.config.limits.memory_max),
    },
    Setting {
        name: "accounts-max",
        kind: SettingKind::One,
        value_name: "N",
        help: "The most accounts; further ones are refused",
        default: "100000",
        example: Example::Default("100000"),
        heading: LIMITS,
        effect: Effect::Reload,
        apply: |draft, written| {
            written.set_one(parse_accounts, &mut draft.config.limits.accounts_max)
        },
    },
    Setting {
        name: "limit-exempt",
        kind: SettingKind::Many,
        value_name: "CIDR",
        help: "Sources without these limits; repeatable; `none` for none",
        default: "loopback, which is 127.0.0.0/8 and ::1",
        example: Example::Default("[\"loopback\"]"),
        heading: SOURCES,
        effect: Effect::Reload,
        apply: |draft, written| {
            written.set(Written::networks, &mut draft.config.limits.source.exempt)
        },
    },
    Setting {
        name: "limit-connections",
        kind: SettingKind::One,
        value_name: "N",
        help: "The most connections of one source at the same time",
        default: "100",
        example: Example::Default("100"),
        heading: SOURCES,
        effect: Effect::Reload,
        apply: |draft, written| {
            written.set_one(
                parse_connections,
                &mut draft.config.limits.source.connections_max,
            )
        },
    },
    Setting {
        name: "limit-creates",
        kind: SettingKind::One,
        value_name: "RATE",
        help: "New accounts of one source: so many at once, and then at this rate",
        default: "20/h",
        example: Example::Default("\"20/h\""),
        heading: SOURCES,
        effect: Effect::Reload,
        apply: |draft, written| {
            written.set_one(
                parse_rate_of_source,
                &mut draft.config.limits.source.creates,
            )
        },
    },
    Setting {
        name: "limit-creates-all",
        kind: SettingKind::One,
        value_name: "RATE",
        help: "New accounts of all sources together: ten times as many at once, and then at this \
            rate",
        default: "10/s",
        example: Example::Default("\"10/s\""),
        heading: SOURCES,
        effect: Effect::Reload,
        apply: |draft, written| {
            written.set_one(
                parse_rate_of_all,
                &mut draft.config.limits.source.creates_all,
            )
        },
    },
    Setting {
        name: "limit-refusals",
        kind: SettingKind::One,
        value_name: "RATE",
        help: "Refusals of one source for a wrong account or key: so many at once, and then at \
            this rate, before the source is paused",
        default: "30/m",
        example: Example::Default("\"30/m\""),
        heading: SOURCES,
        effect: Effect::Reload,
        apply: |draft, written| {
            written.set_one(
                parse_rate_of_source,
                &mut draft.config.limits.source.refusals,
            )
        },
    },
    Setting {
        name: "limit-pause",
        kind: SettingKind::One,
        value_name: "TIME",
        help: "The longest pause of a source; the first is 10 s, each further one is twice as long",
        default: "10m",
        example: Example::Default("\"10m\""),
        heading: SOURCES,
        effect: Effect::Reload,
        apply: |draft, written| {
            written.set_one(parse_time, &mut draft.config.limits.source.pause_max)
        },
    },
    Setting {
        name: "admin-listen",
        kind: SettingKind::One,
        value_name: "ADDR",
        help: "Serve a status page, /metrics, /health/live and /health/ready here: ADDRESS:PORT \
            or unix:PATH",
        default: "none",
        example: Example::Only("\"127.0.0.1:9556\""),
        heading: LOGS,
        effect: Effect::Restart(|old, new| old.admin_listen == new.admin_listen),
        apply: |draft, written| {
            draft.config.admin_listen = Some(written.parse(parse_admin)?);
            Ok(())
        },
    },
    Setting {
        name: "log-addresses",
        kind: SettingKind::Switch,
        value_name: "BOOL",
        help: "Log the addresses of clients",
        default: "off",
        example: Example::Default("false"),
        heading: LOGS,
        effect: Effect::Restart(|old, new| old.log_addresses == new.log_addresses),
        apply: |draft, written| written.set_one(parse_switch, &mut draft.config.log_addresses),
    },
    Setting {
        name: "log",
        kind: SettingKind::One,
        value_name: "text|json",
        help: "The form of the log on standard error; RUST_LOG sets its level",
        default: "text",
        example: Example::Default("\"text\""),
        heading: LOGS,
        effect: Effect::Restart(|old, new| old.log == new.log),
        apply: |draft, written| written.set_one(parse_log_format, &mut draft.config.log),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_settings_never_change() {
        let mut names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "account-limit",
                "accounts-max",
                "acme",
                "acme-ca-file",
                "acme-contact",
                "acme-directory",
                "acme-dns-hook",
                "acme-listen",
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
