//! A commit waits for no standby: a failover loses what was confirmed last. Devices notice each
//! loss, tell their users, and store again what is missing. Some of the devices are `passmate`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use passmate_core::sync::{SyncError, Transport};
use passmate_proto::{AccountNumber, AuthToken};
use passmate_vault::format::{btoken, decode_btoken};
use passmate_vault::{SyncKey, Vault};

use super::{FAILOVER_TIME_MAX, Rig, run};
use crate::history::checker::Fault;
use crate::history::load::{End, Gap};
use crate::history::nodes;
use crate::support::Server;
use crate::support::device::Device;
use crate::support::exchange::remote;
use crate::support::program::Home;

/// Accounts whose devices are in this process.
const ACCOUNTS: usize = 5;
/// Accounts whose devices are `passmate`.
const ACCOUNTS_OF_PROGRAMS: usize = 2;
const DEVICES: usize = 2;
/// Exit code: the server returned older data.
const OLDER: i32 = 25;
/// Exit code: network.
const NETWORK: i32 = 20;

#[test]
#[ignore = "scripts/ha-rig runs it"]
fn each_loss_is_noticed_and_healed() {
    let rig = Rig::new("asynchronous");
    let dir = tempfile::tempdir().unwrap();
    let servers = rig.start_servers(dir.path());
    let mut accounts: Vec<Account> = (0..ACCOUNTS)
        .map(|number| Account::in_process(number, &servers))
        .chain(
            (ACCOUNTS..ACCOUNTS + ACCOUNTS_OF_PROGRAMS)
                .map(|number| Account::of_programs(number, &servers)),
        )
        .collect();

    let leader = rig.leader();
    let killed = load_until_killed(&rig, &leader, &mut accounts, &servers);
    let confirmed: usize = accounts
        .iter()
        .map(|account| account.confirmed().count())
        .sum();
    let mut lost = Vec::new();
    for (account, server) in accounts.iter().zip(servers.iter().cycle()) {
        let there = account.stored(server);
        let gone = account.confirmed().filter(|path| !there.contains(*path));
        let gone: Vec<String> = gone.cloned().collect();
        lost.push(gone);
    }
    let gap = killed.elapsed();
    let knew: Vec<Vec<BTreeSet<String>>> = accounts
        .iter()
        .map(|account| account.devices.iter().map(Member::paths).collect())
        .collect();

    // All devices go on at the same time.
    let noticed = sync_all(&mut accounts, &servers, true);
    let mut reports = [0, 0];
    for (((account, lost), knew), noticed) in accounts.iter().zip(&lost).zip(&knew).zip(&noticed) {
        for path in lost {
            let mut devices = knew.iter().zip(noticed);
            let is_noticed = devices.any(|(knew, noticed)| *noticed && knew.contains(path));
            assert!(
                is_noticed,
                "{path} is lost, and no device of its account says so"
            );
        }
        let count = noticed.iter().filter(|noticed| **noticed).count();
        reports[usize::from(account.is_of_programs)] += count;
    }
    let lost: usize = lost.iter().map(Vec::len).sum();
    println!(
        "{confirmed} confirmed updates, {lost} lost; noticed by {} devices and by {} programs, which \
         end with {OLDER}; {gap:.1?} without a leader",
        reports[0], reports[1]
    );
    assert!(lost > 0 && reports.iter().all(|count| *count > 0));

    // Everything is healed on the server, and then on all devices. No loss is told of twice.
    sync_all(&mut accounts, &servers, false);
    check_healed(&mut accounts, &servers);
    // The old leader has what was lost. It throws that away and follows the new one.
    rig.call(&["start", &leader]);
    rig.call(&["wait"]);
    assert_ne!(rig.leader(), leader);
    check_healed(&mut accounts, &servers);
}

#[test]
#[ignore = "scripts/ha-rig runs it"]
fn the_checker_of_histories_finds_a_loss() {
    let rig = Rig::new("asynchronous");
    let dir = tempfile::tempdir().unwrap();
    let leader = rig.leader();
    let violation = run(&rig, dir.path(), |run| {
        run.load.wait(100, Duration::ZERO);
        rig.call(&["hold", &leader]);
        run.load.wait(100, Duration::ZERO);
        rig.call(&["kill", &leader]);
        let begun = Instant::now();
        while !run.world.is_over() && begun.elapsed() < FAILOVER_TIME_MAX {
            thread::sleep(Duration::from_millis(10));
        }
        // All servers work again.
        nodes::look(run.world, run.servers.iter());
        run.world.violation.lock().clone()
    });
    let fault = violation.as_ref().map(|violation| violation.fault);
    assert!(
        matches!(fault, Some(Fault::Loss | Fault::Fork | Fault::Revival)),
        "{violation:?}"
    );
    rig.call(&["start", &leader]);
    rig.call(&["wait"]);
}

