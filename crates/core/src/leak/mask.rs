//! Masks values in a stream. The rules are:
//!  - a value is masked however the stream is cut into pieces;
//!  - every occurrence counts, also those that overlap: what any of them covers is masked, with one
//!    mask of one length;
//!  - bytes are held back only while they may be the begin of a value. The caller shows them after
//!    a while, so that a question without a line feed is seen; if the rest of the value comes
//!    later, that is masked.

use std::fmt;

use zeroize::Zeroizing;

use super::forms::{Form, forms};
use super::needles::{NEEDLE_LEN_MAX, NEEDLE_LEN_MIN, Needles};

/// Stands for a value.
pub const MASK: &[u8] = b"********";

/// Whether a value is long enough to be masked. A shorter one occurs by chance, and the masks would
/// tell it.
#[must_use]
pub fn is_maskable(value: &str) -> bool {
    parts(value).next().is_some()
}

/// What is masked of a value: its lines, because a terminal changes the line feeds between them. A
/// long line is masked part by part.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let parts = value.lines().flat_map(|line| {
        let mut rest = line;
        std::iter::from_fn(move || {
            let (part, behind) = rest.split_at(rest.floor_char_boundary(NEEDLE_LEN_MAX));
            rest = behind;
            Some(part).filter(|part| !part.is_empty())
        })
    });
    parts.filter(|part| part.len() >= NEEDLE_LEN_MIN)
}

/// What is masked of these values: their lines, and the other [`forms`] that a value takes.
#[must_use]
pub fn masked<'v>(values: impl IntoIterator<Item = &'v str>) -> Needles<()> {
    let needles = values.into_iter().flat_map(|value| {
        let of_parts = parts(value).flat_map(forms);
        let of_whole = forms(value)
            .into_iter()
            .filter(|(form, _)| *form == Form::Base64);
        of_parts.chain(of_whole).map(|(_, bytes)| (bytes, ()))
    });
    Needles::new(needles)
}

/// A stream in which values are masked.
pub struct Masker<'n> {
    needles: &'n Needles<()>,
    /// The end of the stream, from the first byte that may be the begin of a value.
    held: Zeroizing<Vec<u8>>,
    /// So many of these bytes are shown or masked already.
    done: usize,
    /// So many are covered by a mask.
    covered: usize,
}

/// Without the bytes.
impl fmt::Debug for Masker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").finish_non_exhaustive()
    }
}

impl<'n> Masker<'n> {
    /// A stream that begins.
    #[must_use]
    pub fn new(needles: &'n Needles<()>) -> Self {
        Self {
            needles,
            held: Zeroizing::default(),
            done: 0,
            covered: 0,
        }
    }

