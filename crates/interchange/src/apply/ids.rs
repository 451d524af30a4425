//! Which record an item becomes.
//!
//! A person may import a file that somebody else made, and then one of their own. If ids followed
//! from the file alone, whoever knows the kind of the second file could predict them, and put
//! records with these ids, or with lower ones that keep a path, into the first one. The rules are:
//!  - the id of a new record is derived from the *import key*, which is random and the same on all
//!    devices of a vault;
//!  - the key is a change of a record without a path, so it syncs with the vault and nobody sees
//!    it. If two devices made a key before they synced, the vault has both: items are looked up
//!    under every key, and new records get an id under the newest;
//!  - an item that was exported from this vault has the id of its record, in the form of the
//!    exported file;
//!  - an item that is not found by an id is the record whose history has its path and all its
//!    values, if there is one. So an item is also found after a sync that does not carry the key;
//!  - or else it is a record that agrees with it, as `same` says;
//!  - a record is found for at most one item of a file;
//!  - an imported vault does not bring its key, because whoever made the file knows it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use data_encoding::{BASE64, HEXUPPER, HEXUPPER_PERMISSIVE};
use passmate_vault::record::{
    Change, Domain, FieldKey, PATH, Record, Stamp, TIME_MAX, TIME_MIN, Value,
};
use passmate_vault::{EditError, RecordId, Text, Vault};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::paths::{before_suffix, cleaned};
use super::same::Likenesses;
use super::work::Work;
use super::{had_field, values_elsewhere};
use crate::crypto::hmac_sha256;
use crate::read::Format;
use crate::read::item::Item;
use crate::syntax::kdbx::entry_id;

/// The id of the record that holds the import key.
const KEY_RECORD: &str = "import";
/// The meta field that holds it, as 32 upper-case hex digits.
const KEY_FIELD: &str = "import_key";
const KEY_LEN: usize = 16;
/// The first text from which an id is derived.
const LABEL: &str = "passmate import";
/// How many records with an item's path are compared with the item. It bounds the work for a file
/// in which all items have the same path.
const CANDIDATES_MAX: usize = 64;

/// The record that an item becomes.
pub(super) enum Target {
    /// A new one.
    New(RecordId),
    /// The one that the item became before, or from which it was exported.
    Own(RecordId),
    /// One that came from elsewhere, and agrees with the item.
    Same(RecordId),
}

/// Each item with its record. Makes an import key if a record is new and the vault has no key.
///
/// # Errors
/// The clock is beyond the year 9999.
pub(super) fn with_ids<'i>(
    items: &'i [Item],
    vault: &mut Vault,
    format: Format,
    now: i64,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<(Target, &'i Item)>, EditError> {
    let numbered = with_source_ids(items);
    let keys = keys_of(vault);
    let found = find_records(&numbered, vault, format, &keys);
    let mut newest_key = keys.into_iter().next();
    let (mut items_with_ids, mut new) = (Vec::with_capacity(items.len()), BTreeSet::new());
    for ((source_id, item), found) in numbered.iter().zip(found) {
        let target = match (found, &newest_key) {
            (Some(target), _) => target,
            (None, Some(key)) => Target::New(free_id(key, format, source_id, vault, &mut new)),
            (None, None) => {
                let key = newest_key.insert(make_key(vault, now, rng)?);
                Target::New(free_id(key, format, source_id, vault, &mut new))
            }
        };
        items_with_ids.push((target, *item));
    }
    Ok(items_with_ids)
}

/// The id of a new record. Another item may have the record of this one's identity, because it has
/// all its values: then this one gets the next free id, and is found by its content afterwards.
fn free_id(
    key: &ImportKey,
    format: Format,
    source_id: &str,
    vault: &Vault,
    new: &mut BTreeSet<RecordId>,
) -> RecordId {
    let mut id = derive_record_id(key, format, source_id);
    let mut number = 2_u64;
    while vault.record(&id).is_some() || !new.insert(id.clone()) {
        id = derive_record_id(key, format, &format!("{source_id}\0\0{number}"));
        number += 1;
    }
    id
}

