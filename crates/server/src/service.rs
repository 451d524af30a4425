//! What may be done to accounts, by whom and when. The rules are:
//!  - authentication comes first and reads the kept hash alone; an unknown account and a wrong auth
//!    token are one answer, found in one way;
//!  - nothing is held in the store while a client is thinking; the comparison at commit decides;
//!  - devices of one account wait for each other for a moment, as a courtesy that nothing rests on.

mod account_queue;
mod disk_space;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use passmate_proto::{AccountNumber, AuthToken};

use crate::clock::now;
use crate::config::{Limits, Registration};
use crate::limits::memory::{Kind, Lease, MemoryBudget};
use crate::store::{
    Admission, AuthHash, Btoken, BtokenHash, Commits, Committed, Created, Deleted, Expected, Head,
    Replaced, Store, StoreError, Stored,
};
use account_queue::{AccountQueue, Turn};
use disk_space::DiskSpace;

/// The one who decides; clones are the same.
#[derive(Debug, Clone)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    memory: MemoryBudget,
    accounts_max: AtomicU64,
    registration: ArcSwap<Registration>,
    disk: DiskSpace,
    queue: AccountQueue,
    /// Btokens that are in memory because somebody fetches them.
    shared: Mutex<HashMap<AccountNumber, Weak<SharedBtoken>>>,
}

/// A btoken in memory, once for all who fetch it at the same time.
struct SharedBtoken {
    stored: Stored,
    _lease: Lease,
}

/// An account whose client has shown the right auth token. Only the check makes one.
pub struct Authenticated {
    account: AccountNumber,
    auth: AuthHash,
    /// As it was then.
    head: Head,
}

impl fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticated")
    }
}

/// What an update has read, and its turn among the devices of the account. Dropping it lets the
/// next one on.
pub struct Fetched {
    account: AccountNumber,
    /// What was read: a btoken takes its place if it is still what is stored.
    hash: BtokenHash,
    len: usize,
    /// The btoken itself, until it was sent.
    shared: Option<Arc<SharedBtoken>>,
    /// Most who fetch store something soon.
    expected: Expected,
    _turn: Option<Turn>,
}

impl Fetched {
    /// The btoken as it is stored; none once [`forget_btoken`](Self::forget_btoken) was called.
    #[must_use]
    pub fn btoken(&self) -> Option<Arc<[u8]>> {
        self.shared
            .as_ref()
            .map(|shared| Arc::clone(&shared.stored.btoken))
    }

    /// Gives the memory of the btoken back. To be called when it was sent: its hash is enough from
    /// then on.
    pub fn forget_btoken(&mut self) {
        self.shared = None;
    }

    /// Whose it is.
    #[must_use]
    pub fn account(&self) -> AccountNumber {
        self.account
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetched")
    }
}

/// Why something was not done. The client sees no difference between these.
#[derive(Debug)]
pub enum Refusal {
    /// No such account, one that is disabled, or a wrong auth token.
    Unknown,
    /// Another device was faster, or the account was deleted meanwhile.
    Lost,
    /// No accounts are made.
    Closed,
    /// Accounts are made for those who were invited, and this client was not.
    NotInvited,
    /// Too many accounts are being made, by this source or by all.
    ManyCreates,
    /// This source was refused too often to be heard now.
    Paused,
    /// As many accounts as there may be.
    AccountsMax,
    /// Little room is left on the disk, and this would take some.
    DiskLow,
    /// The disk is full; what was begun was rolled back.
    DiskFull,
    /// Too many btokens are in memory.
    MemoryFull,
    /// The store could not do it.
    Storage(StoreError),
}

impl Refusal {
    /// The word for the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown_account_or_token",
            Self::Lost => "lost_race",
            Self::Closed => "registration_closed",
            Self::NotInvited => "not_invited",
            Self::ManyCreates => "many_creates",
            Self::Paused => "source_paused",
            Self::AccountsMax => "accounts_max",
            Self::DiskLow => "disk_low",
            Self::DiskFull => "disk_full",
            Self::MemoryFull => "memory_full",
            Self::Storage(_) => "storage_error",
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Engine(crate::store::EngineError::Full) => Self::DiskFull,
            error => {
                tracing::error!(%error, "the store could not do what a client asked for");
                Self::Storage(error)
            }
        }
    }
}

