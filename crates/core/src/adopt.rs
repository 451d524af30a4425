//! What the original Passmate programs left on this device. They are read and stay as they are.

use std::path::{Path, PathBuf};

use passmate_interchange::Format;
use serde::Deserialize;

use crate::command::{Command, command};

/// Longest settings file of the original program, in bytes.
const SETTINGS_LEN_MAX: u64 = 64 * 1024;
/// Something that an original program left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Original {
    /// A vault.
    Vault {
        /// How it is imported.
        format: Format,
        /// Where it is.
        path: PathBuf,
    },
    /// The folder by which the live program syncs, with copies of devices in it.
    Folder(PathBuf),
}

/// The members of the live program's settings that matter here.
#[derive(Default, Deserialize)]
struct Settings {
    primary_db: Option<String>,
    shared_folder: Option<String>,
}

/// What the original programs left in this home folder, vaults first.
pub fn find(home: &Path) -> Vec<Original> {
    let folder = home.join(".local/share/passmate");
    let settings = read_settings(&folder.join("config.toml"));
    let vault = settings.primary_db.map_or_else(
        || folder.join("local.pmdb"),
        |path| folder_relative(home, &path),
    );
    let shared = settings
        .shared_folder
        .map_or_else(|| folder.join("sync"), |path| folder_relative(home, &path));
    let vaults = [
        (Format::Passmate2, vault),
        (Format::Pmate, home.join(".pmate")),
    ];
    let vaults = vaults.into_iter().filter(|(_, path)| path.is_file());
    let mut found: Vec<Original> = vaults
        .map(|(format, path)| Original::Vault { format, path })
        .collect();
    if has_copies(&shared) {
        found.push(Original::Folder(shared));
    }
    found
}

/// Settings that cannot be read are no settings: the program that they belong to says what is wrong
/// with them.
fn read_settings(path: &Path) -> Settings {
    let is_small =
        std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= SETTINGS_LEN_MAX);
    let text = is_small
        .then(|| std::fs::read_to_string(path).ok())
        .flatten();
    text.and_then(|text| toml::from_str(&text).ok())
        .unwrap_or_default()
}

/// As a person meant it: the original program knows no `~`, and its handbook has one.
fn folder_relative(home: &Path, path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => home.join(path),
    }
}

fn has_copies(folder: &Path) -> bool {
    let is_copy = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| {
            Path::new(&entry.file_name())
                .extension()
                .is_some_and(|suffix| suffix == "pmdb")
        })
    };
    std::fs::read_dir(folder).is_ok_and(|entries| entries.take(1000).any(is_copy))
}

impl Original {
    /// The command that imports it, or takes part in it, later.
    #[must_use]
    pub fn command(&self) -> Command {
        match self {
            Self::Vault { format, path } => command(["passmate", "import"])
                .word(format.word())
                .arg(path),
            Self::Folder(path) => command(["passmate", "sync", "setup", "--folder"]).arg(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content.replace("HOME", home.path().to_str().unwrap())).unwrap();
        }
        home
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[(&str, &str)]) {
        let home = home(files);
        let found = find(home.path());
        let told = found.iter().map(|original| match original {
            Original::Vault { format, path } => (format.word(), path),
            Original::Folder(path) => ("folder", path),
        });
        let told: Vec<_> = told
            .map(|(what, path)| {
                (
                    what,
                    path.strip_prefix(home.path()).unwrap().to_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_suggested_command_can_be_pasted_into_a_shell() {
        let folder = Original::Folder(PathBuf::from("/a b"));
        let text = folder.command().text();
        assert_eq!(text, "passmate sync setup --folder '/a b'");
    }

    #[test]
    fn what_the_original_programs_left_is_found_where_they_or_their_settings_put_it() {
        let settings = ".local/share/passmate/config.toml";
        check(&[], &[]);
        check(&[(".pmate", "x")], &[("pmate", ".pmate")]);
        let standard = [
            (".local/share/passmate/local.pmdb", "x"),
            (".local/share/passmate/sync/laptop.pmdb", "x"),
        ];
        let found = [
            ("passmate2", ".local/share/passmate/local.pmdb"),
            ("folder", ".local/share/passmate/sync"),
        ];
        check(&standard, &found);
        let named =
            "primary_db = \"HOME/my.pmdb\"\nshared_folder = \"~/cloud\"\nhost_id = \"laptop\"\n";
        let files = [
            (settings, named),
            ("my.pmdb", "x"),
            ("cloud/laptop.pmdb", "x"),
            (".pmate", "x"),
        ];
        check(
            &files,
            &[
                ("passmate2", "my.pmdb"),
                ("pmate", ".pmate"),
                ("folder", "cloud"),
            ],
        );
        // A folder in which nobody has a copy, and settings that are none.
        check(
            &[
                (settings, "\u{0}"),
                (".local/share/passmate/sync/readme", "x"),
            ],
            &[],
        );
        check(&[(settings, "primary_db = 5")], &[]);
    }
}
