//! Several devices, one account, one server: they end with the same vault, and nothing that was
//! confirmed is ever lost.

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

/// Devices that append at once.
const CROWD: usize = 60;
/// Runs with random edits; PASSMATE_SEEDS says otherwise.
const SEEDS: u64 = 8;
/// The first of them; with another one, by PASSMATE_FIRST_SEED, other edits are tried.
const FIRST_SEED: u64 = 0;
const STEPS: usize = 120;

/// Repeatable choices.
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

/// One edit as people make them, at a time by a clock that may be hours off.
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

/// What people see: paths with their fields.
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
        println!("seed {seed} (again with PASSMATE_FIRST_SEED={seed} PASSMATE_SEEDS=1)");
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
    // Everything that anybody ever did.
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
    // The first round brings everything to the server, the second one to everybody.
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
            "a change was lost, or one appeared from nowhere"
        );
        assert_eq!(shown(device.session.vault()), expected);
        let report = device.sync(server).unwrap();
        assert_eq!(
            (report.received, report.sent),
            (0, 0),
            "nothing is left to do"
        );
    }
    assert!(all.change_count() > 30, "the run shows little");
}

#[test]
fn sixty_devices_that_append_to_one_account_at_once_all_get_through_and_lose_nothing() {
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
    assert_eq!(failures, [""; 0], "not all got through");
    first.sync(&server).unwrap();
    let paths: BTreeSet<_> = first.paths().into_iter().collect();
    let expected: BTreeSet<_> = (0..CROWD)
        .map(|number| format!("device {number}"))
        .collect();
    assert_eq!(paths, expected, "something that was confirmed is missing");
}

#[test]
fn a_device_that_stalls_in_the_middle_delays_others_by_its_turn_and_then_loses_the_race() {
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
                .replace(b"what a device makes of old data".to_vec())
                .outcome
        });
        fetched.recv_timeout(Duration::from_secs(20)).unwrap();
        device.add("while another stalls", "secret");
        let begun = Instant::now();
        let report = device.sync(server).unwrap();
        let waited = begun.elapsed();
        assert_eq!(report.sent, 2);
        // It waited in the queue, so the stalled one was there, and for no longer than a turn.
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
        "what was confirmed is there"
    );
}

#[test]
fn a_device_that_was_away_for_long_brings_and_gets_everything_field_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut laptop = Device::first(&server);
    laptop.add("mail", "old");
    laptop.sync(&server).unwrap();
    let mut phone = Device::joined(&server, &laptop.key());
    let id = phone.session.vault().records().next().unwrap().0.clone();
    // Both without a network: different fields of one record.
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
