//! The end of an association, on this device or for all.

use passmate_proto::{ClientAction, Failure, Outcome};
use passmate_vault::SyncKey;

use super::retry::{Next, Retries};
use super::{
    Answer, Env, Exchanged, Listener, RemoteError, Replica, SyncError, Transport, account_of,
    auth_token_of, replace_association,
};

/// Forgets the server on this device. The btoken there and all other devices stay as they are.
///
/// # Errors
/// The vault is not set up to sync, or could not be saved; then nothing changed.
pub fn leave<R: Replica>(replica: &mut R) -> Result<(), SyncError<R::Error>> {
    replica.association().ok_or(SyncError::NotSetUp)?;
    replace_association(replica, None)
}

/// Deletes the account and its btoken on the server, then forgets the server on this device.
///
/// # Errors
/// See [`SyncError`]; the vault keeps the association then, as [`leave`] can still drop it.
/// [`RemoteError::DeletedOrUnreachable`]: it was asked for twice and not confirmed.
pub fn delete_remote<R: Replica>(
    replica: &mut R,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
) -> Result<(), SyncError<R::Error>> {
    let association = replica.association().ok_or(SyncError::NotSetUp)?;
    let key = association.key.clone();
    // Who was never let in has nothing there.
    if !association.is_pending() {
        delete_account(&key, transport, env)?;
    }
    replace_association(replica, None)
}

/// Deletes an account and its btoken on the server.
pub(super) fn delete_account<E>(
    key: &SyncKey,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
) -> Result<(), SyncError<E>> {
    let account = account_of(key).ok_or(SyncError::KeyWithoutAccount)?;
    let mut retries = Retries::default();
    loop {
        let action = ClientAction::Reset {
            account,
            auth_token: auth_token_of(key),
        };
        let next = match transport.exchange(action, &mut NothingToDecide) {
            Ok(Exchanged { outcome, end, .. }) => match outcome {
                Outcome::Confirmed(_) => return Ok(()),
                Outcome::Unknown(cause) => {
                    retries.after_unknown(cause, &end);
                    // The first may have done it: then the second finds no account.
                    if retries.unknown() < 2 {
                        Next::Again
                    } else {
                        Next::GiveUp(RemoteError::DeletedOrUnreachable)
                    }
                }
                Outcome::Failed(failure) => retries.after_failure(failure, &end),
                Outcome::Left => retries.after_failure(Failure::CutDuringFetch, &end),
            },
            Err(error) => retries.after_no_connection(&error),
        };
        match next {
            Next::Again | Next::LastLook => {}
            Next::GiveUp(RemoteError::DeletedOrUnreachable) => {
                return Err(RemoteError::DeletedOrUnreachable.into());
            }
            Next::GiveUp(error) if retries.unknown() > 0 => {
                return Err(RemoteError::OutcomeUnknown(Box::new(error)).into());
            }
            Next::GiveUp(error) => return Err(error.into()),
        }
        let pause = retries.pause(env.rng());
        env.sleep(pause);
    }
}

/// A *reset* asks nothing.
struct NothingToDecide;

impl Listener for NothingToDecide {
    fn fetched(&mut self, _btoken: Vec<u8>) -> Answer {
        Answer::Leave
    }
}
