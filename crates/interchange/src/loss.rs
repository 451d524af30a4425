//! Losses: the parts of a file or vault that are not imported or exported.

use serde::{Deserialize, Serialize};

/// A part of a file or vault that is not imported or exported.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Loss {
    /// The path of the item that had it; empty if it belongs to the whole file.
    pub path: String,
    /// A description for people. It holds no value and no control characters.
    pub what: String,
}

impl Loss {
    /// A loss of an item. Control characters become blanks, because the names of a file may have
    /// some, and people see them on a terminal.
    #[must_use]
    pub fn new(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            path: without_controls(path.into()),
            what: without_controls(what.into()),
        }
    }

    pub(crate) fn of_file(what: impl Into<String>) -> Self {
        Self::new("", what)
    }

    /// A mark that `count` items have.
    pub(crate) fn of_mark(mark: &str, count: usize) -> Self {
        let plural = if count == 1 { "" } else { "s" };
        Self::of_file(format!("the mark \"{mark}\" of {count} item{plural}"))
    }
}

fn without_controls(text: String) -> String {
    if text.contains(char::is_control) {
        text.replace(char::is_control, " ")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_has_no_control_characters() {
        let loss = Loss::new("a/\u{1b}[2J", "the field x\r\ny\u{9b}");
        assert_eq!(
            (loss.path.as_str(), loss.what.as_str()),
            ("a/ [2J", "the field x  y ")
        );
        assert_eq!(Loss::of_file("a\0b").what, "a b");
    }
}
