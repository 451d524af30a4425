//! Losses: the parts of a file or vault that are not imported or exported.

/// A part of a file or vault that is not imported or exported.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Loss {
    /// The path of the item that had it; empty if it belongs to the whole file.
    pub path: String,
    /// A description for people. It holds no value.
    pub what: String,
}

impl Loss {
    pub(crate) fn of_file(what: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            what: what.into(),
        }
    }

    /// A mark that `count` items have.
    pub(crate) fn of_mark(mark: &str, count: usize) -> Self {
        let plural = if count == 1 { "" } else { "s" };
        Self::of_file(format!("the mark \"{mark}\" of {count} item{plural}"))
    }
}
