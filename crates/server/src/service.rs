//! The rules about accounts: who may do what, and when. They are:
//!  - a btoken is read only for a client whose auth token is right; an unknown account and a wrong
//!    auth token get the same answer in the same time;
//!  - nothing is held in the store while a client is thinking; the comparison at commit decides;
//!  - devices of one account wait for each other for a moment, as a courtesy on which nothing
//!    depends.

mod account_queue;
mod disk_space;
mod shared_btokens;
mod visitor;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use passmate_proto::{AccountNumber, AuthToken};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::now;
use crate::config::{Limits, Registration};
use crate::ended::Ended;
use crate::limits::memory::{Lease, LeaseKind, MemoryBudget, MemoryFull};
use crate::limits::rate::{Source, SourceLimits, SourcePermit};
use crate::limits::read_buffers::ReadBuffers;
use crate::store::{
    Admission, Audited, AuthHash, Btoken, Commits, Committed, Created, Deleted, EngineError,
    Expected, Head, Replaced, Revision, Store, StoreError, Stored,
};
use account_queue::{AccountQueue, Turn};
use disk_space::DiskSpace;
use shared_btokens::{SharedBtoken, SharedBtokens};

pub(crate) use visitor::{Upload, Visitor};

/// The accounts of a server. Clones are the same service.
#[derive(Debug, Clone)]
pub(crate) struct Service(Arc<ServiceInner>);

#[derive(Debug)]
struct ServiceInner {
    store: Store,
    memory: MemoryBudget,
    read_buffers: ReadBuffers,
    accounts_max: AtomicU64,
    registration: ArcSwap<Registration>,
    disk: DiskSpace,
    queue: AccountQueue,
    shared: SharedBtokens,
}

/// An account whose client has shown the right auth token. Only the check makes one.
pub(crate) struct Authenticated {
    account: AccountNumber,
    auth: AuthHash,
    /// What the store knew about the account at that moment.
    head: Head,
}

/// A btoken that was read, and the memory for it.
type Read = (Stored, Lease);

impl Authenticated {
    /// Compares the auth token also where there is no account, so that it takes as long.
    fn check(account: Option<AccountNumber>, auth: AuthHash, head: Option<Head>) -> Option<Self> {
        let is_right = head.map_or_else(
            || AuthHash::none().ct_eq(&auth),
            |head| head.auth.ct_eq(&auth),
        );
        match (account, head) {
            // A disabled account is looked up like any other, and then answered like one that does
            // not exist.
            (Some(account), Some(head)) if is_right && !head.is_disabled => Some(Self {
                account,
                auth,
                head,
            }),
            _ => None,
        }
    }
}

impl fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticated")
    }
}

/// The btoken that an update has fetched, and its turn among the devices of the account. Dropping
/// it gives the next device its turn.
pub(crate) struct Fetched {
    account: AccountNumber,
    /// A new btoken replaces the stored one only while this is still its revision.
    revision: Revision,
    len: usize,
    /// The limit of the account, if it has one of its own.
    limit: Option<u32>,
    /// The btoken itself, until it was sent.
    shared: Option<Arc<SharedBtoken>>,
    /// Most clients that fetch soon store something.
    expected: Expected,
    _turn: Option<Turn>,
}

impl Fetched {
    /// The stored btoken; none after [`forget_btoken`](Self::forget_btoken).
    pub(crate) fn btoken(&self) -> Option<Arc<[u8]>> {
        self.shared.as_ref().map(|shared| shared.bytes())
    }

    /// Notes that the client has taken so many bytes of the btoken.
    pub(crate) fn note_sent(&self, bytes: usize) {
        if let Some(shared) = &self.shared {
            shared.lease().note_moved(bytes, Instant::now().into_std());
        }
    }

    /// Is cancelled when the btoken must leave the memory for others. None when it was sent.
    pub(crate) fn revoked(&self) -> Option<CancellationToken> {
        let shared = self.shared.as_ref()?;
        Some(shared.lease().revoked().clone())
    }

    /// The longest btoken that may replace it, in bytes.
    pub(crate) fn len_max(&self, limits: &Limits) -> u32 {
        limits.btoken_len_max_of(self.limit, self.len)
    }

    /// Frees the memory of the btoken. Call it when the btoken was sent: from then on its revision
    /// is enough.
    pub(crate) fn forget_btoken(&mut self) {
        self.shared = None;
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetched")
    }
}

