//! Shows a person that a long piece of work goes on, and how far it is.
//!
//! Nothing is shown in the first second, to a script, or where the terminal is not on standard
//! error. What is shown is gone when the work is done.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use passmate_core::interchange::Progress;

use crate::output::Output;

/// How long a person may wait without seeing anything.
const QUIET: Duration = Duration::from_secs(1);
/// How long what is shown may stay the same.
const STEP: Duration = Duration::from_millis(100);

/// A piece of work that may take long.
pub(crate) struct Meter {
    progress: Arc<Progress>,
    shown: Option<Shown>,
}

/// The thread that shows it. It ends when the sender is dropped.
struct Shown {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Meter {
    /// Begins the work. `what` is what is done, such as "reading the file".
    pub(crate) fn start(out: &Output, what: &'static str) -> Self {
        let progress = Arc::<Progress>::default();
        let shown = out.is_watched().then(|| {
            let (stop, stopped) = channel();
            let progress = Arc::clone(&progress);
            let target = ProgressDrawTarget::stderr();
            let thread = thread::spawn(move || show(what, &progress, stopped, QUIET, target));
            Shown { stop, thread }
        });
        Self { progress, shown }
    }

    /// How far the work is.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Ends what is shown, so that something else can be written.
    pub(crate) fn stop(&mut self) {
        if let Some(Shown { stop, thread }) = self.shown.take() {
            drop(stop);
            // It does nothing that panics, and the work is done either way.
            let _ = thread.join();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.stop();
    }
}

fn show(
    what: &'static str,
    progress: &Progress,
    stopped: Receiver<()>,
    quiet: Duration,
    target: ProgressDrawTarget,
) {
    if stopped.recv_timeout(quiet) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let style = |template: &str| {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
    };
    let bar = ProgressBar::with_draw_target(None, target).with_message(what);
    bar.set_elapsed(quiet);
    let mut has_length = None;
    while stopped.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
        let steps = progress.steps();
        if has_length != Some(steps.is_some()) {
            has_length = Some(steps.is_some());
            bar.set_style(match steps {
                Some(_) => style("{msg} [{bar:30}] {percent}%, {eta} to go"),
                None => style("{spinner} {msg}, {elapsed}"),
            });
        }
        match steps {
            // Both at once, so that no wrong share is drawn in between.
            Some((done, total)) => bar.update(|state| {
                state.set_len(total);
                state.set_pos(done);
            }),
            None => bar.tick(),
        }
    }
    bar.finish_and_clear();
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    /// What is on the screen during work with these steps, and after it.
    fn screens(quiet: Duration, steps: Option<(u64, u64)>) -> (String, String) {
        let term = InMemoryTerm::new(5, 80);
        let (stop, stopped) = channel::<()>();
        let progress = Progress::default();
        if let Some((done, total)) = steps {
            progress.begin(total);
            progress.set(done);
        }
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        let meanwhile = thread::scope(|scope| {
            let progress = &progress;
            scope.spawn(move || show("reading the file", progress, stopped, quiet, target));
            let wait = |_: &u32| thread::sleep(Duration::from_millis(20));
            let mut looks = (0..200).inspect(wait).map(|_| term.contents());
            let shown = looks.find(|text| !text.is_empty());
            drop(stop);
            shown.unwrap_or_default()
        });
        (meanwhile, term.contents())
    }

    #[test]
    fn long_work_is_shown_and_leaves_nothing() {
        let (meanwhile, after) = screens(Duration::ZERO, None);
        assert!(meanwhile.contains("reading the file, "), "{meanwhile}");
        assert_eq!(after, "");
        let (meanwhile, after) = screens(Duration::ZERO, Some((30, 40)));
        assert!(meanwhile.contains("75%"), "{meanwhile}");
        assert_eq!(after, "");
    }

    #[test]
    fn short_work_is_not_shown() {
        let (stop, stopped) = channel::<()>();
        let term = InMemoryTerm::new(5, 80);
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        drop(stop);
        show("reading", &Progress::default(), stopped, QUIET, target);
        assert_eq!(term.contents(), "");
    }
}
