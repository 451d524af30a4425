//! Vaults as JSON: strict, versioned, and lossless.
//!
//! | document | read | written |
//! |---|---|---|
//! | Passmate's vault file, version 3 | [`decode_vault_file`] | [`encode_v3`] |
//! | Passmate 2, the original program's `.pmdb` | [`decode_vault_file`] | [`encode_passmate2`] |
//! | btoken: Passmate 2, purpose `sync_copy`, packed | [`decode_btoken`] | [`encode_btoken_as`] |
//! | the same as it is before it is packed | [`decode_btoken`] | [`encode_btoken_with`] |
//! | btoken of the desktop client | [`decode_btoken`] | [`encode_desktop_btoken`] |
//!
//! The rules are:
//!  - a reader accepts every document that the original program loads, and every vault that a merge
//!    can produce;
//!  - a reader refuses anything else, with an error that names the place and holds no value;
//!  - equal vaults are written as equal bytes;
//!  - a document that was written is within the limits of the reader.

mod account;
mod baseline;
pub mod btoken;
pub mod container;
mod desktop;
mod error;
pub mod folder_copy;
mod packed;
mod parts;
mod passmate2;
mod path;
mod reader;
mod records;
mod roll_call;
mod shared_folder;
mod undo;
mod writer;

use zeroize::Zeroizing;

pub use error::{CodecError, EncodeError};
pub use packed::EXPANSION_MAX;
pub use passmate2::{Passmate2, encode_passmate2, encode_sync_copy};
pub use path::JsonPath;

use crate::compat::Original;
use crate::history::undo::UndoLog;
use crate::log_key::LogKey;
use crate::record::{Stamp, Vault};
use crate::sync::account::Account;
use crate::sync::baseline::Baseline;
use crate::sync::roll_call::RollCall;
use crate::sync::shape::Shape;
use crate::sync::shared_folder::SharedFolder;
use account::write_account;
use baseline::write_baseline;
use btoken::BTOKEN_OVERHEAD;
use parts::{DEVICES, PURGED, Parts, SINCE, begin, end, next_key, read_parts};
use reader::Fault;
use records::{write_purged, write_records};
use roll_call::{check_device_count, write_roll_call};
use shared_folder::write_folder;
use undo::write_undo;
use writer::{Sink, Write, write_padded, write_str};

/// The longest document that is read or written, in bytes, padding included.
pub const DOCUMENT_LEN_MAX: usize = 256 * 1024 * 1024;
/// The most records that a document may have, deleted ones included.
pub const RECORDS_MAX: usize = 1_000_000;
/// The most changes that a document may have, over all records.
pub const CHANGES_MAX: usize = 4_000_000;

/// The content of a vault file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// All records.
    pub vault: Vault,
    /// The account that the vault is tied to; only version 3 has one.
    pub account: Option<Account>,
    /// The shared folder in which the vault takes part; only version 3 has one.
    pub folder: Option<SharedFolder>,
    /// What others altered since a person agreed; only version 3 has one.
    pub baseline: Option<Baseline>,
    /// What can be undone and redone on this device; only version 3 has it.
    pub undo: UndoLog,
    /// The key of the log of uses beside the vault; only version 3 has it.
    pub log_key: Option<LogKey>,
    /// Whether this is a vault or a copy for other devices.
    pub purpose: Purpose,
    /// The version that was read. [`encode_v3`] ignores it and writes version 3.
    pub version: Version,
}

impl Document {
    /// A version 3 document for a vault without an account.
    pub fn new(vault: Vault) -> Self {
        Self {
            vault,
            account: None,
            folder: None,
            baseline: None,
            undo: UndoLog::default(),
            log_key: None,
            purpose: Purpose::Primary,
            version: Version::V3,
        }
    }
}

/// The purpose of a vault file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A device's own vault.
    Primary,
    /// A copy for other devices. The original program reads one as a vault but never saves it.
    SyncCopy,
}

/// The formats of a vault file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// That of the original program, Passmate 2.
    Passmate2,
    /// Passmate's own, version 3.
    V3,
}

