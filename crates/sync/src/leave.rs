//! The end of an account, on this device or for all devices.

use passmate_proto::Outcome;
use passmate_vault::{Retired, SyncKey};

use crate::account::{account_of, auth_token_of, replace_account};
use crate::client::SyncClient;
use crate::env::Env;
use crate::error::{RemoteError, SyncError};
use crate::replica::Replica;
use crate::retry::retry;
use crate::transport::Transport;

/// Forgets the server on this device. The btoken there and all other devices stay as they are.
///
/// # Errors
/// The vault is not set up to sync, or could not be saved; then nothing changed.
pub fn leave(replica: &mut dyn Replica) -> Result<(), SyncError> {
    replica.account().ok_or(SyncError::NoAccount)?;
    replace_account(replica, None)
}

impl SyncClient<'_> {
    /// Deletes the account and its btoken on the server, then forgets the server on this device.
    ///
    /// # Errors
    /// See [`SyncError`]; the vault keeps the account then, and [`leave`] can still drop it.
    /// [`RemoteError::DeletedOrUnreachable`]: the deletion was asked for twice and not confirmed.
    pub fn delete(&mut self) -> Result<(), SyncError> {
        let account = self.replica.account().ok_or(SyncError::NoAccount)?;
        // Accounts that a rotation left behind go first: only this vault has their keys.
        for retired in account.retired.clone() {
            self.delete_retired(&retired)?;
        }
        let account = self.replica.account().ok_or(SyncError::NoAccount)?;
        // A device that was never admitted has nothing there.
        if let Some(key) = account.key.granted().cloned() {
            delete_account(&key, self.transport, self.env)?;
        }
        replace_account(self.replica, None)
    }
}

impl SyncClient<'_> {
    /// Deletes the account that a rotation left behind, and forgets it. Returns whether the server
    /// confirmed that: one that it refuses was deleted before, or is disabled there.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub fn delete_retired(&mut self, retired: &Retired) -> Result<bool, SyncError> {
        let confirmed = match delete_account(&retired.key, self.transport, self.env) {
            Err(SyncError::Remote(RemoteError::Refused)) => false,
            Err(SyncError::Remote(RemoteError::DeletedOrUnreachable))
                if self.look(&retired.key, |_| Ok(()))?.is_none() =>
            {
                false
            }
            deleted => deleted.map(|()| true)?,
        };
        self.forget_retired(retired)?;
        Ok(confirmed)
    }

    /// Forgets the account that a rotation left behind: it is deleted.
    pub(crate) fn forget_retired(&mut self, retired: &Retired) -> Result<(), SyncError> {
        let account = self.replica.account().cloned();
        let mut account = account.ok_or(SyncError::SetUpChanged)?;
        account.retired.retain(|one| one.key != retired.key);
        replace_account(self.replica, Some(account))
    }
}

/// Deletes an account and its btoken on the server.
pub(crate) fn delete_account(
    key: &SyncKey,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
) -> Result<(), SyncError> {
    let number = account_of(key).ok_or(SyncError::KeyWithoutAccount)?;
    retry(env, |retries, _| {
        let may_retry = match transport.connect() {
            Err(error) => retries.after_no_connection(error),
            Ok(connection) => {
                let ended = connection.reset(number, auth_token_of(key));
                match ended.outcome {
                    Outcome::Confirmed(_) => return Ok(Some(())),
                    Outcome::Unknown(cause) => {
                        retries.after_unknown(cause, &ended.stream);
                        // The first may have done it: then the second finds no account.
                        if retries.unknown() >= 2 {
                            return Err(RemoteError::DeletedOrUnreachable.into());
                        }
                        Ok(())
                    }
                    Outcome::Failed(_) | Outcome::Left => retries.after_end(&ended),
                }
            }
        };
        may_retry.map_err(|error| match retries.unknown() {
            0 => error,
            _ => RemoteError::OutcomeUnknown(Box::new(error)),
        })?;
        Ok(None)
    })
}
