//! Keeps one vault on several devices in step: fetch → open → merge → save here → seal → replace,
//! and again if another device was faster. The rules are:
//!  - what was fetched is merged and saved here before anything is sent;
//!  - what cannot be opened is neither merged nor overwritten;
//!  - nothing is sent that the server has, and nothing is written here that is not new;
//!  - a change counts as synced only if the server confirmed it or a fetch found it there;
//!  - whatever the server answers, no record is lost here.
//!
//! Nothing in here opens a socket or a file, reads a clock, prints, or holds a lock. A
//! [`Transport`] reaches the server, a [`Replica`] saves the vault, an [`Env`] has the randomness.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod attempt;
mod content;
mod env;
mod error;
pub mod exchange;
pub mod guard;
mod leave;
mod replica;
mod report;
mod retry;
mod rotate;
mod setup;
pub mod transport;
mod upgrade;

use passmate_proto::{AccountNumber, AuthToken, Failure, Outcome};
use passmate_vault::{Association, Pin, SyncKey, Trust};

pub use content::{Content, derive_fingerprint};
pub use env::Env;
pub use error::{RemoteError, SyncError, SyncErrorKind};
pub use exchange::Greeting;
pub use guard::Guard;
pub use leave::leave;
pub use replica::{Replica, SaveError};
pub use report::{Ahead, Preview, Report, Rollback};
pub use setup::{Endpoint, Probed, probe, request};
pub use transport::{ConnectError, StreamEnd, Transport};

use attempt::Attempt;
use retry::{AfterUnknown, retry};

/// What a person says about a sync beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Holds back a sync that would change too much; `None` accepts everything.
    pub guard: Option<Guard>,
    /// Overwrites what cannot be opened on the server with what this device has.
    pub replace_remote: bool,
    /// What is saved belongs to the previous save: one *undo* takes back both.
    pub continued: bool,
}

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
    /// Brings vault and server in step.
    ///
    /// The vault is saved as soon as something new came, whatever becomes of the upload.
    ///
    /// # Errors
    /// See [`SyncError`]. With every error, all that this device had is still in its vault.
    pub fn sync(&mut self, options: Options) -> Result<Report, SyncError> {
        let (key, confirmed) = self.account()?;
        let mut attempt = Attempt::new(self.replica, key, confirmed).with(options);
        run(&mut attempt, self.transport, self.env)?;
        Ok(attempt.into_report())
    }

    /// What [`sync`](Self::sync) would do. Nothing is saved here and nothing is sent.
    ///
    /// # Errors
    /// See [`SyncError`].
    pub fn preview(&mut self) -> Result<Preview, SyncError> {
        let (key, confirmed) = self.account()?;
        let mut attempt = Attempt::new(self.replica, key, confirmed).preview_only();
        run(&mut attempt, self.transport, self.env)?;
        Ok(attempt.into_preview())
    }

    fn account(&self) -> Result<(SyncKey, bool), SyncError> {
        let association = self.replica.association().ok_or(SyncError::NotSetUp)?;
        if association.is_pending() {
            return Err(SyncError::NotLetIn {
                host: association.host.clone(),
            });
        }
        Ok((association.key.clone(), association.confirmed))
    }
}

/// Repeats the exchange until its outcome is known.
fn run(
    attempt: &mut Attempt<'_>,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
) -> Result<(), SyncError> {
    let account = account_of(attempt.key()).ok_or(SyncError::KeyWithoutAccount)?;
    let done = retry(env, |retries, env| {
        let may_retry = match exchange(attempt, account, transport, env)? {
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
    Ended(exchange::Ended),
}

/// One *update*: fetch, merge, and store the union or leave.
fn exchange(
    attempt: &mut Attempt<'_>,
    account: AccountNumber,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
) -> Result<Exchanged, SyncError> {
    let connection = match transport.connect() {
        Ok(connection) => connection,
        Err(error) => return Ok(Exchanged::NoConnection(error)),
    };
    let fetched = match connection.update(account, auth_token_of(attempt.key())) {
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

fn account_of(key: &SyncKey) -> Option<AccountNumber> {
    AccountNumber::from_bytes(key.account())
}

fn auth_token_of(key: &SyncKey) -> AuthToken {
    AuthToken::new(*key.derive_auth_token().as_bytes())
}

/// Trusts the server's next key, as its operator announced it, and saves that.
///
/// With a pin, `pin` becomes the next one, trusted beside the current one until the server shows
/// it; the current pin itself takes back a next one. A trust store or CA file is replaced by the
/// pin.
///
/// # Errors
/// The vault is not set up to sync, or could not be saved; then nothing changed.
pub fn trust_pin(replica: &mut dyn Replica, pin: Pin) -> Result<Trust, SyncError> {
    let association = replica.association().cloned();
    let mut association = association.ok_or(SyncError::NotSetUp)?;
    let trust = match association.trust {
        Trust::Pins { current, .. } if current != pin => Trust::Pins {
            current,
            next: Some(pin),
        },
        Trust::Pins { .. } | Trust::System | Trust::Ca(_) => Trust::Pins {
            current: pin,
            next: None,
        },
    };
    association.trust = trust.clone();
    replace_association(replica, Some(association))?;
    Ok(trust)
}

/// Sets the association and saves it, or leaves the old one.
fn replace_association(
    replica: &mut dyn Replica,
    association: Option<Association>,
) -> Result<(), SyncError> {
    let before = replica.association().cloned();
    replica.set_association(association.clone());
    replica.save().map_err(|error| {
        replica.set_association(before);
        SyncError::Save(error)
    })?;
    // Another program may have been faster with another one, or have seen more of the same.
    let identity = |association: &Association| (association.key.clone(), association.trust.clone());
    if replica.association().map(identity) == association.as_ref().map(identity) {
        Ok(())
    } else {
        Err(SyncError::SetUpChanged)
    }
}
