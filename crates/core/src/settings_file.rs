//! Changes one key of a settings file, and nothing else of it: comments and order stay.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use tempfile::NamedTempFile;
use toml_edit::{DocumentMut, Item, Table, Value, value};

use crate::command::command;
use crate::disk::folder_of;
use crate::problem::{Problem, ProblemKind};
use crate::settings::keys::{KEYS, Key, Kind};
use crate::settings::{Settings, read_text, toml_fault};

/// Whether a file was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It was.
    Yes,
    /// It is as it was.
    No,
}

impl Key {
    /// The key of this name.
    ///
    /// # Errors
    /// There is none; the error names the nearest.
    pub fn find(name: &str) -> Result<&'static Self, Problem> {
        if let Some(key) = KEYS.iter().find(|key| key.name == name) {
            return Ok(key);
        }
        let likeness = |key: &&Self| {
            // Whoever leaves out the table means the key all the same.
            let whole = strsim::jaro_winkler(name, key.name);
            whole.max(strsim::jaro_winkler(name, key.last()))
        };
        let near = KEYS
            .iter()
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let near = near.filter(|key| likeness(key) > 0.8 && name.len() < 100);
        let hint = match near {
            Some(near) => format!("did you mean {}?", near.name),
            None => "`passmate config show` lists all keys".to_owned(),
        };
        let message = format!("there is no setting {name}");
        Err(Problem::new(ProblemKind::Usage, message, hint))
    }

    /// Sets this key in a settings file, which is made if there is none. A link stays one.
    ///
    /// # Errors
    /// The value is none for this key, or the file cannot be read or written.
    pub fn set(&self, file: &Path, typed: &str) -> Result<Changed, Problem> {
        let new = self.parse(typed)?;
        change(file, |document, table| {
            check_pair(table, self)?;
            let item = self.item(document)?;
            match item.as_value_mut() {
                // A comment behind the old value stays.
                Some(old) => {
                    let decor = old.decor().clone();
                    *old = new.clone();
                    *old.decor_mut() = decor;
                }
                None => *item = value(new.clone()),
            }
            Ok(())
        })
    }

    /// Removes this key from a settings file.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn unset(&self, file: &Path) -> Result<Changed, Problem> {
        if !file.exists() {
            return Ok(Changed::No);
        }
        change(file, |document, table| {
            if self.value_in(table).is_none() {
                return Ok(());
            }
            let mut parts = self.name.rsplitn(2, '.');
            let last = parts.next().unwrap_or(self.name);
            match parts.next() {
                None => document.remove(last),
                Some(name) => {
                    let parent = document.get_mut(name).and_then(Item::as_table_like_mut);
                    parent.and_then(|parent| parent.remove(last))
                }
            };
            Ok(())
        })
    }

    /// The value that a person typed.
    fn parse(&self, typed: &str) -> Result<Value, Problem> {
        let parsed: Option<Value> = match self.kind {
            Kind::Switch => typed.parse::<bool>().ok().map(Into::into),
            Kind::Number => typed.parse::<i64>().ok().map(Into::into),
            Kind::Text | Kind::Color => Some(typed.into()),
            Kind::Path if typed == "-" => Some(typed.into()),
            // The next command may run in another folder.
            Kind::Path => std::path::absolute(typed)
                .ok()
                .and_then(|path| path.into_os_string().into_string().ok())
                .map(Into::into),
        };
        let is_number = self.kind == Kind::Text && typed.parse::<u64>().is_ok();
        let wrong = |why: &str| {
            Problem::usage(
                format!("{typed:?} is no value for {}: {why}", self.name),
                match self.default {
                    // A number alone is the commonest mistake.
                    Some(default) if is_number && default.parse::<jiff::Span>().is_ok() => {
                        format!(
                            "write {typed}m for minutes, {typed}s for seconds or {typed}h for hours"
                        )
                    }
                    Some(default) => format!("without it, {default} holds"),
                    None => "`passmate config show` shows what is set".to_owned(),
                },
            )
        };
        let Some(parsed) = parsed else {
            return Err(wrong(match self.kind {
                Kind::Switch => "it is neither true nor false",
                Kind::Number => "it is no number",
                Kind::Text | Kind::Path | Kind::Color => "it is empty",
            }));
        };
        let text = format!("{} = {parsed}", self.name);
        match toml::from_str::<Settings>(&text) {
            Ok(_) => Ok(parsed),
            Err(error) => {
                let fault = toml_fault(&text, &error, &[]);
                Err(wrong(
                    fault.rsplit_once(": ").map_or(&fault, |(_, why)| why),
                ))
            }
        }
    }

    /// The place of this key, with its table.
    fn item<'d>(&self, document: &'d mut DocumentMut) -> Result<&'d mut Item, Problem> {
        let Some((table, last)) = self.name.split_once('.') else {
            return Ok(document.entry(self.name).or_insert(Item::None));
        };
        let parent = document.entry(table).or_insert(Item::Table(Table::new()));
        let parent = parent.as_table_like_mut().ok_or_else(|| {
            Problem::usage(
                format!("{table} is no table in the settings"),
                "mend the file in an editor",
            )
        })?;
        Ok(parent.entry(last).or_insert(Item::None))
    }
}

