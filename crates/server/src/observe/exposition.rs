//! The metrics in the text format of Prometheus, version 0.0.4. No account and no address is a
//! label. Every series of a counter is there from the start, with 0: Prometheus sees an increase only
//! in a series that it knows.
//!
//! Written by hand: `prometheus-client` writes OpenMetrics, where the names of counters differ in
//! the TYPE lines, and it wants to own the values that are read here where they are.

use std::fmt::Write;

use super::log::lost_lines;
use super::metrics::{ACTIONS, BOUNDS_MS, Counts, Gauges, action_name};
use crate::ended::Ended;
use crate::limits::TurnedAway;

/// The content of `/metrics`.
pub(crate) fn write(counts: &Counts, gauges: &Gauges) -> String {
    let mut page = Exposition(String::with_capacity(8 << 10));
    page.kind("passmate_build_info", "gauge", "The running program.");
    page.line(
        "passmate_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
    page.one(
        "passmate_start_time_seconds",
        "gauge",
        "When the server started, in seconds since 1970.",
        gauges.begun,
    );
    page.one(
        "passmate_connections_open",
        "gauge",
        "Open connections.",
        gauges.open,
    );
    page.one(
        "passmate_connections_max",
        "gauge",
        "The most connections that may be open.",
        gauges.open_max,
    );
    page.one(
        "passmate_connections_total",
        "counter",
        "Finished connections.",
        counts.connections,
    );
    page.kind(
        "passmate_turned_away_total",
        "counter",
        "Connections that were closed before TLS, by reason.",
    );
    for reason in TurnedAway::ALL {
        let count = counts.turned_away.get(reason).copied().unwrap_or_default();
        page.line(
            "passmate_turned_away_total",
            &[("reason", reason.name())],
            count,
        );
    }
    page.one(
        "passmate_sources_paused",
        "gauge",
        "Sources and networks that are paused after too many refusals.",
        gauges.paused,
    );
    page.kind(
        "passmate_exempt_over_limit_total",
        "counter",
        "What exempt sources did beyond the limits of one source.",
    );
    for (what, count) in [
        ("creates", gauges.exempt.creates),
        ("refusals", gauges.exempt.refusals),
    ] {
        page.line("passmate_exempt_over_limit_total", &[("what", what)], count);
    }
    page.kind(
        "passmate_exchanges_total",
        "counter",
        "Finished connections that spoke TLS, by action and result.",
    );
    for action in ACTIONS.map(action_name) {
        for ended in Ended::ALL {
            let count = counts.endings.get(&(action, *ended)).copied();
            page.line(
                "passmate_exchanges_total",
                &[("action", action), ("result", ended.name())],
                count.unwrap_or_default(),
            );
        }
    }
    page.kind(
        "passmate_exchange_seconds",
        "histogram",
        "Durations of successful exchanges, by action.",
    );
    for action in ACTIONS.into_iter().flatten() {
        let action = action_name(Some(action));
        let durations = counts.durations.get(action).copied().unwrap_or_default();
        let mut sum = 0;
        for (count, bound) in durations.buckets.iter().zip(BOUNDS_MS) {
            sum += count;
            let bound = seconds(bound * 1000);
            page.line(
                "passmate_exchange_seconds_bucket",
                &[("action", action), ("le", &bound)],
                sum,
            );
        }
        page.line(
            "passmate_exchange_seconds_bucket",
            &[("action", action), ("le", "+Inf")],
            durations.count,
        );
        page.line(
            "passmate_exchange_seconds_sum",
            &[("action", action)],
            seconds(durations.micros),
        );
        page.line(
            "passmate_exchange_seconds_count",
            &[("action", action)],
            durations.count,
        );
    }
    page.one(
        "passmate_received_bytes_total",
        "counter",
        "Bytes of the protocol received inside TLS.",
        counts.bytes_in,
    );
    page.one(
        "passmate_sent_bytes_total",
        "counter",
        "Bytes of the protocol sent inside TLS.",
        counts.bytes_out,
    );
    page.one(
        "passmate_commits_total",
        "counter",
        "Flushed transactions.",
        gauges.commits.transactions,
    );
    page.one(
        "passmate_commit_changes_total",
        "counter",
        "Changes in flushed transactions.",
        gauges.commits.changes,
    );
    page.one(
        "passmate_commit_queue",
        "gauge",
        "Changes that wait for a transaction.",
        gauges.commits.waiting,
    );
    page.one(
        "passmate_btoken_damaged_total",
        "counter",
        "Btokens that did not match their stored checksum when they were read.",
        gauges.commits.damaged,
    );
    page.one(
        "passmate_log_lines_lost_total",
        "counter",
        "Lines of the log that could not be written.",
        lost_lines(),
    );
    page.one(
        "passmate_btoken_memory_bytes",
        "gauge",
        "Memory that btokens in flight take.",
        gauges.btoken_memory,
    );
    page.one(
        "passmate_btoken_memory_max_bytes",
        "gauge",
        "Memory that btokens in flight may take.",
        gauges.btoken_memory_max,
    );
    if let Some(process) = gauges.process {
        // The names that Prometheus gives to these figures of any process.
        page.one(
            "process_resident_memory_bytes",
            "gauge",
            "Memory of the process in RAM.",
            process.resident,
        );
        page.one(
            "process_open_fds",
            "gauge",
            "Open file descriptors of the process.",
            process.descriptors,
        );
        page.one(
            "process_max_fds",
            "gauge",
            "The most file descriptors that the process may open.",
            process.descriptors_max,
        );
    }
    if let Some(sample) = &counts.sample {
        page.one("passmate_accounts", "gauge", "Accounts.", sample.accounts);
        page.one(
            "passmate_btoken_bytes",
            "gauge",
            "Bytes of all btokens.",
            sample.btoken_bytes,
        );
        page.one(
            "passmate_store_bytes",
            "gauge",
            "Bytes of the store's files.",
            sample.store_bytes,
        );
        if let Some(disk) = sample.disk {
            page.one(
                "passmate_disk_free_bytes",
                "gauge",
                "Free bytes on the store's disk.",
                disk.free,
            );
            page.one(
                "passmate_disk_size_bytes",
                "gauge",
                "The size of the store's disk in bytes.",
                disk.size,
            );
        }
        if let Some(last) = sample.last_backup {
            page.one(
                "passmate_last_backup_time_seconds",
                "gauge",
                "When the last backup was made, in seconds since 1970.",
                last,
            );
        }
    }
    if let Some(until) = gauges.certificate_not_after {
        page.one(
            "passmate_certificate_not_after_seconds",
            "gauge",
            "When the certificate expires, in seconds since 1970.",
            until,
        );
    }
    if let Some(at) = gauges.key_changed_at {
        page.one(
            "passmate_certificate_key_changed_time_seconds",
            "gauge",
            "When another key replaced the one that devices have pinned, in seconds since 1970.",
            at,
        );
    }
    page.0
}

/// Microseconds as seconds, without the rounding of a float.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

struct Exposition(String);

impl Exposition {
    fn kind(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("writing to a String never fails");
    }

    /// Label values are words of this program, which need no escapes.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        writeln!(self.0, "{name}{labels} {value}").expect("writing to a String never fails");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.kind(name, kind, help);
        self.line(name, &[], value);
    }
}

#[cfg(test)]
mod tests;
