//! The terminal as a screen. It is what it was before whenever this program does not have it: after
//! the end, also by a signal or a panic, while it is stopped, and while another program asks or
//! edits.

use std::io::{self, BufWriter, Stdout, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use passmate_core::problem::{Problem, ProblemKind};
use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
    KeyEventKind,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::{Position, Rect};

use super::state::Event;
use crate::terminal::{Screened, Wanted};

/// The screen is ours: a panic must give it back.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// The screen, until it is dropped.
pub(super) struct Screen<'a> {
    lender: &'a crate::terminal::Terminal,
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    /// `None` while another program has the terminal.
    held: Option<Screened<'a>>,
}

impl<'a> Screen<'a> {
    pub(super) fn enter(lender: &'a crate::terminal::Terminal) -> Result<Self, Problem> {
        HOOK.call_once(give_back_on_panic);
        let out = BufWriter::with_capacity(64 * 1024, io::stdout());
        let terminal = Terminal::new(CrosstermBackend::new(out));
        let mut screen = Self {
            lender,
            terminal: terminal.map_err(|error| failed(&error))?,
            held: None,
        };
        screen.take()?;
        Ok(screen)
    }

    fn take(&mut self) -> Result<(), Problem> {
        let held = self.lender.lend_to_screen();
        self.held = Some(held.map_err(|error| failed(&error))?);
        IS_TAKEN.store(true, Ordering::SeqCst);
        let mut take = || {
            enable_raw_mode()?;
            execute!(
                io::stdout(),
                EnterAlternateScreen,
                EnableMouseCapture,
                EnableBracketedPaste
            )?;
            // All of it is drawn the next time. `Terminal::clear` would ask the terminal where its
            // cursor is, and wait for an answer.
            let size = self.terminal.size()?;
            self.terminal.resize(Rect::from((Position::ORIGIN, size)))
        };
        take().map_err(|error| failed(&error))
    }

    /// Takes the terminal again after this program was stopped by another one.
    pub(super) fn take_again(&mut self) -> Result<(), Problem> {
        self.leave();
        self.take()
    }

    /// Makes the terminal what it was.
    pub(super) fn leave(&mut self) {
        if self.held.is_some() {
            give_back();
            self.held = None;
        }
    }

    /// Does something with the terminal as it was before.
    pub(super) fn away<T>(&mut self, what: impl FnOnce() -> T) -> Result<T, Problem> {
        self.leave();
        let done = what();
        self.take()?;
        Ok(done)
    }

    pub(super) fn size(&self) -> Result<Rect, Problem> {
        let size = self.terminal.size().map_err(|error| failed(&error))?;
        Ok(Rect::from((Position::ORIGIN, size)))
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<(), Problem> {
        self.terminal.draw(draw).map_err(|error| failed(&error))?;
        Ok(())
    }

    /// What a signal wants.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        self.held.as_ref().and_then(Screened::wanted)
    }

    /// Waits for what a person does.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn event(&mut self, patience: Duration) -> Result<Option<Event>, Problem> {
        let end = Instant::now() + patience;
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            if !event::poll(rest).map_err(|error| failed(&error))? {
                return Ok(None);
            }
            let event = event::read().map_err(|error| failed(&error))?;
            return Ok(Some(match event {
                event::Event::Key(key) if key.kind != KeyEventKind::Release => Event::Key(key),
                event::Event::Paste(text) => Event::Paste(text.into()),
                event::Event::Mouse(mouse) => Event::Mouse(mouse),
                event::Event::Resize(width, height) => {
                    Event::Resize(Rect::new(0, 0, width, height))
                }
                _ => continue,
            }));
        }
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Makes the terminal what it was. One that is gone needs nothing.
fn give_back() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout();
        let _ = execute!(
            out,
            // Nothing of a record stays in the terminal's memory of the screen.
            Clear(ClearType::All),
            DisableBracketedPaste,
            DisableMouseCapture,
            LeaveAlternateScreen,
            Show
        );
        let _ = out.flush();
        let _ = disable_raw_mode();
    }
}

/// A panic gives the screen back before it says anything. What it says may hold a secret, so only
/// its place is told.
fn give_back_on_panic() {
    panic::set_hook(Box::new(|panic| {
        give_back();
        let place = panic.location().map(ToString::to_string);
        eprintln!("passmate: fault at {}", place.unwrap_or_default());
    }));
}

fn failed(error: &io::Error) -> Problem {
    Problem::new(
        ProblemKind::Other,
        format!("the terminal cannot be used as a screen: {error}"),
        "use the commands that `passmate --help` lists",
    )
}
