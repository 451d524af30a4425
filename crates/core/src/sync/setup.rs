//! Tying a vault to an account. The rules are:
//!  - a server is asked for a refusal first, and one that does not give it gets nothing more;
//!  - a key that an operator was asked to let in is kept before its code is shown, and used for one
//!    account;
//!  - the number of a new account is saved before anything else happens, and never asked for twice;
//!  - an account that exists is kept only after its btoken was opened with the key that was given.

use passmate_proto::{
    AccountNumber, AuthToken, ClientAction, Failure, Layout, Outcome, RequestCode,
};
use passmate_vault::sync_key::KEY_LEN;
use passmate_vault::{
    Association, Pin, Secret, SeenChanges, Shape, SyncKey, Trust, Vault, format, sync_key,
};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::attempt::Attempt;
use super::retry::{Next, Retries};
use super::{
    Answer, Env, Exchanged, Greeting, Listener, RemoteError, Replica, Report, StreamEnd, SyncError,
    Transport, auth_token_of, replace_association, run_attempt,
};
use crate::net::Address;

/// A server that refused, by a cut, an account that cannot exist: only [`probe`] makes this.
#[derive(Debug, Clone)]
pub struct Probed {
    greeting: Greeting,
    shown: Option<Pin>,
}

impl Probed {
    /// What the server said of itself.
    #[must_use]
    pub const fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// The pin of the key that the server showed.
    #[must_use]
    pub const fn shown(&self) -> Option<Pin> {
        self.shown
    }
}

/// Asks the server for an account that cannot exist. It must refuse by cutting the connection.
///
/// If something between client and server ends TLS, a refusal arrives as a clean close, which means
/// success elsewhere in this protocol: such a way is not used.
///
/// # Errors
/// [`RemoteError::TlsEnded`], [`RemoteError::LetsAnyoneIn`], or whatever kept the server from
/// answering.
pub fn probe(transport: &mut dyn Transport, env: &mut dyn Env) -> Result<Probed, RemoteError> {
    let mut retries = Retries::default();
    loop {
        let action = ClientAction::Update {
            account: make_account(env.rng()),
            auth_token: make_auth_token(env.rng()),
        };
        let mut listener = Probing::default();
        let next = match transport.exchange(action, &mut listener) {
            Ok(Exchanged {
                outcome,
                end,
                shown,
                ..
            }) => match outcome {
                _ if listener.let_in => Next::GiveUp(RemoteError::LetsAnyoneIn),
                Outcome::Failed(Failure::CutAfterCredentials) if end == StreamEnd::Cut => {
                    return Ok(Probed {
                        greeting: listener.greeting,
                        shown,
                    });
                }
                Outcome::Failed(Failure::BtokenTooLong { .. })
                | Outcome::Left
                | Outcome::Confirmed(_)
                | Outcome::Unknown(_) => Next::GiveUp(RemoteError::LetsAnyoneIn),
                Outcome::Failed(failure) => retries.after_failure(failure, &end),
            },
            Err(error) => retries.after_no_connection(&error),
        };
        match next {
            Next::Again | Next::LastLook => {}
            Next::GiveUp(error) => return Err(error),
        }
        let pause = retries.pause(env.rng());
        env.sleep(pause);
    }
}

/// Makes the key of an account to come and keeps it, for a server whose operator lets devices in by
/// their code; a key that was made before stays.
///
/// # Errors
/// The vault belongs to an account, or waits for one elsewhere, or could not be saved.
pub fn request<R: Replica>(
    replica: &mut R,
    env: &mut dyn Env,
    address: &Address,
    trust: Trust,
) -> Result<RequestCode, SyncError<R::Error>> {
    refuse_second(replica, address)?;
    let key = match replica.association() {
        Some(pending) => pending.key.clone(),
        None => SyncKey::from_parts([0; 8], sync_key::make_key(env.rng())),
    };
    replace_association(
        replica,
        Some(associate(address, &trust, key.clone(), false)),
    )?;
    let auth_token = key.derive_auth_token();
    Ok(RequestCode::from_hash(
        Sha256::digest(auth_token.as_bytes()).into(),
    ))
}

/// Makes an account for a vault that has none, and brings the two in step. A key that [`request`]
/// kept becomes its key.
///
/// # Errors
/// See [`SyncError`]. If the vault has an association afterwards, the server named an account: the
/// next [`sync`](super::sync) goes on from there.
pub fn create<R: Replica>(
    replica: &mut R,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
    _probed: &Probed,
    address: &Address,
    trust: Trust,
) -> Result<Report, SyncError<R::Error>> {
    refuse_second(replica, address)?;
    let associate = |key| associate(address, &trust, key, false);
    let pending = replica
        .association()
        .map(|pending| pending.key.key().clone());
    let key = pending.unwrap_or_else(|| sync_key::make_key(env.rng()));
    let key = make_account_there(replica, transport, env, key, &associate)?;
    run_attempt(Attempt::new(replica, key, false), transport, env)
}

