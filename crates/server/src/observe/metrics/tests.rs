use super::*;

fn finished(ended: Ended, millis: u64) -> Finished {
    let duration = Duration::from_millis(millis);
    Finished {
        action: "update",
        ended,
        bytes_in: 10,
        bytes_out: 5,
        duration,
        is_tls: true,
    }
}

#[test]
fn an_hour_and_a_week_are_kept() {
    let metrics = Metrics::new();
    let begin = 1_700_000_000 / 3600 * 3600;
    for minute in 0..200 {
        metrics.note_at(&finished(Ended::Confirmed, 3), begin + minute * 60);
    }
    let counts = metrics.snapshot();
    let minutes = counts.minutes.until((begin + 199 * 60) / 60);
    assert_eq!(
        (
            minutes.len(),
            minutes.iter().map(|slot| slot.done).sum::<u64>()
        ),
        (60, 60)
    );
    let hours = counts.hours.until((begin + 199 * 60) / 3600);
    assert_eq!(
        (hours.len(), hours.iter().map(|slot| slot.done).sum::<u64>()),
        (168, 200)
    );
    assert_eq!(hours.last().unwrap().done, 20);
    // After a long silence all slots are empty.
    let later = counts.minutes.until((begin + 100_000_000) / 60);
    assert!(later.iter().all(|slot| slot.done == 0));
}

#[test]
fn a_duration_is_in_the_bucket_of_its_bound() {
    let mut durations = Durations::default();
    for millis in [0, 1, 2, 100, 101] {
        durations.add(Duration::from_millis(millis));
    }
    durations.add(Duration::from_secs(1000));
    let of = |bound| durations.buckets[BOUNDS_MS.iter().position(|one| *one == bound).unwrap()];
    assert_eq!((of(1), of(2), of(100), of(200)), (2, 1, 1, 1));
    assert_eq!(durations.buckets.iter().sum::<u64>(), durations.count);
}

#[test]
fn only_errors_of_the_server_are_kept() {
    let metrics = Metrics::new();
    for number in 0..100 {
        metrics.note_at(
            &finished(
                if number % 2 == 0 {
                    Ended::DiskFull
                } else {
                    Ended::StorageError
                },
                1,
            ),
            number,
        );
    }
    metrics.note_at(&finished(Ended::StorageError, 1), 100);
    metrics.note_at(&finished(Ended::UnknownAccountOrToken, 1), 101);
    let errors = metrics.snapshot().errors;
    assert_eq!(errors.len(), ERRORS_MAX);
    assert_eq!(
        *errors.back().unwrap(),
        SeenError {
            at: 100,
            error: OwnError::Ended(Ended::StorageError),
            times: 2
        }
    );
}

#[test]
fn a_connection_without_tls_is_counted_and_nothing_else() {
    let metrics = Metrics::new();
    metrics.note(&Finished {
        is_tls: false,
        ..finished(Ended::ClientGone, 1)
    });
    let counts = metrics.snapshot();
    assert_eq!(
        (counts.connections, counts.endings.len(), counts.bytes_in),
        (1, 0, 0)
    );
}
