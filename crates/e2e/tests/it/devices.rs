//! Several devices with one account on one server end up with the same vault, and never lose
//! anything that was confirmed.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use passmate_core::sync::Transport;
use passmate_proto::{AccountNumber, AuthToken, Outcome};
use passmate_vault::{RecordId, Vault};

use crate::support::Server;
use crate::support::device::{Device, TURN_MAX};
use crate::support::exchange::remote;

/// Devices that append at the same time.
const CROWD: usize = 60;
/// Runs with random edits, unless PASSMATE_SEEDS sets another number.
const SEEDS: u64 = 8;
/// The first seed, unless PASSMATE_FIRST_SEED sets another one. Each seed makes other edits.
const FIRST_SEED: u64 = 0;
const STEPS: usize = 120;

/// Pseudo-random choices that a seed repeats.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() {
            None
        } else {
            Some(&of[self.below(of.len())])
        }
    }
}

/// One edit that a person could make, timed by a clock that may be hours off.
fn edit_at_random(device: &mut Device, chance: &mut Chance) {
    const PATHS: [&str; 5] = ["mail", "web/shop", "web/bank", "home/router", "work"];
    const FIELDS: [&str; 3] = ["user", "password", "note"];
    let now = 1_800_000_000 + i64::try_from(chance.below(20_000)).unwrap();
    let ids: Vec<RecordId> = device
        .session
        .vault()
        .records()
        .map(|record| record.0.clone())
        .collect();
    let path = PATHS[chance.below(PATHS.len())];
    let field = FIELDS[chance.below(FIELDS.len())];
    let value = format!("value {}", chance.below(1000));
    let new_id = device.session.make_record_id();
    let (kind, id) = (chance.below(10), chance.pick(&ids));
    device.session.edit(|vault, _| match (kind, id) {
        (0 | 1, _) | (_, None) => vault.create_record(new_id, path, now).map(drop).unwrap(),
        (2, Some(id)) => drop(vault.delete(id, now)),
        (3, Some(id)) => drop(vault.rename(id, path, now)),
        (4, Some(id)) => drop(vault.unset(id, field, now)),
        (_, Some(id)) => drop(vault.set(id, field, value.as_str(), now)),
    });
}

/// The records that people see: paths with their fields.
fn shown(vault: &Vault) -> Vec<String> {
    let view = vault.view();
    let record = |record: &passmate_vault::view::ViewRecord<'_>| {
        let fields: Vec<_> = record.fields().map(|field| format!("{field:?}")).collect();
        format!("{} {fields:?}", record.path.to_string_lossy())
    };
    view.records().iter().map(record).collect()
}

#[test]
fn three_devices_with_random_edits_reach_equal_vaults() {
    let seeds = std::env::var("PASSMATE_SEEDS").map_or(SEEDS, |number| number.parse().unwrap());
    let first_seed =
        std::env::var("PASSMATE_FIRST_SEED").map_or(FIRST_SEED, |number| number.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for seed in first_seed..first_seed + seeds {
        println!("seed {seed} (repeat with PASSMATE_FIRST_SEED={seed} PASSMATE_SEEDS=1)");
        sync_all(&server, seed);
    }
}

fn sync_all(server: &Server, seed: u64) {
    let mut chance = Chance(seed);
    let first = Device::first(server);
    let key = first.key();
    let mut devices = [
        first,
        Device::joined(server, &key),
        Device::joined(server, &key),
    ];
    // The union of all changes that any device ever made.
    let mut all = Vault::new();
    for _ in 0..STEPS {
        let at = chance.below(devices.len());
        let device = &mut devices[at];
        match chance.below(6) {
            0 => drop(device.sync(server).unwrap()),
            1 => device.session.save().unwrap(),
            _ => edit_at_random(device, &mut chance),
        }
        all.merge(device.session.vault());
    }
    // The first round sends all changes to the server, the second one sends them to all devices.
    for _ in 0..2 {
        for device in &mut devices {
            device.sync(server).unwrap();
        }
    }
    let expected = shown(&all);
    for device in &mut devices {
        assert_eq!(
            *device.session.vault(),
            all,
            "a change was lost, or a change appeared that no device made"
        );
        assert_eq!(shown(device.session.vault()), expected);
        let report = device.sync(server).unwrap();
        assert_eq!(
            (report.received, report.sent),
            (0, 0),
            "nothing is left to sync"
        );
    }
    assert!(
        all.change_count() > 30,
        "too few changes for a meaningful run"
    );
}

#[test]
fn sixty_devices_append_at_once_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut first = Device::first(&server);
    let key = first.key();
    let failures: Vec<String> = thread::scope(|scope| {
        let crowd: Vec<_> = (0..CROWD)
            .map(|number| {
                let (server, key) = (&server, &key);
                scope.spawn(move || {
                    let mut device = Device::new();
                    device.add(&format!("device {number}"), "secret");
                    device
                        .join(server, key.clone())
                        .map(drop)
                        .map_err(|error| format!("device {number}: {error}"))
                })
            })
            .collect();
        crowd
            .into_iter()
            .filter_map(|device| device.join().unwrap().err())
            .collect()
    });
    assert_eq!(failures, [""; 0], "some devices failed");
    first.sync(&server).unwrap();
    let paths: BTreeSet<_> = first.paths().into_iter().collect();
    let expected: BTreeSet<_> = (0..CROWD)
        .map(|number| format!("device {number}"))
        .collect();
    assert_eq!(paths, expected, "a confirmed change is missing");
}