/// The content of a btoken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Btoken {
    /// All records.
    pub vault: Vault,
    /// The devices of the account; empty in the desktop client's shape.
    pub devices: RollCall,
    /// The shape that was read.
    pub shape: BtokenShape,
}

/// The shapes of a btoken's plaintext.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BtokenShape {
    /// Passmate's own: Passmate 2 with purpose `sync_copy`.
    Passmate2,
    /// The desktop client's.
    Desktop,
}

/// Reads the plaintext of a vault file: version 3 or Passmate 2. Blanks may follow.
pub fn decode_vault_file(plaintext: &[u8]) -> Result<Document, CodecError> {
    let mut reader = begin(plaintext)?;
    reader
        .begin_object("an object")
        .map_err(|fault| fault.at(JsonPath::document()))?;
    let mut first = true;
    let first_key = next_key(&mut reader, &mut first)?;
    let parts = read_parts(&mut reader, first_key)?;
    end(&mut reader)?;
    let version = parts.known_version()?;
    if version == Version::Passmate2 {
        refuse_ours(&parts)?;
    }
    let Parts {
        purpose,
        records,
        account,
        folder,
        baseline,
        undo,
        log_key,
        since,
        purged,
        devices,
        ..
    } = parts;
    let missing = |key| CodecError::MissingKey {
        path: JsonPath::document().member(key),
    };
    let purpose = purpose.ok_or_else(|| missing("purpose"))?;
    let (vault, found) = records.ok_or_else(|| missing("records"))?;
    match version {
        Version::Passmate2 => {
            for (is_there, key) in [
                (since.is_some(), SINCE),
                (purged.is_some(), PURGED),
                (devices.is_some(), DEVICES),
            ] {
                if is_there {
                    let path = JsonPath::document().member(key);
                    return Err(CodecError::UnknownKey { path });
                }
            }
            if let Some(path) = found.list {
                return Err(CodecError::WrongShape {
                    path,
                    expected: "a text or null".into(),
                });
            }
        }
        Version::V3 => {
            if purpose != Purpose::Primary {
                let path = JsonPath::document().member("purpose");
                return Err(CodecError::WrongPurpose {
                    path,
                    expected: "primary".into(),
                });
            }
            // Version 3 has the devices in the account.
            if devices.is_some() {
                return Err(CodecError::Newer {
                    path: JsonPath::document().member(DEVICES),
                });
            }
        }
    }
    Ok(Document {
        vault: assemble(vault, purged, since),
        account,
        folder,
        baseline,
        undo: undo.unwrap_or_default(),
        log_key,
        purpose,
        version,
    })
}

/// Refuses members that only version 3 has.
fn refuse_ours(parts: &Parts) -> Result<(), CodecError> {
    let found = [
        (parts.account.is_some(), "sync"),
        (parts.folder.is_some(), "folder"),
        (parts.baseline.is_some(), "baseline"),
        (parts.undo.is_some(), "undo"),
        (parts.log_key.is_some(), "log_key"),
    ];
    match found.iter().find(|(is_there, _)| *is_there) {
        Some((_, member)) => Err(CodecError::UnknownKey {
            path: JsonPath::document().member(member),
        }),
        None => Ok(()),
    }
}

/// Reads the plaintext of a btoken in either shape, packed or not. Blanks may follow.
pub fn decode_btoken(plaintext: &[u8]) -> Result<Btoken, CodecError> {
    if !packed::is_packed(plaintext) {
        return decode_unpacked(plaintext);
    }
    let btoken = decode_unpacked(&packed::unpack(plaintext)?)?;
    match btoken.shape {
        BtokenShape::Passmate2 => Ok(btoken),
        // No desktop client could read it.
        BtokenShape::Desktop => Err(CodecError::WrongShape {
            path: JsonPath::document(),
            expected: "a sync copy, as a packed document must be".into(),
        }),
    }
}

