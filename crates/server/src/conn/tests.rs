use std::pin::Pin;
use std::task::{Context, Poll};

use passmate_proto::CLIENT_HELLO;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::io::ReadBuf;

use super::*;
use crate::config::Registration;
use crate::limits::TurnedAway;
use crate::limits::handshakes::Handshakes;
use crate::limits::rate::RateLimiter;
use crate::observe::metrics::Metrics;
use crate::service::Service;
use crate::store::StoreUrl;
use crate::tls::{Identity, ServedCertificate};

/// A connection that accepts everything but an alert: in TLS 1.2, a `close_notify` is one.
struct DeafToTheEnd<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for DeafToTheEnd<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for DeafToTheEnd<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        const ALERT: u8 = 21;
        if bytes.first() == Some(&ALERT) {
            return Poll::Pending;
        }
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A service, and the settings of its listener.
struct World {
    dir: tempfile::TempDir,
    service: Service,
    settings: ListenerSettings,
    rate_limiter: RateLimiter,
}

impl World {
    fn new(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::load(None, dir.path()).unwrap();
        let store = StoreUrl::sqlite(dir.path().join("passmate.db"))
            .open(|_| {})
            .unwrap();
        let service = Service::new(store, Some(dir.path()), &limits, Registration::Open);
        let settings = ListenerSettings {
            certificate: ServedCertificate::serve(&identity, dir.path()),
            banner: b"banner".as_slice().into(),
            limits,
            proxy_from: Vec::new(),
        };
        Self {
            dir,
            service,
            settings,
            rate_limiter: RateLimiter::new(),
        }
    }

    fn enter(&self) -> Result<SourcePermit, TurnedAway> {
        let limits = &self.settings.limits.source;
        self.rate_limiter
            .enter(SOURCE.into(), limits, Instant::now().into_std())
    }

    async fn serve(&self, io: impl AsyncRead + AsyncWrite + Unpin) {
        let permit = self.enter().unwrap();
        let (handshake, _) = Handshakes::default().begin(1);
        let stranger = Box::new(Stranger {
            visitor: self.service.visitor(permit, &self.settings.limits.source),
            handshake,
            access_log: AccessLog::new(Metrics::new(), Arc::default(), Layout::One, None),
        });
        let stop = CancellationToken::new();
        serve(io, Layout::One, &self.settings, stranger, &stop).await;
    }

    fn connector(&self) -> tokio_rustls::TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        let certificate = self.dir.path().join("cert.pem");
        roots
            .add(rustls::pki_types::CertificateDer::from_pem_file(certificate).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tokio_rustls::TlsConnector::from(Arc::new(client))
    }
}

const SOURCE: [u8; 4] = [192, 0, 2, 1];

#[tokio::test]
async fn an_unread_confirmation_ends_soon_after_the_session() {
    let world = World::new(Limits {
        session_timeout: Duration::from_millis(500),
        idle_timeout: Duration::from_secs(60),
        ..Limits::default()
    });
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let connector = world.connector();
    let client = tokio::spawn(async move {
        let mut tls = connector
            .connect(ServerName::try_from("localhost").unwrap(), theirs)
            .await
            .unwrap();
        let create = [CLIENT_HELLO.as_slice(), b"c", &[7; 32], &[0; 4]].concat();
        tls.write_all(&create).await.unwrap();
        let mut answer = Vec::new();
        let _ = tls.read_to_end(&mut answer).await;
        answer
    });
    let begun = Instant::now();
    world.serve(DeafToTheEnd(ours)).await;
    let took = begun.elapsed();
    assert!(took >= CONFIRM_TIME_MAX, "it was confirmed: {took:?}");
    assert!(took < CONFIRM_TIME_MAX + Duration::from_secs(5), "{took:?}");
    assert_eq!(
        client.await.unwrap().len(),
        24 + 4 + 6 + 8,
        "the account number came"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closing_still_counts_for_its_source() {
    let mut limits = Limits::default();
    limits.source.connections_max = 1;
    let world = World::new(limits);
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let connector = world.connector();
    let client = async {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = connector.connect(name, theirs).await.unwrap();
        tls.write_all(&[0; 24]).await.unwrap();
        let _ = tls.read_to_end(&mut Vec::new()).await;
        // The server has ended its direction, and waits for the client to end the other.
        assert_eq!(world.enter().unwrap_err(), TurnedAway::SourceConnectionsMax);
    };
    tokio::join!(world.serve(ours), client);
    world.enter().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_without_tls_is_not_waited_for() {
    let world = World::new(Limits::default());
    let (ours, mut theirs) = tokio::io::duplex(64 << 10);
    theirs.write_all(&[0; 8000]).await.unwrap();
    let begun = Instant::now();
    world.serve(ours).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(theirs.write_all(&[0; 1]).await.is_err(), "it is closed");
}
