//! What ties a vault to a folder in which each device keeps a copy. It lives inside the encrypted
//! vault file.

use std::collections::BTreeSet;

use super::delta::Delta;
use super::seen::SeenChanges;
use crate::crypto::sha256;
use crate::secret::Passphrase;

/// The most passphrases of other copies that are remembered.
pub const PASSPHRASES_MAX: usize = 64;
/// The most copies that are remembered as merged; more than these are merged again each time.
pub const MERGED_MAX: usize = 1024;

/// A shared folder, and what this device has done there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedFolder {
    /// The folder's absolute path.
    pub path: String,
    /// The name of this device's copy, without `.pmdb`.
    pub host_id: String,
    /// Of copies that are not under the vault's own passphrase.
    pub passphrases: Vec<Passphrase>,
    /// The copies that were merged as they are.
    pub merged: BTreeSet<CopyId>,
    /// This device's copy, as it was written last.
    pub own: Option<OwnCopy>,
    /// What is in it.
    pub given: SeenChanges,
    /// What the last sync that brought or took anything did.
    pub last: Option<Delta>,
}

/// A copy in a certain state: 16 bytes of the SHA-256 of its name and content.
pub type CopyId = [u8; 16];

/// This device's copy, as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnCopy {
    /// The SHA-256 of what was sealed, and of the passphrase that it was sealed with.
    pub content: [u8; 32],
    /// The SHA-256 of the file.
    pub file: [u8; 32],
}

impl OwnCopy {
    /// A copy with this [content](SharedFolder::content_hash) that is this file.
    pub fn new(content: [u8; 32], file: &[u8]) -> Self {
        Self {
            content,
            file: sha256(file),
        }
    }

    /// Whether it is this file.
    pub fn is_file(&self, file: &[u8]) -> bool {
        self.file == sha256(file)
    }
}

impl SharedFolder {
    /// A folder in which nothing was done yet.
    pub fn new(path: String, host_id: String) -> Self {
        let (passphrases, merged, given) = (Vec::new(), BTreeSet::new(), SeenChanges::new());
        Self {
            path,
            host_id,
            passphrases,
            merged,
            own: None,
            given,
            last: None,
        }
    }

    /// Identifies one version of a copy.
    pub fn copy_id(name: &[u8], file: &[u8]) -> CopyId {
        let hash = sha256(&[&sha256(name)[..], &sha256(file)].concat());
        let (id, _) = hash.split_first_chunk().expect("32 bytes have 16 in front");
        *id
    }

    /// What [`OwnCopy::content`] is of this content under this passphrase.
    pub fn content_hash(content: &[u8], passphrase: &Passphrase) -> [u8; 32] {
        sha256(&[sha256(passphrase.as_bytes()), sha256(content)].concat())
    }

    /// One folder out of what two programs made of `base`, each on its own; `theirs` was stored
    /// first.
    pub fn merge(base: Option<&Self>, ours: Option<Self>, theirs: Option<Self>) -> Option<Self> {
        let place = |folder: &Self| (folder.path.clone(), folder.host_id.clone());
        match (ours, theirs) {
            (Some(ours), Some(mut theirs)) if place(&ours) == place(&theirs) => {
                for passphrase in ours.passphrases {
                    theirs.remember(passphrase);
                }
                // What either merged is in the vault that both are merged into.
                theirs.merged.extend(ours.merged);
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

    /// Remembers a passphrase, the oldest one no more if there are too many.
    pub fn remember(&mut self, passphrase: Passphrase) {
        if !self.passphrases.contains(&passphrase) {
            self.passphrases.push(passphrase);
            if self.passphrases.len() > PASSPHRASES_MAX {
                self.passphrases.remove(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_programs_did_is_all_remembered_and_who_leaves_has_left() {
        let base = SharedFolder::new("/cloud".to_owned(), "laptop".to_owned());
        let mut ours = base.clone();
        ours.remember(Passphrase::from("one".to_owned()));
        ours.merged.insert(SharedFolder::copy_id(b"a", b"1"));
        let mut theirs = base.clone();
        theirs.remember(Passphrase::from("two".to_owned()));
        theirs.own = Some(OwnCopy::new(
            SharedFolder::content_hash(b"x", &Passphrase::from("p".to_owned())),
            b"y",
        ));
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
    fn a_mark_tells_names_and_contents_apart() {
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
