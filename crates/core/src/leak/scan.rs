//! Finds the values of a vault in texts of any length. The rules are:
//!  - the values of secret fields count, from a length on below which they occur by chance;
//!  - a finding says where a value stands and which one it is, never the value;
//!  - a text is read once and piece by piece: no more of it is in memory than the longest value and
//!    one piece.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};

use passmate_vault::Vault;
use passmate_vault::login::is_secret;
use passmate_vault::record::{Domain, Text};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::forms::{Form, forms};
use super::needles::{NEEDLE_LEN_MIN, Needles};
use crate::records::text;

/// Values shorter than this are not looked for unless a person says so, in bytes.
pub const VALUE_LEN_MIN: usize = 8;
/// The shortest length that a person can name.
pub const VALUE_LEN_LEAST: usize = NEEDLE_LEN_MIN;
/// Bytes that are read at once.
const PIECE_LEN: usize = 256 * 1024;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The path of its record.
    pub record: String,
    /// Its field.
    pub field: String,
    /// Whether the field has another value now.
    pub is_former: bool,
}

/// A value of a vault.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretValue {
    /// Where it comes from.
    pub origin: Origin,
    /// What it is.
    pub value: Zeroizing<String>,
}

/// Without the value.
impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretValue")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// A value that stands in a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The line in which it begins, counted from 1.
    pub line: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// In which form it stands there.
    pub form: Form,
}

/// The values of a vault, ready to be found.
pub struct Scanner {
    needles: Needles<(usize, Form)>,
    origins: Vec<Origin>,
}

/// Without the values.
impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner")
            .field("values", &self.origins.len())
            .finish_non_exhaustive()
    }
}

impl Scanner {
    /// Looks for those of these values that are long enough: `len_min` bytes, and
    /// [`VALUE_LEN_LEAST`] at least.
    #[must_use]
    pub fn new(values: Vec<SecretValue>, len_min: usize) -> Self {
        let mut origins = Vec::new();
        let mut needles = Vec::new();
        for SecretValue { origin, value } in values {
            let value = value.trim_end_matches(['\r', '\n']);
            if value.len() < len_min.max(VALUE_LEN_LEAST) {
                continue;
            }
            let place = origins.len();
            origins.push(origin);
            let of_value = forms(value).into_iter();
            // Another system may have written the line ends.
            let lines = value.contains('\n').then(|| {
                let value = Zeroizing::new(value.replace("\r\n", "\n"));
                Zeroizing::new(value.replace('\n', "\r\n").into_bytes())
            });
            let lines = lines.map(|lines| (Form::Plain, lines));
            needles.extend(
                of_value
                    .chain(lines)
                    .map(|(form, bytes)| (bytes, (place, form))),
            );
        }
        Self {
            needles: Needles::new(needles),
            origins,
        }
    }

    /// How many values are looked for.
    #[must_use]
    pub fn count(&self) -> usize {
        self.origins.len()
    }

    /// Scans a text, and calls `found` for each value in each line.
    ///
    /// # Errors
    /// The text cannot be read to its end.
    pub fn scan(&self, text: &mut dyn Read, found: &mut dyn FnMut(Finding)) -> io::Result<()> {
        let overlap = self.needles.len_max().saturating_sub(1);
        let mut piece = vec![0; overlap + PIECE_LEN];
        let (mut len, mut line) = (0, 1);
        // Values that were found in this line, and those of the line before that go on in it.
        let mut in_line = BTreeSet::new();
        loop {
            let (_, free) = piece.split_at_mut(len);
            let read = match text.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            len += read;
            let bytes = piece.get(..len).unwrap_or_default();
            // A value that begins later may be longer than what was read.
            let decided = if read == 0 {
                len
            } else {
                len.saturating_sub(overlap)
            };
            for place in 0..decided {
                let rest = bytes.get(place..).unwrap_or_default();
                for needle in self.needles.all_at(rest) {
                    for (origin, form) in &needle.of {
                        if in_line.insert((*origin, *form))
                            && let Some(origin) = self.origins.get(*origin)
                        {
                            let (origin, form) = (origin.clone(), *form);
                            found(Finding { line, origin, form });
                        }
                    }
                }
                if rest.first() == Some(&b'\n') {
                    line += 1;
                    in_line.clear();
                }
            }
            if read == 0 {
                return Ok(());
            }
            piece.copy_within(decided..len, 0);
            len -= decided;
        }
    }
}

