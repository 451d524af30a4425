//! The terminal that a person types on. The rules are:
//!  - from the first question until this program ends, the terminal itself shows nothing that is
//!    typed: a secret that is typed ahead of its question is never on the screen. What answers an
//!    open question is shown by this room;
//!  - the terminal is as it was before whenever this program does not have it: while an editor
//!    runs, while it is stopped by Ctrl-Z, and after it ended, also by a signal.

pub(crate) mod keys;
mod line;
mod saving;
mod screen;

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use rustix::process::{getpgrp, getpid, getsid};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use zeroize::Zeroizing;

use self::line::{Keys, Line, Step};
use self::saving::Save;

/// Whether an answer is on the screen while it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Yes,
    No,
}

/// The terminal of this process. It is opened at the first question, and put back when the last
/// clone is dropped.
#[derive(Clone)]
pub(crate) struct Terminal(Arc<Shared>);

struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    /// `None` until it is needed.
    device: Option<Arc<File>>,
    watches_signals: bool,
    holder: Holder,
    /// What the terminal was like, while it is not.
    before: Option<Termios>,
    /// The question that waits for an answer.
    question: Option<String>,
    /// How often the person stopped this program. What they had typed of an answer is void then,
    /// as it is in every other program.
    stops: u64,
    /// Somebody wanted this program to end while it could not.
    is_ended: bool,
    /// Whether an interrupt has to wait.
    save: Save,
    /// What the full screen has to do.
    wanted: Option<Wanted>,
    /// What is written before the terminal is given back, so that no picture is left on it.
    farewell: Option<&'static str>,
}

/// Who has the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Holder {
    /// Nobody has asked anything yet.
    #[default]
    Nobody,
    /// This program: what is typed is not shown.
    Questions,
    /// This program, which is stopped or in the background.
    Stopped,
    /// Another program, such as an editor.
    Other {
        /// There were questions before.
        after: bool,
    },
    /// The full screen of this program, which does what signals want itself.
    Screen {
        /// There were questions before.
        after: bool,
    },
}

/// What a signal wants from the full screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This program goes on after it was stopped.
    Redraw,
    Stop,
    /// It ends by this signal.
    End(i32),
}

impl Terminal {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared(Mutex::default())))
    }

    /// Asks for a line of `len_max` bytes at most, and returns it without its end.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the person ended the input,
    /// [`io::ErrorKind::FileTooLarge`] if the line is longer, others if there is no terminal.
    pub(crate) fn ask(
        &self,
        question: &str,
        shown: Shown,
        len_max: usize,
    ) -> io::Result<Zeroizing<Vec<u8>>> {
        let (device, mut stops) = {
            let mut state = self.0.lock();
            self.watch_signals(&mut state)?;
            let device = state.open()?;
            // Before the question: who sees it may type at once.
            state.take()?;
            state.question = Some(question.to_owned());
            (device, state.stops)
        };
        let keys = Keys::of(&tcgetattr(&*device)?);
        (&*device).write_all(question.as_bytes())?;
        let mut line = Line::new(keys, shown, len_max);
        let answer = loop {
            // One byte at a time: what comes after the line belongs to the next reader.
            let mut byte = [0];
            match (&*device).read(&mut byte) {
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break Err(error),
            }
            let state = self.0.lock();
            if stops != state.stops {
                stops = state.stops;
                line.clear();
            }
            match line.push(byte[0]) {
                Step::Goes(echo) => (&*device).write_all(echo.as_bytes())?,
                Step::Ends(answer) => break answer.map_err(io::Error::from),
            }
        };
        self.0.lock().question = None;
        (&*device).write_all(b"\n")?;
        answer
    }

    /// Lets another program have the terminal until the result is dropped. Meanwhile an interrupt
    /// is that program's affair, and a signal that ends this one waits.
    pub(crate) fn lend(&self) -> io::Result<Lent<'_>> {
        let mut state = self.0.lock();
        self.watch_signals(&mut state)?;
        let after = state.holder != Holder::Nobody;
        state.give_back();
        state.holder = Holder::Other { after };
        state.is_ended = false;
        Ok(Lent(self))
    }

    /// Lets the full screen have the terminal until the result is dropped.
    pub(crate) fn lend_to_screen(&self) -> io::Result<Screened<'_>> {
        let mut state = self.0.lock();
        self.watch_signals(&mut state)?;
        let after = state.holder != Holder::Nobody;
        state.give_back();
        state.holder = Holder::Screen { after };
        // Somebody may have wanted this program to end while an editor ran.
        state.wanted = state.is_ended.then_some(Wanted::End(SIGTERM));
        state.is_ended = false;
        Ok(Screened(self))
    }

    /// Stops this program, as Ctrl-Z does, until somebody lets it go on. The terminal is as it was
    /// meanwhile.
    pub(crate) fn stop(&self) {
        if !is_session_leader() {
            self.0.lock().stop();
            // It knows this signal. The thread that watches signals sees when the program goes on.
            let _ = emulate_default_handler(SIGTSTP);
        }
    }

    fn watch_signals(&self, state: &mut State) -> io::Result<()> {
        if !state.watches_signals {
            let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT])?;
            let shared = Arc::downgrade(&self.0);
            thread::Builder::new()
                .name("signals".to_owned())
                .spawn(move || watch(signals, &shared))?;
            state.watches_signals = true;
        }
        Ok(())
    }
}

