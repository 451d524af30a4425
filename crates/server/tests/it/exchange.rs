//! Every exchange as a client sees it on the wire, including the end of the connection.

use std::time::{Duration, Instant};

use passmate_testkit::server::Running;
use passmate_testkit::wire::{
    self, CLIENT_HELLO, End, How, SERVER_HELLO, TLS12, TLS13, TOKEN, create, reset, update, upload,
};

#[test]
fn all_actions_work_in_both_layouts_and_tls_versions() {
    let running = Running::new();
    for layout in [1, 2] {
        for version in [&TLS13, &TLS12] {
            let greeted = || {
                let mut client = running.connect_by(layout, version);
                client.greet();
                client
            };
            let mut client = greeted();
            client.send(&create(b"first"));
            let account: [u8; 8] = client.take(8).try_into().unwrap();
            assert_ne!(account, [0; 8]);
            assert_eq!(client.end(), End::clean());

            let mut client = greeted();
            client.send(&update(account, TOKEN));
            assert_eq!(client.take_btoken().unwrap(), b"first");
            client.send(&upload(b"second, and longer"));
            if layout == 1 {
                client.send(&account);
                assert_eq!(client.end(), End::clean());
            } else {
                assert_eq!(client.end(), End::clean_after(&account));
            }
            assert_eq!(running.fetch(account).unwrap(), b"second, and longer");

            let mut client = greeted();
            client.send(&reset(account, TOKEN));
            let repeated = if layout == 1 {
                vec![]
            } else {
                account.to_vec()
            };
            assert_eq!(client.end(), End::clean_after(&repeated));
            assert_eq!(running.fetch(account), None);
        }
    }
}

#[test]
fn an_exchange_byte_by_byte_is_the_same_exchange() {
    let running = Running::new();
    let mut client = running.connect(1);
    for byte in CLIENT_HELLO {
        client.send(&[*byte]);
    }
    assert_eq!(client.take(24), SERVER_HELLO);
    let len = u32::from_be_bytes(client.take(4).try_into().unwrap());
    client.take(len as usize);
    for byte in create(b"drip") {
        client.send(&[byte]);
    }
    let account: [u8; 8] = client.take(8).try_into().unwrap();
    assert_eq!(client.end(), End::clean());
    assert_eq!(running.fetch(account).unwrap(), b"drip");
}

#[test]
fn hello_action_and_credentials_may_come_in_one_write() {
    let running = Running::new();
    let account = running.create(b"kept");
    let mut client = running.connect(1);
    client.send(&[CLIENT_HELLO.as_slice(), &update(account, TOKEN)].concat());
    assert_eq!(client.take(24), SERVER_HELLO);
    let len = u32::from_be_bytes(client.take(4).try_into().unwrap());
    client.take(len as usize);
    assert_eq!(client.take_btoken().unwrap(), b"kept");
}

#[test]
fn the_server_says_nothing_before_it_has_the_whole_hello() {
    let running = Running::with(|config| {
        config.limits.handshake_timeout = Duration::from_millis(300);
    });
    let mut client = running.connect(1);
    client.send(&CLIENT_HELLO[..23]);
    assert_eq!(client.end(), End::cut());
}

#[test]
fn the_default_banner_names_the_longest_btoken() {
    let banner = Running::new().connect(1).greet();
    let text = String::from_utf8(banner).unwrap();
    assert!(text.starts_with("passmate-server "), "{text}");
    assert!(
        text.lines().any(|line| line == "btoken-max 2097152"),
        "{text}"
    );
    let running =
        Running::with(|config| config.banner = Some(b"\x1b[31m hi\r\n".as_slice().into()));
    assert_eq!(running.connect(1).greet(), b"\x1b[31m hi\r\n");
    assert_eq!(running.connect(2).greet(), b"\x1b[31m hi\r\n");
}

#[test]
fn the_longest_btoken_is_taken_and_one_byte_more_is_not() {
    let running = Running::new();
    let longest = vec![0xa5; 2_097_152];
    let account = running.create(&longest);
    assert_eq!(running.fetch(account).unwrap(), longest);
    let mut client = running.greeted(1);
    client.send(&[b"c".as_slice(), &TOKEN, &2_097_153_u32.to_be_bytes()].concat());
    assert_eq!(client.end(), End::cut());
    let mut client = running.greeted(2);
    client.send(&[b"c".as_slice(), &TOKEN, &u32::MAX.to_be_bytes()].concat());
    assert_eq!(client.end(), End::cut());
}

