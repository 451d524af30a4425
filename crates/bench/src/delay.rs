//! Round trips of each action, measured through a proxy in user space that delays every byte by
//! half a round trip in each direction. TCP's own handshake is not delayed, so it is not counted.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use passmate_core::net::trust::TlsTrust;
use passmate_core::net::{Address, Server as Remote};
use passmate_core::sync::Transport;
use passmate_core::sync::exchange::Ended;
use passmate_proto::Outcome;
use passmate_vault::Trust;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::accounts::{noise, token};
use crate::process::Server;
use crate::report::{Figure, Goal};

/// The figures of round trips. The protocol needs one for TLS 1.3, one for hello and credentials,
/// and one for the upload.
pub(crate) struct Trips;

impl Trips {
    pub(crate) fn figures() -> [Figure; 3] {
        [
            Figure::new(
                "trips",
                "create: time ÷ round trip, without TCP's handshake",
                "ms",
                Goal::AtMost(3.5),
            ),
            Figure::new(
                "trips",
                "update: time ÷ round trip, without TCP's handshake",
                "ms",
                Goal::AtMost(3.5),
            ),
            Figure::new(
                "trips",
                "reset: time ÷ round trip, without TCP's handshake",
                "ms",
                Goal::AtMost(2.5),
            ),
        ]
    }
}

/// Measures the three actions of one account through the proxy.
pub(crate) fn measure(
    server: &Server,
    round_trip: Duration,
    figures: &mut [Figure; 3],
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let proxy = runtime.block_on(start_proxy(server.address, round_trip / 2))?;
    let trust = TlsTrust::new(&Trust::Ca(server.pem.clone()))?;
    let mut remote = Remote::new(
        Address::new("localhost", proxy.port()).map_err(anyhow::Error::msg)?,
        trust,
    );
    let trip = round_trip.as_secs_f64() * 1e3;
    let [create, update, reset] = figures;

    let begun = Instant::now();
    let created = remote.connect()?.create(token(), noise(4096, 1));
    let created = created.map_err(|ended| anyhow::anyhow!("create: {ended:?}"))?;
    let account = created.account();
    create.add(elapsed(begun, &created.finish())?, trip);

    let begun = Instant::now();
    let fetched = remote.connect()?.update(account, token());
    let fetched = fetched.map_err(|ended| anyhow::anyhow!("update: {ended:?}"))?;
    update.add(elapsed(begun, &fetched.replace(noise(4096, 2)))?, trip);

    let begun = Instant::now();
    let ended = remote.connect()?.reset(account, token());
    reset.add(elapsed(begun, &ended)?, trip);
    Ok(())
}

/// Milliseconds that a confirmed exchange took.
fn elapsed(begun: Instant, ended: &Ended) -> anyhow::Result<f64> {
    anyhow::ensure!(
        matches!(ended.outcome, Outcome::Confirmed(_)),
        "{:?}",
        ended.outcome
    );
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

async fn start_proxy(server: SocketAddr, delay: Duration) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(server).await else {
                return;
            };
            for stream in [&client, &server] {
                let _ = stream.set_nodelay(true);
            }
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(carry(from_client, to_server, delay));
            tokio::spawn(carry(from_server, to_client, delay));
        }
    });
    Ok(address)
}

/// Copies bytes. Delays each piece, and the end of the stream, by the same time.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
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
        if sender.send((Instant::now(), piece)).is_err() || len == 0 {
            return;
        }
    }
}