/// Another program has the terminal.
pub(crate) struct Lent<'a>(&'a Terminal);

impl Lent<'_> {
    /// Whether somebody wanted this program to end meanwhile.
    pub(crate) fn is_ended(&self) -> bool {
        self.0.0.lock().is_ended
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.0.lock().take_back();
    }
}

/// The full screen has the terminal.
pub(crate) struct Screened<'a>(&'a Terminal);

impl Screened<'_> {
    /// What a signal wants, told once.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        self.0.0.lock().wanted.take()
    }
}

impl Drop for Screened<'_> {
    fn drop(&mut self) {
        self.0.0.lock().take_back();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.lock().give_back();
    }
}

impl State {
    fn open(&mut self) -> io::Result<Arc<File>> {
        if let Some(device) = &self.device {
            return Ok(Arc::clone(device));
        }
        let controlling = File::options().read(true).write(true).open("/dev/tty");
        let device = controlling.or_else(|error| {
            let input = io::stdin();
            if input.is_terminal() {
                input.as_fd().try_clone_to_owned().map(File::from)
            } else {
                Err(error)
            }
        })?;
        Ok(Arc::clone(self.device.insert(Arc::new(device))))
    }

    /// Hides what is typed, and gets each byte as it is typed: a line that the system collects is
    /// cut at 4 KiB.
    fn take(&mut self) -> io::Result<()> {
        let device = self.open()?;
        let now = tcgetattr(&*device)?;
        let mut hidden = now.clone();
        hidden
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON);
        hidden.local_modes.insert(LocalModes::ISIG);
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&*device, OptionalActions::Now, &hidden)?;
        let is_ours = self.before.is_some() && !now.local_modes.contains(LocalModes::ECHO);
        if !is_ours {
            self.before = Some(now);
        }
        self.holder = Holder::Questions;
        Ok(())
    }

    /// The terminal is this program's again.
    fn take_back(&mut self) {
        if let Holder::Other { after } | Holder::Screen { after } = self.holder {
            self.holder = Holder::Nobody;
            if after {
                // A terminal that is gone is found out by the next question.
                let _ = self.take();
            }
        }
    }

    /// Makes the terminal what it was.
    fn give_back(&mut self) {
        // The terminal of another program in the foreground is not ours to change.
        if let (Some(before), Some(device)) = (self.before.take(), &self.device)
            && is_in_foreground(device)
        {
            if let Some(farewell) = self.farewell.take() {
                let _ = (&**device).write_all(farewell.as_bytes());
            }
            // A terminal that is gone needs no echo.
            let _ = tcsetattr(&**device, OptionalActions::Now, &before);
        }
    }

    fn is_screen(&self) -> bool {
        matches!(self.holder, Holder::Screen { .. })
    }

    /// The person stopped this program.
    fn stop(&mut self) {
        if self.holder == Holder::Questions {
            self.give_back();
            self.holder = Holder::Stopped;
        }
    }

    /// The program goes on, in the foreground or not.
    fn go_on(&mut self) {
        if self.is_screen() {
            self.wanted.get_or_insert(Wanted::Redraw);
            return;
        }
        let Some(device) = self
            .device
            .clone()
            .filter(|device| is_in_foreground(device))
        else {
            return;
        };
        let was_stopped = match self.holder {
            Holder::Stopped => true,
            Holder::Questions => false,
            Holder::Nobody | Holder::Other { .. } | Holder::Screen { .. } => return,
        };
        if self.take().is_err() || !was_stopped {
            return;
        }
        self.stops += 1;
        if let Some(question) = &self.question {
            let _ = (&*device).write_all(question.as_bytes());
        }
    }
}

fn is_in_foreground(device: &File) -> bool {
    tcgetpgrp(device).is_ok_and(|group| group == getpgrp())
}

/// Whether nobody could let this process go on after it stopped.
fn is_session_leader() -> bool {
    getsid(None).is_ok_and(|session| session == getpid())
}

/// Does what each signal does by default, with the terminal as it was.
fn watch(mut signals: Signals, shared: &Weak<Shared>) {
    for signal in signals.forever() {
        let shared = shared.upgrade();
        let mut state = shared.as_ref().map(|shared| shared.lock());
        match (signal, &mut state) {
            (SIGTSTP, _) if is_session_leader() => continue,
            (SIGTSTP, Some(state)) if state.is_screen() => {
                state.wanted.get_or_insert(Wanted::Stop);
                continue;
            }
            (SIGTSTP, Some(state)) => state.stop(),
            (SIGCONT, Some(state)) => {
                state.go_on();
                continue;
            }
            (SIGCONT, None) => continue,
            // The second signal does not wait for a screen that does not listen.
            (_, Some(state)) if state.is_screen() && !state.is_ended => {
                state.is_ended = true;
                state.wanted = Some(Wanted::End(signal));
                continue;
            }
            (_, Some(state)) if matches!(state.holder, Holder::Other { .. }) => {
                state.is_ended |= signal != SIGINT;
                continue;
            }
            (_, Some(state)) => {
                if state.waits_for_save(signal) {
                    continue;
                }
                state.give_back();
            }
            (_, None) => {}
        }
        drop(state);
        drop(shared);
        // It knows all signals that are watched.
        let _ = emulate_default_handler(signal);
    }
}
