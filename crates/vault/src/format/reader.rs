//! A strict JSON pull reader.
//!
//! It is written by hand because no general reader meets all needs of a vault:
//!  - lone surrogates and integers of any size are kept;
//!  - every buffer that holds a value is wiped;
//!  - control characters in strings are refused, as in Python;
//!  - a number without a fraction (`10.0`) is an integer, as in Python;
//!  - it never recurses and never looks at a byte more than three times.

use zeroize::Zeroizing;

use crate::record::{STAMP_DIGITS_MAX, Stamp, Text};

/// A fault at the current place in the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The text is not JSON at this byte.
    Syntax { offset: usize },
    /// The text is JSON, but the value is not the expected one.
    Expected(&'static str),
    /// A number is not an integer, or has too many digits.
    NotInteger,
}

/// Reads a text from its start to its end.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    // Holds decoded strings. It never grows in place, so no copy is left in freed memory.
    scratch: Zeroizing<Vec<u8>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            position: 0,
            scratch: Zeroizing::default(),
        }
    }

    /// The next byte that is not blank, without consuming it.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.position) {
            self.position += 1;
        }
        self.bytes.get(self.position).copied()
    }

    /// Consumes `{`.
    pub(super) fn begin_object(&mut self, expected: &'static str) -> Result<(), Fault> {
        self.begin(b'{', expected)
    }

    /// Consumes `[`.
    pub(super) fn begin_array(&mut self, expected: &'static str) -> Result<(), Fault> {
        self.begin(b'[', expected)
    }

    /// Consumes up to a member's value and returns its key, or consumes `}` and returns `None`.
    /// `first` is true before the first member and is set to false.
    pub(super) fn next_key(&mut self, first: &mut bool) -> Result<Option<Text>, Fault> {
        if !self.next(b'}', first)? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.syntax());
        }
        let key = self.string("a key")?;
        if !self.consume(b':') {
            return Err(self.syntax());
        }
        Ok(Some(key))
    }

    /// Consumes up to an array's next item and returns true, or consumes `]` and returns false.
    /// `first` is true before the first item and is set to false.
    pub(super) fn next_item(&mut self, first: &mut bool) -> Result<bool, Fault> {
        self.next(b']', first)
    }

    /// Reads a string.
    pub(super) fn string(&mut self, expected: &'static str) -> Result<Text, Fault> {
        self.string_as(expected, |text| Text::from_wtf8(text.into()))
    }

    /// Reads a string as something else than a [`Text`]. `make` gets WTF-8.
    pub(super) fn string_as<T>(
        &mut self,
        expected: &'static str,
        make: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Fault> {
        if !self.consume(b'"') {
            return Err(self.unexpected(expected));
        }
        let start = self.position;
        let mut escaped = false;
        loop {
            self.position += plain_len(self.bytes.get(self.position..).unwrap_or_default());
            match self.bytes.get(self.position) {
                Some(b'"') => break,
                // Skip the escaped character, which may be a quote. Decoding looks at it later.
                Some(b'\\') => {
                    escaped = true;
                    self.position += 2;
                }
                _ => return Err(self.syntax()),
            }
        }
        let raw = self
            .bytes
            .get(start..self.position)
            .ok_or(Fault::Syntax { offset: start })?;
        self.position += 1;
        if escaped {
            self.unescape(raw, start)?;
            Ok(make(&self.scratch))
        } else {
            Ok(make(raw))
        }
    }

    /// Reads a number that Python regards as an integer: digits, or a float without a fraction.
    pub(super) fn integer(&mut self, expected: &'static str) -> Result<Stamp, Fault> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.unexpected(expected));
        }
        let start = self.position;
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        let mut is_float = false;
        if self.skip(b'.') {
            is_float = true;
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            is_float = true;
            let _sign = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        let number = self
            .bytes
            .get(start..self.position)
            .and_then(|number| std::str::from_utf8(number).ok());
        let number = number.ok_or(Fault::Syntax { offset: start })?;
        let stamp = if is_float {
            integral_float(number)
        } else {
            Stamp::parse(number)
        };
        stamp.ok_or(Fault::NotInteger)
    }

    /// Consumes a literal such as `null`. Returns false and consumes nothing if it is not there.
    pub(super) fn literal(&mut self, literal: &'static str) -> bool {
        self.peek();
        let found = self
            .bytes
            .get(self.position..)
            .is_some_and(|rest| rest.starts_with(literal.as_bytes()));
        if found {
            self.position += literal.len();
        }
        found
    }

    /// Checks that only blanks follow.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.syntax()),
        }
    }

    /// The fault of an unexpected value: JSON of another kind, or no JSON.
    pub(super) fn unexpected(&mut self, expected: &'static str) -> Fault {
        match self.peek() {
            Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N' | b'I') => {
                Fault::Expected(expected)
            }
            _ => self.syntax(),
        }
    }

    fn begin(&mut self, bracket: u8, expected: &'static str) -> Result<(), Fault> {
        if self.consume(bracket) {
            Ok(())
        } else {
            Err(self.unexpected(expected))
        }
    }

    fn next(&mut self, closing: u8, first: &mut bool) -> Result<bool, Fault> {
        let is_first = std::mem::replace(first, false);
        if self.consume(closing) {
            return Ok(false);
        }
        if is_first || self.consume(b',') {
            Ok(true)
        } else {
            Err(self.syntax())
        }
    }

    fn consume(&mut self, byte: u8) -> bool {
        self.peek();
        self.skip(byte)
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.position) == Some(&byte);
        self.position += usize::from(found);
        found
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.position;
        while self
            .bytes
            .get(self.position)
            .is_some_and(u8::is_ascii_digit)
        {
            self.position += 1;
        }
        if self.position > start {
            Ok(())
        } else {
            Err(self.syntax())
        }
    }

    fn syntax(&self) -> Fault {
        Fault::Syntax {
            offset: self.position,
        }
    }

    /// Decodes the escapes of a string into the scratch buffer.
    fn unescape(&mut self, raw: &[u8], start: usize) -> Result<(), Fault> {
        if self.scratch.capacity() < raw.len() {
            self.scratch = Zeroizing::new(Vec::with_capacity(raw.len()));
        }
        self.scratch.clear();
        let mut rest = raw;
        while let Some((&byte, after)) = rest.split_first() {
            if byte != b'\\' {
                let plain = rest
                    .iter()
                    .position(|byte| *byte == b'\\')
                    .unwrap_or(rest.len());
                let (plain, after) = rest.split_at(plain);
                self.scratch.extend_from_slice(plain);
                rest = after;
                continue;
            }
            let (character, after) = unescape_one(after).ok_or(Fault::Syntax {
                offset: start + (raw.len() - rest.len()),
            })?;
            push_wtf8(&mut self.scratch, character);
            rest = after;
        }
        Ok(())
    }
}

