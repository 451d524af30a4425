//! The command that the server prints for the first device.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use passmate_proto::PORT;

use super::Listening;
use crate::tls::{self, Identity};

/// How long the lookup of this machine's name may take.
const LOOK_UP_TIME_MAX: Duration = Duration::from_secs(1);

pub(super) async fn setup_command(listening: &[Listening], identity: &Identity) -> String {
    let unspecified = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT);
    let address = listening.first().map_or(unspecified, |first| first.address);
    let host = match address.ip() {
        ip if ip.is_unspecified() => match identity.names.first() {
            Some(name) if !identity.is_own => name.clone(),
            _ => own_name().await,
        },
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let port = match address.port() {
        PORT => String::new(),
        port => format!(":{port}"),
    };
    format!("passmate sync setup {host}{port} --pin {}", identity.pin)
}

/// This machine's name if it resolves here, else `localhost`: the printed command must work at
/// least on this machine.
async fn own_name() -> String {
    let name = tls::host_name();
    let found = tokio::net::lookup_host((name.clone(), PORT));
    let found = tokio::time::timeout(LOOK_UP_TIME_MAX, found).await;
    let is_known = found.is_ok_and(|found| found.is_ok_and(|mut found| found.next().is_some()));
    if is_known {
        name
    } else {
        "localhost".to_owned()
    }
}
