//! An unlocked vault: the one way to read and change a vault file, for every program.
//!
//! The rules are:
//!  - reading takes no lock; a save holds it for as long as it reads, merges and writes;
//!  - a save never undoes what another program saved meanwhile: it merges that change first;
//!  - a save that would change nothing writes nothing;
//!  - a save that fails takes back what was not saved: the session holds what was stored last;
//!  - a copy from before the last change of records is kept (the previous copy), so that it can be
//!    taken back;
//!  - every write has a fresh salt, so no key ever encrypts twice;
//!  - another vault that was put in the place of the file is never merged;
//!  - nothing in here asks or prints.

mod early_key;
mod error;
mod location;
mod passphrase;
mod saving;

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use getrandom::SysRng;
use passmate_sync::{Admitted, Replica, SaveError};
use passmate_vault::format::container::{ContainerError, ContainerKey, Params, open_container};
use passmate_vault::format::{Version, decode_vault_file, encode_v3};
use passmate_vault::history::undo::{Retraced, Step};
use passmate_vault::merge::MergeSummary;
use passmate_vault::record::make_record_id;
use passmate_vault::{
    Account, Baseline, DeviceText, Document, EditError, LogKey, Passphrase, RecordId, SharedFolder,
    Vault,
};
use rand_core::UnwrapErr;

pub use error::SessionError;
pub use location::VaultLocation;
pub use passphrase::PassphraseChange;

use crate::disk::{self, Lock, folder_of};
use crate::settings::SyncSettings;
use crate::use_log::{self, UseLog};
use early_key::EarlyKey;
pub(crate) use location::FILE_LEN_MAX;
use saving::Merged;

/// An unlocked vault.
#[derive(Debug)]
pub struct Session {
    location: VaultLocation,
    passphrase: Passphrase,
    document: Document,
    /// The content of the file when it was last read or written.
    stored: Stored,
    /// The whole history, if a part of it was truncated: it is saved before the vault is written.
    cut_off: Option<Vault>,
    /// The files in which whole histories were saved.
    archives: Vec<PathBuf>,
    sync_settings: SyncSettings,
    /// The right to write, from [`Session::hold`] to the save.
    held: Option<Lock>,
    /// The key for the next save.
    early_key: Option<EarlyKey>,
    /// What this session or a fork of it wrote last, so that none of them decrypts what another one
    /// wrote.
    written: Arc<Mutex<Option<Written>>>,
    /// The file when [`Session::refresh`] last read it.
    look: Option<FileLook>,
}

/// What a vault is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFor {
    /// Reading, most likely.
    Reading,
    /// A change that will be saved: the key of that save is derived while the vault is opened.
    Changing,
}

/// What tells that a file was replaced, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileLook {
    device: u64,
    number: u64,
    len: u64,
    changed: (i64, i64),
}

