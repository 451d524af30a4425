//! The socket: who may use it, and what it stands.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::thread;

use passmate_agent::client::Agent;
use passmate_agent::place::AgentPlace;
use passmate_agent::serve::{CLIENTS_MAX, Server};
use passmate_agent::vaults::Vaults;
use passmate_agent::wire::{END, GO_ON, VERSION};
use passmate_core::answer::{Consent, Halt, Need, Reply};
use passmate_core::edit::Edit;
use passmate_core::problem::ProblemKind;
use passmate_core::settings::Holding;

use crate::{OfAgent, location, suite};

fn is_locked<T>(reply: Reply<T>) -> bool {
    matches!(reply, Err(Halt::Needs(Need::Locked)))
}

/// Says hello by hand, and reads the agent's.
fn greet(agent: &OfAgent, version: u32, choice: u8) -> UnixStream {
    let mut stream = UnixStream::connect(agent.place().socket()).unwrap();
    stream.write_all(b"passmate").unwrap();
    stream.write_all(&version.to_be_bytes()).unwrap();
    let mut hello = [0; 12];
    stream.read_exact(&mut hello).unwrap();
    assert_eq!(hello[..8], *b"passmate");
    assert_eq!(hello[8..], VERSION.to_be_bytes());
    stream.write_all(&[choice]).unwrap();
    stream
}

/// Whether the agent ends the connection without a word.
fn is_closed(mut stream: &UnixStream) -> bool {
    !matches!(stream.read(&mut [0]), Ok(1..))
}

#[test]
fn a_vault_is_locked_until_a_client_unlocks_it() {
    let agent = OfAgent::start();
    let mut vault = agent.vault();
    assert!(is_locked(vault.list()));
    assert!(agent.connect().status().unwrap().vaults.is_empty());
    let mut client = agent.connect();
    let wrong = client.unlock(
        &agent.path(),
        &"wrong".to_owned().into(),
        &Holding::default(),
    );
    assert_eq!(wrong.unwrap_err().kind, ProblemKind::WrongPassphrase);
    client
        .unlock(&agent.path(), &suite::passphrase(), &Holding::default())
        .unwrap();
    vault.list().unwrap();
    let status = client.status().unwrap();
    assert!(status.holds(&agent.path().canonicalize().unwrap()));
    assert_eq!(status.vaults[0].locks_in, 15 * 60);
    client.lock(Some(&agent.path())).unwrap();
    assert!(is_locked(vault.list()));
}

#[test]
fn an_idle_vault_is_locked_by_the_moved_clock() {
    let agent = OfAgent::start();
    let mut client = agent.connect();
    client
        .unlock(&agent.path(), &suite::passphrase(), &Holding::default())
        .unwrap();
    let mut vault = agent.vault();
    agent.minutes.store(14, Ordering::SeqCst);
    vault.list().unwrap();
    agent.minutes.store(29, Ordering::SeqCst);
    assert!(is_locked(vault.list()));
    assert!(client.status().unwrap().vaults.is_empty());
}

#[test]
fn the_socket_is_out_of_reach_of_other_users() {
    let agent = OfAgent::start();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(agent.place().socket()), 0o600);
    assert_eq!(mode(agent.dir.path().join("agent")), 0o700);
    // A folder that others can enter may hold the socket of another.
    fs::set_permissions(
        agent.dir.path().join("agent"),
        Permissions::from_mode(0o755),
    )
    .unwrap();
    let refused = Agent::connect(&agent.place()).unwrap_err();
    assert_eq!(refused.kind, ProblemKind::NotTrusted);
    let link = agent.dir.path().join("link");
    std::os::unix::fs::symlink(agent.dir.path().join("agent"), &link).unwrap();
    let refused = Agent::connect(&AgentPlace::at(link)).unwrap_err();
    assert_eq!(refused.kind, ProblemKind::NotTrusted);
}

#[test]
fn another_user_who_reaches_the_socket_gets_no_answer() {
    const NOBODY: u32 = 65534;
    const CLIENT: &str = "import socket, sys\n\
        s = socket.socket(socket.AF_UNIX)\n\
        s.connect(sys.argv[1])\n\
        try:\n    s.sendall(b'passmate\\0\\0\\0\\1g')\n    print(len(s.recv(12)))\n\
        except ConnectionError:\n    print(0)\n";
    if !rustix::process::getuid().is_root() {
        eprintln!("not run: needs root");
        return;
    }
    let agent = OfAgent::start();
    let folder = agent.dir.path().join("agent");
    let socket = agent.place().socket();
    let set = |path: &std::path::Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let answered = |user| {
        let mut client = Command::new("python3");
        let client = client.args(["-c", CLIENT]).arg(&socket).uid(user);
        String::from_utf8(client.output().unwrap().stdout).unwrap()
    };
    assert_eq!(answered(NOBODY), "", "the folder lets nobody in");
    for (path, mode) in [
        (agent.dir.path(), 0o711),
        (&folder, 0o711),
        (&socket, 0o666),
    ] {
        set(path, mode);
    }
    assert_eq!(answered(0), "12\n");
    assert_eq!(answered(NOBODY), "0\n");
    set(&folder, 0o700);
    agent.connect().status().unwrap();
}

