//! Servers on PostgreSQL, with a database that is killed, stopped or read-only: no client is told
//! that something is stored which is not, nobody waits for ever, and nothing has to be restarted.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use passmate_testkit::postgres::Cluster;
use passmate_testkit::wait::until;
use passmate_testkit::wire::{How, TOKEN, update, upload};

use crate::support::{Program, failed, ok, operate, start};

/// A server on a cluster whose deadlines are this many seconds.
fn serve(dir: &tempfile::TempDir, cluster: &Cluster, deadline: u64) -> Program {
    let store = format!("{}?deadline={deadline}", cluster.url());
    start(
        dir.path(),
        &["--store", &store, "--admin-listen", "127.0.0.1:0"],
    )
}

/// An account that one client updates with rising numbers.
struct Account {
    number: [u8; 8],
    /// The last number that was confirmed.
    confirmed: AtomicU64,
    /// The last number that was sent, which may be stored.
    sent: AtomicU64,
}

impl Account {
    fn new(program: &Program) -> Self {
        Self {
            number: program.create(&0_u64.to_be_bytes()),
            confirmed: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }
    }

    /// Checks that nothing is lost which was confirmed.
    fn check(&self, btoken: &[u8]) -> u64 {
        let stored = u64::from_be_bytes(btoken.try_into().unwrap());
        let confirmed = self.confirmed.load(Ordering::SeqCst);
        let sent = self.sent.load(Ordering::SeqCst);
        assert!(
            (confirmed..=sent).contains(&stored),
            "stored {stored}, confirmed {confirmed}, sent {sent}"
        );
        stored
    }

    /// Stores the next number; true if that was confirmed.
    fn update(&self, program: &Program) -> bool {
        let Ok(mut client) = program.try_connect() else {
            return false;
        };
        client.greet();
        client.send(&update(self.number, TOKEN));
        let Some(btoken) = client.take_btoken() else {
            return false;
        };
        self.check(&btoken);
        let next = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
        let upload = [upload(&next.to_be_bytes()).as_slice(), &self.number].concat();
        if client.try_send(&upload).is_err() || client.end().how != How::Clean {
            return false;
        }
        self.confirmed.store(next, Ordering::SeqCst);
        true
    }
}

/// Updates all accounts again and again while something happens. It begins when many updates were
/// confirmed, and can wait until many more were.
fn under_load(program: &Program, accounts: &[Account], happens: impl FnOnce(&dyn Fn())) {
    let (count, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for account in accounts {
            let (count, is_over) = (&count, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    let is_confirmed = account.update(program);
                    count.fetch_add(u64::from(is_confirmed), Ordering::SeqCst);
                }
            });
        }
        let more = || {
            let wanted = count.load(Ordering::SeqCst) + 60;
            let is_enough = || count.load(Ordering::SeqCst) >= wanted;
            until("updates are confirmed", is_enough);
        };
        more();
        happens(&more);
        is_over.store(true, Ordering::SeqCst);
    });
}

/// The address of the database for a role that may have a few connections only.
fn limited(cluster: &Cluster) -> String {
    cluster.sql(
        "CREATE ROLE limited LOGIN CONNECTION LIMIT 4; \
         GRANT CREATE ON DATABASE passmate TO limited",
    );
    cluster.url().replace("postgres@", "limited@")
}

/// The answer about readiness.
fn readiness(program: &Program) -> String {
    get(program, "/health/ready")
}

