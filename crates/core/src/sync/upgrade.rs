//! An account that is shared with the desktop client becomes one of ours.

use passmate_vault::{Association, Shape};

use super::{Env, Options, Replica, Report, SyncError, Transport, replace_association, sync};

/// Brings vault and server in step and gives the btoken our form, which the desktop client cannot
/// read. Our other devices follow with their next sync. For an account that has our form already it
/// is a sync.
///
/// # Errors
/// See [`SyncError`]. Interrupted, the next [`sync`] goes on.
pub fn upgrade<R: Replica>(
    replica: &mut R,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
) -> Result<Report, SyncError<R::Error>> {
    let mut report = sync(replica, transport, env, Options::default())?;
    let association = replica
        .association()
        .cloned()
        .ok_or(SyncError::SetUpChanged)?;
    if association.shape == Shape::Desktop {
        replace_association(
            replica,
            Some(Association {
                shape: Shape::Upgraded,
                ..association
            }),
        )?;
        report.add(sync(replica, transport, env, Options::default())?);
    }
    Ok(report)
}
