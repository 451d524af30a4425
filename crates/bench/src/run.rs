//! `bench run`: measures all figures, each with its baseline.

mod nodes;
mod one_change;
mod server_cost;

use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;

use crate::accounts::fill;
use crate::chart::{Labels, Line, draw_log};
use crate::crowd::Held;
use crate::daily::Daily;
use crate::load::{self, Done, Kind};
use crate::process::{Server, flushes};
use crate::report::{Figure, Goal, table};
use crate::{delay, disk, vault};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run briefly, to test the harness; the figures mean nothing
    #[arg(long)]
    short: bool,
    /// Rounds of each figure
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Duration of each load in a round
    #[arg(long, value_parser = crate::duration::parse_duration, default_value = "1500ms")]
    time: Duration,
    /// Measure only the figures with these numbers or names, such as 2,5,trips
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Folder for the data, on a real disk
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Folder for stores without a disk: a file system in memory
    #[arg(long, default_value = "/dev/shm")]
    memory_dir: PathBuf,
    /// Write all samples to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write plots to this folder
    #[arg(long)]
    plots: Option<PathBuf>,
}

/// Concurrent clients, unless a figure says otherwise.
const CLIENTS: u64 = 64;
/// Accounts of a store, unless a figure says otherwise.
const ACCOUNTS: u64 = 256;
/// From this btoken length on, a store has only [`LARGE_ACCOUNTS`] accounts.
const LARGE: usize = 1 << 20;
const LARGE_ACCOUNTS: u64 = 64;

/// The state of a run.
struct Plan<'a> {
    args: &'a Args,
    rounds: u32,
    time: Duration,
    dir: PathBuf,
    figures: Vec<Figure>,
    plots: serde_json::Map<String, serde_json::Value>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    fs::create_dir_all(&args.dir)?;
    // The path must be absolute, because child processes have other working directories.
    let dir = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(args.dir.canonicalize()?)?;
    let (rounds, time) = if args.short {
        (1, Duration::from_millis(300))
    } else {
        (args.rounds, args.time)
    };
    let mut plan = Plan {
        args,
        rounds,
        time,
        dir: dir.path().to_owned(),
        figures: Vec::new(),
        plots: serde_json::Map::new(),
    };
    let begun = Instant::now();
    // First: a process that starts from a harness which has used much memory starts later.
    plan.daily()?;
    plan.server_cost()?;
    plan.resumption()?;
    plan.storage()?;
    plan.one_client()?;
    plan.idle_connections()?;
    plan.start()?;
    plan.many_accounts()?;
    plan.vaults()?;
    plan.one_change()?;
    plan.nodes()?;
    plan.round_trips()?;
    plan.curves()?;
    plan.finish(begun.elapsed())
}

/// A store in memory. It is deleted when this is dropped.
struct InMemory(tempfile::TempDir);

