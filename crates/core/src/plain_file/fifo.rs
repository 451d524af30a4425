//! A named pipe that gives a text to each reader, for programs that want a file. The rules are:
//!  - the text is never on a disk, and is made anew for each reader;
//!  - each reader gets a pipe of its own: a new one takes the place of the pipe that was opened;
//!  - the pipe is removed at the end, if it is still ours.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::io::Errno;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::disk::folder_of;
use crate::export::{file_exists, unwritable};
use crate::problem::{Problem, ProblemKind};

/// How long a reader may leave the text where it is.
const READER_PATIENCE: Duration = Duration::from_secs(30);
/// How often a writer looks whether it shall end.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};
const NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();
const NOFOLLOW: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// A named pipe with a server behind it.
#[derive(Debug)]
pub struct Fifo {
    path: PathBuf,
    /// The device and the number of the present pipe.
    id: (u64, u64),
    stopper: Stopper,
}

/// Ends the server of a pipe.
#[derive(Debug, Clone)]
pub struct Stopper {
    path: PathBuf,
    is_ended: Arc<AtomicBool>,
    /// A reader that lets go a server that waits for one.
    reader: Arc<Mutex<Option<File>>>,
}

impl Stopper {
    /// Ends the server.
    pub fn stop(&self) {
        self.is_ended.store(true, Ordering::SeqCst);
        let mut options = OpenOptions::new();
        let reader = options
            .read(true)
            .custom_flags(NONBLOCK | NOFOLLOW)
            .open(&self.path);
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = reader.ok();
    }

    fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::SeqCst)
    }
}

/// How a reader was served.
#[derive(Debug)]
pub enum Served {
    /// It has read the text.
    Whole,
    /// It ended before the end of the text.
    Part,
    /// There was no text for it: it found an empty file.
    Nothing(Problem),
}

impl Fifo {
    /// Makes a pipe that only its owner can open.
    ///
    /// # Errors
    /// Something has the name already, or the pipe cannot be made.
    pub fn create(path: &Path) -> Result<Self, Problem> {
        let unwritable = |error: io::Error| unwritable(path, &error);
        let pipe = make(path).map_err(unwritable)?;
        let id = id_of(pipe.path()).map_err(unwritable)?;
        pipe.persist_noclobber(path)
            .map_err(|failed| match failed.error.kind() {
                io::ErrorKind::AlreadyExists => file_exists(path),
                _ => unwritable(failed.error),
            })?;
        Ok(Self {
            path: path.to_owned(),
            id,
            stopper: Stopper {
                path: path.to_owned(),
                is_ended: Arc::default(),
                reader: Arc::default(),
            },
        })
    }

    /// What ends it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves one reader after the other until it is ended. `fill` makes the text for each, and
    /// `tell` is told how each was served.
    ///
    /// # Errors
    /// The pipe was removed, or another file has its name.
    pub fn serve(
        &mut self,
        mut fill: impl FnMut() -> Result<Zeroizing<Vec<u8>>, Problem>,
        mut tell: impl FnMut(&Served),
    ) -> Result<(), Problem> {
        while !self.stopper.is_ended() {
            // Waits for a reader.
            let mut options = OpenOptions::new();
            let opened = options.write(true).custom_flags(NOFOLLOW).open(&self.path);
            if self.stopper.is_ended() {
                break;
            }
            let pipe = match opened {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                opened => opened.map_err(|error| unwritable(&self.path, &error))?,
            };
            self.check(&pipe)?;
            self.renew()
                .map_err(|error| unwritable(&self.path, &error))?;
            let served = match fill() {
                Err(problem) => Served::Nothing(problem),
                Ok(text) if self.write(&pipe, &text).is_ok() => Served::Whole,
                Ok(_) => Served::Part,
            };
            drop(pipe);
            if !self.stopper.is_ended() {
                tell(&served);
            }
        }
        Ok(())
    }

