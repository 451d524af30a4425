//! Crowds: connections that send nothing, and clients that send a byte a second. Neither may slow
//! down other clients much.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::accounts::fill;
use crate::load::{self, Done, Kind};
use crate::process::Server;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Clients that update without pause
    #[arg(long, default_value_t = 200)]
    active: u64,
    /// Connections that send the hello and then nothing
    #[arg(long, default_value_t = 10_000)]
    idle: u64,
    /// Clients that send their btoken at one byte a second
    #[arg(long, default_value_t = 5_000)]
    slow: u64,
    /// Duration of each measurement
    #[arg(long, value_parser = crate::duration::parse_duration, default_value = "10s")]
    time: Duration,
    /// Number of rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Folder for the data, on a real disk
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
}

/// Accounts of the active clients. The slow clients have other accounts.
const ACTIVE_ACCOUNTS: u64 = 1_000;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    fs::create_dir_all(&args.dir)?;
    let dir = tempfile::Builder::new()
        .prefix("crowd-")
        .tempdir_in(args.dir.canonicalize()?)?;
    fill(dir.path(), ACTIVE_ACCOUNTS + args.slow, 4 << 10)?;
    // Idle connections must stay open until the measurement is over.
    let patient = ["--idle-timeout", "120s", "--handshake-timeout", "120s"];
    let server = Server::passmate_with(dir.path(), &patient)?;
    let ca = dir.path().join("ca.pem");
    fs::write(&ca, &server.pem)?;
    let load = |kind, clients, time| load::Args {
        address: server.address,
        ca: ca.clone(),
        kind,
        clients,
        time,
        size: 4 << 10,
        accounts: ACTIVE_ACCOUNTS,
        first_account: 0,
    };
    let active = || load::generate(&load(Kind::Update, args.active, args.time));
    println!(
        "round  beside                updates/s  p50 ms  p99 ms  failed  memory MiB  descriptors"
    );
    let tell = |round: usize, beside: &str, done: &Done| -> anyhow::Result<()> {
        let memory = server.memory()? as f64 / 1048576.0;
        let (rate, descriptors) = (done.per_second(), server.descriptors()?);
        println!(
            "{round:5}  {beside:20} {rate:10.0} {:7.1} {:7.1} {:7} {memory:11.1} {descriptors:12}",
            done.p50_ms, done.p99_ms, done.failed
        );
        anyhow::ensure!(
            done.count > 0 && done.failed == 0,
            "{} of {} failed",
            done.failed,
            done.count + done.failed
        );
        Ok(())
    };
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 1..=args.rounds {
        for ((kind, count), ratios) in [(Kind::Idle, args.idle), (Kind::Slow, args.slow)]
            .into_iter()
            .zip(&mut ratios)
        {
            let alone = active()?;
            tell(round, "nothing", &alone)?;
            let crowd = load::Args {
                first_account: ACTIVE_ACCOUNTS,
                accounts: count,
                ..load(kind, count, args.time * 4 + Duration::from_secs(60))
            };
            let crowd = Held::open(&crowd)?;
            let beside = active()?;
            let name = if kind == Kind::Idle { "silent" } else { "slow" };
            tell(round, &format!("{count} {name}"), &beside)?;
            drop(crowd);
            ratios.push((
                beside.per_second() / alone.per_second(),
                beside.p99_ms / alone.p99_ms,
            ));
        }
    }
    for (name, ratios) in ["silent", "slow"].into_iter().zip(ratios) {
        let (rate, p99): (Vec<f64>, Vec<f64>) = ratios.into_iter().unzip();
        println!(
            "beside the {name} clients: {:.2} of the updates/s, {:.2} times the p99 (medians)",
            median(rate),
            median(p99)
        );
    }
    Ok(())
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A load generator that keeps its connections open until it is dropped.
pub(crate) struct Held(Child);

impl Held {
    /// Returns when all connections are open.
    pub(crate) fn open(args: &load::Args) -> anyhow::Result<Self> {
        let mut child = load::command(args)?.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let held = Self(child);
        anyhow::ensure!(
            line.trim() == "standing",
            "the load generator did not open its connections"
        );
        Ok(held)
    }

    /// Opens connections that send the hello and then nothing.
    pub(crate) fn idle(dir: &Path, server: &Server, clients: u64) -> anyhow::Result<Self> {
        let ca = dir.join("ca-idle.pem");
        fs::write(&ca, &server.pem)?;
        let (kind, time) = (Kind::Idle, Duration::from_secs(60));
        let address = server.address;
        Self::open(&load::Args {
            address,
            ca,
            kind,
            clients,
            time,
            size: 0,
            accounts: 1,
            first_account: 0,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
