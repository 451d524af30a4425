//! A vault that is unlocked: the one way to read and change it, for every program that does.
//!
//! The rules are:
//!  - reading takes no lock; a save holds it for as long as it reads, merges and writes;
//!  - a save never undoes what another program saved meanwhile: it merges that first;
//!  - a save that would change nothing writes nothing;
//!  - a copy from before the last change of records is kept (the previous copy), so that it can be
//!    taken back;
//!  - every write has a fresh salt, so no key ever encrypts twice;
//!  - no prompts and no prints in here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use getrandom::SysRng;
use passmate_sync::{Replica, SaveError};
use passmate_vault::format::container::{
    CONTAINER_OVERHEAD, ContainerError, Params, make_container, open_container,
};
use passmate_vault::format::{
    CodecError, DOCUMENT_LEN_MAX, EncodeError, Version, decode_vault_file, encode_btoken, encode_v3,
};
use passmate_vault::merge::MergeSummary;
use passmate_vault::record::make_record_id;
use passmate_vault::{Association, Document, Passphrase, RecordId, SharedFolder, Vault};
use rand_core::UnwrapErr;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock::{Clock, system_clock};
use crate::disk::{self, Disk, Lock, LockError, RealDisk, folder_of, previous_of};

/// Where a vault is, and what it needs of the world.
#[derive(Debug, Clone)]
pub struct VaultLocation {
    path: PathBuf,
    disk: Arc<dyn Disk + Send + Sync>,
    clock: Clock,
    params: Params,
}

/// The longest file that is read, in bytes.
const FILE_LEN_MAX: u64 = (DOCUMENT_LEN_MAX + CONTAINER_OVERHEAD) as u64;

impl VaultLocation {
    /// A vault file on the real disk, under the real time, with the full cost of a wrong guess.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            disk: Arc::new(RealDisk),
            clock: system_clock,
            params: Params::STANDARD,
        }
    }

    /// The same with another disk.
    #[must_use]
    pub fn with_disk(self, disk: impl Disk + Send + Sync + 'static) -> Self {
        Self {
            disk: Arc::new(disk),
            ..self
        }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same with other costs of the key derivation for what is written, for programs that have
    /// keys of full entropy instead of a passphrase, and for tests.
    #[must_use]
    pub fn with_params(self, params: Params) -> Self {
        Self { params, ..self }
    }

    /// The vault file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    fn io(&self, doing: &'static str) -> impl FnOnce(io::Error) -> SessionError {
        let path = self.path.clone();
        move |error| match error.kind() {
            io::ErrorKind::NotFound => SessionError::NotFound { path },
            _ => SessionError::Io { doing, path, error },
        }
    }

    fn lock(&self) -> Result<Lock, SessionError> {
        Lock::take(&self.path).map_err(|error| match error {
            LockError::Busy => SessionError::InUse {
                path: self.path.clone(),
            },
            LockError::Io(error) => self.io("lock")(error),
        })
    }

    fn read(&self) -> Result<Vec<u8>, SessionError> {
        self.disk
            .read(&self.path, FILE_LEN_MAX)
            .map_err(self.io("read"))
    }

    fn seal(&self, plaintext: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, SessionError> {
        Ok(make_container(
            plaintext,
            passphrase,
            self.params,
            &mut UnwrapErr(SysRng),
        )?)
    }
}

/// Why a vault could not be opened, changed or saved. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no vault.
    #[error("there is no vault at {}", path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is one already.
    #[error("there is a vault at {} already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// Another program is writing it.
    #[error("{} is in use by another program", path.display())]
    InUse {
        /// The vault.
        path: PathBuf,
    },
    /// The system.
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The vault.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The container does not open.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// What is in the container is no vault.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The vault has become larger than any that can be read.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Another program changed the passphrase since this one opened the vault.
    #[error("the master passphrase was changed by another program meanwhile")]
    PassphraseChanged,
    /// A vault of the original program, which could not read what we would write.
    #[error("{} belongs to the original Passmate program, so it is not changed", path.display())]
    OfOriginal {
        /// The vault.
        path: PathBuf,
    },
}

