//! A backup: a whole server in one file.
//!
//! | part | content |
//! | --- | --- |
//! | first line | `passmate-server backup` |
//! | second line | a JSON object, at most 4 KiB: [`Header`] |
//! | database | a SQLite file without a log |
//! | certificate, key | PEM, if they were asked for |
//! | last 32 bytes | SHA-256 of all earlier bytes |
//!
//! The rules are:
//!  - a path holds a complete backup or what it held before, never an incomplete backup;
//!  - nothing is extracted from a file whose hash is wrong.

mod content;

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::files::{self, folder_of, give_to_owner_of};
use crate::store::{Inspector, StoreUrl, schema_newest};
use crate::text::printable;
pub(crate) use content::Content;
#[cfg(feature = "s3")]
pub(crate) use content::CopyCheck;

const MAGIC: &[u8] = b"passmate-server backup\n";
/// The version of this format.
const VERSION: u32 = 1;
const HEADER_LEN_MAX: u64 = 4096;
/// The length of the longest PEM file in a backup, in bytes.
pub(crate) const PEM_LEN_MAX: u64 = 1024 * 1024;
const HASH_LEN: u64 = 32;
/// A staging folder that is this old and not locked was left behind: it is locked right after it
/// is made.
const LEFT_AFTER: Duration = Duration::from_secs(60);
/// The note that says when the last good backup was made.
const LAST: &str = "last-backup";
/// The note that says when the last backup with the TLS key was made.
const LAST_WITH_KEY: &str = "last-backup-with-key";

/// The header of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The version of the format, 1.
    pub version: u32,
    /// The program that wrote the backup.
    pub program: String,
    /// Seconds since 1970.
    pub made_at: i64,
    /// The schema of the database.
    pub schema: i64,
    pub accounts: u64,
    /// Bytes of all btokens.
    pub btoken_bytes: u64,
    pub database_len: u64,
    /// 0 without a certificate.
    pub certificate_len: u64,
    /// 0 without a key.
    pub key_len: u64,
}

/// A certificate and its key, as PEM.
pub(crate) struct PemPair {
    /// The certificate and its intermediates.
    pub certificate: Vec<u8>,
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PemPair([redacted])")
    }
}

/// Why a backup could not be made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    /// The faults of a damaged store, at least one. It is not backed up.
    #[error("the store is damaged: {} ({} in all)", .0.first().map_or("", String::as_str), .0.len())]
    StoreDamaged(Vec<String>),
    #[error("{} is not a backup of a Passmate server", .0.display())]
    NotOurs(PathBuf),
    #[error("{} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: &'static str },
    #[error("{} was made by a newer version ({})", path.display(), printable(program))]
    Newer { path: PathBuf, program: String },
    #[error(
        "{} was made by {} and has schema {schema}, but this program, passmate-server {}, supports \
         schemas up to {}",
        path.display(),
        printable(program),
        env!("CARGO_PKG_VERSION"),
        schema_newest()
    )]
    NewerSchema {
        path: PathBuf,
        program: String,
        schema: i64,
    },
}

