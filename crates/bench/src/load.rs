//! The load generator. It is a separate process, so that its cost does not count as the server's.
//! It runs for a fixed time, and counts only confirmed exchanges as done.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use passmate_proto::{ClientAction, ClientConfig, ClientEvent, ClientMachine, Input, Outcome};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::accounts::{noise, number, token};
use crate::handshake::client_config;

/// The exchange that each client repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A TCP connection with one byte each way.
    Tcp,
    /// A TLS connection with one byte each way.
    Tls,
    /// A TLS connection that is closed after the handshake.
    Handshake,
    /// A complete update of an account.
    Update,
    /// A client that fetches, finds nothing new and leaves.
    Fetch,
    /// Connections that send the hello and then nothing.
    Idle,
    /// Updates that send one byte a second, and start again when the server ends them.
    Slow,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    pub(crate) address: SocketAddr,
    #[arg(long)]
    pub(crate) ca: PathBuf,
    #[arg(long)]
    pub(crate) kind: Kind,
    #[arg(long, default_value_t = 1)]
    pub(crate) clients: u64,
    #[arg(long, value_parser = crate::duration::parse_duration, default_value = "1s")]
    pub(crate) time: Duration,
    #[arg(long, default_value_t = 4096)]
    pub(crate) size: usize,
    #[arg(long, default_value_t = 256)]
    pub(crate) accounts: u64,
    #[arg(long, default_value_t = 0)]
    pub(crate) first_account: u64,
}

/// The result of a load generator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Exchanges that succeeded.
    pub(crate) count: u64,
    /// Exchanges that failed.
    pub(crate) failed: u64,
    /// Duration of the run.
    pub(crate) seconds: f64,
    /// Median duration of an exchange, in milliseconds.
    pub(crate) p50_ms: f64,
    /// 99th percentile of the durations, in milliseconds.
    pub(crate) p99_ms: f64,
}

impl Done {
    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }
}

/// Runs a load generator and returns its result.
pub(crate) fn generate(args: &Args) -> anyhow::Result<Done> {
    let output = command(args)?.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("the load generator failed");
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The command that starts a load generator with these arguments.
pub(crate) fn command(args: &Args) -> anyhow::Result<Command> {
    use clap::ValueEnum;
    let kind = args
        .kind
        .to_possible_value()
        .context("every kind has a name")?;
    let mut command = Command::new(crate::process::itself()?);
    command
        .arg("load")
        .arg("--address")
        .arg(args.address.to_string())
        .arg("--ca")
        .arg(&args.ca);
    command
        .arg("--kind")
        .arg(kind.get_name())
        .arg("--clients")
        .arg(args.clients.to_string());
    command
        .arg("--time")
        .arg(format!("{}ms", args.time.as_millis()))
        .arg("--size")
        .arg(args.size.to_string());
    command.arg("--accounts").arg(args.accounts.to_string());
    command
        .arg("--first-account")
        .arg(args.first_account.to_string());
    Ok(command)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        match args.kind {
            Kind::Idle => idle(args).await,
            Kind::Slow => slow(args).await,
            _ => busy(args).await,
        }
    })?;
    serde_json::to_writer(io::stdout().lock(), &done)?;
    Ok(())
}

