//! A new key and a new account for the same vault. The rules are:
//!  - the new account is kept in the vault, with the old one beside it, before anything else
//!    happens to it;
//!  - the old one is deleted only when the new one has everything, and after it was looked at once
//!    more;
//!  - a history that is to be shorter is cut when the new account is there, before anything goes
//!    into it;
//!  - interrupted at any point it goes on from there when it is asked for again.

use passmate_proto::{ClientAction, Failure, Outcome};
use passmate_vault::{Association, SeenChanges, Shape, SyncKey, Vault, format, sync_key};

use super::leave::delete_account;
use super::retry::{Next, Retries};
use super::setup::make_account_there;
use super::{
    Answer, Env, Exchanged, Listener, Options, RemoteError, Replica, Report, SyncError, Transport,
    account_of, auth_token_of, replace_association, sync,
};

/// Gives the vault a new account with a new key on the same server, and deletes the old one there.
///
/// What another device stores in the old account up to its deletion comes along. What it cannot
/// store there any more stays on that device until it joins with the new key. With `keep_since` the
/// new account, and with it every device, has the history since that time, in seconds since 1970
/// (see [`truncate`](passmate_vault::history::truncate)); so this is also the way out for a vault that has
/// outgrown what the server takes.
///
/// # Errors
/// See [`SyncError`]. The vault is tied to the old account, or to the new one with the old one's
/// key beside it: asked for again, it goes on.
pub fn rotate<R: Replica>(
    replica: &mut R,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
    keep_since: Option<i64>,
) -> Result<Report, SyncError<R::Error>> {
    let begun = replica.association().ok_or(SyncError::NotSetUp)?;
    let mut report = Report::default();
    if begun.retired.is_none() {
        match sync(replica, transport, env, Options::default()) {
            // What the old account had is merged and saved by then.
            Err(SyncError::Remote(RemoteError::TooLarge { .. })) if keep_since.is_some() => {}
            synced => report = synced?,
        }
        move_on(replica, transport, env)?;
    }
    if let Some(since) = keep_since {
        replica.merge(&Vault::new().with_history_since(since));
        replica.save_more().map_err(SyncError::Save)?;
    }
    match sync(replica, transport, env, Options::default()) {
        // The number came and the account was not made: there was none to lose.
        Err(SyncError::Remote(RemoteError::AccountUnknown(error)))
            if *error == RemoteError::Refused =>
        {
            move_on(replica, transport, env)?;
            report.add(sync(replica, transport, env, Options::default())?);
        }
        synced => report.add(synced?),
    }
    let association = replica.association().ok_or(SyncError::SetUpChanged)?;
    let retired = association.retired.clone().ok_or(SyncError::SetUpChanged)?;
    if let Some(last) = last_look(&retired, transport, env)? {
        if last
            .truncated_with(replica.vault())
            .missing_from(replica.vault())
            > 0
        {
            replica.merge(&last);
            replica.save_more().map_err(SyncError::Save)?;
            report.add(sync(replica, transport, env, Options::default())?);
        }
        delete_account(&retired, transport, env)?;
    }
    let association = replica
        .association()
        .cloned()
        .ok_or(SyncError::SetUpChanged)?;
    replace_association(
        replica,
        Some(Association {
            retired: None,
            ..association
        }),
    )?;
    Ok(report)
}

/// Makes the new account. Where a rotation was interrupted, the account whose place it takes stays
/// the same.
fn move_on<R: Replica>(
    replica: &mut R,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
) -> Result<(), SyncError<R::Error>> {
    let old = replica
        .association()
        .cloned()
        .ok_or(SyncError::SetUpChanged)?;
    let retired = old.retired.clone().unwrap_or_else(|| old.key.clone());
    let associate = |key| Association {
        key,
        confirmed: false,
        seen: SeenChanges::new(),
        retired: Some(retired.clone()),
        shape: Shape::Modern,
        ..old.clone()
    };
    let key = sync_key::make_key(env.rng());
    make_account_there(replica, transport, env, key, &associate).map(drop)
}

/// What the old account has; `None` if it is gone.
fn last_look<E>(
    key: &SyncKey,
    transport: &mut dyn Transport,
    env: &mut dyn Env,
) -> Result<Option<Vault>, SyncError<E>> {
    let account = account_of(key).ok_or(SyncError::KeyWithoutAccount)?;
    let mut retries = Retries::default();
    loop {
        let action = ClientAction::Update {
            account,
            auth_token: auth_token_of(key),
        };
        let mut looking = Looking { key, found: None };
        let exchanged = transport.exchange(action, &mut looking);
        if let Some(found) = looking.found {
            return Ok(Some(found?));
        }
        let next = match exchanged {
            Ok(Exchanged {
                outcome: Outcome::Failed(failure),
                end,
                ..
            }) => retries.after_failure(failure, &end),
            Ok(Exchanged { end, .. }) => retries.after_failure(Failure::CutDuringFetch, &end),
            Err(error) => retries.after_no_connection(&error),
        };
        match next {
            Next::Again | Next::LastLook => {}
            Next::GiveUp(RemoteError::Refused) => return Ok(None),
            Next::GiveUp(error) => return Err(error.into()),
        }
        let pause = retries.pause(env.rng());
        env.sleep(pause);
    }
}

struct Looking<'a> {
    key: &'a SyncKey,
    found: Option<Result<Vault, RemoteError>>,
}

impl Listener for Looking<'_> {
    fn fetched(&mut self, sealed: Vec<u8>) -> Answer {
        let opened = format::btoken::open(&sealed, self.key).map_err(RemoteError::Unopenable);
        self.found = Some(opened.and_then(|plaintext| {
            format::decode_btoken(&plaintext)
                .map(|(vault, _)| vault)
                .map_err(RemoteError::NoVault)
        }));
        Answer::Leave
    }
}