fn get(program: &Program, path: &str) -> String {
    let line = program
        .greeting
        .lines()
        .find_map(|line| line.strip_prefix("status page http://"));
    let address = line.unwrap().trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn lines(log: &str, part: &str) -> usize {
    log.lines().filter(|line| line.contains(part)).count()
}

#[test]
fn nothing_confirmed_is_lost_when_the_database_is_killed_under_load() {
    const CLIENTS: usize = 6;
    const KILLS: usize = 3;
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new();
    let program = serve(&dir, &cluster, 2);
    let accounts: Vec<Account> = (0..CLIENTS).map(|_| Account::new(&program)).collect();
    under_load(&program, &accounts, |more| {
        for _ in 0..KILLS {
            cluster.kill();
            cluster.start();
            more();
        }
    });
    for account in &accounts {
        let stored = account.check(&program.fetch(account.number).unwrap());
        assert!(account.update(&program), "after {stored}");
    }
    let store = format!(
        "postgres://postgres@/passmate?host={}",
        cluster.folder().display()
    );
    let verified = operate(dir.path(), &["verify", "--store", &cluster.url()]);
    assert!(ok(verified).contains("6 accounts"));
    let log = program.log();
    assert!(log.contains(&store) && !log.contains("panicked"), "{log}");
    let (failures, ends) = (
        lines(&log, "cannot be used"),
        lines(&log, "database works again"),
    );
    assert_eq!(failures, ends, "{log}");
    assert!((1..=KILLS).contains(&failures), "{log}");
    assert_eq!(lines(&log, "a request of a client failed"), 0, "{log}");
}

/// Ends the primary under load and makes its standby the primary; nothing confirmed is lost.
fn check_failover(end: impl FnOnce(&mut Cluster), come_back: impl FnOnce(&mut Cluster)) {
    const CLIENTS: usize = 6;
    let dir = tempfile::tempdir().unwrap();
    let mut primary = Cluster::new();
    let standby = primary.standby();
    let store = format!("{}?deadline=1", primary.url_with(&standby));
    let program = start(dir.path(), &["--store", &store]);
    let accounts: Vec<Account> = (0..CLIENTS).map(|_| Account::new(&program)).collect();
    under_load(&program, &accounts, |more| {
        end(&mut primary);
        standby.promote();
        more();
        come_back(&mut primary);
        more();
    });
    for account in &accounts {
        account.check(&program.fetch(account.number).unwrap());
    }
    let log = program.log();
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(
        lines(&log, "cannot be used"),
        lines(&log, "database works again")
    );
}

#[test]
fn nothing_confirmed_is_lost_when_the_primary_is_killed() {
    check_failover(Cluster::kill, |_| {});
}

#[test]
fn nothing_confirmed_is_lost_when_the_primary_stands_still_and_comes_back() {
    check_failover(|primary| primary.pause(), |primary| primary.resume());
}

#[test]
fn a_database_that_stands_still_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new();
    let program = serve(&dir, &cluster, 1);
    let account = Account::new(&program);
    assert!(account.update(&program));
    assert!(readiness(&program).starts_with("HTTP/1.1 200"));
    // Everything up to the upload is done before the database stops.
    let mut client = program.greeted();
    client.send(&update(account.number, TOKEN));
    account.check(&client.take_btoken().unwrap());
    cluster.pause();
    let begun = Instant::now();
    account.sent.fetch_add(1, Ordering::SeqCst);
    let next = account.sent.load(Ordering::SeqCst).to_be_bytes();
    client.send(&[upload(&next).as_slice(), &account.number].concat());
    assert_ne!(
        client.end().how,
        How::Clean,
        "nobody knows whether it is stored"
    );
    assert!(!account.update(&program));
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    program.wait_for_log("store_unavailable");
    // Now that it is known to fail, nobody waits at all.
    let begun = Instant::now();
    for _ in 0..20 {
        assert!(!account.update(&program));
    }
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    until("it is not ready", || {
        readiness(&program).starts_with("HTTP/1.1 503")
    });
    cluster.resume();
    until("it is ready", || {
        readiness(&program).starts_with("HTTP/1.1 200")
    });
    // What was sent when the database stopped may be stored by now, and nothing else.
    assert!(account.update(&program));
    let log = program.log();
    assert_eq!(lines(&log, "cannot be used"), 1, "{log}");
    assert_eq!(lines(&log, "database works again"), 1, "{log}");
}

#[test]
fn while_the_database_is_gone_clients_are_refused_before_the_hello() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new();
    let program = serve(&dir, &cluster, 1);
    let account = Account::new(&program);
    assert!(account.update(&program));
    cluster.kill();
    // The first one finds out. A device would take an end after the hello for a wrong key.
    assert!(!account.update(&program));
    until("nobody is let in", || program.try_connect().is_err());
    assert!(get(&program, "/metrics").contains("reason=\"store_unavailable\"} 1"));
    cluster.start();
    // The server notices by itself: no client that asks it is let in.
    until("clients are let in", || program.try_connect().is_ok());
    assert!(account.update(&program));
}