/// The number of bytes before the first that ends a string, begins an escape, or is a control
/// character. Looks at 8 bytes at once.
fn plain_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// The highest bit of each byte that is a quote, a backslash or a control character. Bits above the
/// lowest one that is set may be wrong, because a subtraction borrows from the next byte.
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xFF;
    const HIGHEST: u64 = ONES << 7;
    // Of bytes below 0x80, those that are less than `limit`.
    const fn below(word: u64, limit: u8) -> u64 {
        word.wrapping_sub(ONES * limit as u64) & !word & HIGHEST
    }
    const fn equal(word: u64, byte: u8) -> u64 {
        below(word ^ (ONES * byte as u64), 1)
    }
    below(word, 0x20) | equal(word, b'"') | equal(word, b'\\')
}

/// Decodes the escape after a backslash. Returns the code point, which may be a lone surrogate, and
/// the remaining bytes.
fn unescape_one(escape: &[u8]) -> Option<(u32, &[u8])> {
    let (letter, rest) = escape.split_first()?;
    let character = match letter {
        b'"' | b'\\' | b'/' => *letter,
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let (first, rest) = hex4(rest)?;
            if (0xD800..0xDC00).contains(&first)
                && let Some((second, rest)) = rest.strip_prefix(b"\\u").and_then(hex4)
                && (0xDC00..0xE000).contains(&second)
            {
                return Some((
                    0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00),
                    rest,
                ));
            }
            return Some((first, rest));
        }
        _ => return None,
    };
    Some((u32::from(character), rest))
}

fn hex4(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let mut number = 0;
    for digit in digits {
        number = number * 16 + char::from(*digit).to_digit(16)?;
    }
    Some((number, rest))
}

/// Appends a code point below U+110000. A surrogate takes three bytes, as in WTF-8.
fn push_wtf8(bytes: &mut Vec<u8>, character: u32) {
    match char::from_u32(character) {
        Some(character) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        None => {
            let low_six = |shift: u32| 0x80 | (character >> shift & 0x3F);
            let parts = [0xE0 | (character >> 12 & 0x0F), low_six(6), low_six(0)];
            bytes.extend(parts.iter().flat_map(|part| u8::try_from(*part)));
        }
    }
}