impl BackupError {
    /// The error, with another name for the file that was read.
    pub(crate) fn named(self, name: &Path) -> Self {
        let path = name.to_owned();
        match self {
            Self::NotOurs(_) => Self::NotOurs(path),
            Self::Damaged { what, .. } => Self::Damaged { path, what },
            Self::Newer { program, .. } => Self::Newer { path, program },
            Self::NewerSchema {
                program, schema, ..
            } => Self::NewerSchema {
                path,
                program,
                schema,
            },
            Self::Store(_) | Self::Io { .. } | Self::StoreDamaged(_) => self,
        }
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |error| BackupError::Io { doing, path, error }
}

/// How the store is copied.
pub(crate) enum Copying<'a> {
    /// All of it; a damaged store is an error.
    Whole,
    /// What is whole, account by account. It is called for what is lost.
    Salvage(&'a mut dyn FnMut(String)),
}

/// Writes a backup of a store to a file, and replaces an earlier file.
///
/// The content is verified first, so that a damaged store never replaces a good backup. The folder
/// of the file needs space for two copies of the database.
///
/// # Errors
/// See [`BackupError`]; an earlier file is unchanged.
pub(crate) fn write(
    store: &dyn Inspector,
    pair: Option<&PemPair>,
    file: &Path,
    now: i64,
    how: Copying<'_>,
) -> Result<Header, BackupError> {
    let prepared = prepare(store, pair, folder_of(file), now, how)?;
    let whole = prepared.staging.path().join("backup");
    let mut content = prepared.content()?;
    let mut put = || -> io::Result<()> {
        let target = files::create_new(&whole)?;
        let mut target = io::BufWriter::with_capacity(1 << 20, target);
        let written = io::copy(&mut content, &mut target)?;
        if written != content.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let file = target
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    };
    put().map_err(io_error("write", file))?;
    drop(content);
    files::rename(&whole, file).map_err(io_error("write", file))?;
    Ok(prepared.header)
}

/// A verified copy of a store, from which a backup is made.
pub(crate) struct Prepared<'a> {
    staging: Staging,
    database: PathBuf,
    pair: Option<&'a PemPair>,
    header: Header,
}

/// Copies a store into a temporary folder, and verifies the copy. The folder needs space for one
/// copy of the database.
///
/// # Errors
/// See [`BackupError`].
pub(crate) fn prepare<'a>(
    store: &dyn Inspector,
    pair: Option<&'a PemPair>,
    folder: &Path,
    now: i64,
    how: Copying<'_>,
) -> Result<Prepared<'a>, BackupError> {
    let staging = staging_in(folder, ".passmate-backup-")?;
    let copy = staging.path().join("passmate.db");
    match how {
        Copying::Whole => store.copy_to(&copy)?,
        Copying::Salvage(lost) => store.salvage_to(&copy, lost)?,
    }
    // Read from the copy, because the store goes on changing.
    let copied = StoreUrl::sqlite(&copy).inspector()?;
    let schema = copied.schema()?;
    let mut findings = Vec::new();
    let sum = copied.check(&mut |finding| findings.push(finding))?;
    drop(copied);
    if !findings.is_empty() {
        return Err(BackupError::StoreDamaged(findings));
    }
    let metadata = fs::metadata(&copy).map_err(io_error("read", &copy))?;
    let header = Header {
        version: VERSION,
        program: concat!("passmate-server ", env!("CARGO_PKG_VERSION")).to_owned(),
        made_at: now,
        schema,
        accounts: sum.accounts,
        btoken_bytes: sum.btoken_bytes,
        database_len: metadata.len(),
        certificate_len: pair.map_or(0, |pair| pair.certificate.len() as u64),
        key_len: pair.map_or(0, |pair| pair.key.len() as u64),
    };
    Ok(Prepared {
        staging,
        database: copy,
        pair,
        header,
    })
}

impl Prepared<'_> {
    #[cfg(feature = "s3")]
    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    /// The bytes of the backup.
    pub(crate) fn content(&self) -> Result<Content<'_>, BackupError> {
        let failed = || io_error("read", &self.database);
        let mut begin = MAGIC.to_vec();
        serde_json::to_writer(&mut begin, &self.header)
            .map_err(io::Error::from)
            .map_err(failed())?;
        begin.push(b'\n');
        let Header {
            database_len,
            certificate_len,
            key_len,
            ..
        } = self.header;
        let database = File::open(&self.database).map_err(failed())?;
        let (certificate, key) = match self.pair {
            Some(pair) => (pair.certificate.as_slice(), pair.key.as_slice()),
            None => (&[][..], &[][..]),
        };
        let len = begin.len() as u64 + database_len + certificate_len + key_len + HASH_LEN;
        let body = io::Cursor::new(begin)
            .chain(database.take(database_len))
            .chain(certificate)
            .chain(key);
        Ok(Content::new(body, len))
    }
}

/// A temporary folder; dropping it removes it.
pub(crate) struct Staging {
    dir: tempfile::TempDir,
    /// Shows other processes that the folder is in use.
    _lock: Option<File>,
}

