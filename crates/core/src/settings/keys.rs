//! The keys of a settings file: the one list of them.

use super::breach_service::PUBLIC;

/// A key of a settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name, with the table before a dot.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What holds without it; `None` if nothing does, or if it follows from other things.
    pub default: Option<&'static str>,
    /// The variable of the environment that goes before it.
    pub variable: Option<&'static str>,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The path of a file.
    Path,
    /// Any text.
    Text,
    /// `true` or `false`.
    Switch,
    /// A number.
    Number,
    /// `auto`, `always` or `never`.
    Color,
}

const fn key(name: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    Key {
        name,
        kind,
        default,
        variable: None,
    }
}

const fn with_variable(name: &'static str, kind: Kind, variable: &'static str) -> Key {
    Key {
        name,
        kind,
        default: None,
        variable: Some(variable),
    }
}

/// All keys.
pub const KEYS: [Key; 20] = [
    with_variable("vault", Kind::Path, "PASSMATE_VAULT"),
    with_variable("profile", Kind::Text, "PASSMATE_PROFILE"),
    with_variable("passphrase-file", Kind::Path, "PASSMATE_PASSPHRASE_FILE"),
    with_variable(
        "passphrase-command",
        Kind::Text,
        "PASSMATE_PASSPHRASE_COMMAND",
    ),
    key("color", Kind::Color, Some("auto")),
    key("sync.auto", Kind::Switch, Some("false")),
    key("sync.guard-records", Kind::Number, Some("10")),
    key("sync.guard-percent", Kind::Number, Some("20")),
    key("sync.background", Kind::Switch, Some("true")),
    key("sync.every", Kind::Text, Some("15m")),
    key("agent.start", Kind::Switch, Some("true")),
    key("lock.after-idle", Kind::Text, Some("15m")),
    key("lock.at-most", Kind::Text, Some("8h")),
    key("lock.on-sleep", Kind::Switch, Some("true")),
    key("lock.on-screen-lock", Kind::Switch, Some("true")),
    key("clipboard.clear-after", Kind::Text, Some("45s")),
    key("clipboard.osc52", Kind::Switch, Some("false")),
    key("pinentry.program", Kind::Text, None),
    key("consent.passphrase", Kind::Switch, Some("false")),
    key("audit.breach-url", Kind::Text, Some(PUBLIC)),
];

/// Keys of which a file may have one.
const EITHER: [[&str; 2]; 2] = [
    ["vault", "profile"],
    ["passphrase-file", "passphrase-command"],
];

impl Key {
    /// Its name without the table.
    pub(crate) fn last(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// All values that it may have, if they are few.
    #[must_use]
    pub const fn values(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Switch => &["true", "false"],
            Kind::Color => &["auto", "always", "never"],
            Kind::Path | Kind::Text | Kind::Number => &[],
        }
    }

    /// The key in the place of which this one is set, if a file may have one of both.
    pub(crate) fn other(&self) -> Option<&'static str> {
        EITHER.iter().find_map(|pair| match pair {
            [one, other] if *one == self.name => Some(*other),
            [other, one] if *one == self.name => Some(*other),
            _ => None,
        })
    }

    /// The value that a settings file has for it.
    #[must_use]
    pub fn value_in(&self, file: &toml::Table) -> Option<String> {
        let mut parts = self.name.split('.');
        let mut value = file.get(parts.next()?)?;
        for part in parts {
            value = value.get(part)?;
        }
        Some(match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }
}

/// The last parts of the names.
pub(super) fn last_parts() -> Vec<&'static str> {
    KEYS.iter().map(Key::last).collect()
}

/// All names, in a sentence.
pub(crate) fn names() -> String {
    let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    match names.split_last() {
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    /// The keys of a table that its type knows, from what the reader says of another one.
    fn known(table: &str) -> Vec<String> {
        let text = match table {
            "" => "none-such = 1".to_owned(),
            table => format!("{table}.none-such = 1"),
        };
        let error = toml::from_str::<Settings>(&text).unwrap_err();
        let (_, expected) = error.message().split_once(", expected ").unwrap();
        let names = expected.split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect()
    }

    #[test]
    fn the_list_has_each_key_that_is_read() {
        let mut read = Vec::new();
        for name in known("") {
            let is_table = toml::from_str::<Settings>(&format!("[{name}]")).is_ok();
            if is_table {
                let inner = known(&name).into_iter();
                read.extend(inner.map(|inner| format!("{name}.{inner}")));
            } else {
                read.push(name);
            }
        }
        let mut listed: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        read.sort();
        listed.sort();
        assert_eq!(read, listed);
    }

    #[test]
    fn the_defaults_are_those_that_hold() {
        let mut text = String::new();
        for key in KEYS {
            let Some(default) = key.default else { continue };
            text.push_str(&match key.kind {
                Kind::Switch | Kind::Number => format!("{} = {default}\n", key.name),
                Kind::Text | Kind::Path | Kind::Color => {
                    format!("{} = {default:?}\n", key.name)
                }
            });
        }
        let [set, unset] = [text.as_str(), ""].map(|text| {
            let settings: Settings = toml::from_str(text).unwrap();
            let color = settings.color.unwrap_or_default();
            let clipboard = settings.clipboard();
            let holding = settings.holding(false);
            format!(
                "{color:?} {clipboard:?} {holding:?} {} {}",
                settings.starts_agent(),
                settings.breach_url()
            )
        });
        assert_eq!(set, unset);
    }

    #[test]
    fn of_a_closed_set_each_value_is_one_and_no_other() {
        for key in KEYS {
            let (name, values) = (key.name, key.values());
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("config.toml");
            for value in values {
                key.set(&file, value).unwrap();
            }
            assert!(
                values.is_empty() || key.set(&file, "other").is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        for (typed, near) in [
            ("sync.atuo", "sync.auto"),
            ("after-idle", "lock.after-idle"),
            ("colour", "color"),
            ("passphrase_file", "passphrase-file"),
        ] {
            let problem = Key::find(typed).unwrap_err();
            assert!(problem.hint.contains(near), "{typed}: {}", problem.hint);
        }
        assert!(Key::find("xyz").unwrap_err().hint.contains("config show"));
        assert!(Key::find(&"a".repeat(100_000)).is_err());
    }
}
