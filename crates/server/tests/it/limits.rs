//! The limits of one source, over real sockets. The addresses of 127.0.0.0/8 are the sources.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{failed, ok, operate, start};
use passmate_testkit::server::Running;
use passmate_testkit::wait::until;
use passmate_testkit::wire::{self, Client, End, TLS13, TOKEN, connect_from, create, update};

/// A server that exempts no source.
fn running(change: impl FnOnce(&mut passmate_server::config::Config)) -> Running {
    Running::with(|config| {
        config.limits.source.exempt.clear();
        change(config);
    })
}

/// A client from 127.0.0.N, if it is admitted.
fn try_from(running: &Running, source: u8) -> std::io::Result<Client> {
    let tcp = connect_from([127, 0, 0, source].into(), running.layout_1)?;
    let mut client = Client::over(tcp, &running.dir.path().join("cert.pem"), 1, &TLS13)?;
    client.greet();
    Ok(client)
}

fn from(running: &Running, source: u8) -> Client {
    try_from(running, source).unwrap()
}

fn creates(running: &Running, source: u8) -> bool {
    let mut client = from(running, source);
    client.send(&create(b"sealed"));
    match client.end() {
        End {
            how: wire::How::Clean,
            bytes,
        } => bytes.len() == 8,
        end => {
            assert_eq!(end, End::cut());
            false
        }
    }
}

fn is_refused(running: &Running, source: u8) {
    let mut client = from(running, source);
    client.send(&update([9; 8], TOKEN));
    assert_eq!(client.end(), End::cut());
}

#[test]
fn a_source_makes_at_most_twenty_accounts_at_once() {
    let running = running(|_| {});
    let made = (0..25).filter(|_| creates(&running, 2)).count();
    assert_eq!(made, 20);
    assert!(creates(&running, 3));
}

#[test]
fn all_sources_together_have_a_limit_of_accounts() {
    let running = running(|config| {
        config.limits.source.creates_all = passmate_server::config::Rate {
            count: 1,
            per: Duration::from_secs(3600),
            burst: 5,
        };
    });
    let made = (2..12).filter(|source| creates(&running, *source)).count();
    assert_eq!(made, 5);
}

#[test]
fn a_source_with_many_wrong_hellos_is_paused() {
    let running = running(|_| {});
    let certificate = running.dir.path().join("cert.pem");
    let connect = || {
        let tcp = connect_from([127, 0, 0, 4].into(), running.layout_1).ok()?;
        Client::over(tcp, &certificate, 1, &TLS13).ok()
    };
    for _ in 0..31 {
        let mut client = connect().unwrap();
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.end(), End::cut());
    }
    until("the source is paused", || connect().is_none());
    let mut other = from(&running, 3);
    other.send(&create(b"sealed"));
    other.take(8);
}

