//! Reads the copies of other devices. Whoever can write to the folder decides what lies there, so
//! the rules are:
//!  - a symbolic link is not followed;
//!  - in a folder with a key, only copies under that key are opened;
//!  - a copy whose key is cheaper to derive than that of this device's copy is not opened: its
//!    writer could try guesses at the passphrase on this device, many in each sync. One that costs
//!    more than any program asks for is not opened either;
//!  - an attempt that failed is remembered, and made again only if the copy changes;
//!  - one sync derives and reads no more than its [`Budget`]. The next one goes on.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;

use passmate_vault::format::container::{ContainerError, Params, container_params, open_container};
use passmate_vault::format::folder_copy;
use passmate_vault::format::{Version, decode_btoken, decode_vault_file};
use passmate_vault::sync::shared_folder::{
    CopyId, KEY_COPY_SUFFIX, MERGED_MAX, PASSPHRASE_COPY_SUFFIX, TRIED_MAX,
};
use passmate_vault::{FolderKey, Passphrase, SharedFolder, Vault};

use super::{FolderError, Skipped, Why, own_path};
use crate::session::Session;

/// Entries of a folder that are examined, at most.
pub(super) const ENTRIES_MAX: usize = 100_000;
/// Copies that are read, at most.
pub(super) const COPIES_MAX: usize = 10_000;
/// The most work and memory that the key derivation of a copy may take, as a multiple of
/// [`Params::STANDARD`], which every program writes.
const DERIVATION_MAX: u64 = 4;

/// What the copies may cost in one sync.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Work of key derivations: see [`Params::work`].
    pub(super) work: u64,
    /// Bytes that are read. A file that begins within the budget is read to its end.
    pub(super) bytes: u64,
}

impl Budget {
    /// The budget of a sync: 32 standard derivations, about ten seconds, and 2 GiB.
    pub(super) fn of_sync() -> Self {
        Self {
            work: 32 * Params::STANDARD.work(),
            bytes: 2 << 30,
        }
    }

    fn pay_work(&mut self, work: u64) -> Result<(), Why> {
        self.work = self.work.checked_sub(work).ok_or(Why::Postponed)?;
        Ok(())
    }
}

/// The content of the copies in a folder.
#[derive(Default)]
pub(super) struct Found {
    /// The union of the copies that were read.
    pub(super) union: Vault,
    /// Copies that need not be read again until they change.
    pub(super) merged: BTreeSet<CopyId>,
    /// Attempts that need not be made again until the copy changes.
    pub(super) tried: BTreeSet<CopyId>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) conflicts: Vec<String>,
    /// The number of copies of the other kind: under passphrases in a folder with a key, and under
    /// a key in one without.
    pub(super) others: usize,
    pub(super) good_passphrases: Vec<Passphrase>,
}

impl Found {
    fn skip(&mut self, name: &OsStr, why: Why) {
        self.skipped.push(Skipped {
            name: name.to_string_lossy().into_owned(),
            why,
        });
    }
}

/// Reads the copies. `typed` are passphrases that are tried beside the known ones.
pub(super) fn read_copies(
    session: &Session,
    folder: &SharedFolder,
    typed: &[Passphrase],
    mut budget: Budget,
) -> Result<Found, FolderError> {
    let own = own_path(folder);
    let Names { names, others } = names(Path::new(&folder.path), folder.suffix(), session.now())?;
    let mut found = Found {
        others,
        ..Found::default()
    };
    let keys = Keys {
        known: session.with_passphrase(|own| {
            std::iter::once(own)
                .chain(&folder.passphrases)
                .cloned()
                .collect()
        }),
        typed,
        floor: session.params(),
    };
    let mut is_all_read = true;
    for name in names {
        let path = Path::new(&folder.path).join(&name);
        if budget.bytes == 0 {
            found.skip(&name, Why::Postponed);
            is_all_read = false;
            continue;
        }
        let file = match session.read_copy(&path) {
            Ok(file) => file,
            // It was removed after the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                found.skip(&name, Why::Unreadable(error.to_string()));
                continue;
            }
        };
        let len = u64::try_from(file.len()).unwrap_or(u64::MAX);
        budget.bytes = budget.bytes.saturating_sub(len);
        // A cloned device writes a copy of the same name, so compare the content too.
        if path == own && folder.own.is_some_and(|own| own.is_file(&file)) {
            continue;
        }
        let id = SharedFolder::copy_id(name.as_encoded_bytes(), &file);
        if folder.merged.contains(&id) {
            found.merged.insert(id);
            continue;
        }
        let opened = match &folder.key {
            Some(key) => open_with_key(&file, key).map(|vault| (vault, None)),
            None => {
                let mut memory = Memory::of(folder, id, &keys);
                let opened = keys.open(&file, &mut memory, &mut budget);
                let room = TRIED_MAX.saturating_sub(found.tried.len());
                found.tried.extend(memory.attempts.into_iter().take(room));
                opened
            }
        };
        match opened {
            Ok((vault, passphrase)) => {
                found.union.merge(&vault);
                if found.merged.len() < MERGED_MAX {
                    found.merged.insert(id);
                }
                found.good_passphrases.extend(passphrase);
                let name = name.to_string_lossy();
                // As Dropbox, Nextcloud and Syncthing name them.
                if name.to_lowercase().contains("conflict") {
                    found.conflicts.push(name.into_owned());
                }
            }
            Err(why) => found.skip(&name, why),
        }
    }
    if !is_all_read {
        // Whether what is remembered is still there is not known.
        let room = MERGED_MAX.saturating_sub(found.merged.len());
        found.merged.extend(folder.merged.iter().take(room));
        let room = TRIED_MAX.saturating_sub(found.tried.len());
        found.tried.extend(folder.tried.iter().take(room));
    }
    found
        .skipped
        .sort_by(|one, other| one.name.cmp(&other.name));
    found.conflicts.sort();
    Ok(found)
}

