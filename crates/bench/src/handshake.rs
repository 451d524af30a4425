//! The cost of a TLS handshake for a server, without a network: both sides are in memory, and only
//! the server's CPU time counts.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
};

/// CPU time of this thread.
pub(crate) fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// A client configuration that trusts only this certificate and resumes no sessions.
pub(crate) fn client_config(pem: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem)?)?;
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// The server's mean CPU time for one handshake.
pub(crate) fn in_memory(
    server: &Arc<ServerConfig>,
    pem: &str,
    times: u32,
) -> anyhow::Result<Duration> {
    let client = client_config(pem.as_bytes())?;
    of_client(&client, server, times, HandshakeKind::Full)
}

/// The same for a client that comes back, with a ticket of its last connection. Each connection gets
/// a new ticket.
pub(crate) fn resumed(
    server: &Arc<ServerConfig>,
    pem: &str,
    times: u32,
) -> anyhow::Result<Duration> {
    let mut server = ServerConfig::clone(server);
    server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    server.send_tls13_tickets = 1;
    let mut client = ClientConfig::clone(&*client_config(pem.as_bytes())?);
    client.resumption = rustls::client::Resumption::default();
    let (client, server) = (Arc::new(client), Arc::new(server));
    of_client(&client, &server, 1, HandshakeKind::Full)?;
    of_client(&client, &server, times, HandshakeKind::Resumed)
}

fn of_client(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    times: u32,
    kind: HandshakeKind,
) -> anyhow::Result<Duration> {
    let mut spent = Duration::ZERO;
    for _ in 0..times {
        let mut client = ClientConnection::new(Arc::clone(client), "localhost".try_into()?)?;
        let begun = thread_time();
        let mut server = ServerConnection::new(Arc::clone(server))?;
        spent += thread_time() - begun;
        let mut wire = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            while client.wants_write() {
                client.write_tls(&mut wire)?;
            }
            let begun = thread_time();
            let mut input = wire.as_slice();
            while !input.is_empty() {
                server.read_tls(&mut input)?;
                server.process_new_packets()?;
            }
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire)?;
            }
            spent += thread_time() - begun;
            let mut input = wire.as_slice();
            while !input.is_empty() {
                client.read_tls(&mut input)?;
                client.process_new_packets()?;
            }
            wire.clear();
        }
        let was = client.handshake_kind();
        anyhow::ensure!(was == Some(kind), "the handshake was {was:?}");
    }
    Ok(spent / times)
}
