//! Text as the originals keep it: Unicode in which a surrogate may stand alone.
//!
//! The original program is written in Python, whose strings hold lone surrogates. They are kept as
//! WTF-8 (a surrogate takes three bytes, as if it were a character), so what was read is written
//! back byte for byte. Two halves of one character never stand side by side: they would be that
//! character.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use zeroize::Zeroize;

/// Text of any length, wiped on drop, ordered by its bytes, redacted in `Debug`.
///
/// It is UTF-8 but for lone surrogates, which only a file of the original program can bring in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Box<[u8]>);

impl Text {
    /// The bytes: UTF-8, or WTF-8 where surrogates stand alone.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text as a `str`; `None` if a surrogate stands alone in it.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The text with U+FFFD in the place of each lone surrogate.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(replace_surrogates(&self.0)),
        }
    }

    /// True if there is no character in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if a control character (C0, DEL, C1) is in it.
    pub fn has_control(&self) -> bool {
        self.to_string_lossy().chars().any(char::is_control)
    }

    /// Takes bytes that the caller knows to be well-formed WTF-8, in a box of exactly their length,
    /// so that no copy of them is left behind by a shrinking buffer.
    pub(crate) fn from_wtf8(bytes: Box<[u8]>) -> Self {
        Self(bytes)
    }

    /// Joins the parts with line feeds: what a value of several lines shows as.
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

    /// Appends ASCII, as the suffixes of clashing paths are.
    pub(crate) fn with_suffix(&self, suffix: &str) -> Self {
        Self([&self.0, suffix.as_bytes()].concat().into_boxed_slice())
    }
}

fn replace_surrogates(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        // A lone surrogate is ED, A0..BF, 80..BF; `utf8_chunks` calls each of the three bytes
        // invalid.
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
    fn a_lone_surrogate_is_kept_and_shown_as_one_replacement_character() {
        let text = Text::from_wtf8(b"a\xED\xA0\x80b".as_slice().into());
        assert_eq!(text.as_str(), None);
        assert_eq!(text.to_string_lossy(), "a\u{FFFD}b");
        assert_eq!(text.as_bytes(), b"a\xED\xA0\x80b");
    }

    #[test]
    fn lines_are_joined_without_a_last_line_feed() {
        let joined = Text::join_lines(&["a".into(), "".into(), "b".into()]);
        assert_eq!(joined.as_str(), Some("a\n\nb"));
        assert_eq!(Text::join_lines(&[]).as_str(), Some(""));
    }

    #[test]
    fn debug_shows_nothing_of_a_text() {
        assert_eq!(format!("{:?}", Text::from("hunter2")), "[redacted]");
    }

    #[test]
    fn control_characters_of_every_kind_are_noticed() {
        for text in ["\u{0}", "a\nb", "\u{1b}[0m", "\u{7f}", "\u{85}"] {
            assert!(Text::from(text).has_control());
        }
        assert!(!Text::from("münze 🔑").has_control());
    }
}