/// The vault without an import key.
pub(crate) fn without_key(vault: &Vault) -> Cow<'_, Vault> {
    let is_key = |change: &Change| change.key == key_field();
    let key_record = RecordId::from(KEY_RECORD);
    let changes = vault.record(&key_record).map_or(&[][..], Record::changes);
    if !changes.iter().any(is_key) {
        return Cow::Borrowed(vault);
    }
    let mut without = Vault::new();
    for (id, record) in vault.records() {
        for change in record.changes() {
            if *id != key_record || !is_key(change) {
                without.insert(id, change.clone());
            }
        }
    }
    Cow::Owned(without)
}

/// The id that a record has in a file that we exported in this format.
fn exported_id(format: Format, id: &RecordId) -> Option<String> {
    match format {
        Format::Bitwarden => Some(id.as_text().to_string_lossy().into_owned()),
        Format::Keepass | Format::KeepassXml => Some(BASE64.encode(&entry_id(id))),
        _ => None,
    }
}

type ImportKey = Zeroizing<[u8; KEY_LEN]>;

/// The import keys of a vault, the newest first. Values that are no keys are skipped.
fn keys_of(vault: &Vault) -> Vec<ImportKey> {
    let key = key_field();
    let changes = vault
        .record(&RecordId::from(KEY_RECORD))
        .map_or(&[][..], |record| record.history(key.domain, &key.name));
    let values = changes.iter().rev().map(|change| &change.value);
    values.filter_map(parse_key).collect()
}

fn parse_key(value: &Value) -> Option<ImportKey> {
    let Value::Text(text) = value else {
        return None;
    };
    let bytes = HEXUPPER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    let bytes = Zeroizing::new(bytes);
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

fn key_field() -> FieldKey {
    FieldKey::new(Domain::Meta, KEY_FIELD)
}

fn make_key(vault: &mut Vault, now: i64, rng: &mut dyn CryptoRng) -> Result<ImportKey, EditError> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    rng.fill_bytes(&mut *key);
    let value = Value::Text(Text::from(HEXUPPER.encode(&*key)));
    let id = RecordId::from(KEY_RECORD);
    if vault.record(&id).is_some() {
        // The change must not share its stamp with one that was purged.
        vault.change_value(&id, key_field(), value, now)?;
    } else if now > TIME_MAX {
        return Err(EditError::ClockOutOfRange);
    } else {
        let stamp = Stamp::from_seconds(now.max(TIME_MIN));
        vault.insert(
            &id,
            Change {
                key: key_field(),
                stamp,
                value,
            },
        );
    }
    Ok(key)
}

fn derive_record_id(key: &ImportKey, format: Format, source_id: &str) -> RecordId {
    let parts = [LABEL, format.word(), source_id].map(str::as_bytes);
    let [label, word, source_id] = parts;
    let hash = hmac_sha256(&**key, &[label, &[0], word, &[0], source_id, &[0]]);
    let (id, _) = hash
        .split_first_chunk::<8>()
        .expect("32 bytes have 8 at their head");
    RecordId::from(HEXUPPER.encode(id))
}

/// Each item with a source id of its own: the second item with the same one gets a number, in the
/// order of the file.
fn with_source_ids(items: &[Item]) -> Vec<(Cow<'_, str>, &Item)> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut numbered = Vec::with_capacity(items.len());
    for item in items {
        let number = seen.entry(&item.source_id).or_insert(0);
        *number += 1;
        let source_id = match *number {
            1 => Cow::Borrowed(item.source_id.as_str()),
            number => Cow::Owned(format!("{}\0{number}", item.source_id)),
        };
        numbered.push((source_id, item));
    }
    numbered
}