/// Asks the server for an account, and saves the association with it as soon as its number came.
pub(super) fn make_account_there<R: Replica>(
    replica: &mut R,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
    key: Secret<KEY_LEN>,
    associate: &dyn Fn(SyncKey) -> Association,
) -> Result<SyncKey, SyncError<R::Error>> {
    // What is stored first is an empty vault: if the number is lost on the way, so is nothing else.
    let plaintext = format::encode_btoken(&Vault::new()).map_err(RemoteError::Unsealable)?;
    let mut retries = Retries::default();
    loop {
        let unnumbered = SyncKey::from_parts([0; 8], key.clone());
        let action = ClientAction::Create {
            auth_token: auth_token_of(&unnumbered),
            btoken: format::btoken::seal(&plaintext, &unnumbered, env.rng()),
        };
        let mut creating = Creating {
            replica: &mut *replica,
            key: &key,
            associate,
            saved: None,
        };
        let exchanged = transport.exchange(action, &mut creating);
        if let Some(saved) = creating.saved {
            return saved;
        }
        let next = match exchanged {
            Ok(Exchanged {
                outcome: Outcome::Failed(failure),
                end,
                ..
            }) => retries.after_failure(failure, &end),
            // Not without a number, says the protocol; not without end, say we.
            Ok(Exchanged { end, .. }) => retries.after_failure(Failure::CutDuringFetch, &end),
            Err(error) => retries.after_no_connection(&error),
        };
        match next {
            Next::Again | Next::LastLook => {}
            Next::GiveUp(RemoteError::Refused) => return Err(RemoteError::CreateRefused.into()),
            Next::GiveUp(error) => return Err(error.into()),
        }
        let pause = retries.pause(env.rng());
        env.sleep(pause);
    }
}

/// Ties a vault to an account that other devices use, and brings the two in step.
///
/// # Errors
/// See [`SyncError`]. If the btoken there could not be opened, nothing was sent and the vault has
/// no association.
pub fn join<R: Replica>(
    replica: &mut R,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
    _probed: &Probed,
    address: &Address,
    trust: Trust,
    key: SyncKey,
) -> Result<Report, SyncError<R::Error>> {
    if let Some(association) = replica.association() {
        return Err(SyncError::AlreadySetUp {
            host: association.host.clone(),
        });
    }
    let association = associate(address, &trust, key, true);
    run_attempt(Attempt::joining(replica, association), transport, env)
}

/// A vault that waits for an account on this server may go on.
fn refuse_second<R: Replica>(replica: &R, address: &Address) -> Result<(), SyncError<R::Error>> {
    match replica.association() {
        Some(pending)
            if pending.is_pending()
                && (&*pending.host, pending.port) == (address.host(), address.port()) =>
        {
            Ok(())
        }
        Some(association) => Err(SyncError::AlreadySetUp {
            host: association.host.clone(),
        }),
        None => Ok(()),
    }
}

fn associate(address: &Address, trust: &Trust, key: SyncKey, confirmed: bool) -> Association {
    Association {
        host: address.host().to_owned(),
        port: address.port(),
        key,
        trust: trust.clone(),
        confirmed,
        seen: SeenChanges::new(),
        last: None,
        retired: None,
        shape: Shape::Modern,
    }
}

fn make_account(rng: &mut dyn CryptoRng) -> AccountNumber {
    loop {
        let mut bytes = [0; 8];
        rng.fill_bytes(&mut bytes);
        if let Some(account) = AccountNumber::from_bytes(bytes) {
            return account;
        }
    }
}

fn make_auth_token(rng: &mut dyn CryptoRng) -> AuthToken {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut_slice());
    AuthToken::new(*bytes)
}

/// Hopes for a refusal.
#[derive(Default)]
struct Probing {
    greeting: Greeting,
    let_in: bool,
}

impl Listener for Probing {
    fn greeted(&mut self, layout: Layout, banner: &[u8]) {
        self.greeting.set(layout, banner);
    }

    fn fetched(&mut self, _btoken: Vec<u8>) -> Answer {
        self.let_in = true;
        Answer::Leave
    }
}

/// Saves the number of a new account.
struct Creating<'a, R: Replica> {
    replica: &'a mut R,
    key: &'a Secret<KEY_LEN>,
    associate: &'a dyn Fn(SyncKey) -> Association,
    /// The account that the vault keeps now, or why it does not.
    saved: Option<Result<SyncKey, SyncError<R::Error>>>,
}

impl<R: Replica> Listener for Creating<'_, R> {
    fn fetched(&mut self, _btoken: Vec<u8>) -> Answer {
        Answer::Leave
    }

    fn created(&mut self, account: AccountNumber) {
        let key = SyncKey::from_parts(*account.as_bytes(), self.key.clone());
        let association = (self.associate)(key.clone());
        self.saved = Some(replace_association(self.replica, Some(association)).map(|()| key));
    }
}
