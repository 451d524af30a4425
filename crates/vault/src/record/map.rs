//! The records of a vault, and the order in which people see them.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use super::{Record, RecordId};
use crate::view::Order;

/// Records by id. Whoever may change one forgets the order.
#[derive(Clone, Default)]
pub(crate) struct RecordMap {
    map: BTreeMap<RecordId, Record>,
    order: OnceLock<Arc<Order>>,
}

impl RecordMap {
    /// The order of these records, computed once until they change.
    pub(crate) fn order(&self) -> &Order {
        self.order.get_or_init(|| Arc::new(Order::of(&self.map)))
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
        &mut self.map
    }
}

impl PartialEq for RecordMap {
    fn eq(&self, other: &Self) -> bool {
        self.map == other.map
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
            map: records.into_iter().collect(),
            order: OnceLock::new(),
        }
    }
}

impl IntoIterator for RecordMap {
    type Item = (RecordId, Record);
    type IntoIter = btree_map::IntoIter<RecordId, Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.map.into_iter()
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
