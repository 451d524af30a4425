use std::time::Duration;

use super::super::metrics::{Finished, Metrics, Operated, Sample};
use super::super::process::Process;
use super::*;
use crate::ended::Ended;
use crate::files::Disk;
use crate::limits::TurnedAway;

#[test]
fn the_page_names_what_needs_attention() {
    let metrics = Metrics::new();
    let at = 1_800_000_000;
    let fresh = write(
        &metrics.snapshot(),
        &Gauges {
            begun: at,
            ..Gauges::default()
        },
        at,
    );
    assert!(fresh.contains("No connection yet") && fresh.contains("All is well"));
    for number in 0..100 {
        let duration = Duration::from_millis(number * 7);
        let finished = Finished {
            action: "update",
            ended: Ended::Confirmed,
            bytes_in: 4000,
            bytes_out: 4000,
            duration,
            is_tls: true,
        };
        metrics.note_at(&finished, at - i64::try_from(number).unwrap_or(0) * 60);
    }
    let full = Finished {
        action: "create",
        ended: Ended::DiskFull,
        bytes_in: 1,
        bytes_out: 1,
        duration: Duration::ZERO,
        is_tls: true,
    };
    metrics.note_at(&full, at);
    metrics.note_sample(Sample {
        at,
        accounts: 1_234_567,
        disk: Some(Disk { free: 5, size: 100 }),
        last_backup: Some(at - 3 * DAY),
        ..Sample::default()
    });
    metrics.note_operated(Operated {
        at,
        action: "<b>".to_owned(),
        detail: String::new(),
        by: "root".to_owned(),
    });
    let now = Gauges {
        begun: at - DAY,
        certificate_not_after: Some(at + 3 * DAY),
        ..Gauges::default()
    };
    let page = write(&metrics.snapshot(), &now, at);
    for part in [
        "4 things need your attention",
        "Free some space, or move the data dir",
        "free some space, or move the data dir",
        "&lt;b&gt; by root",
        "p50",
        "expires in 3 days",
        "last backup is 3 days old",
        "5 bytes left",
        "disk full",
        "1,234,567",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for outside in [
        "src=", "href=", "url(", "<script", "@import", "http://", "https://",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(
        page.matches("<section").count(),
        page.matches("</section>").count()
    );
}

#[test]
fn the_page_shows_that_the_key_has_changed() {
    let at = 1_800_000_000;
    let with = |key_changed_at| Gauges {
        key_changed_at,
        ..Gauges::default()
    };
    let counts = Metrics::new().snapshot();
    let page = write(&counts, &with(Some(at - DAY)), at);
    assert!(page.contains("another key since") && page.contains("send the new pin"));
    assert!(!write(&counts, &with(None), at).contains("another key"));
}

#[test]
fn numbers_are_grouped_by_thousands() {
    let numbers = [number(0), number(999), number(1000), number(1_234_567)];
    assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
}

/// Shows a busy week. With PASSMATE_STATUS_PAGE the page is written to that path, to make the
/// picture in the manual.
#[test]
fn a_busy_week_fits_on_the_page() {
    let metrics = Metrics::new();
    let at = 1_795_517_000;
    let mut dice = 7_u64;
    let mut roll = |below: u64| {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % below
    };
    let finished = |action, ended, millis| {
        let duration = Duration::from_millis(millis);
        Finished {
            action,
            ended,
            bytes_in: 4200,
            bytes_out: 4300,
            duration,
            is_tls: true,
        }
    };
    let mut sample = Sample {
        accounts: 9_640,
        btoken_bytes: 800 << 20,
        store_bytes: 990 << 20,
        disk: Some(Disk {
            free: 41 << 30,
            size: 60 << 30,
        }),
        ..Sample::default()
    };
    for hour in (0..168_i64).rev() {
        let of_day = (at / 3600 - hour).rem_euclid(24);
        let busy = if (7..20).contains(&of_day) { 30 } else { 4 };
        for minute in (0..60)
            .map(|minute| (at / 3600 - hour) * 3600 + minute * 60)
            .filter(|time| *time <= at)
        {
            for _ in 0..busy + roll(busy) {
                metrics.note_at(
                    &finished(
                        "update",
                        if roll(5) == 0 {
                            Ended::Confirmed
                        } else {
                            Ended::LeftAfterFetch
                        },
                        1 + roll(9) * roll(12),
                    ),
                    minute,
                );
            }
            if roll(3) == 0 {
                metrics.note_at(&finished("update", Ended::UnknownAccountOrToken, 4), minute);
                metrics.note_at(&finished("create", Ended::Confirmed, 5), minute);
            }
        }
        sample.accounts += roll(5);
        sample.btoken_bytes += roll(3 << 20);
        metrics.note_sample(Sample {
            at: (at / 3600 - hour) * 3600,
            last_backup: Some(at - 8 * 3600),
            ..sample
        });
    }
    metrics.note_turned_away(TurnedAway::SourcePaused);
    for (days, action, detail) in [(2, "backup", "to a file"), (1, "invite add", "")] {
        metrics.note_operated(Operated {
            at: at - days * DAY,
            action: action.to_owned(),
            detail: detail.to_owned(),
            by: "root".to_owned(),
        });
    }
    let commits = crate::store::Commits {
        transactions: 31_004,
        changes: 49_210,
        waiting: 0,
        damaged: 0,
    };
    let now = Gauges {
        begun: at - 23 * DAY,
        open: 37,
        open_max: 10_000,
        btoken_memory: 312 << 10,
        btoken_memory_max: 256 << 20,
        certificate_not_after: Some(at + 61 * DAY),
        key_changed_at: None,
        commits,
        paused: 3,
        process: Some(Process {
            resident: 41 << 20,
            descriptors: 93,
            descriptors_max: 524_288,
        }),
        ..Gauges::default()
    };
    let page = write(&metrics.snapshot(), &now, at);
    assert!(page.len() < 128 << 10, "{}", page.len());
    assert!(page.contains("All is well"));
    if let Some(path) = std::env::var_os("PASSMATE_STATUS_PAGE") {
        std::fs::write(path, page).unwrap();
    }
}
