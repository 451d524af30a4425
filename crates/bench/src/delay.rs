//! Round trips of each action, measured through a proxy in user space that delays every byte by
//! half a round trip in each direction. TCP's own handshake is not delayed, so it is not counted.

use std::time::{Duration, Instant};

use passmate_core::net::trust::TlsTrust;
use passmate_core::net::{Address, Server as Remote};
use passmate_core::sync::Transport;
use passmate_core::sync::exchange::Ended;
use passmate_proto::Outcome;
use passmate_vault::Trust;

use crate::accounts::{noise, token};
use crate::process::Server;
use crate::proxy::Proxy;
use crate::report::{Figure, Goal};

/// The figures of round trips. The protocol needs one for TLS 1.3, one for hello and credentials,
/// and one for the upload.
pub(crate) struct Trips;

impl Trips {
    pub(crate) fn figures() -> [Figure; 3] {
        [
            Figure::new(
                "trips",
                "create: time ÷ round trip, without TCP's handshake",
                "ms",
                Goal::AtMost(3.5),
            ),
            Figure::new(
                "trips",
                "update: time ÷ round trip, without TCP's handshake",
                "ms",
                Goal::AtMost(3.5),
            ),
            Figure::new(
                "trips",
                "reset: time ÷ round trip, without TCP's handshake",
                "ms",
                Goal::AtMost(2.5),
            ),
        ]
    }
}

/// Measures the three actions of one account through the proxy.
pub(crate) fn measure(
    server: &Server,
    round_trip: Duration,
    figures: &mut [Figure; 3],
) -> anyhow::Result<()> {
    let proxy = Proxy::start(server.address, round_trip / 2)?;
    let trust = TlsTrust::new(&Trust::Ca(server.pem.clone()))?;
    let mut remote = Remote::new(
        Address::new("localhost", proxy.address.port()).map_err(anyhow::Error::msg)?,
        trust,
    );
    let trip = round_trip.as_secs_f64() * 1e3;
    let [create, update, reset] = figures;

    let begun = Instant::now();
    let created = remote.connect()?.create(token(), noise(4096, 1));
    let created = created.map_err(|ended| anyhow::anyhow!("create: {ended:?}"))?;
    let account = created.account();
    create.add(elapsed(begun, &created.finish())?, trip);

    let begun = Instant::now();
    let fetched = remote.connect()?.update(account, token());
    let fetched = fetched.map_err(|ended| anyhow::anyhow!("update: {ended:?}"))?;
    update.add(elapsed(begun, &fetched.replace(noise(4096, 2)))?, trip);

    let begun = Instant::now();
    let ended = remote.connect()?.reset(account, token());
    reset.add(elapsed(begun, &ended)?, trip);
    Ok(())
}

/// Milliseconds that a confirmed exchange took.
fn elapsed(begun: Instant, ended: &Ended) -> anyhow::Result<f64> {
    anyhow::ensure!(
        matches!(ended.outcome, Outcome::Confirmed(_)),
        "{:?}",
        ended.outcome
    );
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}
