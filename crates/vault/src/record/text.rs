//! Text as the original program keeps it: Unicode that may hold lone surrogates.
//!
//! The original program is written in Python, whose strings may hold lone surrogates. This type
//! keeps them as WTF-8, where a surrogate takes three bytes as if it were a character. So a text
//! that was read is written back byte for byte. A high and a low surrogate are never adjacent: they
//! are stored as the character that they encode.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use zeroize::Zeroize;

/// Text of any length, wiped on drop, ordered by its bytes, redacted in `Debug`.
///
/// UTF-8, except for lone surrogates, which only a file of the original program can contain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Box<[u8]>);

impl Text {
    /// The bytes: UTF-8, or WTF-8 if the text has lone surrogates.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text as a `str`; `None` if it has a lone surrogate.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The text with each lone surrogate replaced by U+FFFD.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(replace_surrogates(&self.0)),
        }
    }

    /// True if the text has no character.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the text has a control character (C0, DEL or C1).
    pub fn has_control(&self) -> bool {
        self.to_string_lossy().chars().any(char::is_control)
    }

    /// A text of these bytes, which must be well-formed WTF-8. The box has exactly their length, so
    /// that no shrinking buffer leaves a copy behind.
    pub(crate) fn from_wtf8(bytes: Box<[u8]>) -> Self {
        Self(bytes)
    }

    /// Joins the parts with line feeds, as a value of several lines is shown.
    pub(crate) fn join_lines(parts: &[Self]) -> Self {
        let len = parts
            .iter()
            .map(|part| part.0.len() + 1)
            .sum::<usize>()
            .saturating_sub(1);
        let mut bytes = Vec::with_capacity(len);
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                bytes.push(b'\n');
            }
            bytes.extend_from_slice(&part.0);
        }
        Self::from_wtf8(bytes.into_boxed_slice())
    }

    /// The text with an ASCII suffix, for the paths of clashing records.
    pub(crate) fn with_suffix(&self, suffix: &str) -> Self {
        Self([&self.0, suffix.as_bytes()].concat().into_boxed_slice())
    }
}

fn replace_surrogates(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        // A lone surrogate is ED, A0..BF, 80..BF. `utf8_chunks` reports each of the three bytes as
        // an invalid chunk.
        if chunk.invalid().first() == Some(&0xED) {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<&Text> for Text {
    fn from(text: &Text) -> Self {
        text.clone()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        let mut text = text.into_bytes();
        let copy = Self(text.as_slice().into());
        text.zeroize();
        copy
    }
}

impl FromStr for Text {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::from(text))
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_surrogate_is_kept_and_shown_as_u_fffd() {
        let text = Text::from_wtf8(b"a\xED\xA0\x80b".as_slice().into());
        assert_eq!(text.as_str(), None);
        assert_eq!(text.to_string_lossy(), "a\u{FFFD}b");
        assert_eq!(text.as_bytes(), b"a\xED\xA0\x80b");
    }

    #[test]
    fn joined_lines_do_not_end_with_a_line_feed() {
        let joined = Text::join_lines(&["a".into(), "".into(), "b".into()]);
        assert_eq!(joined.as_str(), Some("a\n\nb"));
        assert_eq!(Text::join_lines(&[]).as_str(), Some(""));
    }

    #[test]
    fn debug_redacts_a_text() {
        assert_eq!(format!("{:?}", Text::from("hunter2")), "[redacted]");
    }

    #[test]
    fn every_kind_of_control_character_is_found() {
        for text in ["\u{0}", "a\nb", "\u{1b}[0m", "\u{7f}", "\u{85}"] {
            assert!(Text::from(text).has_control());
        }
        assert!(!Text::from("münze 🔑").has_control());
    }
}