async fn busy(args: &Args) -> anyhow::Result<Done> {
    let tls = connector(&args.ca)?;
    let begun = Instant::now();
    let until = begun + args.time;
    let clients: Vec<_> = (0..args.clients)
        .map(|index| tokio::spawn(client(args.clone(), index, tls.clone(), until)))
        .collect();
    let (mut times, mut failed) = (Vec::new(), 0);
    for client in clients {
        let (its_times, its_failures) = client.await?;
        times.extend(its_times);
        failed += its_failures;
    }
    let seconds = begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |percent: usize| {
        times
            .get(times.len() * percent / 100)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    Ok(Done {
        count: times.len() as u64,
        failed,
        seconds,
        p50_ms: at(50),
        p99_ms: at(99),
    })
}

fn connector(ca: &Path) -> anyhow::Result<TlsConnector> {
    // A server without TLS has no certificate.
    let pem = std::fs::read(ca)?;
    if pem.trim_ascii().is_empty() {
        let empty =
            rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
        return Ok(TlsConnector::from(Arc::new(empty.with_no_client_auth())));
    }
    Ok(TlsConnector::from(client_config(&pem)?))
}

/// Runs one client. Returns the duration of each successful exchange, and the number of failures.
async fn client(args: Args, index: u64, tls: TlsConnector, until: Instant) -> (Vec<Duration>, u64) {
    let (mut times, mut failed) = (Vec::new(), 0);
    let mut upload = noise(args.size, index);
    // Each client has its own accounts, because this does not measure the queue of an account. It
    // takes them in no order, and other ones in each run, so that all of a large store are used.
    let own = (args.accounts / args.clients).max(1);
    let first_turn = u64::from(std::process::id()) << 32;
    while Instant::now() < until {
        let turn = first_turn + times.len() as u64 + failed;
        let place = (turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % own;
        let account = args.first_account + (index + args.clients * place) % args.accounts;
        seal_anew(&mut upload);
        let begun = Instant::now();
        let done = match args.kind {
            Kind::Tcp => tcp(&args).await,
            Kind::Tls => one_byte(&args, &tls).await,
            Kind::Handshake => handshake(&args, &tls).await,
            Kind::Fetch => update(&args, &tls, account, Then::Leave).await,
            Kind::Update | Kind::Idle | Kind::Slow => {
                update(&args, &tls, account, Then::Replace(&upload)).await
            }
        };
        match done {
            Ok(()) => times.push(begun.elapsed()),
            Err(_) => failed += 1,
        }
    }
    (times, failed)
}

/// Changes every byte, as sealing a vault does: a store may compare pages, and write only others.
pub(crate) fn seal_anew(btoken: &mut [u8]) {
    for byte in btoken {
        *byte = byte.wrapping_add(0x5B);
    }
}

async fn connect(args: &Args) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(args.address).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

async fn connect_tls(args: &Args, tls: &TlsConnector) -> io::Result<Tls> {
    let name = "localhost".try_into().map_err(io::Error::other)?;
    tls.connect(name, connect(args).await?).await
}

async fn tcp(args: &Args) -> io::Result<()> {
    let mut tcp = connect(args).await?;
    tcp.write_u8(7).await?;
    tcp.read_u8().await?;
    expect_end(tcp.read(&mut [0]).await)
}

async fn one_byte(args: &Args, tls: &TlsConnector) -> io::Result<()> {
    let mut tls = connect_tls(args, tls).await?;
    tls.write_u8(7).await?;
    tls.read_u8().await?;
    expect_end(tls.read(&mut [0]).await)
}

async fn handshake(args: &Args, tls: &TlsConnector) -> io::Result<()> {
    connect_tls(args, tls).await?.shutdown().await
}

fn expect_end(read: io::Result<usize>) -> io::Result<()> {
    match read? {
        0 => Ok(()),
        _ => Err(io::Error::other("the server sent more than one byte")),
    }
}

/// What a client does with the btoken that it has fetched.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then<'a> {
    Replace(&'a [u8]),
    /// There is nothing new.
    Leave,
}

async fn update(args: &Args, tls: &TlsConnector, account: u64, then: Then<'_>) -> io::Result<()> {
    let action = ClientAction::Update {
        account: number(account),
        auth_token: token(),
    };
    exchange(connect_tls(args, tls).await?, action, then).await
}

/// A complete exchange.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    action: ClientAction,
    then: Then<'_>,
) -> io::Result<()> {
    let mut tls = BufReader::with_capacity(32 << 10, stream);
    let mut machine = ClientMachine::new(ClientConfig::default(), action);
    let mut joined = Vec::new();
    loop {
        while let Some(event) = machine.poll_event() {
            match event {
                ClientEvent::Fetched(_) => match then {
                    Then::Replace(upload) => machine.replace(upload.to_vec()),
                    Then::Leave => machine.leave(),
                }
                .map_err(io::Error::other)?,
                ClientEvent::Ended(Outcome::Confirmed(_)) => return Ok(()),
                ClientEvent::Ended(Outcome::Left) => return tls.shutdown().await,
                ClientEvent::Ended(outcome) => {
                    return Err(io::Error::other(format!("{outcome:?}")));
                }
                ClientEvent::Greeted { .. } | ClientEvent::Created(_) => {}
            }
        }
        joined.clear();
        while let Some(output) = machine.poll_output() {
            joined.extend_from_slice(output.as_ref());
        }
        if !joined.is_empty() {
            tls.write_all(&joined).await?;
            tls.flush().await?;
            continue;
        }
        let taken = match tls.fill_buf().await {
            Ok([]) => machine.handle_input(Input::CloseNotify),
            Ok(bytes) => machine.handle_input(Input::Bytes(bytes)),
            Err(_) => machine.handle_input(Input::Cut),
        };
        tls.consume(taken);
    }
}

/// Opens connections that send the hello, prints a line when all are open, and keeps them open for
/// `args.time`.
async fn idle(args: &Args) -> anyhow::Result<Done> {
    let tls = connector(&args.ca)?;
    let begun = Instant::now();
    let mut held = Vec::new();
    while (held.len() as u64) < args.clients {
        let mut opening = Vec::new();
        for _ in 0..64.min(args.clients - held.len() as u64) {
            let (args, tls) = (args.clone(), tls.clone());
            opening.push(tokio::spawn(async move {
                let mut stream = connect_tls(&args, &tls).await?;
                stream.write_all(passmate_proto::CLIENT_HELLO).await?;
                stream.read_u8().await?;
                io::Result::Ok(stream)
            }));
        }
        for one in opening {
            held.push(one.await??);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let mut out = io::stdout().lock();
    writeln!(out, "standing")?;
    out.flush()?;
    tokio::time::sleep(args.time).await;
    Ok(Done {
        count: held.len() as u64,
        failed: 0,
        seconds,
        p50_ms: 0.0,
        p99_ms: 0.0,
    })
}

/// Starts clients that send one byte a second, prints a line when all have begun, and goes on for
/// `args.time`.
async fn slow(args: &Args) -> anyhow::Result<Done> {
    let tls = connector(&args.ca)?;
    let begun = Instant::now();
    let (started, mut all_started) = tokio::sync::mpsc::channel::<()>(1);
    for index in 0..args.clients {
        let (args, tls, mut started) = (args.clone(), tls.clone(), Some(started.clone()));
        tokio::spawn(async move {
            loop {
                // When the server ends the connection, connect again.
                let _ = drip(
                    &args,
                    &tls,
                    args.first_account + index % args.accounts,
                    &mut started,
                )
                .await;
                tokio::time::sleep(DRIP_PAUSE).await;
            }
        });
        if index % 64 == 63 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    drop(started);
    // Returns when the last client has dropped its sender.
    let _ = all_started.recv().await;
    let mut out = io::stdout().lock();
    writeln!(out, "standing")?;
    out.flush()?;
    let seconds = begun.elapsed().as_secs_f64();
    tokio::time::sleep(args.time).await;
    Ok(Done {
        count: args.clients,
        failed: 0,
        seconds,
        p50_ms: 0.0,
        p99_ms: 0.0,
    })
}

/// Pause between two bytes of a slow client.
const DRIP_PAUSE: Duration = Duration::from_secs(1);

/// Fetches at full speed, and sends the new btoken at one byte a second.
async fn drip(
    args: &Args,
    tls: &TlsConnector,
    account: u64,
    started: &mut Option<tokio::sync::mpsc::Sender<()>>,
) -> io::Result<()> {
    let mut tls = BufReader::new(connect_tls(args, tls).await?);
    let action = ClientAction::Update {
        account: number(account),
        auth_token: token(),
    };
    let mut machine = ClientMachine::new(ClientConfig::default(), action);
    let mut is_slow = false;
    loop {
        while let Some(event) = machine.poll_event() {
            match event {
                ClientEvent::Fetched(_) => {
                    machine
                        .replace(noise(args.size, account))
                        .map_err(io::Error::other)?;
                    is_slow = true;
                    drop(started.take());
                }
                ClientEvent::Ended(_) => return Ok(()),
                ClientEvent::Greeted { .. } | ClientEvent::Created(_) => {}
            }
        }
        while let Some(output) = machine.poll_output() {
            let bytes = output.as_ref();
            for piece in bytes.chunks(if is_slow { 1 } else { bytes.len().max(1) }) {
                tls.write_all(piece).await?;
                tls.flush().await?;
                if is_slow {
                    tokio::time::sleep(DRIP_PAUSE).await;
                }
            }
        }
        let taken = match tls.fill_buf().await {
            Ok([]) => machine.handle_input(Input::CloseNotify),
            Ok(bytes) => machine.handle_input(Input::Bytes(bytes)),
            Err(_) => machine.handle_input(Input::Cut),
        };
        tls.consume(taken);
    }
}
