//! Reads files of a ZIP archive, stored or deflated. ZIP64 and encryption are not supported:
//! exports do not use them.
//!
//! Only the directory and the wanted files are read, so an archive with large attachments takes
//! little memory.

use std::io::{Cursor, ErrorKind, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use zeroize::Zeroizing;

use crate::error::ImportError;
use crate::limits::FILE_LEN_MAX;

/// The greatest decompressed length of a file, in bytes.
const MEMBER_LEN_MAX: usize = FILE_LEN_MAX;
/// The greatest length of the directory, in bytes. 65,535 files with names of 900 bytes fit.
const DIRECTORY_LEN_MAX: usize = 64 * 1024 * 1024;
/// The length of the record at the end of an archive: a fixed part, and a comment.
const END_LEN_MIN: usize = 22;
const END_LEN_MAX: usize = END_LEN_MIN + 65_535;
/// The length of the fixed parts of an entry in the directory and of a file's own head.
const ENTRY_LEN: usize = 46;
const HEAD_LEN: usize = 30;

const CUT: ImportError = ImportError::Damaged {
    what: "the archive is cut off",
};

/// Whether these bytes are the beginning of an archive.
pub(crate) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// Bytes in memory or in a file.
pub(crate) trait Source: Read + Seek {}

impl<S: Read + Seek> Source for S {}

/// An archive, of which the directory is read.
pub(crate) struct Archive<'a> {
    source: Box<dyn Source + 'a>,
    members: Vec<Member>,
}

/// A file in an archive.
struct Member {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed_len: u32,
    len: u32,
    place: u32,
}

impl<'a> Archive<'a> {
    /// An archive in memory.
    pub(crate) fn of_bytes(bytes: &'a [u8]) -> Result<Self, ImportError> {
        Self::open(Cursor::new(bytes))
    }

    /// Reads the directory.
    pub(crate) fn open(source: impl Source + 'a) -> Result<Self, ImportError> {
        let mut source: Box<dyn Source + 'a> = Box::new(source);
        let len = source
            .seek(SeekFrom::End(0))
            .map_err(|error| of_io(&error))?;
        let tail_len = len.min(END_LEN_MAX as u64);
        let tail = read_at(&mut *source, len - tail_len, tail_len)?;
        let end = find_end(&tail).ok_or(CUT)?;
        let (count, directory_len) = (u16_at(end, 10)?, u32_at(end, 12)?);
        let place = u32_at(end, 16)?;
        if count == u16::MAX || place == u32::MAX {
            return Err(ImportError::NotSupported {
                what: "ZIP64, for archives of more than 4 GiB or 65,534 files",
            });
        }
        if usize::try_from(directory_len).is_ok_and(|len| len > DIRECTORY_LEN_MAX) {
            return Err(ImportError::TooLong {
                limit: DIRECTORY_LEN_MAX,
            });
        }
        let directory = read_at(&mut *source, place.into(), directory_len.into())?;
        let members = read_directory(&directory, count)?;
        Ok(Self { source, members })
    }

    /// The names of all files, with their folders.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.members.iter().map(|member| member.name.as_str());
        names.filter(|name| !name.ends_with('/'))
    }

    /// The file of this name. If several folders have one, it is the one in the fewest folders.
    pub(crate) fn read(&mut self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, ImportError> {
        let is_it = |member: &&Member| member.name.rsplit('/').next() == Some(name);
        let depth = |member: &&Member| member.name.matches('/').count();
        match self.members.iter().filter(is_it).min_by_key(depth) {
            Some(member) => decompress(&mut *self.source, member).map(Some),
            None => Ok(None),
        }
    }
}

/// The record at the end of an archive. Only its own comment may follow it.
fn find_end(tail: &[u8]) -> Option<&[u8]> {
    let ends = (0..tail.len()).rev().filter_map(|place| tail.get(place..));
    let is_end = |end: &&[u8]| {
        let comment_len = u16_at(end, 20).map(usize::from);
        end.starts_with(b"PK\x05\x06") && comment_len == Ok(end.len().saturating_sub(END_LEN_MIN))
    };
    ends.into_iter().find(is_end)
}

fn read_directory(directory: &[u8], count: u16) -> Result<Vec<Member>, ImportError> {
    let mut members = Vec::new();
    let mut entry = directory;
    for _ in 0..count {
        if !entry.starts_with(b"PK\x01\x02") {
            return Err(CUT);
        }
        let [name_len, extra_len, comment_len] =
            [28, 30, 32].map(|place| u16_at(entry, place).map(usize::from));
        let (name_len, rest_len) = (name_len?, extra_len? + comment_len?);
        let name = entry.get(ENTRY_LEN..ENTRY_LEN + name_len).ok_or(CUT)?;
        members.push(Member {
            name: String::from_utf8_lossy(name).into_owned(),
            flags: u16_at(entry, 8)?,
            method: u16_at(entry, 10)?,
            crc: u32_at(entry, 16)?,
            packed_len: u32_at(entry, 20)?,
            len: u32_at(entry, 24)?,
            place: u32_at(entry, 42)?,
        });
        let entry_len = ENTRY_LEN + name_len + rest_len;
        entry = entry.get(entry_len..).ok_or(CUT)?;
    }
    Ok(members)
}

