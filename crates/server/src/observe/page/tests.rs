use std::time::Duration;

use super::super::metrics::{Finished, Metrics, Sample};
use super::*;

#[test]
fn a_fresh_server_has_a_whole_page_and_one_with_a_history_names_what_needs_somebody() {
    let metrics = Metrics::new();
    let at = 1_800_000_000;
    let fresh = write(
        &metrics.snapshot(),
        &Now {
            begun: at,
            ..Now::default()
        },
        at,
    );
    assert!(fresh.contains("Nobody has come yet") && fresh.contains("All is well"));
    for number in 0..100 {
        let duration = Duration::from_millis(number * 7);
        let finished = Finished {
            action: "update",
            result: "confirmed",
            bytes_in: 4000,
            bytes_out: 4000,
            duration,
            is_tls: true,
        };
        metrics.note_at(&finished, at - i64::try_from(number).unwrap_or(0) * 60);
    }
    let full = Finished {
        action: "create",
        result: "disk_full",
        bytes_in: 1,
        bytes_out: 1,
        duration: Duration::ZERO,
        is_tls: true,
    };
    metrics.note_at(&full, at);
    metrics.note_sample(Sample {
        at,
        accounts: 1_234_567,
        disk_free: 5,
        disk_size: 100,
        last_backup: Some(at - 3 * DAY),
        ..Sample::default()
    });
    let now = Now {
        begun: at - DAY,
        certificate_not_after: Some(at + 3 * DAY),
        ..Now::default()
    };
    let page = write(&metrics.snapshot(), &now, at);
    for part in [
        "4 things need you",
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
fn numbers_are_written_as_people_read_them() {
    assert_eq!(
        [number(0), number(999), number(1000), number(1_234_567)],
        ["0", "999", "1,000", "1,234,567"]
    );
    assert_eq!(
        [bytes(5), bytes(2048), bytes(3 << 30)],
        ["5 bytes", "2.0 KiB", "3.0 GiB"]
    );
    assert_eq!(
        [stretch(-5), stretch(119), stretch(7199), stretch(3 * DAY)],
        ["0 s", "119 s", "119 min", "3 days"]
    );
}

/// A busy week; with PASSMATE_STATUS_PAGE the page is written there, to be looked at and for
/// its picture in the documents.
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
    let finished = |action, result, millis| {
        let duration = Duration::from_millis(millis);
        Finished {
            action,
            result,
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
        disk_free: 41 << 30,
        disk_size: 60 << 30,
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
                            "confirmed"
                        } else {
                            "left_after_fetch"
                        },
                        1 + roll(9) * roll(12),
                    ),
                    minute,
                );
            }
            if roll(3) == 0 {
                metrics.note_at(&finished("update", "unknown_account_or_token", 4), minute);
                metrics.note_at(&finished("create", "confirmed", 5), minute);
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
    metrics.note_turned_away("source_paused");
    let commits = crate::store::Commits {
        transactions: 31_004,
        changes: 49_210,
        waiting: 0,
        damaged: 0,
    };
    let now = Now {
        begun: at - 23 * DAY,
        open: 37,
        open_max: 10_000,
        btoken_memory: 312 << 10,
        btoken_memory_max: 256 << 20,
        certificate_not_after: Some(at + 61 * DAY),
        commits,
    };
    let page = write(&metrics.snapshot(), &now, at);
    assert!(page.len() < 128 << 10, "{}", page.len());
    assert!(page.contains("All is well"));
    if let Some(path) = std::env::var_os("PASSMATE_STATUS_PAGE") {
        std::fs::write(path, page).unwrap();
    }
}
