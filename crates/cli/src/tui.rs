//! The full screen: `passmate` without a command, on a terminal.
//!
//! [`state`] is a machine that takes events and returns what is to be done; `view` draws it. A
//! thread has the vault ([`worker`]), and this room does the rest: it waits for events, and does
//! what the machine wants. The rules are:
//!  - a secret is on the screen only after a person asked for it, and no longer than its record;
//!  - what is typed is wiped, and no widget remembers it;
//!  - what the vault's owner locks is forgotten here too.

mod actions;
mod calls;
mod changes;
mod dialog;
mod generate;
mod history;
mod keyboard;
mod keys;
mod layout;
mod line;
mod mouse;
mod note;
mod record;
mod screen;
mod state;
mod syncing;
#[cfg(test)]
mod tests;
mod theme;
mod tree;
mod view;
mod watch;
mod worker;

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use passmate_agent::serve::boot_clock;
use passmate_core::api::VaultApi;
use passmate_core::problem::{Problem, ProblemKind};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::SIGHUP;
use signal_hook::low_level::emulate_default_handler;

use self::screen::Screen;
use self::state::{Effect, Event, State};
use self::theme::{Background, Theme};
use self::watch::{lock, watch};
use self::worker::{Panicked, Worker};
use crate::app::App;
use crate::clipboard::{Clipboard, clipboard_of};
use crate::commands::edit::edit;
use crate::terminal::Wanted;

/// How long a wait for an event may be.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long it may be while a call runs, and after it ran for long.
const PATIENCE_RUNNING: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];

/// After so long, the title tells anew how long ago the last sync was.
const SILENCE: Duration = Duration::from_secs(30);

/// Whether there is a terminal that can show a full screen.
pub(crate) fn has_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}

pub(crate) fn run(app: &App) -> Result<(), Problem> {
    let vault = app.open_to_change()?;
    let screen = Screen::enter(&app.ask.terminal)?;
    end_with_terminal();
    let mut program = Program {
        app,
        state: State::new(app.vault_name.clone(), screen.size()?, boot_clock()),
        theme: Theme::new(app.out.is_colored(), Background::of_terminal()),
        screen,
        locked: watch(app.location.path()),
        worker: Some(start(vault)?),
        clipboard: clipboard_of(app.clipboard),
        drawn: Duration::ZERO,
    };
    let mut flow = program.feed(Event::Tick)?;
    while flow.is_continue() {
        let event = program.next_event()?;
        flow = program.feed(event)?;
    }
    Ok(())
}

/// Ends this process when its terminal goes away. Whoever waits for its next key would not notice.
fn end_with_terminal() {
    // Without a thread to spare, the signal that most terminals send has to do.
    let _ = thread::Builder::new().name("hangup".to_owned()).spawn(|| {
        let stdin = io::stdin();
        let mut watched = [PollFd::new(&stdin, PollFlags::empty())];
        while let Err(Errno::INTR) = poll(&mut watched, None) {}
        // Nobody is left to give the terminal back to.
        let _ = emulate_default_handler(SIGHUP);
    });
}

fn start(vault: Box<dyn VaultApi>) -> Result<Worker, Problem> {
    Worker::start(vault).map_err(|error| {
        Problem::new(
            ProblemKind::Other,
            format!("the screen cannot start a thread: {error}"),
            "try again",
        )
    })
}

/// The machine with its screen and its vault.
struct Program<'a> {
    app: &'a App,
    state: State,
    theme: Theme,
    screen: Screen<'a>,
    /// `None` while the vault is locked.
    worker: Option<Worker>,
    /// Tells when the agent has let the vault go.
    locked: Option<Receiver<()>>,
    clipboard: Box<dyn Clipboard>,
    /// When the screen was drawn last.
    drawn: Duration,
}

