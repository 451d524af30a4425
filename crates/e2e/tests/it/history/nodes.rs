//! Three servers on one PostgreSQL database. Servers are killed, stopped and suspended, the database
//! is killed and stands still, and the network cuts connections. The checker is the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use passmate_core::sync::Transport;
use passmate_proto::AuthToken;
use passmate_testkit::postgres::Cluster;
use passmate_testkit::wait::until;
use rustix::process::Signal;

use super::checker::{Fault, Violation};
use super::overwriting::Overwriting;
use super::proxy::{Backends, Proxy};
use super::{Planted, SECONDS, World, act_until, list, with_clients};
use crate::support::{Server, operate};

const NODES: usize = 3;
/// A server is suspended for so many milliseconds at most; in a run that somebody has made longer,
/// until the database has cut off its transaction.
const SUSPENSION_MAX: u64 = 3_000;
const LONG_SUSPENSION_MAX: u64 = 30_000;
/// The servers give up soon, so that a database which stands still for longer is noticed.
const DEADLINE: u64 = 1;

/// What is wrong with the database on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fake {
    Nothing,
    /// It goes back to what it was earlier, again and again.
    Forgets,
    /// It writes a btoken over whatever is there.
    Overwrites,
}

#[test]
fn a_history_of_three_servers_on_one_database_is_correct() {
    let seconds = std::env::var("PASSMATE_HISTORY_SECONDS")
        .map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let figures = run(seconds, Fake::Nothing, |figures| {
        figures.confirmed > 100 && figures.kills > 1 && figures.database_kills > 1
    });
    println!("{figures:?}");
    assert_eq!(figures.violation, None, "{figures:?}");
}

#[test]
fn a_database_that_forgets_commits_is_found() {
    found(Fake::Forgets, &[Fault::Loss, Fault::Fork, Fault::Revival]);
}

#[test]
fn a_database_that_writes_over_what_it_has_not_compared_is_found() {
    found(Fake::Overwrites, &[Fault::Loss, Fault::Fork]);
}

#[track_caller]
fn found(fake: Fake, faults: &[Fault]) {
    let figures = run(0, fake, |figures| figures.violation.is_some());
    let violation = figures.violation.as_ref();
    assert!(
        violation.is_some_and(|violation| faults.contains(&violation.fault)),
        "{figures:?}"
    );
}

/// What happened in a run.
#[derive(Debug, Clone, Default)]
struct Figures {
    confirmed: u64,
    kills: u32,
    stops: u32,
    suspensions: u32,
    database_kills: u32,
    database_pauses: u32,
    looks: u32,
    violation: Option<Violation>,
}

/// Runs until `is_enough` after at least so many seconds, or until a violation.
fn run(seconds: u64, fake: Fake, is_enough: impl Fn(&Figures) -> bool) -> Figures {
    let dir = tempfile::tempdir().unwrap();
    let seed = u64::from(std::process::id()) ^ fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut cluster = Cluster::new();
    let overwriting = (fake == Fake::Overwrites).then(|| Overwriting::before(&cluster));
    let url = overwriting
        .as_ref()
        .map_or_else(|| cluster.url(), Overwriting::url);
    let store = format!("{url}?deadline={DEADLINE}");
    let first = start(&dir.path().join("0"), &store);
    let backends: Backends = Arc::default();
    let proxy = Proxy::start(Arc::clone(&backends), chance.fork());
    let world = World::new(Planted::Nothing, first.pin);
    let mut nodes = vec![first];
    for node in 1..NODES {
        nodes.push(start(&data_dir_of(dir.path(), node), &store));
    }
    let mut operator = Operator {
        world: &world,
        dir: dir.path(),
        store,
        nodes: nodes.into_iter().map(Some).collect(),
        backends,
        cluster: &mut cluster,
        fake,
        suspension_max: match seconds > SECONDS {
            true => LONG_SUSPENSION_MAX,
            false => SUSPENSION_MAX,
        },
        chance: chance.fork(),
        figures: Figures::default(),
    };
    operator.connect();
    with_clients(&world, &proxy, &mut chance, || {
        act_until(&world, seconds, || {
            operator.act();
            operator.figures.confirmed = world.checker.lock().confirmed_count();
            operator.figures.violation = world.violation.lock().clone();
            is_enough(&operator.figures)
        });
        operator.look();
        operator.figures.violation = world.violation.lock().clone();
    });
    if fake == Fake::Nothing {
        let words = ["verify", "--store", &operator.store];
        operate(&dir.path().join("0"), &words).ok();
    }
    operator.figures.clone()
}

/// The data dir of one more server. Devices pin one key, so it has the key of the first one, which
/// was started already.
pub(super) fn data_dir_of(dir: &Path, node: usize) -> PathBuf {
    let data_dir = dir.join(node.to_string());
    std::fs::create_dir(&data_dir).unwrap();
    for file in ["key.pem", "cert.pem"] {
        std::fs::copy(dir.join("0").join(file), data_dir.join(file)).unwrap();
    }
    data_dir
}

