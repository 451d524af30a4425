//! Copies of a vault that is missing or damaged, and the way back from one. The rules are:
//!  - looking changes nothing;
//!  - a copy is opened before it is brought back, and stays as it is;
//!  - whatever has the vault's name is renamed, never replaced, and so is every other copy that the
//!    next save would replace;
//!  - the new file is on the disk before the name is taken from the old one.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use passmate_vault::format::container::{ContainerError, Params, container_params};
use passmate_vault::{Document, Passphrase};

use crate::answer::{Consent, Halt, Need, Question, Reply};
use crate::command::command;
use crate::disk::{self, beside, folder_of};
use crate::escape::escape;
use crate::problem::Problem;
use crate::session::{OpenFor, Session, SessionError, VaultLocation, read_document};
use crate::state::path_of;
use crate::use_log::log_of;

/// How many names of a folder are looked at.
const NAMES_MAX: usize = 10_000;
/// How many copies are listed.
const COPIES_MAX: usize = 50;

/// A file beside a vault that may hold a copy of it, or the vault's file itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundCopy {
    /// What the name says that it is.
    pub kind: CopyKind,
    /// Where it is.
    pub path: PathBuf,
    /// When it was written last, in seconds since 1970.
    pub modified: Option<i64>,
    /// Its length in bytes.
    pub len: u64,
}

/// What a file beside a vault is, by its name. The likelier way back is the lesser one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CopyKind {
    /// The vault's file itself.
    Vault,
    /// The records before the last change.
    Previous,
    /// A save that was interrupted.
    Interrupted,
    /// The whole history from before a part of it was cut off.
    Archive,
    /// A file that begins with the vault's name: put aside by [`bring_back`], or copied by a
    /// person.
    Other,
}

impl CopyKind {
    /// One word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Previous => "previous",
            Self::Interrupted => "interrupted",
            Self::Archive => "archive",
            Self::Other => "other",
        }
    }
}

/// What a copy holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyContent {
    /// Records.
    pub records: usize,
    /// Deleted records.
    pub deleted: usize,
    /// The time of the newest change, in seconds since 1970.
    pub last_change: Option<i64>,
    /// The server that it syncs with.
    pub server: Option<String>,
}

/// A vault that was brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtBack {
    /// Where the vault is.
    pub path: PathBuf,
    /// What it holds.
    pub content: CopyContent,
    /// The new name of what had the vault's name before.
    pub aside: Option<PathBuf>,
}

/// Opens a vault. An error says which copies there are of one that is missing or damaged.
///
/// # Errors
/// See [`SessionError`].
pub fn open(
    what: OpenFor,
    location: VaultLocation,
    passphrase: Passphrase,
) -> Result<Session, Problem> {
    let opened = Session::open_for(what, location.clone(), passphrase);
    opened.map_err(|error| explain(&location, error))
}

/// Checks what can be checked before anybody types a passphrase: that the file is there and begins
/// like a vault.
///
/// # Errors
/// As [`open`].
pub fn check(location: &VaultLocation) -> Result<(), Problem> {
    let params = location.file().and_then(|file| file.read_params());
    explained(location, params)
}

/// As [`check`], and that the file can be read from its start to its end.
///
/// # Errors
/// As [`open`].
pub fn check_whole(location: &VaultLocation) -> Result<(), Problem> {
    explained(location, read_whole(location))
}

fn read_whole(location: &VaultLocation) -> Result<Params, SessionError> {
    let file = location.file()?;
    container_params(&file.read()?).map_err(file.container())
}

fn explained(
    location: &VaultLocation,
    params: Result<Params, SessionError>,
) -> Result<(), Problem> {
    match params {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(location, error)),
    }
}

/// A vault's error, with the command that brings a copy back if the vault is missing or damaged.
fn explain(location: &VaultLocation, error: SessionError) -> Problem {
    let is_lost = match &error {
        SessionError::NotFound { .. }
        | SessionError::Dangling { .. }
        | SessionError::NotAFile { .. } => true,
        SessionError::Container { error, .. } => !matches!(
            error,
            ContainerError::TooExpensive { .. } | ContainerError::NotEnoughMemory
        ),
        SessionError::Codec { error, .. } => !error.is_newer(),
        _ => false,
    };
    let problem = Problem::from(error);
    // Where a disk is away, a copy has no place to go.
    let is_away = location.path.is_symlink() && !folder_of(&location.resolved().path).exists();
    let copies = if is_lost && !is_away {
        copies(location)
    } else {
        Vec::new()
    };
    match best(location, &copies) {
        Some(best) => problem.with_hint(way_back(best, copies.len())),
        None => problem,
    }
}

