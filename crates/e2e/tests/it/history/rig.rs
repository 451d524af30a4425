//! What a failover does to devices, on three nodes of PostgreSQL of which Patroni promotes one when
//! the leader fails. `scripts/ha-rig` starts the cluster and runs these tests, one after the other.

mod asynchronous;
mod script;
mod synchronous;

use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::load::Gap;
use super::proxy::{Backends, Proxy};
use super::{Planted, World, nodes, with_clients};
use crate::support::Server;

const SERVERS: usize = 3;
/// A leader is taken for dead after 20 s, and a busy machine needs a while for the rest.
const FAILOVER_TIME_MAX: Duration = Duration::from_secs(120);

fn script() -> Command {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/ha-rig"))
}

/// The cluster that `scripts/ha-rig` has started.
struct Rig {
    store: String,
}

impl Rig {
    /// Waits until all nodes are in step. `mode` says whether a commit waits for a standby.
    fn new(mode: &str) -> Self {
        let variable = |name: &str| {
            env::var(name)
                .unwrap_or_else(|_| panic!("{name} is not set: run this by scripts/ha-rig"))
        };
        assert_eq!(variable("PASSMATE_HA_RIG_MODE"), mode);
        let store = format!("{}?deadline=2", variable("PASSMATE_HA_RIG_URL"));
        let rig = Self { store };
        rig.call(&["wait"]);
        rig
    }

    /// Calls the script, and returns what it prints.
    #[track_caller]
    fn call(&self, words: &[&str]) -> String {
        let output = script().args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn leader(&self) -> String {
        self.call(&["leader"])
    }

    /// Servers that share the cluster, and a key.
    fn start_servers(&self, dir: &Path) -> Vec<Server> {
        let mut servers = vec![nodes::start(&dir.join("0"), &self.store)];
        for node in 1..SERVERS {
            let data_dir = nodes::data_dir_of(dir, node);
            servers.push(nodes::start(&data_dir, &self.store));
        }
        servers
    }
}

/// Servers on a cluster, and clients that use them.
struct Run<'a> {
    rig: &'a Rig,
    world: &'a World,
    servers: &'a [Server],
    /// The folder with the data dirs of the servers.
    dir: &'a Path,
    load: Gap<Box<dyn Fn() -> u64 + 'a>>,
}

/// Clients append to shared accounts through three servers, and a checker judges what they see, while
/// `act` lets nodes fail. Each server logs when the database fails and when it works again, and
/// nothing has to be restarted.
fn run<T>(rig: &Rig, dir: &Path, act: impl FnOnce(&mut Run<'_>) -> T) -> T {
    let servers = rig.start_servers(dir);
    let mut chance = fastrand::Rng::new();
    let backends: Backends = Arc::default();
    *backends.lock() = servers.iter().map(|server| server.address()).collect();
    let proxy = Proxy::start(backends, chance.fork());
    let world = World::new(Planted::Nothing, servers[0].pin);
    let done = with_clients(&world, &proxy, &mut chance, || {
        act(&mut Run {
            rig,
            world: &world,
            servers: &servers,
            dir,
            load: world.load(),
        })
    });
    for server in servers {
        let log = server.log();
        let lines = |part: &str| log.lines().filter(|line| line.contains(part)).count();
        let (fails, works) = (
            lines("database cannot be used"),
            lines("database works again"),
        );
        assert!(
            fails > 0 && fails == works && lines("panicked") == 0,
            "{log}"
        );
    }
    done
}
