//! Syncs a vault with its server.

use passmate_proto::{AccountNumber, Failure, Outcome};
use passmate_vault::SyncKey;

use crate::account::{account_of, auth_token_of};
use crate::admit::{Entry, would_hold_back};
use crate::attempt::{Attempt, with_limit};
use crate::env::Env;
use crate::error::SyncError;
use crate::exchange::Ended;
use crate::held::HeldBack;
use crate::options::{Options, Policy, Reason};
use crate::replica::Replica;
use crate::report::{Preview, Report};
use crate::retry::{AfterUnknown, retry};
use crate::transport::{ConnectError, Transport};

/// A vault and the server that it is tied to, or is about to be.
pub struct SyncClient<'a> {
    /// The vault.
    pub replica: &'a mut dyn Replica,
    /// The way to the server.
    pub transport: &'a mut dyn Transport,
    /// Randomness and waiting.
    pub env: &'a mut dyn Env,
}

impl SyncClient<'_> {
    /// Syncs the vault with its server.
    ///
    /// The vault is saved as soon as something new came, whatever becomes of the upload. A rotation
    /// that was interrupted is finished.
    ///
    /// # Errors
    /// See [`SyncError`]. With every error, all that this device had is still in its vault.
    pub fn sync(&mut self, options: &Options) -> Result<Report, SyncError> {
        match self.replica.account() {
            Some(account) if account.is_lost => self.rotate(Reason::Loss, None, options),
            Some(account) if !account.retired.is_empty() => self.finish_rotation(options),
            _ => self.sync_account(options),
        }
    }

    /// Syncs the vault with its account, whatever account it had before.
    pub(crate) fn sync_account(&mut self, options: &Options) -> Result<Report, SyncError> {
        let (key, confirmed) = self.account()?;
        let mut attempt = Attempt::new(self.replica, key, confirmed).with(options.clone());
        run(&mut attempt, self.transport, self.env)?;
        Ok(attempt.into_report())
    }

    /// What [`sync`](Self::sync) would do. Nothing is saved here and nothing is sent.
    ///
    /// # Errors
    /// See [`SyncError`].
    pub fn preview(&mut self, policy: &Policy) -> Result<Preview, SyncError> {
        if self
            .replica
            .account()
            .is_some_and(|account| account.is_lost)
        {
            // A lost account is not read.
            return Ok(Preview {
                report: Report::default(),
                vault: self.replica.vault().clone(),
                held: None,
                baseline: self.replica.baseline().cloned(),
            });
        }
        let (key, confirmed) = self.account()?;
        let options = Options {
            policy: policy.clone(),
            ..Options::default()
        };
        let attempt = Attempt::new(self.replica, key, confirmed).with(options);
        let mut attempt = attempt.preview_only();
        run(&mut attempt, self.transport, self.env)?;
        let mut preview = attempt.into_preview();
        if preview.held.is_none() {
            preview.held = self.held_in_retired(&preview, policy);
        }
        Ok(preview)
    }

    /// What would be held back of the accounts that a rotation has replaced and not yet deleted.
    /// What cannot be reached or read holds nothing up.
    fn held_in_retired(&mut self, preview: &Preview, policy: &Policy) -> Option<Box<HeldBack>> {
        let account = self.replica.account()?;
        let retired = account.retired.clone();
        let policy = with_limit(policy.clone(), &preview.report.greeting, Some(account));
        let now = self.replica.now();
        let mut held = retired.iter().filter(|retired| !retired.is_lost);
        held.find_map(|retired| {
            let last = self.look_into(retired).ok()??;
            let entry = Entry {
                vault: &preview.vault,
                baseline: preview.baseline.as_ref(),
                now,
            };
            would_hold_back(last, entry, &policy)
        })
    }

    fn account(&self) -> Result<(SyncKey, bool), SyncError> {
        let account = self.replica.account().ok_or(SyncError::NoAccount)?;
        let key = account.key.granted().ok_or_else(|| SyncError::NotLetIn {
            host: account.host.clone(),
            port: account.port,
        })?;
        Ok((key.clone(), account.confirmed))
    }
}

/// Repeats the exchange until its outcome is known.
pub(crate) fn run(
    attempt: &mut Attempt<'_>,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
) -> Result<(), SyncError> {
    let number = account_of(attempt.key()).ok_or(SyncError::KeyWithoutAccount)?;
    let done = retry(env, |retries, env| {
        let may_retry = match exchange(attempt, number, transport, env)? {
            Exchanged::NoConnection(error) => retries.after_no_connection(error),
            Exchanged::Ended(ended) => match ended.outcome {
                Outcome::Confirmed(_) | Outcome::Left => {
                    return attempt.note_done(&ended).map(Some);
                }
                Outcome::Unknown(cause) => {
                    attempt.note_unknown();
                    if retries.after_unknown(cause, &ended.stream) == AfterUnknown::LastLook {
                        attempt.only_look(retries.unknown());
                    }
                    Ok(())
                }
                Outcome::Failed(Failure::CutDuringUpload) if attempt.is_too_large() => {
                    return Err(attempt.too_large().into());
                }
                Outcome::Failed(failure) => retries.after_failure(failure, &ended.stream),
            },
        };
        may_retry.map_err(|error| attempt.qualify(error))?;
        Ok(None)
    });
    // A server must not hide a rollback by what it does afterwards.
    done.map_err(|error| match attempt.rollback() {
        Some(rollback) => SyncError::RolledBack {
            rollback,
            then: Box::new(error),
        },
        None => error,
    })
}

/// How far one exchange got.
enum Exchanged {
    NoConnection(ConnectError),
    Ended(Ended),
}

/// One *update*: fetch, merge, and store the union or leave.
fn exchange(
    attempt: &mut Attempt<'_>,
    number: AccountNumber,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
) -> Result<Exchanged, SyncError> {
    let connection = match transport.connect() {
        Ok(connection) => connection,
        Err(error) => return Ok(Exchanged::NoConnection(error)),
    };
    let fetched = match connection.update(number, auth_token_of(attempt.key())) {
        Ok(fetched) => fetched,
        Err(ended) => return Ok(Exchanged::Ended(*ended)),
    };
    attempt.note_greeting(fetched.greeting());
    Ok(Exchanged::Ended(
        match attempt.take_in(fetched.btoken(), env.rng()) {
            Ok(Some(sealed)) => fetched.replace(sealed),
            Ok(None) => fetched.leave(),
            Err(error) => {
                fetched.leave();
                return Err(error);
            }
        },
    ))
}
