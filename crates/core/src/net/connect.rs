//! Resolves a name and connects to one of its addresses, each step with a deadline.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use passmate_sync::ConnectError;

use super::{Address, Deadline, Deadlines};

/// How many addresses of one name are tried.
const ADDRESSES_MAX: usize = 16;

/// Connects to the first address that accepts.
pub(super) fn connect(
    address: &Address,
    deadlines: &Deadlines,
    deadline: Deadline,
) -> Result<TcpStream, ConnectError> {
    let mut last = None;
    for socket_address in resolve(address, deadlines.connect)?
        .into_iter()
        .take(ADDRESSES_MAX)
    {
        let left = deadline
            .at
            .saturating_duration_since(Instant::now())
            .min(deadlines.connect);
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&socket_address, left) {
            Ok(stream) => {
                // Steps are small and each waits for the other side.
                if stream.set_nodelay(true).is_ok() {
                    return Ok(stream);
                }
            }
            Err(error) => last = Some(error),
        }
    }
    let detail = last.map_or_else(
        || "no address answered in time".to_owned(),
        |error| describe(&error),
    );
    Err(ConnectError::Unreachable {
        address: address.to_string(),
        detail,
    })
}

/// The system's resolver has no deadline, so it runs in a thread that may be abandoned.
fn resolve(address: &Address, patience: Duration) -> Result<Vec<SocketAddr>, ConnectError> {
    let unresolved = |detail: String| ConnectError::Unresolved {
        host: address.host().to_owned(),
        detail,
    };
    let (sender, receiver) = mpsc::channel();
    let (host, port) = (address.host().to_owned(), address.port());
    let resolver = thread::Builder::new().name("resolver".to_owned());
    let started = resolver.spawn(move || {
        let resolved = (host.as_str(), port).to_socket_addrs();
        // The caller may have given up waiting.
        let _ = sender.send(resolved.map(|addresses| addresses.take(ADDRESSES_MAX).collect()));
    });
    started.map_err(|error| unresolved(error.to_string()))?;
    let addresses: Vec<_> = match receiver.recv_timeout(patience) {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(unresolved(describe(&error))),
        Err(_) => {
            return Err(unresolved(format!(
                "no answer within {} seconds",
                patience.as_secs()
            )));
        }
    };
    if addresses.is_empty() {
        Err(unresolved("it has no address".to_owned()))
    } else {
        Ok(addresses)
    }
}

/// An error of the system in few words.
pub(crate) fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "no route to it".to_owned()
        }
        _ => {
            let text = error.to_string();
            let text = text
                .strip_prefix("failed to lookup address information: ")
                .unwrap_or(&text);
            text.split(" (os error").next().unwrap_or(text).to_owned()
        }
    }
}
