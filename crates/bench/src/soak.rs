//! Mixed load for a long time. Memory, descriptors and the 99th percentile of latency must not
//! grow.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::accounts::fill;
use crate::chart::{Labels, Line, draw_linear};
use crate::load::{self, Kind};
use crate::process::Server;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Duration of the run
    #[arg(long, value_parser = crate::duration::parse_duration, default_value = "60m")]
    time: Duration,
    /// Duration of each load; memory and descriptors are measured after it
    #[arg(long, value_parser = crate::duration::parse_duration, default_value = "10s")]
    every: Duration,
    /// Folder for the data, on a real disk
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Write plots to this folder
    #[arg(long)]
    plots: Option<PathBuf>,
}

/// The loads, in turns: kind, clients and btoken length.
const LOADS: [(Kind, u64, usize); 4] = [
    (Kind::Update, 64, 4 << 10),
    (Kind::Update, 16, 64 << 10),
    (Kind::Handshake, 32, 0),
    (Kind::Update, 4, 512 << 10),
];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    fs::create_dir_all(&args.dir)?;
    let dir = tempfile::Builder::new()
        .prefix("soak-")
        .tempdir_in(args.dir.canonicalize()?)?;
    fill(dir.path(), 1_000, 4 << 10)?;
    let server = Server::passmate(dir.path())?;
    let ca = dir.path().join("ca.pem");
    fs::write(&ca, &server.pem)?;
    let begun = Instant::now();
    let (mut memory, mut descriptors, mut slowest) = (Vec::new(), Vec::new(), Vec::new());
    let mut total = 0;
    println!("minute  updates/s  p99 ms  memory MiB  descriptors");
    for (kind, clients, size) in LOADS.into_iter().cycle() {
        if begun.elapsed() >= args.time {
            break;
        }
        let time = args.every;
        let load = load::Args {
            address: server.address,
            ca: ca.clone(),
            kind,
            clients,
            time,
            size,
            accounts: 1_000,
            first_account: 0,
        };
        let done = load::generate(&load)?;
        anyhow::ensure!(
            done.failed * 1000 <= done.count,
            "{} of {} failed",
            done.failed,
            done.count
        );
        total += done.count;
        let minute = begun.elapsed().as_secs_f64() / 60.0;
        let now = (server.memory()? as f64 / 1048576.0, server.descriptors()?);
        println!(
            "{minute:6.1} {:10.0} {:7.1} {:11.1} {:12}",
            done.per_second(),
            done.p99_ms,
            now.0,
            now.1
        );
        memory.push((minute, now.0));
        descriptors.push((minute, now.1 as f64));
        if (kind, clients) == (Kind::Update, 64) {
            slowest.push((minute, done.p99_ms));
        }
    }
    println!(
        "{total} exchanges in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    let Some(plots) = &args.plots else {
        return Ok(());
    };
    fs::create_dir_all(plots)?;
    draw(&plots.join("soak.svg"), &memory, &descriptors, &slowest)
}

fn draw(
    path: &Path,
    memory: &[(f64, f64)],
    descriptors: &[(f64, f64)],
    slowest: &[(f64, f64)],
) -> anyhow::Result<()> {
    let line = |name: &str, points| Line {
        name: name.to_owned(),
        points: by_minute(points),
    };
    let lines = [
        line("memory, MiB", memory),
        line("descriptors", descriptors),
        line(
            "p99 of 64 clients, in 10 ms",
            &slowest
                .iter()
                .map(|(at, ms)| (*at, ms / 10.0))
                .collect::<Vec<_>>(),
        ),
    ];
    draw_linear(
        path,
        &Labels {
            title: "Mixed load",
            x: "minutes",
            y: "median of each minute",
        },
        &lines,
    )
}

/// The median of each minute.
fn by_minute(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let minutes = points.chunk_by(|a, b| a.0.floor() == b.0.floor());
    let median = |minute: &[(f64, f64)]| {
        let mut values: Vec<f64> = minute.iter().map(|point| point.1).collect();
        values.sort_by(f64::total_cmp);
        Some((minute.first()?.0.floor(), *values.get(values.len() / 2)?))
    };
    minutes.filter_map(median).collect()
}
