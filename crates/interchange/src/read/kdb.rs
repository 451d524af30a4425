//! The file of KeePass 1 and KeePassX, `.kdb`, opened with a password, a key file or both.
//!
//! | part | bytes |
//! | --- | --- |
//! | signature, flags with the cipher, version | 8, 4, 4 |
//! | seed of the key, IV | 16, 16 |
//! | number of groups, of entries | 4, 4 |
//! | SHA-256 of the content | 32 |
//! | seed and rounds of AES-KDF | 32, 4 |
//! | content, under AES-256 or Twofish in CBC mode | the rest |
//!
//! The content has the groups and then the entries, each as fields of type (2), length (4) and
//! value, until the type 0xFFFF. A group has a level: it is within the last group before it whose
//! level is lower.
//!
//! The password is hashed in the code page of Windows. Texts are UTF-8.

use std::borrow::Cow;
use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use passmate_vault::login::FieldRole;
use zeroize::Zeroizing;

use super::item::{Collector, clean, host_of};
use super::kdbx::{Bytes, check_aes, derive_aes};
use super::keepass::key::{CompositeKey, key_of_plain_file};
use super::{Imported, ReadOptions};
use crate::crypto::{Key, decrypt_aes_cbc, decrypt_twofish_cbc, sha256};
use crate::error::ImportError;
use crate::limits::{ITEMS_MAX, NAME_LEN_MAX};
use crate::loss::Loss;
use crate::progress::Progress;
use crate::syntax::kdbx::expiry_of;

const AES: u32 = 2;
const TWOFISH: u32 = 8;
/// The version of the format, whose last byte may differ.
const VERSION: u32 = 0x0003_0000;
/// The time of an entry that never expires: 28 December 2999. KeePass shows any later one so.
const NEVER: i64 = 32_503_334_400;
const LEVELS_MAX: usize = 128;

const CONTENT: ImportError = ImportError::Damaged {
    what: "a group or an entry of it is cut off or wrong",
};

/// Reads a file, whose signature was checked.
pub(super) fn read(bytes: &[u8], options: ReadOptions<'_>) -> Result<Imported, ImportError> {
    let mut bytes = Bytes(bytes);
    let header = read_header(&mut bytes)?;
    check_aes(header.rounds.into())?;
    let parts = CompositeKey::of(&options, key_of_plain_file)?;
    let content = header.open(&parts, bytes.0, options.progress)?;
    read_content(&content, &header)
}

fn read_header(bytes: &mut Bytes<'_>) -> Result<Header, ImportError> {
    let _signature: [u8; 8] = bytes.array()?;
    let flags = u32::from_le_bytes(bytes.array()?);
    let version = u32::from_le_bytes(bytes.array()?);
    if version & 0xFFFF_FF00 != VERSION {
        return Err(ImportError::NotSupported {
            what: "a version of KeePass 1's format other than 3",
        });
    }
    Ok(Header {
        is_twofish: match (flags & AES, flags & TWOFISH) {
            (AES, _) => false,
            (_, TWOFISH) => true,
            _ => {
                return Err(ImportError::NotSupported {
                    what: "an unknown cipher",
                });
            }
        },
        seed: bytes.array()?,
        iv: bytes.array()?,
        groups: u32::from_le_bytes(bytes.array()?),
        entries: u32::from_le_bytes(bytes.array()?),
        hash: bytes.array()?,
        kdf_seed: bytes.array()?,
        rounds: u32::from_le_bytes(bytes.array()?),
    })
}

struct Header {
    is_twofish: bool,
    seed: [u8; 16],
    iv: [u8; 16],
    groups: u32,
    entries: u32,
    hash: [u8; 32],
    kdf_seed: [u8; 32],
    rounds: u32,
}

impl Header {
    fn open(
        &self,
        parts: &CompositeKey<'_>,
        ciphertext: &[u8],
        progress: Option<&Progress>,
    ) -> Result<Zeroizing<Vec<u8>>, ImportError> {
        for composite in composites_of(parts) {
            let transformed = derive_aes(&self.kdf_seed, self.rounds.into(), &composite, progress);
            let key = Zeroizing::new(sha256(&[&self.seed, transformed.as_slice()]));
            let content = if self.is_twofish {
                decrypt_twofish_cbc(&key, &self.iv, ciphertext)
            } else {
                decrypt_aes_cbc(&key, &self.iv, ciphertext)
            };
            // Only this hash proves the key.
            if let Some(content) = content.filter(|content| sha256(&[content]) == self.hash) {
                return Ok(content);
            }
        }
        Err(parts.wrong())
    }
}

