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
use crate::limits::memory::LeaseKind;
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
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for DeafToTheEnd<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        const ALERT: u8 = 21;
        if bytes.first() == Some(&ALERT) {
            return Poll::Pending;
        }
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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

#[tokio::test]
async fn a_client_that_leaves_the_last_bytes_unread_gives_way() {
    const KIB: u32 = 1 << 10;
    let world = World::new(Limits {
        memory_max: u64::from(256 * KIB),
        btoken_len_max: 64 * KIB,
        idle_timeout: Duration::from_secs(60),
        session_timeout: Duration::from_secs(60),
        ..Limits::default()
    });
    let name = || ServerName::try_from("localhost").unwrap();
    let (token, len) = ([7; 32], 40 * KIB);
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let (connector, greeting_len) = (world.connector(), 24 + 4 + 6);
    let create = async {
        let mut tls = connector.connect(name(), theirs).await.unwrap();
        let btoken = vec![3; 40 << 10];
        let begin = [CLIENT_HELLO.as_slice(), b"c", &token, &len.to_be_bytes()].concat();
        tls.write_all(&[begin, btoken].concat()).await.unwrap();
        let mut answer = Vec::new();
        tls.read_to_end(&mut answer).await.unwrap();
        answer.split_off(greeting_len)
    };
    let ((), account) = tokio::join!(world.serve(ours), create);

    // The btoken is in the buffer of TLS, where the server waits to be rid of it.
    let (ours, theirs) = tokio::io::duplex(1 << 10);
    let ended = CancellationToken::new();
    let stall = async {
        let mut tls = connector.connect(name(), theirs).await.unwrap();
        let update = [CLIENT_HELLO.as_slice(), b"u", &account, &token].concat();
        tls.write_all(&update).await.unwrap();
        tls.read_exact(&mut vec![0; greeting_len + 5])
            .await
            .unwrap();
        let later = Instant::now().into_std() + Duration::from_secs(10);
        let lease = |number: u8, kib: usize| {
            let other = passmate_proto::AccountNumber::from_bytes([number; 8]).unwrap();
            let memory = world.service.memory();
            let lease = memory.lease(LeaseKind::Account(other), None, later);
            lease.grow_to(kib << 10, later).map(|()| lease)
        };
        let leases = [lease(1, 128), lease(2, 64), lease(3, 64)];
        assert!(leases.iter().all(Result::is_ok));
        ended.cancelled().await;
    };
    let serve = async {
        world.serve(ours).await;
        ended.cancel();
    };
    let both = async { tokio::join!(serve, stall) };
    timeout(Duration::from_secs(20), both).await.unwrap();
}
