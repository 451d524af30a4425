//! `passmate-server limits`: whom the limits of a running server affect.

use ipnet::IpNet;
use serde_json::json;

use super::{App, Failure};
use crate::control::{self, ControlError, NETWORKS_MAX, PausedNetwork};
use crate::exit::Code;

/// Show or clear the limits of sources in the running server
#[derive(Debug, clap::Subcommand)]
pub(super) enum Limits {
    /// List the sources and networks that are paused after too many refusals
    List,
    /// Forget what a source did, so that its limits start anew
    ///
    /// This also clears the wider networks that the source belongs to (an IPv4 /24, an IPv6 /56 and
    /// /48).
    Clear {
        /// An address, or a network such as 192.0.2.0/24
        #[arg(value_parser = parse_network)]
        addr: IpNet,
    },
}

fn parse_network(text: &str) -> Result<IpNet, &'static str> {
    control::parse_network(text).ok_or("give an address, or a network such as 192.0.2.0/24")
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let code = match error {
            ControlError::NotRunning { .. } => Code::NotFound,
            ControlError::Io { .. } => Code::File,
            ControlError::NotUnderstood(_) => Code::NotSupported,
        };
        let hint = error.hint();
        Self::new(code, error, hint)
    }
}

pub(super) fn run(app: &App, command: &Limits) -> Result<(), Failure> {
    match command {
        Limits::List => list(app),
        Limits::Clear { addr } => clear(app, *addr),
    }
}

fn list(app: &App) -> Result<(), Failure> {
    let limits = control::limits_in_force(&app.config.data_dir)
        .map_err(|error| app.say_where_servers_are(error.into()))?;
    let mut text = String::new();
    for PausedNetwork {
        network,
        seconds_left,
        pauses,
    } in &limits.paused
    {
        text.push_str(&format!(
            "{network}  paused for {seconds_left} s more, pause {pauses} in a row\n"
        ));
    }
    match limits.paused_count {
        0 => text.push_str("no source is paused\n"),
        count if count > NETWORKS_MAX as u64 => {
            text.push_str(&format!("{count} networks are paused in all\n"));
        }
        _ => {}
    }
    let object = json!({
        "paused": limits.paused,
        "paused_count": limits.paused_count,
        "exempt_creates": limits.exempt_creates,
        "exempt_refusals": limits.exempt_refusals,
    });
    app.answer(&text, object)
}

fn clear(app: &App, network: IpNet) -> Result<(), Failure> {
    let cleared = control::clear_limits(&app.config.data_dir, network)
        .map_err(|error| app.say_where_servers_are(error.into()))?;
    if cleared.is_empty() {
        return Err(Failure::new(
            Code::NotFound,
            "the server remembers nothing about this source",
            "`passmate-server limits list` shows who is paused",
        ));
    }
    let text: String = cleared
        .iter()
        .map(|one| format!("cleared {one}\n"))
        .collect();
    app.answer(&text, json!({ "cleared": cleared }))
}
