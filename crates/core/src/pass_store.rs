//! A store of `pass` or `gopass`: a folder of files that `gpg` decrypts one by one.
//!
//! Links are followed as `pass` does, but each folder is read once, so that a circle of links has an
//! end. What cannot be read or decrypted is a [`Loss`]; if nothing can be decrypted, that is an
//! error.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use passmate_interchange::{
    FILE_LEN_MAX, Format, ITEMS_MAX, ImportError, Imported, Loss, PassEntry, Progress, parse_pass,
};
use zeroize::Zeroizing;

use crate::import::problem_of;
use crate::problem::{Problem, ProblemKind};

/// The deepest folder in a store.
const DEPTH_MAX: usize = 64;
/// The most bytes of gpg's messages that are read.
const MESSAGES_LEN_MAX: u64 = 64 * 1024;
/// The longest reason of gpg that is shown, in characters.
const REASON_LEN_MAX: usize = 200;
/// The codes of libgpg-error for a passphrase that the person does not want to give.
const CANCELLED: [u32; 2] = [99, 198];

/// Reads a store of `pass`: `gpg` decrypts each of its files. Without `may_ask`, gpg asks for no
/// passphrase. `progress` counts the files.
///
/// # Errors
/// The folder is no store, or gpg can decrypt none of its files.
pub fn read(store: &Path, may_ask: bool, progress: &Progress) -> Result<Imported, Problem> {
    let mut found = Found::default();
    found.walk(store)?;
    if found.entries.is_empty() {
        return Err(no_store(&found));
    }
    found.entries.sort();
    let (mut room, mut decrypted) = (FILE_LEN_MAX, 0_usize);
    let mut first_failure = None;
    let mut entries = Vec::with_capacity(found.entries.len());
    progress.begin(found.entries.len() as u64);
    for (done, Entry { name, file }) in (0..).zip(found.entries) {
        progress.set(done);
        let content = match decrypt(&file, may_ask)? {
            Decrypted::Content(content) => {
                decrypted += 1;
                Ok(content)
            }
            Decrypted::TooLong => {
                decrypted += 1;
                Err(format!(
                    "it is longer than {} MiB",
                    FILE_LEN_MAX / (1024 * 1024)
                ))
            }
            Decrypted::Failed(why) => {
                first_failure.get_or_insert_with(|| (file, why.clone()));
                Err(format!("gpg cannot decrypt it: {why}"))
            }
        };
        // What is no text is not kept, and a store may have many attachments.
        let content = content.and_then(|content| match std::str::from_utf8(&content) {
            Ok(_) => Ok(content),
            Err(_) => Err("it is not text in UTF-8".to_owned()),
        });
        let len = content.as_ref().map_or(0, |content| content.len());
        room = room.checked_sub(len).ok_or_else(|| {
            let limit = FILE_LEN_MAX;
            problem_of(&ImportError::TooLong { limit }, Format::Pass)
        })?;
        entries.push(PassEntry {
            path: name,
            content,
        });
    }
    if let Some((file, why)) = first_failure.filter(|_| decrypted == 0) {
        return Err(Problem::new(
            ProblemKind::Other,
            format!("gpg cannot decrypt {}: {why}", file.display()),
            "`gpg --decrypt` on that file shows why; nothing was changed",
        ));
    }
    let mut imported = parse_pass(entries).map_err(|error| problem_of(&error, Format::Pass))?;
    imported.losses.append(&mut found.losses);
    Ok(imported)
}

fn no_store(found: &Found) -> Problem {
    let is_age = |loss: &Loss| loss.what == AGE;
    if found.losses.iter().any(is_age) {
        return Problem::new(
            ProblemKind::NotSupported,
            "cannot import this as pass: the store is encrypted with age, which is not supported",
            "convert a copy of the store with `gopass convert --crypto gpgcli`, and import that; \
             nothing was changed",
        );
    }
    let error = ImportError::NotThisFormat {
        expected: "a folder of pass: it has no .gpg file",
    };
    problem_of(&error, Format::Pass)
}

/// The loss for a file that age encrypted.
const AGE: &str = "the whole item: it is encrypted with age, which is not supported";

/// A file of the store. Files are sorted by their names.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// The path in the store, without the extension.
    name: String,
    file: PathBuf,
}

/// The content of a store.
#[derive(Default)]
struct Found {
    entries: Vec<Entry>,
    losses: Vec<Loss>,
    /// The folders that were read, without links.
    folders: BTreeSet<PathBuf>,
}

/// A folder that is still to be read, with its path in the store.
struct Folder {
    path: PathBuf,
    name: String,
    depth: usize,
}

