use super::*;
use crate::ended::{Blame, Ended};
use crate::limits::TurnedAway;

const NOW: i64 = 1_800_000_000;
const GIB: u64 = 1 << 30;

fn facts() -> Facts {
    Facts {
        now: NOW,
        ..Facts::default()
    }
}

#[track_caller]
fn check(facts: &Facts, expected: &[&str]) {
    let found: Vec<_> = findings(facts).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn unknown_facts_yield_no_findings() {
    check(&facts(), &[]);
}

#[test]
fn a_certificate_is_found_two_weeks_before_its_end() {
    let certificate = |left: i64| Facts {
        certificate_not_after: Some(NOW + left),
        ..facts()
    };
    check(&certificate(14 * DAY), &[]);
    check(&certificate(14 * DAY - 1), &["expires in 13 days"]);
    check(&certificate(0), &["expires in 0 s"]);
    check(&certificate(-1), &["has expired"]);
}

#[test]
fn another_key_is_found_for_two_weeks() {
    let changed = |age: i64| Facts {
        key_changed_at: Some(NOW - age),
        ..facts()
    };
    check(&changed(0), &["another key since"]);
    check(&changed(14 * DAY - 1), &["another key since"]);
    check(&changed(14 * DAY), &[]);
}

#[test]
fn a_backup_is_old_after_two_days() {
    let backup = |made_at: Option<i64>| Facts {
        backup: LastBackup::known(made_at, false),
        ..facts()
    };
    check(&backup(Some(NOW - 2 * DAY)), &[]);
    check(&backup(Some(NOW - 3 * DAY)), &["3 days old"]);
    check(&backup(None), &["no backup"]);
    check(&backup(Some(NOW + 60)), &[]);
    check(&backup(Some(NOW + DAY)), &["dated in the future"]);
}

#[test]
fn little_disk_space_is_one_finding() {
    let disk = |free: u64, size: u64| Facts {
        disk: Some(Disk { free, size }),
        ..facts()
    };
    check(&disk(10 * GIB, 100 * GIB), &[]);
    check(
        &disk(10 * GIB - 1, 100 * GIB),
        &["the disk has 10.0 GiB left"],
    );
    check(&disk(2 * GIB - 1, 100 * GIB), &["no new accounts"]);
    check(&disk(GIB - 1, 5 * GIB), &["no new accounts"]);
    check(&disk(GIB, 5 * GIB), &[]);
    check(&disk(0, 0), &[]);
}

#[test]
fn the_space_that_a_change_needs_is_a_share_or_a_size() {
    let disk = |size: u64| Disk { free: 0, size };
    assert_eq!(free_min_for_creates(disk(100 * GIB)), 2 * GIB);
    assert_eq!(free_min_for_creates(disk(5 * GIB)), GIB);
    assert_eq!(free_min_for_growth(disk(100 * GIB)), GIB / 2);
    assert_eq!(free_min_for_growth(disk(5 * GIB)), GIB / 4);
    assert_eq!(free_min_for_creates(disk(0)), 0, "the size is unknown");
}

#[test]
fn recent_errors_and_damage_are_found() {
    let error = |age: i64| Facts {
        last_error: Some(LastError {
            at: NOW - age,
            name: "disk_full",
            remedy: "free some space",
        }),
        ..facts()
    };
    check(&error(DAY), &[]);
    check(&error(DAY - 1), &["the last error was 23 h ago: disk full"]);
    let damaged = Facts {
        damaged: 1,
        ..facts()
    };
    check(&damaged, &["does not match"]);
}

#[test]
fn a_clock_behind_the_store_and_few_descriptors_are_found() {
    let newest = |ahead: i64| Facts {
        newest_change: Some(NOW + ahead),
        ..facts()
    };
    check(&newest(300), &[]);
    check(&newest(301), &["the clock is behind"]);
    let connections = |descriptors: u64| Facts {
        connections: Some(Connections {
            configured: 800,
            descriptors,
        }),
        ..facts()
    };
    check(&connections(1000), &[]);
    check(&connections(999), &["allow 796 connections"]);
}

#[test]
fn bytes_and_durations_are_shown_in_a_suitable_unit() {
    let bytes = [show_bytes(5), show_bytes(2048), show_bytes(3 * GIB)];
    assert_eq!(bytes, ["5 bytes", "2.0 KiB", "3.0 GiB"]);
    let durations = [-5, 119, 7199, 3 * DAY].map(show_duration);
    assert_eq!(durations, ["0 s", "119 s", "119 min", "3 days"]);
}

/// The alert rules cannot import the thresholds, so this holds them to the same values.
#[test]
fn the_alert_rules_have_the_same_thresholds() {
    let path = "../../deploy/prometheus-alerts.yml";
    let alerts =
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let alerts = alerts.unwrap();
    let expression = |alert: &str| {
        let rule = alerts.split(&format!("- alert: {alert}\n")).nth(1).unwrap();
        let line = rule.lines().find(|line| line.contains("expr:")).unwrap();
        line.trim().strip_prefix("expr: ").unwrap().to_owned()
    };
    assert_eq!(
        expression("PassmateCertificateExpires"),
        format!("passmate_certificate_not_after_seconds - time() < {CERTIFICATE_DAYS_MIN} * 86400")
    );
    assert_eq!(
        expression("PassmateKeyChanged"),
        format!(
            "time() - passmate_certificate_key_changed_time_seconds < {KEY_CHANGE_DAYS_MAX} * 86400"
        )
    );
    let backup = format!("time() - passmate_last_backup_time_seconds > {BACKUP_DAYS_MAX} * 86400");
    assert!(expression("PassmateBackupOld").starts_with(&backup));
    let share = DISK_FREE_PERCENT_MIN as f64 / 100.0;
    assert_eq!(
        expression("PassmateDiskFillsUp"),
        format!("passmate_disk_free_bytes / passmate_disk_size_bytes < {share}")
    );

    let mut named: Vec<&str> = Ended::ALL
        .iter()
        .filter(|ended| matches!(ended.blame(), Blame::Store | Blame::Bug))
        .map(|ended| ended.name())
        .collect();
    named.sort_unstable();
    let rule = expression("PassmateStoreFails");
    let lists: Vec<&str> = rule.split("result=~\"").skip(1).collect();
    assert_eq!(lists.len(), 2);
    for list in lists {
        let mut listed: Vec<&str> = list.split('"').next().unwrap().split('|').collect();
        listed.sort_unstable();
        assert_eq!(listed, named);
    }

    let full = TurnedAway::ConnectionsMax.name();
    assert!(expression("PassmateTurnsAway").contains(&format!("reason=\"{full}\"")));
}

#[test]
fn backups_of_a_database_elsewhere_are_not_known_here() {
    assert_eq!(LastBackup::known(None, true), None);
    assert_eq!(LastBackup::known(None, false), Some(LastBackup::NoneKnown));
    assert_eq!(
        LastBackup::known(Some(5), true),
        Some(LastBackup::MadeAt(5))
    );
}
