//! What a person may say about a sync beforehand.

use passmate_vault::merge::Altered;

/// What a person says about a sync beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Only look: nothing is saved here and nothing is sent.
    pub dry_run: bool,
    /// What holds a sync back that would change too much; `None` lets everything in.
    pub guard: Option<Guard>,
    /// What cannot be opened on the server is overwritten with what this device has.
    pub replace_remote: bool,
    /// What is saved belongs to a change that was saved already: one *undo* takes back both.
    pub continued: bool,
}

/// When a sync would change too much to go unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// So many records, deleted or changed, at least.
    pub records: usize,
    /// And more than so many in a hundred of those that are seen.
    pub percent: usize,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            records: 10,
            percent: 20,
        }
    }
}

impl Guard {
    /// Whether it is too much.
    #[must_use]
    pub const fn holds_back(
        &self,
        Altered {
            deleted,
            changed,
            of,
        }: Altered,
    ) -> bool {
        let altered = deleted.saturating_add(changed);
        altered >= self.records && altered.saturating_mul(100) > of.saturating_mul(self.percent)
    }
}