impl Found {
    /// Finds the entries of a store. Hidden files and folders, such as `.git`, are none. Folders
    /// that are linked are read last, so that a folder that is also in the store has its own name.
    fn walk(&mut self, store: &Path) -> Result<(), Problem> {
        let failed = |error: &io::Error| {
            let message = format!("cannot read the folder {}: {error}", store.display());
            let hint = "give the store's folder, for example ~/.password-store";
            Problem::new(ProblemKind::File, message, hint)
        };
        std::fs::read_dir(store).map_err(|error| failed(&error))?;
        let mut folders = vec![Folder {
            path: store.to_owned(),
            name: String::new(),
            depth: 0,
        }];
        let mut linked = Vec::new();
        while let Some(folder) = folders.pop().or_else(|| linked.pop()) {
            if let Err(error) = self.read_folder(&folder, &mut folders, &mut linked)? {
                self.lose(&folder.name, format!("the whole folder: {error}"));
            }
            linked.sort_by(|one: &Folder, other| other.name.cmp(&one.name));
        }
        Ok(())
    }

    /// Reads one folder. The outer error is that of a limit, the inner one that of the folder.
    fn read_folder(
        &mut self,
        folder: &Folder,
        folders: &mut Vec<Folder>,
        linked: &mut Vec<Folder>,
    ) -> Result<io::Result<()>, Problem> {
        let entries = match folder.path.canonicalize().and_then(|real| {
            if self.folders.insert(real) {
                std::fs::read_dir(&folder.path).map(Some)
            } else {
                Ok(None)
            }
        }) {
            Ok(Some(entries)) => entries,
            Ok(None) => {
                let what = "a link to a folder that is imported under another name";
                self.lose(&folder.name, what.to_owned());
                return Ok(Ok(()));
            }
            Err(error) => return Ok(Err(error)),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Ok(Err(error)),
            };
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            let name = format!("{}{}", folder.name, entry.file_name().to_string_lossy());
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            // This follows links.
            match path.metadata() {
                Ok(found) if found.is_dir() => {
                    if folder.depth >= DEPTH_MAX {
                        return Err(too_many("levels", DEPTH_MAX));
                    }
                    let next = if is_link { &mut *linked } else { &mut *folders };
                    next.push(Folder {
                        path,
                        name: format!("{name}/"),
                        depth: folder.depth + 1,
                    });
                }
                Ok(_) => self.add(&name, path)?,
                Err(_) if is_link => {
                    let name = name.strip_suffix(".gpg").unwrap_or(&name);
                    self.lose(
                        name,
                        "the whole item: it is a link that leads nowhere".to_owned(),
                    );
                }
                Err(error) => self.lose(&name, format!("the whole item: {error}")),
            }
            if self.losses.len() > ITEMS_MAX {
                return Err(too_many("items", ITEMS_MAX));
            }
        }
        Ok(Ok(()))
    }

    fn add(&mut self, name: &str, file: PathBuf) -> Result<(), Problem> {
        if let Some(name) = name.strip_suffix(".age") {
            self.lose(name, AGE.to_owned());
        }
        let Some(name) = name.strip_suffix(".gpg") else {
            return Ok(());
        };
        if self.entries.len() >= ITEMS_MAX {
            return Err(too_many("items", ITEMS_MAX));
        }
        self.entries.push(Entry {
            name: name.to_owned(),
            file,
        });
        Ok(())
    }

    fn lose(&mut self, name: &str, what: String) {
        let loss = Loss::new(name.trim_end_matches('/'), what);
        self.losses.push(loss);
    }
}

fn too_many(what: &'static str, limit: usize) -> Problem {
    problem_of(&ImportError::TooMany { what, limit }, Format::Pass)
}

/// What gpg did with a file.
enum Decrypted {
    Content(Zeroizing<Vec<u8>>),
    /// The content is longer than [`FILE_LEN_MAX`].
    TooLong,
    /// The reason, for people.
    Failed(String),
}

/// Decrypts a file. It is an error if gpg does not run, or if the person does not want to give a
/// passphrase: gpg would ask for it again for the next file.
fn decrypt(file: &Path, may_ask: bool) -> Result<Decrypted, Problem> {
    let failed = |error: io::Error| {
        let hint = "import pass needs the program gpg in the PATH; nothing was changed";
        Problem::new(ProblemKind::Other, format!("cannot run gpg: {error}"), hint)
    };
    let mut gpg = Command::new("gpg");
    gpg.args(["--quiet", "--batch", "--yes", "--status-fd", "2"]);
    if !may_ask {
        gpg.args(["--pinentry-mode", "error"]);
    }
    gpg.arg("--decrypt")
        .arg("--")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = gpg.spawn().map_err(failed)?;
    let stderr = child.stderr.take();
    // Both outputs are read at once, because gpg stops while one of them is full.
    let messages = std::thread::spawn(move || {
        let mut messages = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = (&mut stderr)
                .take(MESSAGES_LEN_MAX)
                .read_to_end(&mut messages);
            let _ = io::copy(&mut stderr, &mut io::sink());
        }
        String::from_utf8_lossy(&messages).into_owned()
    });
    let mut content = Zeroizing::new(Vec::new());
    let limit = u64::try_from(FILE_LEN_MAX).unwrap_or(u64::MAX);
    let read = child.stdout.take().map(|stdout| {
        stdout
            .take(limit.saturating_add(1))
            .read_to_end(&mut content)
    });
    let is_too_long = content.len() > FILE_LEN_MAX;
    if is_too_long {
        // It may write without end.
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    let messages = messages.join().unwrap_or_default();
    if is_too_long {
        return Ok(Decrypted::TooLong);
    }
    if let Some(Err(error)) = read {
        return Ok(Decrypted::Failed(error.to_string()));
    }
    if status.success() {
        return Ok(Decrypted::Content(content));
    }
    if is_cancelled(&messages) {
        return Err(Problem::new(
            ProblemKind::Other,
            "gpg was not given the passphrase of its key",
            "import again and type it; nothing was changed",
        ));
    }
    Ok(Decrypted::Failed(reason_of(&messages, status)))
}

