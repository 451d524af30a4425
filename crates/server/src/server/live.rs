//! What the admin listener and the control socket ask of a running server.

use ipnet::IpNet;
use tokio::time::Instant;

use crate::control::{Controlled, LimitsInForce, NETWORKS_MAX, PausedNetwork};
use crate::observe::LiveServer;
use crate::observe::metrics::{Gauges, Metrics};
use crate::state::ServerState;

impl LiveServer for ServerState {
    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn gauges(&self) -> Gauges {
        let settings = self.settings.load();
        Gauges {
            begun: self.metrics.begun(),
            open: self.open.count() as u64,
            open_max: self.connections_max(&settings) as u64,
            btoken_memory: self.service.memory().leased(),
            btoken_memory_max: settings.limits.memory_max,
            certificate_not_after: Some(settings.certificate.not_after),
            key_changed_at: settings.certificate.key_changed_at,
            commits: self.service.commits(),
            exempt: self.rate_limiter.exempt_use(),
            process: crate::observe::process::Process::now(),
            paused: self.rate_limiter.paused_count(Instant::now().into_std()),
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    async fn probe(&self) -> Result<(), String> {
        self.service
            .probe()
            .await
            .map_err(|error| error.to_string())
    }
}

impl Controlled for ServerState {
    fn limits_in_force(&self) -> LimitsInForce {
        let paused = self.rate_limiter.paused(Instant::now().into_std());
        let exempt = self.rate_limiter.exempt_use();
        LimitsInForce {
            paused_count: paused.len() as u64,
            paused: paused
                .iter()
                .take(NETWORKS_MAX)
                .map(|paused| PausedNetwork {
                    network: paused.network.to_string(),
                    // A pause that is about to end still lasts.
                    seconds_left: paused.left.as_secs() + 1,
                    pauses: paused.pauses,
                })
                .collect(),
            exempt_creates: exempt.creates,
            exempt_refusals: exempt.refusals,
        }
    }

    fn clear_limits(&self, network: IpNet) -> Vec<String> {
        let cleared = self.rate_limiter.clear(network, Instant::now().into_std());
        let names = cleared.iter().take(NETWORKS_MAX);
        names.map(ToString::to_string).collect()
    }

    async fn stopped(&self) {
        self.stop.cancelled().await;
    }
}