/// The newest copy that can be read and begins like a vault. Those that saves leave come before all
/// others.
fn best<'a>(location: &VaultLocation, copies: &'a [FoundCopy]) -> Option<&'a FoundCopy> {
    let is_sound = |copy: &&FoundCopy| read_whole(&location.at(&copy.path)).is_ok();
    let is_ours =
        |copy: &FoundCopy| matches!(copy.kind, CopyKind::Previous | CopyKind::Interrupted);
    let sound = copies.iter().filter(is_sound);
    sound.max_by_key(|copy| (is_ours(copy), copy.modified, std::cmp::Reverse(copy.kind)))
}

/// The command that brings a copy back.
fn way_back(best: &FoundCopy, count: usize) -> String {
    let what = match best.kind {
        CopyKind::Previous => "its previous copy",
        _ => "a copy of it",
    };
    let rest = match count {
        1 => String::new(),
        _ => format!("; `passmate recover` lists all {count} copies"),
    };
    format!(
        "{} brings back {what}{rest}",
        command(["passmate", "recover"]).arg(&best.path)
    )
}

/// The vault's file and all files beside it that may hold a copy, the likeliest way back first.
#[must_use]
pub fn find(location: &VaultLocation) -> Vec<FoundCopy> {
    let target = location.resolved();
    let mut found = find_beside(&target.path);
    // Where the path is a link, somebody may have put a copy beside that.
    if target.path != location.path {
        found.extend(find_beside(&location.path));
        found.sort();
        found.dedup_by(|a, b| a.path.canonicalize().ok() == b.path.canonicalize().ok());
    }
    found.sort_by(|a, b| (a.kind, b.modified, &a.path).cmp(&(b.kind, a.modified, &b.path)));
    found.truncate(COPIES_MAX);
    found
}

fn find_beside(path: &Path) -> Vec<FoundCopy> {
    let entries = fs::read_dir(folder_of(path)).into_iter().flatten();
    let found = entries.take(NAMES_MAX).flatten().filter_map(|entry| {
        let name = entry.file_name();
        let kind = kind_of(path, Path::new(&name))?;
        let metadata = entry.metadata().ok().filter(Metadata::is_file)?;
        Some(FoundCopy {
            kind,
            path: path.with_file_name(name),
            modified: modified(&metadata),
            len: metadata.len(),
        })
    });
    found.collect()
}

/// The copies alone.
fn copies(location: &VaultLocation) -> Vec<FoundCopy> {
    let mut copies = find(location);
    copies.retain(|copy| copy.kind != CopyKind::Vault && copy.len > 0);
    copies
}

/// The copies beside a vault that a save neither makes nor replaces, but for archives: put aside by
/// [`bring_back`], or made by a person. Neither a purge nor a change of the passphrase reaches
/// them.
pub(crate) fn untouched(location: &VaultLocation) -> Vec<PathBuf> {
    let copies = copies(location).into_iter();
    let others = copies.filter(|copy| copy.kind == CopyKind::Other);
    others.map(|copy| copy.path).collect()
}

/// What a file of this name is, beside a vault.
fn kind_of(vault: &Path, name: &Path) -> Option<CopyKind> {
    let file = vault.file_name()?.as_encoded_bytes();
    let stem = vault.file_stem()?.as_encoded_bytes();
    // These files belong to the vault and hold no records.
    let others = [disk::lock_of(vault), path_of(vault), log_of(vault)];
    if others
        .iter()
        .any(|other| other.file_name() == name.file_name())
    {
        return None;
    }
    let name = name.as_os_str().as_encoded_bytes();
    let rest = name.strip_prefix(file);
    if let Some(rest) = rest {
        return match rest {
            b"" => Some(CopyKind::Vault),
            b".prev" => Some(CopyKind::Previous),
            b".new" | b".prev.new" => Some(CopyKind::Interrupted),
            _ => Some(CopyKind::Other),
        };
    }
    let rest = name.strip_prefix(stem)?;
    if rest.starts_with(b".history-") {
        return Some(CopyKind::Archive);
    }
    // `vault (copy).pmdb` is a copy, `vault2.pmdb` another vault; opening it tells.
    rest.ends_with(b".pmdb").then_some(CopyKind::Other)
}