fn open_with_key(file: &[u8], key: &FolderKey) -> Result<Vault, Why> {
    if file.is_empty() {
        return Err(Why::Empty);
    }
    let plaintext = folder_copy::open(file, key).map_err(Why::Copy)?;
    let btoken = decode_btoken(&plaintext).map_err(Why::NoVault)?;
    Ok(btoken.vault.with_whole_history())
}

/// What is remembered of the attempts to open one version of a copy.
struct Memory {
    copy: CopyId,
    attempts: BTreeSet<CopyId>,
}

impl Memory {
    fn of(folder: &SharedFolder, copy: CopyId, keys: &Keys<'_>) -> Self {
        let secrets = keys.known.iter().map(Some).chain([None]);
        let attempts = secrets
            .map(|secret| SharedFolder::attempt_id(&copy, secret))
            .filter(|attempt| folder.tried.contains(attempt))
            .collect();
        Self { copy, attempts }
    }

    /// Whether it did not open with this passphrase, or `None`, holds nothing of use.
    fn has(&self, passphrase: Option<&Passphrase>) -> bool {
        let attempt = SharedFolder::attempt_id(&self.copy, passphrase);
        self.attempts.contains(&attempt)
    }

    fn add(&mut self, passphrase: Option<&Passphrase>) {
        let attempt = SharedFolder::attempt_id(&self.copy, passphrase);
        self.attempts.insert(attempt);
    }
}

/// What may open a copy.
struct Keys<'a> {
    /// The vault's own passphrase, then those of other copies.
    known: Vec<Passphrase>,
    /// What a person typed now. A mistyped passphrase may be that of something else, so nothing
    /// that tells it is remembered.
    typed: &'a [Passphrase],
    /// The least that the derivation of a key must cost.
    floor: Params,
}

impl Keys<'_> {
    /// The vault in a copy, and its passphrase if that was not known.
    fn open(
        &self,
        file: &[u8],
        memory: &mut Memory,
        budget: &mut Budget,
    ) -> Result<(Vault, Option<Passphrase>), Why> {
        if file.is_empty() {
            return Err(Why::Empty);
        }
        let params = container_params(file).map_err(Why::Container)?;
        let (cost, floor) = (cost_of(params), cost_of(self.floor));
        let ceiling = cost_of(Params::STANDARD).map(|cost| DERIVATION_MAX * cost);
        if cost.iter().zip(floor).any(|(cost, floor)| *cost < floor) {
            return Err(Why::TooCheap);
        }
        if cost
            .iter()
            .zip(ceiling)
            .any(|(cost, ceiling)| *cost > ceiling)
        {
            return Err(Why::TooExpensive);
        }
        if memory.has(None) {
            return Err(Why::Useless);
        }
        let known = self.known.iter().map(|known| (known, true));
        let typed = self.typed.iter().map(|typed| (typed, false));
        for (passphrase, is_known) in known.chain(typed) {
            if is_known && memory.has(Some(passphrase)) {
                continue;
            }
            budget.pay_work(params.work())?;
            match open_container(file, passphrase) {
                Ok(plaintext) => {
                    let vault = content(&plaintext).inspect_err(|why| {
                        if !why.is_of_newer_version() {
                            memory.add(None);
                        }
                    })?;
                    return Ok((vault, (!is_known).then(|| passphrase.clone())));
                }
                Err(ContainerError::WrongPassphrase) if is_known => memory.add(Some(passphrase)),
                Err(ContainerError::WrongPassphrase) => {}
                Err(error) => {
                    if error == ContainerError::Damaged {
                        memory.add(None);
                    }
                    return Err(Why::Container(error));
                }
            }
        }
        Err(Why::Locked)
    }
}

/// The cost of a derivation: its work, and its memory.
fn cost_of(params: Params) -> [u64; 2] {
    [params.work(), params.memory_bytes()]
}

fn content(plaintext: &[u8]) -> Result<Vault, Why> {
    let document = decode_vault_file(plaintext).map_err(Why::NoVault)?;
    match document.version {
        Version::Passmate2 => Ok(document.vault),
        Version::V3 => Err(Why::NoCopy),
    }
}

/// The names of the copies in a folder.
pub(super) struct Names {
    /// With the suffix that was asked for.
    pub(super) names: Vec<OsString>,
    /// The number of those with the other suffix.
    pub(super) others: usize,
}

/// The copies' names. They begin elsewhere each time, so that a budget that is spent does not
/// always leave out the same ones.
pub(super) fn names(folder: &Path, suffix: &str, now: i64) -> Result<Names, FolderError> {
    let failed = |error| FolderError::Io {
        path: folder.to_owned(),
        error,
    };
    let (mut names, mut others) = (Vec::new(), 0);
    for (number, entry) in fs::read_dir(folder).map_err(failed)?.enumerate() {
        let name = entry.map_err(failed)?.file_name();
        match Path::new(&name).extension() {
            Some(found) if found == suffix => names.push(name),
            Some(found) if found == KEY_COPY_SUFFIX || found == PASSPHRASE_COPY_SUFFIX => {
                others += 1
            }
            _ => {}
        }
        if number >= ENTRIES_MAX || names.len() > COPIES_MAX {
            return Err(FolderError::TooMany(folder.to_owned()));
        }
    }
    names.sort();
    let turn = usize::try_from(now).unwrap_or(0) % names.len().max(1);
    names.rotate_left(turn);
    Ok(Names { names, others })
}

#[cfg(test)]
mod tests;
