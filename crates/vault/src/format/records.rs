//! Records as JSON, in the form of Passmate 2, and the changes that were purged:
//!
//! ```text
//! {"ID": [["user", "name", "value", 1700000000], …], …}
//! {"ID": [["user", "name", 1700000000], …], …}
//! ```

use super::error::CodecError;
use super::path::JsonPath;
use super::reader::{Fault, Reader};
use super::writer::{Sink, write_text, write_value};
use super::{CHANGES_MAX, RECORDS_MAX};
use crate::record::{Change, Domain, FieldKey, Record, RecordId, Stamp, Text, Value, Vault};
use std::fmt;

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
    read_vault(reader, path, Form::Whole)
}

/// Reads the object of purged changes, as a vault that has nothing else.
pub(super) fn read_purged(reader: &mut Reader<'_>, path: &JsonPath) -> Result<Vault, CodecError> {
    read_vault(reader, path, Form::Purged).map(|(vault, _)| vault)
}

/// Whether changes are written with their values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Purged,
}

impl Form {
    fn shape(self) -> &'static str {
        match self {
            Self::Whole => "a change of four parts: domain, name, value, time",
            Self::Purged => "a purged change of three parts: domain, name, time",
        }
    }
}

fn read_vault(
    reader: &mut Reader<'_>,
    path: &JsonPath,
    form: Form,
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
            form,
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
    form: Form,
    collector: &mut Collector,
    found: &mut Found,
) -> Result<Vec<Change>, CodecError> {
    let mut changes = std::mem::take(&mut collector.scratch);
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
            // A list that grew would keep room for half as many again.
            if changes.len() > SCRATCH_MAX {
                return Ok(changes);
            }
            let mut exact = Vec::with_capacity(changes.len());
            exact.append(&mut changes);
            collector.scratch = changes;
            return Ok(exact);
        }
        let (change, is_list) = read_change(reader, &path, form, &mut collector.keys)?;
        if is_list && found.list.is_none() {
            found.list = Some(path().index(2));
        }
        collector.count_change()?;
        changes.push(change);
    }
}

fn read_change(
    reader: &mut Reader<'_>,
    path: &impl Fn() -> JsonPath,
    form: Form,
    keys: &mut Keys,
) -> Result<(Change, bool), CodecError> {
    let shape = form.shape();
    reader
        .begin_array(shape)
        .map_err(|fault| fault.at(path()))?;
    let mut first = true;
    let mut part = |reader: &mut Reader<'_>| match reader.next_item(&mut first) {
        Ok(true) => Ok(()),
        Ok(false) => Err(CodecError::WrongShape {
            path: path(),
            expected: shape.into(),
        }),
        Err(fault) => Err(fault.at(path())),
    };
    part(reader)?;
    let domain = reader
        .string_as(DOMAIN, |domain| match domain {
            b"user" => Some(Domain::User),
            b"meta" => Some(Domain::Meta),
            _ => None,
        })
        .map_err(|fault| fault.at(path().index(0)))?;
    let domain = domain.ok_or_else(|| CodecError::WrongShape {
        path: path().index(0),
        expected: DOMAIN.into(),
    })?;
    part(reader)?;
    let key = reader
        .string_as("a field's name", |name| keys.key(domain, name))
        .map_err(|fault| fault.at(path().index(1)))?;
    part(reader)?;
    let (value, place) = match form {
        Form::Whole => {
            let value = read_value(reader).map_err(|fault| fault.at(path().index(2)))?;
            part(reader)?;
            (value, 3)
        }
        Form::Purged => (Value::Purged, 2),
    };
    let stamp = reader
        .integer("an integer")
        .map_err(|fault| fault.at(path().index(place)))?;
    if reader
        .next_item(&mut first)
        .map_err(|fault| fault.at(path()))?
    {
        return Err(CodecError::WrongShape {
            path: path(),
            expected: shape.into(),
        });
    }
    let is_list = matches!(value, Value::List(_));
    Ok((Change { key, stamp, value }, is_list))
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

/// Keys of fields that were read, so that changes share the names that come again and again. What
/// is asked for moves to the front, and the last one makes room.
#[derive(Default)]
struct Keys(Vec<FieldKey>);

