//! A new key and a new account for the same vault. The rules are:
//!  - the new account is saved in the vault, with the old one's key, before anything else happens
//!    to it;
//!  - the old one is deleted only when the new one has everything, and after one more look at
//!    it;
//!  - a history that is to be shorter is cut when the new account is there, before anything goes
//!    into it;
//!  - interrupted at any point it goes on from there when it is asked for again.

use passmate_vault::{Account, AccountKey, SeenChanges, Shape, SyncKey, Vault, format, sync_key};

use crate::account::{account_of, auth_token_of, replace_account};
use crate::client::SyncClient;
use crate::error::{RemoteError, SyncError};
use crate::leave::delete_account;
use crate::options::Options;
use crate::report::Report;
use crate::retry::retry;

impl SyncClient<'_> {
    /// Gives the vault a new account with a new key on the same server, and deletes the old one
    /// there.
    ///
    /// What another device stores in the old account before its deletion comes along. What it
    /// cannot store there any more stays on that device until it joins with the new key. With
    /// `keep_since` the new account, and with it every device, has the history since that time, in
    /// seconds since 1970 (see [`truncate`](passmate_vault::history::truncate)); so this is also
    /// the remedy for a vault that has outgrown what the server accepts.
    ///
    /// # Errors
    /// See [`SyncError`]. The vault is tied to the old account, or to the new one with the old
    /// one's key beside it: called again, it goes on.
    pub fn rotate(&mut self, keep_since: Option<i64>) -> Result<Report, SyncError> {
        let begun = self.replica.account().ok_or(SyncError::NoAccount)?;
        let mut report = Report::default();
        if begun.retired.is_none() {
            match self.sync(Options::default()) {
                // What the old account had is merged and saved by then.
                Err(SyncError::Remote(RemoteError::TooLarge { .. })) if keep_since.is_some() => {}
                synced => report = synced?,
            }
            self.move_on()?;
        }
        if let Some(since) = keep_since {
            let truncated = Vault::new().with_history_since(since);
            self.replica.merge(&truncated);
            self.replica.save_more().map_err(SyncError::Save)?;
        }
        match self.sync(Options::default()) {
            // The number came and the account was not made: there was none to lose.
            Err(SyncError::Remote(RemoteError::AccountUnknown(error)))
                if *error == RemoteError::Refused =>
            {
                self.move_on()?;
                report.add(self.sync(Options::default())?);
            }
            synced => report.add(synced?),
        }
        let account = self.replica.account().ok_or(SyncError::SetUpChanged)?;
        let retired = account.retired.clone().ok_or(SyncError::SetUpChanged)?;
        if let Some(last) = self.last_look(&retired)? {
            let vault = self.replica.vault();
            if last.truncated_with(vault).missing_from(vault) > 0 {
                self.replica.merge(&last);
                self.replica.save_more().map_err(SyncError::Save)?;
                report.add(self.sync(Options::default())?);
            }
            delete_account(&retired, self.transport, self.env)?;
        }
        let account = self.replica.account().cloned();
        let account = Account {
            retired: None,
            ..account.ok_or(SyncError::SetUpChanged)?
        };
        replace_account(self.replica, Some(account))?;
        Ok(report)
    }

    /// Makes the new account. After an interrupted rotation the account that it replaces stays the
    /// same.
    fn move_on(&mut self) -> Result<(), SyncError> {
        let old = self.replica.account().cloned();
        let old = old.ok_or(SyncError::SetUpChanged)?;
        let retired = old.retired.clone().or_else(|| old.key.granted().cloned());
        let associate = |key| Account {
            key: AccountKey::Granted(key),
            confirmed: false,
            seen: SeenChanges::new(),
            retired: retired.clone(),
            shape: Shape::Modern,
            ..old.clone()
        };
        let key = sync_key::make_key(self.env.rng());
        self.make_account(key, &associate).map(drop)
    }

    /// What the old account has; `None` if it is gone.
    fn last_look(&mut self, key: &SyncKey) -> Result<Option<Vault>, SyncError> {
        let number = account_of(key).ok_or(SyncError::KeyWithoutAccount)?;
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
                    let opened = open(fetched.btoken(), key);
                    fetched.leave();
                    opened.map(Some)
                }
                Err(ended) => {
                    retries.after_end(&ended)?;
                    Ok(None)
                }
            }
        });
        match looked {
            Ok(vault) => Ok(Some(vault)),
            Err(RemoteError::Refused) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn open(sealed: &[u8], key: &SyncKey) -> Result<Vault, RemoteError> {
    let plaintext = format::btoken::open(sealed, key).map_err(RemoteError::Unopenable)?;
    let (vault, _) = format::decode_btoken(&plaintext).map_err(RemoteError::NoVault)?;
    Ok(vault)
}