/// Why a request was refused. The client cannot tell these apart.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No such account, a disabled account, or a wrong auth token.
    Unknown,
    /// Another device was faster, or the account was deleted meanwhile.
    Lost,
    /// Nobody may make an account.
    Closed,
    /// Only invited clients may make an account, and this one is not invited.
    NotInvited,
    /// This source, or all sources together, make too many accounts.
    ManyCreates,
    /// This source was refused too often and is paused.
    Paused,
    AccountsMax,
    /// Little space is left on the disk, and the change would take some.
    DiskLow,
    /// The disk is full; the change was rolled back.
    DiskFull,
    /// Too many btokens are in memory.
    MemoryFull,
    /// The memory was needed for others, and this transfer was the slowest.
    TooSlow,
    Storage(StoreError),
    /// The database cannot be used. Its failure is logged once, and not for each client.
    StoreUnavailable,
    /// Nobody knows whether the change took place.
    OutcomeUnknown,
    /// The system gives no random bytes.
    NoRandomness(getrandom::Error),
}

impl Refusal {
    pub(crate) fn ended(&self) -> Ended {
        match self {
            Self::Unknown => Ended::UnknownAccountOrToken,
            Self::Lost => Ended::LostRace,
            Self::Closed => Ended::RegistrationClosed,
            Self::NotInvited => Ended::NotInvited,
            Self::ManyCreates => Ended::ManyCreates,
            Self::Paused => Ended::SourcePaused,
            Self::AccountsMax => Ended::AccountsMax,
            Self::DiskLow => Ended::DiskLow,
            Self::DiskFull => Ended::DiskFull,
            Self::MemoryFull => Ended::MemoryFull,
            Self::TooSlow => Ended::TooSlow,
            Self::StoreUnavailable => Ended::StoreUnavailable,
            Self::OutcomeUnknown => Ended::OutcomeUnknown,
            Self::Storage(_) | Self::NoRandomness(_) => Ended::StorageError,
        }
    }

    /// The error behind the refusal, if it is one that the log must show.
    pub(crate) fn error(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(error) => Some(error),
            Self::NoRandomness(error) => Some(error),
            _ => None,
        }
    }
}

impl From<MemoryFull> for Refusal {
    fn from(MemoryFull: MemoryFull) -> Self {
        Self::MemoryFull
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Engine(EngineError::Full) => Self::DiskFull,
            StoreError::Engine(EngineError::Unavailable(_)) => Self::StoreUnavailable,
            StoreError::OutcomeUnknown => Self::OutcomeUnknown,
            error => Self::Storage(error),
        }
    }
}

impl Service {
    /// Whether the store cannot be reached at the moment.
    pub(crate) fn is_store_out(&self) -> bool {
        self.0.store.is_out()
    }

    /// `folder` is the folder of the store, if it is on this machine; its free space limits creates
    /// and growth.
    pub(crate) fn new(
        store: Store,
        folder: Option<&Path>,
        limits: &Limits,
        registration: Registration,
    ) -> Self {
        Self(Arc::new(ServiceInner {
            store,
            memory: MemoryBudget::new(limits.memory_max, limits.btoken_len_max),
            read_buffers: ReadBuffers::default(),
            accounts_max: AtomicU64::new(limits.accounts_max),
            registration: ArcSwap::from_pointee(registration),
            disk: DiskSpace::new(folder),
            queue: AccountQueue::default(),
            shared: SharedBtokens::default(),
        }))
    }

