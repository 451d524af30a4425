//! An account that is shared with the desktop client becomes one of this program's.

use passmate_vault::{Account, Shape};

use crate::account::replace_account;
use crate::client::SyncClient;
use crate::error::SyncError;
use crate::options::Options;
use crate::report::Report;

impl SyncClient<'_> {
    /// Syncs vault and server and gives the btoken our form, which the desktop client
    /// cannot read. Our other devices follow with their next sync. An account that has our form
    /// already is synced.
    ///
    /// # Errors
    /// See [`SyncError`]. After an interruption the next [`sync`](Self::sync) goes on.
    pub fn upgrade(&mut self, options: &Options) -> Result<Report, SyncError> {
        let mut report = self.sync(options)?;
        let account = self.replica.account().cloned();
        let account = account.ok_or(SyncError::SetUpChanged)?;
        if account.shape == Shape::Desktop {
            let account = Account {
                shape: Shape::Upgraded,
                ..account
            };
            replace_account(self.replica, Some(account))?;
            report.add(self.sync(options)?);
        }
        Ok(report)
    }
}
