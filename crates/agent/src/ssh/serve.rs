//! The socket for programs of SSH, and one client of it.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use passmate_core::problem::Problem;
use zeroize::Zeroizing;

use super::connection::{Connection, Keys};
use super::message::MESSAGE_LEN_MAX;
use crate::place::failed;

/// How long a client may take for the next part of a message.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client may ask for nothing. One that hands on requests keeps its connection.
const SILENCE_MAX: Duration = Duration::from_hours(12);

/// The socket of a running agent.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens in the folder of an agent that has its place.
    pub(crate) fn listen(path: PathBuf) -> Result<Self, Problem> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("remove", &path, &error));
            }
            // It belonged to no agent that lives.
            _ => {}
        }
        let listen = || {
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        let listener = listen().map_err(|error| failed("listen on", &path, &error))?;
        Ok(Self { listener, path })
    }

    /// Wakes the thread that listens.
    pub(crate) fn wake(&self) {
        // Linux wakes the listener by this, others by a connection.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Read);
        let _ = UnixStream::connect(&self.path);
    }

    /// Removes it, while no other agent can have its place.
    pub(crate) fn remove(&self) {
        // The next agent removes what is left.
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves a client until it leaves or breaks the protocol.
pub(crate) fn serve(
    stream: &mut UnixStream,
    connection: &mut Connection,
    keys: &mut dyn Keys,
) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    loop {
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let mut len = [0; 4];
        let (first, rest) = len.split_at_mut(1);
        if stream.read(first)? == 0 {
            return Ok(());
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_exact(rest)?;
        let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
        if len == 0 || len > MESSAGE_LEN_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        // It is read as it comes: a length alone takes no memory.
        let mut message = Zeroizing::new(Vec::new());
        stream.take(len as u64).read_to_end(&mut message)?;
        if message.len() < len {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        stream.write_all(&connection.answer(&message, keys))?;
    }
}
