//! Writes compact JSON in UTF-8. Escapes what JSON requires, and lone surrogates.
//!
//! A document is written twice: first to count its bytes, then into a buffer of exactly that size.
//! A buffer that grows would leave copies of secrets in freed memory.

use zeroize::Zeroizing;

use crate::record::{Text, Value};

/// Plaintexts are padded with blanks to a multiple of this, so that their length reveals little.
pub(super) const PADDING: usize = 4096;

/// Takes the bytes of a document.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

struct Counter(usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

struct Buffer(Zeroizing<Vec<u8>>);

impl Sink for Buffer {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// A document that writes itself into any sink, with the same bytes each time.
pub(super) trait Write {
    fn write(&self, sink: &mut impl Sink);
}

/// Writes a document and its padding; `None` if that is longer than `len_max`.
pub(super) fn write_padded(document: &impl Write, len_max: usize) -> Option<Zeroizing<Vec<u8>>> {
    let mut counter = Counter(0);
    document.write(&mut counter);
    let len = counter
        .0
        .checked_next_multiple_of(PADDING)
        .filter(|len| *len <= len_max)?;
    let mut buffer = Buffer(Zeroizing::new(Vec::with_capacity(len)));
    document.write(&mut buffer);
    buffer.0.resize(len, b' ');
    Some(buffer.0)
}

pub(super) fn write_value(sink: &mut impl Sink, value: &Value) {
    match value {
        Value::Absent | Value::Purged => sink.put(b"null"),
        Value::Text(text) => write_text(sink, text),
        // A list of fewer than two lines is written as the text that it shows.
        Value::List(lines) if lines.len() < 2 => write_text(sink, &value.joined_text()),
        Value::List(lines) => {
            for (index, line) in lines.iter().enumerate() {
                sink.put(if index == 0 { b"[" } else { b"," });
                write_text(sink, line);
            }
            sink.put(b"]");
        }
    }
}

pub(super) fn write_text(sink: &mut impl Sink, text: &Text) {
    write_wtf8(sink, text.as_bytes());
}

pub(super) fn write_str(sink: &mut impl Sink, text: &str) {
    write_wtf8(sink, text.as_bytes());
}

fn write_wtf8(sink: &mut impl Sink, bytes: &[u8]) {
    sink.put(b"\"");
    let mut rest = bytes;
    while let Some(special) = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20 | 0xED))
    {
        let (plain, from_special) = rest.split_at(special);
        sink.put(plain);
        rest = match from_special {
            // U+D000..=U+D7FF begin with ED too, but are ordinary characters.
            [0xED, second @ 0xA0..=0xBF, third, after @ ..] => {
                let unit = 0xD000 | u16::from(second & 0x3F) << 6 | u16::from(third & 0x3F);
                write_unit(sink, unit);
                after
            }
            [special, after @ ..] => {
                match special {
                    b'"' => sink.put(b"\\\""),
                    b'\\' => sink.put(b"\\\\"),
                    b'\n' => sink.put(b"\\n"),
                    b'\r' => sink.put(b"\\r"),
                    b'\t' => sink.put(b"\\t"),
                    0..0x20 => write_unit(sink, u16::from(*special)),
                    plain => sink.put(&[*plain]),
                }
                after
            }
            [] => &[],
        };
    }
    sink.put(rest);
    sink.put(b"\"");
}

fn write_unit(sink: &mut impl Sink, unit: u16) {
    sink.put(b"\\u");
    for shift in [12, 8, 4, 0] {
        let digit = char::from_digit(u32::from(unit >> shift & 0xF), 16).unwrap_or('0');
        sink.put(digit.encode_utf8(&mut [0; 4]).as_bytes());
    }
}
