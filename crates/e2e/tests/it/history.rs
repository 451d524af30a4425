//! Histories of many clients that share accounts, while their server is killed, stopped and
//! suspended, backed up and restored, and the network cuts connections. A checker decides whether
//! what the clients saw can be right, and proves with planted faults that it would notice.

mod checker;
mod cut_off;
mod list;
mod load;
mod nodes;
mod overwriting;
mod proxy;
mod rig;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use passmate_core::net::trust::TlsTrust;
use passmate_core::net::{Address, Deadlines, Server as Remote};
use passmate_core::sync::Transport;
use passmate_proto::{AccountNumber, AuthToken, Outcome};
use passmate_vault::{Pin, Trust};
use rustix::process::Signal;

use checker::{Backup, Checker, Fault, Op, Violation};
use load::{End, Gap};
use proxy::{Backends, Proxy};

use crate::support::{Server, data, operate};

/// Seconds of the run without a planted fault, unless `PASSMATE_HISTORY_SECONDS` sets another
/// number.
const SECONDS: u64 = 60;
/// A planted fault must be found within this time.
const PLANTED_SECONDS: u64 = 60;
const CLIENTS: usize = 8;
const ACCOUNTS_MAX: usize = 6;
/// Deleted accounts that clients still try to use.
const GONE_MAX: usize = 20;
/// An account with more ops is deleted.
const OPS_MAX: usize = 200;
/// Backups to choose from.
const BACKUPS_MAX: usize = 4;
/// Exchanges are quick, or something is wrong on purpose.
const DEADLINES: Deadlines = Deadlines {
    connect: Duration::from_secs(2),
    silence: Duration::from_secs(5),
    total: Duration::from_secs(10),
    all: Duration::from_secs(10),
};

/// A fault of the harness that looks like one of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// After a kill the server runs on an earlier copy of its data.
    EarlierData,
    /// A second server runs on a copy of the data, and serves half of the connections.
    SecondServer,
    /// A client takes a cut for a confirmation.
    CutConfirms,
    /// A client takes a deletion for confirmed that the server never got.
    DeletesNothing,
    /// A client takes an unknown outcome for a failure.
    CutFails,
}

#[test]
fn a_history_with_kills_cuts_and_restores_is_correct() {
    let seconds = std::env::var("PASSMATE_HISTORY_SECONDS")
        .map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let figures = run(Planted::Nothing, seconds, |figures| {
        // Enough of everything for a verdict that means something, on a slow machine too.
        figures.confirmed > 100 && figures.kills > 0 && figures.restores > 0
    });
    println!("{figures:?}");
    assert_eq!(figures.violation, None, "{figures:?}");
}

#[test]
fn a_server_on_earlier_data_is_found() {
    found(Planted::EarlierData, &[Fault::Loss, Fault::Revival]);
}

#[test]
fn two_servers_on_copies_are_found() {
    found(Planted::SecondServer, &[Fault::Loss, Fault::Fork]);
}

#[test]
fn a_confirmation_without_a_commit_is_found() {
    found(Planted::CutConfirms, &[Fault::Loss, Fault::Fork]);
}

#[test]
fn a_deletion_without_a_commit_is_found() {
    found(Planted::DeletesNothing, &[Fault::Revival]);
}

#[test]
fn a_failure_with_a_commit_is_found() {
    found(Planted::CutFails, &[Fault::Phantom]);
}

#[track_caller]
fn found(planted: Planted, faults: &[Fault]) {
    let figures = run(planted, 0, |figures| figures.violation.is_some());
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
    backups: u32,
    restores: u32,
    looks: u32,
    violation: Option<Violation>,
}

#[derive(Debug, Clone, Copy)]
struct Account {
    number: AccountNumber,
    token: [u8; 32],
}

impl Account {
    fn token(&self) -> AuthToken {
        AuthToken::new(self.token)
    }
}

