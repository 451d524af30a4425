//! Several servers on one PostgreSQL, beside one server with the embedded database.

use std::fs;
use std::thread;

use anyhow::Context;
use passmate_server::store::{Postgres, PostgresUrl};
use passmate_testkit::postgres::{Cluster, is_installed};

use super::{ACCOUNTS, CLIENTS, Plan};
use crate::accounts::fill_engine;
use crate::load::Kind;
use crate::process::{Server, flushes};
use crate::report::{Figure, Goal};

const NODES: usize = 3;
const SHORT: usize = 4 << 10;
const LONG: usize = 64 << 10;

/// What a load on some servers did.
struct Cost {
    /// Confirmed updates in a second.
    rate: f64,
    /// Microseconds for each update, of the servers and of the database.
    servers: f64,
    database: f64,
    flushes: Option<f64>,
}

impl Plan<'_> {
    /// Figure 21.
    pub(super) fn nodes(&mut self) -> anyhow::Result<()> {
        if !self.wants(&["21"]) {
            return Ok(());
        }
        if !is_installed() {
            self.progress("figure 21 is NOT MEASURED: PostgreSQL is not installed");
            return Ok(());
        }
        let embedded = Server::passmate(&self.data_dir("embedded", ACCOUNTS, SHORT)?)?;
        let cluster = Cluster::new();
        let url: PostgresUrl = cluster.url().parse()?;
        fill_engine(&mut Postgres::open(&url)?, ACCOUNTS, SHORT)?;
        let mut nodes = Vec::new();
        for node in 0..NODES {
            let data_dir = self.dir.join(format!("node-{node}"));
            fs::create_dir_all(&data_dir)?;
            nodes.push(Server::passmate_with(
                &data_dir,
                &["--store", &cluster.url()],
            )?);
        }
        let (embedded_long, long) = self.long_btokens(&cluster)?;
        let report = |name, unit| Figure::new("21", name, unit, Goal::Report);
        let mut rate = report(
            "one server on PostgreSQL ÷ the embedded database: updates/s, 4 KiB, 64 clients",
            "/s",
        );
        let mut servers = report("the same: CPU of the server for an update", "µs");
        let mut all = report("the same: CPU of server and database for an update", "µs");
        let mut flushed = Figure::new(
            "21",
            "the same: flushes per durable update",
            "",
            Goal::AtMost(0.15),
        );
        let mut two = report("two servers on one PostgreSQL ÷ one: updates/s", "/s");
        let mut three = report("three servers on one PostgreSQL ÷ one: updates/s", "/s");
        let mut three_all = report(
            "three servers ÷ one: CPU of servers and database for an update",
            "µs",
        );
        let mut long_update = report(
            "an update of 64 KiB, PostgreSQL ÷ embedded: CPU of server and database",
            "µs",
        );
        let mut long_fetch = report("the same: a fetch that finds nothing new", "µs");
        for round in 1..=self.rounds {
            self.progress(&format!(
                "several servers, round {round} of {}",
                self.rounds
            ));
            let baseline = self.cost_of(&[&embedded], None, Kind::Update, SHORT)?;
            let of_first = |count| {
                let first: Vec<&Server> = nodes.iter().take(count).collect();
                self.cost_of(&first, Some(&cluster), Kind::Update, SHORT)
            };
            let one = of_first(1)?;
            rate.add(one.rate, baseline.rate);
            servers.add(one.servers, baseline.servers);
            all.add(one.servers + one.database, baseline.servers);
            if let Some(count) = one.flushes {
                flushed.add(count, 1.0);
            }
            two.add(of_first(2)?.rate, one.rate);
            let most = of_first(NODES)?;
            three.add(most.rate, one.rate);
            for (kind, figure) in [
                (Kind::Update, &mut long_update),
                (Kind::Fetch, &mut long_fetch),
            ] {
                let baseline = self.cost_of(&[&embedded_long], None, kind, LONG)?;
                let ours = self.cost_of(&[&long], Some(&cluster), kind, LONG)?;
                figure.add(ours.servers + ours.database, baseline.servers);
            }
            three_all.add(most.servers + most.database, one.servers + one.database);
        }
        self.figures.extend([
            rate,
            servers,
            all,
            flushed,
            two,
            three,
            three_all,
            long_update,
            long_fetch,
        ]);
        Ok(())
    }

    /// A server with long btokens of the embedded database, and one of PostgreSQL.
    fn long_btokens(&self, cluster: &Cluster) -> anyhow::Result<(Server, Server)> {
        let embedded = Server::passmate(&self.data_dir("embedded-long", ACCOUNTS, LONG)?)?;
        cluster.sql_of("postgres", "CREATE DATABASE long");
        let url = cluster.url().replace("/passmate", "/long");
        fill_engine(&mut Postgres::open(&url.parse()?)?, ACCOUNTS, LONG)?;
        let data_dir = self.dir.join("node-long");
        fs::create_dir_all(&data_dir)?;
        let server = Server::passmate_with(&data_dir, &["--store", &url])?;
        Ok((embedded, server))
    }

    /// The cost of an exchange where the clients are spread over these servers.
    fn cost_of(
        &self,
        nodes: &[&Server],
        cluster: Option<&Cluster>,
        kind: Kind,
        len: usize,
    ) -> anyhow::Result<Cost> {
        let spent = || -> anyhow::Result<_> {
            let mut servers = 0.0;
            for node in nodes {
                servers += node.cpu()?.as_secs_f64() * 1e6;
            }
            let database = cluster.map_or(Ok(0.0), |cluster| cpu_of_children(cluster.pid()))?;
            Ok((servers, database, flushes(&self.dir)))
        };
        let before = spent()?;
        let clients = CLIENTS / nodes.len() as u64;
        let done = thread::scope(|scope| {
            let share = ACCOUNTS / nodes.len() as u64;
            let loads: Vec<_> = (0..)
                .zip(nodes)
                .map(|(place, node)| {
                    let accounts = place * share..(place + 1) * share;
                    scope.spawn(move || self.load_of(node, kind, clients, len, accounts))
                })
                .collect();
            let ended = loads.into_iter().map(|load| load.join());
            ended
                .map(|load| load.expect("a load does not panic"))
                .collect::<anyhow::Result<Vec<_>>>()
        })?;
        let after = spent()?;
        let count = done.iter().map(|done| done.count).sum::<u64>() as f64;
        Ok(Cost {
            rate: done.iter().map(crate::load::Done::per_second).sum(),
            servers: (after.0 - before.0) / count,
            database: (after.1 - before.1) / count,
            flushes: before
                .2
                .zip(after.2)
                .map(|(before, after)| (after - before) as f64 / count),
        })
    }
}

/// User and system time of all children of a process, those that have ended included, in
/// microseconds.
fn cpu_of_children(pid: u32) -> anyhow::Result<f64> {
    let mut ticks = 0;
    for entry in fs::read_dir("/proc")? {
        let Ok(text) = fs::read_to_string(entry?.path().join("stat")) else {
            continue;
        };
        // The name, in parentheses, may contain anything.
        let (head, rest) = text.rsplit_once(')').context("a process has a name")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok());
        let is_itself = head.split(' ').next() == Some(pid.to_string().as_str());
        // The state is field 3 of the line and the first here.
        let (parent, user, system) = (field(1), field(11), field(12));
        if parent == Some(u64::from(pid)) {
            ticks += user.unwrap_or(0) + system.unwrap_or(0);
        }
        if is_itself {
            let ended = [field(13), field(14)];
            ticks += ended.into_iter().flatten().sum::<u64>();
        }
    }
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Ok(ticks as f64 / per_second * 1e6)
}