#[test]
fn one_agent_runs_for_a_user() {
    let agent = OfAgent::start();
    let vaults = || Vaults::new(location);
    let second = Server::bind(&agent.place(), vaults(), std::time::Duration::default);
    assert_eq!(second.unwrap_err().kind, ProblemKind::Exists);
    agent.connect().status().unwrap();
    // Of an agent that was killed, the socket stays and the lock does not.
    let dir = tempfile::tempdir().unwrap();
    let place = AgentPlace::at(dir.path().join("agent"));
    assert!(Agent::connect(&place).unwrap().is_none());
    drop(Server::bind(&place, vaults(), std::time::Duration::default).unwrap());
    fs::write(place.socket(), "").unwrap();
    assert!(Agent::connect(&place).unwrap().is_none());
    Server::bind(&place, vaults(), std::time::Duration::default).unwrap();
}

#[test]
fn a_client_of_another_version_ends_the_agent_and_gets_nothing() {
    let agent = OfAgent::start();
    let mut vault = agent.vault();
    agent
        .connect()
        .unlock(&agent.path(), &suite::passphrase(), &Holding::default())
        .unwrap();
    assert!(is_closed(&greet(&agent, VERSION + 1, GO_ON)));
    vault.list().unwrap();
    assert!(is_closed(&greet(&agent, VERSION + 1, END)));
    assert!(vault.list().is_err());
    agent.stopper.stop();
}

#[test]
fn what_is_no_request_ends_its_connection_alone() {
    let agent = OfAgent::start();
    let mut client = agent.connect();
    client
        .unlock(&agent.path(), &suite::passphrase(), &Holding::default())
        .unwrap();
    for bytes in [
        &b"\xff\xff\xff\xff"[..],
        b"\0\0\0\x01\xc1",
        b"\0\0\0\x07\xa6Status\0\0\0\x01\xc1",
        b"\0\0\0\0",
    ] {
        let mut stream = greet(&agent, VERSION, GO_ON);
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    let mut stream = UnixStream::connect(agent.place().socket()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(is_closed(&stream));
    agent.vault().list().unwrap();
    client.status().unwrap();
}

#[test]
fn a_client_too_many_waits_until_another_one_leaves() {
    let agent = OfAgent::start();
    let mut clients: Vec<_> = (0..CLIENTS_MAX).map(|_| agent.connect()).collect();
    for client in &mut clients {
        client.status().unwrap();
    }
    thread::scope(|scope| {
        let waits = scope.spawn(|| agent.connect().status());
        clients[0].status().unwrap();
        clients.pop();
        waits.join().unwrap().unwrap();
    });
    // Programs of SSH are counted apart.
    clients.push(agent.connect());
    let mut ssh = UnixStream::connect(agent.place().ssh_socket()).unwrap();
    ssh.write_all(b"\0\0\0\x01\x0b").unwrap();
    ssh.read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn a_folder_that_was_made_anew_belongs_to_the_next_agent() {
    let mut agent = OfAgent::start();
    let folder = agent.dir.path().join("agent");
    // A socket of the same file system has another number while the first one is there.
    fs::rename(&folder, agent.dir.path().join("gone")).unwrap();
    let vaults = Vaults::new(location);
    let second = Server::bind(&agent.place(), vaults, std::time::Duration::default).unwrap();
    let stopper = second.stopper();
    thread::scope(|scope| {
        scope.spawn(|| second.run());
        agent.connect().status().unwrap();
        // The first one ends, and takes nothing from the second one.
        agent.stopper.stop();
        agent.join();
        let found = Agent::connect(&agent.place()).unwrap();
        stopper.stop();
        assert!(found.is_some());
    });
}

#[test]
fn several_clients_change_one_vault_in_turn() {
    const EACH: usize = 5;
    let agent = OfAgent::start();
    agent
        .connect()
        .unlock(&agent.path(), &suite::passphrase(), &Holding::default())
        .unwrap();
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for client in 0..4 {
            let (agent, barrier) = (&agent, &barrier);
            scope.spawn(move || {
                let mut vault = agent.vault();
                barrier.wait();
                for number in 0..EACH {
                    let path = format!("{client}/{number}");
                    vault
                        .change(&Edit::Create { path }, &Consent::none(), &mut |_| {})
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(agent.vault().list().unwrap().len(), 4 * EACH);
}

#[test]
fn an_unlock_in_between_stops_no_call() {
    let agent = OfAgent::start();
    let mut client = agent.connect();
    client
        .unlock(&agent.path(), &suite::passphrase(), &Holding::default())
        .unwrap();
    let mut vault = agent.vault();
    let mut created = 0;
    thread::scope(|scope| {
        let unlocks = scope.spawn(|| {
            for _ in 0..20 {
                client
                    .unlock(&agent.path(), &suite::passphrase(), &Holding::default())
                    .unwrap();
            }
        });
        while !unlocks.is_finished() {
            let path = created.to_string();
            let edit = Edit::Create { path };
            vault.change(&edit, &Consent::none(), &mut |_| {}).unwrap();
            created += 1;
        }
    });
    assert_eq!(vault.list().unwrap().len(), created);
}

#[test]
fn a_connection_that_breaks_is_a_problem_with_a_hint() {
    let agent = OfAgent::start();
    let mut client = agent.connect();
    client
        .unlock(&agent.path(), &suite::passphrase(), &Holding::default())
        .unwrap();
    let mut vault = agent.vault();
    vault.list().unwrap();
    client.end().unwrap();
    for _ in 0..2 {
        let problem = vault.list().unwrap_err().into_problem();
        assert!(!problem.hint.is_empty(), "{problem:?}");
    }
}
