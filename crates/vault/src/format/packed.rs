//! A document in compressed form, which only Passmate's own btokens have.
//!
//! | offset | length | content |
//! | --- | --- | --- |
//! | 0 | 7 | `pmpack` and a byte 0 |
//! | 7 | 1 | 1, the version |
//! | 8 | 4 | the length of the document, big endian |
//! | 12 | n | the document under deflate (RFC 1951) |
//! | 12 + n | | blanks to a multiple of 4096 bytes |
//!
//! A packed document that expands too far is padded until it does not, so a reader can refuse one
//! that does before it allocates memory.

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use zeroize::Zeroizing;

use super::DOCUMENT_LEN_MAX;
use super::error::CodecError;
use super::path::JsonPath;
use super::writer::PADDING;

/// A document is at most this many times as long as its packed form.
pub const EXPANSION_MAX: usize = 64;

const MAGIC: &[u8; 7] = b"pmpack\0";
const VERSION: u8 = 1;
const HEAD_LEN: usize = MAGIC.len() + 1 + size_of::<u32>();
/// Of 1,000 records, level 9 makes 2 % less than this one, in six times the time, and level 1 makes
/// 14 % more in a third of it.
const LEVEL: i32 = 4;
/// Deflate without the header of zlib.
const RAW: i32 = 0;
const DEFAULT_STRATEGY: i32 = 0;

/// Packs a document; `None` if that does not make it shorter.
pub(super) fn pack(document: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let document = document.trim_ascii_end();
    let len = u32::try_from(document.len()).ok()?;
    let plain_len = document.len().next_multiple_of(PADDING);
    if plain_len <= PADDING {
        return None;
    }
    // One buffer of a fixed length: one that grows would leave plaintext in freed memory.
    let mut packed = Zeroizing::new(vec![0; plain_len]);
    let (head, room) = packed.split_at_mut_checked(HEAD_LEN)?;
    let (magic, rest) = head.split_at_mut_checked(MAGIC.len())?;
    let (version, stated) = rest.split_at_mut_checked(1)?;
    magic.copy_from_slice(MAGIC);
    version.copy_from_slice(&[VERSION]);
    stated.copy_from_slice(&len.to_be_bytes());
    let used = HEAD_LEN + deflate(document, room)?;
    let len = used
        .max(document.len().div_ceil(EXPANSION_MAX))
        .next_multiple_of(PADDING);
    if len >= plain_len {
        return None;
    }
    let (_, padding) = packed.split_at_mut_checked(used)?;
    padding.fill(b' ');
    packed.truncate(len);
    Some(packed)
}

/// Whether a plaintext is a packed document, of any version.
pub(super) fn is_packed(plaintext: &[u8]) -> bool {
    plaintext.starts_with(MAGIC)
}

/// The document of a packed one.
pub(super) fn unpack(packed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CodecError> {
    let rest = packed.strip_prefix(MAGIC).ok_or(CodecError::Packing)?;
    let (version, rest) = rest.split_first().ok_or(CodecError::Packing)?;
    if *version > VERSION {
        return Err(CodecError::Newer {
            path: JsonPath::document(),
        });
    }
    let (len, deflated) = rest.split_first_chunk().ok_or(CodecError::Packing)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| CodecError::Packing)?;
    if len > DOCUMENT_LEN_MAX {
        return Err(CodecError::TooLong {
            len,
            limit: DOCUMENT_LEN_MAX,
        });
    }
    if *version != VERSION || len > packed.len().saturating_mul(EXPANSION_MAX) {
        return Err(CodecError::Packing);
    }
    let mut document = Zeroizing::new(vec![0; len]);
    let used = inflate(deflated, &mut document).ok_or(CodecError::Packing)?;
    let padding = deflated.get(used..).unwrap_or_default();
    if padding.iter().any(|byte| *byte != b' ') {
        return Err(CodecError::Packing);
    }
    Ok(document)
}

/// The number of bytes of `room` that were used; `None` if there are too few.
fn deflate(document: &[u8], room: &mut [u8]) -> Option<usize> {
    let flags = create_comp_flags_from_zip_params(LEVEL, RAW, DEFAULT_STRATEGY);
    let mut compressor = Box::new(CompressorOxide::new(flags));
    let (status, read, used) = compress(&mut compressor, document, room, TDEFLFlush::Finish);
    // The document stands in the compressor's buffers. A reset fills them with zeros; without the
    // black box, that is no work that counts before they are freed.
    compressor.reset();
    std::hint::black_box(&mut compressor);
    (status == TDEFLStatus::Done && read == document.len()).then_some(used)
}

/// The number of bytes that were read to fill the document exactly.
fn inflate(deflated: &[u8], document: &mut [u8]) -> Option<usize> {
    // The document itself is the window: nothing else holds a part of it.
    let mut inflater = Box::new(DecompressorOxide::new());
    let (status, read, written) = decompress(
        &mut inflater,
        deflated,
        document,
        0,
        TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
    );
    (status == TINFLStatus::Done && written == document.len()).then_some(read)
}
