//! The account as JSON, inside a vault file of version 3.

use super::error::CodecError;
use super::path::JsonPath;
use super::reader::Reader;
use super::roll_call::{read_own_device, read_roll_call, write_own_device, write_roll_call};
use super::writer::{Sink, write_str};
use crate::record::{Stamp, Text};
use crate::sync::account::{Account, AccountKey, Pin, RETIRED_MAX, Retired, Trust};
use crate::sync::delta::Delta;
use crate::sync::seen::SeenChanges;
use crate::sync::shape::Shape;
use crate::sync_key::{ACCOUNT_LEN, SyncKey};

pub(super) fn read_account(
    reader: &mut Reader<'_>,
    path: &JsonPath,
) -> Result<Account, CodecError> {
    let (mut host, mut port, mut key, mut trust, mut confirmed) = (None, None, None, None, None);
    let (mut seen, mut last, mut retired, mut lost, mut shape) = (None, None, None, None, None);
    let (mut device, mut devices) = (None, None);
    read_members(reader, path, |reader, name, at| match name {
        b"host" => set(&mut host, at, |at| read_string(reader, at)),
        b"port" => set(&mut port, at, |at| read_port(reader, at)),
        b"key" => set(&mut key, at, |at| read_account_key(reader, at)),
        b"trust" => set(&mut trust, at, |at| read_trust(reader, at)),
        b"confirmed" => set(&mut confirmed, at, |at| read_bool(reader, at)),
        b"seen" => set(&mut seen, at, |at| read_seen(reader, at)),
        b"retired" => set(&mut retired, at, |at| read_retired(reader, at)),
        b"lost" => set(&mut lost, at, |at| read_bool(reader, at)),
        b"shape" => set(&mut shape, at, |at| read_shape(reader, at)),
        b"last" => set(&mut last, at, |at| read_delta(reader, at)),
        b"device" => set(&mut device, at, |at| read_own_device(reader, at)),
        b"devices" => set(&mut devices, at, |at| read_roll_call(reader, at)),
        _ => Err(CodecError::Newer { path: at }),
    })?;
    let missing = |key| CodecError::MissingKey {
        path: path.clone().member(key),
    };
    Ok(Account {
        host: host.ok_or_else(|| missing("host"))?,
        port: port.ok_or_else(|| missing("port"))?,
        key: key.ok_or_else(|| missing("key"))?,
        trust: trust.ok_or_else(|| missing("trust"))?,
        confirmed: confirmed.ok_or_else(|| missing("confirmed"))?,
        seen: seen.unwrap_or_default(),
        last,
        retired: retired.unwrap_or_default(),
        is_lost: lost.unwrap_or_default(),
        shape: shape.unwrap_or_default(),
        device,
        devices: devices.unwrap_or_default(),
    })
}

pub(super) fn read_delta(reader: &mut Reader<'_>, path: &JsonPath) -> Result<Delta, CodecError> {
    let (mut time, mut received, mut sent) = (None, None, None);
    read_members(reader, path, |reader, name, at| match name {
        b"time" => set(&mut time, at, |at| read_time(reader, at)),
        b"received" => set(&mut received, at, |at| read_seen(reader, at)),
        b"sent" => set(&mut sent, at, |at| read_seen(reader, at)),
        _ => Err(CodecError::Newer { path: at }),
    })?;
    let missing = |key| CodecError::MissingKey {
        path: path.clone().member(key),
    };
    Ok(Delta {
        time: time.ok_or_else(|| missing("time"))?,
        received: received.ok_or_else(|| missing("received"))?,
        sent: sent.ok_or_else(|| missing("sent"))?,
    })
}

fn read_trust(reader: &mut Reader<'_>, path: &JsonPath) -> Result<Trust, CodecError> {
    let (mut by, mut pem, mut current, mut next) = (None, None, None, None);
    read_members(reader, path, |reader, name, at| match name {
        b"by" => set(&mut by, at, |at| read_string(reader, at)),
        b"pem" => set(&mut pem, at, |at| read_string(reader, at)),
        b"current" => set(&mut current, at, |at| read_pin(reader, at)),
        b"next" => set(&mut next, at, |at| read_pin(reader, at)),
        _ => Err(CodecError::Newer { path: at }),
    })?;
    let missing = |key| CodecError::MissingKey {
        path: path.clone().member(key),
    };
    let surplus = |key| CodecError::UnknownKey {
        path: path.clone().member(key),
    };
    let by = by.ok_or_else(|| missing("by"))?;
    match by.as_str() {
        "system" | "ca" if current.is_some() => Err(surplus("current")),
        "system" | "ca" if next.is_some() => Err(surplus("next")),
        "system" | "pin" if pem.is_some() => Err(surplus("pem")),
        "system" => Ok(Trust::System),
        "ca" => Ok(Trust::Ca(pem.ok_or_else(|| missing("pem"))?)),
        "pin" => Ok(Trust::Pins {
            current: current.ok_or_else(|| missing("current"))?,
            next,
        }),
        _ => Err(CodecError::Newer {
            path: path.clone().member("by"),
        }),
    }
}

