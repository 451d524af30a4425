//! An account that is shared with the desktop client becomes one of this program's.

use passmate_vault::{Association, Shape};

use crate::account::replace_association;
use crate::client::SyncClient;
use crate::error::SyncError;
use crate::options::Options;
use crate::report::Report;

impl SyncClient<'_> {
    /// Brings vault and server in step and gives the btoken our form, which the desktop client
    /// cannot read. Our other devices follow with their next sync. An account that has our form
    /// already is synced.
    ///
    /// # Errors
    /// See [`SyncError`]. After an interruption the next [`sync`](Self::sync) goes on.
    pub fn upgrade(&mut self) -> Result<Report, SyncError> {
        let mut report = self.sync(Options::default())?;
        let association = self.replica.association().cloned();
        let association = association.ok_or(SyncError::SetUpChanged)?;
        if association.shape == Shape::Desktop {
            let association = Association {
                shape: Shape::Upgraded,
                ..association
            };
            replace_association(self.replica, Some(association))?;
            report.add(self.sync(Options::default())?);
        }
        Ok(report)
    }
}