pub(super) fn start(data_dir: &Path, store: &str) -> Server {
    let mut words = vec!["--listen", "127.0.0.1:0", "--listen-v2", "127.0.0.1:0"];
    words.extend(["--store", store]);
    Server::start_with(data_dir, &words)
}

/// Runs the servers and the database, and makes their life hard.
struct Operator<'a> {
    world: &'a World,
    dir: &'a Path,
    store: String,
    nodes: Vec<Option<Server>>,
    backends: Backends,
    cluster: &'a mut Cluster,
    fake: Fake,
    suspension_max: u64,
    chance: fastrand::Rng,
    figures: Figures,
}

impl Operator<'_> {
    fn act(&mut self) {
        // Clients work meanwhile; this is no wait for an event.
        thread::sleep(Duration::from_millis(self.chance.u64(20..500)));
        if self.fake == Fake::Forgets {
            self.forget();
        }
        match self.chance.u8(0..100) {
            0..25 => self.kill_node(),
            25..35 => self.stop_node(),
            35..55 => self.suspend(),
            55..70 => self.kill_database(),
            70..85 => self.pause_database(),
            _ => self.look(),
        }
    }

    fn data_dir(&self, node: usize) -> PathBuf {
        self.dir.join(node.to_string())
    }

    /// Lets clients reach the servers that are there, in both layouts.
    fn connect(&self) {
        let there = self.nodes.iter().flatten();
        let addresses = there.flat_map(|server| server.addresses.clone());
        *self.backends.lock() = addresses.collect();
    }

    fn kill_node(&mut self) {
        self.end_node(Server::kill);
        self.figures.kills += 1;
    }

    fn stop_node(&mut self) {
        self.end_node(Server::stop);
        self.figures.stops += 1;
    }

    /// Ends a server while the others go on, and starts it again.
    fn end_node(&mut self, end: fn(Server)) {
        let node = self.chance.usize(0..NODES);
        let server = self.nodes[node].take().unwrap();
        self.connect();
        end(server);
        thread::sleep(Duration::from_millis(self.chance.u64(0..300)));
        self.nodes[node] = Some(start(&self.data_dir(node), &self.store));
        self.connect();
    }

    /// Suspends a server, maybe in the middle of a transaction, while clients still come to it.
    fn suspend(&mut self) {
        let node = self.chance.usize(0..NODES);
        let server = self.nodes[node].as_ref().unwrap();
        server.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(
            self.chance.u64(10..self.suspension_max),
        ));
        server.signal(Signal::CONT);
        self.figures.suspensions += 1;
    }

    fn kill_database(&mut self) {
        self.cluster.kill();
        self.cluster.start();
        self.cluster.wait();
        self.figures.database_kills += 1;
    }

    fn pause_database(&mut self) {
        self.cluster.pause();
        thread::sleep(Duration::from_millis(self.chance.u64(10..2_500)));
        self.cluster.resume();
        self.figures.database_pauses += 1;
    }

    /// Every second time, the database gets the accounts that it had the time before.
    fn forget(&mut self) {
        let sql = "BEGIN; DELETE FROM passmate.account;
             INSERT INTO passmate.account SELECT * FROM earlier; DROP TABLE earlier; COMMIT";
        let is_there = self
            .cluster
            .sql("SELECT to_regclass('earlier') IS NOT NULL")
            == "t";
        match is_there {
            true => self.cluster.sql(sql),
            false => self
                .cluster
                .sql("CREATE TABLE earlier AS SELECT * FROM passmate.account"),
        };
    }

    fn look(&mut self) {
        look(self.world, self.nodes.iter().flatten());
        self.figures.looks += 1;
    }
}

/// Whether a server makes an account, which nobody uses.
pub(super) fn works(world: &World, server: &Server) -> bool {
    let connection = world.remote(server.address()).connect();
    let token = AuthToken::new([9; 32]);
    connection.is_ok_and(|connection| connection.create(token, vec![0]).is_ok())
}

/// Looks at all accounts through each server, while nobody else does anything and without a network
/// in between.
pub(super) fn look<'a>(world: &World, servers: impl Iterator<Item = &'a Server>) {
    let _alone = world.exchange.write();
    for server in servers {
        // A server notices by itself that its database is back.
        until("the server works", || works(world, server));
        let accounts = world.accounts.read().clone();
        let gone = world.gone.lock().clone();
        for account in accounts.into_iter().chain(gone) {
            let begun = world.checker.lock().moment();
            let fetched = world.remote(server.address()).connect().unwrap();
            let verdict = match fetched.update(account.number, account.token()) {
                Ok(fetched) => {
                    let list = list::decode(fetched.btoken()).expect("a whole btoken");
                    fetched.leave();
                    world.revive(account);
                    world.checker.lock().seen(account.number, begun, &list)
                }
                Err(_) => {
                    world.retire(account);
                    world.checker.lock().missing(account.number)
                }
            };
            world.judge(verdict);
        }
    }
    world.forget();
}