/// Whether a status line such as `[GNUPG:] ERROR pkdecrypt_failed 83886179` says that the person
/// closed the dialog.
fn is_cancelled(messages: &str) -> bool {
    let errors = messages
        .lines()
        .filter_map(|line| line.strip_prefix("[GNUPG:] ERROR "));
    let mut codes = errors.filter_map(|error| error.split(' ').nth(1)?.parse::<u32>().ok());
    // The upper half tells which program had the error.
    codes.any(|code| CANCELLED.contains(&(code & 0xFFFF)))
}

/// The last message of gpg without its name, such as `decryption failed: No secret key`.
fn reason_of(messages: &str, status: ExitStatus) -> String {
    let mut lines = messages
        .lines()
        .filter_map(|line| line.strip_prefix("gpg: "));
    let reason: String = lines
        .next_back()
        .unwrap_or_default()
        .trim()
        .chars()
        .filter(|character| !character.is_control())
        .take(REASON_LEN_MAX)
        .collect();
    if reason.is_empty() {
        status.to_string()
    } else {
        reason
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(store: &Path, name: &str) {
        let file = store.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }

    /// The names of the entries, and the losses, of a store.
    fn found(store: &Path) -> (Vec<String>, Vec<(String, String)>) {
        let mut found = Found::default();
        found.walk(store).unwrap();
        found.entries.sort();
        found.losses.sort();
        let entries = found.entries.into_iter().map(|entry| entry.name);
        let losses = found.losses.into_iter().map(|loss| (loss.path, loss.what));
        (entries.collect(), losses.collect())
    }

    #[test]
    fn links_are_followed_without_circles() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        for file in [
            "store/own.gpg",
            "store/web/a.gpg",
            "store/.git/x.gpg",
            "store/web/no.txt",
            "team/shared.gpg",
        ] {
            put(dir.path(), file);
        }
        let link = |to: &Path, name: &str| symlink(to, store.join(name)).unwrap();
        link(&dir.path().join("team"), "a team");
        link(Path::new("own.gpg"), "same.gpg");
        link(Path::new("gone.gpg"), "b.gpg");
        link(Path::new("loop.gpg"), "loop.gpg");
        link(Path::new("web"), "also web");
        link(Path::new(".."), "web/up");
        symlink(&store, dir.path().join("team/back")).unwrap();
        let (entries, losses) = found(&store);
        assert_eq!(entries, ["a team/shared", "own", "same", "web/a"]);
        let nowhere = "the whole item: it is a link that leads nowhere";
        let again = "a link to a folder that is imported under another name";
        let expected = [
            ("a team/back", again),
            ("also web", again),
            ("b", nowhere),
            ("loop", nowhere),
            ("web/up", again),
        ];
        let losses: Vec<_> = losses
            .iter()
            .map(|(path, what)| (path.as_str(), what.as_str()))
            .collect();
        assert_eq!(losses, expected);
    }

    #[test]
    fn a_linked_store_is_read() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "real/a.gpg");
        symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
        assert_eq!(found(&dir.path().join("link")).0, ["a"]);
    }

    #[test]
    fn a_store_under_age_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "a.age");
        let problem = read(dir.path(), false, &Progress::default()).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::NotSupported);
        assert!(problem.message.contains("age") && problem.hint.contains("gopass convert"));
        put(dir.path(), "b.gpg");
        let (entries, losses) = found(dir.path());
        assert_eq!(entries, ["b"]);
        assert_eq!(losses, [("a".to_owned(), AGE.to_owned())]);
    }

    #[test]
    fn the_reason_is_the_last_message() {
        let status = Command::new("false").status().unwrap();
        let messages = "gpg: encrypted with cv25519 key\n      \"x <x@x.example>\"\n[GNUPG:] NO_SECKEY 1\n\
                        gpg: decryption failed: No secret key\x1b\n[GNUPG:] END_DECRYPTION\n";
        assert_eq!(
            reason_of(messages, status),
            "decryption failed: No secret key"
        );
        assert_eq!(reason_of("", status), status.to_string());
        assert!(is_cancelled("[GNUPG:] ERROR pkdecrypt_failed 83886179\n"));
        assert!(!is_cancelled(
            "[GNUPG:] ERROR pkdecrypt_failed 17\n[GNUPG:] ERROR\n"
        ));
    }
}
