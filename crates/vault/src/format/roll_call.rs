//! The roll call as JSON, in a btoken of our own form and in the account of a vault file:
//!
//! ```text
//! {"DEVICE ID": {"name": "…", "counter": 7, "time": 1700000000, "version": "…", "read": "HEX"}, …}
//! ```

use data_encoding::HEXLOWER;

use super::account::{read_members, read_string, read_time, set};
use super::error::{CodecError, EncodeError};
use super::path::JsonPath;
use super::reader::Reader;
use super::writer::{Sink, write_str};
use crate::record::Stamp;
use crate::sync::device_text::DeviceText;
use crate::sync::roll_call::{DEVICES_MAX, DeviceEntry, DeviceId, OwnDevice, RollCall};

pub(super) fn read_roll_call(
    reader: &mut Reader<'_>,
    path: &JsonPath,
) -> Result<RollCall, CodecError> {
    let mut roll_call = RollCall::new();
    read_members(reader, path, |reader, key, at| {
        let id = std::str::from_utf8(key).ok().and_then(DeviceId::parse);
        let Some(id) = id else {
            return Err(wrong_id(at));
        };
        if roll_call.len() == DEVICES_MAX {
            return Err(CodecError::TooMany {
                what: "devices".into(),
                limit: DEVICES_MAX,
            });
        }
        let entry = read_entry(reader, &at)?;
        match roll_call.set(id, entry) {
            None => Ok(()),
            Some(_) => Err(CodecError::DuplicateKey { path: at }),
        }
    })?;
    Ok(roll_call)
}

fn read_entry(reader: &mut Reader<'_>, path: &JsonPath) -> Result<DeviceEntry, CodecError> {
    let (mut name, mut counter, mut time, mut version, mut read) = (None, None, None, None, None);
    read_members(reader, path, |reader, key, at| match key {
        b"name" => set(&mut name, at, |at| read_device_text(reader, at)),
        b"counter" => set(&mut counter, at, |at| read_counter(reader, at)),
        b"time" => set(&mut time, at, |at| read_time(reader, at)),
        b"version" => set(&mut version, at, |at| read_device_text(reader, at)),
        b"read" => set(&mut read, at, |at| read_hash(reader, at)),
        _ => Err(CodecError::Newer { path: at }),
    })?;
    let missing = |key| CodecError::MissingKey {
        path: path.clone().member(key),
    };
    Ok(DeviceEntry {
        name: name.ok_or_else(|| missing("name"))?,
        counter: counter.ok_or_else(|| missing("counter"))?,
        time: time.ok_or_else(|| missing("time"))?,
        version: version.ok_or_else(|| missing("version"))?,
        read: read.ok_or_else(|| missing("read"))?,
    })
}

pub(super) fn read_own_device(
    reader: &mut Reader<'_>,
    path: &JsonPath,
) -> Result<OwnDevice, CodecError> {
    let (mut id, mut name, mut counter) = (None, None, None);
    read_members(reader, path, |reader, key, at| match key {
        b"id" => set(&mut id, at, |at| read_id(reader, at)),
        b"name" => set(&mut name, at, |at| read_device_text(reader, at)),
        b"counter" => set(&mut counter, at, |at| read_counter(reader, at)),
        _ => Err(CodecError::Newer { path: at }),
    })?;
    let missing = |key| CodecError::MissingKey {
        path: path.clone().member(key),
    };
    Ok(OwnDevice {
        id: id.ok_or_else(|| missing("id"))?,
        name: name.ok_or_else(|| missing("name"))?,
        counter: counter.ok_or_else(|| missing("counter"))?,
    })
}

fn read_id(reader: &mut Reader<'_>, path: &JsonPath) -> Result<DeviceId, CodecError> {
    let text = read_string(reader, path)?;
    DeviceId::parse(&text).ok_or_else(|| wrong_id(path.clone()))
}

fn wrong_id(path: JsonPath) -> CodecError {
    CodecError::WrongShape {
        path,
        expected: "a device id of 32 lower-case hex digits".into(),
    }
}

fn read_device_text(reader: &mut Reader<'_>, path: &JsonPath) -> Result<DeviceText, CodecError> {
    let text = read_string(reader, path)?;
    DeviceText::read(&text).ok_or_else(|| CodecError::WrongShape {
        path: path.clone(),
        expected: "a text of at most 256 bytes".into(),
    })
}

fn read_counter(reader: &mut Reader<'_>, path: &JsonPath) -> Result<u64, CodecError> {
    const EXPECTED: &str = "a counter (0 to 2^64 - 1)";
    let counter = reader
        .integer(EXPECTED)
        .map_err(|fault| fault.at(path.clone()))?;
    // A stamp is an integer of any size, and the counters above the range of i64 are valid too.
    let counter = counter.to_string().parse();
    counter.map_err(|_| CodecError::WrongShape {
        path: path.clone(),
        expected: EXPECTED.into(),
    })
}

fn read_hash(reader: &mut Reader<'_>, path: &JsonPath) -> Result<[u8; 32], CodecError> {
    let text = read_string(reader, path)?;
    let hash = HEXLOWER.decode(text.as_bytes()).ok();
    let hash = hash.and_then(|hash| hash.try_into().ok());
    hash.ok_or_else(|| CodecError::WrongShape {
        path: path.clone(),
        expected: "a hash of 64 lower-case hex digits".into(),
    })
}

/// Checks that a reader would accept the number of entries.
pub(super) fn check_device_count(roll_call: &RollCall) -> Result<(), EncodeError> {
    if roll_call.len() > DEVICES_MAX {
        return Err(EncodeError::TooMany {
            what: "devices".into(),
            limit: DEVICES_MAX,
        });
    }
    Ok(())
}

/// Writes the entries in the order of their ids, so that equal roll calls become equal bytes.
pub(super) fn write_roll_call(sink: &mut impl Sink, roll_call: &RollCall) {
    for (index, (id, entry)) in roll_call.iter().enumerate() {
        let DeviceEntry {
            counter,
            time,
            name,
            version,
            read,
        } = entry;
        sink.put(if index == 0 { b"{" } else { b"," });
        write_str(sink, &id.to_string());
        sink.put(b":{\"name\":");
        write_str(sink, name.as_str());
        sink.put(b",\"counter\":");
        sink.put(counter.to_string().as_bytes());
        sink.put(b",\"time\":");
        sink.put(Stamp::from_seconds(*time).to_string().as_bytes());
        sink.put(b",\"version\":");
        write_str(sink, version.as_str());
        sink.put(b",\"read\":");
        write_str(sink, &HEXLOWER.encode(read));
        sink.put(b"}");
    }
    sink.put(if roll_call.is_empty() { b"{}" } else { b"}" });
}

pub(super) fn write_own_device(sink: &mut impl Sink, OwnDevice { id, name, counter }: &OwnDevice) {
    sink.put(b"{\"id\":");
    write_str(sink, &id.to_string());
    sink.put(b",\"name\":");
    write_str(sink, name.as_str());
    sink.put(b",\"counter\":");
    sink.put(counter.to_string().as_bytes());
    sink.put(b"}");
}