/// The record of each item, if the vault has it.
fn find_records(
    numbered: &[(Cow<'_, str>, &Item)],
    vault: &Vault,
    format: Format,
    keys: &[ImportKey],
) -> Vec<Option<Target>> {
    let by_id = |(source_id, _): &(Cow<'_, str>, &Item)| {
        let mut ids = format.with_same_ids().flat_map(|format| {
            keys.iter()
                .map(move |key| derive_record_id(key, format, source_id))
        });
        ids.find(|id| vault.record(id).is_some())
    };
    // Without an id of its own, an item may have the identity of another one of the same name. It
    // is the record with its path and all its values, if that is another one.
    let is_certain = |found: &RecordId, item: &Item| {
        format.has_ids()
            || vault
                .record(found)
                .is_some_and(|record| had_all_values(record, item))
    };
    let by_id: Vec<Option<RecordId>> = numbered.iter().map(by_id).collect();
    let certain = by_id.iter().zip(numbered).map(|(found, (_, item))| {
        let found = found.as_ref().filter(|found| is_certain(found, item));
        found.cloned()
    });
    let mut found = Found {
        records: certain.collect(),
        numbered,
    };
    found.complete(|taken| {
        let mut exported = exported(vault, format, taken);
        move |source_id, _| exported.remove(source_id)
    });
    found.complete(|taken| {
        let mut by_content = ByContent::new(vault, taken);
        move |_, item| by_content.take(item)
    });
    found.complete_from(by_id);
    let own = found.records.clone();
    found.complete(|taken| {
        let mut likenesses = Likenesses::new(vault, taken);
        move |_, item| likenesses.take(item)
    });
    let target = |(found, own): (Option<RecordId>, Option<RecordId>)| match own {
        Some(own) => Some(Target::Own(own)),
        None => found.map(Target::Same),
    };
    found.records.into_iter().zip(own).map(target).collect()
}

/// The items of a file and the records that were found for them.
struct Found<'n, 'i> {
    records: Vec<Option<RecordId>>,
    numbered: &'n [(Cow<'i, str>, &'i Item)],
}

impl Found<'_, '_> {
    /// Takes these records for items that have none yet, unless they are taken.
    fn complete_from(&mut self, others: Vec<Option<RecordId>>) {
        let mut taken: BTreeSet<RecordId> = self.records.iter().flatten().cloned().collect();
        for (record, other) in self.records.iter_mut().zip(others) {
            if record.is_none() {
                *record = other.filter(|other| taken.insert(other.clone()));
            }
        }
    }

    /// Looks up the items that have no record yet. `finder` gets the records that are taken, and
    /// returns what takes a record for a source id and an item, each record once at most.
    fn complete<T: FnMut(&str, &Item) -> Option<RecordId>>(
        &mut self,
        finder: impl FnOnce(BTreeSet<RecordId>) -> T,
    ) {
        if self.records.iter().all(Option::is_some) {
            return;
        }
        let mut take = finder(self.records.iter().flatten().cloned().collect());
        let all = self.records.iter_mut().zip(self.numbered);
        for (record, (source_id, item)) in all.filter(|(record, _)| record.is_none()) {
            *record = take(source_id, item);
        }
    }
}

/// The records that are not taken, by the ids that they have in an exported file.
fn exported(
    vault: &Vault,
    format: Format,
    taken: BTreeSet<RecordId>,
) -> BTreeMap<String, RecordId> {
    // Only records with a path are exported.
    let has_path = |record: &Record| !record.history(Domain::Meta, &Text::from(PATH)).is_empty();
    let records = vault.records();
    records
        .filter(|(id, record)| !taken.contains(*id) && has_path(record))
        .filter_map(|(id, _)| Some((exported_id(format, id)?, id.clone())))
        .collect()
}

/// Finds records by their path and values. Finds each at most once.
struct ByContent<'v> {
    /// The records that ever had a path, then those that had it with a suffix. Of both, live records
    /// come first.
    by_path: BTreeMap<Cow<'v, str>, VecDeque<(&'v RecordId, &'v Record)>>,
    taken: BTreeSet<RecordId>,
    work: Work,
}

impl<'v> ByContent<'v> {
    fn new(vault: &'v Vault, taken: BTreeSet<RecordId>) -> Self {
        let view = vault.view();
        let live: BTreeSet<&RecordId> = view.records().iter().map(|record| record.id).collect();
        let (mut records, deleted): (Vec<_>, Vec<_>) = vault
            .records()
            .filter(|(id, _)| !taken.contains(*id))
            .partition(|(id, _)| live.contains(id));
        records.extend(deleted);
        let mut by_path: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
        // A record with the path itself comes before one that got a suffix.
        for paths_of in [own_paths, paths_before_suffix] {
            for (id, record) in &records {
                for path in paths_of(record) {
                    by_path.entry(path).or_default().push_back((*id, *record));
                }
            }
        }
        Self {
            by_path,
            taken,
            work: Work::default(),
        }
    }

    /// A record to which an import of the item would add nothing.
    fn take(&mut self, item: &Item) -> Option<RecordId> {
        let records = self.by_path.get_mut(item.path.as_str())?;
        let place = records
            .iter()
            .take(CANDIDATES_MAX)
            .position(|(id, record)| {
                !self.taken.contains(*id)
                    && self.work.compare(record, item)
                    && had_all_values(record, item)
            })?;
        let (id, _) = records.remove(place)?;
        self.taken.insert(id.clone());
        Some(id.clone())
    }
}

fn had_all_values(record: &Record, item: &Item) -> bool {
    let missing = item.fields.iter().filter(|field| !had_field(record, field));
    let mut missing = missing.peekable();
    if missing.peek().is_none() {
        return true;
    }
    let elsewhere = values_elsewhere(record, item);
    missing.all(|field| elsewhere.contains(field.value.as_str()))
}

/// The paths that a record ever had, also as an importer would write them.
fn own_paths(record: &Record) -> BTreeSet<Cow<'_, str>> {
    let history = record.history(Domain::Meta, &Text::from(PATH));
    let paths = history.iter().filter_map(|change| match &change.value {
        Value::Text(path) => path.as_str(),
        _ => None,
    });
    paths
        .filter(|path| !path.is_empty())
        .flat_map(|path| [Cow::Borrowed(path), Cow::Owned(cleaned(path))])
        .collect()
}