/// What all threads of a run share.
struct World {
    planted: Planted,
    pin: Pin,
    checker: Mutex<Checker<AccountNumber>>,
    accounts: RwLock<Vec<Account>>,
    gone: Mutex<Vec<Account>>,
    /// Held by each exchange; whoever needs all of them to be over takes it alone.
    exchange: RwLock<()>,
    next_op: AtomicU64,
    violation: Mutex<Option<Violation>>,
    is_over: AtomicBool,
}

impl World {
    /// Without accounts. All servers have the key of this pin.
    fn new(planted: Planted, pin: Pin) -> Self {
        Self {
            planted,
            pin,
            checker: Mutex::new(Checker::new()),
            accounts: RwLock::default(),
            gone: Mutex::default(),
            exchange: RwLock::default(),
            next_op: AtomicU64::new(1),
            violation: Mutex::default(),
            is_over: AtomicBool::new(false),
        }
    }

    fn remote(&self, address: std::net::SocketAddr) -> Remote {
        let address = Address::new(&address.ip().to_string(), address.port()).unwrap();
        let trust = Trust::Pins {
            current: self.pin,
            next: None,
        };
        Remote::new(address, TlsTrust::new(&trust).unwrap()).with_deadlines(DEADLINES)
    }

    fn make_op(&self) -> Op {
        Op(self.next_op.fetch_add(1, Ordering::Relaxed))
    }

    fn judge(&self, verdict: Result<(), Violation>) {
        if let Err(violation) = verdict {
            self.violation.lock().get_or_insert(violation);
            self.is_over.store(true, Ordering::Relaxed);
        }
    }

    /// Counts confirmations, and stops a test at a violation.
    fn load(&self) -> Gap<Box<dyn Fn() -> u64 + '_>> {
        Gap::new(Box::new(|| {
            assert_eq!(*self.violation.lock(), None);
            self.checker.lock().confirmed_count()
        }))
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// No client uses the account any more, except to find out whether it is gone.
    fn retire(&self, account: Account) {
        self.accounts
            .write()
            .retain(|other| other.number != account.number);
        let mut gone = self.gone.lock();
        if gone.iter().all(|other| other.number != account.number) {
            gone.push(account);
        }
    }

    /// The account is there: a restore may have brought it back.
    fn revive(&self, account: Account) {
        self.gone
            .lock()
            .retain(|other| other.number != account.number);
        let mut accounts = self.accounts.write();
        if accounts.iter().all(|other| other.number != account.number) {
            accounts.push(account);
        }
    }

    /// Forgets the accounts that have been gone longest. No exchange is under way.
    fn forget(&self) {
        let mut gone = self.gone.lock();
        while gone.len() > GONE_MAX {
            let account = gone.remove(0);
            self.checker.lock().forget(account.number);
        }
    }
}

/// Runs until `is_enough` after at least so many seconds, or until a violation.
fn run(planted: Planted, seconds: u64, is_enough: impl Fn(&Figures) -> bool) -> Figures {
    let dir = tempfile::tempdir().unwrap();
    let seed = u64::from(std::process::id()) ^ fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let server = Server::start(&dir.path().join("data"));
    let backends: Backends = Arc::new(Mutex::new(vec![server.address()]));
    let proxy = Proxy::start(Arc::clone(&backends), chance.fork());
    let world = World::new(planted, server.pin);
    let mut operator = Operator {
        world: &world,
        dir: dir.path(),
        backends,
        server: Some(server),
        second: None,
        backups: Vec::new(),
        earlier: None,
        chance: chance.fork(),
        figures: Figures::default(),
    };
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
    operator.figures.clone()
}

/// Clients work through a proxy while `act` runs. They end with it, also when it panics.
fn with_clients<T>(
    world: &World,
    proxy: &Proxy,
    chance: &mut fastrand::Rng,
    act: impl FnOnce() -> T,
) -> T {
    thread::scope(|scope| {
        let _end = End(&world.is_over);
        for _ in 0..CLIENTS {
            let client = Client {
                world,
                proxy: proxy.address,
                chance: chance.fork(),
            };
            scope.spawn(move || client.run());
        }
        act()
    })
}

