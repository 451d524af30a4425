//! A copy of a vault for the original program, which refuses whole files for things that happen.
//!
//! It does not load a file in which two changes of one field have one time, or with a meta field
//! that it does not know, and it locks its user out if two records have one path. So the copy
//! leaves out what it would refuse, and writes down what our view resolves, so that both show the
//! same.

use zeroize::Zeroizing;

use super::error::EncodeError;
use super::{Purpose, encode_version_2};
use crate::compat::{Original, Ties, shown_paths};
use crate::record::Vault;

/// A vault as a Passmate 2 document.
#[derive(Debug)]
pub struct Passmate2 {
    /// The document, padded with blanks to a multiple of 4096 bytes.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// The number of changes that are left out because the original program would refuse the file.
    pub omitted: usize,
}

/// Writes a vault for the original program, as an export.
///
/// Left out are meta fields but the path, records whose id is empty, and of changes of one field
/// with one time all but the one that is seen. The lines of a value of several lines are joined. A
/// record that shows under a path of its own making or lives in spite of a deletion gets one change
/// of its path more, a second after its last one; it is the same each time and on each device.
/// Times beyond the year 9999 are kept: the original program lets them decide.
pub fn encode_passmate2(vault: &Vault, purpose: Purpose) -> Result<Passmate2, EncodeError> {
    let mut copy = vault.loadable_by(Original::Passmate2, Ties::Winner);
    let omitted = vault.change_count() - copy.change_count();
    for (id, change) in shown_paths(vault) {
        if copy.record(&id).is_some() {
            copy.insert(&id, change);
        }
    }
    Ok(Passmate2 {
        plaintext: encode_version_2(&copy, purpose)?,
        omitted,
    })
}

/// Writes a vault as a device's copy in a shared folder: the [part](Vault::part_for) of it that the
/// original program loads. What had to be [resolved](Vault::resolution) is resolved already.
pub fn encode_sync_copy(vault: &Vault) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    encode_version_2(&vault.part_for(Original::Passmate2), Purpose::SyncCopy)
}
