//! A new key and a new account for the same vault. The rules are:
//!  - the new account is saved in the vault, with the old one's key, before anything else happens
//!    to it;
//!  - the old one is deleted only when the new one has everything, and after one more look at it;
//!  - what the old one holds passes the gate. If it cannot be read, it does not hold up the new one;
//!  - after a loss the old one is never read: whoever has the lost device may write there. What
//!    other devices stored there is still on them, and comes when they join;
//!  - a history that is to be shorter is cut when the new account is there, before anything goes
//!    into it;
//!  - that a device was lost is saved before the first connection, so that nothing reads the old
//!    account again;
//!  - interrupted at any point, the next sync goes on from there.

use passmate_vault::sync::account::RETIRED_MAX;
use passmate_vault::{
    Account, AccountKey, Retired, RollCall, SeenChanges, Shape, SyncKey, Vault, format, sync_key,
};

use crate::account::{account_of, auth_token_of, replace_account};
use crate::admit::admit;
use crate::attempt::with_limit;
use crate::client::SyncClient;
use crate::error::{RemoteError, SyncError};
use crate::options::{Options, Reason};
use crate::report::Report;
use crate::retry::retry;

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
        let is_begun = !begun.retired.is_empty();
        let is_loss = reason == Reason::Loss || begun.is_lost;
        let mut report = Report::default();
        if is_loss {
            // It is saved before anything else: whatever happens, the account is not read again.
            self.declare_lost()?;
            self.move_on(self.replaced(true))?;
        } else if !is_begun {
            report = self.sync_last(keep_since, options)?;
            self.move_on(self.replaced(false))?;
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

    /// Stores everything in the new account, then deletes the old ones. What keeps one from being
    /// deleted is in the report, because the vault is synced by then.
    pub(crate) fn finish_rotation(&mut self, options: &Options) -> Result<Report, SyncError> {
        let mut report = match self.sync_account(options) {
            // The number came and the account was not made: there was none to lose.
            Err(SyncError::Remote(RemoteError::AccountUnknown(error)))
                if *error == RemoteError::Refused =>
            {
                self.move_on(None)?;
                self.sync_account(options)?
            }
            synced => synced?,
        };
        let account = self.replica.account().ok_or(SyncError::SetUpChanged)?;
        for retired in account.retired.clone() {
            match self.give_up(&retired, options, &mut report) {
                Err(SyncError::Remote(error)) => report.unfinished = Some(error),
                given_up => given_up?,
            }
        }
        Ok(report)
    }

    /// Takes a last look at an old account, and deletes it.
    fn give_up(
        &mut self,
        retired: &Retired,
        options: &Options,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        if !retired.is_lost {
            match self.look_into(retired) {
                Ok(Some(last)) => self.bring_along(last, options, report)?,
                Ok(None) => {
                    report.gone.extend(account_of(&retired.key));
                    return self.forget_retired(retired);
                }
                Err(error) if error.is_about_content() => report.unread = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        if !self.delete_retired(retired)? {
            report.gone.extend(account_of(&retired.key));
        }
        Ok(())
    }

    /// What an old account holds; `None` if it is gone.
    pub(crate) fn look_into(&mut self, retired: &Retired) -> Result<Option<Vault>, RemoteError> {
        self.look(&retired.key, |btoken| open(btoken, &retired.key))
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
        let policy = options.policy.clone();
        let policy = with_limit(policy, &report.greeting, self.replica.account());
        let admitted = admit(last, self.replica.entry(), &policy).map_err(SyncError::HeldBack)?;
        admitted.note(report);
        let summary = self.replica.merge(&admitted);
        report.note(summary);
        self.replica.save_more().map_err(SyncError::Save)?;
        report.add(self.sync_account(options)?);
        Ok(())
    }

    /// Notes that whoever has a lost device may write to the present account and the retired ones.
    fn declare_lost(&mut self) -> Result<(), SyncError> {
        let account = self.replica.account().cloned();
        let mut account = account.ok_or(SyncError::SetUpChanged)?;
        account.is_lost = true;
        for retired in &mut account.retired {
            retired.is_lost = true;
        }
        replace_account(self.replica, Some(account))
    }

    /// The present account, as one that is to be replaced.
    fn replaced(&self, is_lost: bool) -> Option<Retired> {
        let key = self.replica.account()?.key.granted()?.clone();
        Some(Retired { key, is_lost })
    }

    /// Makes the new account. `replaced` joins the accounts that are to be deleted; an account that
    /// was never made need not be.
    fn move_on(&mut self, replaced: Option<Retired>) -> Result<(), SyncError> {
        let old = self.replica.account().cloned();
        let old = old.ok_or(SyncError::SetUpChanged)?;
        let mut retired = old.retired.clone();
        retired.extend(replaced);
        // An account that follows many unfinished ones was never filled. The first may be the one
        // that a thief knows.
        if retired.len() > RETIRED_MAX {
            let last = retired.split_off(retired.len() - 1);
            retired.truncate(RETIRED_MAX - 1);
            retired.extend(last);
        }
        let associate = |key| Account {
            key: AccountKey::Granted(key),
            confirmed: false,
            seen: SeenChanges::new(),
            devices: RollCall::new(),
            retired: retired.clone(),
            is_lost: false,
            shape: Shape::Modern,
            ..old.clone()
        };
        let key = sync_key::make_key(self.env.rng());
        self.make_account(key, Shape::Modern, &associate).map(drop)
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
