//! What an interrupt does while a change is saved: it waits until it is known what became of it.

use std::io::{self, IsTerminal, Write};

use signal_hook::low_level::emulate_default_handler;

use super::{State, Terminal};

/// What a person reads who interrupts a save.
const WAITS: &str = "the change is being saved, which ends in a moment; the same again ends this \
                     at once, and then it may be saved or not";
/// And if they do so again.
const UNKNOWN: &str = "the change may be saved or not: `passmate history` of the record tells";

/// Whether a change is being saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Save {
    #[default]
    No,
    Runs,
    /// This signal wants the program to end, once.
    Interrupted(i32),
}

/// A change is being saved, until this is dropped: the first interrupt waits for it.
pub(crate) struct Saving<'a>(&'a Terminal);

impl Terminal {
    /// Lets a save come to its end before an interrupt ends this program.
    pub(crate) fn save(&self) -> Saving<'_> {
        let mut state = self.0.lock();
        // Otherwise a signal ends this program at once.
        if self.watch_signals(&mut state).is_ok() {
            state.save = Save::Runs;
        }
        Saving(self)
    }
}

impl Saving<'_> {
    /// The save is over. An interrupt that came meanwhile ends this program now, after `tell`.
    pub(crate) fn end(&self, tell: impl FnOnce()) {
        let mut state = self.0.0.lock();
        let save = std::mem::take(&mut state.save);
        let Save::Interrupted(signal) = save else {
            return;
        };
        state.give_back();
        drop(state);
        tell();
        // It is one that is watched.
        let _ = emulate_default_handler(signal);
    }
}

impl Drop for Saving<'_> {
    fn drop(&mut self) {
        self.0.0.lock().save = Save::No;
    }
}

impl State {
    /// Whether a signal that would end the program waits for a save.
    pub(super) fn waits_for_save(&mut self, signal: i32) -> bool {
        match self.save {
            Save::No => false,
            Save::Runs => {
                self.save = Save::Interrupted(signal);
                tell(WAITS);
                true
            }
            Save::Interrupted(_) => {
                tell(UNKNOWN);
                false
            }
        }
    }
}

/// Writes a line, in the place of what shows that the save goes on.
fn tell(text: &str) {
    let mut error = io::stderr();
    let clear = if error.is_terminal() { "\r\x1b[K" } else { "" };
    // Nobody may read it.
    let _ = writeln!(error, "{clear}passmate: {text}");
}