impl Service {
    /// A service on this store; `folder` is where the store is, for the rules on free disk space.
    #[must_use]
    pub fn new(
        store: Store,
        folder: Option<&Path>,
        limits: &Limits,
        registration: Registration,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            memory: MemoryBudget::new(limits.memory_max, limits.btoken_len_max),
            accounts_max: AtomicU64::new(limits.accounts_max),
            registration: ArcSwap::from_pointee(registration),
            disk: DiskSpace::new(folder),
            queue: AccountQueue::default(),
            shared: Mutex::default(),
        }))
    }

    /// Takes new limits for what is asked from now on.
    pub fn set_limits(&self, limits: &Limits, registration: Registration) {
        self.0
            .memory
            .set_max(limits.memory_max, limits.btoken_len_max);
        self.0
            .accounts_max
            .store(limits.accounts_max, Ordering::Relaxed);
        self.0.registration.store(Arc::new(registration));
    }

    /// Who may make accounts.
    #[must_use]
    pub fn registration(&self) -> Registration {
        **self.0.registration.load()
    }

    /// Forgets invites and open seats whose time is over. What the store has to say against it is
    /// in the log.
    pub async fn expire(&self) {
        if let Err(error) = self.0.store.expire(now()).await {
            tracing::warn!(%error, "invites whose time is over could not be removed");
        }
    }

    /// Writes to the store and reads from it, without changing anything.
    ///
    /// # Errors
    /// The store failed.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.0.store.probe().await
    }

    /// What the store's commits came to.
    #[must_use]
    pub fn commits(&self) -> Commits {
        self.0.store.commits()
    }

    /// The memory that btokens in flight may take.
    #[must_use]
    pub fn memory(&self) -> &MemoryBudget {
        &self.0.memory
    }

    /// Finishes what is being written and closes the store.
    pub async fn close(&self) {
        self.0.store.close().await;
    }

    /// Makes an account under a number that nobody has, also for an auth token that was seen
    /// before; under invites an auth token that was let in and has stored nothing since gets its
    /// account once more.
    ///
    /// # Errors
    /// Nothing was made; see [`Refusal`].
    pub async fn create(
        &self,
        auth_token: AuthToken,
        btoken: Vec<u8>,
    ) -> Result<(AccountNumber, Committed), Refusal> {
        let admission = match self.registration() {
            Registration::Open => Admission::Anyone,
            Registration::Invite => Admission::Invited,
            Registration::Closed => return Err(Refusal::Closed),
        };
        if self.0.disk.is_low_for_creates() {
            return Err(Refusal::DiskLow);
        }
        let auth = AuthHash::of(&auth_token);
        let accounts_max = self.0.accounts_max.load(Ordering::Relaxed);
        let account = self.free_number().await?;
        match self
            .0
            .store
            .create(
                account,
                auth,
                Btoken::new(btoken),
                accounts_max,
                admission,
                now(),
            )
            .await?
        {
            Created::Done(account, committed) => Ok((account, committed)),
            Created::NotInvited => Err(Refusal::NotInvited),
            Created::AccountsMax => Err(Refusal::AccountsMax),
            // Another client drew the same 8 bytes at the same moment.
            Created::NumberTaken => Err(Refusal::Lost),
        }
    }

    /// A number that no account has, from the system's generator.
    async fn free_number(&self) -> Result<AccountNumber, Refusal> {
        loop {
            if let Some(account) = make_account_number()?
                && self.0.store.read_head(*account.as_bytes()).await?.is_none()
            {
                return Ok(account);
            }
        }
    }

    /// Lets a client in, or not: one answer for an unknown account and a wrong token, in one time.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], or the store failed.
    pub async fn authenticate(
        &self,
        account: Option<AccountNumber>,
        auth_token: &AuthToken,
    ) -> Result<Authenticated, Refusal> {
        let auth = AuthHash::of(auth_token);
        let number = account.map_or([0; 8], |account| *account.as_bytes());
        let head = self.0.store.read_head(number).await?;
        let is_right = head.map_or_else(
            || AuthHash::none().ct_eq(&auth),
            |head| head.auth.ct_eq(&auth),
        );
        match (account, head) {
            // A disabled account is found out like any other, and then is as unknown as one that is
            // not there.
            (Some(account), Some(head)) if is_right && !head.is_disabled => Ok(Authenticated {
                account,
                auth,
                head,
            }),
            _ => Err(Refusal::Unknown),
        }
    }

    /// Waits for the account's other devices, for 5 s at most, then reads the btoken.
    ///
    /// # Errors
    /// [`Refusal::MemoryFull`], [`Refusal::Unknown`] if the account was deleted meanwhile, or the
    /// store failed.
    pub async fn fetch(&self, known: &Authenticated) -> Result<Fetched, Refusal> {
        let account = known.account;
        let (turn, head) = match self.0.queue.take(account) {
            // Nobody was before it, so what authentication read is still so; if not, the comparison
            // at commit knows.
            Some(turn) => (Some(turn), known.head),
            None => {
                let turn = self.0.queue.wait(account).await;
                let head = self.0.store.read_head(*account.as_bytes()).await?;
                (
                    turn,
                    head.filter(|head| !head.is_disabled)
                        .ok_or(Refusal::Unknown)?,
                )
            }
        };
        let shared = match self.shared(account, &head) {
            Some(shared) => shared,
            None => self.read(account, &head).await?,
        };
        Ok(Fetched {
            account,
            hash: shared.stored.hash,
            len: shared.stored.btoken.len(),
            shared: Some(shared),
            expected: self.0.store.expect(),
            _turn: turn,
        })
    }

    /// Replaces what was fetched, if it is still what is stored.
    ///
    /// # Errors
    /// Nothing was changed; see [`Refusal`].
    pub async fn replace(&self, fetched: Fetched, btoken: Vec<u8>) -> Result<Committed, Refusal> {
        let Fetched {
            account,
            hash,
            len,
            shared,
            expected,
            _turn,
        } = fetched;
        drop(shared);
        if btoken.len() > len && self.0.disk.is_low_for_growth() {
            return Err(Refusal::DiskLow);
        }
        let btoken = Btoken::new(btoken);
        // It is there.
        drop(expected);
        match self
            .0
            .store
            .replace_if(account, hash, btoken, now())
            .await?
        {
            Replaced::Done(committed) => Ok(committed),
            Replaced::Stale => Err(Refusal::Lost),
        }
    }

    /// Deletes the account and its btoken.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] if somebody else did meanwhile, or the store failed.
    pub async fn delete(&self, known: Authenticated) -> Result<Committed, Refusal> {
        match self.0.store.delete(known.account, known.auth).await? {
            Deleted::Done(committed) => Ok(committed),
            Deleted::Gone => Err(Refusal::Unknown),
        }
    }

    /// The copy that others are being sent, if it is still what is stored.
    fn shared(&self, account: AccountNumber, head: &Head) -> Option<Arc<SharedBtoken>> {
        let shared = self.shares().get(&account)?.upgrade()?;
        (shared.stored.hash == head.btoken).then_some(shared)
    }

    async fn read(
        &self,
        account: AccountNumber,
        head: &Head,
    ) -> Result<Arc<SharedBtoken>, Refusal> {
        let mut lease = self.0.memory.lease(Kind::Known(account));
        let mut grow = |len: usize| lease.grow_to(len).map_err(|_| Refusal::MemoryFull);
        let len = usize::try_from(head.btoken_len).unwrap_or(usize::MAX);
        grow(len)?;
        let stored = self
            .0
            .store
            .read(account, len)
            .await?
            .ok_or(Refusal::Unknown)?;
        // It may have been replaced since its length was read.
        grow(stored.btoken.len())?;
        let shared = Arc::new(SharedBtoken {
            stored,
            _lease: lease,
        });
        let mut shares = self.shares();
        if shares.len()
            >= 2 * shares
                .values()
                .filter(|one| one.strong_count() > 0)
                .count()
                .max(64)
        {
            shares.retain(|_, one| one.strong_count() > 0);
        }
        shares.insert(account, Arc::downgrade(&shared));
        Ok(shared)
    }

    fn shares(&self) -> parking_lot::MutexGuard<'_, HashMap<AccountNumber, Weak<SharedBtoken>>> {
        self.0.shared.lock()
    }
}

impl fmt::Debug for SharedBtoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedBtoken")
    }
}

/// Eight bytes from the system's generator; none if they are all zero, which is no account number.
fn make_account_number() -> Result<Option<AccountNumber>, Refusal> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random bytes");
        Refusal::Storage(StoreError::Closed)
    })?;
    Ok(AccountNumber::from_bytes(bytes))
}
