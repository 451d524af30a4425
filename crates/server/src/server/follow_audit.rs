//! Writes what operators did to the log of the server, also what they did while no server ran.
//! The log names no account; the store does, for `passmate-server log`.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::utc;
use crate::observe::metrics::Operated;
use crate::state::ServerState;
use crate::store::{Audited, StoreError};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn follow_audit(state: Arc<ServerState>) {
    let mut last = None;
    loop {
        let is_last = state.stop.is_cancelled();
        match state.service.read_audit(last).await {
            Ok(records) => {
                for record in &records {
                    log(record);
                    state.metrics.note_operated(operated(record));
                    last = Some(record.id);
                }
                if let (Some(id), false) = (last, records.is_empty()) {
                    state.service.note_logged(id);
                }
            }
            Err(StoreError::Closed) => return,
            Err(error) => tracing::debug!(%error, "the actions of operators cannot be read"),
        }
        if is_last {
            return;
        }
        tokio::select! {
            () = state.stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

fn operated(record: &Audited) -> Operated {
    let actor = &record.actor;
    let by = actor.user.clone();
    Operated {
        at: actor.at,
        action: record.action.clone(),
        detail: record.detail.clone(),
        by: by.unwrap_or_else(|| format!("user {}", actor.uid)),
    }
}

fn log(record: &Audited) {
    let actor = &record.actor;
    tracing::info!(
        action = record.action,
        uid = actor.uid,
        user = actor.user,
        sudo_uid = actor.sudo_uid,
        detail = (!record.detail.is_empty()).then_some(record.detail.as_str()),
        time = utc(actor.at),
        "an operator changed something"
    );
}
