//! `bench versions`: servers of several versions beside each other, in the same rounds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::accounts::fill;
use crate::chart::{Labels, Line, draw_log, draw_log_both};
use crate::load::{self, Done, Kind};
use crate::process::{Server, sibling};
use crate::report::median;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A name and an earlier `passmate-server`, such as before=target/old/passmate-server; the store
    /// must have the same schema
    #[arg(value_name = "NAME=PROGRAM", value_parser = parse_version)]
    earlier: Vec<Version>,
    /// Lengths of btokens, in KiB
    #[arg(long, value_delimiter = ',', default_value = "4,16,64,256,1024,2048")]
    sizes: Vec<usize>,
    /// Numbers of clients at once, which update 4 KiB
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64,256")]
    clients: Vec<u64>,
    /// Number of rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Duration of each load in a round
    #[arg(long, value_parser = crate::duration::parse_duration, default_value = "1s")]
    time: Duration,
    /// Folder for the data, on a real disk
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Write plots to this folder
    #[arg(long)]
    plots: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct Version {
    name: String,
    program: PathBuf,
}

fn parse_version(text: &str) -> Result<Version, String> {
    let (name, program) = text.split_once('=').ok_or("it has no =")?;
    Ok(Version {
        name: name.to_owned(),
        program: PathBuf::from(program),
    })
}

/// Accounts of a store, and clients that update btokens of any length.
const ACCOUNTS: u64 = 64;
const CLIENTS: u64 = 16;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut versions = args.earlier.clone();
    versions.push(Version {
        name: "now".to_owned(),
        program: sibling("bench-passmate-server")?,
    });
    fs::create_dir_all(&args.dir)?;
    let dir = tempfile::Builder::new()
        .prefix("versions-")
        .tempdir_in(args.dir.canonicalize()?)?;
    let bench = Bench {
        args,
        dir: dir.path(),
    };
    let sizes = bench.sizes(&versions)?;
    let clients = bench.clients(&versions)?;
    if let Some(plots) = &args.plots {
        fs::create_dir_all(plots)?;
        let labels = Labels {
            title: "Server CPU against the size of the btoken, 16 clients",
            x: "KiB",
            y: "µs each",
        };
        draw_log_both(&plots.join("versions-size.svg"), &labels, &sizes)?;
        let labels = Labels {
            title: "Durable updates of 4 KiB against clients at once",
            x: "clients",
            y: "updates/s",
        };
        draw_log(&plots.join("versions-clients.svg"), &labels, &clients)?;
    }
    Ok(())
}

struct Bench<'a> {
    args: &'a Args,
    dir: &'a Path,
}

impl Bench<'_> {
    /// Server CPU against the length of the btoken.
    fn sizes(&self, versions: &[Version]) -> anyhow::Result<Vec<Line>> {
        let kinds = [(Kind::Update, "update"), (Kind::Fetch, "fetch only")];
        let mut lines = Vec::new();
        for version in versions {
            for (_, kind) in kinds {
                lines.push(line(format!("{kind}, {}", version.name)));
            }
        }
        lines.push(line("bare TLS connection".to_owned()));
        let bare_tls = Server::bare("bare-tls")?;
        let sizes: BTreeSet<&usize> = self.args.sizes.iter().collect();
        for kib in sizes {
            let servers = self.start(versions, &format!("size-{kib}"), kib << 10)?;
            let mut samples = vec![Vec::new(); lines.len()];
            for _ in 0..self.args.rounds {
                let mut of_line = samples.iter_mut();
                for server in &servers {
                    for (kind, _) in kinds {
                        let cost = self.cost(server, kind, CLIENTS, kib << 10)?.0;
                        of_line.next().context("each has a line")?.push(cost);
                    }
                }
                let bare = self.cost(&bare_tls, Kind::Tls, CLIENTS, 0)?.0;
                of_line.next().context("the last line")?.push(bare);
            }
            for (line, samples) in lines.iter_mut().zip(samples) {
                let x = f64::from(u32::try_from(*kib)?);
                line.points.push((x, middle(samples)?));
            }
        }
        print("KiB", "µs of server CPU", &lines);
        Ok(lines)
    }

    /// Updates/s against the number of clients.
    fn clients(&self, versions: &[Version]) -> anyhow::Result<Vec<Line>> {
        let servers = self.start(versions, "clients", 4 << 10)?;
        let names = versions.iter().map(|version| line(version.name.clone()));
        let mut lines: Vec<Line> = names.collect();
        for clients in &self.args.clients {
            let mut samples = vec![Vec::new(); lines.len()];
            for _ in 0..self.args.rounds {
                for (server, samples) in servers.iter().zip(&mut samples) {
                    let (_, done) = self.cost(server, Kind::Update, *clients, 4 << 10)?;
                    samples.push(done.per_second());
                }
            }
            for (line, samples) in lines.iter_mut().zip(samples) {
                line.points.push((*clients as f64, middle(samples)?));
            }
        }
        print("clients", "updates/s", &lines);
        Ok(lines)
    }

    /// Starts each version on a store that it has made itself.
    fn start(&self, versions: &[Version], name: &str, len: usize) -> anyhow::Result<Vec<Server>> {
        let start = |version: &Version| {
            let dir = self.dir.join(format!("{name}-{}", version.name));
            fs::create_dir_all(&dir)?;
            drop(Server::passmate_of(&version.program, &dir, &[])?);
            fill(&dir, ACCOUNTS * 4, len)?;
            Server::passmate_of(&version.program, &dir, &[])
        };
        versions.iter().map(start).collect()
    }

    /// Server CPU for one exchange in microseconds, and the result of the load generator.
    fn cost(
        &self,
        server: &Server,
        kind: Kind,
        clients: u64,
        size: usize,
    ) -> anyhow::Result<(f64, Done)> {
        let ca = self.dir.join(format!("ca-{}.pem", server.address.port()));
        fs::write(&ca, &server.pem)?;
        let before = server.cpu()?;
        let done = load::generate(&load::Args {
            address: server.address,
            ca,
            kind,
            clients,
            time: self.args.time,
            size,
            accounts: ACCOUNTS * 4,
            first_account: 0,
        })?;
        anyhow::ensure!(
            done.failed * 100 <= done.count,
            "{} of {} failed ({kind:?})",
            done.failed,
            done.count
        );
        let spent = server.cpu()? - before;
        Ok((spent.as_secs_f64() * 1e6 / done.count as f64, done))
    }
}

fn line(name: String) -> Line {
    Line {
        name,
        points: Vec::new(),
    }
}

fn middle(mut samples: Vec<f64>) -> anyhow::Result<f64> {
    samples.sort_by(f64::total_cmp);
    median(&samples).context("no round was measured")
}

/// Prints lines as a table: a row for each of their points.
fn print(x: &str, y: &str, lines: &[Line]) {
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    println!("{y}\n{x:>8}  {}", names.join("  "));
    let points = lines.first().map_or(0, |line| line.points.len());
    for place in 0..points {
        let row: Vec<_> = lines
            .iter()
            .filter_map(|line| line.points.get(place))
            .collect();
        let at = row.first().map_or(0.0, |point| point.0);
        let values = row.iter().zip(&names);
        let cells: Vec<String> = values
            .map(|(point, name)| format!("{:>width$.0}", point.1, width = name.len()))
            .collect();
        println!("{at:>8.0}  {}", cells.join("  "));
    }
    println!();
}
