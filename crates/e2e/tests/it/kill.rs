//! A server that is killed at any moment still has everything that it confirmed.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use passmate_proto::Outcome;

use crate::support::Server;
use crate::support::exchange::{create, fetch, try_update, update};

/// Kills in a row. Each round starts a fresh process on the same data.
const KILLS: u32 = 15;

#[test]
fn confirmed_data_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let account = create(&server, b"");
    server.kill();
    let mut expected = Vec::new();
    for round in 0..KILLS {
        let server = Server::start(dir.path());
        assert_eq!(fetch(&server, account).unwrap(), expected, "round {round}");
        expected.extend_from_slice(&round.to_be_bytes());
        assert!(matches!(
            update(&server, account, |_| expected.clone()),
            Outcome::Confirmed(_)
        ));
        // Kill the server right after its confirmation.
        server.kill();
    }
    assert_eq!(
        fetch(&Server::start(dir.path()), account).unwrap(),
        expected
    );
}

#[test]
fn confirmed_data_survive_a_kill_under_load() {
    const WRITERS: usize = 4;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let accounts: Vec<_> = (0..WRITERS)
        .map(|_| create(&server, &0u32.to_be_bytes()))
        .collect();
    server.kill();
    // The last number that the server confirmed to each account's writer.
    let confirmed: Vec<_> = accounts.iter().map(|_| AtomicU32::new(0)).collect();
    for round in 0..4u64 {
        let server = Server::start(dir.path());
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (account, confirmed) in accounts.iter().zip(&confirmed) {
                let (server, is_over) = (&server, &is_over);
                scope.spawn(move || write_until(server, *account, confirmed, is_over));
            }
            std::thread::sleep(Duration::from_millis(150 + 37 * round));
            rustix::process::kill_process(server.pid(), rustix::process::Signal::KILL).unwrap();
            is_over.store(true, Ordering::Relaxed);
        });
        drop(server);
        let server = Server::start(dir.path());
        for (account, confirmed) in accounts.iter().zip(&confirmed) {
            let btoken = fetch(&server, *account).unwrap();
            let stored = check_whole(&btoken);
            let confirmed = confirmed.load(Ordering::Relaxed);
            assert!(
                stored >= confirmed,
                "{confirmed} was confirmed and {stored} is stored"
            );
        }
        server.kill();
    }
    let total: u32 = confirmed
        .iter()
        .map(|confirmed| confirmed.load(Ordering::Relaxed))
        .sum();
    assert!(
        total > 20,
        "only {total} updates were confirmed: too few for a meaningful run"
    );
}

/// Counts up in one account until the server is killed.
fn write_until(
    server: &Server,
    account: passmate_proto::AccountNumber,
    confirmed: &AtomicU32,
    is_over: &AtomicBool,
) {
    while !is_over.load(Ordering::Relaxed) {
        let mut count = 0_u32;
        let outcome = try_update(server, account, |btoken| {
            count = check_whole(btoken) + 1;
            count.to_be_bytes().repeat(500)
        });
        // In all other cases the kill came in the middle of the update.
        if let Ok(Outcome::Confirmed(_)) = outcome {
            confirmed.store(count, Ordering::Relaxed);
        }
    }
}

/// A whole btoken is one number, repeated. Anything else was written in part.
fn check_whole(btoken: &[u8]) -> u32 {
    let number: [u8; 4] = btoken.first_chunk().copied().unwrap();
    assert!(
        btoken.chunks(4).all(|chunk| chunk == number),
        "a torn btoken"
    );
    u32::from_be_bytes(number)
}
