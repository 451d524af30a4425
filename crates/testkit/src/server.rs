//! A server in this process.

use std::net::SocketAddr;
use std::time::Duration;

use passmate_server::Server;
use passmate_server::config::{Config, ListenAddress, ListenHost};
use rustls::SupportedProtocolVersion;

use crate::wire::{Client, End, TLS13, TOKEN, create, update};

/// A server in this process, with both layouts on free ports and a temporary data dir.
pub struct Running {
    pub dir: tempfile::TempDir,
    pub layout_1: SocketAddr,
    pub layout_2: SocketAddr,
    server: Option<Server>,
    runtime: tokio::runtime::Runtime,
}

impl Default for Running {
    fn default() -> Self {
        Self::new()
    }
}

impl Running {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
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
    pub fn connect(&self, layout: u8) -> Client {
        self.connect_by(layout, &TLS13)
    }

    pub fn connect_by(&self, layout: u8, version: &'static SupportedProtocolVersion) -> Client {
        let address = if layout == 1 {
            self.layout_1
        } else {
            self.layout_2
        };
        Client::connect(address, &self.dir.path().join("cert.pem"), layout, version)
    }

    /// A client that has been greeted.
    pub fn greeted(&self, layout: u8) -> Client {
        let mut client = self.connect(layout);
        client.greet();
        client
    }

    pub fn create(&self, btoken: &[u8]) -> [u8; 8] {
        let mut client = self.greeted(1);
        client.send(&create(btoken));
        let account = client.take(8).try_into().unwrap();
        assert_eq!(client.end(), End::clean());
        account
    }

    /// Fetches the btoken of an account.
    pub fn fetch(&self, account: [u8; 8]) -> Option<Vec<u8>> {
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
