//! How much `backup` and `verify` slow down clients that update meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::accounts::fill;
use crate::load::{self, Done, Kind};
use crate::process::{Server, sibling};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Accounts in the store
    #[arg(long, default_value_t = 20_000)]
    accounts: u64,
    /// Length of each btoken, in bytes
    #[arg(long, default_value_t = 16 << 10)]
    size: usize,
    /// Clients that update without pause
    #[arg(long, default_value_t = 50)]
    clients: u64,
    /// Duration of each measurement
    #[arg(long, value_parser = crate::duration::parse_duration, default_value = "20s")]
    time: Duration,
    /// Number of rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Folder for the data, on a real disk
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    fs::create_dir_all(&args.dir)?;
    let dir = tempfile::Builder::new()
        .prefix("keep-")
        .tempdir_in(args.dir.canonicalize()?)?;
    fill(dir.path(), args.accounts, args.size)?;
    let server = Server::passmate(dir.path())?;
    let ca = dir.path().join("ca.pem");
    fs::write(&ca, &server.pem)?;
    let active = || {
        load::generate(&load::Args {
            address: server.address,
            ca: ca.clone(),
            kind: Kind::Update,
            clients: args.clients,
            time: args.time,
            size: args.size,
            accounts: args.accounts,
            first_account: 0,
        })
    };
    let file = dir.path().join("file").display().to_string();
    let commands: [(&str, &[&str]); 2] = [("backup", &["backup", &file]), ("verify", &["verify"])];
    println!("round  beside     updates/s  p50 ms  p99 ms  seconds each  log MiB  failed");
    let tell = |round: usize,
                beside: &str,
                done: &Done,
                once: f64,
                log: u64|
     -> anyhow::Result<()> {
        let (rate, log) = (done.per_second(), log as f64 / 1048576.0);
        let (p50, p99, failed) = (done.p50_ms, done.p99_ms, done.failed);
        println!(
            "{round:5}  {beside:9} {rate:10.0} {p50:7.1} {p99:7.1} {once:13.2} {log:8.1} {failed:7}"
        );
        ensure!(
            done.count > 0 && failed == 0,
            "{failed} of {} failed",
            done.count + failed
        );
        Ok(())
    };
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 1..=args.rounds {
        for ((name, words), ratios) in commands.into_iter().zip(&mut ratios) {
            let alone = active()?;
            tell(round, "nothing", &alone, 0.0, log_len(dir.path()))?;
            let is_over = AtomicBool::new(false);
            let (beside, done) = std::thread::scope(|scope| {
                let again = scope.spawn(|| again_and_again(dir.path(), words, &is_over));
                let beside = active();
                is_over.store(true, Ordering::Relaxed);
                (beside, again.join())
            });
            let (beside, done) = (
                beside?,
                done.map_err(|_| anyhow::anyhow!("a thread has panicked"))??,
            );
            tell(round, name, &beside, done.once_s, done.log_len_max)?;
            ratios.push((
                beside.per_second() / alone.per_second(),
                beside.p99_ms / alone.p99_ms,
            ));
        }
    }
    for ((name, _), ratios) in commands.into_iter().zip(ratios) {
        let (rate, p99): (Vec<f64>, Vec<f64>) = ratios.into_iter().unzip();
        let (rate, p99) = (crate::crowd::median(rate), crate::crowd::median(p99));
        println!(
            "beside repeated {name}: {rate:.2} of the updates/s, {p99:.2} times the p99 (medians)"
        );
    }
    Ok(())
}

/// The cost of a command that ran again and again.
struct Again {
    /// Mean seconds of one run.
    once_s: f64,
    /// Greatest length of the database's log meanwhile, in bytes.
    log_len_max: u64,
}

fn again_and_again(dir: &Path, words: &[&str], is_over: &AtomicBool) -> anyhow::Result<Again> {
    let (begun, mut runs, mut log_len_max) = (Instant::now(), 0_u32, 0);
    while !is_over.load(Ordering::Relaxed) {
        let mut command = Command::new(sibling("bench-passmate-server")?);
        let mut child = command
            .args(words)
            .arg("--data-dir")
            .arg(dir)
            .stdout(Stdio::null())
            .spawn()?;
        let status = loop {
            log_len_max = log_len_max.max(log_len(dir));
            match child.try_wait()? {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        ensure!(status.success(), "{words:?} failed");
        runs += 1;
    }
    Ok(Again {
        once_s: begun.elapsed().as_secs_f64() / f64::from(runs.max(1)),
        log_len_max,
    })
}

fn log_len(dir: &Path) -> u64 {
    fs::metadata(dir.join("passmate.db-wal")).map_or(0, |metadata| metadata.len())
}
