//! The settings file, and where vaults are.

pub(crate) mod breach_service;
pub mod keys;

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy;
use jiff::{Span, SpanRelativeTo};
use passmate_sync::Policy;
use rustix::fs::OFlags;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// The longest settings file that is read, in bytes.
const FILE_LEN_MAX: u64 = 1024 * 1024;

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

/// When an agent locks a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRule {
    /// After so long without a call.
    pub idle: Duration,
    /// After so long, whatever happens.
    pub most: Duration,
    /// Before the machine sleeps.
    pub on_sleep: bool,
    /// When the screen is locked.
    pub on_screen_lock: bool,
}

impl Default for LockRule {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(15),
            most: Duration::from_hours(8),
            on_sleep: true,
            on_screen_lock: true,
        }
    }
}

/// What an agent does with a vault while it holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// When it locks the vault.
    pub lock: LockRule,
    /// How it syncs the vault in the background.
    pub sync: SyncSettings,
    /// How often it does so; `None` is never.
    pub sync_every: Option<Duration>,
    /// The program by which it asks a person; `None` is the system's.
    pub pinentry: Option<PathBuf>,
    /// Whoever agrees in a window must type the master passphrase there.
    pub consent_passphrase: bool,
}

impl Default for Holding {
    fn default() -> Self {
        Self {
            lock: LockRule::default(),
            sync: SyncSettings::default(),
            sync_every: Some(Duration::from_mins(15)),
            pinentry: None,
            consent_passphrase: false,
        }
    }
}

