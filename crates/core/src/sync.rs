//! One vault on several devices: fetch → open → merge → save here → seal → replace, and again if
//! another device was faster. The rules are:
//!  - what was fetched is merged and saved here before anything is sent;
//!  - what cannot be opened is neither merged nor overwritten;
//!  - nothing is sent that the server has, nothing is written here that is not new;
//!  - *synced* is said only of what the server confirmed, or of what a fetch found there;
//!  - whatever the server answers, no record is lost here.
//!
//! Nothing here prints, and nothing here holds a lock: [`Replica::save`] does, for as long as it
//! writes.

mod attempt;
mod error;
mod folder;
mod leave;
mod options;
mod retry;
mod rotate;
mod setup;
mod status;
mod transport;
mod upgrade;

use std::thread;
use std::time::Duration;

use getrandom::SysRng;
use passmate_proto::{
    AccountNumber, AuthToken, ClientAction, Failure, Layout, Outcome, banner_btoken_max,
};
use passmate_vault::details::Delta;
use passmate_vault::merge::{MergeSummary, RecordChange};
use passmate_vault::record::FieldKey;
use passmate_vault::{Association, Pin, RecordId, SyncKey, Trust, Vault};
use rand_core::{CryptoRng, UnwrapErr};

pub use error::{RemoteError, SyncError, SyncErrorKind};
pub use folder::{
    FolderError, FolderReport, Skipped, Why, give_out, leave_folder, set_up_folder, take_in,
};
pub use leave::{delete_remote, leave};
pub use options::{Guard, Options};
pub use rotate::rotate;
pub use setup::{Probed, create, join, probe, request};
pub use status::{Content, Room, Status, derive_fingerprint, status};
pub use transport::{Answer, Exchanged, Listener, Received, StreamEnd, Transport, Wire, drive};
pub use upgrade::upgrade;

use attempt::Attempt;
use retry::{Next, Retries};

/// The vault of this device, unlocked.
pub trait Replica {
    /// Why it could not be saved.
    type Error: std::error::Error;

    /// Its records.
    fn vault(&self) -> &Vault;

    /// The time by this device's clock, in seconds since 1970.
    fn now(&self) -> i64;

    /// The account that it is tied to.
    fn association(&self) -> Option<&Association>;

    /// Ties it to another account, or to none. Takes effect for others with the next
    /// [`save`](Self::save).
    fn set_association(&mut self, association: Option<Association>);

    /// Adds what another device has.
    fn merge(&mut self, other: &Vault) -> MergeSummary;

    /// Makes all changes durable, together with what other programs saved meanwhile: afterwards
    /// [`vault`](Self::vault) and [`association`](Self::association) are what is stored.
    /// Writes nothing if nothing is new.
    ///
    /// # Errors
    /// It could not be saved.
    fn save(&mut self) -> Result<(), Self::Error>;

    /// [`save`](Self::save) for what belongs to the change that was saved last: one *undo* takes
    /// back both.
    ///
    /// # Errors
    /// It could not be saved.
    fn save_more(&mut self) -> Result<(), Self::Error>;
}

/// What a sync needs of the world.
pub trait Env {
    /// The source of all randomness: keys, initialisation vectors, jitter.
    fn rng(&mut self) -> &mut dyn CryptoRng;

    /// Waits before another try.
    fn sleep(&mut self, time: Duration);
}

/// The system's randomness and the system's clock.
#[derive(Debug, Default)]
pub struct SystemEnv {
    rng: UnwrapErr<SysRng>,
}

impl Env for SystemEnv {
    fn rng(&mut self) -> &mut dyn CryptoRng {
        &mut self.rng
    }

    fn sleep(&mut self, time: Duration) {
        thread::sleep(time);
    }
}

/// What a sync did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Changes that came from the server and were new here.
    pub received: usize,
    /// Changes that the server did not have and now has.
    pub sent: usize,
    /// Conflicts that the merge resolved.
    pub conflicts_resolved: usize,
    /// What came, record by record, in the order in which it came.
    pub changes: Vec<RecordChange>,
    /// Changes that vault and server had in common in the end: all of both.
    pub common: usize,
    /// What the server said of itself.
    pub greeting: Greeting,
    /// The server returned older data than this device had seen there.
    pub rollback: Option<Rollback>,
    /// What it brought and took; of a dry run, what it would have.
    pub delta: Delta,
    /// Of a dry run: the vault as it would be.
    pub preview: Option<Vault>,
    /// Changes that came from the future, the latest first: this device's clock is behind, or
    /// another one was ahead.
    pub ahead: Vec<Ahead>,
    /// The length of the btoken that the server has, in bytes.
    pub btoken_len: usize,
    /// From when to when the certificate that the server showed is valid, in Unix seconds.
    pub valid: Option<(i64, i64)>,
}

impl Report {
    /// Counts a later sync with this one, and takes from it how things stand.
    fn add(&mut self, later: Self) {
        let (received, sent, conflicts) = (self.received, self.sent, self.conflicts_resolved);
        let changes = std::mem::take(&mut self.changes);
        let rollback = self.rollback.or(later.rollback);
        *self = Self { rollback, ..later };
        self.received += received;
        self.sent += sent;
        self.conflicts_resolved += conflicts;
        self.changes.splice(0..0, changes);
    }
}

