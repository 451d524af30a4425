//! Deadlines: a silent or slow client cannot keep its connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use passmate_server::config::Limits;
use passmate_testkit::server::Running;
use passmate_testkit::wire::{CLIENT_HELLO, End, How, TOKEN, create, update, upload};

const SHORT: Duration = Duration::from_millis(300);

fn running(change: fn(&mut Limits)) -> Running {
    Running::with(|config| change(&mut config.limits))
}

/// Runs `act` and measures its duration.
fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    (act(), begun.elapsed())
}

fn is_about(elapsed: Duration) -> bool {
    (SHORT - Duration::from_millis(50)..SHORT + Duration::from_secs(3)).contains(&elapsed)
}

#[test]
fn tls_and_hello_must_come_in_time() {
    let running = running(|limits| limits.handshake_timeout = SHORT);
    // A client that sends nothing.
    let mut tcp = TcpStream::connect(running.layout_1).unwrap();
    let (read, elapsed) = timed(|| tcp.read(&mut [0; 100]).unwrap());
    assert_eq!(read, 0);
    assert!(is_about(elapsed), "{elapsed:?}");
    // Clients that send nothing after TLS, or only some bytes of the hello.
    let mut client = running.connect(1);
    let (end, elapsed) = timed(|| client.end());
    assert_eq!(end, End::cut());
    assert!(is_about(elapsed), "{elapsed:?}");
    let mut client = running.connect(1);
    let (_, elapsed) = timed(|| {
        for byte in CLIENT_HELLO {
            std::thread::sleep(Duration::from_millis(100));
            if client.try_send(&[*byte]).is_err() {
                break;
            }
        }
        assert_ne!(client.end().how, How::Clean);
    });
    assert!(
        elapsed < Duration::from_millis(2300),
        "single bytes extend no deadline: {elapsed:?}"
    );
}

#[test]
fn the_credentials_must_come_in_time() {
    let running = running(|limits| limits.handshake_timeout = SHORT);
    let account = running.create(b"x");
    let mut client = running.greeted(1);
    let (_, elapsed) = timed(|| {
        for byte in update(account, TOKEN) {
            std::thread::sleep(Duration::from_millis(100));
            if client.try_send(&[byte]).is_err() {
                break;
            }
        }
        assert_ne!(client.end().how, How::Clean);
    });
    assert!(elapsed < Duration::from_millis(2300), "{elapsed:?}");
    // With the credentials the deadline is over: a client may think while it merges.
    let mut client = running.greeted(1);
    client.send(&update(account, TOKEN));
    client.take_btoken().unwrap();
    std::thread::sleep(3 * SHORT);
    client.send(&[upload(b"y").as_slice(), &account].concat());
    assert_eq!(client.end(), End::clean());
}

#[test]
fn silence_ends_a_connection_in_every_phase() {
    let running = running(|limits| {
        limits.idle_timeout = SHORT;
        limits.confirm_grace = Duration::from_millis(50);
    });
    let account = running.create(b"kept");
    let whole = create(b"never stored");
    let mut sent: Vec<Vec<u8>> = vec![vec![], b"c".to_vec(), whole[..40].to_vec()];
    sent.push(update(account, TOKEN)[..40].to_vec());
    for bytes in sent {
        let mut client = running.greeted(1);
        client.send(&bytes);
        let (end, elapsed) = timed(|| client.end());
        assert_eq!(end, End::cut());
        assert!(is_about(elapsed), "{elapsed:?}");
    }
    for bytes in [
        upload(b"new")[..5].to_vec(),
        [upload(b"new").as_slice(), &account[..1]].concat(),
    ] {
        let mut client = running.greeted(1);
        client.send(&update(account, TOKEN));
        client.take_btoken().unwrap();
        client.send(&bytes);
        let (end, elapsed) = timed(|| client.end());
        assert_eq!(end, End::cut());
        assert!(is_about(elapsed), "{elapsed:?}");
    }
    assert_eq!(running.fetch(account).unwrap(), b"kept");
}

#[test]
fn a_slow_client_that_keeps_sending_is_served() {
    let running = running(|limits| {
        limits.idle_timeout = SHORT;
        limits.confirm_grace = Duration::from_millis(50);
    });
    let mut client = running.greeted(1);
    for part in create(b"slow and steady").chunks(10) {
        std::thread::sleep(SHORT / 3);
        client.send(part);
    }
    client.take(8);
    assert_eq!(client.end(), End::clean());
}

#[test]
fn no_connection_lasts_longer_than_a_session() {
    let running = running(|limits| limits.session_timeout = SHORT);
    let mut client = running.greeted(1);
    let (end, elapsed) = timed(|| {
        for byte in create(&[0; 200]) {
            std::thread::sleep(Duration::from_millis(20));
            if client.try_send(&[byte]).is_err() {
                break;
            }
        }
        client.end()
    });
    assert_ne!(end.how, How::Clean);
    assert!(elapsed < Duration::from_secs(6), "{elapsed:?}");
}

#[test]
fn a_client_that_takes_nothing_is_cut() {
    let running = running(|limits| {
        limits.idle_timeout = SHORT;
        limits.confirm_grace = Duration::from_millis(50);
        limits.btoken_len_max = 32 << 20;
    });
    // The btoken is longer than the socket buffers of both sides.
    let account = running.create(&vec![1; 32 << 20]);
    // A busy machine may begin to send late, and notice the silence later.
    let is_cut = (0..6).any(|doubled| {
        let mut client = running.greeted(1);
        client.send(&update(account, TOKEN));
        std::thread::sleep(SHORT * 6 * (1 << doubled));
        let mut all = 0;
        let error = std::iter::repeat_with(|| {
            let mut chunk = [0; 65536];
            client.read(&mut chunk).map(|len| all += len)
        });
        let error = error.take(1 << 20).find_map(Result::err).unwrap();
        assert_ne!(
            error.kind(),
            std::io::ErrorKind::WouldBlock,
            "the server still waits for the client"
        );
        all < 32 << 20
    });
    assert!(is_cut, "the whole btoken came although nobody took it");
}

#[test]
fn plain_text_and_half_a_handshake_are_ended_without_ado() {
    let running = running(|limits| limits.handshake_timeout = SHORT);
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        b"\x16\x03\x01",
        &[0; 5000],
        b"",
    ] {
        let mut tcp = TcpStream::connect(running.layout_1).unwrap();
        tcp.write_all(bytes).unwrap();
        tcp.shutdown(std::net::Shutdown::Write).unwrap();
        // The server sends at most an alert, and then ends the stream without a reset.
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).unwrap();
        assert!(answer.len() < 64, "{answer:?}");
    }
    running.create(b"honest");
}
