//! Text from records, files and peers, made safe to show.

use std::fmt::Write;
use std::path::Path;

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

/// A path as one word of a POSIX shell, in quotes only where it needs them.
#[must_use]
pub fn shell_word(path: &Path) -> String {
    let path = escape(&path.display().to_string());
    let is_bare = |c: char| c.is_alphanumeric() || "/._-+:@%,=".contains(c);
    if path.chars().all(is_bare) && !path.is_empty() {
        return path;
    }
    format!("'{}'", path.replace('\'', "'\\''"))
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