/// An unlocked vault.
#[derive(Debug)]
pub struct Session {
    location: VaultLocation,
    passphrase: Passphrase,
    document: Document,
    /// What the file held when it was read or written last.
    stored: Stored,
    /// What was here when a part of the history was cut off, to be kept before the vault is
    /// written.
    cut_off: Option<Vault>,
    /// Where that was kept.
    archives: Vec<PathBuf>,
}

/// What a file held, as far as it takes to see that it, or we, changed.
#[derive(Debug, Clone)]
struct Stored {
    container: [u8; 32],
    plaintext: [u8; 32],
    association: Option<Association>,
    folder: Option<SharedFolder>,
    records: RecordsDigest,
}

/// What tells whether records changed. A vault only grows, so the number of changes does, unless
/// its history is cut off.
type RecordsDigest = (usize, Option<[u8; 32]>);

fn digest_records(vault: &Vault) -> RecordsDigest {
    let hashed = vault
        .history_since()
        .and_then(|_| encode_btoken(vault).ok())
        .map(|plaintext| hash(&plaintext));
    (vault.change_count(), hashed)
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

impl Stored {
    fn new(container: &[u8], plaintext: &[u8], document: &Document) -> Self {
        Self {
            container: hash(container),
            plaintext: hash(plaintext),
            association: document.association.clone(),
            folder: document.folder.clone(),
            records: digest_records(&document.vault),
        }
    }
}

impl Session {
    /// Makes an empty vault where there is none, and the folder that it is in.
    ///
    /// # Errors
    /// [`SessionError::Exists`], or it cannot be written.
    pub fn create(location: VaultLocation, passphrase: Passphrase) -> Result<Self, SessionError> {
        let folder = folder_of(&location.path);
        location
            .disk
            .make_folder(folder)
            .map_err(location.io("make the folder of"))?;
        let lock = location.lock()?;
        if location.exists() {
            return Err(SessionError::Exists {
                path: location.path,
            });
        }
        let document = Document::new(Vault::new());
        let plaintext = encode_v3(&document)?;
        let container = location.seal(&plaintext, &passphrase)?;
        disk::overwrite(&*location.disk, &lock, &location.path, &container)
            .map_err(location.io("write"))?;
        let stored = Stored::new(&container, &plaintext, &document);
        Ok(Self {
            location,
            passphrase,
            document,
            stored,
            cut_off: None,
            archives: Vec::new(),
        })
    }

    /// Opens a vault.
    ///
    /// # Errors
    /// [`ContainerError::WrongPassphrase`] among others; see [`SessionError`].
    pub fn open(location: VaultLocation, passphrase: Passphrase) -> Result<Self, SessionError> {
        // The file that a link leads to is the one that is replaced, and not the link.
        let path = location.path.canonicalize().map_err(location.io("open"))?;
        let location = VaultLocation { path, ..location };
        let (document, stored) = read(&location, &passphrase)?;
        Ok(Self {
            location,
            passphrase,
            document,
            stored,
            cut_off: None,
            archives: Vec::new(),
        })
    }

    /// Where the vault is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.location.path
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

    /// All records.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.document.vault
    }

    /// Changes records. `edit` gets the time that the changes are stamped with; nothing is written
    /// before [`save`](Self::save).
    pub fn edit<T>(&mut self, edit: impl FnOnce(&mut Vault, i64) -> T) -> T {
        let now = self.now();
        edit(&mut self.document.vault, now)
    }

    /// An id for a new record.
    #[must_use]
    pub fn make_record_id(&self) -> RecordId {
        make_record_id(&mut UnwrapErr(SysRng))
    }

    /// A container of this text under the vault's passphrase, for a copy.
    ///
    /// # Errors
    /// It is too long.
    pub fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, SessionError> {
        self.location.seal(plaintext, &self.passphrase)
    }

    /// Something that is made with the vault's passphrase, for a copy in another program's form.
    pub fn with_passphrase<T>(&self, make: impl FnOnce(&Passphrase) -> T) -> T {
        make(&self.passphrase)
    }

    /// What is in a container that is under the vault's passphrase, or under one of these; which
    /// one is told.
    ///
    /// # Errors
    /// [`ContainerError::WrongPassphrase`] if it is under none of them; see [`ContainerError`] for
    /// the rest.
    pub fn open_copy<'a>(
        &self,
        container: &[u8],
        others: &'a [Passphrase],
    ) -> Result<(Zeroizing<Vec<u8>>, Option<&'a Passphrase>), ContainerError> {
        match open_container(container, &self.passphrase) {
            Err(ContainerError::WrongPassphrase) => {}
            opened => return opened.map(|plaintext| (plaintext, None)),
        }
        for passphrase in others {
            match open_container(container, passphrase) {
                Err(ContainerError::WrongPassphrase) => {}
                opened => return opened.map(|plaintext| (plaintext, Some(passphrase))),
            }
        }
        Err(ContainerError::WrongPassphrase)
    }

    /// The shared folder that the vault takes part in.
    #[must_use]
    pub fn folder(&self) -> Option<&SharedFolder> {
        self.document.folder.as_ref()
    }

    /// Lets it take part in another one, or in none; saved with the next [`save`](Self::save).
    pub fn set_folder(&mut self, folder: Option<SharedFolder>) {
        self.document.folder = folder;
    }

    /// What [`OwnCopy::content`](passmate_vault::sync::shared_folder::OwnCopy::content) is of this text now.
    #[must_use]
    pub fn content_hash(&self, plaintext: &[u8]) -> [u8; 32] {
        SharedFolder::content_hash(plaintext, &self.passphrase)
    }

    /// Replaces a copy elsewhere as a whole, while no other program does.
    ///
    /// # Errors
    /// See [`SessionError`]; the copy is as it was.
    pub fn write_copy(&self, path: &Path, container: &[u8]) -> Result<(), SessionError> {
        let lock = self.location.lock()?;
        let io = VaultLocation {
            path: path.to_owned(),
            ..self.location.clone()
        };
        disk::overwrite(&*self.location.disk, &lock, path, container).map_err(io.io("write"))
    }

    /// The content of a copy elsewhere.
    ///
    /// # Errors
    /// As the system says; it is not a regular file, or longer than any vault.
    pub fn read_copy(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.location.disk.read(path, FILE_LEN_MAX)
    }

    /// Whether this is the passphrase that the vault was opened with.
    #[must_use]
    pub fn is_passphrase(&self, passphrase: &Passphrase) -> bool {
        self.passphrase == *passphrase
    }

    /// The records as they were before the last save that changed any, from the copy that is kept
    /// beside the vault.
    ///
    /// # Errors
    /// [`SessionError::NotFound`] if there was no save yet; see [`SessionError`] for the rest.
    pub fn previous_vault(&self) -> Result<Vault, SessionError> {
        let location = VaultLocation {
            path: previous_of(&self.location.path),
            ..self.location.clone()
        };
        let (document, _) = read(&location, &self.passphrase)?;
        Ok(document.vault)
    }

    /// Makes all changes durable, together with what other programs saved meanwhile.
    ///
    /// Afterwards the session holds what is stored. Where two programs tied the vault to different
    /// accounts the first one counts. Writes nothing if nothing is new. If records changed, their
    /// content before is what [`previous_vault`](Self::previous_vault) gives from now on.
    ///
    /// # Errors
    /// See [`SessionError`]; the file is as it was, the session keeps its changes.
    pub fn save(&mut self) -> Result<(), SessionError> {
        self.save_as(SaveKind::New)
    }

    /// Like [`save`](Self::save), but what is saved belongs to the previous save: one *undo* takes
    /// back both.
    ///
    /// # Errors
    /// See [`SessionError`]; the file is as it was, the session keeps its changes.
    pub fn save_more(&mut self) -> Result<(), SessionError> {
        self.save_as(SaveKind::Continued)
    }

    /// Where the whole history was kept before a part of it was cut off here, in this session:
    /// vaults under the same passphrase.
    #[must_use]
    pub fn archives(&self) -> &[PathBuf] {
        &self.archives
    }

    /// Keeps what was here before a part was cut off in a vault of its own, beside this one.
    fn archive(&mut self) -> Result<(), SessionError> {
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

    /// A name that no file has: `vault.history-2026-11-24.pmdb`.
    fn free_archive(&self) -> PathBuf {
        let day = jiff::Timestamp::from_second(self.now())
            .map(|time| time.strftime("%Y-%m-%d").to_string());
        let stem = self
            .location
            .path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let stem = format!("{stem}.history-{}", day.unwrap_or_default());
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

    fn save_as(&mut self, kind: SaveKind) -> Result<(), SessionError> {
        self.archive()?;
        let plaintext = encode_v3(&self.document)?;
        let is_changed = hash(&plaintext) != self.stored.plaintext;
        if !is_changed && hash(&self.location.read()?) == self.stored.container {
            return Ok(());
        }
        let lock = self.location.lock()?;
        let merged = self.merged_with_file()?;
        let plaintext = encode_v3(&merged.document)?;
        if hash(&plaintext) == merged.stored.plaintext {
            (self.document, self.stored) = (merged.document, merged.stored);
            return Ok(());
        }
        let has_new_records = digest_records(&merged.document.vault) != merged.stored.records;
        let keeps = if has_new_records && kind == SaveKind::New {
            Keeps::Previous
        } else {
            Keeps::Kept
        };
        self.write(&lock, merged.document, &plaintext, keeps)
    }

    /// Encrypts the vault and the previous copy under another
    /// passphrase.
    ///
    /// # Errors
    /// See [`SessionError`]. The vault is under the old passphrase then; the content before may be
    /// under the new one.
    pub fn change_passphrase(&mut self, passphrase: Passphrase) -> Result<(), SessionError> {
        let lock = self.location.lock()?;
        let merged = self.merged_with_file()?;
        let plaintext = encode_v3(&merged.document)?;
        // Nothing stays under the old passphrase, which the person may change because someone knows
        // it. A copy that cannot be opened, after an earlier change that was cut short say, gives
        // way to what is there now.
        let previous = match self.previous_plaintext() {
            Err(SessionError::NotFound { .. }) => None,
            Err(SessionError::Container(_)) => Some(plaintext.clone()),
            previous => Some(previous?),
        };
        let old = std::mem::replace(&mut self.passphrase, passphrase);
        let keeps = previous.map_or(Keeps::Kept, Keeps::Instead);
        self.write(&lock, merged.document, &plaintext, keeps)
            .inspect_err(|_| self.passphrase = old)
    }

    fn previous_plaintext(&self) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        let location = VaultLocation {
            path: previous_of(&self.location.path),
            ..self.location.clone()
        };
        Ok(open_container(&location.read()?, &self.passphrase)?)
    }

    /// What the file holds now together with what this session holds.
    fn merged_with_file(&self) -> Result<Merged, SessionError> {
        let container = match self.location.read() {
            // Somebody removed it: what this session holds is all that there is.
            Err(SessionError::NotFound { .. }) => {
                let stored = Stored {
                    plaintext: [0; 32],
                    ..self.stored.clone()
                };
                return Ok(Merged {
                    document: self.own_document()?,
                    stored,
                });
            }
            read => read?,
        };
        if hash(&container) == self.stored.container {
            return Ok(Merged {
                document: self.own_document()?,
                stored: self.stored.clone(),
            });
        }
        let plaintext = self.open_again(&container)?;
        let theirs = decode_vault_file(&plaintext)?;
        let stored = Stored::new(&container, &plaintext, &theirs);
        let mut document = self.own_document()?;
        document.vault.merge(&theirs.vault);
        document.association = Association::merge(
            self.stored.association.as_ref(),
            document.association.take(),
            theirs.association,
        );
        document.folder = SharedFolder::merge(
            self.stored.folder.as_ref(),
            document.folder.take(),
            theirs.folder,
        );
        Ok(Merged { document, stored })
    }

    fn own_document(&self) -> Result<Document, SessionError> {
        match self.document.version {
            Version::V3 => Ok(self.document.clone()),
            Version::Passmate2 => Err(SessionError::OfOriginal {
                path: self.location.path.clone(),
            }),
        }
    }

    fn open_again(&self, container: &[u8]) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        open_container(container, &self.passphrase).map_err(|error| match error {
            ContainerError::WrongPassphrase => SessionError::PassphraseChanged,
            error => error.into(),
        })
    }

    fn write(
        &mut self,
        lock: &Lock,
        document: Document,
        plaintext: &[u8],
        keeps: Keeps,
    ) -> Result<(), SessionError> {
        let VaultLocation { path, disk, .. } = &self.location;
        let container = self.location.seal(plaintext, &self.passphrase)?;
        let written = match keeps {
            Keeps::Previous => disk::replace(&**disk, lock, path, &container),
            Keeps::Kept => disk::overwrite(&**disk, lock, path, &container),
            Keeps::Instead(previous) => {
                let previous = self.location.seal(&previous, &self.passphrase)?;
                disk::replace_both(&**disk, lock, path, &container, &previous)
            }
        };
        written.map_err(self.location.io("write"))?;
        self.stored = Stored::new(&container, plaintext, &document);
        self.document = document;
        Ok(())
    }
}

