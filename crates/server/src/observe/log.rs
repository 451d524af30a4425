//! The log on standard error, as text for people or as JSON, one object a line. How much is
//! RUST_LOG's to say; without it, everything from `info` up.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What the TLS library has to say about strangers' bytes is no news for an operator.
const DEFAULT: &str = "info,rustls=off";

/// Starts the log for this process. A second call changes nothing.
pub(crate) fn init(format: LogFormat) {
    let asked = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let (filter, mistake) = match asked.as_deref().map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        // Somebody else's variable, or a slip: no reason to keep people from their vaults.
        Some(Err(error)) => (EnvFilter::new(DEFAULT), Some(error)),
        None => (EnvFilter::new(DEFAULT), None),
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
        tracing::warn!(%error, "RUST_LOG cannot be read, `info` is used");
    }
    // The default hook writes text of its own between the lines.
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
