//! The terminal for a picture that changes with each key.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcgetwinsize, tcsetattr,
};

use super::Terminal;
use super::keys::{self, Key};

/// The size of a terminal that does not tell it.
const SIZE: (usize, usize) = (80, 24);
/// How long the bytes of one key may be apart, in tenths of a second.
const APART: u8 = 1;

/// The terminal, with each key as it is typed: Ctrl-C and Ctrl-Z are keys too. When it is dropped
/// the terminal is as it was for questions.
pub(crate) struct Screen<'a> {
    terminal: &'a Terminal,
    device: Arc<File>,
    stops: u64,
}

impl Terminal {
    /// Takes the terminal until the result is dropped. `farewell` is written to it when a signal
    /// ends or stops this program: nothing of the picture is left then.
    pub(crate) fn keys(&self, farewell: &'static str) -> io::Result<Screen<'_>> {
        let mut state = self.0.lock();
        self.watch_signals(&mut state)?;
        let device = state.open()?;
        state.take()?;
        state.farewell = Some(farewell);
        let screen = Screen {
            terminal: self,
            device,
            stops: state.stops,
        };
        drop(state);
        screen.set(
            |modes| modes.remove(LocalModes::ISIG | LocalModes::IEXTEN),
            None,
        )?;
        Ok(screen)
    }
}

impl Screen<'_> {
    fn set(&self, change: impl FnOnce(&mut LocalModes), apart: Option<u8>) -> io::Result<()> {
        let mut modes = tcgetattr(&*self.device)?;
        change(&mut modes.local_modes);
        modes.special_codes[SpecialCodeIndex::VMIN] = u8::from(apart.is_none());
        modes.special_codes[SpecialCodeIndex::VTIME] = apart.unwrap_or(0);
        tcsetattr(&*self.device, OptionalActions::Now, &modes)?;
        Ok(())
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> (usize, usize) {
        let size = tcgetwinsize(&*self.device).ok();
        let size = size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        size.filter(|(columns, rows)| *columns > 0 && *rows > 0)
            .unwrap_or(SIZE)
    }

    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        (&*self.device).write_all(text.as_bytes())
    }

    /// Waits for a key. After a stop the person is somewhere else: that ends the picture.
    pub(crate) fn key(&mut self) -> io::Result<Key> {
        let next = || loop {
            match self.read() {
                Ok(Some(byte)) => return Ok(byte),
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let soon = || {
            self.set(|_| {}, Some(APART))?;
            let byte = self.read();
            self.set(|_| {}, None)?;
            byte
        };
        let key = keys::read(next, soon)?;
        let was_stopped = self.terminal.0.lock().stops != self.stops;
        Ok(if was_stopped { Key::End } else { key })
    }

    fn read(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let len = (&*self.device).read(&mut byte)?;
        Ok((len > 0).then_some(byte[0]))
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        let mut state = self.terminal.0.lock();
        state.farewell = None;
        // A terminal that is gone needs no modes.
        let _ = state.take();
    }
}
