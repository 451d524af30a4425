//! YAML as a list of names and texts. Values keep their spelling: `0123` and `yes` stay as they
//! are. Depth and length are limited, and aliases are not followed.

use saphyr_parser::{Event, Parser, ScalarStyle};
use zeroize::Zeroizing;

/// The longest document, in bytes.
const LEN_MAX: usize = 1024 * 1024;
/// The deepest nesting.
const DEPTH_MAX: usize = 32;
/// The longest name of a nested value, in bytes.
const NAME_LEN_MAX: usize = 1024;
/// The most values.
const ENTRIES_MAX: usize = 1000;

/// A value in a document.
pub(crate) struct Entry {
    /// The keys that lead to the value, joined by blanks. The members of a list have the name of
    /// the list.
    pub(crate) name: String,
    /// The text; `None` for a link to another value.
    pub(crate) value: Option<Zeroizing<String>>,
}

enum Frame {
    List,
    Map { has_key: bool },
}

/// Reads the values of a document that is a mapping. `None` if it is none, is not YAML, or is
/// beyond the limits.
pub(crate) fn read_mapping(text: &str) -> Option<Vec<Entry>> {
    if text.len() > LEN_MAX {
        return None;
    }
    let mut parser = Parser::new_from_str(text);
    let mut entries = Vec::new();
    let mut frames: Vec<Frame> = Vec::new();
    // The length of the name before each frame.
    let mut lens: Vec<usize> = Vec::new();
    let mut name = String::new();
    let mut has_mapping = false;
    while let Some(event) = parser.next_event() {
        let (event, _) = event.ok()?;
        if entries.len() > ENTRIES_MAX {
            return None;
        }
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {
                continue;
            }
            Event::StreamEnd => break,
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                // A mapping is no key, and the document is no list.
                let is_list = matches!(event, Event::SequenceStart(..));
                let is_key = matches!(frames.last(), Some(Frame::Map { has_key: false }));
                if is_key || (frames.is_empty() && is_list) || frames.len() >= DEPTH_MAX {
                    return None;
                }
                has_mapping = true;
                lens.push(name.len());
                frames.push(if is_list {
                    Frame::List
                } else {
                    Frame::Map { has_key: false }
                });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                frames.pop()?;
                name.truncate(lens.pop()?);
            }
            Event::Scalar(text, style, ..) => match frames.last_mut()? {
                Frame::Map { has_key } if !*has_key => {
                    *has_key = true;
                    if !name.is_empty() {
                        name.push(' ');
                    }
                    name.push_str(&text);
                    if name.len() > NAME_LEN_MAX {
                        return None;
                    }
                    continue;
                }
                _ => {
                    // An absent value is reported so.
                    let is_absent = style == ScalarStyle::Plain && text == "~";
                    let text = if is_absent { "" } else { &text };
                    entries.push(Entry {
                        name: name.clone(),
                        value: Some(Zeroizing::new(text.to_owned())),
                    });
                }
            },
            Event::Alias(_) => {
                if matches!(frames.last()?, Frame::Map { has_key: false }) {
                    return None;
                }
                entries.push(Entry {
                    name: name.clone(),
                    value: None,
                });
            }
        }
        // The value is complete: the mapping around it expects a key.
        if let Some(Frame::Map { has_key }) = frames.last_mut() {
            *has_key = false;
            name.truncate(lens.last().copied().unwrap_or(0));
        }
    }
    has_mapping.then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, Option<String>)>> {
        let entries = read_mapping(text)?.into_iter();
        let pair = |entry: Entry| {
            (
                entry.name,
                entry.value.map(|value| value.as_str().to_owned()),
            )
        };
        Some(entries.map(pair).collect())
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
            .collect();
        assert_eq!(read(text), Some(expected), "{text}");
    }

    #[test]
    fn values_keep_their_spelling_and_nested_ones_get_all_keys() {
        check(
            "a: 0123\nb: yes\nc:\nd: ~\ne: \"~\"\nf: 'it''s'\ng: |\n  one\n  two\n",
            &[
                ("a", "0123"),
                ("b", "yes"),
                ("c", ""),
                ("d", ""),
                ("e", "~"),
                ("f", "it's"),
                ("g", "one\ntwo\n"),
            ],
        );
        check(
            "a:\n  b: 1\n  c: {d: 2, e: [3, 4]}\nf:\n- g: 5\n- h: 6\n- 7\ni: 8\n",
            &[
                ("a b", "1"),
                ("a c d", "2"),
                ("a c e", "3"),
                ("a c e", "4"),
                ("f g", "5"),
                ("f h", "6"),
                ("f", "7"),
                ("i", "8"),
            ],
        );
    }

    #[test]
    fn an_alias_is_not_followed() {
        let entries = read("a: &x 1\nb: *x\nc: 2\n").unwrap();
        let expected = [("a", Some("1")), ("b", None), ("c", Some("2"))];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(entries, expected);
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        let deep = format!("a: {}", "[".repeat(100_000));
        let long = format!("a: {}", "x".repeat(LEN_MAX));
        let many = "a: 1\n".repeat(ENTRIES_MAX + 2);
        for text in [
            "",
            "text",
            "- a",
            "a: [",
            "? {a: b}\n: c",
            "? [a]\n: c",
            "\"",
            "a: b: c",
            "%x\n---\n",
            &deep,
            &long,
            &many,
        ] {
            assert_eq!(read(text), None, "{}", text.get(..20).unwrap_or(text));
        }
    }
}
