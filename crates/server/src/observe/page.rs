//! The status page: one HTML page for light and dark screens, without scripts and without anything
//! from another host.

mod plot;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::latencies::Latencies;
use super::metrics::{Counts, Gauges, Slot};
use crate::clock::{DAY, utc};
use crate::health::{self, Facts, Finding, LastBackup, LastError, show_bytes, show_duration};
use crate::text::printable;
use plot::{plot_bars, plot_lines};

/// Seconds after which a browser reloads the page.
const REFRESH: u32 = 30;
/// The errors that are shown.
const ERRORS_SHOWN_MAX: usize = 10;
const STYLE: &str = include_str!("page/style.css");

/// Writes the page as of a moment, in seconds since 1970.
pub(super) fn write(counts: &Counts, gauges: &Gauges, at: i64) -> String {
    let minutes = counts.minutes.until(at / 60);
    let hours = counts.hours.until(at / 3600);
    let findings = health::findings(&facts(counts, gauges, at));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta http-equiv="refresh" content=(REFRESH);
                meta name="color-scheme" content="light dark";
                title { "Passmate server" }
                // The style is a constant of this program, and is not HTML.
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Passmate server" }
                    (verdict(&findings))
                    p.meta {
                        "version " (env!("CARGO_PKG_VERSION"))
                        ", up " (show_duration(at - gauges.begun)) ", " (utc(at))
                    }
                }
                (list(&findings))
                main {
                    (traffic(&minutes))
                    (latency(&minutes))
                    (week(&hours))
                    (storage(counts, &hours))
                    (current(counts, gauges, at))
                    (endings(counts))
                    div.stack {
                        (errors(counts, at))
                        (operators(counts, at))
                    }
                }
                footer {
                    "Reloads every 30 s. For Prometheus: " code { "/metrics" }
                    ". For load balancers and supervisors: " code { "/health/live" } ", "
                    code { "/health/ready" } "."
                }
            }
        }
    };
    page.into_string()
}

fn facts(counts: &Counts, gauges: &Gauges, at: i64) -> Facts {
    Facts {
        now: at,
        certificate_not_after: gauges.certificate_not_after,
        key_changed_at: gauges.key_changed_at,
        backup: counts
            .sample
            .and_then(|sample| LastBackup::known(sample.last_backup, sample.is_elsewhere)),
        disk: counts.sample.and_then(|sample| sample.disk),
        damaged: gauges.commits.damaged,
        exempt: Some(gauges.exempt),
        last_error: counts.errors.back().map(|seen| LastError {
            at: seen.at,
            name: seen.error.name(),
            remedy: seen.error.remedy(),
        }),
        ..Facts::default()
    }
}

fn verdict(findings: &[Finding]) -> Markup {
    let (class, text) = match findings.len() {
        0 => ("good", "All is well".to_owned()),
        1 => ("bad", "1 thing needs your attention".to_owned()),
        count => ("bad", format!("{count} things need your attention")),
    };
    html! { p class={ "verdict " (class) } { (text) } }
}

fn list(findings: &[Finding]) -> Markup {
    html! {
        @if !findings.is_empty() {
            ul.findings {
                @for finding in findings {
                    li { (sentence(&finding.to_string())) " " span.dim { (sentence(finding.remedy())) } }
                }
            }
        }
    }
}

fn traffic(minutes: &[Slot]) -> Markup {
    let refused: u64 = minutes.iter().map(|slot| slot.refused).sum();
    let moved: u64 = minutes.iter().map(|slot| slot.bytes).sum();
    let note = format!(
        "last hour, {refused} with another ending, {}",
        show_bytes(moved)
    );
    let plot = plot_bars(
        &done_and_refused(minutes),
        "Exchanges in each minute of the last hour",
    );
    let body = html! {
        (figure(&number(done(minutes)), html! { "successful" }))
        (plot)
        (axis("60 min ago", "now"))
    };
    wide_card("Exchanges", &note, body)
}

