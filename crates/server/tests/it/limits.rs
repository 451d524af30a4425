//! What one source may take, over real sockets: the addresses of 127.0.0.0/8 are the sources.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::{self, Client, End, Running, TLS13, TOKEN, connect_from, create, update};

/// A server that exempts nobody.
fn running(change: impl FnOnce(&mut passmate_server::config::Config)) -> Running {
    Running::with(|config| {
        config.limits.source.exempt.clear();
        change(config);
    })
}

/// A client from 127.0.0.N, if it is let in.
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
            how: support::How::Clean,
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
fn a_source_makes_as_many_accounts_as_it_may_and_others_make_theirs() {
    let running = running(|_| {});
    let made = (0..25).filter(|_| creates(&running, 2)).count();
    assert_eq!(made, 20);
    assert!(creates(&running, 3));
}

#[test]
fn all_sources_together_make_as_many_accounts_as_they_may() {
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
fn who_was_refused_too_often_is_not_heard_for_a_while_not_even_with_the_right_key() {
    let running = running(|_| {});
    let mut client = from(&running, 2);
    client.send(&create(b"sealed"));
    let account: [u8; 8] = client.take(8).try_into().unwrap();
    // This one came before, and will ask when its source is paused.
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
    loop {
        match try_from(&running, 2) {
            Ok(mut client) => {
                client.send(&update(account, TOKEN));
                assert_eq!(client.take_btoken().unwrap(), b"sealed");
                break;
            }
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the first pause is 10 s"
        );
    }
    assert!(
        begun.elapsed() > Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_source_with_all_its_connections_is_turned_away_and_others_are_not() {
    let running = running(|config| config.limits.source.connections_max = 3);
    let held: Vec<_> = (0..3).map(|_| from(&running, 2)).collect();
    let mut tcp = connect_from([127, 0, 0, 2].into(), running.layout_1).unwrap();
    assert_eq!(tcp.read(&mut [0; 10]).unwrap(), 0);
    from(&running, 3);
    drop(held);
    let begun = Instant::now();
    while try_from(&running, 2).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "no room though all are gone"
        );
    }
}

/// A client behind a proxy at 127.0.0.9, which says this in front.
fn proxied(running: &Running, proxy: u8, header: &str) -> std::io::Result<Client> {
    let mut tcp = connect_from([127, 0, 0, proxy].into(), running.layout_1)?;
    tcp.write_all(header.as_bytes())?;
    let mut client = Client::over(tcp, &running.dir.path().join("cert.pem"), 1, &TLS13)?;
    client.greet();
    Ok(client)
}

#[test]
fn what_a_listed_proxy_says_is_the_source_and_nobody_else_can_say_it() {
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
        "a header of anybody else"
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
