//! An account that is shared with the desktop client becomes one of ours.

use passmate_vault::{Association, Shape};

use super::{
    Local, Options, Report, Surroundings, SyncError, Transport, replace_association, sync,
};

/// Brings vault and server in step and gives the btoken our form, which the desktop client cannot
/// read. Our other devices follow with their next sync. For an account that has our form already it
/// is a sync.
///
/// # Errors
/// See [`SyncError`]. Interrupted, the next [`sync`] goes on.
pub fn upgrade<L: Local>(
    local: &mut L,
    transport: &mut dyn Transport,
    surroundings: &mut dyn Surroundings,
) -> Result<Report, SyncError<L::Error>> {
    let mut report = sync(local, transport, surroundings, Options::default())?;
    let association = local
        .association()
        .cloned()
        .ok_or(SyncError::SetUpChanged)?;
    if association.shape == Shape::Desktop {
        replace_association(
            local,
            Some(Association {
                shape: Shape::Upgraded,
                ..association
            }),
        )?;
        report.add(sync(local, transport, surroundings, Options::default())?);
    }
    Ok(report)
}