    /// The values are written to no file that took the pipe's place.
    fn check(&self, pipe: &File) -> Result<(), Problem> {
        let metadata = pipe.metadata();
        let is_ours = metadata.is_ok_and(|found| {
            found.file_type().is_fifo() && (found.dev(), found.ino()) == self.id
        });
        if is_ours {
            return Ok(());
        }
        Err(Problem::new(
            ProblemKind::File,
            format!("{} is not the pipe that was made", self.path.display()),
            "another program replaced it; start again with another path",
        ))
    }

    /// Puts a new pipe in the place of the one that was opened.
    fn renew(&mut self) -> io::Result<()> {
        let pipe = make(&self.path)?;
        let id = id_of(pipe.path())?;
        pipe.persist(&self.path)?;
        self.id = id;
        Ok(())
    }

    /// Writes a text, but does not wait for a reader for ever.
    fn write(&self, mut pipe: &File, text: &[u8]) -> io::Result<()> {
        let flags = rustix::fs::fcntl_getfl(pipe)?;
        rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
        let mut rest = text;
        let mut since = Instant::now();
        while !rest.is_empty() {
            match pipe.write(rest) {
                Ok(len) => {
                    rest = rest.get(len..).unwrap_or_default();
                    since = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.stopper.is_ended() || since.elapsed() > READER_PATIENCE {
                        return Err(error);
                    }
                    let mut polled = [PollFd::new(pipe, PollFlags::OUT)];
                    match poll(&mut polled, Some(&LOOK_EVERY)) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        if id_of(&self.path).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A pipe beside this path, which is removed if it gets no other name.
fn make(path: &Path) -> io::Result<NamedTempFile<()>> {
    tempfile::Builder::new().make_in(folder_of(path), |path| {
        Ok(mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?)
    })
}

/// What a pipe is known by. A file of another kind may get the number of one that was removed.
fn id_of(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.file_type().is_fifo() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use super::*;

    #[test]
    fn each_reader_gets_a_text_of_its_own_and_the_pipe_goes_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut fifo = Fifo::create(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let stopper = fifo.stopper();
        // More than a pipe holds.
        let long = "x".repeat(200_000);
        let text = long.clone();
        let server = thread::spawn(move || {
            let mut count = 0;
            let fill = || {
                count += 1;
                match count {
                    2 => Err(Problem::usage("no", "text")),
                    _ => Ok(Zeroizing::new(format!("{count}{text}").into_bytes())),
                }
            };
            let mut told = Vec::new();
            let served = fifo.serve(fill, |served| told.push(format!("{served:?}")));
            (served, told)
        });
        let read = || fs::read_to_string(&path).unwrap();
        assert_eq!(read(), format!("1{long}"));
        assert_eq!(read(), "");
        let all: Vec<_> = (3..10)
            .map(|count| (read(), format!("{count}{long}")))
            .collect();
        assert!(all.iter().all(|(found, text)| found == text));
        // One that leaves early ends nothing.
        let mut one = File::open(&path).unwrap();
        one.read_exact(&mut [0]).unwrap();
        drop(one);
        assert_eq!(read(), format!("11{long}"));
        stopper.stop();
        let (served, told) = server.join().unwrap();
        served.unwrap();
        assert!(told.contains(&"Whole".to_owned()) && told[1].starts_with("Nothing"));
        assert!(!path.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_name_that_is_taken_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "before").unwrap();
        let taken = Fifo::create(&path).unwrap_err();
        assert_eq!(taken.kind, ProblemKind::Exists);
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_written_to_a_file_that_took_the_place_of_the_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut fifo = Fifo::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "other").unwrap();
        let served = fifo.serve(|| Ok(Zeroizing::new(b"value".to_vec())), |_| {});
        assert_eq!(served.unwrap_err().kind, ProblemKind::File);
        drop(fifo);
        assert_eq!(fs::read(&path).unwrap(), b"other");
    }

    #[test]
    fn a_server_ends_though_a_reader_reads_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut fifo = Fifo::create(&path).unwrap();
        let stopper = fifo.stopper();
        let server =
            thread::spawn(move || fifo.serve(|| Ok(Zeroizing::new(vec![0; 1 << 20])), |_| {}));
        let _reader = File::open(&path).unwrap();
        stopper.stop();
        server.join().unwrap().unwrap();
        assert!(!path.exists());
    }
}