/// A change that was made more than a day after this device's present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// Its record.
    pub record: RecordId,
    /// Its field.
    pub field: FieldKey,
    /// When it says that it was made, in seconds since 1970.
    pub time: i64,
}

/// What a server had taken back. It is in this vault, and the sync that found it put it there
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollback {
    /// Changes that this device had seen on the server and that were gone.
    pub changes: usize,
    /// When the first and the last of them were made, in seconds since 1970.
    pub times: Option<(i64, i64)>,
}

/// What a server says of itself in every exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Greeting {
    /// The layout that it speaks; `None` before it greeted.
    pub layout: Option<Layout>,
    /// Its banner: not trusted, to be escaped before it is shown.
    pub banner: Vec<u8>,
}

impl Greeting {
    /// The longest btoken that the server takes, in bytes, if its banner states it.
    #[must_use]
    pub fn btoken_len_max(&self) -> Option<u32> {
        banner_btoken_max(&self.banner)
    }

    fn set(&mut self, layout: Layout, banner: &[u8]) {
        *self = Self {
            layout: Some(layout),
            banner: banner.to_vec(),
        };
    }
}

/// Brings vault and server in step.
///
/// The vault is saved as soon as something new came, whatever becomes of the upload.
///
/// # Errors
/// See [`SyncError`]. With every error all that this device had is still in its vault.
pub fn sync<R: Replica>(
    replica: &mut R,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
    options: Options,
) -> Result<Report, SyncError<R::Error>> {
    let association = replica.association().ok_or(SyncError::NotSetUp)?;
    if association.is_pending() {
        return Err(SyncError::NotLetIn {
            host: association.host.clone(),
        });
    }
    let (key, confirmed) = (association.key.clone(), association.confirmed);
    run_attempt(
        Attempt::new(replica, key, confirmed).with(options),
        transport,
        env,
    )
}

/// Repeats the exchange until its outcome is known.
fn run_attempt<R: Replica>(
    mut attempt: Attempt<'_, R>,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
) -> Result<Report, SyncError<R::Error>> {
    match exchange_until_known(&mut attempt, transport, env) {
        Ok(()) => Ok(attempt.into_report()),
        // A server must not hide that it went back by what it does after that.
        Err(error) => Err(match attempt.rollback() {
            Some(rollback) => SyncError::RolledBack {
                rollback,
                then: Box::new(error),
            },
            None => error,
        }),
    }
}

fn exchange_until_known<R: Replica>(
    attempt: &mut Attempt<'_, R>,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
) -> Result<(), SyncError<R::Error>> {
    let account = account_of(attempt.key()).ok_or(SyncError::KeyWithoutAccount)?;
    let mut retries = Retries::default();
    loop {
        let action = ClientAction::Update {
            account,
            auth_token: auth_token_of(attempt.key()),
        };
        let exchanged = transport.exchange(action, &mut attempt.listen(env.rng()));
        attempt.take_error()?;
        let next = match &exchanged {
            Ok(Exchanged {
                outcome,
                end,
                shown,
                valid,
            }) => match outcome {
                Outcome::Confirmed(_) | Outcome::Left => {
                    attempt.note_confirmed()?;
                    return attempt.note_certificate(*shown, *valid);
                }
                Outcome::Unknown(cause) => {
                    attempt.note_unknown();
                    retries.after_unknown(*cause, end)
                }
                Outcome::Failed(Failure::CutDuringUpload) if attempt.is_too_large() => {
                    return Err(attempt.too_large().into());
                }
                Outcome::Failed(failure) => retries.after_failure(*failure, end),
            },
            Err(error) => retries.after_no_connection(error),
        };
        match next {
            Next::Again => {}
            Next::LastLook => attempt.only_look(retries.unknown()),
            Next::GiveUp(error) => return Err(attempt.qualify(error).into()),
        }
        let pause = retries.pause(env.rng());
        env.sleep(pause);
    }
}

fn account_of(key: &SyncKey) -> Option<AccountNumber> {
    AccountNumber::from_bytes(key.account())
}

fn auth_token_of(key: &SyncKey) -> AuthToken {
    AuthToken::new(*key.derive_auth_token().as_bytes())
}

/// Takes the server's next key, as its operator announced it, and saves it.
///
/// With a pin, `pin` becomes the next one, trusted beside the current one until the server shows
/// it; the current pin itself takes back a next one. A trust store or CA file is replaced by the
/// pin.
///
/// # Errors
/// The vault is not set up to sync, or could not be saved; then nothing changed.
pub fn trust_pin<R: Replica>(replica: &mut R, pin: Pin) -> Result<Trust, SyncError<R::Error>> {
    let mut association = replica.association().cloned().ok_or(SyncError::NotSetUp)?;
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
fn replace_association<R: Replica>(
    replica: &mut R,
    association: Option<Association>,
) -> Result<(), SyncError<R::Error>> {
    let before = replica.association().cloned();
    replica.set_association(association.clone());
    replica.save().map_err(|error| {
        replica.set_association(before);
        SyncError::Save(error)
    })?;
    // Another program may have been faster with another one, or have seen more of the same.
    let stored = replica
        .association()
        .map(|stored| (&stored.key, &stored.trust));
    if stored
        == association
            .as_ref()
            .map(|wanted| (&wanted.key, &wanted.trust))
    {
        Ok(())
    } else {
        Err(SyncError::SetUpChanged)
    }
}

#[cfg(test)]
mod tests;