impl Program<'_> {
    /// Waits for what happens next.
    fn next_event(&mut self) -> Result<Event, Problem> {
        let [soon, later] = PATIENCE_RUNNING;
        let mut waited = Duration::ZERO;
        loop {
            match self.screen.wanted() {
                Some(Wanted::End(signal)) => {
                    self.screen.leave();
                    // It knows all signals that are watched.
                    let _ = emulate_default_handler(signal);
                }
                Some(Wanted::Stop) => self.stop()?,
                Some(Wanted::Redraw) => self.screen.take_again()?,
                None => {}
            }
            if let Some(worker) = &self.worker
                && let Some(done) = worker.poll().map_err(panicked)?
            {
                return Ok(Event::Done(Box::new(done)));
            }
            if self
                .locked
                .as_ref()
                .is_some_and(|locked| locked.try_recv().is_ok())
            {
                self.locked = None;
                return Ok(Event::Locked);
            }
            let patience = match self.state.running {
                None => PATIENCE,
                Some(_) if waited < later => soon,
                Some(_) => later,
            };
            if let Some(event) = self.screen.event(patience)? {
                return Ok(event);
            }
            waited += patience;
            if waited >= PATIENCE {
                return Ok(Event::Tick);
            }
        }
    }

    /// Gives an event to the machine, does what it wants, and draws what it shows then.
    fn feed(&mut self, event: Event) -> Result<ControlFlow<()>, Problem> {
        let mut is_changed = !matches!(event, Event::Tick) || self.state.is_lively();
        let mut next = Some(event);
        while let Some(event) = next.take() {
            for effect in self.state.handle(event, boot_clock()) {
                is_changed = true;
                match effect {
                    Effect::Draw => {}
                    Effect::Call(call) => {
                        if let Some(worker) = &self.worker {
                            worker.send(call);
                        }
                    }
                    Effect::Copy(secret) => {
                        let copied = self.clipboard.put(&secret.text);
                        next = Some(Event::Copied(copied.map(|()| secret.what)));
                    }
                    Effect::ClearClipboard if self.clipboard.clears_itself() => {}
                    // There is nothing left to do about it.
                    Effect::ClearClipboard => drop(self.clipboard.clear()),
                    Effect::Generate(how) => next = Some(Event::Generated(how.make())),
                    Effect::Edit(path) => next = Some(Event::Edited(self.edit(&path)?)),
                    Effect::Lock => self.worker = None,
                    Effect::LockEverywhere => {
                        self.worker = None;
                        self.locked = None;
                        lock(self.app.location.path());
                    }
                    Effect::Unlock => next = Some(self.unlock()?),
                    Effect::Stop => self.stop()?,
                    Effect::Quit => return Ok(ControlFlow::Break(())),
                }
            }
        }
        // Each drawing writes a few bytes, and a screen that nobody uses is to be silent.
        let now = boot_clock();
        if is_changed || now.saturating_sub(self.drawn) >= SILENCE {
            self.drawn = now;
            let Self { state, theme, .. } = self;
            self.screen.draw(|frame| view::draw(state, *theme, frame))?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Asks for the passphrase as every command does.
    fn unlock(&mut self) -> Result<Event, Problem> {
        let app = self.app;
        let vault = self.screen.away(|| app.open_to_change())?;
        Ok(match vault.and_then(start) {
            Ok(worker) => {
                self.worker = Some(worker);
                self.locked = watch(app.location.path());
                Event::Unlocked
            }
            Err(problem) => Event::StillLocked(problem),
        })
    }

    /// Lets the person's editor edit a record.
    fn edit(&mut self, path: &str) -> Result<Result<String, Problem>, Problem> {
        let app = self.app;
        let Some(worker) = self.worker.take() else {
            return Ok(Ok(String::new()));
        };
        let mut vault = worker.end().map_err(panicked)?;
        let mut done = String::new();
        let edited = self.screen.away(|| {
            // The screen tells it, and nothing of a record stays on the terminal.
            edit(app, &mut vault, path, |text| {
                done = text.to_owned();
                Ok(())
            })
        })?;
        self.worker = Some(start(vault)?);
        Ok(edited.map(|()| done))
    }

    fn stop(&mut self) -> Result<(), Problem> {
        self.state.hide();
        let terminal = &self.app.ask.terminal;
        self.screen.away(|| terminal.stop())
    }
}

fn panicked(_: Panicked) -> Problem {
    Problem::new(
        ProblemKind::Other,
        "a fault in this program ended it; its place is above",
        "what was saved is saved; please report the place",
    )
}