fn modified(metadata: &Metadata) -> Option<i64> {
    let time = jiff::Timestamp::try_from(metadata.modified().ok()?).ok()?;
    Some(time.as_second())
}

/// Opens a copy and tells what it holds. Nothing is changed.
///
/// # Errors
/// How far it opened: see [`SessionError`].
pub fn examine(
    location: &VaultLocation,
    copy: &Path,
    passphrase: &Passphrase,
) -> Result<CopyContent, SessionError> {
    let (_, document) = read_document(&location.at(copy), passphrase)?;
    Ok(content_of(&document))
}

fn content_of(document: &Document) -> CopyContent {
    let view = document.vault.view();
    let changes = document
        .vault
        .records()
        .flat_map(|(_, record)| record.changes());
    CopyContent {
        records: view.records().len(),
        deleted: view.deleted().len(),
        last_change: changes.filter_map(|change| change.stamp.seconds()).max(),
        server: document
            .account
            .as_ref()
            .map(|account| account.host.clone()),
    }
}

/// Puts a copy in the place of the vault. What had the vault's name gets another one.
///
/// # Errors
/// The copy does not open, a file cannot be written, or a person must agree first, because the
/// vault may be sound. Nothing is lost.
pub fn bring_back(
    location: &VaultLocation,
    copy: &Path,
    passphrase: &Passphrase,
    consent: &Consent,
) -> Reply<BroughtBack> {
    let target = location.resolved();
    let source = location.at(copy).resolved();
    if source.path == target.path {
        return Err(Problem::usage(
            format!(
                "{} is the vault itself",
                escape(&copy.display().to_string())
            ),
            "name a copy of it: `passmate recover` lists them",
        )
        .into());
    }
    let (container, document) = read_document(&source, passphrase)?;
    if let Some(question) = question(&target, passphrase)
        && !consent.covers(&question)
    {
        return Err(Halt::Needs(Need::Confirmation(question)));
    }
    let io = |doing| target.io(doing);
    let folder = folder_of(&target.path);
    // A link may lead to a disk that is not there now: a vault that is made in its place would be
    // hidden when it is.
    if location.path.is_symlink() && !folder.exists() {
        return Err(SessionError::Dangling {
            path: location.path.clone(),
            target: target.path,
        }
        .into());
    }
    target
        .disk
        .make_folder(folder)
        .map_err(io("make the folder of"))?;
    let lock = target.lock()?;
    let new = free_name(&target.path, "back");
    let aside = target.exists().then(|| free_name(&target.path, "replaced"));
    let disk = &*target.disk;
    // What the next save would replace may be worth more than what is brought back.
    for suffix in [".prev", ".new"] {
        let other = beside(&target.path, suffix);
        if other != source.path && other.symlink_metadata().is_ok() {
            let kept = free_name(&target.path, "kept");
            disk.rename(&other, &kept).map_err(io("write"))?;
        }
    }
    disk::put_back(
        disk,
        &lock,
        &target.path,
        &container,
        &new,
        aside.as_deref(),
    )
    .map_err(io("write"))?;
    Ok(BroughtBack {
        content: content_of(&document),
        path: target.path,
        aside,
    })
}

/// What a person must agree to before something takes the vault's place: it may be sound.
fn question(target: &VaultLocation, passphrase: &Passphrase) -> Option<Question> {
    let records = match read_document(target, passphrase) {
        Ok((_, document)) => Some(document.vault.view().records().len()),
        Err(SessionError::WrongPassphrase) => None,
        Err(SessionError::Codec { error, .. }) if error.is_newer() => None,
        Err(_) => return None,
    };
    Some(Question::ReplaceVault {
        path: target.path.display().to_string(),
        records,
    })
}

/// An unused name, such as `vault.pmdb.replaced`.
fn free_name(path: &Path, word: &str) -> PathBuf {
    let named = |number: u32| match number {
        1 => beside(path, &format!(".{word}")),
        _ => beside(path, &format!(".{word}-{number}")),
    };
    let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
    (1..).map(named).find(is_free).unwrap_or_else(|| named(0))
}

#[cfg(test)]
mod tests;
