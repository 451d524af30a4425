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
    /// skipped, and so is a line of spreadsheet programs that names the separator. A last row
    /// whose quotes are not closed is an error, because the file was cut off in it.
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
        let open_quote = line_of_open_quote(&self.text, self.separator);
        let mut rows = reader.into_records().map(named).peekable();
        let rows = std::iter::from_fn(move || {
            let row = rows.next()?;
            let line = open_quote.filter(|_| rows.peek().is_none());
            Some(line.map_or(row, |line| Err(ImportError::OpenQuote { line })))
        });
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

/// The line in which quotes begin that are not closed. The rules are those of the reader: quotes
/// begin only at the begin of a cell, and a doubled quote in them is a quote.
fn line_of_open_quote(text: &str, separator: u8) -> Option<u64> {
    /// Where in a cell a byte stands.
    enum Place {
        Begin,
        Plain,
        Quoted { line: u64 },
        AfterQuote { line: u64 },
    }
    let (mut line, mut place) = (1, Place::Begin);
    for byte in text.bytes() {
        let is_end = byte == separator || matches!(byte, b'\r' | b'\n');
        place = match place {
            Place::Begin if byte == b'"' => Place::Quoted { line },
            Place::Quoted { line } if byte == b'"' => Place::AfterQuote { line },
            Place::AfterQuote { line } if byte == b'"' => Place::Quoted { line },
            Place::Quoted { line } => Place::Quoted { line },
            Place::Begin | Place::Plain | Place::AfterQuote { .. } if is_end => Place::Begin,
            Place::Begin | Place::Plain | Place::AfterQuote { .. } => Place::Plain,
        };
        line += u64::from(byte == b'\n');
    }
    match place {
        Place::Quoted { line } => Some(line),
        _ => None,
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
    fn quotes_that_the_end_of_the_file_leaves_open_are_an_error() {
        for (text, line) in [
            ("a,b\n1,\"2\n3,4\n", 2),
            ("a,b\n\"1\n\",\"", 3),
            ("a,b\n1,\"2\"\"", 2),
            ("\"a,b\n1,2\n", 1),
            ("sep=;\na;b\n1;\"2", 3),
        ] {
            let sheet = Sheet::read(text.as_bytes()).unwrap();
            let last = sheet.rows().last().unwrap();
            assert_eq!(last, Err(ImportError::OpenQuote { line }), "{text:?}");
        }
        for text in [
            "a,b\n1,\"2\"",
            "a,b\n1,2\"\n",
            "a,b\n1,\"2\"\"\"\n",
            "a,b\n1,\"2\"x\"\n",
            "a,b\r\n1,\"\"\r\n",
        ] {
            assert_eq!(rows(text.as_bytes()).len(), 2, "{text:?}");
        }
        // The quote begins a cell only if semicolons separate the cells.
        let sheet = Sheet::read(b"a;b;\"c,d").unwrap();
        assert!(sheet.rows().all(|row| row.is_err()));
        assert!(sheet.with_commas().rows().all(|row| row.is_ok()));
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
