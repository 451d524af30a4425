//! Moves all of a store into another one, of any engine: for a migration, for a backup and for a
//! restore. It may be repeated: it compares the rows of both, and copies what differs. So it goes on
//! after an interruption, and follows a store that was in use meanwhile.
//!
//! The target is marked as unfinished from the first change on, and no server opens it until both
//! stores were found to be the same.

use std::collections::BTreeMap;

use data_encoding::{HEXLOWER, HEXUPPER};
use passmate_proto::AccountNumber;
use sha2::{Digest, Sha256};

use super::{
    Action, Actor, Audited, Checksum, EngineError, Inspector, Invite, Opening, StoreError, Sum,
};

/// Rows that are compared at once.
const PAGE: usize = 500;
/// Bytes of btokens that are copied in one transaction, and their number.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_LEN: usize = 256;

/// What a store keeps of an account, without its btoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    pub number: AccountNumber,
    /// The hash of the auth token.
    pub(super) auth: [u8; 32],
    pub(super) revision: [u8; 16],
    pub(super) checksum: Checksum,
    pub btoken_len: u64,
    pub created_at: i64,
    pub changed_at: i64,
    pub synced_at: Option<i64>,
    /// It was made with an invite, and not updated since.
    pub is_admitted: bool,
    pub is_disabled: bool,
    pub limit: Option<u32>,
    pub note: String,
}

impl AccountRow {
    fn hash(&self, hash: &mut Sha256, btoken: &[u8]) {
        hash.update(self.number.as_bytes());
        hash.update(self.auth);
        hash.update(self.revision);
        let flags = [self.is_admitted, self.is_disabled].map(u8::from);
        hash.update(flags);
        let times = [Some(self.created_at), Some(self.changed_at), self.synced_at];
        for value in times.into_iter().chain([self.limit.map(i64::from)]) {
            hash.update([u8::from(value.is_some())]);
            hash.update(value.unwrap_or_default().to_be_bytes());
        }
        hash.update(Sha256::digest(self.note.as_bytes()));
        hash.update(Sha256::digest(btoken));
    }
}

/// An account with its btoken, which matches the checksum.
#[derive(Clone, PartialEq, Eq)]
pub struct WholeAccount {
    pub row: AccountRow,
    pub btoken: Vec<u8>,
}

impl WholeAccount {
    /// # Errors
    /// The btoken is not that of the row.
    pub(super) fn new(row: AccountRow, btoken: Vec<u8>) -> Result<Self, EngineError> {
        let len = btoken.len() as u64;
        if len != row.btoken_len || Checksum::of(&btoken) != row.checksum {
            return Err(EngineError::Damaged(format!(
                "the btoken of account {} does not match its stored checksum",
                HEXUPPER.encode(row.number.as_bytes())
            )));
        }
        Ok(Self { row, btoken })
    }
}

/// What a store keeps beside accounts.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    pub invites: Vec<Invite>,
    pub openings: Vec<Opening>,
    pub audit: Vec<Audited>,
    /// Since when it is known which accounts are synced.
    pub known_since: i64,
}

impl Rest {
    fn of(store: &dyn Inspector) -> Result<Self, StoreError> {
        let (invites, openings) = store.invites(i64::MIN)?;
        Ok(Self {
            invites,
            openings,
            audit: store.audit(i64::MIN)?,
            known_since: store.unused(0)?.known_since,
        })
    }
}

/// A store that takes in another one.
pub(crate) trait Intake: Send {
    /// Looks at the store.
    fn look(&self) -> &dyn Inspector;

    /// Marks the store as unfinished, so that no server opens it.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`] if it has accounts, and not from an earlier attempt.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Stores accounts as they are, in place of those with the same numbers.
    fn put(&mut self, accounts: &[WholeAccount]) -> Result<(), StoreError>;

    /// Removes accounts.
    fn remove(&mut self, numbers: &[AccountNumber]) -> Result<(), StoreError>;