/// The standby that each commit waits for is lost: connections can be made, and commits hang.
#[test]
fn commits_that_hang_are_an_outage_and_are_not_repeated_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new();
    let program = serve(&dir, &cluster, 1);
    let account = Account::new(&program);
    assert!(account.update(&program));
    let set = |name: &str| {
        cluster.sql(&format!(
            "ALTER SYSTEM SET synchronous_standby_names = '{name}'"
        ));
        cluster.sql("SELECT pg_reload_conf()");
        let is_set = || cluster.sql("SHOW synchronous_standby_names") == name;
        until("the setting is in force", is_set);
    };
    let hanging = || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        cluster.sql(sql).parse::<u64>().unwrap()
    };
    // A session sees its own setting at once, and others a moment later.
    set("nobody");
    until("a commit hangs", || !account.update(&program));
    until("nobody is let in", || program.try_connect().is_err());
    assert!(readiness(&program).starts_with("HTTP/1.1 503"));
    let before = hanging();
    // Several looks at the database later, there is one commit that waits, beside those of before.
    for _ in 0..40 {
        assert!(program.try_connect().is_err());
        thread::sleep(Duration::from_millis(100));
    }
    assert!(hanging() <= before + 1, "{before} and then {}", hanging());
    let metrics = get(&program, "/metrics");
    assert!(
        metrics.contains("reason=\"store_unavailable\"}"),
        "{metrics}"
    );
    cluster.sql_of("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
    cluster.sql("SELECT pg_reload_conf()");
    until("clients are let in", || program.try_connect().is_ok());
    until("it is ready", || {
        readiness(&program).starts_with("HTTP/1.1 200")
    });
    assert!(account.update(&program));
    let log = program.log();
    assert_eq!(lines(&log, "cannot be used"), 1, "{log}");
    assert_eq!(lines(&log, "database works again"), 1, "{log}");
}

/// Each connection of the server waits for a lock that somebody holds: no client waits for long,
/// and everything works when the lock is free.
#[test]
fn when_all_connections_wait_clients_are_cut_off_in_time() {
    const CLIENTS: usize = 24;
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new();
    let program = serve(&dir, &cluster, 1);
    let accounts: Vec<Account> = (0..CLIENTS).map(|_| Account::new(&program)).collect();
    thread::scope(|scope| {
        let lock = "BEGIN; LOCK TABLE passmate.account; SELECT pg_sleep(6); COMMIT";
        scope.spawn(|| cluster.sql(lock));
        until("the lock is held", || {
            let sql = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
                AND relation = 'passmate.account'::regclass";
            cluster.sql(sql) == "1"
        });
        for account in &accounts {
            let program = &program;
            scope.spawn(move || {
                let begun = Instant::now();
                account.update(program);
                let took = begun.elapsed();
                assert!(took < Duration::from_secs(30), "{took:?}");
            });
        }
    });
    for account in &accounts {
        until("an update is confirmed", || account.update(&program));
    }
    until("it is ready", || {
        readiness(&program).starts_with("HTTP/1.1 200")
    });
    let log = program.log();
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(lines(&log, "cannot be used"), 1, "{log}");
    assert_eq!(lines(&log, "database works again"), 1, "{log}");
}

/// The server has all connections that it may have when the database begins to refuse changes.
#[test]
fn an_outage_ends_where_no_more_connections_are_given() {
    const CLIENTS: usize = 8;
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new();
    let program = start(dir.path(), &["--store", &limited(&cluster)]);
    let accounts: Vec<Account> = (0..CLIENTS).map(|_| Account::new(&program)).collect();
    let used = || cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'limited'");
    until("all connections are in use", || {
        thread::scope(|scope| {
            for account in &accounts {
                let program = &program;
                scope.spawn(move || account.update(program));
            }
        });
        used() == "4"
    });
    cluster.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '55000'; END $$; \
         CREATE TRIGGER refuse BEFORE UPDATE ON passmate.account \
         FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
    );
    until("nobody is let in", || {
        assert!(!accounts[0].update(&program));
        program.try_connect().is_err()
    });
    cluster.sql("DROP TRIGGER refuse ON passmate.account");
    until("clients are let in", || program.try_connect().is_ok());
    for account in &accounts {
        until("an update is confirmed", || account.update(&program));
    }
    let log = program.log();
    assert_eq!(lines(&log, "cannot be used"), 1, "{log}");
    assert_eq!(lines(&log, "database works again"), 1, "{log}");
}

