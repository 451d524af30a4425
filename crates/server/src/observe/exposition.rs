//! The numbers as Prometheus reads them, in its text format 0.0.4. No account and no address is in
//! a label.

use std::fmt::Write;

use super::metrics::{BOUNDS_MS, State};
use crate::store::Commits;

/// What is read where it is, at the moment of a scrape.
#[derive(Debug, Clone, Default)]
pub(crate) struct Now {
    /// Seconds since 1970.
    pub(crate) begun: i64,
    pub(crate) open: u64,
    pub(crate) open_max: u64,
    pub(crate) btoken_memory: u64,
    pub(crate) btoken_memory_max: u64,
    pub(crate) certificate_not_after: Option<i64>,
    pub(crate) commits: Commits,
}

/// The page of `/metrics`.
pub(crate) fn write(state: &State, now: &Now) -> String {
    let mut page = Page(String::with_capacity(8 << 10));
    page.kind("passmate_build_info", "gauge", "The program that runs.");
    page.line(
        "passmate_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
    page.one(
        "passmate_start_time_seconds",
        "gauge",
        "When it started, since 1970.",
        now.begun,
    );
    page.one(
        "passmate_connections_open",
        "gauge",
        "Connections that are open.",
        now.open,
    );
    page.one(
        "passmate_connections_max",
        "gauge",
        "Connections that may be open.",
        now.open_max,
    );
    page.one(
        "passmate_connections_total",
        "counter",
        "Connections that are over.",
        state.connections,
    );
    page.kind(
        "passmate_turned_away_total",
        "counter",
        "Connections that were ended before TLS, by reason.",
    );
    for (reason, count) in &state.turned_away {
        page.line("passmate_turned_away_total", &[("reason", reason)], count);
    }
    page.kind(
        "passmate_exchanges_total",
        "counter",
        "Finished connections that spoke TLS, by action and result.",
    );
    for ((action, result), count) in &state.results {
        page.line(
            "passmate_exchanges_total",
            &[("action", action), ("result", result)],
            count,
        );
    }
    page.kind(
        "passmate_exchange_seconds",
        "histogram",
        "How long exchanges took that came through, by action.",
    );
    for (action, durations) in &state.durations {
        let mut sum = 0;
        for (count, bound) in durations.classes.iter().zip(BOUNDS_MS) {
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
        "Bytes of the protocol that came, inside TLS.",
        state.bytes_in,
    );
    page.one(
        "passmate_sent_bytes_total",
        "counter",
        "Bytes of the protocol that went, inside TLS.",
        state.bytes_out,
    );
    page.one(
        "passmate_commits_total",
        "counter",
        "Flushed transactions.",
        now.commits.transactions,
    );
    page.one(
        "passmate_commit_changes_total",
        "counter",
        "Changes in flushed transactions.",
        now.commits.changes,
    );
    page.one(
        "passmate_commit_queue",
        "gauge",
        "Changes that wait for a transaction.",
        now.commits.waiting,
    );
    page.one(
        "passmate_btoken_damaged_total",
        "counter",
        "Btokens that were not what was stored.",
        now.commits.damaged,
    );
    page.one(
        "passmate_btoken_memory_bytes",
        "gauge",
        "Memory of btokens in flight.",
        now.btoken_memory,
    );
    page.one(
        "passmate_btoken_memory_max_bytes",
        "gauge",
        "Memory that btokens in flight may take.",
        now.btoken_memory_max,
    );
    if let Some(sample) = &state.sample {
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
        page.one(
            "passmate_disk_free_bytes",
            "gauge",
            "Bytes that are free on the store's disk.",
            sample.disk_free,
        );
        page.one(
            "passmate_disk_size_bytes",
            "gauge",
            "Bytes of the store's disk.",
            sample.disk_size,
        );
        if let Some(last) = sample.last_backup {
            page.one(
                "passmate_last_backup_time_seconds",
                "gauge",
                "When the last backup was made, since 1970.",
                last,
            );
        }
    }
    if let Some(until) = now.certificate_not_after {
        page.one(
            "passmate_certificate_not_after_seconds",
            "gauge",
            "When the certificate expires, since 1970.",
            until,
        );
    }
    page.0
}

/// Microseconds as seconds, without the noise of a float.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

struct Page(String);

impl Page {
    fn kind(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("a String takes everything");
    }

    /// The labels are words of ours, which need no escapes.
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
        writeln!(self.0, "{name}{labels} {value}").expect("a String takes everything");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.kind(name, kind, help);
        self.line(name, &[], value);
    }
}

#[cfg(test)]
mod tests;