impl Keys {
    /// More names than a record usually has, and few enough to look at all.
    const MAX: usize = 16;

    fn key(&mut self, domain: Domain, name: &[u8]) -> FieldKey {
        let is_it = |key: &FieldKey| key.domain == domain && key.name.as_bytes() == name;
        if let Some(place) = self.0.iter().position(is_it)
            && let Some(known) = self.0.get(place).cloned()
        {
            self.0.swap(place, place / 2);
            return known;
        }
        let key = FieldKey::new(domain, Text::from_wtf8(name.into()));
        self.0.truncate(Self::MAX - 1);
        self.0.push(key.clone());
        key
    }
}

/// The most changes of a record that are collected in room which the next record uses again.
const SCRATCH_MAX: usize = 1024;

/// Collects records in any order, within the limits.
#[derive(Default)]
pub(super) struct Collector {
    records: Vec<(RecordId, Record)>,
    changes: usize,
    keys: Keys,
    scratch: Vec<Change>,
}

impl Collector {
    pub(super) fn count_change(&mut self) -> Result<(), CodecError> {
        self.changes += 1;
        if self.changes > CHANGES_MAX {
            return Err(CodecError::TooMany {
                what: "changes".into(),
                limit: CHANGES_MAX,
            });
        }
        Ok(())
    }

    pub(super) fn push(&mut self, id: RecordId, changes: Vec<Change>) -> Result<(), CodecError> {
        if self.records.len() >= RECORDS_MAX {
            return Err(CodecError::TooMany {
                what: "records".into(),
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
    write_changes(sink, vault, |change| !change.is_purged());
}

/// Writes the object of purged changes, in the same order.
pub(super) fn write_purged(sink: &mut impl Sink, vault: &Vault) {
    write_changes(sink, vault, Change::is_purged);
}

fn write_changes(sink: &mut impl Sink, vault: &Vault, is_meant: impl Fn(&Change) -> bool) {
    sink.put(b"{");
    let mut first_record = true;
    for (id, record) in vault.records() {
        let changes = record.changes().iter().filter(|change| is_meant(change));
        let mut first = true;
        for change in changes {
            if first {
                sink.put(if first_record { b"" } else { b"," });
                write_text(sink, id.as_text());
                sink.put(b":[");
            }
            sink.put(if first { b"[" } else { b",[" });
            (first, first_record) = (false, false);
            sink.put(match change.key.domain {
                Domain::User => b"\"user\",",
                Domain::Meta => b"\"meta\",",
            });
            write_text(sink, &change.key.name);
            sink.put(b",");
            if !change.is_purged() {
                write_value(sink, &change.value);
                sink.put(b",");
            }
            write_stamp(sink, &change.stamp);
            sink.put(b"]");
        }
        if !first {
            sink.put(b"]");
        }
    }
    sink.put(b"}");
}

fn write_stamp(sink: &mut impl Sink, stamp: &Stamp) {
    struct Texts<'a, S>(&'a mut S);

    impl<S: Sink> fmt::Write for Texts<'_, S> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.put(text.as_bytes());
            Ok(())
        }
    }

    // No sink fails.
    let _ = fmt::Write::write_fmt(&mut Texts(sink), format_args!("{stamp}"));
}

/// Whether a key has this name.
pub(super) fn is_key(key: &Text, name: &str) -> bool {
    *key == *name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_right_also_beyond_those_that_are_shared() {
        let mut keys = Keys::default();
        let names: Vec<String> = (0..3 * Keys::MAX).map(|n| n.to_string()).collect();
        for _ in 0..3 {
            for name in &names {
                for domain in [Domain::User, Domain::Meta] {
                    let expected = FieldKey::new(domain, name.as_str());
                    assert_eq!(keys.key(domain, name.as_bytes()), expected);
                    assert!(keys.0.len() <= Keys::MAX);
                }
                // The one that comes again and again is shared.
                let path = keys.key(Domain::Meta, b"path");
                assert!(std::ptr::eq(&*path, &*keys.key(Domain::Meta, b"path")));
            }
        }
    }
}
