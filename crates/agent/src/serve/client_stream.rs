//! The connections of clients, and the signs of life that they get while a call runs: a client that
//! gets none takes it that the agent was stopped, and does not wait for ever.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use serde::Serialize;

use crate::wire::{SIGN_EVERY, Told, write_frame};

/// The connection of a client. One thread reads from it; frames are written by one at a time.
pub(super) struct ClientStream {
    stream: UnixStream,
    /// Whoever writes a frame has it.
    writing: Mutex<()>,
}

/// Whether the client on the other side has closed the connection.
pub(super) fn has_ended(stream: &UnixStream) -> bool {
    let mut watched = [PollFd::new(stream, PollFlags::empty())];
    poll(&mut watched, Some(&Timespec::default())).is_ok_and(|ended| ended > 0)
}

impl ClientStream {
    pub(super) const fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            writing: Mutex::new(()),
        }
    }

    /// Where requests come from.
    pub(super) fn reader(&self) -> impl Read + '_ {
        &self.stream
    }

    pub(super) fn set_read_timeout(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }

    /// Writes a frame.
    pub(super) fn tell(&self, answer: &impl Serialize) -> io::Result<()> {
        let _turn = self.writing.lock();
        write_frame(&mut &self.stream, answer)
    }

    /// Whether the client has closed the connection.
    pub(super) fn has_ended(&self) -> bool {
        has_ended(&self.stream)
    }

    /// Writes a short frame, unless that would wait.
    fn give_sign(&self, frame: &[u8]) {
        // Frames that are written are signs of life too.
        let Some(_turn) = self.writing.try_lock() else {
            return;
        };
        let sent = send(&self.stream, frame, SendFlags::DONTWAIT);
        // Nothing is right behind a part of a frame.
        if sent.is_ok_and(|sent| sent < frame.len()) {
            let _ = shutdown(&self.stream, Shutdown::Both);
        }
    }
}

/// The calls that run, for the thread that gives signs of life.
#[derive(Default)]
pub(super) struct Calls {
    running: Mutex<Running>,
    changed: Condvar,
}

#[derive(Default)]
struct Running {
    calls: BTreeMap<u64, Arc<ClientStream>>,
    /// The number of the next call.
    next: u64,
    is_ended: bool,
}

/// A call that runs until this is dropped.
pub(super) struct RunningCall<'a> {
    calls: &'a Calls,
    number: u64,
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.calls.running.lock().calls.remove(&self.number);
    }
}

impl Calls {
    pub(super) fn begin(&self, connection: &Arc<ClientStream>) -> RunningCall<'_> {
        let mut running = self.running.lock();
        let number = running.next;
        running.next += 1;
        running.calls.insert(number, Arc::clone(connection));
        // Where others run, the thread is awake.
        if running.calls.len() == 1 {
            self.changed.notify_all();
        }
        RunningCall {
            calls: self,
            number,
        }
    }

    /// Gives signs of life until [`end`](Self::end).
    pub(super) fn give_signs(&self) {
        let mut running = self.running.lock();
        loop {
            while running.calls.is_empty() && !running.is_ended {
                self.changed.wait(&mut running);
            }
            let begun_later = running.next;
            let until = Instant::now() + SIGN_EVERY;
            while !running.is_ended && Instant::now() < until {
                self.changed.wait_until(&mut running, until);
            }
            if running.is_ended {
                return;
            }
            running.give_signs(begun_later);
        }
    }

    pub(super) fn end(&self) {
        self.running.lock().is_ended = true;
        self.changed.notify_all();
    }
}

impl Running {
    /// Gives a sign to the calls below a number.
    fn give_signs(&self, begun_later: u64) {
        let mut frame = Vec::new();
        if write_frame(&mut frame, &Told::Alive).is_ok() {
            let calls = self.calls.range(..begun_later);
            calls.for_each(|(_, connection)| connection.give_sign(&frame));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Answer, read_frame, read_len};

    fn read(stream: &mut UnixStream) -> Answer<u8> {
        let len = read_len(stream).unwrap().unwrap();
        read_frame(stream, len).unwrap()
    }

    #[test]
    fn a_call_gets_signs_of_life_while_it_runs_and_none_inside_a_frame() {
        let calls = Calls::default();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let connection = Arc::new(ClientStream::new(ours));
        let call = calls.begin(&connection);
        let give = |begun_later| calls.running.lock().give_signs(begun_later);
        give(0);
        assert!(read_len(&mut theirs).is_err(), "it began later");
        give(1);
        assert!(matches!(read(&mut theirs), Answer::Alive));
        let writes = connection.writing.lock();
        give(1);
        assert!(read_len(&mut theirs).is_err(), "a frame is written");
        drop(writes);
        // A client that reads nothing keeps nobody waiting.
        (0..100_000).for_each(|_| give(1));
        while let Ok(Some(len)) = read_len(&mut theirs) {
            let sign = read_frame::<Answer<u8>>(&mut theirs, len);
            assert!(matches!(sign.unwrap(), Answer::Alive));
        }
        drop(call);
        give(1);
        assert!(read_len(&mut theirs).is_err(), "it is over");
        assert!(!connection.has_ended());
        drop(theirs);
        assert!(connection.has_ended());
    }
}
