//! Saving a vault, and what is saved beside it. A save takes the lock, merges what other programs
//! stored, keeps a copy of what was there, and replaces the file.

use std::path::PathBuf;
use std::sync::PoisonError;

use getrandom::SysRng;
use passmate_vault::format::container::{ContainerError, ContainerKey, Params, open_container};
use passmate_vault::format::{Version, decode_vault_file, encode_v3};
use passmate_vault::history::undo::UndoLog;
use passmate_vault::{Account, Baseline, Document, SharedFolder};
use rand_core::UnwrapErr;
use zeroize::Zeroizing;

use super::{Session, SessionError, Stored, VaultLocation, Written};
use crate::disk::{self, Lock, folder_of, previous_of};

impl Session {
    /// Makes all changes durable, and merges what other programs saved meanwhile.
    ///
    /// Afterwards the session holds what is stored. If two programs tied the vault to different
    /// accounts, the first one stays. Nothing is written if nothing changed. If records changed,
    /// the previous copy has their state before this save. It is always tied to the same account
    /// and shared folder as the vault.
    ///
    /// # Errors
    /// See [`SessionError`]; the session is as after the last save, and unless it is
    /// [`SessionError::Unflushed`], so is the file.
    pub fn save(&mut self) -> Result<(), SessionError> {
        self.save_as(SaveKind::New)
    }

    /// Like [`save`](Self::save), but what is saved belongs to the previous save: the previous copy
    /// is from before both.
    ///
    /// # Errors
    /// See [`SessionError`]; the session is as after the last save, and unless it is
    /// [`SessionError::Unflushed`], so is the file.
    pub fn save_more(&mut self) -> Result<(), SessionError> {
        self.save_as(SaveKind::Continued)
    }

    /// Like [`save`](Self::save), after changes were purged: the previous copy has none of them
    /// either.
    ///
    /// # Errors
    /// See [`SessionError`]; the session is as after the last save, and unless it is
    /// [`SessionError::Unflushed`], so is the file.
    pub(crate) fn save_purge(&mut self) -> Result<(), SessionError> {
        self.save_as(SaveKind::Purge)
    }

    /// Reads what is stored, and lets nobody else save until this session saves or reverts: for a
    /// change that must be the only one of its kind.
    ///
    /// # Errors
    /// See [`SessionError`]; nothing is held.
    pub(crate) fn hold(&mut self) -> Result<(), SessionError> {
        let lock = self.location.lock()?;
        let merged = self.merged_with_file()?;
        self.take(merged);
        self.held = Some(lock);
        Ok(())
    }

    /// The files in which this session saved the whole history before truncating it: vaults under
    /// the same passphrase.
    #[must_use]
    pub fn archives(&self) -> &[PathBuf] {
        &self.archives
    }

