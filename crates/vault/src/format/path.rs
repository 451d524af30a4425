//! The place of a fault in a document, in a form that holds no value.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::record::Text;

/// A place in a document, as `records["A191DB4A34124CAB"][3][2]`.
///
/// It has keys and record ids, shortened and with control characters escaped, and never a value.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JsonPath(String);

/// The number of characters of a key that are shown.
const KEY_LEN_MAX: usize = 40;

impl JsonPath {
    /// The document as a whole.
    pub(super) fn document() -> Self {
        Self::default()
    }

    /// A member of an object.
    pub(super) fn key(mut self, key: &Text) -> Self {
        let key = key.to_string_lossy();
        let mut shown: String = key.chars().take(KEY_LEN_MAX).collect();
        if shown.len() < key.len() {
            shown.push('…');
        }
        let plain = !shown.is_empty() && shown.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if plain {
            let dot = if self.0.is_empty() { "" } else { "." };
            self.0 = format!("{}{dot}{shown}", self.0);
        } else {
            self.0 = format!("{}[{shown:?}]", self.0);
        }
        self
    }

    /// A member of an object, by a key of the format.
    pub(super) fn member(self, key: &'static str) -> Self {
        self.key(&Text::from(key))
    }

    /// An item of an array, counted from 0.
    pub(super) fn index(mut self, index: usize) -> Self {
        self.0 = format!("{}[{index}]", self.0);
        self
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "the document"
        } else {
            &self.0
        })
    }
}

impl fmt::Debug for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_shortened_and_escaped_keys() {
        assert_eq!(JsonPath::document().to_string(), "the document");
        let change = JsonPath::document()
            .member("records")
            .key(&"A191DB4A34124CAB".into())
            .index(3)
            .index(2);
        assert_eq!(change.to_string(), r#"records["A191DB4A34124CAB"][3][2]"#);
        assert_eq!(
            JsonPath::document()
                .member("sync")
                .member("trust")
                .to_string(),
            "sync.trust"
        );
        let odd = JsonPath::document().key(&"\u{1b}[0m".into());
        assert_eq!(odd.to_string(), r#"["\u{1b}[0m"]"#);
        let long = JsonPath::document().key(&"x".repeat(1000).into());
        assert_eq!(long.to_string(), format!("[\"{}…\"]", "x".repeat(40)));
    }
}