fn decompress(source: &mut dyn Source, member: &Member) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    if member.flags & 1 != 0 {
        return Err(ImportError::NotSupported {
            what: "an encrypted ZIP archive",
        });
    }
    let len = usize::try_from(member.len).unwrap_or(usize::MAX);
    if len > MEMBER_LEN_MAX {
        return Err(ImportError::TooLong {
            limit: MEMBER_LEN_MAX,
        });
    }
    let head = read_at(source, member.place.into(), HEAD_LEN as u64)?;
    let names_len = u64::from(u16_at(&head, 26)?) + u64::from(u16_at(&head, 28)?);
    let place = u64::from(member.place) + HEAD_LEN as u64 + names_len;
    source
        .seek(SeekFrom::Start(place))
        .map_err(|error| of_io(&error))?;
    let packed = source.take(member.packed_len.into());
    let mut plain = Zeroizing::new(Vec::with_capacity(len.min(1 << 20)));
    // Read at most one byte more than declared, which shows that the file is longer.
    let limit = u64::from(member.len) + 1;
    let read = match member.method {
        0 => packed.take(limit).read_to_end(&mut plain),
        8 => DeflateDecoder::new(packed)
            .take(limit)
            .read_to_end(&mut plain),
        _ => {
            return Err(ImportError::NotSupported {
                what: "an unknown compression of ZIP",
            });
        }
    };
    let mut sum = Crc::new();
    sum.update(&plain);
    if read.is_err() || plain.len() != len || sum.sum() != member.crc {
        return Err(ImportError::Damaged {
            what: "a file in the archive does not match its length or checksum",
        });
    }
    Ok(plain)
}

/// Reads exactly `len` bytes.
fn read_at(
    source: &mut dyn Source,
    place: u64,
    len: u64,
) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    source
        .seek(SeekFrom::Start(place))
        .map_err(|error| of_io(&error))?;
    let mut bytes = Zeroizing::new(Vec::new());
    let read = source.take(len).read_to_end(&mut bytes);
    match read.map_err(|error| of_io(&error))? {
        read if read as u64 == len => Ok(bytes),
        _ => Err(CUT),
    }
}

fn of_io(error: &std::io::Error) -> ImportError {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::InvalidInput => CUT,
        kind => ImportError::Unreadable { kind },
    }
}

fn u16_at(bytes: &[u8], place: usize) -> Result<u16, ImportError> {
    let bytes = bytes
        .get(place..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(CUT)?;
    Ok(u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], place: usize) -> Result<u32, ImportError> {
    let bytes = bytes
        .get(place..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(CUT)?;
    Ok(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An archive of stored files.
    pub(crate) fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = Vec::new();
        let mut directory = Vec::new();
        for (name, content) in files {
            let place = u32::try_from(zip.len()).unwrap();
            let mut crc = Crc::new();
            crc.update(content);
            let [name_len, len] =
                [name.len(), content.len()].map(|len| u32::try_from(len).unwrap());
            let mut common = vec![0; 4];
            common.extend([0; 4]);
            common.extend(crc.sum().to_le_bytes());
            common.extend(len.to_le_bytes());
            common.extend(len.to_le_bytes());
            common.extend(name_len.to_le_bytes());
            zip.extend(b"PK\x03\x04\x0a\x00");
            zip.extend(&common);
            zip.extend(name.as_bytes());
            zip.extend(*content);
            directory.extend(b"PK\x01\x02\x0a\x00\x0a\x00");
            directory.extend(&common);
            directory.extend([0; 10]);
            directory.extend(place.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let place = u32::try_from(zip.len()).unwrap();
        zip.extend(&directory);
        zip.extend(b"PK\x05\x06\0\0\0\0");
        let count = u16::try_from(files.len()).unwrap();
        zip.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
        zip.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
        zip.extend(place.to_le_bytes());
        zip.extend([0, 0]);
        zip
    }

    #[test]
    fn an_attachment_with_the_name_of_the_data_is_not_taken_for_it() {
        let zip = zip_of(&[
            ("files/export.data", b"attached"),
            ("files/my export.data", b"attached"),
            ("export.data", b"data"),
        ]);
        let mut archive = Archive::of_bytes(&zip).unwrap();
        let data = archive.read("export.data").unwrap().unwrap();
        assert_eq!(data.as_slice(), b"data");
        assert_eq!(archive.names().count(), 3);
        assert!(archive.read("missing").unwrap().is_none());
    }

    #[test]
    fn an_archive_may_have_a_comment() {
        let mut zip = zip_of(&[("a", b"data")]);
        let len = zip.len();
        zip[len - 2] = 6;
        zip.extend(b"PK\x05\x06xx");
        let data = Archive::of_bytes(&zip).unwrap().read("a").unwrap().unwrap();
        assert_eq!(data.as_slice(), b"data");
    }
}
