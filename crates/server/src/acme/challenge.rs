//! The listener for TLS-ALPN-01 (RFC 8737): the authority connects, and finds the answer in a
//! certificate. It listens only while an order is under way, and carries nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::order::OrderError;
use crate::config::ListenAddress;
use crate::listen;

const PROTOCOL: &[u8] = b"acme-tls/1";
/// How long one connection may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Connections at the same time. An authority makes a few for each name.
const CONNECTIONS_MAX: usize = 64;

/// Answers checks until it is dropped.
#[derive(Debug)]
pub(super) struct Challenges {
    _stop: DropGuard,
}

impl Challenges {
    /// Listens, and answers for each name with its digest.
    pub(super) fn listen<'a>(
        address: &ListenAddress,
        answers: impl Iterator<Item = (&'a str, impl AsRef<[u8]>)>,
    ) -> Result<Self, OrderError> {
        let mut pairs = HashMap::new();
        for (name, digest) in answers {
            pairs.insert(name.to_ascii_lowercase(), answer(name, digest.as_ref())?);
        }
        let config = config(Answers { pairs })?;
        let stop = CancellationToken::new();
        for listener in listen::open(std::slice::from_ref(address), &[])? {
            tokio::spawn(serve(listener.socket, config.clone(), stop.clone()));
        }
        Ok(Self {
            _stop: stop.drop_guard(),
        })
    }
}

/// The certificate that is the answer for a name, with a key of its own.
fn answer(name: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>, OrderError> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()])?;
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest)];
    let made = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(tls_error)?;
    // No check that they belong together: it refuses the critical extension with the answer.
    Ok(Arc::new(CertifiedKey::new(vec![made.der().clone()], key)))
}

fn config(answers: Answers) -> Result<Arc<ServerConfig>, OrderError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let mut config = builder
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(tls_error)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(answers));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

fn tls_error(error: rustls::Error) -> OrderError {
    OrderError::Server(instant_acme::Error::Other(Box::new(error)))
}

/// The answers by name, in lower case.
#[derive(Debug)]
struct Answers {
    pairs: HashMap<String, Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Answers {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_check = hello.alpn()?.eq([PROTOCOL]);
        let name = hello.server_name().filter(|_| is_check)?;
        self.pairs.get(&name.to_ascii_lowercase()).map(Arc::clone)
    }
}

async fn serve(listener: TcpListener, config: Arc<ServerConfig>, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (Ok((stream, _)), Ok(slot)) = (accepted, Arc::clone(&slots).try_acquire_owned()) else {
            // Accepting could fail again at once.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (config, stop) = (Arc::clone(&config), stop.clone());
        tokio::spawn(async move {
            let _slot = slot;
            tokio::select! {
                () = stop.cancelled() => {}
                _ = tokio::time::timeout(TIME_MAX, show(stream, config)) => {}
            }
        });
    }
}

/// Shows the certificate, and closes the connection.
async fn show(stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    use tokio::io::AsyncWriteExt;
    let mut tls = TlsAcceptor::from(config).accept(stream).await?;
    tls.shutdown().await
}
