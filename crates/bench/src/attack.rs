//! Attacks on a server in a process of its own: what they cost in its memory and in the kernel's,
//! and which share of the honest clients is served meanwhile.
//!
//! The sources of attackers and honest clients are those that a PROXY header names. As root the
//! harness runs in a network namespace of its own.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use passmate_proto::{AuthToken, CLIENT_HELLO, ClientAction};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::accounts::{fill, noise, number, token};
use crate::handshake::client_config;
use crate::load::{Then, exchange};
use crate::process::{Server, itself, sibling};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The attacks; all by default
    #[arg(long, value_delimiter = ',')]
    only: Vec<Attack>,
    /// Attack this `passmate-server`, such as one of an earlier version
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Duration of each attack
    #[arg(long, value_parser = crate::duration::parse_duration, default_value = "15s")]
    time: Duration,
    /// Folder for the data, on a real disk
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
}

/// What the attackers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Attack {
    /// Nothing, for comparison.
    None,
    /// One source with one account: 400 connections read half a btoken and leave.
    Unread,
    /// One source: 34 creates without their last byte.
    HalfCreates,
    /// Two sources: 128 updates without their last byte.
    HalfUpdates,
    /// 40 sources: 80 creates without their last byte.
    SpreadCreates,
    /// 50 sources: 5,000 TLS handshakes that end within the client's hello.
    HalfHellos,
    /// 12 sources: connections that say hello, and then send nothing, on a server that has 1,000.
    Silent,
    /// One IPv6 /48: each of its networks makes accounts.
    OneNetwork,
    /// An exempt source makes accounts without pause.
    Forwarder,
}

/// The variable that marks a harness which has its own network.
const NAMESPACE: &str = "PASSMATE_BENCH_NAMESPACE";
/// Accounts in the store, with btokens of this length.
const ACCOUNTS: u64 = 100;
const BTOKEN_LEN: usize = 4 << 10;
const LONG: usize = 2 << 20;
/// Honest clients at the same time. The first accounts are theirs.
const HONEST: u64 = 8;
/// The pause of an honest client between two exchanges, and the time that an exchange may take.
const HONEST_PAUSE: Duration = Duration::from_millis(700);
const HONEST_TIME_MAX: Duration = Duration::from_secs(10);
/// The pause of an attacker before it begins again.
const ATTACK_PAUSE: Duration = Duration::from_secs(1);
/// How long after the attack the kernel's memory is read again.
const LATER: Duration = Duration::from_secs(40);

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if std::env::var_os(NAMESPACE).is_none()
        && rustix::process::geteuid().is_root()
        && let Some(done) = in_namespace()?
    {
        anyhow::ensure!(done, "the harness in a network namespace failed");
        return Ok(());
    }
    fs::create_dir_all(&args.dir)?;
    let program = match &args.server {
        Some(program) => program.clone(),
        None => sibling("bench-passmate-server")?,
    };
    println!(
        "| attack | memory of the server, MiB | of the kernel, MiB | {} s later | accounts made | \
         honest clients served |",
        LATER.as_secs()
    );
    println!("|---|---|---|---|---|---|");
    let chosen = match args.only.as_slice() {
        [] => Attack::value_variants(),
        only => only,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    for attack in chosen {
        let dir = tempfile::Builder::new()
            .prefix("attack-")
            .tempdir_in(args.dir.canonicalize()?)?;
        fill(dir.path(), ACCOUNTS, BTOKEN_LEN)?;
        let mut options = vec!["--proxy-from", "127.0.0.1"];
        match attack {
            Attack::Forwarder => options.extend(["--limit-exempt", "127.0.0.0/8"]),
            _ => options.extend(["--limit-exempt", "none"]),
        }
        options.extend([
            "--connections-max",
            match attack {
                Attack::Silent => "1000",
                _ => "10000",
            },
        ]);
        let server = Server::passmate_of(&program, dir.path(), &options)?;
        let result = runtime.block_on(measure(*attack, &server, args.time))?;
        let name = attack
            .to_possible_value()
            .context("every attack has a name")?;
        let Measured {
            memory,
            kernel,
            kernel_later,
            made,
            served,
            refused,
        } = result;
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        println!(
            "| {} | {:.0} | {:.1} | {:.1} | {made} | {} % of {} |",
            name.get_name(),
            mib(memory),
            mib(kernel),
            mib(kernel_later),
            served * 100 / (served + refused).max(1),
            served + refused
        );
    }
    Ok(())
}

