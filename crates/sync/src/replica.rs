//! The vault of this device, as a sync sees it.

use passmate_vault::merge::MergeSummary;
use passmate_vault::{Account, Baseline, DeviceText, Vault};

use crate::admit::{Admitted, Entry};
use crate::error::SaveError;

/// The unlocked vault of this device.
pub trait Replica {
    /// Its records.
    fn vault(&self) -> &Vault;

    /// This device's clock, in seconds since 1970.
    fn now(&self) -> i64;

    /// The name by which people know this device.
    fn device_name(&self) -> DeviceText;

    /// The account that the vault is tied to.
    fn account(&self) -> Option<&Account>;

    /// Ties the vault to another account, or to none. Other programs see it after the next
    /// [`save`](Self::save).
    fn set_account(&mut self, account: Option<Account>);

    /// From where alterations by others are counted; `None` if there were none yet.
    fn baseline(&self) -> Option<&Baseline>;

    /// What changes from outside enter: see [`admit`](crate::admit::admit).
    fn entry(&self) -> Entry<'_> {
        Entry {
            vault: self.vault(),
            baseline: self.baseline(),
            now: self.now(),
        }
    }

    /// Adds changes from outside, and takes their baseline: see [`Admitted::merge_into`].
    fn merge(&mut self, admitted: &Admitted) -> MergeSummary;

    /// Makes the edits that let the original programs take part: see
    /// [`Vault::resolution`].
    fn resolve(&mut self);

    /// Truncates the history to the changes since a time, in seconds since 1970, because a person
    /// asked for it on this device.
    fn truncate(&mut self, since: i64);

    /// Makes all changes durable, together with what other programs saved meanwhile: afterwards
    /// [`vault`](Self::vault) and [`account`](Self::account) are what is stored. Writes
    /// nothing if nothing changed.
    ///
    /// # Errors
    /// The vault could not be saved; it may be as after the last save then.
    fn save(&mut self) -> Result<(), SaveError>;

    /// Like [`save`](Self::save), but what is saved belongs to the previous save: the copy that is
    /// kept is from before both.
    ///
    /// # Errors
    /// The vault could not be saved; it may be as after the last save then.
    fn save_more(&mut self) -> Result<(), SaveError>;
}