#[test]
fn a_refusal_during_an_upload_is_an_end_and_no_reset() {
    let running = Running::with(|config| config.limits.btoken_len_max = 1000);
    let mut client = running.greeted(1);
    client.send(&create(&vec![1; 60_000]));
    assert_eq!(client.end(), End::cut());
}

#[test]
fn an_empty_btoken_is_one() {
    let running = Running::new();
    let account = running.create(b"");
    assert_eq!(running.fetch(account).unwrap(), b"");
    let mut client = running.greeted(1);
    client.send(&update(account, TOKEN));
    assert_eq!(client.take_btoken().unwrap(), b"");
    client.send(&[upload(b"").as_slice(), &account].concat());
    assert_eq!(client.end(), End::clean());
}

#[test]
fn every_refusal_is_a_cut_without_a_byte() {
    let running = Running::new();
    let account = running.create(b"kept");
    let check = |layout: u8, sent: &[u8]| {
        let mut client = running.greeted(layout);
        client.send(sent);
        assert_eq!(client.end(), End::cut(), "layout {layout}, {sent:?}");
    };
    for layout in [1, 2] {
        check(layout, b"x");
        check(layout, b"C");
        check(layout, b"\0");
        for action in [update, reset] {
            check(layout, &action(account, [8; 32]));
            check(layout, &action([9; 8], TOKEN));
            check(layout, &action([0; 8], TOKEN));
        }
        let mut client = running.connect(layout);
        client.send(b"passmate-server-protocoL");
        assert_eq!(client.end(), End::cut());
        let mut client = running.connect(layout);
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.end(), End::cut());
    }
    assert_eq!(running.fetch(account).unwrap(), b"kept");
}

#[test]
fn a_client_that_leaves_early_changes_nothing() {
    let running = Running::new();
    let account = running.create(b"kept");
    let whole = create(b"never stored");
    for layout in [1, 2] {
        for is_clean in [true, false] {
            let end = |sent: &[&[u8]]| {
                let mut client = running.greeted(layout);
                for part in sent {
                    client.send(part);
                }
                if is_clean {
                    client.close_notify()
                } else {
                    client.fin()
                }
                client.end()
            };
            for len in [0, 1, 20, 35, 40, whole.len() - 1] {
                assert_eq!(end(&[&whole[..len]]), End::cut(), "create cut after {len}");
            }
            for action in [update, reset] {
                for len in [1, 8, 40] {
                    assert_eq!(end(&[&action(account, TOKEN)[..len]]), End::cut());
                }
            }
            for len in [0, 3, 4, 10] {
                let mut client = running.greeted(layout);
                client.send(&update(account, TOKEN));
                assert_eq!(client.take_btoken().unwrap(), b"kept");
                client.send(&upload(b"changed")[..len]);
                if is_clean {
                    client.close_notify()
                } else {
                    client.fin()
                }
                assert_eq!(client.end(), End::cut(), "update cut after {len}");
            }
        }
    }
    assert_eq!(running.fetch(account).unwrap(), b"kept");
}

#[test]
fn a_missing_last_row_is_confirmed_after_the_grace() {
    let running = Running::with(|config| config.limits.confirm_grace = Duration::from_millis(200));
    let account = running.create(b"old");
    let begun = Instant::now();
    let mut client = running.greeted(1);
    client.send(&update(account, TOKEN));
    client.take_btoken().unwrap();
    client.send(&upload(b"new"));
    assert_eq!(client.end(), End::clean_after(&account));
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(running.fetch(account).unwrap(), b"new");
}

#[test]
fn a_close_notify_after_the_btoken_is_confirmed_at_once() {
    let running = Running::with(|config| config.limits.confirm_grace = Duration::from_secs(15));
    let account = running.create(b"old");
    for version in [&TLS13, &TLS12] {
        let mut client = running.connect_by(1, version);
        client.greet();
        client.send(&update(account, TOKEN));
        client.take_btoken().unwrap();
        client.send(&upload(b"new"));
        client.close_notify();
        assert_eq!(client.end(), End::clean_after(&account));
        assert_eq!(running.fetch(account).unwrap(), b"new");
    }
}

