//! Strangers that try to exhaust the server, and an honest client beside them.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::start;
use passmate_testkit::server::Running;
use passmate_testkit::wait::until;
use passmate_testkit::wire::{self, End, TOKEN, create, update, upload};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

#[test]
fn announced_btokens_take_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    program.create(b"warm");
    let before = program.memory_peak();
    let mut strangers = Vec::new();
    for number in 0..200 {
        let mut client = program.greeted();
        let len: u32 = if number % 2 == 0 {
            2 << 20
        } else {
            2_097_152 - number
        };
        client.send(&[b"c".as_slice(), &TOKEN, &len.to_be_bytes()].concat());
        strangers.push(client);
    }
    // All connections are open at the same time, and others are served meanwhile.
    program.create(b"honest");
    let grown = program.memory_peak() - before;
    assert!(grown < 100 << 20, "{} MiB", grown >> 20);
    assert!(strangers.len() == 200);
}

#[test]
fn half_sent_creates_do_not_lock_out_devices() {
    let running = Running::with(|config| config.limits.memory_max = 16 << 20);
    let account = running.create(b"old");
    // Each client sends all but the last byte of a btoken. A quarter of the memory holds two.
    let mut strangers = Vec::new();
    for _ in 0..12 {
        let mut client = running.greeted(1);
        let whole = create(&vec![3; 2 << 20]);
        // Clients without memory for their btoken are cut while they send.
        let _ = client.try_send(&whole[..whole.len() - 1]);
        strangers.push(client);
    }
    let new = vec![4; 2 << 20];
    let mut client = running.greeted(1);
    client.send(&update(account, TOKEN));
    assert_eq!(client.take_btoken().unwrap(), b"old");
    client.send(&[upload(&new).as_slice(), &account].concat());
    assert_eq!(client.end(), End::clean());
    assert_eq!(running.fetch(account).unwrap(), new);
    let cut = strangers
        .iter_mut()
        .map(wire::Client::is_ended)
        .filter(|is| *is)
        .count();
    assert!((8..12).contains(&cut), "{cut} of 12 were cut");
}

#[test]
fn half_sent_updates_do_not_lock_out_other_accounts() {
    let running = Running::with(|config| config.limits.memory_max = 32 << 20);
    let account = running.create(b"old");
    let own = running.create(b"a stranger's");
    // One client has its turn, 32 wait for it, and later ones go on at once.
    let begin = || {
        let mut client = running.greeted(1);
        client.send(&update(own, TOKEN));
        client
    };
    let mut first = begin();
    first.take_btoken().unwrap();
    let _waiting: Vec<_> = (0..32).map(|_| begin()).collect();
    let whole = upload(&vec![3; 2 << 20]);
    let mut strangers = Vec::new();
    for _ in 0..24 {
        let mut client = begin();
        // Clients without memory are cut while they send, or before they get the btoken.
        if client.take_btoken().is_some() {
            let _ = client.try_send(&whole[..whole.len() - 1]);
        }
        strangers.push(client);
    }
    let new = vec![4; 2 << 20];
    let mut client = running.greeted(1);
    client.send(&update(account, TOKEN));
    assert_eq!(client.take_btoken().unwrap(), b"old");
    client.send(&[upload(&new).as_slice(), &account].concat());
    assert_eq!(client.end(), End::clean());
    assert_eq!(running.fetch(account).unwrap(), new);
    let kept = strangers
        .iter_mut()
        .map(wire::Client::is_ended)
        .filter(|is_ended| !is_ended)
        .count();
    assert!(
        (1..=4).contains(&kept),
        "{kept} of 24 hold a quarter of the memory"
    );
}

#[test]
fn what_was_sent_takes_no_memory_while_a_client_thinks() {
    let running = Running::with(|config| config.limits.memory_max = 8 << 20);
    // Six copies of the btoken would not fit into the memory.
    let accounts: Vec<_> = (0..6).map(|_| running.create(&vec![1; 2 << 20])).collect();
    let mut thinking = Vec::new();
    for account in &accounts {
        let mut client = running.greeted(1);
        client.send(&update(*account, TOKEN));
        assert_eq!(client.take_btoken().unwrap().len(), 2 << 20);
        thinking.push(client);
    }
    for (mut client, account) in thinking.into_iter().zip(accounts) {
        client.send(&[upload(&vec![2; 2 << 20]).as_slice(), &account].concat());
        assert_eq!(client.end(), End::clean());
    }
}

#[test]
fn memory_comes_back_when_strangers_go() {
    let running = Running::with(|config| config.limits.memory_max = 8 << 20);
    for _ in 0..20 {
        let mut client = running.greeted(1);
        let whole = create(&vec![3; 1 << 20]);
        client.send(&whole[..whole.len() - 1]);
        client.fin();
        assert_eq!(client.end(), End::cut());
    }
    running.create(&vec![5; 2 << 20]);
}

#[test]
fn a_connection_over_the_cap_ends_before_tls() {
    let running = Running::with(|config| config.limits.connections_max = 3);
    let held: Vec<_> = (0..3).map(|_| running.greeted(1)).collect();
    let mut tcp = TcpStream::connect(running.layout_1).unwrap();
    assert_eq!(tcp.read(&mut [0; 10]).unwrap(), 0, "an end without a byte");
    drop(held);
    until("a closed connection frees its slot", || {
        let certificate = running.dir.path().join("cert.pem");
        wire::Client::try_connect(running.layout_1, &certificate, 1, &wire::TLS13).is_ok()
    });
}

#[test]
fn a_server_without_descriptors_waits_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = start(dir.path(), &[]);
    program.create(b"warm");
    let pid = Pid::from_child(&program.child);
    // Only root can see the descriptors of a process that must not be dumped.
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: needs root");
        return;
    }
    let open = std::fs::read_dir(format!("/proc/{}/fd", program.child.id()))
        .unwrap()
        .count();
    // Two more descriptors than are open, so the third connection gets none.
    let few = Rlimit {
        current: Some(open as u64 + 2),
        maximum: getrlimit_max(pid),
    };
    let before = prlimit(Some(pid), Resource::Nofile, few).unwrap();
    let address = program.addresses[0];
    let crowd: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let cpu = cpu_ticks(program.child.id());
    std::thread::sleep(Duration::from_secs(2));
    let spent = cpu_ticks(program.child.id()) - cpu;
    assert!(
        spent < 50,
        "{spent} ticks of processor time in two seconds of waiting"
    );
    assert!(
        program.child.try_wait().unwrap().is_none(),
        "the server must survive"
    );
    // The limit stays; closed connections free descriptors.
    drop(crowd);
    let begun = Instant::now();
    program.create(b"honest");
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    prlimit(Some(pid), Resource::Nofile, before).unwrap();
    let log = program.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("cannot accept connections"))
        .count();
    assert_eq!(lines, 1, "{log}");
}

fn getrlimit_max(pid: Pid) -> Option<u64> {
    let everything = Rlimit {
        current: None,
        maximum: None,
    };
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    line.split_whitespace()
        .nth(4)
        .unwrap()
        .parse()
        .ok()
        .or(everything.maximum)
}

/// Processor time of a process, user and system, in hundredths of a second.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
