//! CSV: rows of cells. What separates the cells is found from the first line, and the text may be
//! UTF-8 or UTF-16.

use csv::{QuoteStyle, ReaderBuilder, StringRecord, Writer, WriterBuilder};
use zeroize::Zeroizing;

use super::json;
use crate::error::ImportError;

/// What may separate cells. If the first line has as many of two, the first one counts.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

/// A table as text.
pub(crate) struct Sheet {
    text: Zeroizing<String>,
    separator: u8,
}

impl Sheet {
    /// Decodes a table. UTF-16 is known by its byte order mark, or by the zero in the first
    /// character.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ImportError> {
        let text = match bytes {
            [0xFF, 0xFE, rest @ ..] => of_utf16(rest, u16::from_le_bytes)?,
            [0xFE, 0xFF, rest @ ..] => of_utf16(rest, u16::from_be_bytes)?,
            [first, 0, ..] if *first != 0 => of_utf16(bytes, u16::from_le_bytes)?,
            [0, second, ..] if *second != 0 => of_utf16(bytes, u16::from_be_bytes)?,
            _ => Zeroizing::new(json::text_of(bytes)?.to_owned()),
        };
        let separator = separator_of(text.split(['\r', '\n']).next().unwrap_or_default());
        Ok(Self { text, separator })
    }

    /// The same table with cells that are separated by commas, whatever the first line has.
    pub(crate) fn with_commas(self) -> Self {
        Self {
            separator: b',',
            ..self
        }
    }

    /// The rows, each with its line. Rows may have different numbers of cells. Empty lines are
    /// skipped, and so is a line of spreadsheet programs that names the separator.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Result<(u64, StringRecord), ImportError>> {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.separator)
            .from_reader(self.text.as_bytes());
        let is_setting = |row: &StringRecord| row.iter().next().is_some_and(is_separator_line);
        let named = |row: Result<StringRecord, csv::Error>| match row {
            Ok(row) => Ok((row.position().map_or(0, csv::Position::line), row)),
            // There is no other error, because the text is UTF-8 and in memory.
            Err(_) => Err(ImportError::NotThisFormat {
                expected: "a table",
            }),
        };
        let rows = reader.into_records().map(named);
        rows.enumerate().filter_map(move |(number, row)| match row {
            Ok((_, row)) if number == 0 && is_setting(&row) => None,
            row => Some(row),
        })
    }
}

fn of_utf16(bytes: &[u8], unit_of: fn([u8; 2]) -> u16) -> Result<Zeroizing<String>, ImportError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit_of(*pair));
    // UTF-8 is at most one and a half times as long. A text that grows would leave copies.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() + pairs.len()));
    let mut line = 1;
    for character in char::decode_utf16(units) {
        let character = character.map_err(|_| ImportError::NotUtf8 { line })?;
        line += usize::from(character == '\n');
        text.push(character);
    }
    if rest.is_empty() {
        Ok(text)
    } else {
        Err(ImportError::NotUtf8 { line })
    }
}

/// What separates the cells of a line: that of which it has most, outside of quotes.
fn separator_of(line: &str) -> u8 {
    if is_separator_line(line) {
        return line.bytes().last().unwrap_or(b',');
    }
    let mut counts = SEPARATORS.map(|separator| (separator, 0_usize));
    let mut is_quoted = false;
    for byte in line.bytes() {
        is_quoted ^= byte == b'"';
        for (_, count) in counts
            .iter_mut()
            .filter(|(separator, _)| !is_quoted && *separator == byte)
        {
            *count += 1;
        }
    }
    let most = counts.iter().rev().max_by_key(|(_, count)| *count);
    most.map_or(b',', |(separator, _)| *separator)
}

/// Whether a line is `sep=;`. As a row, it lacks the separator.
fn is_separator_line(line: &str) -> bool {
    let rest = line.trim_end().strip_prefix("sep=");
    rest.is_some_and(|rest| rest.is_empty() || SEPARATORS.iter().any(|s| rest.as_bytes() == [*s]))
}

/// A table of `N` columns that is being written.
pub(crate) struct Table<const N: usize>(Writer<Vec<u8>>);

impl<const N: usize> Table<N> {
    pub(crate) fn new(columns: &[&str; N]) -> Self {
        let writer = WriterBuilder::new()
            .quote_style(QuoteStyle::Always)
            .from_writer(Vec::new());
        let mut table = Self(writer);
        table.push(*columns);
        table
    }

    pub(crate) fn push(&mut self, row: [&str; N]) {
        self.0
            .write_record(row)
            .expect("all rows have N cells, and a Vec takes all bytes");
    }

    pub(crate) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        let bytes = self.0.into_inner();
        Zeroizing::new(
            bytes
                .map_err(csv::IntoInnerError::into_error)
                .expect("a Vec takes all bytes"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(bytes: &[u8]) -> Vec<Vec<String>> {
        let sheet = Sheet::read(bytes).unwrap();
        let rows = sheet.rows().map(|row| row.unwrap().1);
        rows.map(|row| row.iter().map(str::to_owned).collect())
            .collect()
    }

    #[test]
    fn the_separator_is_found_in_the_first_line() {
        for text in [
            "a,b\n1,2",
            "a;b\n1;2",
            "a\tb\n1\t2",
            "\u{feff}a;b\r\n1;2\r\n",
            "sep=;\r\na;b\r\n\r\n1;2",
            "sep=\t\na\tb\n1\t2",
        ] {
            assert_eq!(rows(text.as_bytes()), [["a", "b"], ["1", "2"]], "{text:?}");
        }
        assert_eq!(separator_of("\"a;b;c\",d"), b',');
        assert_eq!(rows(b"a\n1,2\n"), [vec!["a"], vec!["1", "2"]]);
    }

    #[test]
    fn utf_16_is_read_in_both_orders() {
        let text = "a,b\n\u{1f511},2";
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let with = |mark: [u8; 2], bytes: &[u8]| [&mark, bytes].concat();
        for bytes in [&with([0xFF, 0xFE], &le), &with([0xFE, 0xFF], &be), &le, &be] {
            assert_eq!(rows(bytes), [["a", "b"], ["\u{1f511}", "2"]]);
        }
        for cut in [&le[..le.len() - 1], &le[..10]] {
            assert!(matches!(
                Sheet::read(cut),
                Err(ImportError::NotUtf8 { line: 2 })
            ));
        }
    }
}