/// Kills the leader under load, some time after it has sent anything to its standbys. Returns when.
fn load_until_killed(
    rig: &Rig,
    leader: &str,
    accounts: &mut [Account],
    servers: &[Server],
) -> Instant {
    let (is_over, is_killed) = (AtomicBool::new(false), AtomicBool::new(false));
    let devices: Vec<_> = accounts
        .iter_mut()
        .flat_map(|account| &mut account.devices)
        .collect();
    let counts: Vec<AtomicU64> = devices.iter().map(|_| AtomicU64::new(0)).collect();
    // Each device has so many more updates confirmed; the first of them may have begun before.
    let each_has = |more: u64| {
        let before: Vec<u64> = counts
            .iter()
            .map(|count| count.load(Ordering::SeqCst))
            .collect();
        let count = || {
            let now = counts.iter().map(|count| count.load(Ordering::SeqCst));
            now.zip(&before)
                .map(|(now, before)| now - before)
                .min()
                .unwrap_or(0)
        };
        Gap::new(count).wait(more, Duration::ZERO);
    };
    thread::scope(|scope| {
        let _end = End(&is_over);
        for (device, count) in devices.into_iter().zip(&counts) {
            let (is_over, is_killed) = (&is_over, &is_killed);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    device.add();
                    match device.sync(servers) {
                        Synced::Stored => drop(count.fetch_add(1, Ordering::SeqCst)),
                        // A sync that began before the kill may end after the failover.
                        Synced::Noticed => {
                            let is_lost = is_killed.load(Ordering::SeqCst);
                            assert!(is_lost, "{}: nothing is lost yet", device.name);
                            device.noticed = true;
                        }
                        Synced::Failed => {}
                    }
                    // The programs need the processors too.
                    thread::sleep(device.pause());
                }
            });
        }
        each_has(1);
        rig.call(&["hold", leader]);
        each_has(2);
        is_killed.store(true, Ordering::SeqCst);
        rig.call(&["kill", leader]);
        Instant::now()
    })
}

/// Each device of each account syncs until that succeeds, all at the same time. Returns which of them
/// say that the server returned older data.
fn sync_all(accounts: &mut [Account], servers: &[Server], adds: bool) -> Vec<Vec<bool>> {
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for account in accounts {
            let devices = account.devices.iter_mut();
            let devices =
                devices.map(|device| scope.spawn(move || device.sync_to_end(servers, adds)));
            threads.push(devices.collect::<Vec<_>>());
        }
        let join = |devices: Vec<thread::ScopedJoinHandle<'_, bool>>| {
            devices
                .into_iter()
                .map(|device| device.join().unwrap())
                .collect()
        };
        threads.into_iter().map(join).collect()
    })
}

/// Checks that all devices have everything that any device of their account has made, that the server
/// has it, and that there is nothing to report.
#[track_caller]
fn check_healed(accounts: &mut [Account], servers: &[Server]) {
    let noticed = sync_all(accounts, servers, false);
    assert!(
        noticed.iter().flatten().all(|noticed| !noticed),
        "{noticed:?}"
    );
    for account in accounts.iter() {
        let made = account.devices.iter().flat_map(|device| &device.added);
        let made: BTreeSet<String> = made.cloned().collect();
        for device in &account.devices {
            assert_eq!(device.paths(), made, "{}", device.name);
        }
        assert_eq!(account.stored(&servers[0]), made);
    }
}

/// What became of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Synced {
    Stored,
    /// The device says that the server returned older data.
    Noticed,
    Failed,
}

/// An account and its devices.
struct Account {
    key: SyncKey,
    devices: Vec<Member>,
    is_of_programs: bool,
}

impl Account {
    fn in_process(number: usize, servers: &[Server]) -> Self {
        let first = Device::first(&servers[0]);
        let key = first.key();
        let more =
            (1..DEVICES).map(|device| Device::joined(&servers[device % servers.len()], &key));
        let more: Vec<Device> = more.collect();
        let devices = std::iter::once(first).chain(more);
        Self::new(
            key,
            devices.map(|device| Kind::InProcess(Box::new(device))),
            number,
        )
    }

    fn of_programs(number: usize, servers: &[Server]) -> Self {
        let homes: Vec<Home> = (0..DEVICES).map(|_| Home::new()).collect();
        let mut key = String::new();
        for (home, server) in homes.iter().zip(servers.iter().cycle()) {
            home.run(&["init"]).ok();
            let (address, pin) = (server.address().to_string(), server.pin.to_string());
            let mut words = vec!["sync", "setup", &address, "--pin", &pin];
            let file = home.path().join("key");
            if !key.is_empty() {
                std::fs::write(&file, &key).unwrap();
                words.extend(["--key-file", file.to_str().unwrap()]);
            }
            home.run(&words).ok();
            key = home.run(&["sync", "key"]).ok();
        }
        let key = SyncKey::parse(key.trim()).unwrap();
        let account = Self::new(key, homes.into_iter().map(Kind::Program), number);
        Self {
            is_of_programs: true,
            ..account
        }
    }