impl FileLook {
    /// `None` if the file cannot be looked at.
    fn of(path: &Path) -> Option<Self> {
        let found = path.metadata().ok()?;
        Some(Self {
            device: found.dev(),
            number: found.ino(),
            len: found.len(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// The content of a file, to detect changes of the file and of the session, and to return to it.
#[derive(Clone)]
struct Stored {
    /// The file, byte for byte; `None` if it was removed.
    container: Option<Arc<Vec<u8>>>,
    document: Arc<Document>,
}

/// What was written, and under which passphrase.
#[derive(Debug)]
struct Written {
    passphrase: Passphrase,
    stored: Stored,
}

/// Without the file.
impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("document", &self.document)
            .finish_non_exhaustive()
    }
}

impl Stored {
    fn new(container: Vec<u8>, document: &Document) -> Self {
        Self {
            container: Some(Arc::new(container)),
            document: Arc::new(document.clone()),
        }
    }

    /// Whether this is the content of a file.
    fn is_in(&self, file: &[u8]) -> bool {
        let container = self.container.as_ref();
        container.is_some_and(|container| ***container == *file)
    }

    /// Whether this is stored, and says the same as a document. Each document has one form in which
    /// it is written, so equal documents need not be written again.
    fn has(&self, document: &Document) -> bool {
        self.container.is_some() && *self.document == *document
    }
}

impl Session {
    /// Creates an empty vault, and its folder if that does not exist.
    ///
    /// # Errors
    /// [`SessionError::Exists`]; [`SessionError::CopyExists`], because saves would replace that
    /// copy; or the file cannot be written.
    pub fn create(location: VaultLocation, passphrase: Passphrase) -> Result<Self, SessionError> {
        let folder = folder_of(&location.path);
        location
            .disk
            .make_folder(folder)
            .map_err(location.io("make the folder of"))?;
        let lock = location.lock()?;
        location.check_free()?;
        let document = Document {
            log_key: Some(LogKey::make(&mut UnwrapErr(SysRng))),
            ..Document::new(Vault::new())
        };
        let plaintext = encode_v3(&document)?;
        let container = location.seal(&plaintext, &passphrase)?;
        disk::overwrite(&*location.disk, &lock, &location.path, &container)
            .map_err(location.io("write"))?;
        let stored = Stored::new(container, &document);
        Ok(Self {
            location,
            passphrase,
            document,
            stored,
            cut_off: None,
            archives: Vec::new(),
            sync_settings: SyncSettings::default(),
            held: None,
            early_key: None,
            written: Arc::default(),
            look: None,
        })
    }

    /// Opens a vault. A passphrase with accents may be in either form of Unicode: see
    /// [`Passphrase::other_form`].
    ///
    /// # Errors
    /// [`ContainerError::WrongPassphrase`] among others; see [`SessionError`].
    pub fn open(location: VaultLocation, passphrase: Passphrase) -> Result<Self, SessionError> {
        Self::open_for(OpenFor::Reading, location, passphrase)
    }

    /// As [`open`](Self::open), for what is to come. Whatever that is, the session can do
    /// everything.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_for(
        what: OpenFor,
        location: VaultLocation,
        passphrase: Passphrase,
    ) -> Result<Self, SessionError> {
        // Replace the file that a symbolic link points to, not the link.
        let mut location = location.file()?;
        let container = location.read()?;
        location.keep_cost_of(&container);
        let early_key = match what {
            OpenFor::Reading => None,
            OpenFor::Changing => EarlyKey::begin_beside_opening(&passphrase, location.params),
        };
        let (document, passphrase) = open_document(&location, &container, &passphrase)?;
        let stored = Stored::new(container, &document);
        Ok(Self {
            location,
            passphrase,
            document,
            stored,
            cut_off: None,
            archives: Vec::new(),
            sync_settings: SyncSettings::default(),
            held: None,
            early_key,
            written: Arc::default(),
            look: None,
        })
    }

    /// A second session of the vault as this one stored it last: what one saves, the other merges.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            location: self.location.clone(),
            passphrase: self.passphrase.clone(),
            document: Document::clone(&self.stored.document),
            stored: self.stored.clone(),
            cut_off: None,
            archives: Vec::new(),
            sync_settings: self.sync_settings.clone(),
            held: None,
            early_key: None,
            written: Arc::clone(&self.written),
            look: self.look,
        }
    }

    /// Replaces this session by a fork that has saved since, unless this one has: its next
    /// [`refresh`](Self::refresh) has less to do then. What was not saved is lost.
    pub fn take_over(&mut self, fork: Self) {
        if fork.passphrase == self.passphrase
            && self
                .location
                .read()
                .is_ok_and(|file| fork.stored.is_in(&file))
        {
            self.take(Merged {
                params: fork.location.params,
                document: fork.document,
                stored: fork.stored,
            });
            self.look = None;
        }
    }

