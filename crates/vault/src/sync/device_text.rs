//! The texts that a device writes about itself.

use std::fmt;

/// The most characters of a text that a device writes about itself.
pub const DEVICE_TEXT_CHARS_MAX: usize = 64;
/// The most bytes in UTF-8 of a text that another device wrote about itself.
pub const DEVICE_TEXT_LEN_MAX: usize = 256;

// Whatever a device may write, the others can read.
const _: () = assert!(DEVICE_TEXT_CHARS_MAX * char::MAX.len_utf8() <= DEVICE_TEXT_LEN_MAX);

/// The name of a device, or the version of its program: at most [`DEVICE_TEXT_LEN_MAX`] bytes.
///
/// Another device may have chosen it, so it may be empty or have control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeviceText(Box<str>);

/// A text for a device has more than [`DEVICE_TEXT_CHARS_MAX`] characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the text has {found} characters, more than the limit of {DEVICE_TEXT_CHARS_MAX}")]
pub struct DeviceTextError {
    /// The number of its characters.
    pub found: usize,
}

impl DeviceText {
    /// A text that this device writes about itself.
    ///
    /// # Errors
    /// It has more than [`DEVICE_TEXT_CHARS_MAX`] characters.
    pub fn new(text: &str) -> Result<Self, DeviceTextError> {
        let found = text.chars().count();
        if found > DEVICE_TEXT_CHARS_MAX {
            return Err(DeviceTextError { found });
        }
        Ok(Self(text.into()))
    }

    /// The first [`DEVICE_TEXT_CHARS_MAX`] characters of a text.
    #[must_use]
    pub fn first_of(text: &str) -> Self {
        Self(text.chars().take(DEVICE_TEXT_CHARS_MAX).collect())
    }

    /// A text of a document; `None` if it has more than [`DEVICE_TEXT_LEN_MAX`] bytes.
    pub(crate) fn read(text: &str) -> Option<Self> {
        (text.len() <= DEVICE_TEXT_LEN_MAX).then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_writes_at_most_64_characters() {
        for character in ["x", "é", "🔑"] {
            let longest = character.repeat(64);
            assert_eq!(DeviceText::new(&longest).unwrap().as_str(), longest);
            let too_long = character.repeat(65);
            assert_eq!(
                DeviceText::new(&too_long),
                Err(DeviceTextError { found: 65 })
            );
            assert_eq!(DeviceText::first_of(&too_long).as_str(), longest);
        }
        assert_eq!(DeviceText::new("").unwrap(), DeviceText::first_of(""));
    }

    #[test]
    fn a_text_of_at_most_256_bytes_is_read() {
        for (len, is_read) in [(0, true), (65, true), (256, true), (257, false)] {
            assert_eq!(
                DeviceText::read(&"x".repeat(len)).is_some(),
                is_read,
                "{len}"
            );
        }
        assert_eq!(DeviceText::read(&"é".repeat(129)), None);
    }
}