/// The paths that a record would have had without a suffix.
fn paths_before_suffix(record: &Record) -> BTreeSet<Cow<'_, str>> {
    let own = own_paths(record);
    let before = own.iter().flat_map(|path| before_suffix(path));
    let before = before.filter(|path| !path.is_empty() && !own.contains(*path));
    before.map(|path| Cow::Owned(path.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_head_of_an_hmac() {
        let mut key = ImportKey::default();
        (0..).zip(key.iter_mut()).for_each(|(n, byte)| *byte = n);
        let id = |source_id| derive_record_id(&key, Format::Bitwarden, source_id);
        assert_eq!(id("1"), RecordId::from("F8A74A71FEFA6102"));
        assert_eq!(
            derive_record_id(&key, Format::ChromeCsv, "a\x002"),
            RecordId::from("53D029AEF28D37D4")
        );
    }

    #[test]
    fn values_that_are_no_keys_are_skipped() {
        let mut vault = Vault::new();
        let good = "00112233445566778899AABBCCDDEEFF";
        let values = ["", "00", "no hex", good, &good.to_lowercase(), &good[1..]];
        for (stamp, value) in (1..).zip(values) {
            let change = Change {
                key: key_field(),
                stamp: Stamp::from_seconds(stamp),
                value: Value::Text(value.into()),
            };
            vault.insert(&KEY_RECORD.into(), change);
        }
        let keys = keys_of(&vault);
        let texts: Vec<_> = keys.iter().map(|key| HEXUPPER.encode(&**key)).collect();
        assert_eq!(texts, [good, good]);
    }
}
