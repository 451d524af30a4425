//! The bare servers, which measure what a connection costs without Passmate. Both read one byte and
//! send it back. The TLS server has the certificate and the key exchange of ours (ECDSA P-256,
//! X25519MLKEM768, no tickets) and rustls' order of ciphers, which begins with AES-256.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Makes a certificate for `localhost` as our server does. Returns the configuration and the
/// certificate in PEM.
pub(crate) fn make_tls() -> anyhow::Result<(Arc<ServerConfig>, String)> {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok((Arc::new(config), pair.cert.pem()))
}

/// Prints the address and the certificate, and serves TLS until it is killed.
pub(crate) fn serve_tls() -> anyhow::Result<()> {
    let (config, pem) = make_tls()?;
    let acceptor = TlsAcceptor::from(config);
    serve(&pem, move |tcp| {
        let acceptor = acceptor.clone();
        async move {
            let mut tls = acceptor.accept(tcp).await?;
            let byte = tls.read_u8().await?;
            tls.write_u8(byte).await?;
            tls.shutdown().await
        }
    })
}

/// Prints the address, and serves TCP until it is killed.
pub(crate) fn serve_tcp() -> anyhow::Result<()> {
    serve("", |mut tcp| async move {
        let byte = tcp.read_u8().await?;
        tcp.write_u8(byte).await?;
        tcp.shutdown().await
    })
}

fn serve<F>(pem: &str, answer: impl Fn(TcpStream) -> F) -> anyhow::Result<()>
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("cannot listen")?;
        let address = listener.local_addr()?;
        let mut out = std::io::stdout().lock();
        write!(out, "listening on {address}\n{pem}\nready\n")?;
        out.flush()?;
        loop {
            let (tcp, _) = listener.accept().await?;
            tcp.set_nodelay(true)?;
            // If a client disconnects early, the load generator reports it.
            tokio::spawn(answer(tcp));
        }
    })
}
