use super::*;

fn finished(result: &'static str, millis: u64) -> Finished {
    let duration = Duration::from_millis(millis);
    Finished {
        action: "update",
        result,
        bytes_in: 10,
        bytes_out: 5,
        duration,
        is_tls: true,
    }
}

#[test]
fn an_hour_and_a_week_are_remembered_and_not_more() {
    let metrics = Metrics::new();
    let begin = 1_700_000_000 / 3600 * 3600;
    for minute in 0..200 {
        metrics.note_at(&finished("confirmed", 3), begin + minute * 60);
    }
    let state = metrics.snapshot();
    let minutes = state.minutes.until((begin + 199 * 60) / 60);
    assert_eq!(
        (
            minutes.len(),
            minutes.iter().map(|slot| slot.done).sum::<u64>()
        ),
        (60, 60)
    );
    let hours = state.hours.until((begin + 199 * 60) / 3600);
    assert_eq!(
        (hours.len(), hours.iter().map(|slot| slot.done).sum::<u64>()),
        (168, 200)
    );
    assert_eq!(hours.last().unwrap().done, 20);
    // After a long silence all of it is over.
    let later = state.minutes.until((begin + 100_000_000) / 60);
    assert!(later.iter().all(|slot| slot.done == 0));
}

#[test]
fn durations_are_told_by_the_bound_of_their_class() {
    let mut durations = Durations::default();
    assert_eq!(durations.quantile(500), None);
    for millis in 1..=100 {
        durations.add(Duration::from_millis(millis));
    }
    assert_eq!(
        (
            durations.quantile(500),
            durations.quantile(990),
            durations.quantile(1000)
        ),
        (Some(50), Some(100), Some(100))
    );
    durations.add(Duration::from_secs(1000));
    assert_eq!(durations.quantile(1000), Some(u64::MAX));
    assert_eq!(durations.classes.iter().sum::<u64>(), durations.count);
}

#[test]
fn errors_of_the_server_are_kept_and_those_of_clients_are_not() {
    let metrics = Metrics::new();
    for number in 0..100 {
        metrics.note_at(
            &finished(
                if number % 2 == 0 {
                    "disk_full"
                } else {
                    "storage_error"
                },
                1,
            ),
            number,
        );
    }
    metrics.note_at(&finished("storage_error", 1), 100);
    metrics.note_at(&finished("unknown_account_or_token", 1), 101);
    let errors = metrics.snapshot().errors;
    assert_eq!(errors.len(), ERRORS);
    assert_eq!(
        *errors.back().unwrap(),
        Seen {
            at: 100,
            what: "storage_error",
            times: 2
        }
    );
}

#[test]
fn what_never_spoke_tls_is_a_connection_and_nothing_else() {
    let metrics = Metrics::new();
    metrics.note(&Finished {
        is_tls: false,
        ..finished("client_gone", 1)
    });
    let state = metrics.snapshot();
    assert_eq!(
        (state.connections, state.results.len(), state.bytes_in),
        (1, 0, 0)
    );
}