/// What a save belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SaveKind {
    /// A change of its own, that can be taken back.
    New,
    /// The change that was saved before it: both are taken back together.
    Continued,
}

/// What becomes of the previous copy when the vault is written.
enum Keeps {
    /// What was written over.
    Previous,
    /// What was kept before.
    Kept,
    /// This plaintext.
    Instead(Zeroizing<Vec<u8>>),
}

struct Merged {
    document: Document,
    stored: Stored,
}

fn read(
    location: &VaultLocation,
    passphrase: &Passphrase,
) -> Result<(Document, Stored), SessionError> {
    let container = location.read()?;
    let plaintext = open_container(&container, passphrase)?;
    let document = decode_vault_file(&plaintext)?;
    // Equal documents are written as equal bytes, so the bytes that we would write tell whether
    // anything changed.
    let canonical = encode_v3(&document)?;
    let stored = Stored::new(&container, &canonical, &document);
    Ok((document, stored))
}

impl Replica for Session {
    fn vault(&self) -> &Vault {
        &self.document.vault
    }

    fn association(&self) -> Option<&Association> {
        self.document.association.as_ref()
    }

    fn now(&self) -> i64 {
        Self::now(self)
    }

    fn set_association(&mut self, association: Option<Association>) {
        self.document.association = association;
    }