    /// Takes the next bytes of the stream, and writes what can be shown to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let len = self.held.len();
        // What begins earlier is complete: no value is longer than this.
        let first = len.saturating_sub(self.needles.len_max().saturating_sub(1));
        let may_go_on = |place: &usize| {
            let end = self.held.get(*place..);
            end.is_some_and(|end| self.needles.goes_on_behind(end))
        };
        let decided = (first..len).find(may_go_on).unwrap_or(len);
        self.decide(decided, out);
    }

    /// The bytes that are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len().saturating_sub(self.done)
    }

    /// Shows what is held back. If it was the begin of a value, the rest will be masked.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.held.get(self.done..).unwrap_or_default());
        self.done = self.done.max(self.held.len());
    }

    /// Ends the stream.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.decide(self.held.len(), out);
    }

    /// Shows or masks the first bytes of what is held: nothing behind them changes what they are.
    fn decide(&mut self, decided: usize, out: &mut Vec<u8>) {
        for place in 0..decided {
            let rest = self.held.get(place..).unwrap_or_default();
            let Some(needle) = self.needles.at(rest) else {
                continue;
            };
            let end = place + needle.len();
            if end > self.done {
                let before = self.held.get(self.done..place);
                out.extend_from_slice(before.unwrap_or_default());
                // It may go on where the last mask ends.
                let goes_on = place < self.covered && self.done == self.covered;
                if !goes_on {
                    out.extend_from_slice(MASK);
                }
                self.done = end;
            }
            self.covered = self.covered.max(end);
        }
        let shown = self.held.get(self.done..decided);
        out.extend_from_slice(shown.unwrap_or_default());
        self.done = self.done.max(decided) - decided;
        self.covered = self.covered.saturating_sub(decided);
        let held = self.held.get(decided..).unwrap_or_default();
        self.held = Zeroizing::new(held.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(values: &[&str], pieces: &[&str]) -> String {
        let needles = masked(values.iter().copied());
        let mut masker = Masker::new(&needles);
        let mut out = Vec::new();
        for piece in pieces {
            masker.push(piece.as_bytes(), &mut out);
        }
        masker.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_masked_also_across_pieces() {
        for (values, pieces, shown) in [
            (&["secret"][..], &["a secret."][..], "a ********."),
            (&["secret"], &["a se", "cr", "et."], "a ********."),
            (&["secret"], &["a se", "ries"], "a series"),
            (&["secret"], &["sec"], "sec"),
            (&["secret"], &["secretsecret"], "****************"),
            // The longest counts, and so does what another one covers.
            (&["secret", "secrets!"], &["secrets", "!"], "********"),
            (&["secret", "secrets!"], &["secrets", "?"], "********s?"),
            (&["abcdef", "efghij"], &["abcdefghij."], "********."),
            (&["abcdef", "efghij"], &["abcdefg", "hij."], "********."),
            (&["abcdef", "efghij"], &["abcdefg", "h."], "********gh."),
            (
                &["one\r\nsecond\nthird\n"],
                &["second\r\nthird"],
                "********\r\n********",
            ),
            (
                &["a \"b\" c"],
                &[r#"{"x":"a \"b\" c"}"#],
                r#"{"x":"********"}"#,
            ),
            (&["a/b c"], &["?x=a%2Fb%20c"], "?x=********"),
            (
                &["user:secret"],
                &["Basic dXNlcjpzZWNyZXQ="],
                "Basic ********Q=",
            ),
            (&["pin"], &["spinning"], "spinning"),
            (&[], &["text"], "text"),
        ] {
            assert_eq!(mask(values, pieces), shown, "{values:?} {pieces:?}");
        }
    }

    #[test]
    fn what_is_released_is_shown_once_and_its_rest_is_masked() {
        let needles = masked(["secret"]);
        let mut masker = Masker::new(&needles);
        let mut out = Vec::new();
        masker.push(b"name: s", &mut out);
        assert_eq!((out.as_slice(), masker.held()), (&b"name: "[..], 1));
        masker.release(&mut out);
        assert_eq!((out.as_slice(), masker.held()), (&b"name: s"[..], 0));
        let mut other = Masker::new(&needles);
        masker.push(b"ecret, s", &mut out);
        assert_eq!(out, b"name: s********, ");
        masker.finish(&mut out);
        assert_eq!(out, b"name: s********, s");
        out.clear();
        other.push(b"se", &mut out);
        other.release(&mut out);
        other.push(b"ven", &mut out);
        other.finish(&mut out);
        assert_eq!(out, b"seven");
    }

    #[test]
    fn a_value_with_a_short_line_is_masked_but_for_it() {
        assert!(is_maskable("ab\nlong line"));
        assert!(!is_maskable("ab\ncde\n"));
        assert!(is_maskable("four"));
        let long = "ü".repeat(NEEDLE_LEN_MAX);
        assert!(!mask(&[&long], &[&long]).contains('ü'));
    }

    /// What is shown of a text if each byte that a value covers is left out.
    fn uncovered(values: &[String], text: &str) -> String {
        let values = values.iter().filter(|value| value.len() >= NEEDLE_LEN_MIN);
        let covers = |place: &usize| {
            values.clone().any(|value| {
                let begin = (place + 1).saturating_sub(value.len());
                (begin..=*place).any(|begin| text[begin..].starts_with(value.as_str()))
            })
        };
        let rest = (0..text.len()).filter(|place| !covers(place));
        rest.map(|place| &text[place..=place]).collect()
    }

    proptest! {
        #[test]
        fn what_no_value_covers_is_shown_however_the_text_is_cut(
            values in prop::collection::vec("[ab]{0,9}", 0..6),
            pieces in prop::collection::vec("[ab]{0,7}", 0..8),
        ) {
            let needles = Needles::new(
                values.iter().map(|value| (Zeroizing::new(value.clone().into_bytes()), ())),
            );
            let run = |pieces: &[&str], is_released: bool| {
                let mut masker = Masker::new(&needles);
                let mut out = Vec::new();
                for piece in pieces {
                    masker.push(piece.as_bytes(), &mut out);
                    if is_released {
                        masker.release(&mut out);
                        assert_eq!(masker.held(), 0);
                    }
                }
                masker.finish(&mut out);
                String::from_utf8(out).unwrap()
            };
            let text = pieces.concat();
            let pieces: Vec<_> = pieces.iter().map(String::as_str).collect();
            let shown = run(&pieces, false);
            prop_assert_eq!(&shown, &run(&[&text], false));
            prop_assert_eq!(shown.replace('*', ""), uncovered(&values, &text));
            let _ = run(&pieces, true);
        }
    }
}