impl Staging {
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Makes a temporary folder. Removes those that killed processes left behind, because they hold a
/// copy of a store, and maybe a key.
pub(crate) fn staging_in(folder: &Path, prefix: &str) -> Result<Staging, BackupError> {
    let lock = |path: &Path| {
        // Others may write to the folder too, and put anything there.
        let folder = files::open_folder(path).ok();
        folder.filter(|folder| folder.try_lock().is_ok())
    };
    let is_left = |entry: &fs::DirEntry| {
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .map(|time| time.elapsed().unwrap_or_default());
        let is_old = age.is_ok_and(|age| age > LEFT_AFTER);
        entry.file_name().to_string_lossy().starts_with(prefix)
            && is_old
            && lock(&entry.path()).is_some()
    };
    for entry in fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(is_left)
    {
        let _ = fs::remove_dir_all(entry.path());
    }
    let dir = tempfile::Builder::new()
        .prefix(prefix)
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(folder)
        .map_err(io_error("write to", folder))?;
    let lock = lock(dir.path());
    Ok(Staging { dir, _lock: lock })
}

struct Hashing<W> {
    target: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.target.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

/// How many bytes of a backup [`Begin`] needs.
#[cfg(feature = "s3")]
pub(crate) const BEGIN_LEN: u64 = MAGIC.len() as u64 + HEADER_LEN_MAX;

/// What the first bytes of something say.
#[cfg(feature = "s3")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    NoBackup,
    /// A backup, and the number of its accounts if its header can be read.
    Backup(Option<u64>),
}

#[cfg(feature = "s3")]
impl Begin {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Self::NoBackup;
        };
        let line = rest.split(|byte| *byte == b'\n').next();
        let header = line.and_then(|line| serde_json::from_slice(line).ok());
        Self::Backup(header.map(|header: Header| header.accounts))
    }
}

/// Whether a file begins like a backup.
pub(crate) fn is_backup(file: &Path) -> bool {
    let mut begin = [0; MAGIC.len()];
    let read = files::open(file).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == MAGIC
}

/// A backup whose hash was verified.
#[derive(Debug)]
pub(crate) struct Backup {
    path: PathBuf,
    file: File,
    header: Header,
    /// The offset of the database.
    begin: u64,
}

