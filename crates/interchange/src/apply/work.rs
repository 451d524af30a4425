//! A limit for the work of comparing items with records.

use passmate_vault::record::Record;

use crate::read::item::Item;

/// How many changes and fields are compared in one pass over a file. It takes some seconds.
const COMPARED_MAX: usize = 30_000_000;

/// Counts what is compared. A file of ordinary size is far from the limit; behind it, an item is no
/// record that the vault has.
#[derive(Default)]
pub(super) struct Work {
    compared: usize,
}

impl Work {
    /// Counts a comparison; false if there were too many.
    pub(super) fn compare(&mut self, record: &Record, item: &Item) -> bool {
        let more = record.changes().len() + item.fields.len();
        self.compared = self.compared.saturating_add(more);
        self.compared <= COMPARED_MAX
    }
}
