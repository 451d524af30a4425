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
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::order::OrderError;
use crate::config::ListenAddress;
use crate::limits::handshakes::Handshakes;
use crate::listen;

const PROTOCOL: &[u8] = b"acme-tls/1";
/// How long one connection may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Connections at the same time. An authority makes a few for each name. For a further one, another
/// gives way, most likely one that keeps the server waiting.
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
    let handshakes = Handshakes::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Accepting could fail again at once.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (handshake, _) = handshakes.begin(CONNECTIONS_MAX);
        let (config, stop) = (Arc::clone(&config), stop.clone());
        tokio::spawn(async move {
            let stream = handshake.watch(stream);
            tokio::select! {
                () = stop.cancelled() => {}
                () = handshake.dropped() => {}
                _ = tokio::time::timeout(TIME_MAX, show(stream, config)) => {}
            }
        });
    }
}

/// Shows the certificate, and closes the connection.
async fn show<S>(stream: S, config: Arc<ServerConfig>) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut tls = TlsAcceptor::from(config).accept(stream).await?;
    tls.shutdown().await
}

#[cfg(test)]
mod tests {
    use rustls::ClientConfig;
    use rustls::pki_types::ServerName;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;

    use super::*;

    /// Whether the authority gets the answer for a name.
    async fn is_answered(port: u16, made: &CertifiedKey) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.end_entity_cert().unwrap().clone()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        match tokio::time::timeout(TIME_MAX / 2, tls).await {
            Ok(Ok(mut tls)) => tls.read_u8().await.is_err(),
            _ => false,
        }
    }

    #[tokio::test]
    async fn silent_connections_do_not_keep_the_authority_out() {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let made = Arc::new(CertifiedKey::new(vec![made.cert.der().clone()], key));
        let pairs = HashMap::from([("a.example".to_owned(), Arc::clone(&made))]);
        let config = config(Answers { pairs }).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, config, stop.clone()));
        let mut silent = Vec::new();
        for _ in 0..2 * CONNECTIONS_MAX {
            silent.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        }
        assert!(is_answered(port, &made).await);
        stop.cancel();
        serving.await.unwrap();
    }
}
