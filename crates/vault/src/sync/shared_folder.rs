//! A shared folder in which each device keeps a copy of the vault. What a device remembers of the
//! folder is stored inside its encrypted vault file.

use std::collections::BTreeSet;

use super::delta::Delta;
use super::seen::SeenChanges;
use crate::compat::Original;
use crate::crypto::sha256;
use crate::folder_key::FolderKey;
use crate::record::Vault;
use crate::secret::Passphrase;

/// The suffix of the names of copies under a folder key.
pub const KEY_COPY_SUFFIX: &str = "pmcopy";
/// The suffix of the names of copies under passphrases.
pub const PASSPHRASE_COPY_SUFFIX: &str = "pmdb";
/// The most passphrases of other copies that are remembered.
pub const PASSPHRASES_MAX: usize = 64;
/// The most copies that are remembered as merged. Further copies are merged again each time.
pub const MERGED_MAX: usize = 1024;
/// The most attempts to open a copy that are remembered. Further ones are made again each time.
pub const TRIED_MAX: usize = 4096;

/// A shared folder, and what this device did there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedFolder {
    /// The folder's absolute path.
    pub path: String,
    /// The name of this device's copy, without its suffix.
    pub host_id: String,
    /// The key of the copies; `None` if each is under the passphrase of its device, as the original
    /// program needs it.
    pub key: Option<FolderKey>,
    /// Passphrases of copies that have another one than the vault; none if there is a key.
    pub passphrases: Vec<Passphrase>,
    /// Copies that were merged and have not changed since.
    pub merged: BTreeSet<CopyId>,
    /// Attempts to open a copy that failed: see [`SharedFolder::attempt_id`].
    pub tried: BTreeSet<CopyId>,
    /// This device's copy, as it last wrote it.
    pub own: Option<OwnCopy>,
    /// The changes in this device's copy.
    pub given: SeenChanges,
    /// The last sync that received or sent changes.
    pub last: Option<Delta>,
}

/// Identifies one version of a copy, or an attempt to open it: 16 bytes of a SHA-256.
pub type CopyId = [u8; 16];

/// The copy that this device wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnCopy {
    /// A SHA-256 over the plaintext and the secret: see [`SharedFolder::content_hash`].
    pub content: [u8; 32],
    /// The SHA-256 of the file.
    pub file: [u8; 32],
}

impl OwnCopy {
    /// A copy with this [content](SharedFolder::content_hash) and these bytes.
    pub fn new(content: [u8; 32], file: &[u8]) -> Self {
        Self {
            content,
            file: sha256(file),
        }
    }

    /// Whether a file is unchanged since this device wrote it.
    pub fn is_file(&self, file: &[u8]) -> bool {
        self.file == sha256(file)
    }
}

impl SharedFolder {
    /// A folder without a key, in which this device has done nothing yet.
    pub fn new(path: String, host_id: String) -> Self {
        let (passphrases, merged, given) = (Vec::new(), BTreeSet::new(), SeenChanges::new());
        Self {
            path,
            host_id,
            key: None,
            passphrases,
            merged,
            tried: BTreeSet::new(),
            own: None,
            given,
            last: None,
        }
    }

