//! What the admin listener asks of a running server.

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