fn decode_unpacked(plaintext: &[u8]) -> Result<Btoken, CodecError> {
    let mut reader = begin(plaintext)?;
    let in_document = |fault: Fault| fault.at(JsonPath::document());
    if reader.literal("null") {
        end(&mut reader)?;
        return Ok(desktop_btoken(Vault::new()));
    }
    if reader.peek() == Some(b'[') {
        reader.begin_array("an object").map_err(in_document)?;
        if reader.next_item(&mut true).map_err(in_document)? {
            return Err(CodecError::WrongShape {
                path: JsonPath::document(),
                expected: "an object".into(),
            });
        }
        end(&mut reader)?;
        return Ok(desktop_btoken(Vault::new()));
    }
    reader.begin_object("an object").map_err(in_document)?;
    let mut first = true;
    let first_key = next_key(&mut reader, &mut first)?;
    // Every member of the desktop client's object is a list. No member of ours is a list.
    if first_key.is_none() || reader.peek() == Some(b'[') {
        let vault = desktop::read_records(&mut reader, first_key)?;
        end(&mut reader)?;
        return Ok(desktop_btoken(vault));
    }
    let parts = read_parts(&mut reader, first_key)?;
    end(&mut reader)?;
    if parts.known_version()? != Version::Passmate2 {
        return Err(CodecError::Newer {
            path: JsonPath::document().member("version"),
        });
    }
    let missing = |key| CodecError::MissingKey {
        path: JsonPath::document().member(key),
    };
    if parts.purpose.ok_or_else(|| missing("purpose"))? != Purpose::SyncCopy {
        let path = JsonPath::document().member("purpose");
        return Err(CodecError::WrongPurpose {
            path,
            expected: "sync_copy".into(),
        });
    }
    refuse_ours(&parts)?;
    let (vault, _) = parts.records.ok_or_else(|| missing("records"))?;
    Ok(Btoken {
        vault: assemble(vault, parts.purged, parts.since),
        devices: parts.devices.unwrap_or_default(),
        shape: BtokenShape::Passmate2,
    })
}

fn desktop_btoken(vault: Vault) -> Btoken {
    Btoken {
        vault,
        devices: RollCall::new(),
        shape: BtokenShape::Desktop,
    }
}

/// The vault of a document, from its members.
fn assemble(records: Vault, purged: Option<Vault>, since: Option<i64>) -> Vault {
    let mut vault = records;
    if let Some(purged) = purged {
        vault.merge(&purged);
    }
    Vault { since, ..vault }
}

/// Writes a vault file of version 3, padded with blanks to a multiple of 4096 bytes.
pub fn encode_v3(document: &Document) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    struct V3<'a>(&'a Document);
    impl Write for V3<'_> {
        fn write(&self, sink: &mut impl Sink) {
            sink.put(b"{\"version\":3,\"purpose\":\"primary\"");
            if let Some(account) = &self.0.account {
                sink.put(b",\"sync\":");
                write_account(sink, account);
            }
            if let Some(folder) = &self.0.folder {
                sink.put(b",\"folder\":");
                write_folder(sink, folder);
            }
            if let Some(baseline) = &self.0.baseline {
                sink.put(b",\"baseline\":");
                write_baseline(sink, baseline);
            }
            if !self.0.undo.is_empty() {
                sink.put(b",\"undo\":");
                write_undo(sink, &self.0.undo);
            }
            if let Some(key) = &self.0.log_key {
                sink.put(b",\"log_key\":");
                write_str(sink, &key.to_hex());
            }
            write_vault(sink, &self.0.vault);
            sink.put(b"}");
        }
    }
    check_counts(&document.vault)?;
    if let Some(account) = &document.account {
        check_device_count(&account.devices)?;
    }
    write_padded(&V3(document), DOCUMENT_LEN_MAX).ok_or(EncodeError::TooLong {
        limit: DOCUMENT_LEN_MAX,
    })
}

/// Writes the plaintext of a btoken without devices, not packed, padded with blanks to a multiple
/// of 4096 bytes.
///
/// The document is Passmate 2 with purpose `sync_copy`. It has all changes, even those that the
/// original program would refuse (see [`encode_passmate2`]). Values of several lines are JSON
/// arrays.
pub fn encode_btoken(vault: &Vault) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    encode_btoken_with(vault, &RollCall::new())
}

