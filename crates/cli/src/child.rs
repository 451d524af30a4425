//! A program that runs in this one's place. The rules are:
//!  - it gets values in its environment and never as arguments, which everyone can read;
//!  - it gets the signals that this process gets, each once: those of a terminal go to both anyway;
//!  - this process ends as it does, once nobody writes to its outputs any more: what it left in the
//!    background would end at its next line if they were closed. A signal ends this process then;
//!  - output that cannot be written is an error.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
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
use signal_hook::low_level::emulate_default_handler;

use crate::output::Output;

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

/// After this time without its program, a person is told what this process waits for.
const LEFT_PAUSE: Duration = Duration::from_secs(1);

/// Who gets the signals.
#[derive(Debug, Clone, Copy)]
enum Target {
    Program(Pid),
    /// The program ended, and this process is about to.
    Ended,
    /// The program ended, and something that it left in the background keeps its outputs open.
    This,
}

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
pub(crate) fn run_masked(
    mut command: Command,
    needles: &Needles<()>,
    out: &Output,
) -> Result<ExitCode, Problem> {
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
    let running = Pid::from_raw(child.id().cast_signed()).map_or(Target::Ended, Target::Program);
    let running = Arc::new(Mutex::new(running));
    let signalled = Arc::clone(&running);
    thread::spawn(move || {
        for number in &mut signals {
            pass_on(number, target(&signalled));
        }
    });
    let (status, written) = thread::scope(|scope| {
        let (pumping, pumped) = mpsc::channel::<()>();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let stdout = stdout.map(|output| {
            let pumping = pumping.clone();
            scope.spawn(move || {
                let _pumping = pumping;
                pump(output, &mut io::stdout(), needles)
            })
        });
        let stderr = stderr.map(|output| {
            scope.spawn(move || {
                let _pumping = pumping;
                pump(output, &mut io::stderr(), needles)
            })
        });
        let status = wait(&mut child, &running);
        if pumped.recv_timeout(LEFT_PAUSE) == Err(RecvTimeoutError::Timeout) {
            *running.lock().unwrap_or_else(PoisonError::into_inner) = Target::This;
            out.warn(
                "the program ended, and what it left in the background can still write: its output \
                 is masked until it ends; to leave it behind, let it write to a file",
            );
        }
        let pumps = [stdout, stderr].into_iter().flatten();
        let written = pumps.map(|pump| pump.join().unwrap_or(Ok(())));
        (status, written.collect::<io::Result<()>>())
    });
    let status = status.map_err(|error| {
        Problem::new(
            ProblemKind::Other,
            format!("cannot wait for the program: {error}"),
            "it may run on; look at `ps`",
        )
    })?;
    let Err(error) = written else {
        return Ok(exit_code(status));
    };
    let message = format!("cannot write what the program wrote: {error}");
    if !status.success() {
        out.warn(&message);
        return Ok(exit_code(status));
    }
    Err(Problem::new(
        ProblemKind::File,
        message,
        "check where the output goes; the program itself ended well",
    ))
}

fn target(running: &Mutex<Target>) -> Target {
    *running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the end of the program. Its number belongs to nobody else until nobody signals it.
fn wait(child: &mut Child, running: &Mutex<Target>) -> io::Result<ExitStatus> {
    if let Target::Program(pid) = target(running) {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(pid), ended), Err(Errno::INTR)) {}
    }
    *running.lock().unwrap_or_else(PoisonError::into_inner) = Target::Ended;
    child.wait()
}

fn pass_on(number: i32, to: Target) {
    match to {
        Target::Program(pid) => {
            let signal = PASSED_ON.iter().find(|(known, _)| *known == number);
            if let Some((_, signal)) = signal
                && !(matches!(*signal, Signal::INT | Signal::QUIT) && is_in_foreground())
            {
                // It may have ended.
                let _ = kill_process(pid, *signal);
            }
        }
        Target::Ended => {}
        Target::This => {
            let _ = emulate_default_handler(number);
        }
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

/// Copies an output to its end with values masked. If nobody reads it any more, or it cannot be
/// written, the program is told by a closed pipe.
fn pump(mut output: impl Read + AsFd, to: &mut dyn Write, needles: &Needles<()>) -> io::Result<()> {
    let mut write = |bytes: &[u8]| to.write_all(bytes).and_then(|()| to.flush());
    let written = |result: io::Result<()>| match result {
        // Whoever reads it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    };
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
        let done = write(&shown);
        if done.is_err() {
            return written(done);
        }
    }
    shown.clear();
    masker.finish(&mut shown);
    written(write(&shown))
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
