//! Tying a vault to an account. The rules are:
//!  - a server is asked for a refusal first, and one that does not give it gets nothing more;
//!  - a key that an operator is asked to admit is saved before its code is shown, and serves for
//!    one account;
//!  - the number of a new account is saved before anything else happens, and never asked for twice;
//!  - an account that exists is kept only after its btoken was opened with the key that was given.

use passmate_proto::{AccountNumber, AuthToken, Failure, Outcome, RequestCode};
use passmate_vault::format::btoken::BTOKEN_OVERHEAD;
use passmate_vault::sync_key::KEY_LEN;
use passmate_vault::{
    Account, AccountKey, RollCall, Secret, SeenChanges, Shape, SyncKey, Trust, Vault, format,
    sync_key,
};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::account::{auth_token_of, replace_account};
use crate::attempt::{Attempt, OWN_ENTRY_LEN_MAX, is_longer};
use crate::client::{SyncClient, run};
use crate::env::Env;
use crate::error::{RemoteError, SyncError};
use crate::exchange::Greeting;
use crate::options::Options;
use crate::replica::Replica;
use crate::report::Report;
use crate::retry::retry;
use crate::transport::Transport;
use crate::wire::{Certificate, StreamEnd};

/// A server and why it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A DNS name, or an IP address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// How its certificate is checked.
    pub trust: Trust,
}

/// A server that refused, by a cut, an account that cannot exist: only [`probe`] makes this.
#[derive(Debug, Clone)]
pub struct Probed {
    greeting: Greeting,
    certificate: Certificate,
}

impl Probed {
    /// What the server said of itself.
    #[must_use]
    pub const fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// The certificate that it showed.
    #[must_use]
    pub const fn certificate(&self) -> Certificate {
        self.certificate
    }
}

/// Asks the server for an account that cannot exist. It must refuse by cutting the connection.
///
/// If something between client and server ends TLS, a refusal arrives as a clean close, which means
/// success elsewhere in this protocol: such a path is not used.
///
/// # Errors
/// [`RemoteError::TlsEnded`], [`RemoteError::LetsAnyoneIn`], or whatever kept the server from
/// answering.
pub fn probe(transport: &mut dyn Transport, env: &mut dyn Env) -> Result<Probed, RemoteError> {
    retry(env, |retries, env| {
        let connection = match transport.connect() {
            Ok(connection) => connection,
            Err(error) => return retries.after_no_connection(error).map(|()| None),
        };
        let number = make_account(env.rng());
        let ended = match connection.update(number, make_auth_token(env.rng())) {
            Ok(fetched) => {
                fetched.leave();
                return Err(RemoteError::LetsAnyoneIn);
            }
            Err(ended) => ended,
        };
        match ended.outcome {
            Outcome::Failed(Failure::CutAfterCredentials) if ended.stream == StreamEnd::Cut => {
                Ok(Some(Probed {
                    greeting: ended.greeting,
                    certificate: ended.certificate,
                }))
            }
            Outcome::Failed(Failure::BtokenTooLong { .. })
            | Outcome::Left
            | Outcome::Confirmed(_)
            | Outcome::Unknown(_) => Err(RemoteError::LetsAnyoneIn),
            Outcome::Failed(failure) => {
                retries.after_failure(failure, &ended.stream)?;
                Ok(None)
            }
        }
    })
}

/// Makes the key of an account to come and saves it, for a server whose operator admits devices by
/// their code; a key that was made before stays.
///
/// # Errors
/// The vault belongs to an account, or waits for one elsewhere, or could not be saved.
pub fn request(
    replica: &mut dyn Replica,
    env: &mut dyn Env,
    endpoint: &Endpoint,
) -> Result<RequestCode, SyncError> {
    refuse_second(replica, endpoint)?;
    let key = match replica.account() {
        Some(pending) => pending.key.secret().clone(),
        None => sync_key::make_key(env.rng()),
    };
    let auth_token = sync_key::derive_auth_token(&key);
    let key = AccountKey::Requested(key);
    replace_account(replica, Some(associate(endpoint, key, false)))?;
    Ok(RequestCode::from_hash(
        Sha256::digest(auth_token.as_bytes()).into(),
    ))
}