#[test]
fn a_stalled_device_delays_others_by_one_turn() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut device = Device::first(&server);
    let key = device.key();
    let account = AccountNumber::from_bytes(key.account()).unwrap();
    let auth_token = AuthToken::new(*key.derive_auth_token().as_bytes());
    let (has_fetched, fetched) = mpsc::channel();
    let (release, go_on) = mpsc::channel();
    thread::scope(|scope| {
        let server = &server;
        let stalled = scope.spawn(move || {
            let connection = remote(server).connect().unwrap();
            let fetched = connection.update(account, auth_token).ok().unwrap();
            has_fetched.send(()).unwrap();
            let _ = go_on.recv();
            fetched
                .replace(b"an upload that is based on old data".to_vec())
                .outcome
        });
        fetched.recv_timeout(Duration::from_secs(20)).unwrap();
        device.add("while another stalls", "secret");
        let begun = Instant::now();
        let report = device.sync(server).unwrap();
        let waited = begun.elapsed();
        assert_eq!(report.sent, 2);
        // The device waited in the queue behind the stalled one, and for one turn at most.
        assert!(waited > TURN_MAX - Duration::from_secs(1), "{waited:?}");
        assert!(waited < TURN_MAX + Duration::from_secs(3), "{waited:?}");
        release.send(()).unwrap();
        let outcome = stalled.join().unwrap();
        assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    });
    let other = Device::joined(&server, &key);
    assert_eq!(
        other.paths(),
        ["while another stalls"],
        "a confirmed change is missing"
    );
}

#[test]
fn offline_edits_of_two_devices_merge_field_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut laptop = Device::first(&server);
    laptop.add("mail", "old");
    laptop.sync(&server).unwrap();
    let mut phone = Device::joined(&server, &laptop.key());
    let id = phone.session.vault().records().next().unwrap().0.clone();
    // Both edit one record offline, each another field.
    phone
        .session
        .edit(|vault, now| vault.set(&id, "user", "bob", now).unwrap());
    laptop
        .session
        .edit(|vault, now| vault.set(&id, "password", "new", now + 60).unwrap());
    phone.sync(&server).unwrap();
    laptop.sync(&server).unwrap();
    phone.sync(&server).unwrap();
    for device in [&laptop, &phone] {
        let view = device.session.vault().view();
        let record = view.get("mail").unwrap();
        let field = |name: &str| {
            record
                .field(&name.into())
                .unwrap()
                .value
                .to_string_lossy()
                .into_owned()
        };
        assert_eq!(
            (field("user"), field("password")),
            ("bob".to_owned(), "new".to_owned())
        );
    }
}