fn latency(minutes: &[Slot]) -> Markup {
    let mut all = Latencies::default();
    minutes.iter().for_each(|slot| all.add_all(&slot.latencies));
    let of = |share: f64| {
        let quantile = |slot: &Slot| slot.latencies.quantile(share).unwrap_or(0);
        minutes.iter().map(quantile).collect::<Vec<u64>>()
    };
    let shown = |share| {
        all.quantile(share)
            .map_or_else(|| "–".to_owned(), show_micros)
    };
    let (median, slow) = (of(0.5), of(0.99));
    let most = slow.iter().max().copied().unwrap_or(0);
    let body = html! {
        div.pair {
            (figure(&shown(0.5), html! { i.k1 {} "p50" }))
            (figure(&shown(0.99), html! { i.k0 {} "p99" }))
        }
        @if most > 0 { span.top { "most " (show_micros(most)) } }
        (plot_lines(&[&slow, &median], "Duration of an exchange, p50 and p99, in the last hour"))
        (axis("60 min ago", "now"))
    };
    let note = "last hour; includes the time of client and network";
    wide_card("Duration of an exchange", note, body)
}

fn week(hours: &[Slot]) -> Markup {
    let plot = plot_bars(
        &done_and_refused(hours),
        "Exchanges in each hour of the last week",
    );
    let body = html! {
        (figure(&number(done(hours)), html! { "successful" }))
        (plot)
        (axis("7 days ago", "now"))
    };
    wide_card("The week", "last 7 days, or since the start", body)
}

fn storage(counts: &Counts, hours: &[Slot]) -> Markup {
    let Some(sample) = &counts.sample else {
        let body = html! { p.empty { "The size of the store is not known yet." } };
        return wide_card("Storage", "", body);
    };
    let sizes: Vec<u64> = hours
        .iter()
        .map(|slot| slot.sample.map_or(0, |sample| sample.btoken_bytes))
        .collect();
    let body = html! {
        div.pair {
            (figure(&number(sample.accounts), html! { "accounts" }))
            (figure(&show_bytes(sample.btoken_bytes), html! { "sealed vaults" }))
        }
        @if let Some(most) = sizes.iter().max().filter(|most| **most > 0) {
            span.top { "most " (show_bytes(*most)) }
        }
        (plot_lines(&[&sizes], "Bytes of all sealed vaults in the last week"))
        (axis("7 days ago", "now"))
    };
    let files = show_bytes(sample.store_bytes);
    let note = match sample.disk {
        Some(disk) => format!(
            "{files} of files, {} free on the disk",
            show_bytes(disk.free)
        ),
        None => format!("{files} in the database"),
    };
    wide_card("Storage", &note, body)
}

fn current(counts: &Counts, gauges: &Gauges, at: i64) -> Markup {
    let commits = &gauges.commits;
    let changes_per_flush = commits.changes as f64 / commits.transactions.max(1) as f64;
    let certificate = gauges.certificate_not_after.map_or_else(
        || "–".to_owned(),
        |until| match until - at {
            left if left < 0 => "expired".to_owned(),
            left if left > 3650 * DAY => "never expires".to_owned(),
            left => format!("expires in {}", show_duration(left)),
        },
    );
    let backup = counts.sample.and_then(|sample| sample.last_backup);
    let backup = backup.map_or_else(
        || "none known".to_owned(),
        |made_at| format!("{} ago", show_duration(at - made_at)),
    );
    let share = |used: &str, max: &str| format!("{used} of {max}");
    let memory = share(
        &show_bytes(gauges.btoken_memory),
        &show_bytes(gauges.btoken_memory_max),
    );
    let process = gauges.process.map(|process| {
        let (open, most) = (process.descriptors, process.descriptors_max);
        (
            show_bytes(process.resident),
            share(&number(open), &number(most)),
        )
    });
    let (resident, descriptors) = process.unzip();
    let unknown = || "–".to_owned();
    let rows = [
        (
            "Connections",
            share(&number(gauges.open), &number(gauges.open_max)),
        ),
        ("Paused sources", number(gauges.paused)),
        ("Btoken memory", memory),
        ("Process memory", resident.unwrap_or_else(unknown)),
        ("File descriptors", descriptors.unwrap_or_else(unknown)),
        ("Changes per flush", format!("{changes_per_flush:.1}")),
        ("Waiting changes", number(commits.waiting)),
        ("Received", show_bytes(counts.bytes_in)),
        ("Sent", show_bytes(counts.bytes_out)),
        ("Certificate", certificate),
        ("Last backup", backup),
    ];
    let body = html! {
        table {
            @for (name, value) in &rows {
                tr { th { (name) } td { (value) } }
            }
        }
    };
    card("Now", &format!("since {}", utc(gauges.begun)), body)
}

