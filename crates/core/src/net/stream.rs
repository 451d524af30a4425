//! A TLS stream whose waits are all bounded, and that distinguishes the ways it can end.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use passmate_sync::transport::ConnectError;
use passmate_sync::wire::{Received, StreamEnd, Wire};
use rustls::{AlertDescription, ClientConfig, ClientConnection};

use super::connect::describe;
use super::{Address, Deadline, Deadlines};

/// How much plaintext is encrypted ahead of the socket, in bytes.
const AHEAD_LEN: usize = 64 * 1024;

pub(super) struct TlsStream {
    tcp: TcpStream,
    tls: ClientConnection,
    silence: Duration,
    deadline: Deadline,
    /// What went wrong after bytes that are still to be read.
    trouble: Option<Fault>,
}

/// Why a step on the stream failed.
enum Fault {
    Io(io::Error),
    Tls(rustls::Error),
    /// FIN without `close_notify`.
    Eof,
    TookTooLong,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl TlsStream {
    pub(super) fn handshake(
        tcp: TcpStream,
        config: Arc<ClientConfig>,
        address: &Address,
        deadlines: &Deadlines,
        deadline: Deadline,
    ) -> Result<Self, ConnectError> {
        let tls = ClientConnection::new(config, address.server_name())
            .map_err(|error| ConnectError::Incompatible(error.to_string()))?;
        let mut stream = Self {
            tcp,
            tls,
            silence: deadlines.silence,
            deadline,
            trouble: None,
        };
        while stream.tls.is_handshaking() {
            let step = stream.flush().and_then(|()| {
                if stream.tls.is_handshaking() {
                    stream.read_more()
                } else {
                    Ok(())
                }
            });
            step.map_err(|fault| stream.name_handshake(fault))?;
        }
        Ok(stream)
    }

    fn name_handshake(&self, fault: Fault) -> ConnectError {
        match fault {
            Fault::Tls(rustls::Error::InvalidMessage(_)) => ConnectError::NotTls,
            Fault::Tls(rustls::Error::PeerIncompatible(why)) => {
                ConnectError::Incompatible(format!("{why:?}"))
            }
            Fault::Tls(rustls::Error::AlertReceived(
                alert @ (AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure),
            )) => ConnectError::Incompatible(format!("alert {alert:?}")),
            fault => ConnectError::Handshake(self.name(fault)),
        }
    }

    /// How long the next system call may wait.
    fn patience(&self) -> Result<Duration, Fault> {
        let left = self.deadline.at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(Fault::TookTooLong)
        } else {
            Ok(left.min(self.silence).max(Duration::from_millis(1)))
        }
    }

    fn flush(&mut self) -> Result<(), Fault> {
        while self.tls.wants_write() {
            self.tcp.set_write_timeout(Some(self.patience()?))?;
            retry(|| self.tls.write_tls(&mut self.tcp))?;
        }
        Ok(())
    }

    /// Takes what the socket has; at least one byte, or the stream's end.
    fn read_more(&mut self) -> Result<(), Fault> {
        self.tcp.set_read_timeout(Some(self.patience()?))?;
        let len = retry(|| self.tls.read_tls(&mut self.tcp))?;
        if let Err(error) = self.tls.process_new_packets() {
            // The peer may want to know; whether it hears it changes nothing.
            let _ = self.flush();
            return Err(Fault::Tls(error));
        }
        if len == 0 { Err(Fault::Eof) } else { Ok(()) }
    }

    fn name(&self, fault: Fault) -> StreamEnd {
        match fault {
            Fault::Eof => StreamEnd::Cut,
            Fault::TookTooLong => StreamEnd::TookTooLong(self.deadline.limit),
            Fault::Tls(rustls::Error::AlertReceived(alert)) => {
                StreamEnd::Alert(format!("{alert:?}"))
            }
            Fault::Tls(error) => StreamEnd::BrokenTls(error.to_string()),
            Fault::Io(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if self.patience().is_err() => {
                    StreamEnd::TookTooLong(self.deadline.limit)
                }
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    StreamEnd::Silent(self.silence.as_secs())
                }
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => StreamEnd::Cut,
                _ => StreamEnd::Io(describe(&error)),
            },
        }
    }

    fn try_send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        for piece in bytes.chunks(AHEAD_LEN) {
            let mut rest = piece;
            while !rest.is_empty() {
                let taken = self.tls.writer().write(rest)?;
                rest = rest.get(taken..).unwrap_or(&[]);
                self.flush()?;
            }
        }
        Ok(())
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> Result<Received, Fault> {
        loop {
            match self.tls.reader().read(buffer) {
                Ok(0) => return Ok(Received::CloseNotify),
                Ok(len) => return Ok(Received::Bytes(len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(trouble) = self.trouble.take() {
                return Err(trouble);
            }
            // Answers to the peer's key updates.
            self.flush()?;
            match self.read_more() {
                // What came before is still to be read; of an end, the reader then tells the kind.
                Ok(()) | Err(Fault::Eof) => {}
                Err(fault) => self.trouble = Some(fault),
            }
        }
    }
}

impl Wire for TlsStream {
    fn send(&mut self, bytes: &[u8]) -> Result<(), StreamEnd> {
        self.try_send(bytes).map_err(|fault| self.name(fault))
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, StreamEnd> {
        self.try_receive(buffer).map_err(|fault| self.name(fault))
    }

    fn close(&mut self) {
        self.tls.send_close_notify();
        // The exchange is over either way.
        let _ = self.flush();
        let _ = self.tcp.shutdown(Shutdown::Write);
    }
}

/// A signal interrupts a system call, not an exchange.
fn retry(mut step: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match step() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
