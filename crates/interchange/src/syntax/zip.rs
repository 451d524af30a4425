//! Reads one file of a ZIP archive, stored or deflated. ZIP64 and encryption are not supported:
//! exports do not use them.

use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;
use zeroize::Zeroizing;

use crate::error::ImportError;
use crate::limits::FILE_LEN_MAX;

/// The greatest decompressed length of a file, in bytes.
const MEMBER_LEN_MAX: usize = FILE_LEN_MAX;
/// The length of the record at the end of an archive: a fixed part, and a comment.
const END_LEN_MIN: usize = 22;
const END_LEN_MAX: usize = END_LEN_MIN + 65_535;

const CUT: ImportError = ImportError::Damaged {
    what: "the archive is cut off",
};

/// Whether these bytes are an archive.
pub(crate) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// The first file whose name ends with `name_end`; `None` if there is none. Other files are not
/// decompressed.
pub(crate) fn read_member(
    bytes: &[u8],
    name_end: &str,
) -> Result<Option<Zeroizing<Vec<u8>>>, ImportError> {
    let tail = bytes.len().saturating_sub(END_LEN_MAX);
    let end = bytes
        .get(tail..)
        .and_then(|tail| tail.windows(4).rposition(|window| window == b"PK\x05\x06"));
    let end = bytes
        .get(tail + end.ok_or(CUT)?..)
        .filter(|end| end.len() >= END_LEN_MIN)
        .ok_or(CUT)?;
    let count = u16_at(end, 10)?;
    let mut entry = bytes.get(offset_at(end, 16)?..).ok_or(CUT)?;
    for _ in 0..count {
        if !entry.starts_with(b"PK\x01\x02") {
            return Err(CUT);
        }
        let [name_len, extra_len, comment_len] =
            [28, 30, 32].map(|place| u16_at(entry, place).map(usize::from));
        let (name_len, rest_len) = (name_len?, extra_len? + comment_len?);
        let name = entry.get(46..46 + name_len).ok_or(CUT)?;
        if name.ends_with(name_end.as_bytes()) {
            return decompress(bytes, entry).map(Some);
        }
        entry = entry.get(46 + name_len + rest_len..).ok_or(CUT)?;
    }
    Ok(None)
}

fn decompress(bytes: &[u8], entry: &[u8]) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    if u16_at(entry, 8)? & 1 != 0 {
        return Err(ImportError::NotSupported {
            what: "an encrypted ZIP archive",
        });
    }
    let (method, crc) = (u16_at(entry, 10)?, u32_at(entry, 16)?);
    let (packed_len, len) = (offset_at(entry, 20)?, offset_at(entry, 24)?);
    if len > MEMBER_LEN_MAX {
        return Err(ImportError::TooLong {
            limit: MEMBER_LEN_MAX,
        });
    }
    let local = bytes.get(offset_at(entry, 42)?..).ok_or(CUT)?;
    let head_len = 30 + usize::from(u16_at(local, 26)?) + usize::from(u16_at(local, 28)?);
    let packed = local
        .get(head_len..)
        .and_then(|data| data.get(..packed_len))
        .ok_or(CUT)?;
    let mut plain = Zeroizing::new(Vec::new());
    // Read at most one byte more than declared, which shows that the file is longer.
    let limit = u64::try_from(len).unwrap_or(u64::MAX).saturating_add(1);
    let read = match method {
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
    if read.is_err() || plain.len() != len || sum.sum() != crc {
        return Err(ImportError::Damaged {
            what: "a file in the archive does not match its length or checksum",
        });
    }
    Ok(plain)
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

fn offset_at(bytes: &[u8], place: usize) -> Result<usize, ImportError> {
    usize::try_from(u32_at(bytes, place)?).map_err(|_| CUT)
}