    /// All files beside the vault in which a whole history was saved, also by earlier sessions.
    pub(crate) fn all_archives(&self) -> Vec<PathBuf> {
        let path = &self.location.path;
        let prefix = format!("{}.history-", self.stem());
        let is_archive = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&prefix) && name.ends_with(".pmdb")
        };
        let files = std::fs::read_dir(folder_of(path))
            .into_iter()
            .flatten()
            .flatten();
        let mut archives: Vec<PathBuf> = files.map(|file| file.path()).filter(is_archive).collect();
        archives.sort();
        archives
    }

    /// The vault's file name without its ending.
    pub(super) fn stem(&self) -> String {
        let stem = self.location.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }

    /// Saves the whole history in a separate vault file beside this one.
    pub(super) fn archive(&mut self) -> Result<(), SessionError> {
        let Some(whole) = &self.cut_off else {
            return Ok(());
        };
        let container = self
            .location
            .seal(&encode_v3(&Document::new(whole.clone()))?, &self.passphrase)?;
        let lock = self.location.lock()?;
        let path = self.free_archive();
        let location = VaultLocation {
            path: path.clone(),
            ..self.location.clone()
        };
        disk::overwrite(&*self.location.disk, &lock, &path, &container)
            .map_err(location.io("write"))?;
        self.cut_off = None;
        self.archives.push(path);
        Ok(())
    }

    /// An unused file name, such as `vault.history-2026-11-24.pmdb`.
    pub(super) fn free_archive(&self) -> PathBuf {
        let day = jiff::Timestamp::from_second(self.now())
            .map(|time| time.strftime("%Y-%m-%d").to_string());
        let stem = format!("{}.history-{}", self.stem(), day.unwrap_or_default());
        let named = |number: usize| match number {
            1 => self.location.path.with_file_name(format!("{stem}.pmdb")),
            _ => self
                .location
                .path
                .with_file_name(format!("{stem}-{number}.pmdb")),
        };
        let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
        (1..).map(named).find(is_free).unwrap_or_else(|| named(0))
    }

    pub(super) fn save_as(&mut self, kind: SaveKind) -> Result<(), SessionError> {
        let saved = self.try_save(kind);
        self.held = None;
        saved.inspect_err(|_| self.revert())
    }

    pub(super) fn try_save(&mut self, kind: SaveKind) -> Result<(), SessionError> {
        self.archive()?;
        let is_changed = !self.stored.has(&self.document);
        if !is_changed && self.stored.is_in(&self.location.read()?) {
            // An edit that changed nothing made a copy of its own.
            self.document = Document::clone(&self.stored.document);
            return Ok(());
        }
        // Nobody else should wait for the derivation of a key.
        let key = match is_changed {
            true => Some(self.key_for_save()?),
            false => None,
        };
        let lock = match self.held.take() {
            Some(lock) => lock,
            None => self.location.lock()?,
        };
        let merged = self.merged_with_file()?;
        self.location.params = merged.params;
        if merged.stored.has(&merged.document) {
            self.take(merged);
            return Ok(());
        }
        let plaintext = encode_v3(&merged.document)?;
        // Another program may have made the vault dearer meanwhile.
        let key = match key.filter(|key| key.params() == self.location.params) {
            Some(key) => key,
            None => self.key_for_save()?,
        };
        let has_new_records = merged.document.vault != merged.stored.document.vault;
        let keeps = match kind {
            SaveKind::New | SaveKind::Continued => {
                let replaces = kind == SaveKind::New && has_new_records;
                self.keeps(replaces, &merged)?
            }
            // The previous copy must not hold what was purged either.
            SaveKind::Purge => {
                let mut previous = Document::clone(&merged.stored.document);
                previous.vault.merge(&merged.document.vault.purges());
                Keeps::Instead(encode_v3(&previous)?)
            }
        };
        self.write(&lock, key, merged.document, &plaintext, keeps)
    }

    /// A key for one save: that which was derived beforehand, or a new one.
    pub(super) fn key_for_save(&mut self) -> Result<ContainerKey, SessionError> {
        let params = self.location.params;
        let early_key = self.early_key.take();
        match early_key.and_then(|key| key.finish(&self.passphrase, params)) {
            Some(key) => Ok(key),
            None => ContainerKey::derive(&self.passphrase, params, &mut UnwrapErr(SysRng))
                .map_err(self.location.container()),
        }
    }

    /// Holds what was read from the file, or saved by a fork, and the price of its key with it.
    pub(super) fn take(&mut self, merged: Merged) {
        let Merged {
            document,
            stored,
            params,
        } = merged;
        (self.document, self.stored) = (document, stored);
        self.location.params = self.location.params.or_dearer(params);
    }

    /// Merges the file's current content with the session's.
    pub(super) fn merged_with_file(&self) -> Result<Merged, SessionError> {
        let container = match self.location.read() {
            // The file was removed: the session has the only content.
            Err(SessionError::NotFound { .. }) => {
                let stored = Stored {
                    container: None,
                    ..self.stored.clone()
                };
                return Ok(Merged {
                    document: self.own_document()?,
                    stored,
                    params: self.location.params,
                });
            }
            read => read?,
        };
        if self.stored.is_in(&container) {
            return Ok(Merged {
                document: self.own_document()?,
                stored: self.stored.clone(),
                params: self.location.params,
            });
        }
        let mut location = self.location.clone();
        location.keep_cost_of(&container);
        let (theirs, stored) = match self.written_as(&container) {
            Some(stored) => (Document::clone(&stored.document), stored),
            None => {
                let plaintext = self.open_again(&container)?;
                let theirs = decode_vault_file(&plaintext).map_err(self.location.codec())?;
                let stored = Stored::new(container, &theirs);
                (theirs, stored)
            }
        };
        if !is_same_vault(&self.stored.document, &theirs) {
            return Err(SessionError::AnotherVault {
                path: self.location.path.clone(),
            });
        }
        let mut document = self.own_document()?;
        document.vault.merge(&theirs.vault);
        document.account = Account::merge(
            self.stored.document.account.as_ref(),
            document.account.take(),
            theirs.account,
        );
        document.folder = SharedFolder::merge(
            self.stored.document.folder.as_ref(),
            document.folder.take(),
            theirs.folder,
        );
        document.baseline = Baseline::merge(
            self.stored.document.baseline.as_ref(),
            document.baseline.take(),
            theirs.baseline,
        );
        document.log_key = theirs.log_key.or(document.log_key);
        document.undo = UndoLog::merge(&self.stored.document.undo, document.undo, theirs.undo);
        Ok(Merged {
            document,
            stored,
            params: location.params,
        })
    }

    /// What becomes of the previous copy when records or the account change. `replaces` says that
    /// what is stored now becomes the previous copy.
    ///
    /// If the vault was tied to another account or folder, or untied, so is the copy: it would be of
    /// little use without them after a loss of the vault.
    pub(super) fn keeps(&self, replaces: bool, merged: &Merged) -> Result<Keeps, SessionError> {
        let (before, now) = (&merged.stored.document, &merged.document);
        let previous = match (replaces, has_same_ties(before, now)) {
            (true, true) => return Ok(Keeps::Previous),
            (false, true) => return Ok(Keeps::Kept),
            (true, false) => Some(Document::clone(before)),
            (false, false) => {
                let plaintext = self.previous_plaintext().ok();
                plaintext.and_then(|plaintext| decode_vault_file(&plaintext).ok())
            }
        };
        // There is none, or it cannot be read, for example under another passphrase.
        let Some(mut previous) = previous else {
            return Ok(Keeps::Kept);
        };
        previous.account = now.account.clone();
        previous.folder = now.folder.clone();
        previous.baseline = now.baseline.clone();
        Ok(Keeps::Instead(encode_v3(&previous)?))
    }

    pub(super) fn own_document(&self) -> Result<Document, SessionError> {
        match self.document.version {
            Version::V3 => Ok(self.document.clone()),
            Version::Passmate2 => Err(SessionError::OfOriginal {
                path: self.location.path.clone(),
            }),
        }
    }

    /// What a session of this vault wrote, if this is its container.
    pub(super) fn written_as(&self, container: &[u8]) -> Option<Stored> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let written = written.as_ref()?;
        let is_it = written.passphrase == self.passphrase && written.stored.is_in(container);
        is_it.then(|| written.stored.clone())
    }

    pub(super) fn open_again(&self, container: &[u8]) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        open_container(container, &self.passphrase).map_err(|error| match error {
            ContainerError::WrongPassphrase => SessionError::PassphraseChanged,
            error => self.location.container()(error),
        })
    }

    pub(super) fn write(
        &mut self,
        lock: &Lock,
        key: ContainerKey,
        document: Document,
        plaintext: &[u8],
        keeps: Keeps,
    ) -> Result<(), SessionError> {
        let VaultLocation { path, disk, .. } = &self.location;
        let container = key.seal(plaintext);
        let previous = previous_of(path);
        if previous.is_dir() {
            return Err(SessionError::NotAFile { path: previous });
        }
        let written = match keeps {
            Keeps::Previous => disk::replace(&**disk, lock, path, &container),
            Keeps::Kept => disk::overwrite(&**disk, lock, path, &container),
            Keeps::Instead(previous) => {
                let previous = self.location.seal(&previous, &self.passphrase)?;
                disk::replace_both(&**disk, lock, path, &container, &previous)
            }
        };
        let flushed = match self.location.replaced(written, &container) {
            Err(error) if !error.is_saved() => return Err(error),
            flushed => flushed,
        };
        self.stored = Stored::new(container, &document);
        self.document = document;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        *written = Some(Written {
            passphrase: self.passphrase.clone(),
            stored: self.stored.clone(),
        });
        flushed
    }
}