impl SyncClient<'_> {
    /// Makes an account for a vault that has none, and syncs the two. A key that
    /// [`request`] saved becomes its key.
    ///
    /// # Errors
    /// See [`SyncError`]. If the vault has an account afterwards, the server named an account:
    /// the next [`sync`](Self::sync) goes on from there.
    pub fn create(&mut self, probed: &Probed, endpoint: &Endpoint) -> Result<Report, SyncError> {
        refuse_second(self.replica, endpoint)?;
        check_fits(self.replica, Shape::Modern, &probed.greeting)?;
        let associate = |key| associate(endpoint, AccountKey::Granted(key), false);
        let pending = self.replica.account();
        let key = match pending.map(|pending| pending.key.secret().clone()) {
            Some(key) => key,
            None => sync_key::make_key(self.env.rng()),
        };
        let key = self.make_account(key, Shape::Modern, &associate)?;
        let mut attempt = Attempt::new(self.replica, key, false);
        match run(&mut attempt, self.transport, self.env) {
            // The server did not state its limit. An account without the vault is of no use.
            Err(error @ SyncError::Remote(RemoteError::TooLarge { .. })) => {
                // If this fails, the account stays, and the next sync tells the same.
                let _ = self.delete();
                Err(error)
            }
            run => run.map(|()| attempt.into_report()),
        }
    }

    /// Makes the account of a vault anew on a server that lost it, with the key that it had, and
    /// syncs the two. If the server gives the same number again, all other devices go on with the
    /// key that they have; else, as with ours, they have to join with the new one.
    ///
    /// # Errors
    /// [`SyncError::AccountExists`] if the server knows the account; see [`SyncError`] for the
    /// rest.
    pub fn create_again(
        &mut self,
        probed: &Probed,
        trust: &Trust,
    ) -> Result<(Report, SameKey), SyncError> {
        let account = self.replica.account().ok_or(SyncError::NoAccount)?.clone();
        let key = account.key.granted().ok_or_else(|| SyncError::NotLetIn {
            host: account.host.clone(),
            port: account.port,
        })?;
        if self.look(key, |_| Ok(()))?.is_some() {
            return Err(SyncError::AccountExists { host: account.host });
        }
        check_fits(self.replica, account.shape, &probed.greeting)?;
        // What this device saw there is gone, and no rollback.
        let again = |key| Account {
            key: AccountKey::Granted(key),
            trust: trust.clone(),
            confirmed: false,
            seen: SeenChanges::new(),
            devices: RollCall::new(),
            last: None,
            ..account.clone()
        };
        let made = self.make_account(account.key.secret().clone(), account.shape, &again)?;
        let same = if made == *key {
            SameKey::Yes
        } else {
            SameKey::No
        };
        let mut attempt = Attempt::new(self.replica, made, false);
        run(&mut attempt, self.transport, self.env)?;
        Ok((attempt.into_report(), same))
    }

    /// Ties a vault to an account that other devices use, and syncs the two.
    ///
    /// # Errors
    /// See [`SyncError`]. If the btoken there could not be opened, nothing was sent and the vault
    /// has no account.
    pub fn join(
        &mut self,
        _probed: &Probed,
        endpoint: &Endpoint,
        key: SyncKey,
        options: &Options,
    ) -> Result<Report, SyncError> {
        if let Some(account) = self.replica.account() {
            return Err(SyncError::AlreadySetUp {
                host: account.host.clone(),
            });
        }
        let mut attempt = {
            let account = associate(endpoint, AccountKey::Granted(key.clone()), true);
            Attempt::joining(self.replica, key, account).with(options.clone())
        };
        run(&mut attempt, self.transport, self.env)?;
        Ok(attempt.into_report())
    }

    /// Asks the server for an account, and saves the account with it as soon as its number
    /// arrives.
    pub(crate) fn make_account(
        &mut self,
        key: Secret<KEY_LEN>,
        shape: Shape,
        associate: &dyn Fn(SyncKey) -> Account,
    ) -> Result<SyncKey, SyncError> {
        // An empty vault is stored first: if the number is lost on the way, nothing else is.
        let plaintext = format::encode_btoken_as(shape, &Vault::new(), &RollCall::new())
            .map_err(RemoteError::Unsealable)?;
        let made = retry(self.env, |retries, env| {
            let connection = match self.transport.connect() {
                Ok(connection) => connection,
                Err(error) => {
                    retries.after_no_connection(error)?;
                    return Ok(None);
                }
            };
            let btoken = format::btoken::seal(&plaintext, &key, env.rng());
            match connection.create(auth_token_of(&key), btoken) {
                Ok(created) => {
                    let key = SyncKey::from_parts(*created.account().as_bytes(), key.clone());
                    let saved = replace_account(self.replica, Some(associate(key.clone())));
                    // How it ends tells nothing that the next fetch does not tell.
                    created.finish();
                    saved.map(|()| Some(key))
                }
                Err(ended) => {
                    retries.after_end(&ended)?;
                    Ok(None)
                }
            }
        });
        match made {
            Err(SyncError::Remote(RemoteError::Refused)) => Err(RemoteError::CreateRefused.into()),
            made => made,
        }
    }
}

/// Whether an account that was made anew has the key that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SameKey {
    /// All other devices go on.
    Yes,
    /// The server gave it another number: all other devices must join it.
    No,
}

/// No account is made for a vault that the server does not accept.
fn check_fits(replica: &dyn Replica, shape: Shape, greeting: &Greeting) -> Result<(), RemoteError> {
    let Some(limit) = greeting.btoken_len_max() else {
        return Ok(());
    };
    let part = shape.part_of(replica.vault());
    let plaintext = format::encode_btoken_as(shape, &part, &RollCall::new())
        .map_err(RemoteError::Unsealable)?;
    // The entry of this device comes along.
    let len = plaintext.len() + BTOKEN_OVERHEAD + OWN_ENTRY_LEN_MAX;
    if is_longer(len, limit) {
        return Err(RemoteError::TooLarge {
            len,
            limit,
            known: true,
        });
    }
    Ok(())
}

/// A vault that waits for an account on this server may go on.
fn refuse_second(replica: &dyn Replica, endpoint: &Endpoint) -> Result<(), SyncError> {
    match replica.account() {
        Some(pending)
            if pending.is_pending()
                && (&pending.host, pending.port) == (&endpoint.host, endpoint.port) =>
        {
            Ok(())
        }
        Some(account) => Err(SyncError::AlreadySetUp {
            host: account.host.clone(),
        }),
        None => Ok(()),
    }
}

fn associate(endpoint: &Endpoint, key: AccountKey, confirmed: bool) -> Account {
    Account {
        host: endpoint.host.clone(),
        port: endpoint.port,
        key,
        trust: endpoint.trust.clone(),
        confirmed,
        seen: SeenChanges::new(),
        last: None,
        retired: Vec::new(),
        is_lost: false,
        shape: Shape::Modern,
        device: None,
        devices: RollCall::new(),
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