/// Acts for at least so many seconds, and then until `act` says that it is enough or it is late. A
/// violation ends it.
fn act_until(world: &World, seconds: u64, mut act: impl FnMut() -> bool) {
    let begun = Instant::now();
    loop {
        let is_enough = act();
        let elapsed = begun.elapsed().as_secs();
        let is_late = elapsed >= seconds + PLANTED_SECONDS;
        if world.is_over() || is_late || (elapsed >= seconds && is_enough) {
            return;
        }
    }
}

struct Client<'a> {
    world: &'a World,
    proxy: std::net::SocketAddr,
    chance: fastrand::Rng,
}

impl Client<'_> {
    fn run(mut self) {
        while !self.world.is_over() {
            let _exchange = self.world.exchange.read();
            let account = self
                .chance
                .choice(self.world.accounts.read().iter().copied());
            let Some(account) = account else {
                self.create();
                continue;
            };
            match self.chance.u8(0..100) {
                0..75 => self.update(account, true),
                75..85 => self.update(account, false),
                85..92 if self.world.accounts.read().len() < ACCOUNTS_MAX => self.create(),
                92..95 => self.delete(account),
                _ => {
                    let gone = self.chance.choice(self.world.gone.lock().iter().copied());
                    if let Some(gone) = gone {
                        self.update(gone, true);
                    }
                }
            }
        }
    }

    fn create(&mut self) {
        let mut token = [0; 32];
        self.chance.fill(&mut token);
        let op = self.world.make_op();
        let Ok(connection) = self.world.remote(self.proxy).connect() else {
            return self.pause();
        };
        let btoken = list::encode(&[op]);
        let Ok(created) = connection.create(AuthToken::new(token), btoken) else {
            return;
        };
        let number = created.account();
        if let Outcome::Confirmed(_) = created.finish().outcome {
            let verdict = self.world.checker.lock().created(number, op);
            self.world.judge(verdict);
            self.world.accounts.write().push(Account { number, token });
        }
    }

    /// Fetches the list of an account, and appends to it.
    fn update(&mut self, account: Account, appends: bool) {
        let world = self.world;
        let begun = world.checker.lock().moment();
        let Ok(connection) = world.remote(self.proxy).connect() else {
            return self.pause();
        };
        let Ok(fetched) = connection.update(account.number, account.token()) else {
            return;
        };
        let Some(base) = list::decode(fetched.btoken()) else {
            return world.judge(Err(Violation {
                fault: Fault::Phantom,
                detail: format!("a btoken of {} bytes is torn", fetched.btoken().len()),
            }));
        };
        let verdict = world.checker.lock().seen(account.number, begun, &base);
        world.judge(verdict);
        if !appends {
            fetched.leave();
            return;
        }
        let op = world.make_op();
        world.checker.lock().sends(account.number, op);
        let ended = fetched.replace(list::encode(&[base.as_slice(), &[op]].concat()));
        let mut checker = world.checker.lock();
        let verdict = match (ended.outcome, world.planted) {
            (Outcome::Confirmed(_), _) | (Outcome::Unknown(_), Planted::CutConfirms) => {
                checker.confirmed(account.number, begun, &base, op)
            }
            (Outcome::Failed(_), _) | (Outcome::Unknown(_), Planted::CutFails) => {
                checker.failed(account.number, op)
            }
            (Outcome::Unknown(_) | Outcome::Left, _) => Ok(()),
        };
        drop(checker);
        world.judge(verdict);
        if base.len() >= OPS_MAX {
            self.delete(account);
        }
    }

    fn delete(&mut self, account: Account) {
        let world = self.world;
        let Ok(connection) = world.remote(self.proxy).connect() else {
            return self.pause();
        };
        world.checker.lock().deletes(account.number);
        let is_confirmed = world.planted == Planted::DeletesNothing || {
            let ended = connection.reset(account.number, account.token());
            matches!(ended.outcome, Outcome::Confirmed(_))
        };
        if is_confirmed {
            world.checker.lock().deleted(account.number);
        }
        world.retire(account);
    }

    /// The server is not there at the moment.
    fn pause(&mut self) {
        thread::sleep(Duration::from_millis(self.chance.u64(5..30)));
    }
}