/// Runs this harness in a network namespace. `None`: the tools for that are not here.
fn in_namespace() -> anyhow::Result<Option<bool>> {
    let script = "ip link set lo up && exec \"$0\" \"$@\"";
    let has_tools = Command::new("unshare")
        .args(["-n", "sh", "-c", "ip link set lo up"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_tools {
        return Ok(None);
    }
    let status = Command::new("unshare")
        .args(["-n", "sh", "-c", script])
        .arg(itself()?.canonicalize()?)
        .args(std::env::args_os().skip(1))
        .env(NAMESPACE, "1")
        .status()?;
    Ok(Some(status.success()))
}

struct Measured {
    /// The greatest resident memory of the server, and memory of its sockets, in bytes.
    memory: u64,
    kernel: u64,
    /// Memory of its sockets some time after the attack, while the attackers keep theirs open.
    kernel_later: u64,
    /// Accounts that the attackers made.
    made: u64,
    /// Exchanges of honest clients.
    served: u64,
    refused: u64,
}

/// What all tasks of an attack share.
struct World {
    address: std::net::SocketAddr,
    tls: TlsConnector,
    made: AtomicU64,
    served: AtomicU64,
    refused: AtomicU64,
    /// Numbers for sources that are used once.
    sources: AtomicU64,
    is_over: AtomicBool,
}

async fn measure(attack: Attack, server: &Server, time: Duration) -> anyhow::Result<Measured> {
    let world = Arc::new(World {
        address: server.address,
        tls: TlsConnector::from(client_config(server.pem.as_bytes())?),
        made: AtomicU64::new(0),
        served: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        sources: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    if attack == Attack::Unread {
        world
            .update(HONEST, "203.0.113.77", &noise(LONG, 1))
            .await?;
    }
    let mut attackers = tokio::task::JoinSet::new();
    for index in 0..attack.clients() {
        let world = Arc::clone(&world);
        attackers.spawn(async move { world.attack(attack, index).await });
    }
    let mut honest = tokio::task::JoinSet::new();
    for index in 0..HONEST {
        let world = Arc::clone(&world);
        honest.spawn(async move { world.be_honest(index).await });
    }
    let begun = Instant::now();
    let (mut memory, mut kernel) = (0, 0);
    while begun.elapsed() < time {
        memory = memory.max(server.memory()?);
        kernel = kernel.max(kernel_memory(server.address.port())?);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    world.is_over.store(true, Ordering::Relaxed);
    while honest.join_next().await.is_some() {}
    let kernel_later = match attack {
        Attack::Unread => {
            tokio::time::sleep(LATER).await;
            kernel_memory(server.address.port())?
        }
        _ => {
            attackers.abort_all();
            while attackers.join_next().await.is_some() {}
            0
        }
    };
    Ok(Measured {
        memory,
        kernel,
        kernel_later,
        made: world.made.load(Ordering::Relaxed),
        served: world.served.load(Ordering::Relaxed),
        refused: world.refused.load(Ordering::Relaxed),
    })
}

/// Bytes that the kernel holds for the sockets of this port, closed ones included, as `ss` counts
/// them.
fn kernel_memory(port: u16) -> anyhow::Result<u64> {
    let output = Command::new("ss")
        .args(["-tamnH", "sport", "=", &format!(":{port}")])
        .output()
        .context("cannot run ss, of iproute2")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut sum = 0;
    for skmem in text.split("skmem:(").skip(1) {
        let fields = skmem.split(')').next().unwrap_or_default().split(',');
        for field in fields {
            // What is received and not read, what is queued to be sent, and the backlog.
            for key in ["r", "w", "bl"] {
                let value = field.strip_prefix(key).and_then(|value| value.parse().ok());
                sum += value.unwrap_or(0_u64);
            }
        }
    }
    Ok(sum)
}

impl Attack {
    /// Attackers at the same time.
    fn clients(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Unread => 400,
            Self::HalfCreates => 34,
            Self::HalfUpdates => 128,
            Self::SpreadCreates => 80,
            Self::HalfHellos => 5_000,
            Self::Silent => 1_200,
            Self::OneNetwork => 64,
            Self::Forwarder => 16,
        }
    }

    /// The source of an attacker.
    fn source(self, index: u64) -> String {
        match self {
            Self::None | Self::Unread | Self::HalfCreates => "192.0.2.1".to_owned(),
            Self::HalfUpdates => format!("192.0.2.{}", index % 2),
            Self::SpreadCreates => format!("10.{}.0.1", index % 40),
            Self::HalfHellos => format!("10.{}.0.1", index % 50),
            Self::Silent => format!("10.{}.0.1", index % 12),
            Self::OneNetwork => String::new(),
            Self::Forwarder => "127.0.0.1".to_owned(),
        }
    }
}

impl World {
    /// A TCP connection that seems to come from this source.
    async fn connect(&self, source: &str) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        // The memory of the clients is not what this measures.
        socket.set_recv_buffer_size(16 << 10)?;
        let mut tcp = socket.connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let (family, target) = match source.contains(':') {
            true => ("TCP6", "2001:db8::1"),
            false => ("TCP4", "192.0.2.254"),
        };
        let header = format!("PROXY {family} {source} {target} 1000 29556\r\n");
        tcp.write_all(header.as_bytes()).await?;
        Ok(tcp)
    }

    async fn connect_tls(&self, source: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = "localhost".try_into().map_err(io::Error::other)?;
        self.tls.connect(name, self.connect(source).await?).await
    }

    /// A connection that the server has greeted.
    async fn greeted(&self, source: &str) -> io::Result<TlsStream<TcpStream>> {
        let mut tls = self.connect_tls(source).await?;
        tls.write_all(CLIENT_HELLO).await?;
        let mut hello = [0; 24];
        tls.read_exact(&mut hello).await?;
        take(&mut tls).await?;
        Ok(tls)
    }

    async fn update(&self, account: u64, source: &str, upload: &[u8]) -> io::Result<()> {
        let action = ClientAction::Update {
            account: number(account),
            auth_token: token(),
        };
        exchange(
            self.connect_tls(source).await?,
            action,
            Then::Replace(upload),
        )
        .await
    }

    async fn create(&self, source: &str, btoken: Vec<u8>) -> io::Result<()> {
        let mut auth_token = [0; 32];
        getrandom::fill(&mut auth_token).map_err(io::Error::other)?;
        let action = ClientAction::Create {
            auth_token: AuthToken::new(auth_token),
            btoken,
        };
        exchange(self.connect_tls(source).await?, action, Then::Leave).await
    }

    /// Updates an account, and makes accounts from sources that make only one.
    async fn be_honest(&self, index: u64) {
        let own = format!("203.0.113.{index}");
        for turn in index.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let exchange = async {
                if turn.is_multiple_of(2) {
                    self.update(index, &own, &noise(BTOKEN_LEN, turn)).await
                } else {
                    let number = self.sources.fetch_add(1, Ordering::Relaxed);
                    let source = format!("198.18.{}.1", number % 256);
                    self.create(&source, noise(BTOKEN_LEN, turn)).await
                }
            };
            let done = tokio::time::timeout(HONEST_TIME_MAX, exchange).await;
            let count = match done {
                Ok(Ok(())) => &self.served,
                _ => &self.refused,
            };
            count.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(HONEST_PAUSE).await;
        }
    }

    /// One attacker, who begins again when the server has ended its connection.
    async fn attack(&self, attack: Attack, index: u64) {
        while !self.is_over.load(Ordering::Relaxed) {
            let source = attack.source(index);
            let done = self.attack_once(attack, index, &source).await;
            let makes_accounts = matches!(attack, Attack::OneNetwork | Attack::Forwarder);
            if !makes_accounts || done.is_err() {
                tokio::time::sleep(ATTACK_PAUSE).await;
            }
        }
    }

    /// Holds what it has taken for as long as the server lets it.
    async fn attack_once(&self, attack: Attack, index: u64, source: &str) -> io::Result<()> {
        match attack {
            Attack::None => Ok(()),
            Attack::Unread => {
                let mut tls = self.greeted(source).await?;
                tls.write_all(&credentials(b'u', HONEST)).await?;
                let mut len = [0; 4];
                tls.read_exact(&mut len).await?;
                tls.read_exact(&mut vec![0; LONG / 2]).await?;
                tls.get_mut().0.shutdown().await?;
                // It keeps its side open, and reads nothing more.
                std::future::pending().await
            }
            Attack::HalfCreates | Attack::SpreadCreates => {
                let mut tls = self.greeted(source).await?;
                let begin = [b"c".as_slice(), token().as_bytes()].concat();
                tls.write_all(&begin).await?;
                upload_half(&mut tls).await
            }
            Attack::HalfUpdates => {
                let mut tls = self.greeted(source).await?;
                let account = HONEST + 1 + index % (ACCOUNTS - HONEST - 1);
                tls.write_all(&credentials(b'u', account)).await?;
                take(&mut tls).await?;
                upload_half(&mut tls).await
            }
            Attack::HalfHellos => {
                let mut tcp = self.connect(source).await?;
                // Records of 16 KiB, and in the first the head of a hello of 60,000 bytes.
                let record = [0x16, 3, 1, 0x40, 0];
                let head = [1, 0, 0xEA, 0x60];
                let mut hello = [&record, head.as_slice(), &[0; (16 << 10) - 4]].concat();
                while hello.len() < 55_000 {
                    hello.extend_from_slice(&record);
                    hello.extend_from_slice(&[0; 16 << 10]);
                }
                hello.truncate(55_000);
                tcp.write_all(&hello).await?;
                drain(&mut tcp).await
            }
            Attack::Silent => {
                let mut tls = self.greeted(source).await?;
                drain(&mut tls).await
            }
            Attack::OneNetwork => {
                let number = self.sources.fetch_add(1, Ordering::Relaxed);
                let source = format!("2001:db8:5:{:x}::1", number % 65_536);
                self.make_account(&source).await
            }
            Attack::Forwarder => self.make_account(source).await,
        }
    }

    async fn make_account(&self, source: &str) -> io::Result<()> {
        self.create(source, noise(64, 1)).await?;
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The action and the credentials of an account.
fn credentials(action: u8, account: u64) -> Vec<u8> {
    let number = number(account);
    [&[action], number.as_bytes().as_slice(), token().as_bytes()].concat()
}

/// Reads bytes after their length.
async fn take(tls: &mut TlsStream<TcpStream>) -> io::Result<()> {
    let len = tls.read_u32().await?;
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    tls.read_exact(&mut bytes).await.map(drop)
}

/// Sends a btoken of 2 MiB but for its last byte, and waits.
async fn upload_half(tls: &mut TlsStream<TcpStream>) -> io::Result<()> {
    tls.write_u32(2 << 20).await?;
    tls.write_all(&noise(LONG - 1, 1)).await?;
    tls.flush().await?;
    drain(tls).await
}

/// Waits until the server ends the connection.
async fn drain(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<()> {
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
