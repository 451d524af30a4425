//! What the screen says in its last lines.

use passmate_core::escape::escape;
use passmate_core::problem::Problem;

use crate::wording::wrap;

/// The most lines of a note.
const LINES_MAX: usize = 6;

/// Something that a person should read. It stays until the next key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) tone: Tone,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Warning,
}

impl Note {
    pub(super) fn new(tone: Tone, text: &str) -> Self {
        Self {
            tone,
            text: escape(text),
        }
    }

    pub(super) fn plain(text: &str) -> Self {
        Self::new(Tone::Plain, text)
    }

    pub(super) fn good(text: &str) -> Self {
        Self::new(Tone::Good, text)
    }

    pub(super) fn warning(text: &str) -> Self {
        Self::new(Tone::Warning, text)
    }

    pub(super) fn problem(problem: &Problem) -> Self {
        Self::warning(&format!("{}; {}", problem.message, problem.hint))
    }

    /// Its lines on a screen that is so wide.
    pub(super) fn lines(&self, width: u16) -> Vec<String> {
        let wrapped = wrap(&self.text, usize::from(width).saturating_sub(2));
        let lines = wrapped.lines().take(LINES_MAX);
        lines.map(|line| line.trim_start().to_owned()).collect()
    }

    pub(super) fn height(&self, width: u16) -> u16 {
        u16::try_from(self.lines(width).len()).unwrap_or(0)
    }
}
