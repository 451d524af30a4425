//! HTTP with the authority, over TLS. An answer has a greatest length, because the authority may send
//! without end.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::Limited;
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The length of the longest answer, in bytes: far longer than any chain of certificates.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// A client of the authority.
pub(super) struct AcmeHttp(Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>);

impl AcmeHttp {
    /// Checks the authority's own certificate with what the system trusts.
    pub(super) fn trusting_system() -> Result<Self, Error> {
        let builder = HttpsConnectorBuilder::new().try_with_platform_verifier();
        let builder = builder.map_err(other)?;
        Ok(Self::over(builder.https_only().enable_http1().build()))
    }

    /// Checks the authority's own certificate with the certificates in this file.
    pub(super) fn trusting(ca_file: &Path) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(ca_file).map_err(other)? {
            roots.add(root.map_err(other)?).map_err(other)?;
        }
        if roots.is_empty() {
            return Err(Error::Str("a certificate in PEM"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let builder = HttpsConnectorBuilder::new().with_tls_config(config);
        Ok(Self::over(builder.https_only().enable_http1().build()))
    }

    fn over(connector: HttpsConnector<HttpConnector>) -> Self {
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }
}

impl HttpClient for AcmeHttp {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let answer = self.0.request(request);
        Box::pin(async move {
            let answer: Response<_> = answer.await.map_err(other)?;
            let bounded = answer.map(|body| Limited::new(body, ANSWER_LEN_MAX));
            Ok(BytesResponse::from(bounded))
        })
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use instant_acme::{Account, NewAccount};
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// An authority whose answers have no end, and its own certificate in a file. It counts what it
    /// has sent.
    async fn endless(ca_file: &Path, sent: Arc<AtomicUsize>) -> std::net::SocketAddr {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let made = params.self_signed(&key).unwrap();
        std::fs::write(ca_file, made.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let builder = rustls::ServerConfig::builder().with_no_client_auth();
        let config = builder.with_single_cert(vec![made.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut tls = acceptor
                .accept(listener.accept().await.unwrap().0)
                .await
                .unwrap();
            tls.read_u8().await.unwrap();
            let mut part =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"".to_owned();
            while tls.write_all(part.as_bytes()).await.is_ok() {
                sent.fetch_add(part.len(), Ordering::Relaxed);
                part = "x".repeat(16 << 10);
            }
        });
        address
    }

    #[tokio::test]
    async fn an_answer_without_end_takes_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let (ca_file, sent) = (dir.path().join("ca.pem"), Arc::<AtomicUsize>::default());
        let address = endless(&ca_file, Arc::clone(&sent)).await;
        let http = Box::new(AcmeHttp::trusting(&ca_file).unwrap());
        let new = NewAccount {
            contact: &[],
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let directory = format!("https://localhost:{}/dir", address.port());
        let created = Account::builder_with_http(http).create(&new, directory, None);
        let error = created.await.map(drop).unwrap_err().to_string();
        assert!(error.contains("length limit"), "{error}");
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 16 * ANSWER_LEN_MAX, "{sent}");
    }

    #[test]
    fn a_file_without_a_certificate_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        assert!(AcmeHttp::trusting(&path).is_err());
        std::fs::write(&path, "none").unwrap();
        assert!(AcmeHttp::trusting(&path).is_err());
    }
}
