//! A copy of a vault for the original program, which refuses whole files for things that happen.
//!
//! It does not load a file in which two changes of one field have one time, or with a meta field that
//! it does not know, and it locks its user out if two records have one path. So the copy leaves out
//! what it would refuse, and writes down what our view resolves, so that both show the same.

use zeroize::Zeroizing;

use super::error::EncodeError;
use super::{Purpose, encode_version_2};
use crate::record::{FieldKey, Record, RecordId, Stamp, TIME_MAX, Tuple, Value, Vault};
use crate::view::ViewRecord;

/// A vault as a Passmate 2 document.
#[derive(Debug)]
pub struct Passmate2 {
    /// The document, padded with blanks to a multiple of 4096 bytes.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// The number of changes that are left out because the original program would refuse the file.
    pub omitted: usize,
}

/// Writes a vault for the original program: an export, or a copy for a shared folder.
///
/// Left out are meta fields but the path, records whose id is empty, and of changes of one field with
/// one time all but the one that is seen. The lines of a value of several lines are joined. A record
/// that shows under a path of its own making or lives in spite of a deletion gets one change of its
/// path more, a second after its last one; it is the same each time and on each device.
/// Times beyond the year 9999 are kept: the original program lets them decide.
pub fn encode_passmate2(vault: &Vault, purpose: Purpose) -> Result<Passmate2, EncodeError> {
    let mut copy = Vault::new();
    let mut omitted = 0;
    for (id, record) in vault.records() {
        let tuples = if id.as_text().is_empty() { Vec::new() } else { loadable(record) };
        omitted += record.tuples().len() - tuples.len();
        if !tuples.is_empty() {
            copy.records.insert(id.clone(), Record::from_tuples(tuples));
        }
    }
    for shown in vault.view().records().iter().filter(|shown| shown.clash.is_some() || shown.revived) {
        write_shown_path(&mut copy, shown);
    }
    Ok(Passmate2 { plaintext: encode_version_2(&copy, purpose)?, omitted })
}

/// The tuples of a record that the original program loads; no more than the record has.
fn loadable(record: &Record) -> Vec<Tuple> {
    let mut tuples: Vec<Tuple> = Vec::with_capacity(record.tuples().len());
    for tuple in record.tuples().iter().filter(|tuple| is_known(&tuple.key)) {
        let joined = match &tuple.value {
            Value::List(_) => Tuple { value: Value::Text(tuple.value.joined_text()), ..tuple.clone() },
            _ => tuple.clone(),
        };
        match tuples.last_mut() {
            // Ascending order: of those with one time, the last is the one that is seen.
            Some(last) if last.key == joined.key && last.stamp == joined.stamp => *last = joined,
            _ => tuples.push(joined),
        }
    }
    tuples
}

fn is_known(key: &FieldKey) -> bool {
    key.domain == crate::record::Domain::User || key.is_path()
}

fn write_shown_path(copy: &mut Vault, shown: &ViewRecord<'_>) {
    let history = shown.record.tuples().iter().filter(|tuple| tuple.key.is_path());
    let last = history.filter_map(|tuple| tuple.stamp.deciding_seconds()).max();
    let seconds = last.filter(|last| *last < TIME_MAX).map(|last| last + 1);
    if let (Some(seconds), Some(record)) = (seconds, copy.records.get_mut::<RecordId>(shown.id)) {
        let value = Value::Text(shown.path.as_ref().clone());
        record.insert(Tuple { key: FieldKey::path(), stamp: Stamp::from_seconds(seconds), value });
    }
}