    fn merge(&mut self, other: &Vault) -> MergeSummary {
        let may_be_cut = self
            .document
            .vault
            .history_since()
            .or(other.history_since())
            .is_some();
        let before = may_be_cut.then(|| self.document.vault.clone());
        let summary = self.document.vault.merge(other);
        if let Some(before) = before.filter(|_| summary.dropped > 0) {
            let mut whole = before.with_whole_history();
            whole.merge(&other.clone().with_whole_history());
            self.cut_off.get_or_insert_default().merge(&whole);
        }
        summary
    }

    fn save(&mut self) -> Result<(), SaveError> {
        Ok(Self::save(self)?)
    }

    fn save_more(&mut self) -> Result<(), SaveError> {
        Ok(Self::save_more(self)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use passmate_vault::{Secret, SeenChanges, Shape, SyncKey, Trust};

    use super::*;
    use crate::disk::tests::FailingDisk;

    fn location(dir: &tempfile::TempDir) -> VaultLocation {
        VaultLocation::new(dir.path().join("vault.pmdb"))
            .with_clock(|| 1_800_000_000)
            .with_params(Params::new(4, 1, 1).unwrap())
    }

    fn passphrase() -> Passphrase {
        Passphrase::from("correct horse".to_owned())
    }

    fn add(session: &mut Session, path: &str) {
        let id = session.make_record_id();
        session
            .edit(|vault, now| vault.create_record(id, path, now))
            .unwrap();
    }

    fn paths(session: &Session) -> Vec<String> {
        let view = session.vault().view();
        view.records()
            .iter()
            .map(|record| record.path.to_string_lossy().into_owned())
            .collect()
    }

    fn association(account: u8) -> Association {
        let key = SyncKey::from_parts([account; 8], Secret::from_bytes([account; 32]));
        Association {
            host: "h".to_owned(),
            port: 1,
            key,
            trust: Trust::System,
            confirmed: true,
            seen: SeenChanges::new(),
            last: None,
            retired: None,
            shape: Shape::Modern,
        }
    }

    fn reopen(dir: &tempfile::TempDir) -> Session {
        Session::open(location(dir), passphrase()).unwrap()
    }

    #[test]
    fn what_was_saved_is_there_and_what_was_not_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::create(location(&dir), passphrase()).unwrap();
        add(&mut session, "a");
        session.save().unwrap();
        add(&mut session, "b");
        assert_eq!(paths(&reopen(&dir)), ["a"]);
        session.save().unwrap();
        assert_eq!(paths(&reopen(&dir)), ["a", "b"]);
        assert!(matches!(
            Session::create(location(&dir), passphrase()),
            Err(SessionError::Exists { .. })
        ));
        let wrong = Session::open(location(&dir), Passphrase::from("x".to_owned()));
        assert!(matches!(
            wrong,
            Err(SessionError::Container(ContainerError::WrongPassphrase))
        ));
        let elsewhere = Session::open(VaultLocation::new(dir.path().join("none")), passphrase());
        assert!(matches!(elsewhere, Err(SessionError::NotFound { .. })));
    }

    #[test]
    fn a_save_without_news_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::create(location(&dir), passphrase()).unwrap();
        add(&mut session, "a");
        session.save().unwrap();
        let before = fs::read(session.path()).unwrap();
        session.save().unwrap();
        let mut second = reopen(&dir);
        second.save().unwrap();
        assert_eq!(fs::read(session.path()).unwrap(), before);
    }

