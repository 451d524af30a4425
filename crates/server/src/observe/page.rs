//! The status page: one page of HTML without anything from elsewhere, without a script, light and
//! dark.

use std::fmt::Write;

use super::exposition::Now;
use super::metrics::{Durations, Slot, State, is_good};
use crate::clock::{DAY, utc};

/// Seconds until a browser asks again.
const REFRESH: u32 = 30;
/// A certificate that expires within so many days needs somebody.
const CERTIFICATE_DAYS: i64 = 14;
/// A backup that is older needs somebody.
const BACKUP_DAYS: i64 = 2;
/// An error counts as present for so long.
const ERROR_HOURS: i64 = 24;

/// The page at a moment, in seconds since 1970.
pub(super) fn write(state: &State, now: &Now, at: i64) -> String {
    let minutes = state.minutes.until(at / 60);
    let hours = state.hours.until(at / 3600);
    let findings = findings(state, now, at);
    let verdict = match findings.len() {
        0 => ("good", "All is well".to_owned()),
        1 => ("bad", "1 thing needs you".to_owned()),
        count => ("bad", format!("{count} things need you")),
    };
    let mut page = Page(String::with_capacity(32 << 10));
    page.head();
    page.put(&format!(
        "<header><h1>Passmate server</h1><p class=\"verdict {}\">{}</p><p class=\"meta\">version {}, up {}, {}</p></header>\n",
        verdict.0,
        verdict.1,
        env!("CARGO_PKG_VERSION"),
        stretch(at - now.begun),
        utc(at),
    ));
    if !findings.is_empty() {
        page.put("<ul class=\"findings\">");
        findings
            .iter()
            .for_each(|finding| page.put(&format!("<li>{finding}</li>")));
        page.put("</ul>\n");
    }
    page.put("<main>\n");
    page.traffic(&minutes);
    page.latency(&minutes);
    page.week(&hours);
    page.accounts(state, &hours);
    page.numbers(state, now, at);
    page.results(state);
    page.errors(state, at);
    page.put("</main>\n<footer>Reloads every 30 s. The same for Prometheus: <code>/metrics</code>. For whoever restarts and balances: \
              <code>/health/live</code>, <code>/health/ready</code>.</footer>\n</body></html>\n");
    page.0
}

/// What an operator should do something about.
fn findings(state: &State, now: &Now, at: i64) -> Vec<String> {
    let mut findings = Vec::new();
    if let Some(until) = now.certificate_not_after {
        if until < at {
            findings.push(
                "The certificate has expired: only devices with the pin still connect.".to_owned(),
            );
        } else if until - at < CERTIFICATE_DAYS * DAY {
            findings.push(format!(
                "The certificate expires in {}.",
                stretch(until - at)
            ));
        }
    }
    if let Some(sample) = &state.sample {
        match sample.last_backup {
            None => findings.push(
                "No backup is known: <code>passmate-server backup FILE</code> makes one."
                    .to_owned(),
            ),
            Some(last) if at - last > BACKUP_DAYS * DAY => {
                findings.push(format!("The last backup is {} old.", stretch(at - last)));
            }
            Some(_) => {}
        }
        if sample.disk_size > 0 && sample.disk_free * 10 < sample.disk_size {
            findings.push(format!("The disk has {} left.", bytes(sample.disk_free)));
        }
    }
    if now.commits.damaged > 0 {
        findings
            .push("A btoken is not what was stored: <code>passmate-server verify</code> names its account.".to_owned());
    }
    if let Some(last) = state
        .errors
        .back()
        .filter(|last| at - last.at < ERROR_HOURS * 3600)
    {
        findings.push(format!(
            "The last error was {} ago: {}.",
            stretch(at - last.at),
            words(last.what)
        ));
    }
    findings
}

struct Page(String);

impl Page {
    fn put(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn head(&mut self) {
        self.put(&format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <meta http-equiv=\"refresh\" content=\"{REFRESH}\"><meta name=\"color-scheme\" content=\"light dark\">\
             <title>Passmate server</title>\n<style>{STYLE}</style></head><body>\n"
        ));
    }

    fn card(&mut self, class: &str, title: &str, note: &str, body: &str) {
        self.put(&format!("<section class=\"{class}\"><h2>{title}</h2><p class=\"note\">{note}</p>{body}</section>\n"));
    }

