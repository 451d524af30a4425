//! A shared folder instead of a server, or beside one: each device keeps a copy of its vault there
//! and merges those of the others, as the live original program does. The copies are under the
//! random key of the folder, which every device has; or, where an original program takes part, each
//! under the passphrase of its device. The rules are:
//!  - a copy that cannot be read is reported and skipped; it is never an error and never changed;
//!  - the copies of others are merged and saved here before this device's copy is written;
//!  - this device's copy is replaced atomically, and only if its content changes;
//!  - in a folder without a key, changes that the original program cannot read are rewritten or left
//!    out (see [`passmate_vault::compat`]).
//!
//! Nobody can remove a change through the folder: whatever replaces a copy is merged, and a change
//! that is gone from one copy is in this device's copy.

mod read;
mod setup;

pub(crate) use setup::check_price;
pub use setup::{Sealing, leave_folder, set_up_folder};

use std::io;
use std::path::{Path, PathBuf};

use getrandom::SysRng;
use passmate_sync::admit::would_hold_back;
use passmate_sync::{Decision, HeldBack, Options, Policy, Replica, Report, admit};
use passmate_vault::format::container::ContainerError;
use passmate_vault::format::folder_copy::{self, CopyError};
use passmate_vault::format::{CodecError, encode_btoken_as, encode_sync_copy};
use passmate_vault::sync::shared_folder::OwnCopy;
use passmate_vault::{Passphrase, RollCall, SeenChanges, Shape, SharedFolder, Vault};
use rand_core::UnwrapErr;

use crate::session::{Session, SessionError};
use read::{Budget, COPIES_MAX, ENTRIES_MAX, read_copies};
use serde::{Deserialize, Serialize};

/// What a sync with a shared folder did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct FolderReport {
    /// What came and went, as with a server.
    pub report: Report,
    /// Copies that were not merged, and why.
    pub skipped: Vec<Skipped>,
    /// Names of merged copies that a file sync program made to resolve a conflict.
    pub conflicts: Vec<String>,
    /// The number of copies of the other kind, which are not read: under passphrases in a folder
    /// with a key, and under a key in one without.
    pub others: usize,
    /// The changes in the copies that were read.
    there: SeenChanges,
}

impl FolderReport {
    /// The changes of a vault that no copy in this folder has.
    #[must_use]
    pub fn new_in(&self, vault: &Vault, folder: &SharedFolder) -> SeenChanges {
        SeenChanges::of(&folder.part_of(vault))
            .without(&folder.given)
            .without(&self.there)
    }

    /// Adds a later sync with the same folder. The skipped copies are the later ones.
    pub fn add(&mut self, later: Self) {
        let delta = std::mem::take(&mut self.report.delta);
        self.report.add(later.report);
        self.report.delta.received.merge(&delta.received);
        self.report.delta.time = self.report.delta.time.max(delta.time);
        self.skipped = later.skipped;
        self.others = later.others;
        self.conflicts.extend(later.conflicts);
        self.there.merge(&later.there);
    }
}

/// A copy that was not merged.
#[derive(Debug, Serialize, Deserialize)]
pub struct Skipped {
    /// Its file name; not trusted, to be escaped before it is shown.
    pub name: String,
    /// Why.
    pub why: Why,
}

/// Why a copy was not merged.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum Why {
    /// It is not a regular file, is too long, or cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It is empty, perhaps because it is still being written.
    #[error("it is empty")]
    Empty,
    /// It is under an unknown passphrase.
    #[error("it is under another passphrase")]
    Locked,
    /// It is damaged, incomplete, or not a container.
    #[error("{0}")]
    Container(ContainerError),
    /// It does not open with the folder's key.
    #[error("{0}")]
    Copy(CopyError),
    /// It opens, but its content is not a vault.
    #[error("{0}")]
    NoVault(CodecError),
    /// It is a vault of this program, not a copy.
    #[error("it is another vault, not a copy of this one")]
    NoCopy,
    /// Its key is cheaper to derive than that of this device's copy.
    #[error("its key is cheaper to derive than this program makes them, as if to guess yours")]
    TooCheap,
    /// Its key is more expensive to derive than that of any copy.
    #[error("its key is more expensive to derive than that of a copy")]
    TooExpensive,
    /// It was found to be damaged or no copy before, and has not changed since.
    #[error("it is damaged or no copy, and has not changed since that was found")]
    Useless,
    /// The copies before it used up what one sync may spend.
    #[error("the other copies took all the time that a sync has for them")]
    Postponed,
}