    /// The key of the log beside the vault. Of a vault that an earlier version made, the first call
    /// makes and saves it.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn log_key(&mut self) -> Result<LogKey, SessionError> {
        if self.document.log_key.is_none() {
            self.document.log_key = Some(LogKey::make(&mut UnwrapErr(SysRng)));
            self.save_more()?;
        }
        // Another program may have made it meanwhile.
        let saved = self.document.log_key.clone();
        saved.ok_or_else(|| SessionError::OfOriginal {
            path: self.location.path.clone(),
        })
    }

    /// What the log holds, if the vault has one.
    pub(crate) fn uses(&self) -> io::Result<UseLog> {
        match &self.document.log_key {
            Some(key) => use_log::read(&self.location.path, key),
            None => Ok(UseLog::default()),
        }
    }

    /// Begins to derive the key for the next save, if the machine has the memory.
    pub fn prepare_save(&mut self) {
        if self.early_key.is_none() {
            self.early_key = EarlyKey::begin(1, &self.passphrase, self.location.params);
        }
    }

    /// The same session with other settings for what syncs it.
    #[must_use]
    pub fn with_sync_settings(self, sync_settings: SyncSettings) -> Self {
        Self {
            sync_settings,
            ..self
        }
    }

    /// The content of the file when it was last read or written.
    pub(crate) fn stored(&self) -> Arc<Document> {
        Arc::clone(&self.stored.document)
    }

    /// How and when this vault syncs.
    #[must_use]
    pub const fn sync_settings(&self) -> &SyncSettings {
        &self.sync_settings
    }

    /// Where the vault is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.location.path
    }

    /// Where the vault is, with its disk and clock.
    pub(crate) const fn location(&self) -> &VaultLocation {
        &self.location
    }

    /// The key derivation of the vault's file.
    #[must_use]
    pub fn params(&self) -> Params {
        self.location.params
    }

    /// The time by this session's clock, in seconds since 1970.
    #[must_use]
    pub fn now(&self) -> i64 {
        (self.location.clock)()
    }

    /// The records.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.document.vault
    }

    /// Edits records in memory. `edit` receives the time for the new changes. Call
    /// [`save`](Self::save) to write them.
    pub fn edit<T>(&mut self, edit: impl FnOnce(&mut Vault, i64) -> T) -> T {
        let now = self.now();
        edit(&mut self.document.vault, now)
    }

    /// Remembers a step, or joins it to the newest one if that is a sync that goes on. Call
    /// [`save`](Self::save) to write it.
    pub(crate) fn note_step(&mut self, step: Step, is_continued: bool) {
        if is_continued {
            self.document.undo.extend(step);
        } else {
            self.document.undo.push(step);
        }
    }

    /// Undoes a step in memory: see [`UndoLog::undo`]. Call [`save`](Self::save) to write it.
    ///
    /// # Errors
    /// See [`EditError`]; nothing was changed.
    pub(crate) fn undo(&mut self) -> Result<Option<Retraced>, EditError> {
        let now = self.now();
        self.document.undo.undo(&mut self.document.vault, now)
    }

    /// Redoes a step in memory: see [`UndoLog::redo`]. Call [`save`](Self::save) to write it.
    ///
    /// # Errors
    /// See [`EditError`]; nothing was changed.
    pub(crate) fn redo(&mut self) -> Result<Option<Retraced>, EditError> {
        let now = self.now();
        self.document.undo.redo(&mut self.document.vault, now)
    }

    /// Makes a random id for a new record.
    #[must_use]
    pub fn make_record_id(&self) -> RecordId {
        make_record_id(&mut UnwrapErr(SysRng))
    }

    /// Encrypts a text under the vault's passphrase, for a copy.
    ///
    /// # Errors
    /// It is too long.
    pub fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, SessionError> {
        self.location.seal(plaintext, &self.passphrase)
    }

    /// Lends the vault's passphrase, to write a copy in another program's format.
    pub fn with_passphrase<T>(&self, make: impl FnOnce(&Passphrase) -> T) -> T {
        make(&self.passphrase)
    }

    /// The shared folder of the vault.
    #[must_use]
    pub fn folder(&self) -> Option<&SharedFolder> {
        self.document.folder.as_ref()
    }

    /// Sets or removes the shared folder. Call [`save`](Self::save) to write it.
    pub fn set_folder(&mut self, folder: Option<SharedFolder>) {
        self.document.folder = folder;
    }

    /// The [`OwnCopy::content`](passmate_vault::sync::shared_folder::OwnCopy::content) of this
    /// text.
    #[must_use]
    pub fn content_hash(&self, plaintext: &[u8]) -> [u8; 32] {
        SharedFolder::content_hash(plaintext, self.passphrase.as_bytes())
    }

    /// Replaces a copy in another folder atomically, under the vault's lock.
    ///
    /// # Errors
    /// The vault cannot be locked, or `failed` for the system's error; the copy is unchanged.
    pub fn write_copy<E: From<SessionError>>(
        &self,
        path: &Path,
        container: &[u8],
        failed: impl FnOnce(io::Error) -> E,
    ) -> Result<(), E> {
        let lock = self.location.lock()?;
        disk::overwrite(&*self.location.disk, &lock, path, container).map_err(failed)
    }

    /// Reads a copy in another folder. A symbolic link is not followed.
    ///
    /// # Errors
    /// The system's error, or the file is not a regular file, or is longer than any vault.
    pub fn read_copy(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.location.disk.read_unlinked(path, FILE_LEN_MAX)
    }

    /// Whether this is the vault's passphrase.
    #[must_use]
    pub fn is_passphrase(&self, passphrase: &Passphrase) -> bool {
        self.passphrase == *passphrase
    }

    /// The same, at the price of opening the vault: for whoever may guess. The file is not asked,
    /// because another one may be in its place.
    #[must_use]
    pub fn is_passphrase_at_full_price(&self, passphrase: &Passphrase) -> bool {
        let mut rng = UnwrapErr(SysRng);
        let paid = ContainerKey::derive(passphrase, self.location.params, &mut rng);
        paid.is_ok() && self.is_passphrase(passphrase)
    }

    /// Takes over what other programs stored since this session read or wrote the vault. Nothing is
    /// written, and nothing is read if the file looks as it did at the last call. A file that was
    /// removed changes nothing. An older state of the vault, from a backup, is merged as any other:
    /// nothing that this session has is lost.
    ///
    /// # Errors
    /// [`SessionError::PassphraseChanged`], [`SessionError::AnotherVault`], or another error of a
    /// vault that cannot be read; the session is as before.
    pub fn refresh(&mut self) -> Result<(), SessionError> {
        let look = FileLook::of(&self.location.path);
        if look.is_some() && look == self.look {
            return Ok(());
        }
        let container = match self.location.read() {
            Err(SessionError::NotFound { .. }) => return Ok(()),
            read => read?,
        };
        if !self.stored.is_in(&container) {
            let merged = match self.document.version {
                Version::V3 => self.merged_with_file()?,
                // It is never written here, so there is nothing to merge.
                Version::Passmate2 => {
                    let plaintext = self.open_again(&container)?;
                    let document = decode_vault_file(&plaintext).map_err(self.location.codec())?;
                    let mut location = self.location.clone();
                    location.keep_cost_of(&container);
                    Merged {
                        params: location.params,
                        stored: Stored::new(container, &document),
                        document,
                    }
                }
            };
            self.take(merged);
        }
        self.look = look;
        Ok(())
    }

    /// Makes a change and saves it with [`save_more`](Self::save_more) if that is possible. If
    /// either fails, the session is as after the last save.
    pub(crate) fn change_more<T, E: From<SessionError>>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let changed = change(self).inspect_err(|_| self.revert())?;
        self.save_more()?;
        Ok(changed)
    }

    /// Takes back all that was not saved.
    pub(crate) fn revert(&mut self) {
        self.document = Document::clone(&self.stored.document);
        self.cut_off = None;
        self.held = None;
    }

    /// Merges, and keeps the whole history of both if a part of it is cut off.
    fn merge_and_keep(
        &mut self,
        other: &Vault,
        merge: impl FnOnce(&mut Vault) -> MergeSummary,
    ) -> MergeSummary {
        let vault = &mut self.document.vault;
        let may_be_cut = vault.history_since().or(other.history_since()).is_some();
        let before = may_be_cut.then(|| vault.clone());
        let summary = merge(vault);
        if let Some(before) = before.filter(|_| summary.dropped > 0) {
            let mut whole = before.with_whole_history();
            whole.merge(&other.clone().with_whole_history());
            self.cut_off.get_or_insert_default().merge(&whole);
        }
        summary
    }
}