    /// Counts the accounts, and replaces everything beside them.
    fn put_rest(&mut self, rest: &Rest) -> Result<(), StoreError>;

    /// Records where the accounts are from, and takes the mark away.
    fn finish(&mut self, actor: &Actor, action: Action, detail: &str) -> Result<(), StoreError>;
}

/// What a pass has changed in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Copied {
    pub put: u64,
    pub removed: u64,
}

/// The content of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub sum: Sum,
    /// The hash of all accounts.
    pub hash: String,
}

/// The last account of a page, if there may be more behind it.
fn last_if_full(page: &[AccountRow]) -> Option<[u8; 8]> {
    let last = page.last().map(|row| *row.number.as_bytes());
    last.filter(|_| page.len() == PAGE)
}

/// Makes the target like the source. `progress` is called after each part with the number of accounts
/// that were compared.
///
/// # Errors
/// A store failed. Repeat it.
pub(crate) fn copy(
    source: &dyn Inspector,
    target: &mut dyn Intake,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied, StoreError> {
    let mut copied = Copied::default();
    let (mut after, mut compared) = ([0; 8], 0);
    loop {
        let mut page = source.rows(after, None, PAGE)?;
        let mut there = target.look().rows(after, None, PAGE)?;
        // A full page says nothing about what is behind it.
        let until = [last_if_full(&page), last_if_full(&there)];
        let until = until.into_iter().flatten().min();
        if let Some(until) = until {
            page.retain(|row| *row.number.as_bytes() <= until);
            there.retain(|row| *row.number.as_bytes() <= until);
        }
        let mut surplus: BTreeMap<[u8; 8], AccountRow> = there
            .into_iter()
            .map(|row| (*row.number.as_bytes(), row))
            .collect();
        let mut different = Vec::new();
        for row in &page {
            if surplus.remove(row.number.as_bytes()).as_ref() != Some(row) {
                different.push(row.number);
            }
        }
        let surplus: Vec<_> = surplus.into_values().map(|row| row.number).collect();
        if !surplus.is_empty() {
            target.remove(&surplus)?;
            copied.removed += surplus.len() as u64;
        }
        copied.put += put_all(source, target, &different)?;
        compared += page.len() as u64;
        progress(compared);
        match until {
            Some(until) => after = until,
            None => break,
        }
    }
    target.put_rest(&Rest::of(source)?)?;
    Ok(copied)
}

fn put_all(
    source: &dyn Inspector,
    target: &mut dyn Intake,
    numbers: &[AccountNumber],
) -> Result<u64, StoreError> {
    let (mut batch, mut bytes, mut put) = (Vec::new(), 0, 0);
    for number in numbers {
        // It may have been deleted since; the next pass finds out.
        if let Some(account) = source.whole(*number)? {
            bytes += account.btoken.len();
            batch.push(account);
        }
        if batch.len() >= BATCH_LEN || bytes >= BATCH_BYTES {
            target.put(&batch)?;
            put += batch.len() as u64;
            (batch, bytes) = (Vec::new(), 0);
        }
    }
    target.put(&batch)?;
    Ok(put + batch.len() as u64)
}

/// Reads all of a store: each account with its btoken, which is held against its checksum.
///
/// # Errors
/// An account is damaged, or the store failed.
pub(crate) fn content(store: &dyn Inspector) -> Result<Content, StoreError> {
    let (mut sum, mut hash, mut after) = (Sum::default(), Sha256::new(), [0; 8]);
    loop {
        let page = store.rows(after, None, PAGE)?;
        let Some(last) = page.last() else {
            let hash = HEXLOWER.encode(&hash.finalize());
            return Ok(Content { sum, hash });
        };
        after = *last.number.as_bytes();
        for row in &page {
            let Some(account) = store.whole(row.number)? else {
                continue;
            };
            sum.accounts += 1;
            sum.btoken_bytes += account.row.btoken_len;
            account.row.hash(&mut hash, &account.btoken);
        }
    }
}

#[cfg(test)]
mod tests;
