//! A commit waits for a standby: no failover loses what was confirmed. The checker of histories
//! decides.

use std::time::{Duration, Instant};

use super::{Rig, Run, SERVERS, run};
use crate::history::nodes;
use crate::support::operate;

/// Confirmations before the failure, after the failover, and after the old leader is back; unless
/// `PASSMATE_RIG_UPDATES` sets another number.
const UPDATES: u64 = 500;
/// Twice the time after which a leader is taken for dead.
const PAUSE: Duration = Duration::from_secs(40);

#[test]
#[ignore = "scripts/ha-rig runs it"]
fn a_leader_that_is_killed_loses_nothing() {
    check("killed", |run, leader| {
        run.rig.call(&["kill", leader]);
        run.load.wait(updates(), Duration::ZERO);
        run.rig.call(&["start", leader]);
    });
}

#[test]
#[ignore = "scripts/ha-rig runs it"]
fn a_leader_that_stands_still_for_a_while_loses_nothing() {
    check("stopped for 40 s", |run, leader| {
        let begun = Instant::now();
        run.rig.call(&["pause", leader]);
        run.load.wait(updates(), Duration::ZERO);
        // A server that starts now finds the new leader, whichever host is named first.
        let late = nodes::start(&nodes::data_dir_of(run.dir, SERVERS), &run.rig.store);
        nodes::look(run.world, std::iter::once(&late));
        run.load.wait(0, PAUSE.saturating_sub(begun.elapsed()));
        run.rig.call(&["resume", leader]);
    });
}

fn updates() -> u64 {
    let updates = std::env::var("PASSMATE_RIG_UPDATES");
    updates.map_or(UPDATES, |updates| updates.parse().unwrap())
}

/// Lets a leader fail under load. `fail` returns when the old leader is coming back.
fn check(failure: &str, fail: impl FnOnce(&mut Run<'_>, &str)) {
    let rig = Rig::new("synchronous");
    let dir = tempfile::tempdir().unwrap();
    run(&rig, dir.path(), |run| {
        run.load.wait(updates(), Duration::ZERO);
        let leader = rig.leader();
        fail(run, &leader);
        assert_ne!(rig.leader(), leader, "another node was promoted");
        // The old leader follows the new one.
        rig.call(&["wait"]);
        run.load.wait(updates(), Duration::ZERO);
        assert_ne!(rig.leader(), leader, "the old leader took the key back");
        nodes::look(run.world, run.servers.iter());
        let (confirmed, longest) = (run.load.look(), run.load.longest);
        println!("leader {failure}: {confirmed} confirmed, none lost, longest gap {longest:.1?}");
    });
    operate(&dir.path().join("0"), &["verify", "--store", &rig.store]).ok();
}
