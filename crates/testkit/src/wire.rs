//! A client that writes the protocol byte by byte over rustls, so that a test asserts what is on the
//! wire, including the end of the stream.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

pub const CLIENT_HELLO: &[u8; 24] = b"passmate-server-protocol";
pub const SERVER_HELLO: &[u8; 24] = b"passmate-protocol-server";
pub const TOKEN: [u8; 32] = [7; 32];

pub use rustls::version::{TLS12, TLS13};

/// A connection from this source address.
pub fn connect_from(source: std::net::IpAddr, address: SocketAddr) -> std::io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType};
    let family = if source.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    rustix::net::connect(&socket, &address)?;
    Ok(TcpStream::from(socket))
}

/// The create action with its credentials and btoken.
pub fn create(btoken: &[u8]) -> Vec<u8> {
    [
        b"c".as_slice(),
        &TOKEN,
        &u32::try_from(btoken.len()).unwrap().to_be_bytes(),
        btoken,
    ]
    .concat()
}

/// The update action up to its credentials.
pub fn update(account: [u8; 8], token: [u8; 32]) -> Vec<u8> {
    [b"u".as_slice(), &account, &token].concat()
}

/// The reset action.
pub fn reset(account: [u8; 8], token: [u8; 32]) -> Vec<u8> {
    [b"r".as_slice(), &account, &token].concat()
}

/// The upload of an update, without the last row.
pub fn upload(btoken: &[u8]) -> Vec<u8> {
    [&u32::try_from(btoken.len()).unwrap().to_be_bytes(), btoken].concat()
}

/// The end of a connection, with the bytes before it.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    pub bytes: Vec<u8>,
    pub how: How,
}

#[derive(Debug, PartialEq, Eq)]
pub enum How {
    /// `close_notify`, which confirms.
    Clean,
    /// FIN without `close_notify`.
    Cut,
    /// A TCP reset.
    Reset,
}

impl End {
    pub fn clean() -> Self {
        Self {
            bytes: Vec::new(),
            how: How::Clean,
        }
    }

    pub fn clean_after(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            how: How::Clean,
        }
    }

    pub fn cut() -> Self {
        Self {
            bytes: Vec::new(),
            how: How::Cut,
        }
    }
}

/// A client that sends and reads single bytes.
pub struct Client {
    tls: StreamOwned<ClientConnection, TcpStream>,
    layout: u8,
}

impl Client {
    pub fn connect(
        address: SocketAddr,
        certificate: &Path,
        layout: u8,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        Self::try_connect(address, certificate, layout, version).unwrap()
    }

    pub fn try_connect(
        address: SocketAddr,
        certificate: &Path,
        layout: u8,
        version: &'static SupportedProtocolVersion,
    ) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(address)?, certificate, layout, version)
    }

    /// TLS over an open connection.
    pub fn over(
        tcp: TcpStream,
        certificate: &Path,
        layout: u8,
        version: &'static SupportedProtocolVersion,
    ) -> std::io::Result<Self> {
        // A test fails instead of hanging.
        tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
        tcp.set_write_timeout(Some(Duration::from_secs(20)))?;
        tcp.set_nodelay(true)?;
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(certificate).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut tls = StreamOwned::new(tls, tcp);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Self { tls, layout })
    }

    /// Sends the hello, reads the greeting of the server, and returns the banner.
    pub fn greet(&mut self) -> Vec<u8> {
        self.send(CLIENT_HELLO);
        assert_eq!(self.take(24), SERVER_HELLO);
        if self.layout == 2 {
            assert_eq!(self.take(2), [0, 2], "the version of layout 2");
        }
        let len = u32::from_be_bytes(self.take(4).try_into().unwrap());
        self.take(len as usize)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.tls.write_all(bytes)?;
        self.tls.flush()
    }

    pub fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.tls.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads the btoken of an update; none if the server ended the connection instead.
    pub fn take_btoken(&mut self) -> Option<Vec<u8>> {
        let mut len = [0; 4];
        match self.tls.read_exact(&mut len) {
            Ok(()) => Some(self.take(u32::from_be_bytes(len) as usize)),
            Err(_) => None,
        }
    }

    /// Reads to the end of the stream.
    pub fn end(&mut self) -> End {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        let how = loop {
            match self.tls.read(&mut chunk) {
                Ok(0) => break How::Clean,
                Ok(len) => bytes.extend_from_slice(&chunk[..len]),
                Err(error) => match error.kind() {
                    ErrorKind::UnexpectedEof => break How::Cut,
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => break How::Reset,
                    _ => panic!("neither an end nor bytes: {error}"),
                },
            }
        };
        End { bytes, how }
    }

    /// Sends a `close_notify`.
    pub fn close_notify(&mut self) {
        self.tls.conn.send_close_notify();
        self.tls.flush().unwrap();
    }

    /// Ends the client's direction below TLS.
    pub fn fin(&mut self) {
        self.tls.sock.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads the bytes that are available.
    pub fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.tls.read(bytes)
    }

    /// Whether the server has ended this connection, after waiting a moment.
    pub fn is_ended(&mut self) -> bool {
        self.tls
            .sock
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        match self.tls.read_exact(&mut [0; 1]) {
            Ok(()) => true,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}