/// Whether both are states of one vault. Each has had a random key of its log since it was made, or
/// since an agent held it; of an older one, a record tells.
fn is_same_vault(ours: &Document, theirs: &Document) -> bool {
    match (&ours.log_key, &theirs.log_key) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => {
            let mut records = ours.vault.records().peekable();
            records.peek().is_none() || records.any(|(id, _)| theirs.vault.record(id).is_some())
        }
    }
}

/// Whether both are tied to the same account and the same shared folder, if to any.
fn has_same_ties(one: &Document, other: &Document) -> bool {
    let account = |document: &Document| {
        let account = document.account.as_ref();
        account.map(|account| {
            let Account {
                host,
                port,
                key,
                trust,
                is_lost,
                ..
            } = account.clone();
            (host, port, key, trust, is_lost)
        })
    };
    let folder = |document: &Document| {
        let folder = document.folder.as_ref();
        folder.map(|folder| {
            (
                folder.path.clone(),
                folder.host_id.clone(),
                folder.key.clone(),
            )
        })
    };
    account(one) == account(other) && folder(one) == folder(other)
}

/// How a save counts for the previous copy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SaveKind {
    /// A change of its own.
    New,
    /// A part of the previous save.
    Continued,
    /// A purge, which reaches the previous copy too.
    Purge,
}

/// What becomes of the previous copy when the vault is written.
pub(super) enum Keeps {
    /// The content that was replaced.
    Previous,
    /// It stays as it is.
    Kept,
    /// This plaintext replaces it.
    Instead(Zeroizing<Vec<u8>>),
}

pub(super) struct Merged {
    pub(super) document: Document,
    pub(super) stored: Stored,
    /// What the next key costs.
    pub(super) params: Params,
}