/// The keys to try: the password in the code page of Windows, and as UTF-8, which KeePassX used.
fn composites_of(parts: &CompositeKey<'_>) -> Vec<Key> {
    let Some(password) = parts.password else {
        return parts.key_file.iter().cloned().collect();
    };
    let hash_of = |password: &[u8]| {
        let hash = Zeroizing::new(sha256(&[password]));
        match &parts.key_file {
            None => hash,
            Some(key) => Zeroizing::new(sha256(&[hash.as_slice(), key.as_slice()])),
        }
    };
    let text = String::from_utf8_lossy(password);
    let windows: Option<Zeroizing<Vec<u8>>> = text
        .chars()
        .map(in_windows_1252)
        .collect::<Option<Vec<u8>>>()
        .map(Zeroizing::new);
    let mut keys: Vec<Key> = windows.iter().map(|bytes| hash_of(bytes)).collect();
    if !password.is_ascii() {
        keys.push(hash_of(password));
    }
    keys
}

/// The byte of a character in the code page 1252.
fn in_windows_1252(character: char) -> Option<u8> {
    // The characters of the bytes from 0x80 to 0x9F. Those that are not assigned are U+FFFD.
    const HIGH: &str = "€\u{FFFD}‚ƒ„…†‡ˆ‰Š‹Œ\u{FFFD}Ž\u{FFFD}\u{FFFD}‘’“”•–—˜™š›œ\u{FFFD}žŸ";
    if matches!(character, '\0'..='\u{7F}' | '\u{A0}'..='\u{FF}') {
        return u8::try_from(u32::from(character)).ok();
    }
    let place = HIGH.chars().position(|high| high == character)?;
    u8::try_from(0x80 + place)
        .ok()
        .filter(|_| character != '\u{FFFD}')
}

/// The fields of a group or an entry by their types.
type Fields<'a> = BTreeMap<u16, &'a [u8]>;

fn read_fields<'a>(bytes: &mut Bytes<'a>) -> Result<Fields<'a>, ImportError> {
    let mut fields = Fields::new();
    loop {
        let kind = u16::from_le_bytes(bytes.array().map_err(|_| CONTENT)?);
        let len = u32::from_le_bytes(bytes.array().map_err(|_| CONTENT)?);
        let value = bytes.take(len).map_err(|_| CONTENT)?;
        match kind {
            u16::MAX => return Ok(fields),
            // A comment, which no program shows.
            0 => {}
            kind => drop(fields.insert(kind, value)),
        }
    }
}

fn number<const N: usize>(fields: &Fields<'_>, kind: u16) -> Option<[u8; N]> {
    (*fields.get(&kind)?).try_into().ok()
}

/// A text, which ends at its first zero byte; `None` if it is not UTF-8.
fn text<'a>(fields: &Fields<'a>, kind: u16) -> Option<&'a str> {
    let bytes = fields.get(&kind).copied().unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte == 0);
    std::str::from_utf8(bytes.get(..end.unwrap_or(bytes.len()))?).ok()
}