    fn traffic(&mut self, minutes: &[Slot]) {
        let done: u64 = minutes.iter().map(|slot| slot.done).sum();
        let refused: u64 = minutes.iter().map(|slot| slot.refused).sum();
        let moved: u64 = minutes.iter().map(|slot| slot.bytes).sum();
        let bars = plot_bars(
            &minutes
                .iter()
                .map(|slot| (slot.done, slot.refused))
                .collect::<Vec<_>>(),
            "Exchanges in each minute of the last hour",
        );
        let body = format!(
            "{}{bars}{}",
            figure(&number(done), "came through"),
            axis("60 min ago", "now")
        );
        self.card(
            "wide",
            "Exchanges",
            &format!("last hour, {refused} other ends, {}", bytes(moved)),
            &body,
        );
    }

    fn latency(&mut self, minutes: &[Slot]) {
        let mut all = Durations::default();
        for slot in minutes {
            all.count += slot.durations.count;
            for (sum, count) in all.classes.iter_mut().zip(slot.durations.classes) {
                *sum += count;
            }
        }
        let of = |thousandths: u64| {
            minutes
                .iter()
                .map(|slot| slot.durations.quantile(thousandths).unwrap_or(0))
                .collect::<Vec<u64>>()
        };
        let plot = plot_lines(
            &[("p99", &of(990)), ("p50", &of(500))],
            "Time of an exchange, p50 and p99, in the last hour",
        );
        let shown = |thousandths| {
            all.quantile(thousandths)
                .map_or_else(|| "–".to_owned(), millis)
        };
        let figures = format!(
            "{}{}",
            figure(&shown(500), "<i class=\"k1\"></i>p50"),
            figure(&shown(990), "<i class=\"k0\"></i>p99")
        );
        let body = format!(
            "<div class=\"pair\">{figures}</div>{plot}{}",
            axis("60 min ago", "now")
        );
        self.card(
            "wide",
            "Time of an exchange",
            "last hour; with the client's own time and the network's",
            &body,
        );
    }

    fn week(&mut self, hours: &[Slot]) {
        let done: u64 = hours.iter().map(|slot| slot.done).sum();
        let bars = plot_bars(
            &hours
                .iter()
                .map(|slot| (slot.done, slot.refused))
                .collect::<Vec<_>>(),
            "Exchanges in each hour of the last week",
        );
        let body = format!(
            "{}{bars}{}",
            figure(&number(done), "came through"),
            axis("7 days ago", "now")
        );
        self.card(
            "wide",
            "The week",
            "since the start, if that is later",
            &body,
        );
    }

    fn accounts(&mut self, state: &State, hours: &[Slot]) {
        let Some(sample) = &state.sample else {
            return self.card(
                "wide",
                "Storage",
                "",
                "<p class=\"empty\">The store has not been looked at yet.</p>",
            );
        };
        let sizes: Vec<u64> = hours
            .iter()
            .map(|slot| slot.sample.map_or(0, |sample| sample.btoken_bytes))
            .collect();
        let plot = plot_lines(
            &[("sealed vaults", &sizes)],
            "Bytes of all sealed vaults in the last week",
        );
        let figures = format!(
            "{}{}",
            figure(&number(sample.accounts), "accounts"),
            figure(&bytes(sample.btoken_bytes), "sealed vaults")
        );
        let body = format!(
            "<div class=\"pair\">{figures}</div>{plot}{}",
            axis("7 days ago", "now")
        );
        let note = format!(
            "{} of files, {} free on the disk",
            bytes(sample.store_bytes),
            bytes(sample.disk_free)
        );
        self.card("wide", "Storage", &note, &body);
    }

    fn numbers(&mut self, state: &State, now: &Now, at: i64) {
        let mut rows = String::new();
        let mut row = |name: &str, value: &str| {
            write!(rows, "<tr><th>{name}</th><td>{value}</td></tr>")
                .expect("a String takes everything");
        };
        row(
            "Connections",
            &format!("{} of {}", number(now.open), number(now.open_max)),
        );
        row(
            "Memory of btokens",
            &format!(
                "{} of {}",
                bytes(now.btoken_memory),
                bytes(now.btoken_memory_max)
            ),
        );
        let share = now.commits.changes as f64 / now.commits.transactions.max(1) as f64;
        row("Changes that share a flush", &format!("{share:.1}"));
        row("Changes that wait", &number(now.commits.waiting));
        row("Received", &bytes(state.bytes_in));
        row("Sent", &bytes(state.bytes_out));
        let certificate = now.certificate_not_after.map_or_else(
            || "–".to_owned(),
            |until| match until - at {
                left if left < 0 => "expired".to_owned(),
                left if left > 3650 * DAY => "never expires".to_owned(),
                left => format!("{} left", stretch(left)),
            },
        );
        row("Certificate", &certificate);
        let backup = state.sample.and_then(|sample| sample.last_backup);
        row(
            "Last backup",
            &backup.map_or_else(
                || "none known".to_owned(),
                |last| format!("{} ago", stretch(at - last)),
            ),
        );
        self.card(
            "",
            "Now",
            &format!("since {}", utc(now.begun)),
            &format!("<table>{rows}</table>"),
        );
    }

