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
mod filling;
mod findings;
mod generate;
mod guarded;
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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use passmate_agent::serve::boot_clock;
use passmate_core::answer::Need;
use passmate_core::problem::{Problem, ProblemKind};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::SIGHUP;
use signal_hook::low_level::emulate_default_handler;

use self::screen::Screen;
use self::state::{Effect, Event, State};
use self::theme::{Background, Theme};
use self::watch::{lock, watch};
use self::worker::{Idle, Panicked, Told, Worker};
use crate::app::{App, Asking, Opened, asking_text};
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
    let is_away = Arc::new(AtomicBool::new(false));
    let worker = start(app, &is_away, |asking| app.open_asking(asking))?;
    let screen = Screen::enter(&app.ask.terminal)?;
    end_with_terminal();
    let mut program = Program {
        app,
        state: State::new(app.vault_name.clone(), screen.size()?, boot_clock()),
        theme: Theme::new(app.out.is_colored(), Background::of_terminal()),
        screen,
        locked: watch(app.location.path()),
        worker: Some(worker),
        aside: None,
        is_away,
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

/// Opens the vault, and gives it to a thread. A person who is asked meanwhile sees that on the screen,
/// or on the terminal while the screen is away.
fn start(
    app: &App,
    is_away: &Arc<AtomicBool>,
    open: impl FnOnce(Asking) -> Result<Opened, Problem>,
) -> Result<Worker, Problem> {
    let (teller, told) = channel();
    let (is_away, out, screen) = (Arc::clone(is_away), app.out.clone(), teller.clone());
    let Opened { vault, breaker } = open(Box::new(move |question| {
        let text = asking_text(question);
        if is_away.load(Ordering::Acquire) {
            out.warn(&text);
        } else {
            // A screen that is gone shows nothing.
            let _ = screen.send(Told::Asking(text));
        }
    }))?;
    start_again(Idle {
        vault,
        breaker,
        teller,
        told,
    })
}

fn start_again(idle: Idle) -> Result<Worker, Problem> {
    Worker::start(idle).map_err(|error| {
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
    /// A call of it waits for a person, and another worker makes the next ones.
    aside: Option<Worker>,
    /// Another program has the terminal.
    is_away: Arc<AtomicBool>,
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
                && let Some(told) = worker.poll().map_err(panicked)?
            {
                return Ok(match told {
                    Told::Asking(question) => Event::Asking(question),
                    Told::Done(done) => Event::Done(done),
                });
            }
            if let Some(worker) = &self.aside
                && let Some(Told::Done(done)) = worker.poll().map_err(panicked)?
            {
                self.aside = None;
                return Ok(Event::PendingDone(done));
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
                        let keeps = self.clipboard.keeps();
                        next = Some(Event::Copied(copied.map(|()| (secret.what, keeps))));
                    }
                    Effect::ClearClipboard if self.clipboard.clears_itself() => {}
                    // There is nothing left to do about it.
                    Effect::ClearClipboard => drop(self.clipboard.clear()),
                    Effect::Generate(how) => next = Some(Event::Generated(how.make())),
                    Effect::Edit(path) => next = Some(Event::Edited(self.edit(&path)?)),
                    Effect::SetAside => {
                        self.aside = self.worker.take();
                        next = self.start_beside();
                    }
                    Effect::Replace => {
                        abandon(&mut self.worker);
                        next = self.start_beside();
                    }
                    Effect::Withdraw => abandon(&mut self.aside),
                    Effect::Lock => self.drop_vault(),
                    Effect::LockEverywhere => {
                        self.drop_vault();
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
        let is_away = &self.is_away;
        let worker = self
            .screen
            .away(|| start(app, is_away, |asking| app.open_asking(asking)))?;
        Ok(match worker {
            Ok(worker) => {
                self.worker = Some(worker);
                self.locked = watch(app.location.path());
                Event::Unlocked
            }
            Err(problem) => Event::StillLocked(problem),
        })
    }

    /// Starts a worker in the place of one that waits.
    fn start_beside(&mut self) -> Option<Event> {
        let app = self.app;
        let worker = start(app, &self.is_away, |asking| {
            let opened = app.open_beside(asking);
            opened.ok_or_else(|| Problem::from(Need::Locked))
        });
        match worker {
            Ok(worker) => {
                self.worker = Some(worker);
                None
            }
            Err(_) => Some(Event::Locked),
        }
    }

    fn drop_vault(&mut self) {
        self.worker = None;
        abandon(&mut self.aside);
    }

    /// Lets the person's editor edit a record.
    fn edit(&mut self, path: &str) -> Result<Result<String, Problem>, Problem> {
        let app = self.app;
        let Some(worker) = self.worker.take() else {
            return Ok(Ok(String::new()));
        };
        let mut idle = worker.end().map_err(panicked)?;
        let mut done = String::new();
        self.is_away.store(true, Ordering::Release);
        let edited = self.screen.away(|| {
            // The screen tells it, and nothing of a record stays on the terminal.
            edit(app, &mut idle.vault, path, |text| {
                done = text.to_owned();
                Ok(())
            })
        })?;
        self.is_away.store(false, Ordering::Release);
        self.worker = Some(start_again(idle)?);
        Ok(edited.map(|()| done))
    }

    fn stop(&mut self) -> Result<(), Problem> {
        self.state.hide();
        let terminal = &self.app.ask.terminal;
        self.screen.away(|| terminal.stop())
    }
}

/// Gives up the call of a worker.
fn abandon(worker: &mut Option<Worker>) {
    if let Some(worker) = worker.take() {
        worker.abandon();
    }
}

fn panicked(_: Panicked) -> Problem {
    Problem::new(
        ProblemKind::Other,
        "a fault in this program ended it; its place is above",
        "what was saved is saved; please report the place",
    )
}