/// A database that gives a server fewer connections than it wants serves it with those.
#[test]
fn fewer_connections_than_wanted_are_enough() {
    const CLIENTS: usize = 24;
    const UPDATES: usize = 10;
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new();
    let program = start(dir.path(), &["--store", &limited(&cluster)]);
    let accounts: Vec<Account> = (0..CLIENTS).map(|_| Account::new(&program)).collect();
    thread::scope(|scope| {
        for account in &accounts {
            let program = &program;
            scope.spawn(move || {
                for _ in 0..UPDATES {
                    until("an update is confirmed", || account.update(program));
                }
            });
        }
    });
    let log = program.log();
    assert_eq!(lines(&log, "cannot be used"), 0, "{log}");
    assert_eq!(lines(&log, "store_unavailable"), 0, "{log}");
}

#[test]
fn a_database_that_is_read_only_confirms_nothing_until_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new();
    let program = serve(&dir, &cluster, 1);
    let account = Account::new(&program);
    let set = |value: &str| {
        cluster.sql(&format!(
            "ALTER SYSTEM SET default_transaction_read_only = {value}"
        ));
        cluster.sql("SELECT pg_reload_conf()");
        let is_set = || cluster.sql("SHOW default_transaction_read_only") == value;
        until("the setting is in force", is_set);
    };
    set("on");
    until("an update is refused", || !account.update(&program));
    until("it is not ready", || {
        readiness(&program).starts_with("HTTP/1.1 503")
    });
    // It may be a primary that is one no longer, so nobody is told what it has.
    assert_eq!(program.fetch(account.number), None);
    cluster.sql_of(
        "postgres",
        "ALTER SYSTEM RESET default_transaction_read_only",
    );
    cluster.sql("SELECT pg_reload_conf()");
    until("an update is confirmed", || account.update(&program));
    until("it is ready", || {
        readiness(&program).starts_with("HTTP/1.1 200")
    });
    let log = program.log();
    assert_eq!(lines(&log, "cannot be used"), 1, "{log}");
    assert_eq!(lines(&log, "database works again"), 1, "{log}");
}

#[test]
fn a_server_does_not_start_without_its_database() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new();
    let listed = operate(dir.path(), &["account", "list", "--store", &cluster.url()]);
    failed(
        &listed,
        10,
        "there is no store in the database postgres://postgres@/passmate",
    );
    let store = "postgres://ada:hunter2@127.0.0.1:1/pm?deadline=1";
    let listed = operate(dir.path(), &["account", "list", "--store", store]);
    failed(&listed, 1, "the database cannot be used");
    let shown = String::from_utf8_lossy(&listed.stderr).into_owned();
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_store_moves_into_postgres_while_its_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new();
    let (from, to) = (dir.path().join("passmate.db"), cluster.url());
    let from = format!("sqlite:{}", from.display());
    let secret = dir.path().join("url");
    std::fs::write(&secret, format!("{to}\n")).unwrap();
    let secret = format!("@{}", secret.display());
    let migrate = || operate(dir.path(), &["migrate-store", &from, &secret]);
    let program = start(dir.path(), &[]);
    let accounts: Vec<Account> = (0..3).map(|_| Account::new(&program)).collect();
    // Somebody has started a server on the new store too early.
    let elsewhere = tempfile::tempdir().unwrap();
    for file in ["key.pem", "cert.pem"] {
        std::fs::copy(dir.path().join(file), elsewhere.path().join(file)).unwrap();
    }
    let hasty = serve(&elsewhere, &cluster, 1);
    assert!(readiness(&hasty).starts_with("HTTP/1.1 200"));
    failed(&migrate(), 8, "may be in use");
    // It has not made the store its own meanwhile.
    until("it is not ready", || {
        readiness(&hasty).starts_with("HTTP/1.1 503")
    });
    assert!(!accounts.iter().any(|account| account.update(&hasty)));
    let nowhere = operate(
        dir.path(),
        &["migrate-store", "sqlite:/nowhere.db", &secret],
    );
    failed(&nowhere, 10, "there is no store at /nowhere.db");
    let itself = operate(dir.path(), &["migrate-store", &to, &secret]);
    failed(&itself, 2, "FROM and TO are one store");
    let mut command = crate::support::command(dir.path());
    let early = command.args(["--listen", "127.0.0.1:0", "--store", &to]);
    early.env("PASSMATE_SERVER_DATA_DIR", dir.path().join("other"));
    failed(&early.output().unwrap(), 1, "only a part of another store");
    assert!(accounts.iter().all(|account| account.update(&program)));
    program.stop();
    let text = ok(migrate());
    assert!(text.starts_with("3 accounts copied, 0 removed"), "{text}");
    assert!(text.contains("have the same hash"), "{text}");
    failed(&migrate(), 12, "has accounts already");
    until("it is ready", || {
        readiness(&hasty).starts_with("HTTP/1.1 200")
    });
    assert!(accounts.iter().all(|account| account.update(&hasty)));
    let log = hasty.log();
    assert!(
        log.contains("another store is being moved into this database"),
        "{log}"
    );
    let program = serve(&dir, &cluster, 5);
    for account in &accounts {
        assert!(
            account.update(&program),
            "the certificate and the accounts are the same"
        );
    }
    let log = ok(operate(dir.path(), &["log", "--store", &to]));
    assert!(log.contains("migrate-store"), "{log}");
}

