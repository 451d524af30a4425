//! What does not come along.

/// Something that is in the file and does not come along.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Loss {
    /// The path of the item that had it; empty for what belongs to the whole file.
    pub path: String,
    /// What is lost, for people. It holds no value.
    pub what: String,
}

impl Loss {
    pub(crate) fn of_file(what: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            what: what.into(),
        }
    }

    /// A mark that so many items have, which says nothing about their secrets.
    pub(crate) fn of_mark(mark: &str, count: usize) -> Self {
        let plural = if count == 1 { "" } else { "s" };
        Self::of_file(format!("the mark \"{mark}\" of {count} item{plural}"))
    }
}