    fn results(&mut self, state: &State) {
        let mut rows: Vec<(u64, String)> = state
            .results
            .iter()
            .map(|((action, result), count)| {
                let class = if is_good(result) {
                    ""
                } else {
                    " class=\"dim\""
                };
                let what = if *action == "none" {
                    words(result)
                } else {
                    format!("{action}: {}", words(result))
                };
                (
                    *count,
                    format!("<tr{class}><th>{what}</th><td>{}</td></tr>", number(*count)),
                )
            })
            .collect();
        let turned_away = state.turned_away.iter();
        rows.extend(turned_away.map(|(reason, count)| {
            (
                *count,
                format!(
                    "<tr class=\"dim\"><th>turned away: {}</th><td>{}</td></tr>",
                    words(reason),
                    number(*count)
                ),
            )
        }));
        rows.sort_by(|a, b| b.cmp(a));
        let body = match rows.is_empty() {
            true => "<p class=\"empty\">Nobody has come yet.</p>".to_owned(),
            false => format!(
                "<table>{}</table>",
                rows.into_iter().map(|(_, row)| row).collect::<String>()
            ),
        };
        self.card("", "How exchanges ended", "since the start", &body);
    }

    fn errors(&mut self, state: &State, at: i64) {
        let rows: String = state
            .errors
            .iter()
            .rev()
            .take(10)
            .map(|seen| {
                let times = if seen.times > 1 {
                    format!(" ({} times)", number(seen.times))
                } else {
                    String::new()
                };
                format!(
                    "<tr><th>{}{times}</th><td>{} ago</td></tr>",
                    words(seen.what),
                    stretch(at - seen.at)
                )
            })
            .collect();
        let body = match rows.is_empty() {
            true => "<p class=\"empty\">None since the start.</p>".to_owned(),
            false => format!("<table>{rows}</table>"),
        };
        self.card(
            "",
            "Last errors",
            "of the server and its machine; the log has more",
            &body,
        );
    }
}