#[test]
fn a_source_with_many_refusals_is_paused() {
    let running = running(|_| {});
    let mut client = from(&running, 2);
    client.send(&create(b"sealed"));
    let account: [u8; 8] = client.take(8).try_into().unwrap();
    // This client was admitted before the pause, and asks during it.
    let mut early = from(&running, 2);
    (0..31).for_each(|_| is_refused(&running, 2));
    let begun = Instant::now();
    let mut tcp = connect_from([127, 0, 0, 2].into(), running.layout_1).unwrap();
    assert_eq!(
        tcp.read(&mut [0; 10]).unwrap(),
        0,
        "an end before TLS, as when the server is busy"
    );
    early.send(&update(account, TOKEN));
    assert_eq!(early.end(), End::cut());
    let mut other = from(&running, 3);
    other.send(&update(account, TOKEN));
    assert_eq!(other.take_btoken().unwrap(), b"sealed");
    until("the first pause of 10 s is over", || {
        try_from(&running, 2).is_ok_and(|mut client| {
            client.send(&update(account, TOKEN));
            client.take_btoken().as_deref() == Some(b"sealed")
        })
    });
    assert!(
        begun.elapsed() > Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_source_with_all_its_connections_is_turned_away() {
    let running = running(|config| config.limits.source.connections_max = 3);
    let held: Vec<_> = (0..3).map(|_| from(&running, 2)).collect();
    let mut tcp = connect_from([127, 0, 0, 2].into(), running.layout_1).unwrap();
    assert_eq!(tcp.read(&mut [0; 10]).unwrap(), 0);
    from(&running, 3);
    drop(held);
    until("a closed connection frees its slot", || {
        try_from(&running, 2).is_ok()
    });
}

/// A client behind a proxy, which sends this header.
fn proxied(running: &Running, proxy: u8, header: &str) -> std::io::Result<Client> {
    let mut tcp = connect_from([127, 0, 0, proxy].into(), running.layout_1)?;
    tcp.write_all(header.as_bytes())?;
    let mut client = Client::over(tcp, &running.dir.path().join("cert.pem"), 1, &TLS13)?;
    client.greet();
    Ok(client)
}

#[test]
fn only_a_listed_proxy_can_name_the_source() {
    let running = running(|config| {
        config.proxy_from = vec!["127.0.0.9/32".parse().unwrap()];
        config.limits.source.connections_max = 3;
    });
    let behind = |source: u8| {
        proxied(
            &running,
            9,
            &format!("PROXY TCP4 192.0.2.{source} 192.0.2.1 1000 29556\r\n"),
        )
    };
    let held: Vec<_> = (0..3).map(|_| behind(1).unwrap()).collect();
    assert!(behind(1).is_err(), "its fourth connection");
    behind(2).unwrap();
    drop(held);
    assert!(
        proxied(&running, 9, "").is_err(),
        "a listed proxy without a header"
    );
    assert!(
        proxied(&running, 8, "PROXY TCP4 192.0.2.5 192.0.2.1 1000 29556\r\n").is_err(),
        "a header from another address"
    );
    from(&running, 8);
}

#[test]
fn an_exempt_source_has_no_limits() {
    let running = Running::with(|config| config.limits.source.connections_max = 3);
    let held: Vec<_> = (0..10).map(|_| from(&running, 2)).collect();
    assert_eq!(held.len(), 10);
    (0..40).for_each(|_| is_refused(&running, 2));
    assert!((0..25).all(|_| creates(&running, 2)));
}

/// Starts a create of a btoken of 2 MiB, and sends all but its last byte.
fn half_create(running: &Running, source: u8) -> Option<Client> {
    let mut client = try_from(running, source).ok()?;
    let whole = create(&vec![3; 2 << 20]);
    // A client that gets no memory is cut while it sends.
    let _ = client.try_send(&whole[..whole.len() - 1]);
    Some(client)
}

#[test]
fn half_sent_creates_of_one_source_keep_nobody_out() {
    let running = running(|config| config.limits.memory_max = 64 << 20);
    let _held: Vec<_> = (0..34).filter_map(|_| half_create(&running, 2)).collect();
    let mut client = from(&running, 3);
    client.send(&create(&vec![4; 2 << 20]));
    client.take(8);
    assert_eq!(client.end(), End::clean());
}

#[test]
fn half_sent_creates_of_many_sources_give_way() {
    let running = running(|config| config.limits.memory_max = 32 << 20);
    let _held: Vec<_> = (0..16)
        .filter_map(|number| half_create(&running, 10 + number))
        .collect();
    // They stay silent, for which they have 30 s, and are the slowest soon.
    let begun = Instant::now();
    until("an honest client is served", || {
        let mut client = from(&running, 3);
        let sent = client.try_send(&create(&vec![4; 2 << 20]));
        sent.is_ok() && client.end().how == wire::How::Clean
    });
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn unfinished_handshakes_take_no_place_from_others() {
    let running = Running::with(|config| config.limits.connections_max = 64);
    let silent: Vec<_> = (0..64)
        .map(|_| TcpStream::connect(running.layout_1).unwrap())
        .collect();
    // Those that gave way need a moment to end.
    until("a newcomer is let in", || try_from(&running, 2).is_ok());
    for _ in 0..20 {
        running.create(b"honest");
    }
    drop(silent);
}

#[test]
fn many_creates_from_an_exempt_source_are_logged() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    for _ in 0..25 {
        program.create(b"sealed");
    }
    program.wait_for_log("an exempt source makes more accounts");
    let log = program.log();
    let mut lines = log.lines();
    let before = lines.by_ref().take_while(|line| !line.contains("exempt"));
    assert_eq!(before.filter(|line| line.contains("confirmed")).count(), 20);
    assert!(!log.contains("127.0.0.1 "), "{log}");
    let rest = lines.filter(|line| line.contains("exempt source"));
    assert_eq!(rest.count(), 0, "{log}");
}

#[test]
fn a_paused_source_is_named_listed_and_cleared() {
    let dir = tempfile::tempdir().unwrap();
    failed(
        &operate(dir.path(), &["limits", "list"]),
        10,
        "no server runs",
    );
    let program = start(dir.path(), &["--limit-exempt", "none", "--log-addresses"]);
    let list = || ok(operate(dir.path(), &["limits", "list"]));
    assert_eq!(list(), "no source is paused\n");
    let account = program.create(b"sealed");
    for _ in 0..31 {
        let mut client = program.greeted();
        client.send(&update([9; 8], TOKEN));
        assert_eq!(client.end(), End::cut());
    }
    program.wait_for_log("a source is paused");
    assert!(program.try_connect().is_err());
    let listed = list();
    assert!(listed.starts_with("127.0.0.1  paused for "), "{listed}");
    let json = ok(operate(dir.path(), &["limits", "list", "--json"]));
    assert!(json.contains(r#""network":"127.0.0.1""#) && json.contains(r#""version":1"#));
    let other = operate(dir.path(), &["limits", "clear", "192.0.2.1"]);
    failed(&other, 10, "remembers nothing");
    failed(
        &operate(dir.path(), &["limits", "clear", "home"]),
        2,
        "an address",
    );
    let cleared = ok(operate(dir.path(), &["limits", "clear", "127.0.0.1"]));
    assert_eq!(cleared, "cleared 127.0.0.1\ncleared 127.0.0.0/24\n");
    assert_eq!(program.fetch(account).unwrap(), b"sealed");
    let log = program.log();
    let pause = log.lines().find(|line| line.contains("a source is paused"));
    assert!(
        pause.unwrap().contains("network=127.0.0.1 seconds=10"),
        "{log}"
    );
    failed(
        &operate(dir.path(), &["limits", "list"]),
        10,
        "no server runs",
    );
}

#[test]
fn a_pause_names_nobody_without_log_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &["--limit-exempt", "none"]);
    for _ in 0..31 {
        let mut client = program.greeted();
        client.send(&update([9; 8], TOKEN));
        assert_eq!(client.end(), End::cut());
    }
    program.wait_for_log("a source is paused");
    let log = program.log();
    assert!(
        !log.contains("network=") && !log.contains("address="),
        "{log}"
    );
}

#[test]
fn one_stranger_causes_a_bounded_number_of_log_lines() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    for _ in 0..200 {
        let mut client = program.connect();
        client.send(&[b'x'; 24]);
        assert_eq!(client.end(), End::cut());
    }
    program.create(b"sealed");
    program.wait_for_log("confirmed");
    let log = program.log();
    let lines = log.lines().filter(|line| line.contains("wrong_hello"));
    assert!((50..150).contains(&lines.count()), "{log}");
}

/// Eight silent clients take all connections, and an honest one is served all the same. They may be
/// silent for longer than the test waits.
fn silent_clients_give_way(silence: impl Fn(&Running) -> Client) {
    let running = Running::with(|config| {
        config.limits.connections_max = 8;
        config.limits.handshake_timeout = Duration::from_secs(100);
        config.limits.idle_timeout = Duration::from_secs(100);
    });
    let silent: Vec<_> = (0..8).map(|_| silence(&running)).collect();
    until("a newcomer gets the place of a silent client", || {
        let certificate = running.dir.path().join("cert.pem");
        let tried = Client::try_connect(running.layout_1, &certificate, 1, &TLS13);
        tried.is_ok_and(|mut client| {
            client.greet();
            client.send(&create(b"sealed"));
            client.end().how == wire::How::Clean
        })
    });
    drop(silent);
}

#[test]
fn strangers_who_only_say_hello_give_way() {
    silent_clients_give_way(|running| running.greeted(1));
}

#[test]
fn strangers_who_begin_a_create_give_way() {
    silent_clients_give_way(|running| {
        let mut client = running.greeted(1);
        let whole = create(b"sealed");
        client.send(&whole[..whole.len() - 1]);
        client
    });
}

#[test]
fn clients_of_an_account_that_stall_give_way() {
    let account = std::cell::Cell::new(None);
    silent_clients_give_way(|running| {
        let known = account.get().unwrap_or_else(|| running.create(b"sealed"));
        account.set(Some(known));
        let mut client = running.greeted(1);
        client.send(&update(known, TOKEN));
        client
    });
}