/// Changes a file, if the result is sound and differs.
fn change(
    file: &Path,
    edit: impl FnOnce(&mut DocumentMut, &toml::Table) -> Result<(), Problem>,
) -> Result<Changed, Problem> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Problem::new(
            ProblemKind::File,
            format!("cannot {what} the settings {}: {error}", file.display()),
            "check --config and PASSMATE_CONFIG, and the rights of the file",
        )
    };
    let not_written = |error: io::Error| {
        let problem = failed("write", &error);
        match error.kind() {
            io::ErrorKind::StorageFull => {
                problem.with_hint("free some disk space; the file is as it was")
            }
            _ => problem,
        }
    };
    let before = match read_text(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed("read", &error)),
    };
    let table: toml::Table = before
        .parse()
        .map_err(|_| failed("read", &"it is no TOML"))?;
    let mut document: DocumentMut = before
        .parse()
        .map_err(|_| failed("read", &"it is no TOML"))?;
    edit(&mut document, &table)?;
    let after = document.to_string();
    if after == before {
        return Ok(Changed::No);
    }
    if let Err(error) = toml::from_str::<Settings>(&after) {
        return Err(failed("change", &toml_fault(&after, &error, &[])));
    }
    replace(file, &after).map_err(not_written)?;
    Ok(Changed::Yes)
}

/// Replaces a file such that a crash leaves the old one or the new one.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let target = match file.canonicalize() {
        Ok(target) => target,
        // What it leads to may be on a disk that is away.
        Err(_) if file.is_symlink() => {
            return Err(io::Error::other("it is a link to a file that is not there"));
        }
        Err(_) => file.to_owned(),
    };
    let folder = folder_of(&target);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut new = NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    let mode = fs::metadata(&target).map_or(0o600, |found| found.permissions().mode());
    new.as_file()
        .set_permissions(Permissions::from_mode(mode & 0o777))?;
    new.as_file().sync_all()?;
    new.persist(&target)?;
    fs::File::open(folder)?.sync_all()
}

/// Refuses keys of which a file may have one.
fn check_pair(file: &toml::Table, set: &Key) -> Result<(), Problem> {
    let other = set.other().and_then(|name| Key::find(name).ok());
    let Some(other) = other.filter(|other| other.value_in(file).is_some()) else {
        return Ok(());
    };
    Err(Problem::usage(
        format!("{} is set, and {} takes its place", other.name, set.name),
        format!(
            "{} first",
            command(["passmate", "config", "unset"]).arg(other.name)
        ),
    ))
}
#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "\
# Mine.
color = \"never\" # on paper
sync.auto = true