/// The time of a field, which has 6 bits of seconds and of minutes, 5 of hours and of days, 4 of
/// months, and 14 of years.
fn time(fields: &Fields<'_>, kind: u16) -> Option<i64> {
    let [a, b, c, d, e] = number::<5>(fields, kind)?;
    let packed = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
    let part = |shift: u32, bits: u32| i8::try_from((packed >> shift) & ((1 << bits) - 1)).ok();
    let year = i16::try_from(packed >> 26).ok()?;
    let time = DateTime::new(
        year,
        part(22, 4)?,
        part(17, 5)?,
        part(12, 5)?,
        part(6, 6)?,
        part(0, 6)?,
        0,
    );
    // The time zone is not stored. KeePass converts it to that of the computer, KeePassXC to UTC.
    Some(
        time.ok()?
            .to_zoned(TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_second(),
    )
}

fn read_content(content: &[u8], header: &Header) -> Result<Imported, ImportError> {
    let mut bytes = Bytes(content);
    let mut collector = Collector::default();
    let mut folders: BTreeMap<u32, Vec<Cow<'_, str>>> = BTreeMap::new();
    // The groups around the present one, with their levels.
    let mut open: Vec<(u16, Cow<'_, str>)> = Vec::new();
    let mut names_len = 0_usize;
    for count in 0..header.groups {
        if usize::try_from(count).is_ok_and(|count| count >= ITEMS_MAX) {
            return Err(ImportError::TooMany {
                what: "groups",
                limit: ITEMS_MAX,
            });
        }
        let fields = read_fields(&mut bytes)?;
        let level = number(&fields, 8).map_or(0, u16::from_le_bytes);
        let name = String::from_utf8_lossy(fields.get(&2).copied().unwrap_or_default());
        let name = Cow::Owned(clean(name.trim_end_matches('\0')));
        while open.last().is_some_and(|(other, _)| *other >= level) {
            open.pop();
        }
        open.push((level, name));
        let path: Vec<_> = open.iter().map(|(_, name)| name.clone()).collect();
        names_len += path.iter().map(|name| name.len()).sum::<usize>();
        if open.len() > LEVELS_MAX || names_len > LEVELS_MAX * ITEMS_MAX.max(NAME_LEN_MAX) {
            return Err(ImportError::TooMany {
                what: "levels",
                limit: LEVELS_MAX,
            });
        }
        if let Some(id) = number(&fields, 1) {
            folders.insert(u32::from_le_bytes(id), path);
        }
    }
    let mut unknown = 0;
    for _ in 0..header.entries {
        let fields = read_fields(&mut bytes)?;
        if !is_meta_stream(&fields) {
            let group = number(&fields, 2).map(u32::from_le_bytes);
            let folders = group.and_then(|group| folders.get(&group));
            unknown += usize::from(folders.is_none());
            let folders = folders.map(Vec::as_slice).unwrap_or_default();
            read_entry(&fields, folders, &mut collector)?;
        }
    }
    if unknown > 0 {
        let plural = if unknown == 1 { "y" } else { "ies" };
        let what = format!("the group of {unknown} entr{plural}, which the file does not have");
        collector.lose(Loss::of_file(what));
    }
    Ok(collector.into_imported())
}

/// Whether an entry is none of a person: KeePass 1 stores its settings in entries.
fn is_meta_stream(fields: &Fields<'_>) -> bool {
    let is = |kind, expected| text(fields, kind) == Some(expected);
    is(4, "Meta-Info")
        && is(6, "SYSTEM")
        && is(5, "$")
        && is(0xD, "bin-stream")
        && !is(8, "")
        && fields.get(&0xE).is_some_and(|data| !data.is_empty())
}

fn read_entry(
    fields: &Fields<'_>,
    folders: &[Cow<'_, str>],
    collector: &mut Collector,
) -> Result<(), ImportError> {
    let value = |kind| text(fields, kind).unwrap_or_default();
    let (title, url, user) = (value(4), value(5), value(6));
    let name = match title {
        title if title.trim().is_empty() => host_of(url).unwrap_or(user),
        title => title,
    };
    let source_id = match number::<16>(fields, 1) {
        Some(id) => HEXLOWER.encode(&id),
        None => [folders.join("/").as_str(), name, url, user].join("\0"),
    };
    let mut builder = collector.begin(source_id, folders.iter().map(|name| &**name), name)?;
    builder.set_modified(time(fields, 0xA));
    for (kind, role) in [
        (6, FieldRole::User),
        (7, FieldRole::Password),
        (5, FieldRole::Url),
        (8, FieldRole::Notes),
    ] {
        match text(fields, kind) {
            Some(value) => builder.add(role.name(), value)?,
            None => builder.lose(format!("the value of {}, which is not text", role.name()))?,
        }
    }
    if text(fields, 4).is_none() {
        builder.lose("its name, which is not text")?;
    }
    let expires = time(fields, 0xC).filter(|seconds| *seconds < NEVER);
    builder.add_some(FieldRole::Expires.name(), expires.and_then(expiry_of))?;
    if fields.get(&0xE).is_some_and(|data| !data.is_empty()) {
        builder.lose(format!("the attachment {}", clean(value(0xD))))?;
    }
    builder.finish();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_damaged_content_panics() {
        let file = include_bytes!("../../../../vectors/import/file-keepass-1.kdb");
        let header = read_header(&mut Bytes(file)).unwrap();
        let parts = CompositeKey {
            password: Some(b"import sample"),
            key_file: None,
        };
        let content = header.open(&parts, &file[124..], None).unwrap();
        assert_eq!(read_content(&content, &header).unwrap().items.len(), 3);
        for place in 0..content.len() {
            assert!(read_content(&content[..place], &header).is_err(), "{place}");
            for change in [1, 0x80, 0xFF] {
                let mut changed = content.to_vec();
                changed[place] ^= change;
                let _ = read_content(&changed, &header);
            }
        }
        let many = Header {
            groups: u32::MAX,
            entries: u32::MAX,
            ..header
        };
        assert!(read_content(&content, &many).is_err());
    }

    #[test]
    fn a_packed_time_has_its_parts() {
        // 2020-05-06 07:08:09, as the program stores it.
        let packed = (2020_u64 << 26) | (5 << 22) | (6 << 17) | (7 << 12) | (8 << 6) | 9;
        let bytes = packed.to_be_bytes();
        let time_of = |bytes: &[u8]| time(&Fields::from([(3, bytes)]), 3);
        assert_eq!(time_of(&bytes[3..]), Some(1_588_748_889));
        assert_eq!(time_of(&[0; 5]), None);
        assert_eq!(time_of(&[0xFF; 5]), None);
        assert_eq!(time_of(&[1, 2]), None);
    }

    #[test]
    fn a_password_is_tried_in_the_code_page_of_windows() {
        let bytes = |text: &str| {
            text.chars()
                .map(in_windows_1252)
                .collect::<Option<Vec<u8>>>()
        };
        assert_eq!(bytes("aä€Ÿ\u{a0}").unwrap(), [0x61, 0xE4, 0x80, 0x9F, 0xA0]);
        assert_eq!(bytes("\u{FFFD}"), None);
        assert_eq!(bytes("\u{80}"), None);
        assert_eq!(bytes("🔑"), None);
    }
}
