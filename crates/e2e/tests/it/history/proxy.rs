//! A bad network: it cuts connections at any byte, in either direction.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::net::sockopt::set_socket_linger;

/// A cut comes before one of these bytes of a direction: in the handshake and the credentials, in
/// an exchange of short btokens, or in one of long btokens.
const CUT_AT_MAX: [u64; 3] = [1_000, 4_000, 70_000];
/// How long a stalled connection stays open.
const STALL: Duration = Duration::from_millis(200);
/// A connection that carries nothing for so long is closed.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Where connections go; several servers share them out.
pub(crate) type Backends = Arc<Mutex<Vec<SocketAddr>>>;

/// Listens until it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

/// How a connection ends before its time.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Fin,
    Reset,
    /// Nothing arrives any more.
    Stall,
}

impl Proxy {
    /// Cuts about every third connection.
    pub(crate) fn start(backends: Backends, mut chance: fastrand::Rng) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&is_over);
        thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let backend = chance.choice(backends.lock().iter().copied());
                let (Ok(client), Some(backend)) = (client, backend) else {
                    continue;
                };
                let chance = chance.fork();
                thread::spawn(move || carry(&client, backend, chance));
            }
        });
        Self { address, is_over }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // The listener waits for one more connection.
        let _ = TcpStream::connect(self.address);
    }
}

fn carry(client: &TcpStream, backend: SocketAddr, mut chance: fastrand::Rng) {
    let Ok(server) = TcpStream::connect(backend) else {
        return;
    };
    let cut = chance.choice([Cut::Fin, Cut::Reset, Cut::Stall]);
    let at_max = chance.choice(CUT_AT_MAX).unwrap_or_default();
    let at = chance.u64(0..=at_max);
    let (up, down) = match chance.u8(0..6) {
        0 => (Some(at), None),
        1 => (None, Some(at)),
        _ => (None, None),
    };
    for stream in [client, &server] {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(SILENCE_MAX));
        let _ = stream.set_write_timeout(Some(SILENCE_MAX));
    }
    let is_cut = AtomicBool::new(false);
    let end = |is_whole: bool| {
        if is_whole || is_cut.swap(true, Ordering::Relaxed) {
            return;
        }
        let how = match cut {
            Some(Cut::Stall) => {
                thread::sleep(STALL);
                Shutdown::Both
            }
            // The streams are closed without a FIN when both directions have ended.
            Some(Cut::Reset) => {
                for stream in [client, &server] {
                    let _ = set_socket_linger(stream, Some(Duration::ZERO));
                }
                Shutdown::Read
            }
            Some(Cut::Fin) | None => Shutdown::Both,
        };
        for stream in [client, &server] {
            let _ = stream.shutdown(how);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| end(copy(client, &server, up, &is_cut)));
        end(copy(&server, client, down, &is_cut));
    });
}

/// Copies one direction to its end; false if the connection was cut.
fn copy(
    mut from: &TcpStream,
    mut to: &TcpStream,
    cut_at: Option<u64>,
    is_cut: &AtomicBool,
) -> bool {
    let mut left = cut_at.unwrap_or(u64::MAX);
    let mut bytes = [0; 4096];
    loop {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        if most == 0 {
            return false;
        }
        let read = match from.read(&mut bytes[..most]) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return false,
        };
        if is_cut.load(Ordering::Relaxed) {
            return false;
        }
        if read == 0 {
            return to.shutdown(Shutdown::Write).is_ok();
        }
        if to.write_all(&bytes[..read]).is_err() {
            return false;
        }
        left -= read as u64;
    }
}
