//! The records of a vault, and the order in which people see them.

use std::any::Any;
use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, OnceLock};

use super::{Record, RecordId, Text};

/// Which records people see, in which order and under which paths.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) live: Vec<Shown>,
    /// Places in the order of the ids.
    pub(crate) deleted: Vec<usize>,
}

/// A live record in its order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The place of the record in the order of the ids.
    pub(crate) place: usize,
    /// Its path, if another record keeps the one that it has in its changes.
    pub(crate) renamed: Option<Text>,
}

/// What somebody computed from the records.
type Derived = Arc<dyn Any + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// Records by id. A clone shares them until one of the two may change one, and whoever may do so
/// forgets what was computed from them.
#[derive(Clone, Default)]
pub(crate) struct RecordMap {
    map: Arc<BTreeMap<RecordId, Record>>,
    order: OnceLock<Arc<Order>>,
    derived: OnceLock<Derived>,
}

impl RecordMap {
    /// The order of these records, made once until they change.
    pub(crate) fn order(&self, make: impl FnOnce(&BTreeMap<RecordId, Record>) -> Order) -> &Order {
        self.order.get_or_init(|| Arc::new(make(&self.map)))
    }

    /// Whether the order was made since the records changed.
    pub(crate) fn has_order(&self) -> bool {
        self.order.get().is_some()
    }
}

impl RecordMap {
    /// What `make` computes from the records, made once until they change. Of several types the
    /// first is kept.
    pub(crate) fn derived<T>(&self, make: impl Fn() -> T) -> Arc<T>
    where
        T: Any + Send + Sync + UnwindSafe + RefUnwindSafe,
    {
        let kept = Arc::clone(self.derived.get_or_init(|| Arc::new(make())));
        let kept: Arc<dyn Any + Send + Sync> = kept;
        kept.downcast().unwrap_or_else(|_| Arc::new(make()))
    }
}

impl Deref for RecordMap {
    type Target = BTreeMap<RecordId, Record>;

    fn deref(&self) -> &Self::Target {
        &self.map
    }
}

impl DerefMut for RecordMap {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.order.take();
        self.derived.take();
        Arc::make_mut(&mut self.map)
    }
}

impl PartialEq for RecordMap {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.map, &other.map) || self.map == other.map
    }
}

impl Eq for RecordMap {}

impl fmt::Debug for RecordMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map.fmt(f)
    }
}

impl FromIterator<(RecordId, Record)> for RecordMap {
    fn from_iter<I: IntoIterator<Item = (RecordId, Record)>>(records: I) -> Self {
        Self {
            map: Arc::new(records.into_iter().collect()),
            ..Self::default()
        }
    }
}

impl IntoIterator for RecordMap {
    type Item = (RecordId, Record);
    type IntoIter = btree_map::IntoIter<RecordId, Record>;

    fn into_iter(self) -> Self::IntoIter {
        Arc::unwrap_or_clone(self.map).into_iter()
    }
}

impl<'a> IntoIterator for &'a RecordMap {
    type Item = (&'a RecordId, &'a Record);
    type IntoIter = btree_map::Iter<'a, RecordId, Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.map.iter()
    }
}

impl<'a> IntoIterator for &'a mut RecordMap {
    type Item = (&'a RecordId, &'a mut Record);
    type IntoIter = btree_map::IterMut<'a, RecordId, Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.deref_mut().iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Vault;

    #[test]
    fn a_clone_shares_the_records_until_one_changes() {
        let mut vault = Vault::new();
        vault.create_record("A".into(), "mail", 100).unwrap();
        let mut clone = vault.clone();
        assert!(Arc::ptr_eq(&vault.records.map, &clone.records.map));
        clone.create_record("B".into(), "shop", 200).unwrap();
        assert_eq!((vault.records.len(), clone.records.len()), (1, 2));
        assert_ne!(vault, clone);
    }
}
