//! Records as JSON, in the form of Passmate 2:
//!
//! ```text
//! {"ID": [["user", "name", "value", 1700000000], …], …}
//! ```

use super::error::CodecError;
use super::path::JsonPath;
use super::reader::{Fault, Reader};
use super::writer::{Sink, write_text, write_value};
use super::{CHANGES_MAX, RECORDS_MAX};
use crate::record::{Change, Domain, FieldKey, Record, RecordId, Stamp, Text, Value, Vault};

/// Facts about the records that were read.
#[derive(Default)]
pub(super) struct Found {
    /// The place of the first value that was a list. Passmate 2 files must have none.
    pub(super) list: Option<JsonPath>,
}

/// Reads the object of records. Drops records without changes.
pub(super) fn read_records(
    reader: &mut Reader<'_>,
    path: &JsonPath,
) -> Result<(Vault, Found), CodecError> {
    let mut found = Found::default();
    let mut collector = Collector::default();
    let in_place = |fault: Fault| fault.at(path.clone());
    reader
        .begin_object("an object of records")
        .map_err(in_place)?;
    let mut first = true;
    while let Some(id) = reader.next_key(&mut first).map_err(in_place)? {
        let changes = read_changes(
            reader,
            &|| path.clone().key(&id),
            &mut collector,
            &mut found,
        )?;
        collector.push(RecordId::from(id), changes)?;
    }
    Ok((collector.into_vault(path)?, found))
}

fn read_changes(
    reader: &mut Reader<'_>,
    record: &impl Fn() -> JsonPath,
    collector: &mut Collector,
    found: &mut Found,
) -> Result<Vec<Change>, CodecError> {
    let mut changes = Vec::new();
    reader
        .begin_array("a list of changes")
        .map_err(|fault| fault.at(record()))?;
    let mut first = true;
    loop {
        let path = || record().index(changes.len());
        if !reader
            .next_item(&mut first)
            .map_err(|fault| fault.at(path()))?
        {
            return Ok(changes);
        }
        let (change, is_list) = read_change(reader, &path)?;
        if is_list && found.list.is_none() {
            found.list = Some(path().index(2));
        }
        collector.count_change()?;
        changes.push(change);
    }
}

const CHANGE_SHAPE: &str = "a change of four parts: domain, name, value, time";

fn read_change(
    reader: &mut Reader<'_>,
    path: &impl Fn() -> JsonPath,
) -> Result<(Change, bool), CodecError> {
    reader
        .begin_array(CHANGE_SHAPE)
        .map_err(|fault| fault.at(path()))?;
    let mut first = true;
    let mut part = |reader: &mut Reader<'_>| match reader.next_item(&mut first) {
        Ok(true) => Ok(()),
        Ok(false) => Err(CodecError::WrongShape {
            path: path(),
            expected: CHANGE_SHAPE,
        }),
        Err(fault) => Err(fault.at(path())),
    };
    part(reader)?;
    let domain = reader
        .string(DOMAIN)
        .map_err(|fault| fault.at(path().index(0)))?;
    let domain = match domain.as_bytes() {
        b"user" => Domain::User,
        b"meta" => Domain::Meta,
        _ => {
            return Err(CodecError::WrongShape {
                path: path().index(0),
                expected: DOMAIN,
            });
        }
    };
    part(reader)?;
    let name = reader
        .string("a field's name")
        .map_err(|fault| fault.at(path().index(1)))?;
    part(reader)?;
    let value = read_value(reader).map_err(|fault| fault.at(path().index(2)))?;
    part(reader)?;
    let stamp = reader
        .integer("an integer")
        .map_err(|fault| fault.at(path().index(3)))?;
    if reader
        .next_item(&mut first)
        .map_err(|fault| fault.at(path()))?
    {
        return Err(CodecError::WrongShape {
            path: path(),
            expected: CHANGE_SHAPE,
        });
    }
    let is_list = matches!(value, Value::List(_));
    Ok((
        Change {
            key: FieldKey { domain, name },
            stamp,
            value,
        },
        is_list,
    ))
}

const DOMAIN: &str = "a domain (user, meta)";

fn read_value(reader: &mut Reader<'_>) -> Result<Value, Fault> {
    const EXPECTED: &str = "a text or null";
    if reader.literal("null") {
        return Ok(Value::Absent);
    }
    if reader.peek() != Some(b'[') {
        return reader.string(EXPECTED).map(Value::Text);
    }
    reader.begin_array(EXPECTED)?;
    let (mut lines, mut first) = (Vec::new(), true);
    while reader.next_item(&mut first)? {
        lines.push(reader.string("a text")?);
    }
    // Shorter lists have another form, so that each vault has exactly one document.
    if lines.len() < 2 {
        Err(Fault::Expected("a list of two lines or more"))
    } else {
        Ok(Value::List(lines))
    }
}

/// Collects records in any order, within the limits.
#[derive(Default)]
pub(super) struct Collector {
    records: Vec<(RecordId, Record)>,
    changes: usize,
}

impl Collector {
    pub(super) fn count_change(&mut self) -> Result<(), CodecError> {
        self.changes += 1;
        if self.changes > CHANGES_MAX {
            return Err(CodecError::TooMany {
                what: "changes",
                limit: CHANGES_MAX,
            });
        }
        Ok(())
    }

    pub(super) fn push(&mut self, id: RecordId, changes: Vec<Change>) -> Result<(), CodecError> {
        if self.records.len() >= RECORDS_MAX {
            return Err(CodecError::TooMany {
                what: "records",
                limit: RECORDS_MAX,
            });
        }
        self.records.push((id, Record::from_changes(changes)));
        Ok(())
    }

    pub(super) fn into_vault(mut self, path: &JsonPath) -> Result<Vault, CodecError> {
        self.records.sort_by(|(a, _), (b, _)| a.cmp(b));
        let twice = self.records.windows(2).find_map(|pair| match pair {
            [(a, _), (b, _)] if a == b => Some(b),
            _ => None,
        });
        if let Some(id) = twice {
            return Err(CodecError::DuplicateKey {
                path: path.clone().key(id.as_text()),
            });
        }
        let records = self
            .records
            .into_iter()
            .filter(|(_, record)| !record.changes.is_empty());
        Ok(Vault {
            records: records.collect(),
            ..Vault::new()
        })
    }
}

/// Writes the object of records: records by id, changes in their order, so that equal vaults become
/// equal bytes.
pub(super) fn write_records(sink: &mut impl Sink, vault: &Vault) {
    sink.put(b"{");
    for (index, (id, record)) in vault.records().enumerate() {
        sink.put(if index == 0 { b"" } else { b"," });
        write_text(sink, id.as_text());
        sink.put(b":[");
        for (index, change) in record.changes().iter().enumerate() {
            sink.put(if index == 0 { b"[" } else { b",[" });
            sink.put(match change.key.domain {
                Domain::User => b"\"user\",",
                Domain::Meta => b"\"meta\",",
            });
            write_text(sink, &change.key.name);
            sink.put(b",");
            write_value(sink, &change.value);
            sink.put(b",");
            write_stamp(sink, &change.stamp);
            sink.put(b"]");
        }
        sink.put(b"]");
    }
    sink.put(b"}");
}

fn write_stamp(sink: &mut impl Sink, stamp: &Stamp) {
    sink.put(stamp.to_string().as_bytes());
}

/// Whether a key has this name.
pub(super) fn is_key(key: &Text, name: &str) -> bool {
    *key == *name
}