impl Plan<'_> {
    fn wants(&self, ids: &[&str]) -> bool {
        self.args.only.is_empty()
            || ids
                .iter()
                .any(|id| self.args.only.iter().any(|only| only == id))
    }

    /// Reports progress on standard error.
    fn progress(&self, what: &str) {
        let mut err = std::io::stderr().lock();
        let _ = writeln!(err, "bench: {what}");
    }

    fn data_dir(&self, name: &str, accounts: u64, len: usize) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir)?;
        fill(&dir, accounts, len)?;
        Ok(dir)
    }

    fn in_memory(&self, accounts: u64, len: usize) -> anyhow::Result<InMemory> {
        let dir = tempfile::Builder::new()
            .prefix("passmate-bench-")
            .tempdir_in(&self.args.memory_dir)
            .with_context(|| format!("--memory-dir {}", self.args.memory_dir.display()))?;
        fill(dir.path(), accounts, len)?;
        Ok(InMemory(dir))
    }

    fn load(
        &self,
        server: &Server,
        kind: Kind,
        clients: u64,
        size: usize,
        accounts: u64,
    ) -> anyhow::Result<Done> {
        self.load_of(server, kind, clients, size, 0..accounts)
    }

    /// [`load`](Self::load) with these accounts, which nobody else may use meanwhile.
    fn load_of(
        &self,
        server: &Server,
        kind: Kind,
        clients: u64,
        size: usize,
        accounts: Range<u64>,
    ) -> anyhow::Result<Done> {
        let ca = self.dir.join(format!("ca-{}.pem", server.address.port()));
        fs::write(&ca, &server.pem)?;
        let args = load::Args {
            address: server.address,
            ca,
            kind,
            clients,
            time: self.time,
            size,
            accounts: accounts.end - accounts.start,
            first_account: accounts.start,
        };
        let done = load::generate(&args)?;
        // The end of the run may interrupt one exchange in a thousand.
        anyhow::ensure!(
            done.failed * 1000 <= done.count,
            "{} of {} failed ({kind:?})",
            done.failed,
            done.count
        );
        Ok(done)
    }

    /// Server CPU for one exchange in microseconds, and the result of the load generator.
    fn cost(
        &self,
        server: &Server,
        kind: Kind,
        clients: u64,
        size: usize,
    ) -> anyhow::Result<(f64, Done)> {
        let accounts = if size >= LARGE {
            LARGE_ACCOUNTS
        } else {
            ACCOUNTS
        };
        self.cost_over(server, kind, clients, size, accounts)
    }

    /// [`cost`](Self::cost) for a store with this number of accounts.
    fn cost_over(
        &self,
        server: &Server,
        kind: Kind,
        clients: u64,
        size: usize,
        accounts: u64,
    ) -> anyhow::Result<(f64, Done)> {
        let before = server.cpu()?;
        let done = self.load(server, kind, clients, size, accounts)?;
        let spent = server.cpu()? - before;
        Ok((spent.as_secs_f64() * 1e6 / done.count as f64, done))
    }

    /// Figure 5.
    fn storage(&mut self) -> anyhow::Result<()> {
        if !self.wants(&["5"]) {
            return Ok(());
        }
        let mut alone = Figure::new(
            "5",
            "storage alone, 64 writers, 4 KiB: commits/s ÷ raw overwrite+fdatasync/s",
            "/s",
            Goal::AtLeast(0.25),
        );
        let dir = self.dir.join("storage");
        fs::create_dir_all(&dir)?;
        for round in 1..=self.rounds {
            self.progress(&format!("storage, round {round} of {}", self.rounds));
            let (raw, _) = disk::raw_overwrites(&self.dir, 4 << 10, self.time)?;
            let before = flushes(&self.dir);
            let updates = disk::storage_alone(&dir, 64, 4 << 10, self.time)?;
            let commits = match (before, flushes(&self.dir)) {
                (Some(before), Some(after)) => (after - before) as f64 / self.time.as_secs_f64(),
                // Without a count of flushes, use the number of updates.
                _ => updates,
            };
            alone.add(commits, raw);
            self.progress(&format!(
                "  {updates:.0} updates/s in {commits:.0} commits/s"
            ));
        }
        self.figures.push(alone);
        Ok(())
    }

    /// Figure 7.
    fn one_client(&mut self) -> anyhow::Result<()> {
        if !self.wants(&["7"]) {
            return Ok(());
        }
        let mut latency = Figure::new(
            "7",
            "one client: (durable − in-memory latency) ÷ raw fdatasync",
            "ms",
            Goal::AtMost(1.5),
        );
        let on_disk = Server::passmate(&self.data_dir("latency", ACCOUNTS, 4 << 10)?)?;
        let memory = self.in_memory(ACCOUNTS, 4 << 10)?;
        let without_disk = Server::passmate(memory.0.path())?;
        for round in 1..=self.rounds {
            self.progress(&format!(
                "latency of one client, round {round} of {}",
                self.rounds
            ));
            let durable = self
                .load(&on_disk, Kind::Update, 1, 4 << 10, ACCOUNTS)?
                .p50_ms;
            let fast = self
                .load(&without_disk, Kind::Update, 1, 4 << 10, ACCOUNTS)?
                .p50_ms;
            let (_, raw) = disk::raw_overwrites(&self.dir, 4 << 10, self.time)?;
            latency.add(durable - fast, raw.as_secs_f64() * 1e3);
        }
        self.figures.push(latency);
        Ok(())
    }

    /// Figure 8.
    fn idle_connections(&mut self) -> anyhow::Result<()> {
        if !self.wants(&["8"]) {
            return Ok(());
        }
        let counts: &[u64] = if self.args.short {
            &[100]
        } else {
            &[1_000, 5_000, 10_000]
        };
        let mut line = Vec::new();
        let mut figure = Figure::new(
            "8",
            "memory per idle connection at 10,000",
            "KiB",
            Goal::AtMost(11.0),
        );
        for count in counts {
            self.progress(&format!("{count} idle connections"));
            // They must stay open until all of them are.
            let patient = ["--idle-timeout", "120s", "--handshake-timeout", "120s"];
            let dir = self.data_dir(&format!("idle-{count}"), 1, 1)?;
            let server = Server::passmate_with(&dir, &patient)?;
            // Exclude one-time costs of the first connections.
            self.load(&server, Kind::Handshake, 8, 0, 1)?;
            let before = server.memory()?;
            let held = Held::idle(&self.dir, &server, *count)?;
            let grown = server.memory()?.saturating_sub(before);
            drop(held);
            line.push((*count as f64, grown as f64 / 1024.0 / *count as f64));
        }
        if let Some((_, per_connection)) = line.last() {
            figure.add(*per_connection, 1.0);
        }
        self.figures.push(figure);
        self.plot(
            "idle",
            "Memory of idle connections",
            "connections",
            "KiB each",
            "server",
            line,
        );
        Ok(())
    }

    /// Figure 9.
    fn start(&mut self) -> anyhow::Result<()> {
        if !self.wants(&["9"]) {
            return Ok(());
        }
        let mut memory = Figure::new(
            "9",
            "server's memory after the start",
            "MiB",
            Goal::AtMost(20.0),
        );
        let mut ready = Figure::new("9", "from start to ready", "ms", Goal::AtMost(50.0));
        let dir = self.data_dir("start", ACCOUNTS, 4 << 10)?;
        drop(Server::passmate(&dir)?);
        for _ in 0..self.rounds {
            let server = Server::passmate(&dir)?;
            ready.add(server.ready_after.as_secs_f64() * 1e3, 1.0);
            memory.add(server.memory()? as f64 / 1048576.0, 1.0);
        }
        self.figures.extend([memory, ready]);
        Ok(())
    }

    /// Figure 10.
    fn many_accounts(&mut self) -> anyhow::Result<()> {
        if !self.wants(&["10"]) {
            return Ok(());
        }
        let (few, many): (u64, u64) = if self.args.short {
            (100, 1_000)
        } else {
            (1_000, 1_000_000)
        };
        self.progress(&format!("filling a store with {many} accounts"));
        let servers = [few, many].map(|accounts| {
            let dir = self.data_dir(&format!("accounts-{accounts}"), accounts, 4 << 10)?;
            // The first start makes a certificate.
            drop(Server::passmate(&dir)?);
            Ok((accounts, Server::passmate(&dir)?))
        });
        let [few, many]: [anyhow::Result<(u64, Server)>; 2] = servers;
        let ((few_accounts, few), (many_accounts, many)) = (few?, many?);
        let mut rate = Figure::new(
            "10",
            "1,000,000 accounts ÷ 1,000: updates/s",
            "/s",
            Goal::AtLeast(0.9),
        );
        let mut ready = Figure::new("10", "the same: from start to ready", "ms", Goal::Report);
        let mut memory = Figure::new("10", "the same: memory after the load", "MiB", Goal::Report);
        ready.add(
            many.ready_after.as_secs_f64() * 1e3,
            few.ready_after.as_secs_f64() * 1e3,
        );
        for round in 1..=self.rounds {
            self.progress(&format!("many accounts, round {round} of {}", self.rounds));
            let with_many = self.load(&many, Kind::Update, CLIENTS, 4 << 10, many_accounts)?;
            let with_few = self.load(&few, Kind::Update, CLIENTS, 4 << 10, few_accounts)?;
            rate.add(with_many.per_second(), with_few.per_second());
            memory.add(
                many.memory()? as f64 / 1048576.0,
                few.memory()? as f64 / 1048576.0,
            );
        }
        self.figures.extend([rate, ready, memory]);
        Ok(())
    }

    /// Figures 11 to 14.
    fn vaults(&mut self) -> anyhow::Result<()> {
        if self.wants(&["11", "12"]) {
            let sizes: [(usize, &str, f64); 2] = [
                (1_000, "unlock of 1,000 records ÷ bare scrypt, CPU", 1.05),
                (10_000, "the same with 10,000", 1.15),
            ];
            for (records, name, goal) in sizes {
                let path = self.dir.join(format!("{records}.pmdb"));
                vault::write_vault(&path, records)?;
                let container = fs::read(&path)?;
                let mut figure = Figure::new("11", name, "ms", Goal::AtMost(goal));
                for _ in 0..self.rounds.max(if self.args.short { 1 } else { 9 }) {
                    self.progress(&format!("unlock of {records} records"));
                    let bare = vault::bare_scrypt()?;
                    figure.add(
                        vault::unlock(&container)?.as_secs_f64() * 1e3,
                        bare.as_secs_f64() * 1e3,
                    );
                }
                self.figures.push(figure);
            }
            let home = vault::Home::new(1_000)?;
            let mut write = Figure::new(
                "11",
                "`passmate new` in a vault of 1,000 records ÷ bare scrypt, wall time",
                "ms",
                Goal::AtMost(1.15),
            );
            for round in 0..self.rounds.max(if self.args.short { 1 } else { 9 }) {
                self.progress("a write");
                let begun = Instant::now();
                vault::bare_scrypt()?;
                let bare = begun.elapsed().as_secs_f64() * 1e3;
                let path = format!("written/{round}");
                write.add(home.passmate(&["new", &path])?.as_secs_f64() * 1e3, bare);
            }
            self.figures.push(write);
            let mut peak = Figure::new(
                "12",
                "peak memory of an unlock with 10,000 records",
                "MiB",
                Goal::AtMost(145.0),
            );
            peak.add(
                vault::unlock_memory(&self.dir.join("10000.pmdb"))? as f64 / 1048576.0,
                1.0,
            );
            self.figures.push(peak);
        }
        if self.wants(&["13"]) {
            let records = if self.args.short { 1_000 } else { 100_000 };
            let (ours, theirs) = vault::make_diverged(records);
            let mut figure = Figure::new(
                "13",
                "merge of two vaults of 100,000 records, half changed on each side",
                "ms",
                Goal::AtMost(150.0),
            );
            for _ in 0..self.rounds {
                self.progress("merge");
                figure.add(vault::merge(&ours, &theirs).as_secs_f64() * 1e3, 1.0);
            }
            self.figures.push(figure);
        }
        if self.wants(&["14"]) {
            let bare_tls = Server::bare("bare-tls")?;
            let server = Server::passmate(&self.data_dir("sync", 1, 1)?)?;
            let home = vault::Home::synced_with(&server, 1_000)?;
            let mut figure = Figure::new(
                "14",
                "sync with nothing new ÷ (bare TLS handshake + bare scrypt)",
                "ms",
                Goal::AtMost(1.1),
            );
            for _ in 0..self.rounds.max(if self.args.short { 1 } else { 9 }) {
                self.progress("sync with nothing new");
                let handshake = self.load(&bare_tls, Kind::Tls, 1, 0, 1)?.p50_ms;
                let begun = Instant::now();
                vault::bare_scrypt()?;
                let bare = begun.elapsed().as_secs_f64() * 1e3;
                figure.add(
                    home.passmate(&["sync"])?.as_secs_f64() * 1e3,
                    bare + handshake,
                );
            }
            self.figures.push(figure);
        }
        Ok(())
    }

    /// Figures 18 to 20.
    fn daily(&mut self) -> anyhow::Result<()> {
        if !self.wants(&["18", "19", "20", "22"]) {
            return Ok(());
        }
        self.progress("starting an agent with 10,000 records");
        let mut daily = Daily::new(10_000)?;
        if !self.args.short {
            daily = daily.with_peers()?;
        }
        for round in 1..=self.rounds {
            self.progress(&format!("every day, round {round} of {}", self.rounds));
            daily.measure()?;
        }
        self.figures.extend(daily.figures());
        Ok(())
    }

    /// Round trips through a delaying proxy.
    fn round_trips(&mut self) -> anyhow::Result<()> {
        if !self.wants(&["trips"]) {
            return Ok(());
        }
        let server = Server::passmate(&self.data_dir("trips", 1, 1)?)?;
        let trips: &[u64] = if self.args.short {
            &[20]
        } else {
            &[20, 80, 200]
        };
        let mut figures = delay::Trips::figures();
        for ms in trips {
            self.progress(&format!("round trips of {ms} ms"));
            delay::measure(&server, Duration::from_millis(*ms), &mut figures)?;
        }
        self.figures.extend(figures);
        Ok(())
    }

    /// Server CPU against concurrency, btoken length and number of accounts, for plots.
    fn curves(&mut self) -> anyhow::Result<()> {
        if self.args.plots.is_none() {
            return Ok(());
        }
        let bare_tls = Server::bare("bare-tls")?;
        let server = Server::passmate(&self.data_dir("curves", ACCOUNTS, 4 << 10)?)?;
        let clients: &[u64] = if self.args.short {
            &[1, 16]
        } else {
            &[1, 4, 16, 64, 256]
        };
        let (mut bare, mut updates) = (Vec::new(), Vec::new());
        for clients in clients {
            self.progress(&format!("{clients} clients"));
            bare.push((
                *clients as f64,
                self.cost(&bare_tls, Kind::Tls, *clients, 0)?.0,
            ));
            updates.push((
                *clients as f64,
                self.cost(&server, Kind::Update, *clients, 4 << 10)?.0,
            ));
        }
        self.plot(
            "concurrency",
            "Server CPU against clients at once",
            "clients",
            "µs each",
            "durable update of 4 KiB",
            updates,
        );
        self.plot("concurrency", "", "", "", "bare TLS connection", bare);
        let sizes: &[usize] = if self.args.short {
            &[1 << 10, 16 << 10]
        } else {
            &[1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20]
        };
        let mut updates = Vec::new();
        for size in sizes {
            self.progress(&format!("btokens of {size} bytes"));
            let server =
                Server::passmate(&self.data_dir(&format!("size-{size}"), ACCOUNTS, *size)?)?;
            let (cost, _) = self.cost(&server, Kind::Update, 16, *size)?;
            updates.push((*size as f64 / 1024.0, cost));
        }
        self.plot(
            "size",
            "Server CPU against the size of the btoken",
            "KiB",
            "µs each",
            "durable update, 16 clients",
            updates,
        );
        let numbers: &[u64] = if self.args.short {
            &[100, 1_000]
        } else {
            &[1_000, 10_000, 100_000, 1_000_000]
        };
        let mut updates = Vec::new();
        for accounts in numbers {
            self.progress(&format!("{accounts} accounts"));
            let server = Server::passmate(&self.data_dir(
                &format!("curve-{accounts}"),
                *accounts,
                4 << 10,
            )?)?;
            let (cost, _) = self.cost_over(&server, Kind::Update, CLIENTS, 4 << 10, *accounts)?;
            updates.push((*accounts as f64, cost));
        }
        self.plot(
            "accounts",
            "Server CPU against accounts in the store",
            "accounts",
            "µs each",
            "durable update of 4 KiB, 64 clients",
            updates,
        );
        Ok(())
    }

    /// Adds a line to a plot. The first line also sets the title and the axes.
    fn plot(
        &mut self,
        plot: &str,
        title: &str,
        x: &str,
        y: &str,
        line: &str,
        points: Vec<(f64, f64)>,
    ) {
        let new = || json!({ "title": title, "x": x, "y": y, "lines": {} });
        let plot = self.plots.entry(plot).or_insert_with(new);
        if let Some(lines) = plot
            .get_mut("lines")
            .and_then(serde_json::Value::as_object_mut)
        {
            lines.insert(line.to_owned(), json!(points));
        }
    }

    fn finish(self, took: Duration) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", table(&self.figures))?;
        writeln!(
            out,
            "Measured in {:.0} s on: {}",
            took.as_secs_f64(),
            machine()
        )?;
        if let Some(path) = &self.args.json {
            let all = json!({ "version": 1, "machine": machine(), "figures": self.figures, "plots": self.plots });
            fs::write(path, serde_json::to_string_pretty(&all)? + "\n")?;
        }
        if let Some(dir) = &self.args.plots {
            fs::create_dir_all(dir)?;
            for (name, plot) in &self.plots {
                draw_plot(&dir.join(format!("{name}.svg")), plot)?;
            }
        }
        Ok(())
    }
}

fn draw_plot(path: &Path, plot: &serde_json::Value) -> anyhow::Result<()> {
    let text = |key: &str| {
        plot.get(key)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    };
    let lines = plot
        .get("lines")
        .and_then(serde_json::Value::as_object)
        .into_iter()
        .flatten();
    let lines = lines.map(|(name, points)| {
        Ok(Line {
            name: name.clone(),
            points: serde_json::from_value(points.clone())?,
        })
    });
    let lines: Vec<Line> = lines.collect::<anyhow::Result<_>>()?;
    draw_log(
        path,
        &Labels {
            title: text("title"),
            x: text("x"),
            y: text("y"),
        },
        &lines,
    )
}

/// A one-line description of the machine.
fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cpus} CPUs, {}, Linux {}",
        model.trim_start_matches(['\t', ':', ' ']),
        kernel.trim()
    )
}