fn endings(counts: &Counts) -> Markup {
    /// The count, the words, and whether the row is dimmed.
    type Row = (u64, String, bool);
    let endings = counts.endings.iter().map(|((action, ended), count)| {
        let words = match *action {
            "none" => words(ended.name()),
            action => format!("{action}: {}", words(ended.name())),
        };
        (*count, words, !ended.is_success())
    });
    let turned_away = counts.turned_away.iter().map(|(reason, count)| {
        let words = format!("refused: {}", words(reason.name()));
        (*count, words, true)
    });
    let mut rows: Vec<Row> = endings.chain(turned_away).collect();
    rows.sort_by(|a, b| b.cmp(a));
    let body = html! {
        @if rows.is_empty() {
            p.empty { "No connection yet." }
        } @else {
            table {
                @for (count, words, is_dim) in &rows {
                    tr.dim[*is_dim] { th { (words) } td { (number(*count)) } }
                }
            }
        }
    };
    card("How exchanges ended", "since the start", body)
}

fn errors(counts: &Counts, at: i64) -> Markup {
    let body = html! {
        @if counts.errors.is_empty() {
            p.empty { "None since the start." }
        } @else {
            table {
                @for seen in counts.errors.iter().rev().take(ERRORS_SHOWN_MAX) {
                    tr {
                        th {
                            (words(seen.error.name()))
                            @if seen.times > 1 { " (" (number(seen.times)) " times)" }
                            p.dim { (seen.error.remedy()) }
                        }
                        td { (show_duration(at - seen.at)) " ago" }
                    }
                }
            }
        }
    };
    let note = "of the server and its machine; the log has more";
    card("Last errors", note, body)
}

/// What operators did. Names no account.
fn operators(counts: &Counts, at: i64) -> Markup {
    let body = html! {
        @if counts.operators.is_empty() {
            p.empty { "Nothing since the start." }
        } @else {
            table {
                @for operated in counts.operators.iter().rev() {
                    tr {
                        th {
                            (printable(&operated.action)) " by " (printable(&operated.by))
                            @if !operated.detail.is_empty() {
                                p.dim { (printable(&operated.detail)) }
                            }
                        }
                        td { (show_duration(at - operated.at)) " ago" }
                    }
                }
            }
        }
    };
    html! {
        section {
            h2 { "What operators did" }
            p.note { code { "passmate-server log" } " has more, with accounts" }
            (body)
        }
    }
}

fn card(title: &str, note: &str, body: Markup) -> Markup {
    html! { section { h2 { (title) } p.note { (note) } (body) } }
}

fn wide_card(title: &str, note: &str, body: Markup) -> Markup {
    html! { section.wide { h2 { (title) } p.note { (note) } (body) } }
}

fn figure(value: &str, what: Markup) -> Markup {
    html! { p.figure { b { (value) } span { (what) } } }
}

fn axis(from: &str, to: &str) -> Markup {
    html! { div.axis { span { (from) } span { (to) } } }
}

fn done(slots: &[Slot]) -> u64 {
    slots.iter().map(|slot| slot.done).sum()
}

fn done_and_refused(slots: &[Slot]) -> Vec<(u64, u64)> {
    slots.iter().map(|slot| (slot.done, slot.refused)).collect()
}

/// `1,234,567`.
fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Two digits of a duration.
fn show_micros(micros: u64) -> String {
    match micros {
        micros if micros < 10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        micros if micros < 1_000_000 => format!("{} ms", micros / 1000),
        micros if micros < 10_000_000 => format!("{:.1} s", micros as f64 / 1e6),
        micros => format!("{} s", micros / 1_000_000),
    }
}

/// A word of the log as text.
fn words(word: &str) -> String {
    word.replace('_', " ")
}

/// A phrase with a capital letter and a full stop.
fn sentence(phrase: &str) -> String {
    let mut chars = phrase.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}

#[cfg(test)]
mod tests;