    /// The same folder with a key.
    #[must_use]
    pub fn with_key(self, key: FolderKey) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }

    /// The suffix of the names of the copies.
    pub fn suffix(&self) -> &'static str {
        match self.key {
            Some(_) => KEY_COPY_SUFFIX,
            None => PASSPHRASE_COPY_SUFFIX,
        }
    }

    /// The file name of this device's copy.
    pub fn copy_name(&self) -> String {
        format!("{}.{}", self.host_id, self.suffix())
    }

    /// The part of a vault that a copy holds: all of it, or what the original program can read. The
    /// start of a truncated history does not pass through a folder.
    pub fn part_of(&self, vault: &Vault) -> Vault {
        match self.key {
            Some(_) => vault.clone().with_whole_history(),
            None => vault.part_for(Original::Passmate2),
        }
    }

    /// Identifies one version of a copy.
    pub fn copy_id(name: &[u8], file: &[u8]) -> CopyId {
        head_of(sha256(&[&sha256(name)[..], &sha256(file)].concat()))
    }

    /// Identifies an attempt to open one version of a copy: with this passphrase, or at all.
    pub fn attempt_id(copy: &CopyId, passphrase: Option<&Passphrase>) -> CopyId {
        let secret = passphrase.map_or([0; 32], |passphrase| sha256(passphrase.as_bytes()));
        head_of(sha256(&[&copy[..], &secret].concat()))
    }

    /// The value of [`OwnCopy::content`] for a plaintext and the bytes of a passphrase or key.
    pub fn content_hash(content: &[u8], secret: &[u8]) -> [u8; 32] {
        sha256(&[sha256(secret), sha256(content)].concat())
    }

    /// Merges the folders that two programs stored independently, both starting from `base`.
    /// `theirs` was stored first.
    pub fn merge(base: Option<&Self>, ours: Option<Self>, theirs: Option<Self>) -> Option<Self> {
        let place = |folder: &Self| {
            let Self {
                path, host_id, key, ..
            } = folder;
            (path.clone(), host_id.clone(), key.clone())
        };
        match (ours, theirs) {
            (Some(ours), Some(mut theirs)) if place(&ours) == place(&theirs) => {
                for passphrase in ours.passphrases {
                    theirs.remember(passphrase);
                }
                // The vaults of both are merged too, so the copies that either merged are in the
                // result.
                theirs.merged.extend(ours.merged);
                theirs.tried.extend(ours.tried);
                if base.is_some_and(|base| base.own == theirs.own) {
                    (theirs.own, theirs.given) = (ours.own, ours.given);
                }
                let time = |delta: &Option<Delta>| delta.as_ref().map(|delta| delta.time);
                if time(&ours.last) > time(&theirs.last) {
                    theirs.last = ours.last;
                }
                Some(theirs)
            }
            (ours, theirs) => {
                let is_as_before = base.map(place) == theirs.as_ref().map(place);
                if is_as_before { ours } else { theirs }
            }
        }
    }

    /// Remembers a passphrase. Forgets the oldest one if there are too many.
    pub fn remember(&mut self, passphrase: Passphrase) {
        if !self.passphrases.contains(&passphrase) {
            self.passphrases.push(passphrase);
            if self.passphrases.len() > PASSPHRASES_MAX {
                self.passphrases.remove(0);
            }
        }
    }
}

fn head_of(hash: [u8; 32]) -> CopyId {
    let (id, _) = hash
        .split_first_chunk()
        .expect("32 bytes have 16 at their head");
    *id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_two_programs_is_united_and_leaving_wins() {
        let base = SharedFolder::new("/cloud".to_owned(), "laptop".to_owned());
        let mut ours = base.clone();
        ours.remember(Passphrase::from("one".to_owned()));
        ours.merged.insert(SharedFolder::copy_id(b"a", b"1"));
        let mut theirs = base.clone();
        theirs.remember(Passphrase::from("two".to_owned()));
        theirs.own = Some(OwnCopy::new(SharedFolder::content_hash(b"x", b"p"), b"y"));
        let merged =
            SharedFolder::merge(Some(&base), Some(ours.clone()), Some(theirs.clone())).unwrap();
        assert_eq!(
            (merged.passphrases.len(), merged.merged.len(), merged.own),
            (2, 1, theirs.own)
        );
        assert_eq!(
            SharedFolder::merge(Some(&base), None, Some(base.clone())),
            None
        );
        assert_eq!(
            SharedFolder::merge(Some(&base), Some(base.clone()), None),
            None
        );
        let other = SharedFolder::new("/other".to_owned(), "laptop".to_owned());
        assert_eq!(
            SharedFolder::merge(Some(&base), Some(ours), Some(other.clone())),
            Some(other)
        );
    }

    #[test]
    fn a_copy_id_tells_names_and_contents_apart() {
        let ids = [
            (&b"ab"[..], &b"c"[..]),
            (b"a", b"bc"),
            (b"abc", b""),
            (b"", b"abc"),
        ];
        let distinct: BTreeSet<_> = ids
            .iter()
            .map(|(name, file)| SharedFolder::copy_id(name, file))
            .collect();
        assert_eq!(distinct.len(), 4);
    }
}
