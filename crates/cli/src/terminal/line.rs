//! A line as it is typed, byte by byte.

use std::io;

use passmate_core::escape::escape;
use rustix::termios::{SpecialCodeIndex, Termios};
use unicode_width::UnicodeWidthStr;
use zeroize::Zeroizing;

use super::Shown;

/// The keys that edit a line, as the person set them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    erase: u8,
    kill: u8,
    end: u8,
}

impl Keys {
    pub(super) fn of(termios: &Termios) -> Self {
        let key = |index| termios.special_codes[index];
        Self {
            erase: key(SpecialCodeIndex::VERASE),
            kill: key(SpecialCodeIndex::VKILL),
            end: key(SpecialCodeIndex::VEOF),
        }
    }
}

/// What a byte did.
pub(super) enum Step {
    /// The line goes on; this is written to the screen.
    Goes(String),
    Ends(Result<Zeroizing<Vec<u8>>, io::ErrorKind>),
}

/// A line that is being typed.
pub(super) struct Line {
    keys: Keys,
    shown: Shown,
    len_max: usize,
    bytes: Zeroizing<Vec<u8>>,
}

impl Line {
    pub(super) fn new(keys: Keys, shown: Shown, len_max: usize) -> Self {
        Self {
            keys,
            shown,
            len_max,
            bytes: Zeroizing::new(Vec::with_capacity(256)),
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn push(&mut self, byte: u8) -> Step {
        const BACKSPACE: u8 = 0x08;
        const DELETE: u8 = 0x7F;
        match byte {
            b'\n' | b'\r' => Step::Ends(Ok(std::mem::take(&mut self.bytes))),
            _ if byte == self.keys.end && self.bytes.is_empty() => {
                Step::Ends(Err(io::ErrorKind::UnexpectedEof))
            }
            _ if byte == self.keys.end => Step::Ends(Ok(std::mem::take(&mut self.bytes))),
            _ if byte == self.keys.kill => Step::Goes(self.erase_to(0)),
            BACKSPACE | DELETE => Step::Goes(self.erase()),
            _ if byte == self.keys.erase => Step::Goes(self.erase()),
            _ if self.bytes.len() == self.len_max => Step::Ends(Err(io::ErrorKind::FileTooLarge)),
            _ => {
                self.grow();
                self.bytes.push(byte);
                Step::Goes(self.echo_of_last())
            }
        }
    }

    /// Makes room without leaving a copy of the secret behind.
    fn grow(&mut self) {
        if self.bytes.len() == self.bytes.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(self.bytes.capacity().max(256) * 2));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
    }

    /// Where the last character begins.
    fn last_start(&self) -> usize {
        let is_start = |byte: &u8| byte & 0xC0 != 0x80;
        self.bytes.iter().rposition(is_start).unwrap_or(0)
    }

    fn erase(&mut self) -> String {
        self.erase_to(self.last_start())
    }

    /// Removes what stands behind this place.
    fn erase_to(&mut self, place: usize) -> String {
        let removed = self.bytes.get(place..).unwrap_or_default();
        let width = match self.shown {
            Shown::Yes => escape(&String::from_utf8_lossy(removed)).width(),
            Shown::No => 0,
        };
        self.bytes.truncate(place);
        "\u{8} \u{8}".repeat(width)
    }

    /// The last character, if it is whole and may be seen.
    fn echo_of_last(&self) -> String {
        let last = self.bytes.get(self.last_start()..).unwrap_or_default();
        match (self.shown, std::str::from_utf8(last)) {
            (Shown::Yes, Ok(character)) => escape(character),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys = Keys {
        erase: 0x7F,
        kill: 0x15,
        end: 0x04,
    };

    /// Types a text, and returns what is seen of it and how the line ends.
    fn typed(text: &[u8], shown: Shown) -> (String, Result<Vec<u8>, io::ErrorKind>) {
        let mut line = Line::new(KEYS, shown, 300);
        let mut seen = String::new();
        for byte in text {
            match line.push(*byte) {
                Step::Goes(echo) => seen.push_str(&echo),
                Step::Ends(end) => return (seen, end.map(|bytes| bytes.to_vec())),
            }
        }
        (seen, Ok(line.bytes.to_vec()))
    }

    #[test]
    fn nothing_is_seen_of_a_secret_and_all_of_another_answer() {
        let text = "battery ü日\n".as_bytes();
        let line = "battery ü日";
        assert_eq!(typed(text, Shown::No), (String::new(), Ok(line.into())));
        assert_eq!(typed(text, Shown::Yes), (line.to_owned(), Ok(line.into())));
        assert_eq!(typed(b"a\x1b[A\n", Shown::Yes).0, "a\\u{1b}[A");
    }

    #[test]
    fn characters_and_lines_are_erased_by_the_keys_for_it() {
        let back = "\u{8} \u{8}";
        let (seen, line) = typed("aü日\u{7f}\u{8}b\n".as_bytes(), Shown::Yes);
        assert_eq!(line, Ok(b"ab".to_vec()));
        assert_eq!(seen, format!("aü日{back}{back}{back}b"));
        let (seen, line) = typed(b"\x7fone\x15two\n", Shown::No);
        assert_eq!((seen.as_str(), line), ("", Ok(b"two".to_vec())));
    }

    #[test]
    fn the_end_of_the_input_is_no_answer_and_a_long_line_an_error() {
        assert_eq!(
            typed(b"\x04", Shown::No).1,
            Err(io::ErrorKind::UnexpectedEof)
        );
        assert_eq!(typed(b"a\x04", Shown::No).1, Ok(b"a".to_vec()));
        assert_eq!(typed(&[b'x'; 300], Shown::No).1, Ok(vec![b'x'; 300]));
        assert_eq!(
            typed(&[b'x'; 301], Shown::No).1,
            Err(io::ErrorKind::FileTooLarge)
        );
    }

    #[test]
    fn bytes_that_are_no_text_can_be_a_passphrase() {
        assert_eq!(typed(b"\xff\xe4\n", Shown::No).1, Ok(b"\xff\xe4".to_vec()));
        assert_eq!(typed(b"\xff\x7f\n", Shown::Yes).1, Ok(Vec::new()));
    }
}
