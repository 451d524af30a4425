//! What an operator sees of a running server: log, metrics and status page.

pub(crate) mod access_log;
mod exposition;
mod http;
mod latencies;
pub(crate) mod log;
pub(crate) mod metrics;
mod page;
pub(crate) mod process;

pub(crate) use http::{AdminListener, LiveServer, serve};