#[test]
fn a_backup_of_postgres_is_restored_into_either_engine() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new();
    let program = serve(&dir, &cluster, 5);
    let account = Account::new(&program);
    assert!(account.update(&program));
    let file = dir.path().join("backup");
    let file = file.to_str().unwrap();
    let backed_up = ok(operate(
        dir.path(),
        &["backup", file, "--store", &cluster.url()],
    ));
    assert!(backed_up.contains("1 accounts"), "{backed_up}");
    ok(operate(dir.path(), &["verify", file]));
    let restore = |store: &str| operate(dir.path(), &["restore", file, "--store", store]);
    failed(&restore(&cluster.url()), 12, "has accounts already");
    cluster.sql_of("postgres", "CREATE DATABASE other");
    let other = cluster.url().replace("/passmate", "/other");
    let database = format!("sqlite:{}", dir.path().join("restored.db").display());
    program.stop();
    for store in [other.as_str(), database.as_str()] {
        let text = ok(restore(store));
        assert!(text.contains("restored 1 accounts"), "{text}");
        let program = start(dir.path(), &["--store", store]);
        account.check(&program.fetch(account.number).unwrap());
        assert!(account.update(&program));
        // The next one restores what was backed up.
        account.confirmed.store(1, Ordering::SeqCst);
        let log = ok(operate(dir.path(), &["log", "--store", store]));
        assert!(log.contains("restore"), "{log}");
        program.stop();
    }
}

#[test]
fn what_postgres_itself_backs_up_is_a_whole_store() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new();
    let program = serve(&dir, &cluster, 5);
    let account = Account::new(&program);
    assert!(account.update(&program));
    cluster.sql_of("postgres", "CREATE DATABASE dumped");
    cluster.copy_by_dump("passmate", "dumped");
    // Neither has what comes later.
    let based = cluster.copy_by_base_backup();
    assert!(account.update(&program));
    account.confirmed.store(1, Ordering::SeqCst);
    program.stop();
    let dumped = cluster.url().replace("/passmate", "/dumped");
    for store in [dumped, based.url()] {
        let verified = operate(dir.path(), &["verify", "--store", &store]);
        assert!(ok(verified).contains("1 accounts"));
        let program = start(dir.path(), &["--store", &store]);
        assert_eq!(account.check(&program.fetch(account.number).unwrap()), 1);
        assert!(account.update(&program));
        account.confirmed.store(1, Ordering::SeqCst);
        program.stop();
    }
}

#[test]
fn page_and_check_claim_nothing_about_a_disk_that_is_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new();
    let program = serve(&dir, &cluster, 5);
    until("it has looked at the store", || {
        get(&program, "/metrics").contains("\npassmate_accounts 0\n")
    });
    let page = get(&program, "/");
    assert!(page.contains("in the database"), "{page}");
    assert!(!page.contains("No backup is known"), "{page}");
    let metrics = get(&program, "/metrics");
    assert!(!metrics.contains("passmate_disk_"), "{metrics}");
    assert!(!metrics.contains("\npassmate_store_bytes 0\n"), "{metrics}");
    let checked = operate(dir.path(), &["check", "--store", &cluster.url()]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(text.contains("whether the database is backed up"), "{text}");
    assert!(!text.contains("no backup is known"), "{text}");
}
