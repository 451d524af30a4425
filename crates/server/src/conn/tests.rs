use std::pin::Pin;
use std::task::{Context, Poll};

use passmate_proto::CLIENT_HELLO;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::io::ReadBuf;

use super::*;
use crate::config::Registration;
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

#[tokio::test]
async fn an_unread_confirmation_ends_soon_after_the_session() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::load(None, dir.path()).unwrap();
    let limits = Limits {
        session_timeout: Duration::from_millis(500),
        idle_timeout: Duration::from_secs(60),
        ..Limits::default()
    };
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

    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let mut roots = rustls::RootCertStore::empty();
    let certificate = dir.path().join("cert.pem");
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_file(certificate).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = tokio::spawn(async move {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
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
    let stop = CancellationToken::new();
    let loopback = [127, 0, 0, 1].into();
    let permit = RateLimiter::new()
        .enter(loopback, &settings.limits.source, begun.into_std())
        .unwrap();
    let visitor = service.visitor(permit, &settings.limits.source);
    let access_log = AccessLog::new(Metrics::new(), Layout::One, None);
    serve(
        DeafToTheEnd(ours),
        Layout::One,
        &settings,
        visitor,
        &stop,
        access_log,
    )
    .await;
    let took = begun.elapsed();
    assert!(took >= CONFIRM_TIME_MAX, "it was confirmed: {took:?}");
    assert!(took < CONFIRM_TIME_MAX + Duration::from_secs(5), "{took:?}");
    assert_eq!(
        client.await.unwrap().len(),
        24 + 4 + 6 + 8,
        "the account number came"
    );
}