/// Reads an object. `member` gets each key and its place, and reads the value.
pub(super) fn read_members(
    reader: &mut Reader<'_>,
    path: &JsonPath,
    mut member: impl FnMut(&mut Reader<'_>, &[u8], JsonPath) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    reader
        .begin_object("an object")
        .map_err(|fault| fault.at(path.clone()))?;
    let mut first = true;
    while let Some(key) = reader
        .next_key(&mut first)
        .map_err(|fault| fault.at(path.clone()))?
    {
        member(reader, key.as_bytes(), path.clone().key(&key))?;
    }
    Ok(())
}

/// Reads a value into its slot. A slot that is full means that the key is duplicate.
pub(super) fn set<T>(
    slot: &mut Option<T>,
    path: JsonPath,
    read: impl FnOnce(&JsonPath) -> Result<T, CodecError>,
) -> Result<(), CodecError> {
    if slot.is_some() {
        return Err(CodecError::DuplicateKey { path });
    }
    *slot = Some(read(&path)?);
    Ok(())
}

fn read_text(reader: &mut Reader<'_>, path: &JsonPath) -> Result<Text, CodecError> {
    reader
        .string("a text")
        .map_err(|fault| fault.at(path.clone()))
}

pub(super) fn read_string(reader: &mut Reader<'_>, path: &JsonPath) -> Result<String, CodecError> {
    let text = read_text(reader, path)?;
    let text = text.as_str().ok_or_else(|| CodecError::WrongShape {
        path: path.clone(),
        expected: "a text".into(),
    })?;
    Ok(text.to_owned())
}

fn read_port(reader: &mut Reader<'_>, path: &JsonPath) -> Result<u16, CodecError> {
    const EXPECTED: &str = "a port (1 to 65535)";
    let port = reader
        .integer(EXPECTED)
        .map_err(|fault| fault.at(path.clone()))?;
    let port = port
        .seconds()
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0);
    port.ok_or_else(|| CodecError::WrongShape {
        path: path.clone(),
        expected: EXPECTED.into(),
    })
}

fn read_key(reader: &mut Reader<'_>, path: &JsonPath) -> Result<SyncKey, CodecError> {
    let text = read_text(reader, path)?;
    let key = text.as_str().and_then(|text| SyncKey::parse(text).ok());
    key.ok_or_else(|| CodecError::WrongShape {
        path: path.clone(),
        expected: "a sync key".into(),
    })
}

/// A list of keys. An earlier form has one key as a text.
fn read_retired(reader: &mut Reader<'_>, path: &JsonPath) -> Result<Vec<Retired>, CodecError> {
    if reader.peek() == Some(b'"') {
        let key = read_key(reader, path)?;
        return Ok(vec![Retired {
            key,
            is_lost: false,
        }]);
    }
    let mut retired = Vec::new();
    reader
        .begin_array("a list of accounts")
        .map_err(|fault| fault.at(path.clone()))?;
    let mut first = true;
    while reader
        .next_item(&mut first)
        .map_err(|fault| fault.at(path.clone()))?
    {
        let at = path.clone().index(retired.len());
        if retired.len() >= RETIRED_MAX {
            return Err(CodecError::TooMany {
                what: "retired accounts".into(),
                limit: RETIRED_MAX,
            });
        }
        let (mut key, mut lost) = (None, None);
        read_members(reader, &at, |reader, name, at| match name {
            b"key" => set(&mut key, at, |at| read_key(reader, at)),
            b"lost" => set(&mut lost, at, |at| read_bool(reader, at)),
            _ => Err(CodecError::Newer { path: at }),
        })?;
        let key = key.ok_or_else(|| CodecError::MissingKey {
            path: at.member("key"),
        })?;
        let is_lost = lost.unwrap_or_default();
        retired.push(Retired { key, is_lost });
    }
    Ok(retired)
}

/// The account number in the file while the account is only requested. No account has this number.
const NO_NUMBER: [u8; ACCOUNT_LEN] = [0; ACCOUNT_LEN];

fn read_account_key(reader: &mut Reader<'_>, path: &JsonPath) -> Result<AccountKey, CodecError> {
    let key = read_key(reader, path)?;
    Ok(match key.account() {
        NO_NUMBER => AccountKey::Requested(key.key().clone()),
        _ => AccountKey::Granted(key),
    })
}

fn write_account_key(sink: &mut impl Sink, key: &AccountKey) {
    let text = match key {
        AccountKey::Requested(secret) => SyncKey::from_parts(NO_NUMBER, secret.clone()).to_text(),
        AccountKey::Granted(key) => key.to_text(),
    };
    write_str(sink, &text);
}