impl Why {
    /// Whether a later version of this program may be able to read the copy.
    fn is_of_newer_version(&self) -> bool {
        matches!(self, Self::NoVault(error) if error.is_newer())
    }
}

/// Why a shared folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The vault has no shared folder.
    #[error("this vault has no shared folder")]
    NotSetUp,
    /// The vault has a shared folder already.
    #[error("this vault already uses the shared folder {0}")]
    AlreadySetUp(String),
    /// The copies in it are under a key that this device does not have.
    #[error("the copies in {} are under a folder key", .0.display())]
    KeyNeeded(PathBuf),
    /// The key is that of another folder.
    #[error("the copies in {} are under another folder key", .0.display())]
    WrongKey(PathBuf),
    /// The copies are under passphrases.
    #[error("the folder {0} has no key: the copies in it are under passphrases")]
    NoKey(String),
    /// The copies are under passphrases, and this vault costs more to open than theirs.
    #[error(
        "the folder {0} has no key, and a dearer vault does not open the copies there: they cost \
         less to open than it does"
    )]
    Dearer(String),
    /// Its path is not UTF-8 text.
    #[error("the path of the folder {} is not text", .0.display())]
    NotText(PathBuf),
    /// The system.
    #[error("cannot read the folder {}: {error}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The system, when this device's copy is written or deleted.
    #[error("cannot write this device's copy in the folder {}: {error}", path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Merging the copies would alter so much that a person should look first. Nothing was changed.
    #[error("this sync would {0}")]
    HeldBack(Box<HeldBack>),
    /// The vault or the copy could not be written.
    #[error(transparent)]
    Save(#[from] SessionError),
    /// It has more files than a shared folder may have.
    #[error("the folder {} has more than {COPIES_MAX} copies or {ENTRIES_MAX} entries", .0.display())]
    TooMany(PathBuf),
}

/// Merges the copies of other devices and saves the vault. `passphrases` are tried on copies that
/// do not open, and are saved if they open one.
///
/// # Errors
/// See [`FolderError`]; nothing changed.
pub fn take_in(
    session: &mut Session,
    passphrases: &[Passphrase],
    options: &Options,
) -> Result<FolderReport, FolderError> {
    let mut folder = session.folder().cloned().ok_or(FolderError::NotSetUp)?;
    let copies = read_copies(session, &folder, passphrases, Budget::of_sync())?;
    let mut report = Report::default();
    folder.tried = copies.tried;
    // What a truncated history leaves out here is no news, and must not be archived once more.
    let union = copies.union.truncated_with(session.vault()).into_owned();
    let there = SeenChanges::of(&union);
    let admitted = match admit(union, session.entry(), &options.policy) {
        Ok(admitted) => admitted,
        Err(held) => {
            // Whatever is held back, no attempt to open a copy is made twice.
            session.set_folder(Some(folder));
            session.save_more()?;
            return Err(FolderError::HeldBack(held));
        }
    };
    admitted.note(&mut report);
    report.note(session.merge(&admitted));
    if folder.key.is_none() {
        session.resolve();
    }
    if !report.delta.is_empty() {
        folder.last = Some(report.delta.clone());
    }
    let passphrases = copies.good_passphrases.into_iter();
    passphrases.for_each(|passphrase| folder.remember(passphrase));
    folder.merged = copies.merged;
    session.set_folder(Some(folder));
    if options.continued {
        session.save_more()?;
    } else {
        session.save()?;
    }
    Ok(FolderReport {
        report,
        skipped: copies.skipped,
        conflicts: copies.conflicts,
        others: copies.others,
        there,
    })
}