/// Writes the plaintext of a btoken like [`encode_btoken`], with the devices of the account.
pub fn encode_btoken_with(
    vault: &Vault,
    devices: &RollCall,
) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    encode_version_2(vault, Purpose::SyncCopy, devices)
}

/// Writes the plaintext of a btoken in the shape of an account: packed if that is shorter, or for
/// the desktop client, which cannot read that, plain and without the devices.
pub fn encode_btoken_as(
    shape: Shape,
    vault: &Vault,
    devices: &RollCall,
) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    match shape {
        Shape::Modern | Shape::Upgraded => {
            let document = encode_btoken_with(vault, devices)?;
            Ok(packed::pack(&document).unwrap_or(document))
        }
        Shape::Desktop => encode_desktop_btoken(vault),
    }
}

/// Whether a vault in the shape of an account makes a btoken of at most this many bytes. It is
/// packed only if it does not fit as it is.
pub fn fits_as(
    shape: Shape,
    vault: &Vault,
    devices: &RollCall,
    len_max: usize,
) -> Result<bool, EncodeError> {
    let room = len_max.saturating_sub(BTOKEN_OVERHEAD);
    if shape != Shape::Desktop && encode_btoken_with(vault, devices)?.len() <= room {
        return Ok(true);
    }
    Ok(encode_btoken_as(shape, vault, devices)?.len() <= room)
}

/// Writes the plaintext of a btoken for the desktop client, padded with blanks to a multiple of
/// 4096 bytes. It has the [part](Vault::part_for) of the vault that the desktop client can read.
pub fn encode_desktop_btoken(vault: &Vault) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    struct Desktop(Vault);
    impl Write for Desktop {
        fn write(&self, sink: &mut impl Sink) {
            desktop::write_records(sink, &self.0);
        }
    }
    let part = vault.part_for(Original::Desktop);
    check_counts(&part)?;
    write_padded(&Desktop(part), DOCUMENT_LEN_MAX).ok_or(EncodeError::TooLong {
        limit: DOCUMENT_LEN_MAX,
    })
}

fn encode_version_2(
    vault: &Vault,
    purpose: Purpose,
    devices: &RollCall,
) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    struct Version2<'a>(&'a Vault, Purpose, &'a RollCall);
    impl Write for Version2<'_> {
        fn write(&self, sink: &mut impl Sink) {
            sink.put(match self.1 {
                Purpose::Primary => b"{\"version\":2,\"purpose\":\"primary\"".as_slice(),
                Purpose::SyncCopy => b"{\"version\":2,\"purpose\":\"sync_copy\"",
            });
            if !self.2.is_empty() {
                sink.put(b",\"devices\":");
                write_roll_call(sink, self.2);
            }
            write_vault(sink, self.0);
            sink.put(b"}");
        }
    }
    check_counts(vault)?;
    check_device_count(devices)?;
    write_padded(&Version2(vault, purpose, devices), DOCUMENT_LEN_MAX).ok_or(EncodeError::TooLong {
        limit: DOCUMENT_LEN_MAX,
    })
}

fn check_counts(vault: &Vault) -> Result<(), EncodeError> {
    if vault.records().len() > RECORDS_MAX {
        return Err(EncodeError::TooMany {
            what: "records".into(),
            limit: RECORDS_MAX,
        });
    }
    if vault.change_count() > CHANGES_MAX {
        return Err(EncodeError::TooMany {
            what: "changes".into(),
            limit: CHANGES_MAX,
        });
    }
    Ok(())
}

fn write_vault(sink: &mut impl Sink, vault: &Vault) {
    if vault.purged_count() > 0 {
        sink.put(b",\"purged\":");
        write_purged(sink, vault);
    }
    if let Some(since) = vault.history_since() {
        sink.put(b",\"history_since\":");
        sink.put(Stamp::from_seconds(since).to_string().as_bytes());
    }
    sink.put(b",\"records\":");
    write_records(sink, vault);
}
