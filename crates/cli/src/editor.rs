//! A record as a text, in the person's editor. The rules are:
//!  - the text is in memory, readable by its owner alone, and deleted however the editor ends;
//!  - only what the person changed is stored, so that an edit made elsewhere meanwhile stays.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use passmate_core::edit::RecordText;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::settings::toml_fault;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::app::App;

/// Longest text that is read back, in bytes.
const TEXT_LEN_MAX: u64 = 32 * 1024 * 1024;

/// A record as a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    path: String,
    #[serde(default)]
    fields: BTreeMap<String, String>,
}

/// Lets a person edit a record in their editor.
pub(crate) fn edit_record(app: &App, before: RecordText) -> Result<RecordText, Problem> {
    let before = Page::from(before);
    let mut folder = EditFolder::new(app)?;
    let mut text = before.to_text()?;
    loop {
        text = folder.edit(&text)?;
        let error = match toml::from_str::<Page>(&text) {
            Ok(after) => return Ok(after.into()),
            Err(error) => error,
        };
        let message = format!("this is not a valid record: {}", toml_fault(&text, &error));
        if !app.ask.has_person() || app.ask.yes {
            return Err(Problem::usage(
                message,
                "nothing was changed; keep the format of the file",
            ));
        }
        app.out.warn(&message);
        app.ask.confirm("Edit it again?")?;
    }
}

impl From<RecordText> for Page {
    fn from(RecordText { path, fields }: RecordText) -> Self {
        Self { path, fields }
    }
}

impl From<Page> for RecordText {
    fn from(Page { path, fields }: Page) -> Self {
        Self { path, fields }
    }
}

impl Page {
    fn to_text(&self) -> Result<Zeroizing<String>, Problem> {
        let page = toml::to_string_pretty(self).map_err(|error| {
            Problem::new(
                ProblemKind::Other,
                format!("the record cannot be written as a text: {error}"),
                "use `passmate set`",
            )
        })?;
        let page = Zeroizing::new(page);
        Ok(Zeroizing::new(format!(
            "# Save and close to store what you change here; to unset a field, delete its line.\n\
             # Names and values are in quotes; text of several lines stands between \"\"\" and \
             \"\"\".\n\n{}",
            *page
        )))
    }
}

/// A folder for the text, which is deleted with this value.
struct EditFolder {
    folder: TempDir,
    /// The person wanted this program to end.
    is_ended: Arc<AtomicBool>,
}

impl EditFolder {
    fn new(app: &App) -> Result<Self, Problem> {
        let failed = |error: std::io::Error| {
            let hint = "set XDG_RUNTIME_DIR to a folder in memory (tmpfs) that only you can read";
            Problem::new(
                ProblemKind::File,
                format!("cannot make a folder for the text: {error}"),
                hint,
            )
        };
        let place = match places().into_iter().find(|place| is_memory(place)) {
            Some(place) => place,
            None => {
                let place = std::env::temp_dir();
                app.ask.confirm(&format!(
                    "There is no folder in memory here; the text would be on the disk in {} for a \
                     while. Go on?",
                    place.display()
                ))?;
                place
            }
        };
        let mut builder = tempfile::Builder::new();
        let folder = builder
            .prefix("passmate-")
            .permissions(fs::Permissions::from_mode(0o700));
        let folder = folder.tempdir_in(place).map_err(failed)?;
        let is_ended = Arc::new(AtomicBool::new(false));
        // An interrupt is the editor's affair; whatever ends this program must not leave the text
        // behind.
        let interrupt = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGINT, interrupt).map_err(failed)?;
        for signal in [SIGTERM, SIGHUP, SIGQUIT] {
            signal_hook::flag::register(signal, Arc::clone(&is_ended)).map_err(failed)?;
        }
        Ok(Self { folder, is_ended })
    }

    /// Lets the person edit a text.
    fn edit(&mut self, text: &str) -> Result<Zeroizing<String>, Problem> {
        use std::io::{Read, Write};
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.folder.path().join("record.toml");
        let failed = |error: std::io::Error| {
            Problem::new(
                ProblemKind::File,
                format!("cannot write or read the text: {error}"),
                "nothing was changed",
            )
        };
        let mut file = fs::OpenOptions::new();
        let file = file
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(failed)?;
        let status = editor_command(&path).status().map_err(|error| {
            Problem::new(
                ProblemKind::Other,
                format!("the editor cannot be started: {error}"),
                "set VISUAL or EDITOR",
            )
        })?;
        if self.is_ended.load(Ordering::Relaxed) {
            return Err(Problem::new(
                ProblemKind::Cancelled,
                "ended by a signal",
                "nothing was changed",
            ));
        }
        if !status.success() {
            let message = format!("the editor ended with an error ({status})");
            return Err(Problem::new(
                ProblemKind::Cancelled,
                message,
                "nothing was changed; look at VISUAL and EDITOR",
            ));
        }
        let mut text = Zeroizing::new(String::new());
        let file = fs::File::open(&path).map_err(failed)?;
        file.take(TEXT_LEN_MAX)
            .read_to_string(&mut text)
            .map_err(failed)?;
        Ok(text)
    }
}

fn places() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime
        .into_iter()
        .chain([PathBuf::from("/dev/shm")])
        .filter(|place| place.is_absolute())
        .collect()
}

/// Whether what is written there stays in memory.
#[cfg(target_os = "linux")]
fn is_memory(place: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58F6;
    let kind =
        rustix::fs::statfs(place).map(|found| u64::from_ne_bytes(found.f_type.to_ne_bytes()));
    matches!(kind, Ok(TMPFS | RAMFS))
}

#[cfg(not(target_os = "linux"))]
fn is_memory(_: &Path) -> bool {
    false
}

/// The editor, which may be a command with arguments, on this file. vim keeps nothing of what it
/// saw.
fn editor_command(path: &Path) -> Command {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let editor = set("VISUAL")
        .or_else(|| set("EDITOR"))
        .unwrap_or_else(|| OsString::from("vi"));
    let name = Path::new(&editor)
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut line = editor;
    if matches!(name.as_str(), "vim" | "nvim" | "gvim") {
        line.push(" -n -i NONE");
    }
    line.push(" \"$1\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).arg("sh").arg(path);
    command
}
