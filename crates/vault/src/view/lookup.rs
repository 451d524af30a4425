//! Single records as people see them, without the view of all: only what is asked for is made.

use std::borrow::Cow;

use super::{Claim, State, ViewRecord, order_of};
use crate::record::{Order, Record, RecordId, Shown, Text, Vault};

/// The live records of a vault by their paths and ids. What it finds is what a [`View`](super::View) shows.
#[derive(Clone, Debug)]
pub struct Lookup<'a> {
    /// In the order of their ids.
    pub(super) records: Vec<(&'a RecordId, &'a Record)>,
    pub(super) order: &'a Order,
}

impl Vault {
    /// The live record shown under this path. The records are put in order only if none of them
    /// has this path in its changes.
    pub fn record_at(&self, path: &str) -> Option<ViewRecord<'_>> {
        if !self.records.has_order() {
            let claims = self
                .records
                .iter()
                .filter_map(|(id, record)| record.state().into_claim(id));
            // It keeps the path, and no other record is renamed to it.
            let first = claims.filter(|claim| *claim.path == *path).min();
            if let Some(Claim { path, revived, id }) = first {
                return Some(ViewRecord {
                    id,
                    path,
                    clash: None,
                    revived,
                    record: self.records.get(id)?,
                });
            }
        }
        self.lookup().get(path)
    }

    /// Looks up single records; [`view`](Self::view) is for all of them.
    pub fn lookup(&self) -> Lookup<'_> {
        Lookup {
            records: self.records.iter().collect(),
            order: self.records.order(order_of),
        }
    }
}

impl<'a> Lookup<'a> {
    /// The live record shown under this path.
    pub fn get(&self, path: &str) -> Option<ViewRecord<'a>> {
        let next = self.order.live.get(self.place_of(path.as_bytes()))?;
        self.show(next).filter(|record| *record.path == *path)
    }

    /// The live record of this id.
    pub fn by_id(&self, id: &RecordId) -> Option<ViewRecord<'a>> {
        let place = self.records.binary_search_by(|(other, _)| (*other).cmp(id));
        let place = place.ok()?;
        let shown = self.order.live.iter().find(|shown| shown.place == place)?;
        self.show(shown)
    }

    /// The first live record whose path has these bytes or comes after them.
    pub fn first_from(&self, path: &[u8]) -> Option<ViewRecord<'a>> {
        self.show(self.order.live.get(self.place_of(path))?)
    }

    /// How many paths come before this one.
    fn place_of(&self, path: &[u8]) -> usize {
        let is_before = |shown: &Shown| {
            let shown = self.path_of(shown);
            shown.is_some_and(|shown| shown.as_bytes() < path)
        };
        self.order.live.partition_point(is_before)
    }

    fn path_of(&self, shown: &'a Shown) -> Option<Cow<'a, Text>> {
        match &shown.renamed {
            Some(renamed) => Some(Cow::Borrowed(renamed)),
            None => self.records.get(shown.place)?.1.state().into_live_path(),
        }
    }

    pub(super) fn show(&self, shown: &Shown) -> Option<ViewRecord<'a>> {
        let (id, record) = self.records.get(shown.place)?;
        let State::Live { path, revived } = record.state() else {
            return None;
        };
        let (path, clash) = match &shown.renamed {
            Some(renamed) => (Cow::Owned(renamed.clone()), Some(path)),
            None => (path, None),
        };
        Some(ViewRecord {
            id,
            path,
            clash,
            revived,
            record,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::View;

    fn cloned((id, record): (&RecordId, &Record)) -> (RecordId, Record) {
        (id.clone(), record.clone())
    }

    fn paths_of(view: &View<'_>) -> Vec<String> {
        let records = view.records().iter();
        let paths = records.map(|record| record.path.to_string_lossy().into_owned());
        paths.collect()
    }

    #[test]
    fn each_record_of_a_view_is_found_by_its_path_and_id() {
        let mut vault = Vault::new();
        for (id, path) in [("4", "b"), ("3", "a/x"), ("2", "b"), ("1", "c"), ("0", "a")] {
            vault.create_record(id.into(), path, 1).unwrap();
        }
        vault.delete(&"1".into(), 2).unwrap();
        let (view, lookup) = (vault.view(), vault.lookup());
        let shown = |record: ViewRecord<'_>| format!("{record:?}");
        for record in view.records() {
            let path = record.path.to_string_lossy();
            let not_in_order = Vault {
                records: vault.records.iter().map(cloned).collect(),
                ..Vault::new()
            };
            let found = [
                not_in_order.record_at(&path),
                vault.record_at(&path),
                lookup.get(&path),
                lookup.by_id(record.id),
                lookup.first_from(path.as_bytes()),
            ];
            for found in found {
                assert_eq!(shown(found.unwrap()), shown(record.clone()), "{path}");
            }
        }
        for path in ["", "a/", "b~", "c", "~"] {
            assert!(lookup.get(path).is_none(), "{path}");
            assert!(vault.record_at(path).is_none(), "{path}");
        }
        assert!(lookup.by_id(&"1".into()).is_none());
        assert!(lookup.by_id(&"9".into()).is_none());
        // In the order of the paths, from one to the next.
        let mut paths = Vec::new();
        let mut next = lookup.first_from(b"");
        while let Some(record) = next {
            let path = record.path.to_string_lossy().into_owned();
            next = lookup.first_from(format!("{path}\0").as_bytes());
            paths.push(path);
        }
        assert_eq!(paths, paths_of(&view));
        assert_eq!(paths.len(), 4);
    }
}
