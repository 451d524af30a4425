//! The network between one of three servers and the database loses all packets for a while, and
//! tells nobody. Clients still reach the server.
//!
//! The test runs in a network namespace of its own, and the server in another one, so that nothing
//! changes outside of them.

use std::env;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use passmate_core::sync::Transport;
use passmate_testkit::postgres::Cluster;
use passmate_testkit::wait::until;
use rustix::process::geteuid;

use super::proxy::{Backends, Proxy};
use super::{Planted, World, nodes, with_clients};
use crate::support::{Server, operate};

/// Set within the namespace of the test.
const INSIDE: &str = "PASSMATE_TEST_NAMESPACE";
const CUTS: usize = 3;
/// Confirmations before, during and after a cut.
const UPDATES: u64 = 150;
/// The links of the server, with the addresses of both ends: ours, which has the name, and its own.
const CLIENT_LINK: [&str; 3] = ["clients", "192.0.2.1", "192.0.2.2"];
const DATABASE_LINK: [&str; 3] = ["database", "192.0.2.5", "192.0.2.6"];

#[test]
fn a_server_that_is_cut_off_from_the_database_comes_back() {
    if env::var_os(INSIDE).is_some() {
        return check();
    }
    if !geteuid().is_root() {
        eprintln!("not run: needs root");
        return;
    }
    // Links that end in a process need the namespace of a process, and that needs rights.
    let script = "ip link set lo up && ip link add name a0 type veth peer name a1 && \
                  ip link delete a0 && exec \"$@\"";
    let inside = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", script, "sh"]);
        command.args(words).env(INSIDE, "1").stdin(Stdio::null());
        command.output().unwrap()
    };
    let tried = inside(&["nsenter", "--version"]);
    if !tried.status.success() {
        let complaint = String::from_utf8_lossy(&tried.stderr).into_owned();
        assert!(
            env::var_os("CI").is_none(),
            "CI must be able to make network namespaces: {complaint}"
        );
        eprintln!("not run: this system makes no network namespaces ({complaint})");
        return;
    }
    let program = env::current_exe().unwrap();
    let (room, name) = module_path!().split_once("::").unwrap();
    let name = format!("{name}::a_server_that_is_cut_off_from_the_database_comes_back");
    assert_eq!(room, "it");
    let words = [program.to_str().unwrap(), "--exact", &name, "--nocapture"];
    let output = inside(&words);
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"));
}

fn check() {
    let dir = tempfile::tempdir().unwrap();
    let namespace = Namespace::new();
    let listen = format!("--listen_addresses={}", DATABASE_LINK[1]);
    let cluster = Cluster::prepared(&[&listen], |folder| {
        let local = "local all all trust";
        let rules = format!(
            "{local}\nhost all all {}/32 scram-sha-256\n",
            DATABASE_LINK[2]
        );
        std::fs::write(folder.join("data/pg_hba.conf"), rules).unwrap();
    });
    cluster.sql("ALTER ROLE postgres PASSWORD 'hunter2'");
    let near = format!("{}?deadline=1", cluster.url());
    let far = format!(
        "postgres://postgres:hunter2@{}/passmate?deadline=1&sslmode=disable",
        DATABASE_LINK[1]
    );
    let data_dir = |node| nodes::data_dir_of(dir.path(), node);
    let mut servers = vec![nodes::start(&dir.path().join("0"), &near)];
    servers.push(nodes::start(&data_dir(1), &near));
    servers.push(namespace.start(&data_dir(2), &far));
    let cut_off = &servers[2];

    let mut chance = fastrand::Rng::new();
    let backends: Backends = Arc::default();
    *backends.lock() = servers.iter().map(|server| server.address()).collect();
    let proxy = Proxy::start(backends, chance.fork());
    let world = World::new(Planted::Nothing, servers[0].pin);
    let works = || nodes::works(&world, cut_off);
    let mut pauses = chance.fork();
    let (confirmed, longest) = with_clients(&world, &proxy, &mut chance, || {
        let mut load = world.load();
        for _ in 0..CUTS {
            load.wait(UPDATES, Duration::ZERO);
            namespace.cut();
            until("the server lets nobody in", || {
                world.remote(cut_off.address()).connect().is_err()
            });
            load.wait(UPDATES, Duration::from_millis(pauses.u64(0..3_000)));
            assert!(!works(), "it has no database");
            namespace.mend();
            until("the server works again", works);
        }
        load.wait(UPDATES, Duration::ZERO);
        nodes::look(&world, servers.iter());
        (load.look(), load.longest)
    });
    println!("{CUTS} cuts: {confirmed} confirmed, none lost, longest gap {longest:.1?}");
    cut_off.wait_for_log("the database cannot be used");
    cut_off.wait_for_log("the database works again");
    operate(&dir.path().join("0"), &["verify", "--store", &near]).ok();
}

/// A network namespace with two links to this one. It and its links end with a process in it.
struct Namespace {
    process: Child,
}

impl Namespace {
    fn new() -> Self {
        let mut sleep = Command::new("setpriv");
        sleep.args([
            "--pdeathsig=KILL",
            "--",
            "unshare",
            "--net",
            "--",
            "sleep",
            "infinity",
        ]);
        let process = sleep.stdin(Stdio::null()).spawn().unwrap();
        let namespace = Self { process };
        let id = namespace.id().to_string();
        let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).unwrap();
        until("the namespace is there", || of(&id) != of("self"));
        for [name, ours, own] in [CLIENT_LINK, DATABASE_LINK] {
            let peer = ["type", "veth", "peer", "name", name, "netns", &id];
            ip(&[["link", "add", "name", name].as_slice(), &peer].concat());
            ip(&["address", "add", &format!("{ours}/30"), "dev", name]);
            ip(&["link", "set", name, "up"]);
            namespace.ip(&["address", "add", &format!("{own}/30"), "dev", name]);
            namespace.ip(&["link", "set", name, "up"]);
        }
        namespace
    }

    fn id(&self) -> u32 {
        self.process.id()
    }

    fn ip(&self, words: &[&str]) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.id()));
        run(command.args(["--", "ip"]).args(words));
    }

    fn start(&self, data_dir: &Path, store: &str) -> Server {
        let listen = format!("{}:0", CLIENT_LINK[2]);
        let clients = format!("{}/32", CLIENT_LINK[1]);
        let words = [
            "--listen",
            &listen,
            "--store",
            store,
            "--limit-exempt",
            &clients,
        ];
        Server::start_in(self.id(), data_dir, &words)
    }

    /// From now on, what either side sends to the other one is lost.
    fn cut(&self) {
        ip(&["link", "set", DATABASE_LINK[0], "down"]);
    }

    fn mend(&self) {
        ip(&["link", "set", DATABASE_LINK[0], "up"]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ip(words: &[&str]) {
    run(Command::new("ip").args(words));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
