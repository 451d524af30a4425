//! The desktop client's btoken:
//!
//! ```text
//! {"ID": [["PATH", 1700000000, "a/b"], ["_user", 1700000001, "x"], …], …}
//! ```
//!
//! `PATH` is the record's path, and a name that begins with `_` is a user field. Other names are
//! the desktop client's own; they are kept as meta fields `desktop.NAME`. The lines of the value
//! follow the time; a field that was unset has none. An empty store is `{}`, or `null` after a
//! sync; `[]` is accepted too.

use super::error::CodecError;
use super::path::JsonPath;
use super::reader::{Fault, Reader};
use super::records::Collector;
use super::writer::{Sink, write_text};
use crate::compat::{DESKTOP_PREFIX, desktop_name};
use crate::record::{Change, Domain, FieldKey, RecordId, Text, Value, Vault};

const CHANGE_SHAPE: &str = "a change of a name, a time and lines of text";

/// Reads the rest of the object, after its first key, up to its closing bracket.
pub(super) fn read_records(
    reader: &mut Reader<'_>,
    first_key: Option<Text>,
) -> Result<Vault, CodecError> {
    let mut collector = Collector::default();
    let mut next = first_key;
    while let Some(id) = next {
        let changes = read_record(reader, &|| JsonPath::document().key(&id), &mut collector)?;
        collector.push(RecordId::from(id), changes)?;
        next = reader
            .next_key(&mut false)
            .map_err(|fault| fault.at(JsonPath::document()))?;
    }
    collector.into_vault(&JsonPath::document())
}

fn read_record(
    reader: &mut Reader<'_>,
    record: &impl Fn() -> JsonPath,
    collector: &mut Collector,
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
        let change = read_change(reader).map_err(|fault| fault.at(path()))?;
        collector.count_change()?;
        changes.push(change);
    }
}

fn read_change(reader: &mut Reader<'_>) -> Result<Change, Fault> {
    reader.begin_array(CHANGE_SHAPE)?;
    let mut first = true;
    if !reader.next_item(&mut first)? {
        return Err(Fault::Expected(CHANGE_SHAPE));
    }
    let key = reader.string_as(CHANGE_SHAPE, field_key)?;
    if !reader.next_item(&mut first)? {
        return Err(Fault::Expected(CHANGE_SHAPE));
    }
    let stamp = reader.integer(CHANGE_SHAPE)?;
    let mut lines = Vec::new();
    while reader.next_item(&mut first)? {
        lines.push(reader.string(CHANGE_SHAPE)?);
    }
    Ok(Change {
        key,
        stamp,
        value: Value::from_lines(lines),
    })
}

fn field_key(name: &[u8]) -> FieldKey {
    match name {
        b"PATH" => FieldKey::path(),
        [b'_', user @ ..] => FieldKey::user(Text::from_wtf8(user.into())),
        other => {
            let name = [DESKTOP_PREFIX.as_bytes(), other].concat();
            FieldKey::new(Domain::Meta, Text::from_wtf8(name.into_boxed_slice()))
        }
    }
}

/// Writes the object: records by id, changes by time, so that equal vaults become equal bytes.
/// `vault` must hold only what the desktop client can read.
pub(super) fn write_records(sink: &mut impl Sink, vault: &Vault) {
    sink.put(b"{");
    for (index, (id, record)) in vault.records().enumerate() {
        sink.put(if index == 0 { b"" } else { b"," });
        write_text(sink, id.as_text());
        sink.put(b":[");
        let mut changes: Vec<&Change> = record.changes().iter().collect();
        // Older clients take the last change for the newest.
        changes.sort_by(|a, b| a.stamp.cmp(&b.stamp));
        for (index, change) in changes.into_iter().enumerate() {
            sink.put(if index == 0 { b"[" } else { b",[" });
            write_text(sink, &name_of(&change.key));
            sink.put(b",");
            sink.put(change.stamp.to_string().as_bytes());
            let lines = match &change.value {
                Value::Absent | Value::Purged => [].as_slice(),
                Value::Text(text) => std::slice::from_ref(text),
                Value::List(lines) => lines,
            };
            for line in lines {
                sink.put(b",");
                write_text(sink, line);
            }
            sink.put(b"]");
        }
        sink.put(b"]");
    }
    sink.put(b"}");
}

fn name_of(key: &FieldKey) -> Text {
    match key.domain {
        Domain::Meta if key.is_path() => Text::from("PATH"),
        Domain::Meta => Text::from_wtf8(desktop_name(&key.name).unwrap_or_default().into()),
        Domain::User => Text::from_wtf8([b"_", key.name.as_bytes()].concat().into_boxed_slice()),
    }
}
