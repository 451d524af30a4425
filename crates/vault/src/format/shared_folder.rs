//! A shared folder as JSON, inside a vault file of version 3.

use std::collections::BTreeSet;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use super::account::{read_delta, read_members, read_seen, read_string, set, write_delta};
use super::error::CodecError;
use super::path::JsonPath;
use super::reader::Reader;
use super::writer::{Sink, write_str};
use crate::folder_key::FolderKey;
use crate::secret::Passphrase;
use crate::sync::shared_folder::{CopyId, OwnCopy, PASSPHRASES_MAX, SharedFolder};

pub(super) fn read_folder(
    reader: &mut Reader<'_>,
    folder: &JsonPath,
) -> Result<SharedFolder, CodecError> {
    let (mut path, mut host, mut key, mut passphrases) = (None, None, None, None);
    let (mut merged, mut tried, mut own, mut given, mut last) = (None, None, None, None, None);
    read_members(reader, folder, |reader, name, at| match name {
        b"path" => set(&mut path, at, |at| read_string(reader, at)),
        b"host" => set(&mut host, at, |at| read_string(reader, at)),
        b"key" => set(&mut key, at, |at| read_key(reader, at)),
        b"passphrases" => set(&mut passphrases, at, |at| read_passphrases(reader, at)),
        b"merged" => set(&mut merged, at, |at| read_copy_ids(reader, at)),
        b"tried" => set(&mut tried, at, |at| read_copy_ids(reader, at)),
        b"given" => set(&mut given, at, |at| read_seen(reader, at)),
        b"own" => set(&mut own, at, |at| read_own(reader, at)),
        b"last" => set(&mut last, at, |at| read_delta(reader, at)),
        _ => Err(CodecError::Newer { path: at }),
    })?;
    let missing = |key| CodecError::MissingKey {
        path: folder.clone().member(key),
    };
    Ok(SharedFolder {
        path: path.ok_or_else(|| missing("path"))?,
        host_id: host.ok_or_else(|| missing("host"))?,
        key,
        passphrases: passphrases.unwrap_or_default(),
        merged: merged.unwrap_or_default(),
        tried: tried.unwrap_or_default(),
        own,
        given: given.unwrap_or_default(),
        last,
    })
}

fn read_key(reader: &mut Reader<'_>, path: &JsonPath) -> Result<FolderKey, CodecError> {
    let text = Zeroizing::new(read_string(reader, path)?);
    FolderKey::parse(&text).map_err(|_| CodecError::WrongShape {
        path: path.clone(),
        expected: "a folder key".into(),
    })
}

/// Each passphrase is a text of hex digits, because it may be any bytes.
fn read_passphrases(
    reader: &mut Reader<'_>,
    path: &JsonPath,
) -> Result<Vec<Passphrase>, CodecError> {
    let mut passphrases = Vec::new();
    reader
        .begin_array("a list of passphrases")
        .map_err(|fault| fault.at(path.clone()))?;
    let mut first = true;
    while reader
        .next_item(&mut first)
        .map_err(|fault| fault.at(path.clone()))?
    {
        let at = path.clone().index(passphrases.len());
        if passphrases.len() >= PASSPHRASES_MAX {
            return Err(CodecError::TooMany {
                what: "passphrases".into(),
                limit: PASSPHRASES_MAX,
            });
        }
        let text = Zeroizing::new(read_string(reader, &at)?);
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes());
        let bytes = bytes.map_err(|_| CodecError::WrongShape {
            path: at,
            expected: "a passphrase as hex digits".into(),
        })?;
        passphrases.push(Passphrase::from_bytes(bytes));
    }
    Ok(passphrases)
}

fn read_copy_ids(reader: &mut Reader<'_>, path: &JsonPath) -> Result<BTreeSet<CopyId>, CodecError> {
    let text = read_string(reader, path)?;
    let wrong = || CodecError::WrongShape {
        path: path.clone(),
        expected: "32 hex digits for each copy".into(),
    };
    let ids: Option<BTreeSet<CopyId>> = (0..text.len())
        .step_by(32)
        .map(|at| from_hex(text.get(at..at + 32)?))
        .collect();
    ids.ok_or_else(wrong)
}

fn read_own(reader: &mut Reader<'_>, path: &JsonPath) -> Result<OwnCopy, CodecError> {
    let text = read_string(reader, path)?;
    let wrong = || CodecError::WrongShape {
        path: path.clone(),
        expected: "128 hex digits".into(),
    };
    let (content, file) = text.split_at_checked(64).ok_or_else(wrong)?;
    Ok(OwnCopy {
        content: from_hex(content).ok_or_else(wrong)?,
        file: from_hex(file).ok_or_else(wrong)?,
    })
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok()
}

pub(super) fn write_folder(sink: &mut impl Sink, folder: &SharedFolder) {
    let SharedFolder {
        path,
        host_id,
        key,
        passphrases,
        merged,
        tried,
        own,
        given,
        last,
    } = folder;
    sink.put(b"{\"path\":");
    write_str(sink, path);
    sink.put(b",\"host\":");
    write_str(sink, host_id);
    if let Some(key) = key {
        sink.put(b",\"key\":");
        write_str(sink, &key.to_text());
    }
    if !passphrases.is_empty() {
        sink.put(b",\"passphrases\":");
        for (index, passphrase) in passphrases.iter().enumerate() {
            sink.put(if index == 0 { b"[" } else { b"," });
            let text = Zeroizing::new(HEXLOWER.encode(passphrase.as_bytes()));
            write_str(sink, &text);
        }
        sink.put(b"]");
    }
    for (member, ids) in [(&b",\"merged\":"[..], merged), (b",\"tried\":", tried)] {
        if !ids.is_empty() {
            sink.put(member);
            let mut text = String::with_capacity(32 * ids.len());
            ids.iter()
                .for_each(|id| HEXLOWER.encode_append(id, &mut text));
            write_str(sink, &text);
        }
    }
    if let Some(OwnCopy { content, file }) = own {
        sink.put(b",\"own\":");
        let mut text = String::with_capacity(128);
        HEXLOWER.encode_append(content, &mut text);
        HEXLOWER.encode_append(file, &mut text);
        write_str(sink, &text);
    }
    if !given.is_empty() {
        sink.put(b",\"given\":");
        write_str(sink, &given.to_text());
    }
    if let Some(last) = last {
        sink.put(b",\"last\":");
        write_delta(sink, last);
    }
    sink.put(b"}");
}