    fn new(key: SyncKey, devices: impl Iterator<Item = Kind>, number: usize) -> Self {
        let member = |(device, kind)| Member {
            kind,
            name: format!("account-{number}/device-{device}"),
            added: Vec::new(),
            confirmed: 0,
            noticed: false,
        };
        Self {
            key,
            devices: devices.enumerate().map(member).collect(),
            is_of_programs: false,
        }
    }

    /// The records whose storing was confirmed to their device.
    fn confirmed(&self) -> impl Iterator<Item = &String> {
        let devices = self.devices.iter();
        devices.flat_map(|device| device.added.iter().take(device.confirmed))
    }

    /// The records that a server has, which is waited for.
    fn stored(&self, server: &Server) -> BTreeSet<String> {
        let account = AccountNumber::from_bytes(self.key.account()).unwrap();
        let begun = Instant::now();
        loop {
            assert!(
                begun.elapsed() < FAILOVER_TIME_MAX,
                "the account cannot be read"
            );
            let token = AuthToken::new(*self.key.derive_auth_token().as_bytes());
            let connection = remote(server).connect();
            let Some(fetched) = connection
                .ok()
                .and_then(|one| one.update(account, token).ok())
            else {
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            let plaintext = btoken::open(fetched.btoken(), &self.key).unwrap();
            fetched.leave();
            return paths(&decode_btoken(&plaintext).unwrap().vault);
        }
    }
}

enum Kind {
    InProcess(Box<Device>),
    Program(Home),
}

/// A device, and the records that it has made.
struct Member {
    kind: Kind,
    name: String,
    added: Vec<String>,
    /// So many of the added records are stored, as the device was told.
    confirmed: usize,
    /// It has said in the load that the server returned older data.
    noticed: bool,
}

impl Member {
    /// Makes a record.
    fn add(&mut self) {
        let path = format!("{}/{}", self.name, self.added.len());
        match &mut self.kind {
            Kind::InProcess(device) => device.add(&path, "secret"),
            Kind::Program(home) => drop(home.run_with(&["set", &path, "password"], "secret").ok()),
        }
        self.added.push(path);
    }

    /// Between two updates.
    fn pause(&self) -> Duration {
        match self.kind {
            Kind::InProcess(_) => Duration::from_millis(200),
            Kind::Program(_) => Duration::ZERO,
        }
    }

    /// Syncs once: with any server, if it is no program.
    fn sync(&mut self, servers: &[Server]) -> Synced {
        let synced = match &mut self.kind {
            Kind::InProcess(device) => {
                match device.sync(&servers[fastrand::usize(..servers.len())]) {
                    Ok(report) if report.rollback.is_none() && report.anomalies.is_empty() => {
                        Synced::Stored
                    }
                    Ok(_) | Err(SyncError::RolledBack { .. }) => Synced::Noticed,
                    Err(_) => Synced::Failed,
                }
            }
            Kind::Program(home) => {
                let said = home.run(&["sync"]);
                match said.code {
                    0 => Synced::Stored,
                    OLDER => Synced::Noticed,
                    _ => {
                        said.failed(NETWORK);
                        Synced::Failed
                    }
                }
            }
        };
        if synced == Synced::Stored {
            self.confirmed = self.added.len();
        }
        synced
    }

    /// Syncs until everything is stored. Returns whether it said that the server returned older data.
    fn sync_to_end(&mut self, servers: &[Server], adds: bool) -> bool {
        if adds {
            self.add();
        }
        let begun = Instant::now();
        let mut noticed = std::mem::take(&mut self.noticed);
        loop {
            assert!(
                begun.elapsed() < FAILOVER_TIME_MAX,
                "{} cannot sync",
                self.name
            );
            match self.sync(servers) {
                Synced::Stored => return noticed,
                Synced::Noticed => noticed = true,
                Synced::Failed => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn paths(&self) -> BTreeSet<String> {
        match &self.kind {
            Kind::InProcess(device) => paths(device.session.vault()),
            Kind::Program(home) => {
                let listed = home.run(&["ls", "--flat"]).ok();
                listed.lines().map(str::to_owned).collect()
            }
        }
    }
}

fn paths(vault: &Vault) -> BTreeSet<String> {
    let view = vault.view();
    let records = view.records().iter();
    records
        .map(|record| record.path.to_string_lossy().into_owned())
        .collect()
}