/// The values of all secret fields, each once for its field.
pub(crate) fn secret_values(vault: &Vault, with_former: bool) -> Vec<SecretValue> {
    let mut values = Vec::new();
    for record in vault.view().records() {
        let mut add = |field: &Text, value: &Text, is_former| {
            values.push(SecretValue {
                origin: Origin {
                    record: text(&record.path),
                    field: text(field),
                    is_former,
                },
                value: Zeroizing::new(text(value)),
            });
        };
        let present: BTreeMap<_, _> = record
            .fields()
            .map(|field| (field.name, field.value))
            .filter(|(name, _)| is_secret(&name.to_string_lossy()))
            .collect();
        for (name, value) in &present {
            add(name, value, false);
        }
        let histories = record.record.fields().filter(|_| with_former);
        for history in histories {
            let mut known = BTreeSet::new();
            for change in history {
                let (key, value) = (&change.key, change.value.shown());
                let is_field = key.domain == Domain::User && !key.is_path();
                let is_wanted = is_field && is_secret(&key.name.to_string_lossy());
                let Some(value) = value.filter(|_| is_wanted) else {
                    continue;
                };
                if present.get(&key.name) != Some(&value) && known.insert(value.clone()) {
                    add(&key.name, &value, true);
                }
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives a text in pieces of this length.
    struct Pieces<'t>(&'t [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let len = self.0.len().min(self.1).min(to.len());
            let (piece, rest) = self.0.split_at(len);
            to[..len].copy_from_slice(piece);
            self.0 = rest;
            Ok(len)
        }
    }

    fn scanner(values: &[&str]) -> Scanner {
        let values = values.iter().map(|value| SecretValue {
            origin: Origin {
                record: (*value).to_owned(),
                field: "password".to_owned(),
                is_former: false,
            },
            value: Zeroizing::new((*value).to_owned()),
        });
        Scanner::new(values.collect(), VALUE_LEN_MIN)
    }

    fn found(scanner: &Scanner, text: &[u8], piece_len: usize) -> Vec<(u64, String, Form)> {
        let mut all = Vec::new();
        let mut text = Pieces(text, piece_len);
        let mut tell = |found: Finding| all.push((found.line, found.origin.record, found.form));
        scanner.scan(&mut text, &mut tell).unwrap();
        all.sort();
        all
    }

    #[test]
    fn values_are_found_with_their_lines_and_forms() {
        let scanner = scanner(&[
            "correct horse",
            "correct horse battery",
            "short",
            "a \"quoted\"\nvalue",
        ]);
        assert_eq!(scanner.count(), 3);
        let text = b"\n\"correct horse\", correct horse\ncorrect horse batter\ncorrect horse battery short\n\
            {\"x\": \"a \\\"quoted\\\"\\nvalue\"} a \"quoted\"\r\nvalue\n?q=correct%20horse\nY29ycmVjdCBob3JzZQ==";
        let (one, two, three) = (
            "correct horse",
            "correct horse battery",
            "a \"quoted\"\nvalue",
        );
        let expected = [
            (2, one, Form::Plain),
            (3, one, Form::Plain),
            (4, one, Form::Plain),
            (4, two, Form::Plain),
            (5, three, Form::Plain),
            (5, three, Form::Json),
            (7, one, Form::Percent),
            (8, one, Form::Base64),
        ];
        let expected = expected.map(|(line, record, form)| (line, record.to_owned(), form));
        for piece_len in [1, 7, 1000] {
            assert_eq!(found(&scanner, text, piece_len), expected, "{piece_len}");
        }
    }

    #[test]
    fn no_more_is_in_memory_than_a_piece_and_a_value() {
        let value = "x".repeat(100_000);
        let scanner = scanner(&[&value]);
        let text = [&vec![b'y'; 3 * PIECE_LEN], value.as_bytes()].concat();
        assert_eq!(found(&scanner, &text, usize::MAX).len(), 1);
        assert!(scanner.needles.len_max() <= super::super::needles::NEEDLE_LEN_MAX);
    }

    proptest! {
        #[test]
        fn a_value_is_found_wherever_it_stands(
            before in "[ab\n]{0,30}",
            value in "[ab]{8,12}",
            after in "[ab\n]{0,30}",
            piece_len in 1_usize..20,
        ) {
            let scanner = scanner(&[&value]);
            let text = format!("{before}{value}{after}");
            let line = 1 + before.matches('\n').count() as u64;
            let all = found(&scanner, text.as_bytes(), piece_len);
            prop_assert!(all.contains(&(line, value, Form::Plain)));
        }
    }
}