[lock]
# Short.
after-idle = \"5m\"
";

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config.toml");
        if !text.is_empty() {
            fs::create_dir(dir.path().join("new")).unwrap();
            fs::write(&path, text).unwrap();
        }
        (dir, path)
    }

    fn key(name: &str) -> &'static Key {
        Key::find(name).unwrap()
    }

    #[track_caller]
    fn check(name: &str, typed: Option<&str>, before: &str, after: &str) {
        let (_dir, path) = file(before);
        let changed = match typed {
            Some(typed) => key(name).set(&path, typed),
            None => key(name).unset(&path),
        };
        let expected = match before == after {
            true => Changed::No,
            false => Changed::Yes,
        };
        assert_eq!(changed.unwrap(), expected);
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), after);
    }

    #[test]
    fn one_key_changes_and_all_else_stays() {
        let with = |old: &str, new: &str| BEFORE.replace(old, new);
        check("color", Some("always"), BEFORE, &with("never", "always"));
        check("color", Some("never"), BEFORE, BEFORE);
        check("sync.auto", Some("false"), BEFORE, &with("true", "false"));
        check("lock.after-idle", Some("1h"), BEFORE, &with("5m", "1h"));
        check("sync.auto", None, BEFORE, &with("sync.auto = true\n", ""));
        check("profile", None, BEFORE, BEFORE);
        let more = with(
            "sync.auto = true\n",
            "sync.auto = true\nsync.every = \"1h\"\n",
        );
        check("sync.every", Some("1h"), BEFORE, &more);
        let more = format!("{BEFORE}at-most = \"1h\"\n");
        check("lock.at-most", Some("1h"), BEFORE, &more);
    }

    #[test]
    fn a_file_is_made_for_its_owner_alone_and_another_keeps_its_mode() {
        let (_dir, path) = file("");
        assert_eq!(key("sync.auto").unset(&path).unwrap(), Changed::No);
        assert!(!path.exists());
        key("sync.auto").set(&path, "true").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[sync]\nauto = true\n");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let link = path.with_file_name("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        key("color").set(&link, "never").unwrap();
        assert!(link.is_symlink());
        assert_eq!(mode(&path), 0o644);
        assert!(fs::read_to_string(&path).unwrap().contains("color"));
        // A link to nothing is not replaced.
        fs::remove_file(&path).unwrap();
        let problem = key("color").set(&link, "never").unwrap_err();
        assert!(problem.message.contains("is a link"), "{problem:?}");
        assert!(link.is_symlink());
    }

    #[test]
    fn what_is_no_value_for_a_key_is_refused_with_a_reason() {
        let (_dir, path) = file(BEFORE);
        for (name, typed, why) in [
            ("color", "blue", "expected one of"),
            ("sync.auto", "yes", "neither true nor false"),
            ("sync.guard-records", "ten", "no number"),
            ("sync.guard-records", "-1", "expected"),
            ("lock.after-idle", "soon", "a time such as"),
            ("vault", "", "empty"),
        ] {
            let problem = key(name).set(&path, typed).unwrap_err();
            assert_eq!(problem.kind, ProblemKind::Usage, "{name}");
            assert!(problem.message.contains(why), "{name}: {}", problem.message);
        }
        let problem = key("lock.after-idle").set(&path, "20").unwrap_err();
        assert!(problem.hint.contains("write 20m"), "{}", problem.hint);
        let problem = key("color").set(&path, "20").unwrap_err();
        assert!(!problem.hint.contains("20m"), "{}", problem.hint);
        assert_eq!(fs::read_to_string(&path).unwrap(), BEFORE);
    }

    #[test]
    fn of_two_keys_that_exclude_each_other_one_is_set() {
        let (_dir, path) = file("profile = \"work\"\n");
        let problem = key("vault").set(&path, "/x").unwrap_err();
        assert!(problem.hint.contains("`passmate config unset profile`"));
        key("profile").unset(&path).unwrap();
        key("vault").set(&path, "/x").unwrap();
        let relative = std::path::absolute("here").unwrap();
        key("vault").set(&path, "here").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(relative.to_str().unwrap()), "{text}");
    }
}