/// How a value is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipboardSettings {
    /// How long it stays in the clipboard.
    pub clear_after: Duration,
    /// It goes to the clipboard of the terminal, by the escape sequence OSC 52.
    pub osc52: bool,
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
    #[serde(default)]
    agent: AgentSection,
    #[serde(default)]
    lock: LockSection,
    #[serde(default)]
    clipboard: ClipboardSection,
    #[serde(default)]
    pinentry: PinentrySection,
    #[serde(default)]
    consent: ConsentSection,
    #[serde(default)]
    audit: AuditSection,
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
    background: Option<bool>,
    every: Option<Interval>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AgentSection {
    start: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LockSection {
    after_idle: Option<Interval>,
    at_most: Option<Interval>,
    on_sleep: Option<bool>,
    on_screen_lock: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ClipboardSection {
    clear_after: Option<ShortTime>,
    osc52: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PinentrySection {
    program: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ConsentSection {
    passphrase: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AuditSection {
    breach_url: Option<ServiceAddress>,
}

/// The address of a service that knows breached passwords.
#[derive(Debug, Clone)]
struct ServiceAddress(String);

impl<'de> Deserialize<'de> for ServiceAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match breach_service::check_address(&text) {
            Ok(()) => Ok(Self(text)),
            // What was typed stays out of the message.
            Err(expected) => Err(D::Error::custom(format!(
                "wrong address, expected {expected}"
            ))),
        }
    }
}

/// A time such as `45s`, `15m`, `8h` or `1h 30m`, between two numbers of seconds.
#[derive(Debug, Clone, Copy)]
struct Time<const LEAST: u64, const MOST: u64>(Duration);

/// Between a minute and a week.
type Interval = Time<60, { 7 * 24 * 60 * 60 }>;
/// Between 5 seconds and 10 minutes.
type ShortTime = Time<5, 600>;

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Time<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span = text.parse::<Span>().ok();
        let day = SpanRelativeTo::days_are_24_hours();
        let time = span.and_then(|span| span.to_duration(day).ok());
        let time = time.and_then(|time| Duration::try_from(time).ok());
        // What was typed stays out of the message.
        let bounds = Duration::from_secs(LEAST)..=Duration::from_secs(MOST);
        time.filter(|time| bounds.contains(time))
            .map(Self)
            .ok_or_else(|| {
                let [least, most] = [LEAST, MOST].map(time_text);
                D::Error::custom(format!(
                    "wrong time, expected a time such as {most}, between {least} and {most}"
                ))
            })
    }
}

/// A whole number of the largest unit that gives one.
fn time_text(seconds: u64) -> String {
    const UNITS: [(u64, char); 3] = [(24 * 60 * 60, 'd'), (60 * 60, 'h'), (60, 'm')];
    let unit = UNITS.iter().find(|(len, _)| seconds.is_multiple_of(*len));
    let (len, unit) = unit.copied().unwrap_or((1, 's'));
    format!("{}{unit}", seconds / len)
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

/// The text of a settings file. It takes neither long nor much memory, whatever is at the path.
///
/// # Errors
/// The file cannot be read, is longer than [`FILE_LEN_MAX`], or is a pipe, a socket or a folder.
pub fn read_text(path: &Path) -> io::Result<String> {
    // A pipe must not block.
    const NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(NONBLOCK)
        .open(path)?;
    let kind = file.metadata()?.file_type();
    // /dev/null is an empty file.
    if !kind.is_file() && !kind.is_char_device() {
        return Err(io::Error::other("it is no ordinary file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LEN_MAX {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

impl Settings {
    /// The settings in `path`, or in the default file if there is one.
    ///
    /// # Errors
    /// See [`SettingsError`]. A default file that does not exist is no error.
    pub fn read(path: Option<&Path>) -> Result<Self, SettingsError> {
        let (path, is_named) = match path {
            Some(path) => (path.to_owned(), true),
            None => (default_file()?, false),
        };
        let unreadable = |why: String| SettingsError::Unreadable {
            path: path.clone(),
            why,
        };
        let text = match read_text(&path) {
            Err(error) if !is_named && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            text => text.map_err(|error| unreadable(error.to_string()))?,
        };
        toml::from_str(&text).map_err(|error| SettingsError::Wrong {
            fault: toml_fault(&text, &error, &keys::last_parts()),
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

    /// What the agent does with the vault; `offline` forbids the network.
    #[must_use]
    pub fn holding(&self, offline: bool) -> Holding {
        let default = Holding::default();
        let time = |interval: Option<Interval>, default| interval.map_or(default, |set| set.0);
        let every = self.sync.every.map(|set| set.0).or(default.sync_every);
        Holding {
            lock: LockRule {
                idle: time(self.lock.after_idle, default.lock.idle),
                most: time(self.lock.at_most, default.lock.most),
                on_sleep: self.lock.on_sleep.unwrap_or(default.lock.on_sleep),
                on_screen_lock: self
                    .lock
                    .on_screen_lock
                    .unwrap_or(default.lock.on_screen_lock),
            },
            sync: self.sync(offline),
            sync_every: every.filter(|_| self.sync.background.unwrap_or(true)),
            pinentry: self.pinentry.program.clone(),
            consent_passphrase: self.consent.passphrase.unwrap_or(false),
        }
    }

    /// How a value is copied.
    #[must_use]
    pub fn clipboard(&self) -> ClipboardSettings {
        let ClipboardSection { clear_after, osc52 } = self.clipboard;
        ClipboardSettings {
            clear_after: clear_after.map_or(Duration::from_secs(45), |set| set.0),
            osc52: osc52.unwrap_or(false),
        }
    }

    /// The address of the service that knows breached passwords.
    #[must_use]
    pub fn breach_url(&self) -> String {
        let set = self.audit.breach_url.as_ref();
        set.map_or_else(|| breach_service::PUBLIC.to_owned(), |set| set.0.clone())
    }

    /// The program that asks a person where no terminal is.
    #[must_use]
    pub fn pinentry(&self) -> Option<&Path> {
        self.pinentry.program.as_deref()
    }

    /// Whether a passphrase that a person types unlocks the vault in an agent, which is started
    /// for it.
    #[must_use]
    pub fn starts_agent(&self) -> bool {
        self.agent.start.unwrap_or(true)
    }
}

/// The settings file of a person who named none: `$XDG_CONFIG_HOME/passmate/config.toml`.
///
/// # Errors
/// [`SettingsError::NoHome`].
pub fn default_file() -> Result<PathBuf, SettingsError> {
    Ok(base()?.config_dir().join("passmate/config.toml"))
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
        toml_fault(text, &error, &keys::last_parts())
    }

    #[test]
    fn whatever_is_at_the_path_is_read_quickly_or_refused() {
        use rustix::fs::{CWD, Mode, mkfifoat};
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR).unwrap();
        let why = |path: &Path| Settings::read(Some(path)).unwrap_err().to_string();
        assert!(why(&pipe).contains("no ordinary file"));
        assert!(why(dir.path()).contains("no ordinary file"));
        assert!(why(Path::new("/dev/zero")).contains("longer than 1 MiB"));
        Settings::read(Some(Path::new("/dev/null"))).unwrap();
        let long = dir.path().join("long");
        std::fs::write(&long, "#".repeat(1 << 20)).unwrap();
        Settings::read(Some(&long)).unwrap();
        std::fs::write(&long, "#".repeat((1 << 20) + 1)).unwrap();
        assert!(why(&long).contains("longer than 1 MiB"));
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
    fn the_agent_is_told_what_the_file_says() {
        let settings = |text| toml::from_str::<Settings>(text).unwrap();
        assert_eq!(settings("").holding(false), Holding::default());
        assert!(settings("").starts_agent());
        let set = settings(
            "sync = { background = false, every = '5m' }\nagent = { start = false }\n\
             lock = { after-idle = '1h 30m', at-most = '7d', on-sleep = false }",
        );
        let holding = set.holding(true);
        assert_eq!(holding.lock.idle, Duration::from_mins(90));
        assert_eq!(holding.lock.most, Duration::from_hours(7 * 24));
        assert!(!holding.lock.on_sleep && holding.lock.on_screen_lock);
        assert!(holding.sync.offline && holding.sync_every.is_none());
        assert!(!set.starts_agent());
        let copied = settings("clipboard = { clear-after = '10s', osc52 = true }").clipboard();
        assert_eq!(copied.clear_after, Duration::from_secs(10));
        assert!(copied.osc52 && !settings("").clipboard().osc52);
        for wrong in ["59s", "8d", "-1h", "hunter2", "15", ""] {
            let fault = fault(&format!("[lock]\nafter-idle = '{wrong}'"));
            assert_eq!(
                fault,
                "line 2, key `after-idle`: the value is wrong, expected a time such as 7d, between \
                 1m and 7d"
            );
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
            "sync.every",
            "lock.at-most",
            "passphrase-file",
        ];
        for (key, value) in keys.iter().flat_map(|key| values.map(|value| (key, value))) {
            let text = format!("{key} = {value}\n");
            if let Err(error) = toml::from_str::<Settings>(&text) {
                let fault = toml_fault(&text, &error, &keys::last_parts());
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
