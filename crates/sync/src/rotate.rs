//! A new key and a new account for the same vault. The rules are:
//!  - the new account is saved in the vault, with the old one's key, before anything else happens
//!    to it;
//!  - the old one is deleted only when the new one has everything, and after one more look at it;
//!  - what the old one holds passes the gate. If it cannot be read, it does not hold up the new one;
//!  - after a loss the old one is never read: whoever has the lost device may write there. What
//!    other devices stored there is still on them, and comes when they join;
//!  - a history that is to be shorter is cut when the new account is there, before anything goes
//!    into it;
//!  - interrupted at any point, the next sync goes on from there.

use passmate_vault::{
    Account, AccountKey, Retired, RollCall, SeenChanges, Shape, SyncKey, Vault, format, sync_key,
};

use crate::account::{account_of, auth_token_of, replace_account};
use crate::admit::admit;
use crate::client::SyncClient;
use crate::error::{RemoteError, SyncError};
use crate::options::Options;
use crate::report::Report;
use crate::retry::retry;

/// Why an account is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// For a new key, or a shorter history. What the old account has comes along.
    Renewal,
    /// A device was lost or stolen. The old account is not read, only deleted.
    Loss,
}

impl SyncClient<'_> {
    /// Gives the vault a new account with a new key on the same server, and deletes the old one
    /// there.
    ///
    /// Unless a device was lost, what another device stores in the old account before its deletion
    /// comes along. What it cannot store there any more stays on that device until it joins with
    /// the new key. With `keep_since` the new account, and with it every device, has the history
    /// since that time, in seconds since 1970 (see
    /// [`truncate`](passmate_vault::history::truncate)); so this is also the remedy for a vault
    /// that has outgrown what the server accepts.
    ///
    /// # Errors
    /// See [`SyncError`]. The vault is tied to the old account, or to the new one with the old
    /// one's key beside it: called again, or by the next [`sync`](Self::sync), it goes on.
    pub fn rotate(
        &mut self,
        reason: Reason,
        keep_since: Option<i64>,
        options: &Options,
    ) -> Result<Report, SyncError> {
        let begun = self.replica.account().ok_or(SyncError::NoAccount)?;
        let is_begun = begun.retired.is_some();
        let mut report = Report::default();
        match reason {
            Reason::Renewal if !is_begun => report = self.sync_last(keep_since, options)?,
            Reason::Loss if is_begun => self.declare_lost()?,
            Reason::Renewal | Reason::Loss => {}
        }
        if !is_begun {
            self.move_on(reason)?;
        }
        if let Some(since) = keep_since {
            self.replica.truncate(since);
            self.replica.save_more().map_err(SyncError::Save)?;
        }
        report.add(self.finish_rotation(options)?);
        match report.unfinished.take() {
            Some(error) => Err(error.into()),
            None => Ok(report),
        }
    }

    /// The last sync with the old account. If that is not there or cannot be read, there is nothing
    /// to bring along.
    fn sync_last(
        &mut self,
        keep_since: Option<i64>,
        options: &Options,
    ) -> Result<Report, SyncError> {
        match self.sync_account(options) {
            // What the old account had is merged and saved by then.
            Err(SyncError::Remote(RemoteError::TooLarge { .. })) if keep_since.is_some() => {
                Ok(Report::default())
            }
            Err(SyncError::Remote(error)) if error.is_about_content() => Ok(Report {
                unread: Some(error),
                ..Report::default()
            }),
            synced => synced,
        }
    }

    /// Stores everything in the new account, then deletes the old one. What keeps the old one from
    /// being deleted is in the report, because the vault is synced by then.
    pub(crate) fn finish_rotation(&mut self, options: &Options) -> Result<Report, SyncError> {
        let mut report = match self.sync_account(options) {
            // The number came and the account was not made: there was none to lose.
            Err(SyncError::Remote(RemoteError::AccountUnknown(error)))
                if *error == RemoteError::Refused =>
            {
                let retired = self.retired()?;
                self.move_on(if retired.is_lost {
                    Reason::Loss
                } else {
                    Reason::Renewal
                })?;
                self.sync_account(options)?
            }
            synced => synced?,
        };
        let retired = self.retired()?;
        match self.give_up(&retired, options, &mut report) {
            Err(SyncError::Remote(error)) => {
                report.unfinished = Some(error);
                Ok(report)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(report),
        }
    }

    /// Takes a last look at the old account, and deletes it.
    fn give_up(
        &mut self,
        retired: &Retired,
        options: &Options,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let is_there = if retired.is_lost {
            true
        } else {
            match self.look(&retired.key, |btoken| open(btoken, &retired.key)) {
                Ok(Some(last)) => {
                    self.bring_along(last, options, report)?;
                    true
                }
                Ok(None) => false,
                Err(error) if error.is_about_content() => {
                    report.unread = Some(error);
                    true
                }
                Err(error) => return Err(error.into()),
            }
        };
        if is_there {
            self.delete_retired(retired)
        } else {
            self.forget_retired()
        }
    }

    /// Merges what another device stored in the old account since the last sync.
    fn bring_along(
        &mut self,
        last: Vault,
        options: &Options,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let vault = self.replica.vault();
        if last.truncated_with(vault).missing_from(vault) == 0 {
            return Ok(());
        }
        let admitted =
            admit(last, self.replica.entry(), &options.policy).map_err(SyncError::HeldBack)?;
        self.replica.merge(&admitted);
        self.replica.save_more().map_err(SyncError::Save)?;
        report.add(self.sync_account(options)?);
        Ok(())
    }

    fn retired(&self) -> Result<Retired, SyncError> {
        let account = self.replica.account().ok_or(SyncError::SetUpChanged)?;
        account.retired.clone().ok_or(SyncError::SetUpChanged)
    }

    /// A device was lost while a rotation was under way: the old account is not read any more.
    fn declare_lost(&mut self) -> Result<(), SyncError> {
        let retired = self.retired()?;
        let account = self.replica.account().cloned();
        let account = Account {
            retired: Some(Retired {
                is_lost: true,
                ..retired
            }),
            ..account.ok_or(SyncError::SetUpChanged)?
        };
        replace_account(self.replica, Some(account))
    }

    /// Makes the new account. After an interrupted rotation the account that it replaces stays the
    /// same.
    fn move_on(&mut self, reason: Reason) -> Result<(), SyncError> {
        let old = self.replica.account().cloned();
        let old = old.ok_or(SyncError::SetUpChanged)?;
        let replaced = || {
            Some(Retired {
                key: old.key.granted()?.clone(),
                is_lost: reason == Reason::Loss,
            })
        };
        let retired = old.retired.clone().or_else(replaced);
        let associate = |key| Account {
            key: AccountKey::Granted(key),
            confirmed: false,
            seen: SeenChanges::new(),
            devices: RollCall::new(),
            retired: retired.clone(),
            shape: Shape::Modern,
            ..old.clone()
        };
        let key = sync_key::make_key(self.env.rng());
        self.make_account(key, &associate).map(drop)
    }

    /// What is made of the btoken of an account; `None` if the account is gone.
    pub(crate) fn look<T>(
        &mut self,
        key: &SyncKey,
        read: impl Fn(&[u8]) -> Result<T, RemoteError>,
    ) -> Result<Option<T>, RemoteError> {
        let number = account_of(key).ok_or(RemoteError::Refused)?;
        let looked = retry(self.env, |retries, _| {
            let connection = match self.transport.connect() {
                Ok(connection) => connection,
                Err(error) => {
                    retries.after_no_connection(error)?;
                    return Ok(None);
                }
            };
            match connection.update(number, auth_token_of(key)) {
                Ok(fetched) => {
                    let read = read(fetched.btoken());
                    fetched.leave();
                    read.map(Some)
                }
                Err(ended) => {
                    retries.after_end(&ended)?;
                    Ok(None)
                }
            }
        });
        match looked {
            Ok(read) => Ok(Some(read)),
            Err(RemoteError::Refused) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn open(sealed: &[u8], key: &SyncKey) -> Result<Vault, RemoteError> {
    let plaintext = format::btoken::open(sealed, key).map_err(RemoteError::Unopenable)?;
    let btoken = format::decode_btoken(&plaintext).map_err(RemoteError::NoVault)?;
    Ok(btoken.vault)
}
