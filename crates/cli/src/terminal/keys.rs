//! Keys of a terminal, from the bytes that they send.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Character(char),
    Enter,
    Up,
    Down,
    Erase,
    EraseAll,
    /// Escape, Ctrl-C, Ctrl-D or Ctrl-G.
    End,
    Other,
}

/// The longest sequence of bytes that one key sends.
const SEQUENCE_MAX: usize = 32;

/// Reads one key. `next` gives the next byte; `soon` the one that follows at once, if any does.
pub(crate) fn read<E>(
    mut next: impl FnMut() -> Result<u8, E>,
    mut soon: impl FnMut() -> Result<Option<u8>, E>,
) -> Result<Key, E> {
    const ESCAPE: u8 = 0x1b;
    Ok(match next()? {
        ESCAPE => match soon()? {
            None => Key::End,
            Some(b'[' | b'O') => {
                let mut last = None;
                for _ in 0..SEQUENCE_MAX {
                    last = soon()?;
                    match last {
                        Some(b'0'..=b'9' | b';' | b'?') => {}
                        _ => break,
                    }
                }
                match last {
                    Some(b'A') => Key::Up,
                    Some(b'B') => Key::Down,
                    _ => Key::Other,
                }
            }
            Some(_) => Key::Other,
        },
        b'\r' | b'\n' => Key::Enter,
        0x08 | 0x7f => Key::Erase,
        // Ctrl-U and Ctrl-W.
        0x15 | 0x17 => Key::EraseAll,
        // Ctrl-P and Shift-Tab's neighbours; Ctrl-N and Tab.
        0x10 => Key::Up,
        0x0e | b'\t' => Key::Down,
        // Ctrl-C, Ctrl-D, Ctrl-G.
        0x03 | 0x04 | 0x07 => Key::End,
        byte @ 0x20..=0x7e => Key::Character(char::from(byte)),
        byte @ 0xc2..=0xf4 => {
            let len = match byte {
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            let mut bytes = vec![byte];
            for _ in 1..len {
                bytes.push(next()?);
            }
            let text = std::str::from_utf8(&bytes).ok();
            text.and_then(|text| text.chars().next())
                .map_or(Key::Other, Key::Character)
        }
        _ => Key::Other,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn bytes_become_keys() {
        let keys = |bytes: &[u8]| {
            let bytes = RefCell::new(bytes.iter().copied());
            let mut keys = Vec::new();
            while let Ok(key) = read(
                || bytes.borrow_mut().next().ok_or(()),
                || Ok(bytes.borrow_mut().next()),
            ) {
                keys.push(key);
            }
            keys
        };
        assert_eq!(
            keys("aü日\r".as_bytes()),
            [
                Key::Character('a'),
                Key::Character('ü'),
                Key::Character('日'),
                Key::Enter
            ]
        );
        assert_eq!(
            keys(b"\x1b[A\x1bOB\x1b[1;5A"),
            [Key::Up, Key::Down, Key::Up]
        );
        assert_eq!(keys(b"\x1b[3~\x1bx"), [Key::Other, Key::Other]);
        assert_eq!(
            keys(b"\x10\x0e\x7f\x15\x03"),
            [Key::Up, Key::Down, Key::Erase, Key::EraseAll, Key::End]
        );
        assert_eq!(keys(b"\x1b"), [Key::End]);
        assert_eq!(keys(b"\xff\xc3\x28"), [Key::Other, Key::Other]);
        // A sequence without an end is cut off.
        assert_eq!(
            keys(&[b"\x1b["[..].to_vec(), vec![b'1'; 500]].concat()).len(),
            469
        );
    }
}
