//! Connects a vault to a shared folder, and disconnects it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use getrandom::SysRng;
use passmate_vault::format::container::Params;
use passmate_vault::format::folder_copy::number_of;
use passmate_vault::sync::shared_folder::KEY_COPY_SUFFIX;
use passmate_vault::{FolderKey, SharedFolder};
use rand_core::UnwrapErr;
use serde::{Deserialize, Serialize};

use super::read::{Names, names};
use super::{FolderError, own_path};
use crate::session::Session;

/// How many copies are compared with a key that is typed.
const COMPARED_MAX: usize = 100;

/// How the copies in a folder are encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sealing {
    /// As those that lie there: a person must give the key if they are under one. An empty folder
    /// gets a new key.
    #[default]
    AsFound,
    /// Under a new key.
    NewKey,
    /// Under the key that another device made.
    Key(FolderKey),
    /// Under passphrases, so that an original program can take part.
    Passphrases,
}

/// Connects a vault to a folder, or to the new place of a folder that was moved; nothing is read or
/// written there yet. `host` is this device's
/// name; `digits` distinguishes two devices of one name.
///
/// # Errors
/// See [`FolderError`], or the vault could not be saved.
pub fn set_up_folder(
    session: &mut Session,
    folder: &Path,
    host: &str,
    digits: u32,
    sealing: &Sealing,
) -> Result<(), FolderError> {
    let before = session.folder().cloned();
    // A folder that is not there any more was moved: its key and this device's name go along.
    let moved =
        before.filter(|before| *sealing == Sealing::AsFound && !Path::new(&before.path).exists());
    if let (Some(folder), None) = (session.folder(), &moved) {
        return Err(FolderError::AlreadySetUp(folder.path.clone()));
    }
    let failed = |error| FolderError::Io {
        path: folder.to_owned(),
        error,
    };
    let path = folder.canonicalize().map_err(failed)?;
    if !path.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    let text = path
        .to_str()
        .ok_or_else(|| FolderError::NotText(path.clone()))?;
    if let Some(moved) = moved {
        session.set_folder(Some(SharedFolder {
            path: text.to_owned(),
            ..moved
        }));
        session.save()?;
        return Ok(());
    }
    // The original program on this device uses the bare name, and a host name may hold any
    // character.
    let host: String = host
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
        .take(40)
        .collect();
    let host = if host.is_empty() {
        "device".to_owned()
    } else {
        host
    };
    let folder = SharedFolder::new(
        text.to_owned(),
        format!("{host}-{:06x}", digits & 0xFF_FFFF),
    );
    let folder = match key_of(session, &path, sealing)? {
        Some(key) => folder.with_key(key),
        None => folder,
    };
    check_price(&folder, session.params())?;
    session.set_folder(Some(folder));
    session.save()?;
    Ok(())
}

/// Checks that a vault whose key derivation costs this much may take part: copies under passphrases
/// that cost less than it are not opened, and all programs write them at the standard price.
///
/// # Errors
/// [`FolderError::Dearer`].
pub(crate) fn check_price(folder: &SharedFolder, price: Params) -> Result<(), FolderError> {
    let is_dearer = price.work() > Params::STANDARD.work();
    match folder.key {
        None if is_dearer => Err(FolderError::Dearer(folder.path.clone())),
        _ => Ok(()),
    }
}

/// The key of a folder; `None` if the copies are under passphrases.
fn key_of(
    session: &Session,
    path: &Path,
    sealing: &Sealing,
) -> Result<Option<FolderKey>, FolderError> {
    let Names { names, others } = names(path, KEY_COPY_SUFFIX, session.now())?;
    match sealing {
        Sealing::AsFound if !names.is_empty() => Err(FolderError::KeyNeeded(path.to_owned())),
        Sealing::AsFound if others > 0 => Ok(None),
        Sealing::AsFound | Sealing::NewKey => Ok(Some(FolderKey::make(&mut UnwrapErr(SysRng)))),
        Sealing::Key(key) => {
            let copies = names.iter().take(COMPARED_MAX);
            let files = copies.filter_map(|name| session.read_copy(&path.join(name)).ok());
            let numbers: Vec<_> = files.filter_map(|file| number_of(&file).ok()).collect();
            if !numbers.is_empty() && !numbers.contains(&key.number()) {
                return Err(FolderError::WrongKey(path.to_owned()));
            }
            Ok(Some(key.clone()))
        }
        Sealing::Passphrases => Ok(None),
    }
}

/// Disconnects the folder; with `delete` this device's copy in it is removed too.
///
/// # Errors
/// See [`FolderError`]; nothing changed, or only the copy is gone.
pub fn leave_folder(session: &mut Session, delete: bool) -> Result<(), FolderError> {
    let folder = session.folder().cloned().ok_or(FolderError::NotSetUp)?;
    if delete {
        let path = PathBuf::from(&folder.path);
        let removed = fs::remove_file(own_path(&folder));
        match removed {
            // Without the folder, for example on a disk that is not mounted, nothing was deleted.
            Err(error) if error.kind() != io::ErrorKind::NotFound || !path.is_dir() => {
                return Err(FolderError::Write { path, error });
            }
            _ => {}
        }
    }
    session.set_folder(None);
    session.save()?;
    Ok(())
}

#[cfg(test)]
mod tests;
