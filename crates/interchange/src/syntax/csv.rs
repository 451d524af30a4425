//! CSV: the first line names the columns, each further line is a row.

use csv::{ErrorKind, QuoteStyle, ReaderBuilder, StringRecord, Trim, Writer, WriterBuilder};
use zeroize::Zeroizing;

use crate::error::ImportError;

/// Reads a table: the names of its columns, and its rows.
pub(crate) fn read(
    text: &str,
) -> Result<
    (
        StringRecord,
        impl Iterator<Item = Result<StringRecord, ImportError>>,
    ),
    ImportError,
> {
    let mut reader = ReaderBuilder::new()
        .trim(Trim::Headers)
        .from_reader(text.as_bytes());
    let columns = reader.headers().map_err(|error| error_of(&error))?.clone();
    let rows = reader
        .into_records()
        .map(|row| row.map_err(|error| error_of(&error)));
    Ok((columns, rows))
}

fn error_of(error: &csv::Error) -> ImportError {
    match error.kind() {
        ErrorKind::UnequalLengths { pos, .. } => ImportError::UnevenTable {
            line: pos.as_ref().map_or(0, csv::Position::line),
        },
        // There is no other error, because the text is UTF-8 and in memory.
        _ => ImportError::NotThisFormat {
            expected: "a table",
        },
    }
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