    /// The service as one connection may use it.
    pub(crate) fn visitor<'a>(
        &'a self,
        permit: SourcePermit,
        limits: &'a SourceLimits,
    ) -> Visitor<'a> {
        Visitor::new(self, permit, limits)
    }

    /// Applies new limits to requests from now on.
    pub(crate) fn set_limits(&self, limits: &Limits, registration: Registration) {
        self.0
            .memory
            .set_max(limits.memory_max, limits.btoken_len_max);
        self.0
            .accounts_max
            .store(limits.accounts_max, Ordering::Relaxed);
        self.0.registration.store(Arc::new(registration));
    }

    pub(crate) fn registration(&self) -> Registration {
        **self.0.registration.load()
    }

    /// Removes invites and open seats that have expired.
    pub(crate) async fn expire(&self) -> Result<(), StoreError> {
        self.0.store.expire(now()).await
    }

    /// What operators did after the record with this number; see [`Store::read_audit`].
    pub(crate) async fn read_audit(&self, after: Option<i64>) -> Result<Vec<Audited>, StoreError> {
        self.0.store.read_audit(after).await
    }

    /// Notes that the log has all records of operators up to this one.
    pub(crate) fn note_logged(&self, id: i64) {
        self.0.store.note_logged(id);
    }

    /// Commits to the store and reads from it, without changing anything.
    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        self.0.store.probe().await
    }

    /// Whether the store thread works; see [`Store::is_alive`].
    pub(crate) fn is_alive(&self, most: Duration) -> bool {
        self.0.store.is_alive(most)
    }

    pub(crate) fn commits(&self) -> Commits {
        self.0.store.commits()
    }

    /// The memory for btokens in flight.
    pub(crate) fn memory(&self) -> &MemoryBudget {
        &self.0.memory
    }

    /// The buffers for what connections read ahead of TLS.
    fn read_buffers(&self) -> &ReadBuffers {
        &self.0.read_buffers
    }

    /// Finishes waiting changes and closes the store.
    pub(crate) async fn close(&self) {
        self.0.store.close().await;
    }

    /// Makes an account with an unused number, whether the auth token was seen before or not. While
    /// invites are required, an admitted auth token that has stored nothing since gets its account
    /// again.
    async fn create(
        &self,
        auth_token: AuthToken,
        btoken: Vec<u8>,
        lease: Option<Lease>,
    ) -> Result<(AccountNumber, Committed), Refusal> {
        let admission = match self.registration() {
            Registration::Open => Admission::Anyone,
            Registration::Invite => Admission::Invited,
            Registration::Closed => return Err(Refusal::Closed),
        };
        if self.0.disk.is_low_for_creates().await {
            return Err(Refusal::DiskLow);
        }
        let auth = AuthHash::of(&auth_token);
        let accounts_max = self.0.accounts_max.load(Ordering::Relaxed);
        let account = self.free_number().await?;
        let btoken = under_new_revision(btoken)?.holding(lease);
        let created = self
            .0
            .store
            .create(account, auth, btoken, accounts_max, admission, now());
        match created.await? {
            Created::Done(account, committed) => Ok((account, committed)),
            Created::NotInvited => Err(Refusal::NotInvited),
            Created::AccountsMax => Err(Refusal::AccountsMax),
            // Another client drew the same 8 bytes at the same moment.
            Created::NumberTaken => Err(Refusal::Lost),
        }
    }

    /// A random number that no account has. It does not follow from the auth token: whoever stole
    /// the key of an account could otherwise make it anew after its owner deleted it, and its other
    /// devices would find it.
    async fn free_number(&self) -> Result<AccountNumber, Refusal> {
        loop {
            if let Some(account) = make_account_number()?
                && self.0.store.read_head(*account.as_bytes()).await?.is_none()
            {
                return Ok(account);
            }
        }
    }

    /// Authenticates a client: an unknown account and a wrong auth token get the same answer in
    /// the same time.
    async fn authenticate(
        &self,
        account: Option<AccountNumber>,
        auth_token: &AuthToken,
    ) -> Result<Authenticated, Refusal> {
        let auth = AuthHash::of(auth_token);
        let head = self.0.store.read_head(number_or_zero(account)).await?;
        Authenticated::check(account, auth, head).ok_or(Refusal::Unknown)
    }

    /// [`authenticate`](Self::authenticate), and reads the btoken of the account in the same step if
    /// it is short.
    async fn authenticate_to_fetch(
        &self,
        account: Option<AccountNumber>,
        auth_token: &AuthToken,
        source: Option<Source>,
    ) -> Result<(Authenticated, Option<Read>), Refusal> {
        let auth = AuthHash::of(auth_token);
        let service = self.clone();
        let lease = move |head: &Head| {
            let known = Authenticated::check(account, auth, Some(*head))?;
            if service.0.shared.find(known.account, head).is_some() {
                return None;
            }
            // Without memory for it, the client is refused when its turn has come.
            service.lease(known.account, head, source).ok()
        };
        let read = self.0.store.read_if(number_or_zero(account), lease).await?;
        let (head, read) = read.unzip();
        let known = Authenticated::check(account, auth, head).ok_or(Refusal::Unknown)?;
        Ok((known, read.flatten()))
    }

    /// Waits for the account's other devices, for 5 s at most, then reads the btoken unless it was
    /// read already.
    async fn fetch(
        &self,
        known: &Authenticated,
        read: Option<Read>,
        source: Option<Source>,
    ) -> Result<Fetched, Refusal> {
        let account = known.account;
        let (turn, head) = match self.0.queue.take(account) {
            // No other device was first, so the head from the authentication is most likely still
            // current. If not, the comparison at commit finds out.
            Some(turn) => (Some(turn), known.head),
            None => {
                let turn = self.0.queue.wait(account).await;
                let head = self.0.store.read_head(*account.as_bytes()).await?;
                let head = head.filter(|head| !head.is_disabled);
                (turn, head.ok_or(Refusal::Unknown)?)
            }
        };
        let read = read.filter(|(stored, _)| stored.revision == head.revision);
        let shared = match (self.0.shared.find(account, &head), read) {
            (Some(shared), _) => shared,
            (None, Some((stored, lease))) => self.0.shared.insert(account, stored, lease),
            (None, None) => self.read(account, &head, source).await?,
        };
        self.0.store.note_sync(account, &head, now());
        Ok(Fetched {
            account,
            revision: shared.revision(),
            len: shared.len(),
            limit: head.limit,
            shared: Some(shared),
            expected: self.0.store.expect(),
            _turn: turn,
        })
    }

    /// The memory for the btoken of an account.
    fn lease(
        &self,
        account: AccountNumber,
        head: &Head,
        source: Option<Source>,
    ) -> Result<Lease, MemoryFull> {
        let now = Instant::now().into_std();
        let kind = LeaseKind::Account(account);
        let lease = self.0.memory.lease(kind, source, now);
        let len = usize::try_from(head.btoken_len).unwrap_or(usize::MAX);
        lease.grow_to(len, now)?;
        Ok(lease)
    }

    async fn read(
        &self,
        account: AccountNumber,
        head: &Head,
        source: Option<Source>,
    ) -> Result<Arc<SharedBtoken>, Refusal> {
        let lease = self.lease(account, head, source)?;
        let len = usize::try_from(head.btoken_len).unwrap_or(usize::MAX);
        let stored = self
            .0
            .store
            .read(account, len)
            .await?
            .ok_or(Refusal::Unknown)?;
        // The btoken may have been replaced since its length was read.
        lease.grow_to(stored.btoken.len(), Instant::now().into_std())?;
        Ok(self.0.shared.insert(account, stored, lease))
    }

    /// Replaces the fetched btoken, if it is still the stored one.
    async fn replace(
        &self,
        fetched: Fetched,
        btoken: Vec<u8>,
        lease: Option<Lease>,
    ) -> Result<Committed, Refusal> {
        let Fetched {
            account,
            revision,
            len,
            limit: _,
            shared,
            expected,
            _turn,
        } = fetched;
        drop(shared);
        if btoken.len() > len && self.0.disk.is_low_for_growth().await {
            return Err(Refusal::DiskLow);
        }
        let btoken = under_new_revision(btoken)?.holding(lease);
        // The change has arrived: stop holding the batch open.
        drop(expected);
        let replaced = self.0.store.replace_if(account, revision, btoken, now());
        match replaced.await? {
            Replaced::Done(committed) => Ok(committed),
            Replaced::Stale => Err(Refusal::Lost),
        }
    }

    /// Deletes the account with its btoken.
    async fn delete(&self, known: Authenticated) -> Result<Committed, Refusal> {
        match self.0.store.delete(known.account, known.auth).await? {
            Deleted::Done(committed) => Ok(committed),
            Deleted::Gone => Err(Refusal::Unknown),
        }
    }
}

/// Zero, which is no account, gets the same treatment as an unknown one.
fn number_or_zero(account: Option<AccountNumber>) -> [u8; 8] {
    account.map_or([0; 8], |account| *account.as_bytes())
}

/// A btoken as it will be stored.
fn under_new_revision(btoken: Vec<u8>) -> Result<Btoken, Refusal> {
    let revision = Revision::draw().map_err(Refusal::NoRandomness)?;
    Ok(Btoken::new(btoken, revision))
}

/// Eight random bytes; none if all are zero, which is not an account number.
fn make_account_number() -> Result<Option<AccountNumber>, Refusal> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(Refusal::NoRandomness)?;
    Ok(AccountNumber::from_bytes(bytes))
}