/// What a sync with a shared folder would do.
#[derive(Debug)]
pub struct FolderPreview {
    /// The report that the sync would give if a person agreed to all of it.
    pub report: FolderReport,
    /// The vault after it.
    pub vault: Vault,
    /// What the sync would hold back.
    pub held: Option<Box<HeldBack>>,
}

/// What [`take_in`] and [`give_out`] would do. Nothing is changed.
///
/// # Errors
/// See [`FolderError`].
pub fn preview(session: &Session, policy: &Policy) -> Result<FolderPreview, FolderError> {
    let folder = session.folder().ok_or(FolderError::NotSetUp)?;
    let copies = read_copies(session, folder, &[], Budget::of_sync())?;
    let union = copies.union.truncated_with(session.vault()).into_owned();
    let there = SeenChanges::of(&union);
    let held = would_hold_back(union.clone(), session.entry(), policy);
    let everything = Policy {
        decision: Decision::Preview,
        ..policy.clone()
    };
    let admitted = admit(union, session.entry(), &everything).map_err(FolderError::HeldBack)?;
    let mut report = Report::default();
    admitted.note(&mut report);
    let mut vault = session.vault().clone();
    report.note(admitted.merge_into(&mut vault));
    let mut report = FolderReport {
        report,
        skipped: copies.skipped,
        conflicts: copies.conflicts,
        others: copies.others,
        there,
    };
    let new = report.new_in(&vault, folder);
    report.report.sent = new.len();
    report.report.delta.sent = new;
    Ok(FolderPreview {
        report,
        vault,
        held,
    })
}

/// Writes this device's copy if its content changes, and adds the new changes to the report.
///
/// # Errors
/// See [`FolderError`]; the copy is as it was.
pub fn give_out(session: &mut Session, found: &mut FolderReport) -> Result<(), FolderError> {
    // Save before writing the copy: if the copy is not written, its recorded hash does not match
    // the file, and the next sync writes it again.
    let copy = session.change_more(|session| make_copy(session, found))?;
    if let Some((path, container)) = copy {
        session.write_copy(&path, &container, |error| FolderError::Write {
            path: path.with_file_name(""),
            error,
        })?;
    }
    Ok(())
}

/// This device's copy, recorded in the vault, and where it is written; `None` if it is there.
fn make_copy(
    session: &mut Session,
    found: &mut FolderReport,
) -> Result<Option<(PathBuf, Vec<u8>)>, FolderError> {
    let mut folder = session.folder().cloned().ok_or(FolderError::NotSetUp)?;
    let path = own_path(&folder);
    if folder.key.is_none() {
        session.resolve();
    }
    let plaintext = match &folder.key {
        Some(_) => encode_btoken_as(
            Shape::Modern,
            &folder.part_of(session.vault()),
            &RollCall::new(),
        ),
        None => encode_sync_copy(session.vault()),
    };
    let plaintext = plaintext.map_err(SessionError::from)?;
    let content = match &folder.key {
        Some(key) => SharedFolder::content_hash(&plaintext, key.as_ref().as_bytes()),
        None => session.content_hash(&plaintext),
    };
    let there = session.read_copy(&path).ok();
    let is_written = |own: OwnCopy| {
        own.content == content && there.as_ref().is_some_and(|file| own.is_file(file))
    };
    if folder.own.is_some_and(is_written) {
        return Ok(None);
    }
    let new = found.new_in(session.vault(), &folder);
    let container = match &folder.key {
        Some(key) => folder_copy::seal(&plaintext, key, &mut UnwrapErr(SysRng)),
        None => session.seal(&plaintext)?,
    };
    folder.own = Some(OwnCopy::new(content, &container));
    folder.given = SeenChanges::of(&folder.part_of(session.vault()));
    let report = &mut found.report;
    report.sent = new.len();
    if !new.is_empty() {
        report.delta.note_sent(&new, session.now());
        folder.last = Some(report.delta.clone());
    }
    session.set_folder(Some(folder));
    Ok(Some((path, container)))
}

fn own_path(folder: &SharedFolder) -> PathBuf {
    Path::new(&folder.path).join(folder.copy_name())
}

#[cfg(test)]
mod tests;
