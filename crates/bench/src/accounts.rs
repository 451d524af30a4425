//! Accounts with known numbers and auth tokens, written to a store before the server opens it.

use std::path::Path;

use anyhow::{Context, bail};
use passmate_proto::{AccountNumber, AuthToken};
use passmate_server::store::{
    Admission, AuthHash, Btoken, Change, Created, Engine, Outcome, Revision, Sqlite,
};

/// Accounts in one transaction.
const BATCH: u64 = 2000;

/// The number of the account with this index, counted from 0.
pub(crate) fn number(index: u64) -> AccountNumber {
    AccountNumber::from_bytes((index + 1).to_be_bytes()).expect("index + 1 is not zero")
}

/// The auth token of every account.
pub(crate) fn token() -> AuthToken {
    AuthToken::new([0x5a; 32])
}

/// Incompressible bytes, the same for each seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Fills the data dir of a server that has not started yet.
pub(crate) fn fill(data_dir: &Path, accounts: u64, len: usize) -> anyhow::Result<()> {
    let mut engine =
        Sqlite::open(&data_dir.join("passmate.db")).context("cannot create the store")?;
    fill_engine(&mut engine, accounts, len)
}

/// Fills a store that is open.
pub(crate) fn fill_engine(
    engine: &mut impl Engine,
    accounts: u64,
    len: usize,
) -> anyhow::Result<()> {
    let auth = AuthHash::of(&token());
    let mut begin = 0;
    while begin < accounts {
        let end = (begin + BATCH).min(accounts);
        let revision = Revision::draw()?;
        let create = |index| Change::Create {
            account: number(index),
            auth,
            btoken: Btoken::new(noise(len, index), revision),
            accounts_max: u64::MAX,
            admission: Admission::Anyone,
            at: 1_800_000_000,
        };
        let changes: Vec<_> = (begin..end).map(create).collect();
        let outcomes = engine.commit(&changes)?;
        let is_made = |outcome: &&Outcome| matches!(outcome, Outcome::Created(Created::Done(..)));
        if let Some(outcome) = outcomes.iter().find(|outcome| !is_made(outcome)) {
            bail!("an account was not created: {outcome:?}");
        }
        begin = end;
    }
    Ok(())
}