/// The exact value of a float without a fraction, as Python reads it; `None` for other floats.
fn integral_float(number: &str) -> Option<Stamp> {
    let float: f64 = number.parse().ok()?;
    if !float.is_finite() || float.fract() != 0.0 {
        return None;
    }
    // Writes all digits of the float, at most 309.
    const { assert!(STAMP_DIGITS_MAX > 309) }
    Stamp::parse(&format!("{float:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_string(json: &str, expected: Option<&[u8]>) {
        let mut reader = Reader::new(json);
        let read = reader
            .string("a text")
            .and_then(|text| reader.end().map(|()| text));
        assert_eq!(read.ok().as_ref().map(Text::as_bytes), expected, "{json}");
    }

    #[track_caller]
    fn check_integer(json: &str, expected: Option<&str>) {
        let mut reader = Reader::new(json);
        let read = reader
            .integer("an integer")
            .and_then(|stamp| reader.end().map(|()| stamp.to_string()));
        assert_eq!(read.ok().as_deref(), expected, "{json}");
    }

    #[test]
    fn each_special_byte_is_found_at_each_place() {
        for len in 0..=40 {
            let plain = vec![b'x'; len];
            assert_eq!(plain_len(&plain), len);
            for place in 0..len {
                for byte in 0..=u8::MAX {
                    // Another special byte follows, and what borrows may reach it.
                    for next in [b'x', b'!', b'#', b']', 0x20, 0x80, 0xFF, 0] {
                        let mut bytes = plain.clone();
                        bytes[place] = byte;
                        if let Some(after) = bytes.get_mut(place + 1) {
                            *after = next;
                        }
                        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
                        let expected = bytes.iter().position(is_special).unwrap_or(len);
                        assert_eq!(plain_len(&bytes), expected, "{bytes:x?}");
                    }
                }
            }
        }
    }

    #[test]
    fn strings_are_read_as_python_reads_them() {
        check_string(r#""""#, Some(b""));
        check_string(r#"" a " "#, Some(b" a "));
        check_string(
            r#""\"\\\/\b\f\n\r\t\u0041\u00fC""#,
            Some("\"\\/\u{8}\u{c}\n\r\tAü".as_bytes()),
        );
        check_string(
            "\"münze\u{7f}\u{2028}🔑\"",
            Some("münze\u{7f}\u{2028}🔑".as_bytes()),
        );
        check_string(r#""\u0000""#, Some(b"\0"));
        for broken in [
            "",
            "\"",
            "\"a",
            "\"\\",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\u+123\"",
            "'a'",
        ] {
            check_string(broken, None);
        }
        for control in ["\"\n\"", "\"\t\"", "\"\0\"", "\"\u{1f}\""] {
            check_string(control, None);
        }
    }

    #[test]
    fn surrogate_pairs_are_joined_and_lone_ones_kept() {
        check_string(r#""\ud83d\uDD11""#, Some("🔑".as_bytes()));
        check_string(r#""\ud800""#, Some(b"\xED\xA0\x80"));
        check_string(r#""\udfff\ud800x""#, Some(b"\xED\xBF\xBF\xED\xA0\x80x"));
        check_string(
            r#""\ud83d\ud83d\udd11""#,
            Some(b"\xED\xA0\xBD\xF0\x9F\x94\x91"),
        );
        check_string(r#""\ud83d\n""#, Some(b"\xED\xA0\xBD\n"));
        check_string(r#""\ud83d\u12""#, None);
    }

    #[test]
    fn numbers_without_a_fraction_are_exact_integers() {
        for (json, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("-17 ", "-17"),
            ("10.0", "10"),
            ("-0.0", "0"),
            ("1e3", "1000"),
            ("1.5E+1", "15"),
            ("2500e-2", "25"),
            ("1e23", "99999999999999991611392"),
            ("9007199254740993", "9007199254740993"),
            ("9007199254740993.0", "9007199254740992"),
            ("1180591620717411303424", "1180591620717411303424"),
        ] {
            check_integer(json, Some(expected));
        }
        for json in [
            "10.5", "1e-1", "1e400", "-1e400", "NaN", "Infinity", "01", "+1", "1.", ".5", "1e",
            "-", "true", "",
        ] {
            check_integer(json, None);
        }
        check_integer(&"9".repeat(STAMP_DIGITS_MAX + 1), None);
    }

    #[test]
    fn another_kind_of_value_is_not_a_syntax_error() {
        for (json, fault) in [
            ("{", Fault::Expected("a text")),
            (" null", Fault::Expected("a text")),
            ("NaN", Fault::Expected("a text")),
            ("  ?", Fault::Syntax { offset: 2 }),
            ("", Fault::Syntax { offset: 0 }),
        ] {
            assert_eq!(
                Reader::new(json).string("a text").err(),
                Some(fault),
                "{json}"
            );
        }
    }
}