    #[test]
    fn every_save_has_a_salt_and_a_key_stream_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::create(location(&dir), passphrase()).unwrap();
        let mut salts = BTreeSet::new();
        for number in 0..50 {
            add(&mut session, &format!("{number}"));
            session.save().unwrap();
            let container = fs::read(session.path()).unwrap();
            salts.insert(container.get(16..48).unwrap().to_vec());
        }
        assert_eq!(salts.len(), 50);
    }

    #[test]
    fn two_programs_that_save_in_any_order_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Session::create(location(&dir), passphrase()).unwrap();
        let mut second = reopen(&dir);
        add(&mut first, "a");
        add(&mut second, "b");
        first.save().unwrap();
        second.save().unwrap();
        assert_eq!(paths(&second), ["a", "b"]);
        // One that has nothing to save takes over what is there.
        first.save().unwrap();
        assert_eq!(paths(&first), ["a", "b"]);
        assert_eq!(paths(&reopen(&dir)), ["a", "b"]);
    }

    #[test]
    fn of_two_accounts_the_first_one_saved_counts_and_one_that_only_read_undoes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Session::create(location(&dir), passphrase()).unwrap();
        let mut second = reopen(&dir);
        let mut third = reopen(&dir);
        first.set_association(Some(association(1)));
        first.save().unwrap();
        second.set_association(Some(association(2)));
        second.save().unwrap();
        assert_eq!(second.association(), Some(&association(1)));
        add(&mut third, "a");
        third.save().unwrap();
        assert_eq!(reopen(&dir).association(), Some(&association(1)));
        third.set_association(None);
        third.save().unwrap();
        assert_eq!(reopen(&dir).association(), None);
    }

    #[test]
    fn leaving_holds_though_a_sync_saves_what_it_saw_meanwhile() {
        use passmate_sync::{SyncError, leave, trust_pin};
        use passmate_vault::Pin;
        let dir = tempfile::tempdir().unwrap();
        let mut first = Session::create(location(&dir), passphrase()).unwrap();
        first.set_association(Some(association(1)));
        first.save().unwrap();
        let sync_saves = |path: &str| {
            let mut sync = reopen(&dir);
            add(&mut sync, path);
            let mut tied = sync.association().unwrap().clone();
            tied.seen.note(sync.vault());
            sync.set_association(Some(tied));
            sync.save().unwrap();
        };
        sync_saves("a");
        let pin = Pin::from_bytes([7; 32]);
        trust_pin(&mut first, pin).unwrap();
        let tied = reopen(&dir).association().unwrap().clone();
        assert_eq!(
            (tied.trust, tied.seen.len()),
            (
                Trust::Pins {
                    current: pin,
                    next: None
                },
                1
            )
        );
        sync_saves("b");
        leave(&mut first).unwrap();
        assert_eq!(reopen(&dir).association(), None);
        // Somebody else sets it up again, and this one has not seen that.
        let mut other = reopen(&dir);
        other.set_association(Some(association(2)));
        other.save().unwrap();
        first.set_association(Some(association(1)));
        assert!(matches!(leave(&mut first), Err(SyncError::SetUpChanged)));
    }

    #[test]
    fn a_new_passphrase_opens_the_vault_and_the_copy_beside_it_and_the_old_one_neither() {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::create(location(&dir), passphrase()).unwrap();
        add(&mut session, "a");
        session.save().unwrap();
        let mut other = reopen(&dir);
        let new = Passphrase::from("new".to_owned());
        session.change_passphrase(new.clone()).unwrap();
        for path in [session.path().to_owned(), previous_of(session.path())] {
            let container = fs::read(&path).unwrap();
            assert_eq!(
                open_container(&container, &passphrase()),
                Err(ContainerError::WrongPassphrase)
            );
            open_container(&container, &new).unwrap();
        }
        assert_eq!(
            session.previous_vault().unwrap(),
            Vault::new(),
            "the last change can be taken back still"
        );
        // A program that still has the old one does not overwrite what it cannot read.
        add(&mut other, "b");
        assert!(matches!(other.save(), Err(SessionError::PassphraseChanged)));
        assert_eq!(paths(&Session::open(location(&dir), new).unwrap()), ["a"]);
    }

    #[test]
    fn a_save_that_fails_anywhere_leaves_a_vault_that_opens_and_keeps_the_changes_in_memory() {
        for is_dead in [false, true] {
            for number in 1.. {
                let dir = tempfile::tempdir().unwrap();
                let mut session = Session::create(location(&dir), passphrase()).unwrap();
                add(&mut session, "old");
                session.save().unwrap();
                let disk = FailingDisk::failing_at(number, is_dead);
                session.location = session.location.with_disk(disk.clone());
                add(&mut session, "new");
                let result = session.save();
                let there = paths(&reopen(&dir));
                assert!(there == ["old"] || there == ["new", "old"], "{there:?}");
                if result.is_ok() {
                    assert_eq!(there, ["new", "old"]);
                }
                assert_eq!(paths(&session), ["new", "old"]);
                session.location = session.location.with_disk(RealDisk);
                session.save().unwrap();
                assert_eq!(paths(&reopen(&dir)), ["new", "old"]);
                if disk.done() < number {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_history_is_cut_off_only_when_all_of_it_was_kept_beside_the_vault_whatever_fails() {
        let values = |session: &Session| {
            let changes = session
                .vault()
                .records()
                .flat_map(|(_, record)| record.changes());
            changes
                .filter_map(|change| Some(change.value.shown()?.to_string_lossy().into_owned()))
                .collect::<Vec<_>>()
        };
        for number in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let mut session =
                Session::create(location(&dir).with_clock(|| 1000), passphrase()).unwrap();
            let id = session.make_record_id();
            session.edit(|vault, _| {
                vault.create_record(id.clone(), "mail", 100).unwrap();
                vault.set(&id, "password", "one", 200).unwrap();
                vault.set(&id, "password", "two", 300).unwrap();
            });
            session.save().unwrap();
            let disk = FailingDisk::failing_at(number, true);
            session.location = session.location.with_disk(disk.clone());
            assert_eq!(
                Replica::merge(&mut session, &Vault::new().with_history_since(400)).dropped,
                1
            );
            let result = session.save();
            let archive = dir.path().join("vault.history-1970-01-01.pmdb");
            let stored = reopen(&dir);
            if stored.vault().history_since().is_some() {
                assert_eq!(values(&stored), ["mail", "two"], "operation {number}");
                let archive = Session::open(
                    VaultLocation {
                        path: archive.clone(),
                        ..location(&dir)
                    },
                    passphrase(),
                )
                .unwrap();
                assert_eq!(
                    (values(&archive), archive.vault().history_since()),
                    (vec!["mail".into(), "one".into(), "two".into()], None)
                );
                assert_eq!(
                    stored.previous_vault().unwrap(),
                    *archive.vault(),
                    "and an undo knows what was before"
                );
            } else {
                assert_eq!(
                    values(&stored),
                    ["mail", "one", "two"],
                    "operation {number}"
                );
            }
            if disk.done() < number {
                result.unwrap();
                assert_eq!(session.archives(), [archive]);
                // The next one does not take its place.
                session.location = session.location.with_disk(RealDisk);
                Replica::merge(&mut session, &Vault::new().with_history_since(500));
                session.edit(|vault, _| vault.set(&id, "password", "three", 600).unwrap());
                Replica::merge(&mut session, &Vault::new().with_history_since(700));
                session.save().unwrap();
                assert!(
                    session
                        .archives()
                        .last()
                        .unwrap()
                        .ends_with("vault.history-1970-01-01-2.pmdb")
                );
                break;
            }
        }
    }

    #[test]
    fn a_changed_passphrase_is_old_or_new_whatever_fails() {
        let new = Passphrase::from("new".to_owned());
        for number in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let mut session = Session::create(location(&dir), passphrase()).unwrap();
            add(&mut session, "a");
            session.save().unwrap();
            let disk = FailingDisk::failing_at(number, true);
            session.location = session.location.with_disk(disk.clone());
            let result = session.change_passphrase(new.clone());
            let opened: Vec<_> = [passphrase(), new.clone()]
                .into_iter()
                .filter_map(|one| Session::open(location(&dir), one).ok())
                .collect();
            assert_eq!(
                opened.iter().map(paths).collect::<Vec<_>>(),
                [["a"]],
                "operation {number}"
            );
            if disk.done() < number {
                result.unwrap();
                break;
            }
        }
    }

    #[test]
    fn a_change_of_passphrase_that_was_cut_short_is_done_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::create(location(&dir), passphrase()).unwrap();
        add(&mut session, "a");
        session.save().unwrap();
        // The copy is under the new passphrase already, the vault is not.
        let previous = session
            .location
            .seal(
                &encode_v3(&session.document).unwrap(),
                &"other".to_owned().into(),
            )
            .unwrap();
        fs::write(previous_of(session.path()), previous).unwrap();
        session.change_passphrase("new".to_owned().into()).unwrap();
        assert_eq!(session.previous_vault().unwrap(), *session.vault());
    }

    #[test]
    fn what_is_kept_is_what_was_there_before_the_last_change_of_records() {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::create(location(&dir), passphrase()).unwrap();
        let previous = |session: &Session| session.previous_vault().unwrap().view().records().len();
        add(&mut session, "a");
        session.save().unwrap();
        add(&mut session, "b");
        session.save().unwrap();
        session.set_association(Some(association(1)));
        session.save().unwrap();
        assert_eq!(previous(&session), 1, "an account is no change of records");
        add(&mut session, "c");
        Replica::save_more(&mut session).unwrap();
        assert_eq!(previous(&session), 1, "it belongs to the change before");
        session.change_passphrase("new".to_owned().into()).unwrap();
        assert_eq!(previous(&session), 1);
        add(&mut session, "d");
        session.save().unwrap();
        assert_eq!(previous(&session), 3);
    }

    #[test]
    fn a_vault_of_the_original_program_is_read_and_never_written() {
        let dir = tempfile::tempdir().unwrap();
        let location = location(&dir);
        let json = br#"{"version":2,"purpose":"primary","records":{"A":[["meta","path","p",1]]}}"#;
        let container = location.seal(json, &passphrase()).unwrap();
        fs::write(location.path(), &container).unwrap();
        let mut session = Session::open(location.clone(), passphrase()).unwrap();
        assert_eq!(paths(&session), ["p"]);
        session.save().unwrap();
        add(&mut session, "q");
        assert!(matches!(
            session.save(),
            Err(SessionError::OfOriginal { .. })
        ));
        assert!(matches!(
            session.change_passphrase(passphrase()),
            Err(SessionError::OfOriginal { .. })
        ));
        assert_eq!(fs::read(location.path()).unwrap(), container);
    }

    #[test]
    fn a_link_to_a_vault_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        drop(Session::create(location(&dir), passphrase()).unwrap());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("vault.pmdb"), &link).unwrap();
        let linked = VaultLocation {
            path: link.clone(),
            ..location(&dir)
        };
        let mut session = Session::open(linked, passphrase()).unwrap();
        add(&mut session, "a");
        session.save().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(paths(&reopen(&dir)), ["a"]);
    }

    #[test]
    fn a_vault_that_was_removed_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::create(location(&dir), passphrase()).unwrap();
        add(&mut session, "a");
        fs::remove_file(session.path()).unwrap();
        session.save().unwrap();
        assert_eq!(paths(&reopen(&dir)), ["a"]);
    }
}