#[test]
fn the_last_row_must_be_the_whole_account_number() {
    let running = Running::with(|config| {
        config.limits.confirm_grace = Duration::from_millis(100);
        config.limits.idle_timeout = Duration::from_millis(500);
    });
    let account = running.create(b"old");
    let mut wrong = account;
    wrong[7] ^= 1;
    let check = |last: &[u8], pause: Duration, finish: fn(&mut wire::Client)| {
        let mut client = running.greeted(1);
        client.send(&update(account, TOKEN));
        client.take_btoken().unwrap();
        client.send(&[upload(b"new").as_slice(), last].concat());
        std::thread::sleep(pause);
        finish(&mut client);
        assert_eq!(client.end(), End::cut(), "last row {last:?}");
        assert_eq!(running.fetch(account).unwrap(), b"old");
    };
    check(&wrong, Duration::ZERO, |_| {});
    // After the first byte of the last row, the server no longer sends that row itself.
    check(&account[..1], Duration::from_millis(250), |client| {
        client.close_notify()
    });
    check(&account[..7], Duration::ZERO, |client| client.fin());
    check(&account[..7], Duration::ZERO, |_| {});
    check(&[], Duration::ZERO, |client| client.fin());
}

#[test]
fn a_last_row_in_pieces_is_accepted_within_the_idle_limit() {
    let running = Running::with(|config| config.limits.confirm_grace = Duration::from_millis(50));
    let account = running.create(b"old");
    let mut client = running.greeted(1);
    client.send(&update(account, TOKEN));
    client.take_btoken().unwrap();
    client.send(&[upload(b"new").as_slice(), &account[..3]].concat());
    std::thread::sleep(Duration::from_millis(200));
    client.send(&account[3..]);
    assert_eq!(client.end(), End::clean());
    assert_eq!(running.fetch(account).unwrap(), b"new");
}

#[test]
fn bytes_after_the_end_are_read_and_ignored() {
    let running = Running::new();
    let account = running.create(b"old");
    for len in [1, 1000, 50_000] {
        let mut client = running.greeted(1);
        client.send(&update(account, TOKEN));
        client.take_btoken().unwrap();
        client.send(&[upload(b"new").as_slice(), &account, &vec![0; len]].concat());
        assert_eq!(client.end(), End::clean());
    }
}

#[test]
fn a_lost_race_is_cut_and_changes_nothing() {
    let running = Running::new();
    let account = running.create(b"old");
    let mut slow = running.greeted(1);
    slow.send(&update(account, TOKEN));
    slow.take_btoken().unwrap();
    // The second client waits 5 s for its turn, and then goes on without it.
    let mut fast = running.greeted(1);
    fast.send(&update(account, TOKEN));
    fast.take_btoken().unwrap();
    fast.send(&[upload(b"fast").as_slice(), &account].concat());
    assert_eq!(fast.end(), End::clean());
    slow.send(&[upload(b"slow").as_slice(), &account].concat());
    assert_eq!(slow.end(), End::cut());
    assert_eq!(running.fetch(account).unwrap(), b"fast");
}

#[test]
fn an_update_that_finds_its_account_deleted_revives_nothing() {
    let running = Running::new();
    let account = running.create(b"old");
    let mut client = running.greeted(1);
    client.send(&update(account, TOKEN));
    client.take_btoken().unwrap();
    let mut other = running.greeted(1);
    other.send(&reset(account, TOKEN));
    assert_eq!(other.end(), End::clean());
    client.send(&[upload(b"new").as_slice(), &account].concat());
    assert_eq!(client.end(), End::cut());
    assert_eq!(running.fetch(account), None);
}

#[test]
fn a_client_that_only_fetches_gets_no_confirmation() {
    let running = Running::new();
    let account = running.create(b"kept");
    for version in [&TLS13, &TLS12] {
        let mut client = running.connect_by(1, version);
        client.greet();
        client.send(&update(account, TOKEN));
        client.take_btoken().unwrap();
        client.close_notify();
        // Also in TLS 1.2, where a close_notify is usually answered with another.
        let end = client.end();
        assert_eq!((end.how, end.bytes), (How::Cut, vec![]));
    }
}