pub(super) fn read_time(reader: &mut Reader<'_>, path: &JsonPath) -> Result<i64, CodecError> {
    const EXPECTED: &str = "seconds since 1970";
    let time = reader
        .integer(EXPECTED)
        .map_err(|fault| fault.at(path.clone()))?;
    time.seconds().ok_or_else(|| CodecError::WrongShape {
        path: path.clone(),
        expected: EXPECTED.into(),
    })
}

pub(super) fn read_seen(
    reader: &mut Reader<'_>,
    path: &JsonPath,
) -> Result<SeenChanges, CodecError> {
    let text = read_text(reader, path)?;
    let seen = text.as_str().and_then(SeenChanges::parse);
    seen.ok_or_else(|| CodecError::WrongShape {
        path: path.clone(),
        expected: "16 hex digits for each change".into(),
    })
}

fn read_pin(reader: &mut Reader<'_>, path: &JsonPath) -> Result<Pin, CodecError> {
    let text = read_text(reader, path)?;
    let pin = text.as_str().and_then(|text| text.parse().ok());
    pin.ok_or_else(|| CodecError::WrongShape {
        path: path.clone(),
        expected: "a pin".into(),
    })
}

fn read_shape(reader: &mut Reader<'_>, path: &JsonPath) -> Result<Shape, CodecError> {
    match read_text(reader, path)?.as_bytes() {
        b"desktop" => Ok(Shape::Desktop),
        b"upgraded" => Ok(Shape::Upgraded),
        _ => Err(CodecError::Newer { path: path.clone() }),
    }
}

fn read_bool(reader: &mut Reader<'_>, path: &JsonPath) -> Result<bool, CodecError> {
    if reader.literal("true") {
        return Ok(true);
    }
    if reader.literal("false") {
        return Ok(false);
    }
    Err(reader.unexpected("true or false").at(path.clone()))
}

pub(super) fn write_account(sink: &mut impl Sink, account: &Account) {
    let Account {
        host,
        port,
        key,
        trust,
        confirmed,
        seen,
        last,
        retired,
        is_lost,
        shape,
        device,
        devices,
    } = account;
    sink.put(b"{\"host\":");
    write_str(sink, host);
    sink.put(b",\"port\":");
    sink.put(Stamp::from_seconds(i64::from(*port)).to_string().as_bytes());
    sink.put(b",\"key\":");
    write_account_key(sink, key);
    sink.put(b",\"trust\":{\"by\":");
    match trust {
        Trust::System => sink.put(b"\"system\""),
        Trust::Ca(pem) => {
            sink.put(b"\"ca\",\"pem\":");
            write_str(sink, pem);
        }
        Trust::Pins { current, next } => {
            sink.put(b"\"pin\",\"current\":");
            write_str(sink, &current.to_string());
            if let Some(next) = next {
                sink.put(b",\"next\":");
                write_str(sink, &next.to_string());
            }
        }
    }
    sink.put(b"},\"confirmed\":");
    sink.put(if *confirmed { b"true" } else { b"false" });
    if !seen.is_empty() {
        sink.put(b",\"seen\":");
        write_str(sink, &seen.to_text());
    }
    if let Some(last) = last {
        sink.put(b",\"last\":");
        write_delta(sink, last);
    }
    for (index, Retired { key, is_lost }) in retired.iter().enumerate() {
        sink.put(if index == 0 {
            b",\"retired\":[{\"key\":"
        } else {
            b",{\"key\":"
        });
        write_str(sink, &key.to_text());
        if *is_lost {
            sink.put(b",\"lost\":true");
        }
        sink.put(b"}");
    }
    if !retired.is_empty() {
        sink.put(b"]");
    }
    if *is_lost {
        sink.put(b",\"lost\":true");
    }
    match shape {
        Shape::Modern => {}
        Shape::Desktop => sink.put(b",\"shape\":\"desktop\""),
        Shape::Upgraded => sink.put(b",\"shape\":\"upgraded\""),
    }
    if let Some(device) = device {
        sink.put(b",\"device\":");
        write_own_device(sink, device);
    }
    if !devices.is_empty() {
        sink.put(b",\"devices\":");
        write_roll_call(sink, devices);
    }
    sink.put(b"}");
}

pub(super) fn write_delta(
    sink: &mut impl Sink,
    Delta {
        time,
        received,
        sent,
    }: &Delta,
) {
    sink.put(b"{\"time\":");
    sink.put(Stamp::from_seconds(*time).to_string().as_bytes());
    sink.put(b",\"received\":");
    write_str(sink, &received.to_text());
    sink.put(b",\"sent\":");
    write_str(sink, &sent.to_text());
    sink.put(b"}");
}
