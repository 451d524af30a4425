//! The log on standard error, as text or as JSON with one object a line. RUST_LOG sets its level;
//! the default is `info`.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::{self, FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// A lasting condition is logged once in this time.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Lines of the log that could not be written.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines of the log could not be written since the start.
pub(crate) fn lost_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Standard error, as the log needs it: a line that cannot be written, because the disk is full or
/// nobody reads it any more, is counted and forgotten. The server goes on.
#[derive(Debug, Clone, Copy)]
struct Lossy<W>(W);

impl<W: Write> Write for Lossy<W> {
    /// Writes a whole line, or none of it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.write_all(line).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What RUST_LOG asks for. A word that is no level would count as the name of a module, and
/// everything else would be off.
fn filter_of(asked: &str) -> Result<Targets, String> {
    let is_level_or_module = |word: &str| {
        word.parse::<LevelFilter>().is_ok()
            || word.contains(['=', ':'])
            || word == env!("CARGO_CRATE_NAME")
    };
    let words: Vec<&str> = asked.split(',').map(str::trim).collect();
    match words.iter().find(|word| !is_level_or_module(word)) {
        Some(word) => Err(format!(
            "`{word}` is not error, warn, info, debug, trace or off"
        )),
        None => words.join(",").parse().map_err(|error| format!("{error}")),
    }
}

/// The filter without a valid RUST_LOG.
fn filter_default() -> Targets {
    Targets::new()
        .with_default(LevelFilter::INFO)
        // What the TLS library says about strangers' bytes is of no use to an operator.
        .with_target("rustls", LevelFilter::OFF)
}

/// Whether standard error is the journal of systemd, which has a time and a level of its own for
/// each line.
fn is_journal() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| {
        let metadata = rustix::fs::fstat(io::stderr());
        metadata.is_ok_and(|file| stream == format!("{}:{}", file.st_dev, file.st_ino))
    })
}

/// The form of a line in the journal: its level as a number of syslog, then the text.
struct JournalFormat;

impl<S, N> FormatEvent<S, N> for JournalFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: fmt::format::Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        write!(line, "{}", priority(*event.metadata().level()))?;
        context.format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}

/// What the journal reads at the beginning of a line, see sd-daemon(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

/// Starts the log of this process. A second call changes nothing.
pub(crate) fn init(format: LogFormat) {
    let asked = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let (filter, mistake) = match asked.as_deref().map(filter_of) {
        Some(Ok(filter)) => (filter, None),
        // A mistake in RUST_LOG must not keep the server from starting.
        Some(Err(error)) => (filter_default(), Some(error)),
        None => (filter_default(), None),
    };
    let log = tracing_subscriber::fmt()
        // The filter decides.
        .with_max_level(LevelFilter::TRACE)
        // It would write its own errors to standard error, and panic if that fails.
        .log_internal_errors(false)
        .with_writer(|| Lossy(io::stderr()));
    let _ = match format {
        LogFormat::Text if is_journal() => {
            let log = log.with_ansi(false).event_format(JournalFormat);
            log.finish().with(filter).try_init()
        }
        LogFormat::Text => log
            .with_target(false)
            .with_ansi(io::stderr().is_terminal())
            .finish()
            .with(filter)
            .try_init(),
        LogFormat::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .finish()
            .with(filter)
            .try_init(),
    };
    if let Some(error) = mistake {
        tracing::warn!(
            RUST_LOG = asked.as_deref(),
            %error,
            "RUST_LOG is invalid, so the level is `info`"
        );
    }
    // The default hook writes text between the lines of the log.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(
            place,
            thread = std::thread::current().name(),
            "bug: a task panicked; what it was doing is not confirmed"
        );
    }));
}

/// Rate-limits the log line for a condition that lasts.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle(Mutex<Option<Instant>>);

impl LogThrottle {
    pub(crate) fn may_log(&self) -> bool {
        let mut last = self.0.lock();
        let may = last.is_none_or(|last| last.elapsed() >= LOG_PAUSE);
        if may {
            *last = Some(Instant::now());
        }
        may
    }
}

/// Bounds the lines that strangers cause: some at once, and then some in each second. Further ones
/// are counted, and the next line tells how many there were.
#[derive(Debug, Default)]
pub(crate) struct LineBudget(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    /// When as many lines as at first are allowed again.
    full_at: Option<Instant>,
    unlogged: u64,
}

impl LineBudget {
    const AT_ONCE: u32 = 50;
    const INTERVAL: Duration = Duration::from_millis(500);

    /// How many lines were left out before this one; none if this one must be left out too.
    pub(crate) fn take(&self, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock();
        let full_at = lines.full_at.map_or(now, |full_at| full_at.max(now)) + Self::INTERVAL;
        if full_at > now + Self::INTERVAL * Self::AT_ONCE {
            lines.unlogged += 1;
            return None;
        }
        lines.full_at = Some(full_at);
        Some(std::mem::take(&mut lines.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log on a full disk.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn a_line_that_cannot_be_written_is_counted_and_no_error() {
        let before = lost_lines();
        let mut log = Lossy(Full);
        log.write_all(b"line\n").unwrap();
        log.flush().unwrap();
        assert_eq!(lost_lines() - before, 1);
        let mut kept = Lossy(Vec::new());
        kept.write_all(b"line\n").unwrap();
        assert_eq!(
            (kept.0.as_slice(), lost_lines() - before),
            (b"line\n".as_slice(), 1)
        );
    }

    #[test]
    fn strangers_cause_few_lines_and_the_rest_is_counted() {
        let budget = LineBudget::default();
        let now = Instant::now();
        let logged = (0..1000).filter_map(|_| budget.take(now)).count();
        assert_eq!(logged, 50);
        let later = now + Duration::from_secs(1);
        let logged: Vec<u64> = (0..10).filter_map(|_| budget.take(later)).collect();
        assert_eq!(logged, [950, 0]);
        let next = later + Duration::from_millis(500);
        assert_eq!(budget.take(next), Some(8));
    }

    #[test]
    fn a_lasting_condition_is_logged_once() {
        let throttle = LogThrottle::default();
        let logged = (0..1000).filter(|_| throttle.may_log()).count();
        assert_eq!(logged, 1);
    }

    #[test]
    fn a_word_that_is_no_level_is_a_mistake() {
        for right in [
            "info",
            "WARN",
            "off",
            "debug,rustls=off",
            "passmate_server=trace, error",
        ] {
            assert!(filter_of(right).is_ok(), "{right}");
        }
        for wrong in [
            "inof",
            "warning",
            "info,verbose",
            "no=such=level",
            "rustls=loud",
        ] {
            assert!(filter_of(wrong).is_err(), "{wrong}");
        }
    }
}
