//! A program that runs in this one's place. The rules are:
//!  - it gets values in its environment and never as arguments, which everyone can read;
//!  - it gets the signals that this process gets, each once: those of a terminal go to both anyway;
//!  - this process ends as it does.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use passmate_core::escape::escape;
use passmate_core::leak::mask::Masker;
use passmate_core::leak::needles::Needles;
use passmate_core::problem::{Problem, ProblemKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgrp, kill_process, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

/// The signals that are passed on.
const PASSED_ON: [(i32, Signal); 6] = [
    (SIGHUP, Signal::HUP),
    (SIGINT, Signal::INT),
    (SIGQUIT, Signal::QUIT),
    (SIGTERM, Signal::TERM),
    (SIGUSR1, Signal::USR1),
    (SIGUSR2, Signal::USR2),
];

/// Bytes that are read of a program's output at once.
const CHUNK_LEN: usize = 16 * 1024;
/// A few bytes that may be the begin of a value are shown after this time, and say little of it.
const FEW: usize = 2;
const FEW_PAUSE: Duration = Duration::from_millis(50);
/// More of them are shown after this time.
const MANY_PAUSE: Duration = Duration::from_secs(1);

/// A program with its arguments.
pub(crate) fn program(words: &[OsString]) -> Result<Command, Problem> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Problem::usage("no program is named", "name it behind --"))?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// Runs the program in place of this one. Returns only if that fails.
pub(crate) fn replace(mut command: Command) -> Problem {
    let error = command.exec();
    failed(&command, &error)
}

/// Runs the program to its end, and masks values in what it writes.
pub(crate) fn run_masked(mut command: Command, needles: &Needles<()>) -> Result<ExitCode, Problem> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // A signal that comes before the program runs is for it, too.
    let mut signals = Signals::new(PASSED_ON.map(|(number, _)| number)).map_err(|error| {
        Problem::new(
            ProblemKind::Other,
            format!("signals cannot be passed on: {error}"),
            "try again, or add --no-masking",
        )
    })?;
    let spawned = command.spawn();
    let mut child = spawned.map_err(|error| failed(&command, &error))?;
    // It holds copies of the values.
    drop(command);
    let running = Arc::new(Mutex::new(Pid::from_raw(child.id().cast_signed())));
    let signalled = Arc::clone(&running);
    thread::spawn(move || {
        for number in &mut signals {
            pass_on(
                number,
                *signalled.lock().unwrap_or_else(PoisonError::into_inner),
            );
        }
    });
    thread::scope(|scope| {
        if let Some(output) = child.stdout.take() {
            scope.spawn(|| pump(output, &mut io::stdout(), needles));
        }
        if let Some(output) = child.stderr.take() {
            scope.spawn(|| pump(output, &mut io::stderr(), needles));
        }
        wait(&mut child, &running)
    })
    .map(exit_code)
    .map_err(|error| {
        Problem::new(
            ProblemKind::Other,
            format!("cannot wait for the program: {error}"),
            "it may run on; look at `ps`",
        )
    })
}

/// Waits for the end of the program. Its number belongs to nobody else until nobody signals it.
fn wait(child: &mut Child, running: &Mutex<Option<Pid>>) -> io::Result<ExitStatus> {
    let pid = *running.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pid) = pid {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(pid), ended), Err(Errno::INTR)) {}
    }
    *running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    child.wait()
}

fn pass_on(number: i32, pid: Option<Pid>) {
    let signal = PASSED_ON.iter().find(|(known, _)| *known == number);
    if let (Some((_, signal)), Some(pid)) = (signal, pid)
        && !(matches!(*signal, Signal::INT | Signal::QUIT) && is_in_foreground())
    {
        // It may have ended.
        let _ = kill_process(pid, *signal);
    }
}

/// Whether keys of a terminal send signals to this process, and so to the program.
fn is_in_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty").ok();
    let group = terminal.and_then(|terminal| rustix::termios::tcgetpgrp(terminal).ok());
    group == Some(getpgrp())
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn failed(command: &Command, error: &io::Error) -> Problem {
    let program = escape(&command.get_program().to_string_lossy());
    let (kind, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            ProblemKind::NotFound,
            "check its name and PATH; a script's first line may name what is missing",
        ),
        io::ErrorKind::ArgumentListTooLong => (
            ProblemKind::TooLarge,
            "arguments and variables are too long together; use `passmate inject` for long values",
        ),
        _ => (
            ProblemKind::File,
            "check that the file is a program that you may run",
        ),
    };
    Problem::new(kind, format!("cannot run {program}: {error}"), hint)
}

/// Copies an output to its end with values masked. If nobody reads it any more, the program is told
/// by a closed pipe.
fn pump(mut output: impl Read + AsFd, to: &mut dyn Write, needles: &Needles<()>) {
    let mut masker = Masker::new(needles);
    let mut chunk = [0; CHUNK_LEN];
    let mut shown = Vec::new();
    let mut since = Instant::now();
    loop {
        let pause = match masker.held() {
            0 => None,
            1..=FEW => Some(FEW_PAUSE),
            _ => Some(MANY_PAUSE),
        };
        let left = pause.map(|pause| pause.saturating_sub(since.elapsed()));
        shown.clear();
        if left.is_some_and(|left| left.is_zero()) || !is_ready(&output, left) {
            masker.release(&mut shown);
        } else {
            match output.read(&mut chunk) {
                Ok(0) => break,
                Ok(len) => {
                    since = Instant::now();
                    masker.push(chunk.get(..len).unwrap_or_default(), &mut shown);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if to.write_all(&shown).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
    shown.clear();
    masker.finish(&mut shown);
    let _ = to.write_all(&shown).and_then(|()| to.flush());
}

/// Waits until there is something to read; `false` if nothing came in this time.
fn is_ready(output: &impl AsFd, time: Option<Duration>) -> bool {
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    let mut polled = [PollFd::new(output, PollFlags::IN)];
    loop {
        match poll(&mut polled, time.as_ref()) {
            Ok(count) => return count > 0,
            Err(Errno::INTR) => {}
            // Reading tells what is wrong.
            Err(_) => return true,
        }
    }
}
