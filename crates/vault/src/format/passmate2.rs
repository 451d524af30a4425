//! A copy of a vault for the original program, Passmate 2.
//!
//! Passmate 2 refuses a file in which two changes of one field have the same time, or which has an
//! unknown meta field. It locks its user out if two records have the same path. The copy therefore
//! leaves out what Passmate 2 would refuse, and adds changes for what the view resolves, so that
//! both programs show the same.

use std::fmt;

use zeroize::Zeroizing;

use super::error::EncodeError;
use super::{Purpose, encode_version_2};
use crate::compat::{Original, Ties, shown_paths};
use crate::record::Vault;
use crate::sync::roll_call::RollCall;

/// A vault as a Passmate 2 document.
pub struct Passmate2 {
    /// The document, padded with blanks to a multiple of 4096 bytes.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// The number of changes that were left out, because Passmate 2 would refuse the file.
    pub omitted: usize,
}

/// Without the document.
impl fmt::Debug for Passmate2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passmate2")
            .field("omitted", &self.omitted)
            .finish_non_exhaustive()
    }
}

/// Writes a vault for the original program, as an export.
///
/// Leaves out all meta fields but the path, and records with an empty id. Of several changes of one
/// field with the same time, only the one that people see is kept. A value of several lines becomes
/// one text. A record that clashes, or lives in spite of a deletion, gets a further change of its
/// path, a second after its last one; this change is the same on every device. Changes with times
/// beyond the year 9999 are kept, although Passmate 2 lets them decide.
pub fn encode_passmate2(vault: &Vault, purpose: Purpose) -> Result<Passmate2, EncodeError> {
    let mut copy = vault.loadable_by(Original::Passmate2, Ties::Winner);
    // Of a purged change there is nothing to leave out.
    let written = vault.change_count() - vault.purged_count();
    let omitted = written - copy.change_count();
    for (id, change) in shown_paths(vault) {
        if copy.record(&id).is_some() {
            copy.insert(&id, change);
        }
    }
    Ok(Passmate2 {
        plaintext: encode_version_2(&copy, purpose, &RollCall::new())?,
        omitted,
    })
}

/// Writes a vault as a device's copy in a shared folder: the [part](Vault::part_for) that Passmate
/// 2 loads. The caller has merged the [resolution](Vault::resolution) into the vault before.
pub fn encode_sync_copy(vault: &Vault) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    let part = vault.part_for(Original::Passmate2);
    encode_version_2(&part, Purpose::SyncCopy, &RollCall::new())
}
