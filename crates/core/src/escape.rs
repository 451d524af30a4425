//! Text from records, files and peers, made safe to show.

use std::fmt::Write;

/// The text with every character made visible that acts on a terminal or turns the reading
/// direction.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            _ if is_active(character) => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(character));
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

/// A path as one line, from which [`unescape_path`] makes the same path again. A path without
/// active characters, and without anything that looks like one of these escapes, stays as it is;
/// in any other one they are escaped, and each backslash is doubled.
#[must_use]
pub fn escape_path(path: &str) -> String {
    let is_bare = !path.chars().any(is_active) && unescape_path(path) == path;
    if is_bare {
        return path.to_owned();
    }
    escape(&path.replace('\\', "\\\\"))
}

/// Reads what [`escape_path`] wrote: `\\`, `\n`, `\t`, `\r` and `\u{9b}`. A backslash before
/// anything else stands for itself.
#[must_use]
pub fn unescape_path(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        path.push_str(before);
        match read_escape(after) {
            Some((character, len)) => {
                path.push(character);
                rest = after.get(len..).unwrap_or_default();
            }
            None => {
                path.push('\\');
                rest = after;
            }
        }
    }
    path.push_str(rest);
    path
}

/// The character that an escape stands for, and its length behind the backslash.
fn read_escape(after: &str) -> Option<(char, usize)> {
    match after.as_bytes().first()? {
        b'\\' => Some(('\\', 1)),
        b'n' => Some(('\n', 1)),
        b't' => Some(('\t', 1)),
        b'r' => Some(('\r', 1)),
        b'u' => {
            let (digits, _) = after.strip_prefix("u{")?.split_once('}')?;
            let is_written = (1..=6).contains(&digits.len())
                && digits
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let code = is_written.then(|| u32::from_str_radix(digits, 16).ok())??;
            Some((char::from_u32(code)?, digits.len() + 3))
        }
        _ => None,
    }
}

/// JSON as one line, with each active character as `\u` and four digits: a terminal shows what a
/// script reads.
#[must_use]
pub fn json_line(value: &serde_json::Value) -> String {
    let text = value.to_string();
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        // Active characters occur in strings only.
        if is_active(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(character);
        }
    }
    line
}

/// Control characters, and those that turn or hide the text around them.
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_one_line_is_read_as_the_same_path() {
        for (path, line) in [
            ("web/shop", "web/shop"),
            ("DOMAIN\\user", "DOMAIN\\user"),
            ("a\nb", "a\\nb"),
            ("a\\nb", "a\\\\nb"),
            ("two\\\\", "two\\\\\\\\"),
            ("end\\", "end\\"),
            ("\u{9b}31m\\x", "\\u{9b}31m\\\\x"),
            ("\\u{41}", "\\\\u{41}"),
            (
                "\\u{xyz}\\u{}\\u{110000}\\u{1234567}",
                "\\u{xyz}\\u{}\\u{110000}\\u{1234567}",
            ),
        ] {
            assert_eq!(escape_path(path), line);
            assert_eq!(unescape_path(line), path);
        }
    }

    #[test]
    fn any_two_paths_have_two_lines_without_active_characters() {
        let parts = [
            "\\", "n", "u{", "9b", "}", "\n", "\u{9b}", "\u{202e}", "a", "/",
        ];
        let mut lines = std::collections::BTreeMap::new();
        let mut paths = vec![String::new()];
        for _ in 0..4 {
            let longer = paths
                .iter()
                .flat_map(|path| parts.map(|part| format!("{path}{part}")));
            paths = longer.collect();
            for path in &paths {
                let line = escape_path(path);
                assert!(!line.chars().any(is_active), "{path:?}");
                assert_eq!(&unescape_path(&line), path);
                let other = lines.insert(line, path.clone());
                assert!(other.is_none_or(|other| &other == path), "{path:?}");
            }
        }
    }

    #[test]
    fn json_has_no_active_character_and_the_same_meaning() {
        let value = serde_json::json!({ "a\u{9b}": "\u{202e}\u{e0041}\n\u{7f}ü" });
        let line = json_line(&value);
        assert_eq!(line, "{\"a\\u009b\":\"\\u202e\\udb40\\udc41\\n\\u007fü\"}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&line).unwrap(),
            value
        );
    }

    #[test]
    fn nothing_that_acts_on_a_terminal_gets_through() {
        assert_eq!(escape("a\u{1b}]0;x\u{7}b"), "a\\u{1b}]0;x\\u{7}b");
        assert_eq!(escape("tab\tline\nreturn\r"), "tab\\tline\\nreturn\\r");
        assert_eq!(escape("\u{9b}31m\u{7f}\0"), "\\u{9b}31m\\u{7f}\\u{0}");
        assert_eq!(escape("\u{202e}evil\u{2066}"), "\\u{202e}evil\\u{2066}");
        assert_eq!(escape("münze 🔑 日本"), "münze 🔑 日本");
        for code in (0..0x20).chain(0x7F..0xA0) {
            let control = char::from_u32(code).map(String::from).unwrap_or_default();
            assert!(!escape(&control).contains(char::is_control), "{code:#x}");
        }
    }
}