/// Reads a vault file: its container, and what it holds.
pub(crate) fn read_document(
    location: &VaultLocation,
    passphrase: &Passphrase,
) -> Result<(Vec<u8>, Document), SessionError> {
    let container = location.read()?;
    let (document, _) = open_document(location, &container, passphrase)?;
    Ok((container, document))
}

/// Opens a container with either form of a passphrase, and returns the right one.
fn open_document(
    location: &VaultLocation,
    container: &[u8],
    passphrase: &Passphrase,
) -> Result<(Document, Passphrase), SessionError> {
    let is_wrong = |error: &ContainerError| matches!(error, ContainerError::WrongPassphrase);
    let open = |passphrase: &Passphrase| open_container(container, passphrase);
    let (plaintext, passphrase) = passphrase
        .try_forms(is_wrong, open)
        .map_err(location.container())?;
    let document = decode_vault_file(&plaintext).map_err(location.codec())?;
    Ok((document, passphrase))
}

impl Replica for Session {
    fn vault(&self) -> &Vault {
        &self.document.vault
    }

    fn account(&self) -> Option<&Account> {
        self.document.account.as_ref()
    }

    fn now(&self) -> i64 {
        Self::now(self)
    }

    fn set_account(&mut self, account: Option<Account>) {
        self.document.account = account;
    }

    fn device_name(&self) -> DeviceText {
        let host = rustix::system::uname();
        DeviceText::first_of(&host.nodename().to_string_lossy())
    }

    fn baseline(&self) -> Option<&Baseline> {
        self.document.baseline.as_ref()
    }

    fn merge(&mut self, admitted: &Admitted) -> MergeSummary {
        self.document.baseline = admitted.baseline().cloned();
        self.merge_and_keep(admitted.vault(), |vault| admitted.merge_into(vault))
    }

    fn resolve(&mut self) {
        let resolution = self.document.vault.resolution();
        if !resolution.is_empty() {
            self.merge_and_keep(&resolution, |vault| vault.merge(&resolution));
        }
    }

    fn truncate(&mut self, since: i64) {
        let now = Self::now(self);
        let truncated = Vault::new().with_history_since(since);
        self.merge_and_keep(&truncated, |vault| {
            // The clock is beyond the year 9999.
            let cut = vault.cut_history(since, now);
            cut.unwrap_or_else(|_| vault.merge(&truncated))
        });
    }

    fn save(&mut self) -> Result<(), SaveError> {
        Ok(Self::save(self)?)
    }

    fn save_more(&mut self) -> Result<(), SaveError> {
        Ok(Self::save_more(self)?)
    }
}

#[cfg(test)]
pub(crate) mod tests;
