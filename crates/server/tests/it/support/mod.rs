//! A server for one test, and a client that writes the protocol byte by byte over rustls, so that a
//! test asserts what is on the wire, including the end of the stream.

pub(crate) mod program;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passmate_server::Server;
use passmate_server::config::{Config, ListenAddress, ListenHost};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

pub(crate) const CLIENT_HELLO: &[u8; 24] = b"passmate-server-protocol";
pub(crate) const SERVER_HELLO: &[u8; 24] = b"passmate-protocol-server";
pub(crate) const TOKEN: [u8; 32] = [7; 32];

pub(crate) use rustls::version::{TLS12, TLS13};

/// How long a test waits for an event that must come.
pub(crate) const EVENT_TIME_MAX: Duration = Duration::from_secs(30);

/// Waits until a condition is true.
#[track_caller]
pub(crate) fn until(event: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < EVENT_TIME_MAX, "did not happen: {event}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A server in this process, with both layouts on free ports and a temporary data dir.
pub(crate) struct Running {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) layout_1: SocketAddr,
    pub(crate) layout_2: SocketAddr,
    server: Option<Server>,
    runtime: tokio::runtime::Runtime,
}

impl Running {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path());
        let loopback = ListenAddress {
            host: ListenHost::Ip([127, 0, 0, 1].into()),
            port: 0,
        };
        config.listen = vec![loopback.clone()];
        config.listen_v2 = vec![loopback];
        change(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime
            .block_on(Server::start(config, |error| panic!("{error}")))
            .unwrap();
        let [one, two] = server.listening() else {
            panic!("two listeners were configured")
        };
        let (layout_1, layout_2) = (one.address, two.address);
        Self {
            dir,
            layout_1,
            layout_2,
            server: Some(server),
            runtime,
        }
    }

    /// A client that has sent nothing yet.
    pub(crate) fn connect(&self, layout: u8) -> Client {
        self.connect_by(layout, &TLS13)
    }

    pub(crate) fn connect_by(
        &self,
        layout: u8,
        version: &'static SupportedProtocolVersion,
    ) -> Client {
        let address = if layout == 1 {
            self.layout_1
        } else {
            self.layout_2
        };
        Client::connect(address, &self.dir.path().join("cert.pem"), layout, version)
    }

    /// A client that has been greeted.
    pub(crate) fn greeted(&self, layout: u8) -> Client {
        let mut client = self.connect(layout);
        client.greet();
        client
    }

    pub(crate) fn create(&self, btoken: &[u8]) -> [u8; 8] {
        let mut client = self.greeted(1);
        client.send(&create(btoken));
        let account = client.take(8).try_into().unwrap();
        assert_eq!(client.end(), End::clean());
        account
    }

    /// Fetches the btoken of an account.
    pub(crate) fn fetch(&self, account: [u8; 8]) -> Option<Vec<u8>> {
        let mut client = self.greeted(1);
        client.send(&update(account, TOKEN));
        client.take_btoken()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // Do not wait for clients that a failed test left open.
            let _ = self.runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(2), server.stop()).await
            });
        }
    }
}

/// A connection from this source address.
pub(crate) fn connect_from(
    source: std::net::IpAddr,
    address: SocketAddr,
) -> std::io::Result<TcpStream> {
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
pub(crate) fn create(btoken: &[u8]) -> Vec<u8> {
    [
        b"c".as_slice(),
        &TOKEN,
        &u32::try_from(btoken.len()).unwrap().to_be_bytes(),
        btoken,
    ]
    .concat()
}

/// The update action up to its credentials.
pub(crate) fn update(account: [u8; 8], token: [u8; 32]) -> Vec<u8> {
    [b"u".as_slice(), &account, &token].concat()
}

/// The reset action.
pub(crate) fn reset(account: [u8; 8], token: [u8; 32]) -> Vec<u8> {
    [b"r".as_slice(), &account, &token].concat()
}

/// The upload of an update, without the last row.
pub(crate) fn upload(btoken: &[u8]) -> Vec<u8> {
    [&u32::try_from(btoken.len()).unwrap().to_be_bytes(), btoken].concat()
}

/// The end of a connection, with the bytes before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) bytes: Vec<u8>,
    pub(crate) how: How,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// `close_notify`, which confirms.
    Clean,
    /// FIN without `close_notify`.
    Cut,
    /// A TCP reset.
    Reset,
}

impl End {
    pub(crate) fn clean() -> Self {
        Self {
            bytes: Vec::new(),
            how: How::Clean,
        }
    }

    pub(crate) fn clean_after(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            how: How::Clean,
        }
    }

    pub(crate) fn cut() -> Self {
        Self {
            bytes: Vec::new(),
            how: How::Cut,
        }
    }
}

/// A client that sends and reads single bytes.
pub(crate) struct Client {
    tls: StreamOwned<ClientConnection, TcpStream>,
    layout: u8,
}

impl Client {
    pub(crate) fn connect(
        address: SocketAddr,
        certificate: &Path,
        layout: u8,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        Self::try_connect(address, certificate, layout, version).unwrap()
    }

    pub(crate) fn try_connect(
        address: SocketAddr,
        certificate: &Path,
        layout: u8,
        version: &'static SupportedProtocolVersion,
    ) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(address)?, certificate, layout, version)
    }

    /// TLS over an open connection.
    pub(crate) fn over(
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
    pub(crate) fn greet(&mut self) -> Vec<u8> {
        self.send(CLIENT_HELLO);
        assert_eq!(self.take(24), SERVER_HELLO);
        if self.layout == 2 {
            assert_eq!(self.take(2), [0, 2], "the version of layout 2");
        }
        let len = u32::from_be_bytes(self.take(4).try_into().unwrap());
        self.take(len as usize)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.tls.write_all(bytes)?;
        self.tls.flush()
    }

    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.tls.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads the btoken of an update; none if the server ended the connection instead.
    pub(crate) fn take_btoken(&mut self) -> Option<Vec<u8>> {
        let mut len = [0; 4];
        match self.tls.read_exact(&mut len) {
            Ok(()) => Some(self.take(u32::from_be_bytes(len) as usize)),
            Err(_) => None,
        }
    }

    /// Reads to the end of the stream.
    pub(crate) fn end(&mut self) -> End {
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
    pub(crate) fn close_notify(&mut self) {
        self.tls.conn.send_close_notify();
        self.tls.flush().unwrap();
    }

    /// Ends the client's direction below TLS.
    pub(crate) fn fin(&mut self) {
        self.tls.sock.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads the bytes that are available.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.tls.read(bytes)
    }

    /// Whether the server has ended this connection, after waiting a moment.
    pub(crate) fn is_ended(&mut self) -> bool {
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