/// Runs the server, and makes its life hard.
struct Operator<'a> {
    world: &'a World,
    dir: &'a Path,
    backends: Backends,
    server: Option<Server>,
    /// A planted fault.
    second: Option<Server>,
    backups: Vec<(PathBuf, Backup<AccountNumber>)>,
    /// A copy of the data, for a planted fault.
    earlier: Option<PathBuf>,
    chance: fastrand::Rng,
    figures: Figures,
}

impl Operator<'_> {
    fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn act(&mut self) {
        // Clients work meanwhile; this is no wait for an event.
        thread::sleep(Duration::from_millis(self.chance.u64(20..500)));
        match self.chance.u8(0..100) {
            0..30 => self.kill(),
            30..45 => self.stop(),
            45..60 => self.suspend(),
            60..80 => self.back_up(),
            80..90 => self.restore(),
            _ => self.look(),
        }
    }

    fn start(&mut self) {
        let server = Server::start(&self.data_dir());
        *self.backends.lock() = vec![server.address()];
        self.server = Some(server);
    }

    fn kill(&mut self) {
        self.server.take().unwrap().kill();
        self.figures.kills += 1;
        match self.world.planted {
            Planted::EarlierData => self.plant_earlier_data(),
            Planted::SecondServer if self.second.is_none() => return self.plant_second_server(),
            _ => {}
        }
        self.start();
        if self.chance.bool() {
            self.look();
        }
    }

    fn stop(&mut self) {
        self.server.take().unwrap().stop();
        self.figures.stops += 1;
        self.start();
    }

    fn suspend(&mut self) {
        let server = self.server.as_ref().unwrap();
        server.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(self.chance.u64(10..300)));
        server.signal(Signal::CONT);
        self.figures.suspensions += 1;
    }

    fn back_up(&mut self) {
        let file = self.dir.join(format!("backup-{}", self.figures.backups));
        let begun = self.world.checker.lock().backup_begins();
        operate(&self.data_dir(), &["backup", file.to_str().unwrap()]).ok();
        let backup = self.world.checker.lock().backup_ends(begun);
        self.backups.push((file, backup));
        self.figures.backups += 1;
        if self.backups.len() > BACKUPS_MAX {
            let (file, _) = self.backups.remove(0);
            std::fs::remove_file(file).unwrap();
        }
    }

    fn restore(&mut self) {
        let Some((file, backup)) = self.chance.choice(&self.backups) else {
            return;
        };
        let (file, backup) = (file.clone(), backup.clone());
        self.server.take().unwrap().kill();
        let alone = self.world.exchange.write();
        data::restore(&self.data_dir(), &file);
        self.world.checker.lock().restored(&backup);
        drop(alone);
        self.figures.restores += 1;
        self.start();
        self.look();
    }

    /// Looks at all accounts while nobody else does anything, and without a network in between.
    fn look(&mut self) {
        let world = self.world;
        let _alone = world.exchange.write();
        let address = self.server.as_ref().unwrap().address();
        let accounts = world.accounts.read().clone();
        let gone = world.gone.lock().clone();
        for account in accounts.into_iter().chain(gone) {
            let begun = world.checker.lock().moment();
            let fetched = world.remote(address).connect().unwrap();
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
        world.forget();
        self.figures.looks += 1;
    }

    /// Every other kill brings back the data of the kill before.
    fn plant_earlier_data(&mut self) {
        let data_dir = self.data_dir();
        match self.earlier.take() {
            None => {
                let copy = self.dir.join("earlier");
                data::copy(&data_dir, &copy);
                self.earlier = Some(copy);
            }
            Some(copy) => data::put_back(&copy, &data_dir),
        }
    }

    fn plant_second_server(&mut self) {
        let copy = self.dir.join("second");
        data::copy(&self.data_dir(), &copy);
        self.start();
        let second = Server::start(&copy);
        self.backends.lock().push(second.address());
        self.second = Some(second);
    }
}