impl Backup {
    /// Opens a backup and verifies its hash.
    pub(crate) fn open(path: &Path) -> Result<Self, BackupError> {
        let failed = || io_error("read", path);
        let damaged = |what| BackupError::Damaged {
            path: path.to_owned(),
            what,
        };
        let mut file = files::open(path).map_err(failed())?;
        let len = file.metadata().map_err(failed())?.len();
        let mut begin = vec![0; MAGIC.len()];
        if file.read_exact(&mut begin).is_err() || begin != MAGIC {
            return Err(BackupError::NotOurs(path.to_owned()));
        }
        let mut line = Vec::new();
        let mut reader = BufReader::new(&file);
        io::BufRead::read_until(&mut (&mut reader).take(HEADER_LEN_MAX), b'\n', &mut line)
            .map_err(failed())?;
        let begin = MAGIC.len() as u64 + line.len() as u64;
        // Checked before the hash, which a newer format may have elsewhere.
        #[derive(Deserialize)]
        struct Any {
            version: u32,
            program: String,
        }
        let any: Any =
            serde_json::from_slice(&line).map_err(|_| damaged("its header cannot be read"))?;
        if any.version > VERSION {
            return Err(BackupError::Newer {
                path: path.to_owned(),
                program: any.program,
            });
        }
        let header: Header =
            serde_json::from_slice(&line).map_err(|_| damaged("its header cannot be read"))?;
        let parts = [
            begin,
            header.database_len,
            header.certificate_len,
            header.key_len,
            HASH_LEN,
        ];
        let expected = parts.into_iter().try_fold(0_u64, u64::checked_add);
        let is_bounded = header.certificate_len <= PEM_LEN_MAX && header.key_len <= PEM_LEN_MAX;
        if expected != Some(len) || !is_bounded {
            return Err(damaged("its length does not match its header"));
        }
        file.seek(SeekFrom::Start(0)).map_err(failed())?;
        let mut hashing = Hashing {
            target: io::sink(),
            hash: Sha256::new(),
        };
        io::copy(&mut (&file).take(len - HASH_LEN), &mut hashing).map_err(failed())?;
        let mut stored = [0; 32];
        file.read_exact(&mut stored).map_err(failed())?;
        if hashing.hash.finalize().as_slice() != stored {
            return Err(damaged("its content does not match its hash"));
        }
        if header.schema > schema_newest() {
            return Err(BackupError::NewerSchema {
                path: path.to_owned(),
                program: header.program,
                schema: header.schema,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            header,
            begin,
        })
    }

    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    /// Writes the database to a new file, and flushes it to the disk.
    pub(crate) fn extract(&mut self, to: &Path) -> Result<(), BackupError> {
        self.file
            .seek(SeekFrom::Start(self.begin))
            .map_err(io_error("read", &self.path))?;
        let put = |from: &File, len: u64| -> io::Result<()> {
            let mut target = files::create_new(to)?;
            io::copy(&mut from.take(len), &mut target)?;
            target.sync_all()
        };
        put(&self.file, self.header.database_len).map_err(io_error("write", to))
    }

    /// The certificate and the key, if the backup has them.
    pub(crate) fn pair(&mut self) -> Result<Option<PemPair>, BackupError> {
        if self.header.key_len == 0 {
            return Ok(None);
        }
        let failed = || io_error("read", &self.path);
        self.file
            .seek(SeekFrom::Start(self.begin + self.header.database_len))
            .map_err(failed())?;
        let read = |len: u64| {
            let mut bytes = Vec::new();
            (&self.file)
                .take(len)
                .read_to_end(&mut bytes)
                .map(|_| bytes)
        };
        let certificate = read(self.header.certificate_len).map_err(failed())?;
        let key = Zeroizing::new(read(self.header.key_len).map_err(failed())?);
        Ok(Some(PemPair { certificate, key }))
    }
}

/// Reads a certificate and its key.
pub(crate) fn read_pair(certificate: &Path, key: &Path) -> Result<PemPair, BackupError> {
    let read = |path: &Path| files::read(path, PEM_LEN_MAX).map_err(io_error("read", path));
    Ok(PemPair {
        certificate: read(certificate)?,
        key: Zeroizing::new(read(key)?),
    })
}

/// When the last backup was made, in seconds since 1970, according to the notes in this folder.
pub(crate) fn last_backup(folder: &Path) -> Option<i64> {
    noted(folder, LAST)
}

/// When the last backup with the TLS key was made, in seconds since 1970, according to the notes in
/// this folder.
pub(crate) fn last_with_key(folder: &Path) -> Option<i64> {
    noted(folder, LAST_WITH_KEY)
}

/// Removes the note about a backup with the TLS key, because the key was replaced.
pub(crate) fn forget_key_copy(folder: &Path) {
    let _ = fs::remove_file(folder.join(LAST_WITH_KEY));
}

/// How many accounts the last backup holds, according to the notes in this folder.
pub(crate) fn last_accounts(folder: &Path) -> Option<u64> {
    note(folder, LAST)?.lines().nth(1)?.trim().parse().ok()
}

fn noted(folder: &Path, name: &str) -> Option<i64> {
    note(folder, name)?.lines().next()?.trim().parse().ok()
}

fn note(folder: &Path, name: &str) -> Option<String> {
    let mut text = String::new();
    files::open(&folder.join(name))
        .ok()?
        .take(64)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

/// Notes when the last backup was made, and how many accounts it holds.
pub(crate) fn note_last(folder: &Path, at: i64, accounts: u64, has_key: bool) -> io::Result<()> {
    for name in [Some(LAST), has_key.then_some(LAST_WITH_KEY)]
        .into_iter()
        .flatten()
    {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        writeln!(file, "{at}\n{accounts}")?;
        give_to_owner_of(folder, file.as_file())?;
        file.persist(folder.join(name))
            .map_err(|error| error.error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
