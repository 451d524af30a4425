//! Text that others wrote, such as notes and names of files, as it is shown on a terminal.

/// The text with an escape (`\\u{1b}`) in place of each character that would act on a terminal or
/// is invisible.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut shown, c| {
        if is_printable(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
        shown
    })
}

/// A JSON text with an escape in place of the same characters.
pub(crate) fn printable_json(text: &str) -> String {
    text.chars().fold(String::new(), |mut shown, c| {
        if is_printable(c) {
            shown.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        }
        shown
    })
}

fn is_printable(c: char) -> bool {
    // The escape of a text escapes what cannot be printed. It leaves a combining mark as it is where
    // a letter stands before it.
    let pair = String::from_iter(['x', c]);
    matches!(c, '"' | '\'' | '\\') || pair.escape_debug().eq(pair.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        let hostile = "a\u{1b}[2J\u{9b}x\r\n\u{7f}\u{202e}\u{200b}";
        let shown = r"a\u{1b}[2J\u{9b}x\u{d}\u{a}\u{7f}\u{202e}\u{200b}";
        assert_eq!(printable(hostile), shown);
        assert!(printable_json(hostile).is_ascii());
        let note = "Ada's \"phone\", e\u{301}, हिन्दी, 電話 \\ 📱";
        assert_eq!(printable(note), note);
    }

    #[test]
    fn escaped_json_is_the_same_text() {
        for text in ["\u{202e}x", "\u{e0001}", "a\"b\\c"] {
            let json = serde_json::to_string(text).unwrap();
            let again: String = serde_json::from_str(&printable_json(&json)).unwrap();
            assert_eq!(again, text);
        }
    }
}
