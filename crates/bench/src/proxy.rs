//! A proxy in user space. It counts the bytes that it carries, and can delay them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// A running proxy. It ends when it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    carried: Arc<AtomicU64>,
    _runtime: Runtime,
}

impl Proxy {
    /// Starts a proxy that delays every byte by `delay` in each direction.
    pub(crate) fn start(server: SocketAddr, delay: Duration) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let carried = Arc::new(AtomicU64::new(0));
        runtime.spawn(serve(listener, server, delay, Arc::clone(&carried)));
        Ok(Self {
            address,
            carried,
            _runtime: runtime,
        })
    }

    /// Bytes that came from both sides so far.
    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

async fn serve(
    listener: TcpListener,
    server: SocketAddr,
    delay: Duration,
    carried: Arc<AtomicU64>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(server).await else {
            return;
        };
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        for (from, to) in [(from_client, to_server), (from_server, to_client)] {
            tokio::spawn(carry(from, to, delay, Arc::clone(&carried)));
        }
    }
}

/// Copies bytes. Delays each piece, and the end of the stream, by the same time.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    carried: Arc<AtomicU64>,
) {
    let (sender, mut pieces) = tokio::sync::mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((came, piece)) = pieces.recv().await {
            tokio::time::sleep_until((came + delay).into()).await;
            if piece.is_empty() || to.write_all(&piece).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = from.read(&mut buffer).await.unwrap_or(0);
        let piece = buffer.get(..len).unwrap_or_default().to_vec();
        carried.fetch_add(len as u64, Ordering::Relaxed);
        if sender.send((Instant::now(), piece)).is_err() || len == 0 {
            return;
        }
    }
}
