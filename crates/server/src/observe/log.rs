//! The log on standard error, as text or as JSON with one object a line. RUST_LOG sets its level;
//! the default is `info`.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What the TLS library says about strangers' bytes is of no use to an operator.
const FILTER_DEFAULT: &str = "info,rustls=off";
/// A lasting condition is logged once in this time.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Starts the log of this process. A second call changes nothing.
pub(crate) fn init(format: LogFormat) {
    let asked = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let (filter, mistake) = match asked.as_deref().map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        // A mistake in RUST_LOG must not keep the server from starting.
        Some(Err(error)) => (EnvFilter::new(FILTER_DEFAULT), Some(error)),
        None => (EnvFilter::new(FILTER_DEFAULT), None),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let _ = match format {
        LogFormat::Text => log
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
        LogFormat::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
    };
    if let Some(error) = mistake {
        tracing::warn!(%error, "RUST_LOG is invalid, so the level is `info`");
    }
    // The default hook writes text between the lines of the log.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(
            place,
            "bug: a task panicked; its connection ends unconfirmed"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_condition_is_logged_once() {
        let throttle = LogThrottle::default();
        let logged = (0..1000).filter(|_| throttle.may_log()).count();
        assert_eq!(logged, 1);
    }
}