const STYLE: &str = "
:root { --ground: #f6f5f2; --card: #fff; --ink: #1d1c1a; --dim: #6d6a63; --line: #e2dfd8; --main: #2f6f5e; --other: #c9a24b; --bad: #b3402e; --good: #2f6f5e; }
@media (prefers-color-scheme: dark) { :root { --ground: #161716; --card: #1f2120; --ink: #ecebe6; --dim: #9a988f; --line: #343735; --main: #6dbfa6; --other: #d8b566; --bad: #ee8672; --good: #6dbfa6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px 40px; max-width: 1180px; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif; font-variant-numeric: tabular-nums; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 6px 16px; margin-bottom: 20px; }
h1 { font-size: 22px; margin: 0; letter-spacing: -0.01em; }
.verdict { margin: 0; font-weight: 600; } .verdict::before { content: '\\25CF'; margin-right: 6px; }
.verdict.good { color: var(--good); } .verdict.bad { color: var(--bad); }
.meta { margin: 0 0 0 auto; color: var(--dim); font-size: 13px; }
.findings { margin: 0 0 20px; padding: 12px 16px 12px 34px; background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--bad); border-radius: 8px; }
main { display: grid; grid-template-columns: repeat(6, 1fr); gap: 16px; }
section { grid-column: span 2; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; min-width: 0; }
section.wide { grid-column: span 3; }
h2 { font-size: 15px; margin: 0; } .note { margin: 0 0 10px; color: var(--dim); font-size: 13px; }
.pair { display: flex; flex-wrap: wrap; gap: 0 32px; } .figure { margin: 0 0 8px; white-space: nowrap; } .figure b { font-size: 26px; font-weight: 600; letter-spacing: -0.02em; } .figure span { color: var(--dim); margin-left: 6px; font-size: 13px; }
.figure i { display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin-right: 5px; vertical-align: middle; } .k0 { background: var(--other); } .k1 { background: var(--main); }
svg { display: block; width: 100%; height: 84px; } .bar { fill: var(--main); } .bar2 { fill: var(--other); } .base { stroke: var(--line); } .l0 { fill: none; stroke: var(--other); stroke-width: 2; } .l1, .only { fill: none; stroke: var(--main); stroke-width: 2; } .l0, .l1, .only { vector-effect: non-scaling-stroke; }
.axis { display: flex; justify-content: space-between; color: var(--dim); font-size: 12px; margin-top: 4px; } .top { float: right; color: var(--dim); font-size: 12px; }
table { width: 100%; border-collapse: collapse; } th { text-align: left; font-weight: 400; } td { text-align: right; white-space: nowrap; } th, td { padding: 5px 0; border-top: 1px solid var(--line); vertical-align: top; } tr:first-child > * { border-top: 0; } .dim { color: var(--dim); }
.empty { color: var(--dim); margin: 8px 0; } code { font: 13px ui-monospace, 'DejaVu Sans Mono', monospace; } footer { margin-top: 20px; color: var(--dim); font-size: 13px; }
@media (max-width: 860px) { body { padding: 20px 14px; } section, section.wide { grid-column: 1 / -1; } .meta { margin: 0; width: 100%; } }
";

fn figure(value: &str, what: &str) -> String {
    format!("<p class=\"figure\"><b>{value}</b><span>{what}</span></p>")
}

fn axis(from: &str, to: &str) -> String {
    format!("<div class=\"axis\"><span>{from}</span><span>{to}</span></div>")
}

/// Two counts for each place, the second on top of the first.
fn plot_bars(values: &[(u64, u64)], title: &str) -> String {
    let most = values
        .iter()
        .map(|(first, second)| first + second)
        .max()
        .unwrap_or(0);
    let width = 1000.0 / values.len().max(1) as f64;
    let mut svg = begin_svg(title);
    for (place, (first, second)) in values.iter().enumerate() {
        let height = |value: u64| 98.0 * value as f64 / most.max(1) as f64;
        let (low, high) = (height(*first), height(*second));
        let x = place as f64 * width + width * 0.1;
        for (class, y, height) in [("bar", 99.0 - low, low), ("bar2", 99.0 - low - high, high)] {
            if height > 0.0 {
                let wide = width * 0.8;
                write!(
                    svg,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{height:.1}\"/>"
                )
                .expect("a String takes everything");
            }
        }
    }
    svg.push_str("</svg>");
    format!("<span class=\"top\">most {}</span>{svg}", number(most))
}

/// Lines over the same places; a gap where there is nothing.
fn plot_lines(lines: &[(&str, &[u64])], title: &str) -> String {
    let most = lines
        .iter()
        .flat_map(|(_, values)| values.iter())
        .copied()
        .filter(|value| *value < u64::MAX)
        .max();
    let most = most.unwrap_or(0);
    let mut svg = begin_svg(title);
    for (number, (_, values)) in lines.iter().enumerate() {
        let class = if lines.len() == 1 {
            "only".to_owned()
        } else {
            format!("l{number}")
        };
        let step = 1000.0 / values.len().saturating_sub(1).max(1) as f64;
        let mut path = String::new();
        let mut is_on = false;
        for (place, value) in values.iter().enumerate() {
            if *value == 0 {
                is_on = false;
                continue;
            }
            let (x, y) = (
                place as f64 * step,
                97.0 - 94.0 * (*value).min(most) as f64 / most.max(1) as f64,
            );
            // A place of its own is a short line, or it would not be seen.
            let verb = if is_on {
                format!("L{x:.1} {y:.1}")
            } else {
                format!("M{:.1} {y:.1}L{x:.1} {y:.1}", (x - 4.0).max(0.0))
            };
            path.push_str(&verb);
            is_on = true;
        }
        write!(svg, "<path class=\"{class}\" d=\"{path}\"/>").expect("a String takes everything");
    }
    svg.push_str("</svg>");
    svg
}

fn begin_svg(title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 1000 100\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{title}\"><line class=\"base\" x1=\"0\" \
         y1=\"99.5\" x2=\"1000\" y2=\"99.5\"/>"
    )
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

fn bytes(value: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (value as f64, 0);
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 {
        format!("{value} {name}")
    } else {
        format!("{size:.1} {name}")
    }
}

/// The upper bound of a class of durations.
fn millis(value: u64) -> String {
    match value {
        u64::MAX => "more than 2 min".to_owned(),
        value if value < 1000 => format!("≤ {value} ms"),
        value => format!("≤ {} s", value / 1000),
    }
}

/// About how long, in the largest unit that has two of them.
fn stretch(seconds: i64) -> String {
    let seconds = seconds.max(0);
    for (unit, name) in [(DAY, "days"), (3600, "h"), (60, "min")] {
        if seconds >= 2 * unit {
            return format!("{} {name}", seconds / unit);
        }
    }
    format!("{seconds} s")
}

/// A word of the log as people read it. None of these comes from outside.
fn words(word: &str) -> String {
    word.replace('_', " ")
}

#[cfg(test)]
mod tests;
