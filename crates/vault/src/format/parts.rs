//! The members of a document of Passmate 2 and of version 3.

use zeroize::Zeroizing;

use super::account::{read_account, read_string, set};
use super::baseline::read_baseline;
use super::error::CodecError;
use super::path::JsonPath;
use super::reader::Reader;
use super::records::{Found, is_key, read_purged, read_records};
use super::roll_call::read_roll_call;
use super::shared_folder::read_folder;
use super::undo::read_undo;
use super::{DOCUMENT_LEN_MAX, Purpose, Version};
use crate::history::undo::UndoLog;
use crate::log_key::LogKey;
use crate::record::{Text, Vault};
use crate::sync::account::Account;
use crate::sync::baseline::Baseline;
use crate::sync::roll_call::RollCall;
use crate::sync::shared_folder::SharedFolder;

/// The member for the devices of the account.
pub(super) const DEVICES: &str = "devices";
/// The member for the time at which the history begins.
pub(super) const SINCE: &str = "history_since";
/// The member for the changes that were purged.
pub(super) const PURGED: &str = "purged";

/// The members of a document of version 2 or 3, which may come in any order.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) version: Option<Result<Version, CodecError>>,
    pub(super) purpose: Option<Purpose>,
    pub(super) records: Option<(Vault, Found)>,
    pub(super) account: Option<Account>,
    pub(super) folder: Option<SharedFolder>,
    pub(super) baseline: Option<Baseline>,
    pub(super) undo: Option<UndoLog>,
    pub(super) log_key: Option<LogKey>,
    pub(super) since: Option<i64>,
    pub(super) purged: Option<Vault>,
    pub(super) devices: Option<RollCall>,
}

impl Parts {
    pub(super) fn known_version(&self) -> Result<Version, CodecError> {
        let missing = || CodecError::MissingKey {
            path: JsonPath::document().member("version"),
        };
        self.version.clone().ok_or_else(missing)?
    }
}

pub(super) fn read_parts(
    reader: &mut Reader<'_>,
    first_key: Option<Text>,
) -> Result<Parts, CodecError> {
    let mut parts = Parts::default();
    let mut next = first_key;
    while let Some(key) = next {
        let path = JsonPath::document().key(&key);
        if is_key(&key, "version") {
            set(&mut parts.version, path, |path| read_version(reader, path))?;
            // Check the version before reading members that a newer version may have changed.
            parts.known_version()?;
        } else if is_key(&key, "purpose") {
            set(&mut parts.purpose, path, |path| read_purpose(reader, path))?;
        } else if is_key(&key, "records") {
            set(&mut parts.records, path, |path| read_records(reader, path))?;
        } else if is_key(&key, "sync") {
            set(&mut parts.account, path, |path| read_account(reader, path))?;
        } else if is_key(&key, "folder") {
            set(&mut parts.folder, path, |path| read_folder(reader, path))?;
        } else if is_key(&key, "baseline") {
            set(&mut parts.baseline, path, |path| {
                read_baseline(reader, path)
            })?;
        } else if is_key(&key, "undo") {
            set(&mut parts.undo, path, |path| read_undo(reader, path))?;
        } else if is_key(&key, "log_key") {
            set(&mut parts.log_key, path, |path| read_log_key(reader, path))?;
        } else if is_key(&key, SINCE) {
            set(&mut parts.since, path, |path| read_since(reader, path))?;
        } else if is_key(&key, PURGED) {
            set(&mut parts.purged, path, |path| read_purged(reader, path))?;
        } else if is_key(&key, DEVICES) {
            set(&mut parts.devices, path, |path| {
                read_roll_call(reader, path)
            })?;
        } else if parts.version == Some(Ok(Version::V3)) {
            return Err(CodecError::Newer { path });
        } else {
            return Err(CodecError::UnknownKey { path });
        }
        next = next_key(reader, &mut false)?;
    }
    Ok(parts)
}

fn read_log_key(reader: &mut Reader<'_>, path: &JsonPath) -> Result<LogKey, CodecError> {
    let text = Zeroizing::new(read_string(reader, path)?);
    LogKey::from_hex(&text).ok_or_else(|| CodecError::WrongShape {
        path: path.clone(),
        expected: "a key of 64 hex digits".into(),
    })
}

/// Reads a number equal to 2 or 3 in any notation, as Python compares it.
fn read_version(
    reader: &mut Reader<'_>,
    path: &JsonPath,
) -> Result<Result<Version, CodecError>, CodecError> {
    let version = reader
        .integer("a version")
        .map_err(|fault| fault.at(path.clone()))?;
    Ok(match version.seconds() {
        Some(2) => Ok(Version::Passmate2),
        Some(3) => Ok(Version::V3),
        Some(4..) => Err(CodecError::Newer { path: path.clone() }),
        _ => Err(CodecError::VersionUnsupported),
    })
}

fn read_since(reader: &mut Reader<'_>, path: &JsonPath) -> Result<i64, CodecError> {
    const EXPECTED: &str = "seconds between 1970 and 9999";
    let since = reader
        .integer(EXPECTED)
        .map_err(|fault| fault.at(path.clone()))?;
    since
        .deciding_seconds()
        .ok_or_else(|| CodecError::WrongShape {
            path: path.clone(),
            expected: EXPECTED.into(),
        })
}

fn read_purpose(reader: &mut Reader<'_>, path: &JsonPath) -> Result<Purpose, CodecError> {
    const EXPECTED: &str = "a purpose (primary, sync_copy)";
    let purpose = reader
        .string(EXPECTED)
        .map_err(|fault| fault.at(path.clone()))?;
    match purpose.as_bytes() {
        b"primary" => Ok(Purpose::Primary),
        b"sync_copy" => Ok(Purpose::SyncCopy),
        _ => Err(CodecError::WrongShape {
            path: path.clone(),
            expected: EXPECTED.into(),
        }),
    }
}

pub(super) fn next_key(
    reader: &mut Reader<'_>,
    first: &mut bool,
) -> Result<Option<Text>, CodecError> {
    reader
        .next_key(first)
        .map_err(|fault| fault.at(JsonPath::document()))
}

pub(super) fn begin(plaintext: &[u8]) -> Result<Reader<'_>, CodecError> {
    if plaintext.len() > DOCUMENT_LEN_MAX {
        return Err(CodecError::TooLong {
            len: plaintext.len(),
            limit: DOCUMENT_LEN_MAX,
        });
    }
    let text = std::str::from_utf8(plaintext).map_err(|error| CodecError::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    if text.starts_with('\u{feff}') {
        return Err(CodecError::ByteOrderMark);
    }
    let mut reader = Reader::new(text);
    if reader.peek().is_none() {
        return Err(CodecError::Empty);
    }
    Ok(reader)
}

pub(super) fn end(reader: &mut Reader<'_>) -> Result<(), CodecError> {
    reader.end().map_err(|fault| fault.at(JsonPath::document()))
}
