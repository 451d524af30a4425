//! A server in memory: the real machines of both sides, a map of accounts, and faults on demand.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use passmate_proto::{
    ActionKind, ClientConfig, Ending, Input, Request, ServerConfig, ServerMachine,
};
use rand_core::{TryCryptoRng, TryRng};

use std::time::Duration;

use passmate_proto::{AccountNumber, AuthToken, Layout};
use passmate_sync::exchange::Connection;
use passmate_sync::wire::{Certificate, Received, StreamEnd, Wire};
use passmate_sync::{
    Admitted, ConnectError, Content, Decision, Endpoint, Env, HeldBack, Options, Policy, Preview,
    Reason, RemoteError, Replica, Report, SameKey, SaveError, SyncClient, SyncError, Transport,
    probe,
};
use passmate_vault::merge::MergeSummary;
use passmate_vault::{Account, Baseline, DeviceText, Pin, SyncKey, Trust, Vault};
use rand_core::CryptoRng;

/// What goes wrong in one exchange.
#[derive(Clone, Debug)]
pub enum Fault {
    Nothing,
    Unreachable,
    CutBeforeHello,
    /// Only so many bytes of the server arrive.
    ReceiveOnly(usize),
    /// Only so many bytes of the client arrive.
    SendOnly(usize),
    /// Whatever is asked is refused.
    Refuse,
    /// As [`Fault::Refuse`], and something on the way makes a clean close of it.
    RefuseCleanly,
    /// A change is refused after it came whole: another device was faster.
    LoseRace,
    /// A change is made, and the server is not heard any more.
    CommitThenCut,
    /// As [`Fault::CommitThenCut`], and nobody says so.
    CommitThenSilence,
    /// A change is made and confirmed without a `close_notify`, as the original server does.
    NoCloseNotify,
    /// An account number is given, the account is not made.
    ForgetAccount,
    /// Any credentials are good.
    LetIn,
}

#[derive(Default)]
pub struct Cloud {
    pub layout: Option<Layout>,
    pub accounts: BTreeMap<AccountNumber, (AuthToken, Vec<u8>)>,
    pub banner: String,
    pub btoken_len_max: Option<u32>,
    /// What was asked, in order.
    pub requests: Vec<ActionKind>,
    /// How many btokens came whole.
    pub uploads: usize,
    pub shown: Option<Pin>,
    /// The number of a new account follows from its auth token while that number is free.
    pub derives_numbers: bool,
}

impl Cloud {
    pub fn new(layout: Layout) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            layout: Some(layout),
            ..Self::default()
        }))
    }

    pub fn only_btoken(&mut self) -> &mut Vec<u8> {
        assert_eq!(self.accounts.len(), 1);
        &mut self.accounts.values_mut().next().unwrap().1
    }

    pub fn only_account(&self) -> AccountNumber {
        assert_eq!(self.accounts.len(), 1);
        *self.accounts.keys().next().unwrap()
    }
}

/// The way from one device to the cloud, and what goes wrong on it: one fault for each exchange,
/// then none.
#[derive(Clone)]
pub struct Way {
    pub cloud: Rc<RefCell<Cloud>>,
    pub faults: VecDeque<Fault>,
    pub exchanges: usize,
}

impl Way {
    pub fn to(cloud: &Rc<RefCell<Cloud>>) -> Self {
        Self::with(cloud, [])
    }

    pub fn with(cloud: &Rc<RefCell<Cloud>>, faults: impl IntoIterator<Item = Fault>) -> Self {
        Self {
            cloud: cloud.clone(),
            faults: faults.into_iter().collect(),
            exchanges: 0,
        }
    }
}

impl Transport for Way {
    fn connect(&mut self) -> Result<Connection, ConnectError> {
        self.exchanges += 1;
        let fault = self.faults.pop_front().unwrap_or(Fault::Nothing);
        if let Fault::Unreachable = fault {
            return Err(unreachable());
        }
        let certificate = Certificate {
            pin: self.cloud.borrow().shown,
            valid: None,
        };
        let wire = Box::new(MemoryWire::new(&self.cloud, fault));
        Ok(Connection::new(wire, ClientConfig::default(), certificate))
    }
}

pub fn unreachable() -> ConnectError {
    ConnectError::Unreachable {
        address: "cloud".to_owned(),
        detail: "fault".to_owned(),
    }
}

struct MemoryWire {
    cloud: Rc<RefCell<Cloud>>,
    fault: Fault,
    machine: ServerMachine<()>,
    account: Option<AccountNumber>,
    /// The btoken that an update saw.
    seen: Vec<u8>,
    to_client: VecDeque<u8>,
    sent: usize,
    received: usize,
    end: Option<Result<Received, StreamEnd>>,
}

impl MemoryWire {
    fn new(cloud: &Rc<RefCell<Cloud>>, fault: Fault) -> Self {
        let config = {
            let cloud = cloud.borrow();
            ServerConfig {
                layout: cloud.layout.unwrap(),
                banner: Arc::from(cloud.banner.as_bytes()),
                btoken_len_max: cloud.btoken_len_max.unwrap_or(u32::MAX),
            }
        };
        let end = matches!(fault, Fault::CutBeforeHello).then_some(Err(StreamEnd::Cut));
        Self {
            cloud: cloud.clone(),
            fault,
            machine: ServerMachine::new(config),
            account: None,
            seen: Vec::new(),
            to_client: VecDeque::new(),
            sent: 0,
            received: 0,
            end,
        }
    }

    fn poll_outputs(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            self.to_client.extend(output.as_ref());
        }
    }

    fn pump(&mut self) {
        self.poll_outputs();
        let said_before = self.to_client.len();
        if let Some(request) = self.machine.poll_request() {
            self.answer(request);
        }
        self.poll_outputs();
        match self.machine.poll_ending() {
            Some(Ending::Confirmed(())) => {
                self.end = Some(match self.fault {
                    Fault::CommitThenCut => {
                        self.to_client.truncate(said_before);
                        Err(StreamEnd::Cut)
                    }
                    Fault::CommitThenSilence => {
                        self.to_client.truncate(said_before);
                        Err(StreamEnd::Silent(30))
                    }
                    Fault::NoCloseNotify | Fault::ForgetAccount => Err(StreamEnd::Cut),
                    _ => Ok(Received::CloseNotify),
                });
            }
            Some(Ending::Cut(_)) => {
                let clean = matches!(self.fault, Fault::RefuseCleanly);
                self.end = Some(if clean {
                    Ok(Received::CloseNotify)
                } else {
                    Err(StreamEnd::Cut)
                });
            }
            None => {}
        }
    }

    fn answer(&mut self, request: Request) {
        let mut cloud = self.cloud.borrow_mut();
        cloud.requests.push(match request {
            Request::Create { .. } => ActionKind::Create,
            Request::Delete { .. } => ActionKind::Reset,
            Request::Fetch { .. } | Request::Replace { .. } => ActionKind::Update,
        });
        let refuses = matches!(self.fault, Fault::Refuse | Fault::RefuseCleanly);
        let loses = matches!(self.fault, Fault::LoseRace);
        let machine = &mut self.machine;
        let answered = match request {
            Request::Create { auth_token, btoken } if !refuses => {
                let number = u64::try_from(cloud.requests.len()).unwrap();
                let drawn = AccountNumber::from_bytes(number.to_be_bytes()).unwrap();
                let derived = auth_token.as_bytes().first_chunk().copied();
                let derived = derived.and_then(AccountNumber::from_bytes);
                let is_free = |account: &AccountNumber| {
                    cloud.derives_numbers && !cloud.accounts.contains_key(account)
                };
                let account = derived.filter(is_free).unwrap_or(drawn);
                if !matches!(self.fault, Fault::ForgetAccount) {
                    cloud.accounts.insert(account, (auth_token, btoken));
                }
                machine.created(account, ())
            }
            Request::Fetch {
                account,
                auth_token,
            } if !refuses => {
                let account = account.unwrap();
                match cloud.accounts.get(&account) {
                    Some((known, btoken)) if known.ct_eq(&auth_token) => {
                        self.account = Some(account);
                        self.seen.clone_from(btoken);
                        machine.fetched(Arc::from(btoken.as_slice()))
                    }
                    _ if matches!(self.fault, Fault::LetIn) => {
                        machine.fetched(Arc::from(&b"x"[..]))
                    }
                    _ => machine.refused(),
                }
            }
            Request::Replace { btoken } if !refuses => {
                cloud.uploads += 1;
                match cloud.accounts.get_mut(&self.account.unwrap()) {
                    Some((_, stored)) if *stored == self.seen && !loses => {
                        *stored = btoken;
                        machine.replaced(())
                    }
                    _ => machine.refused(),
                }
            }
            Request::Delete {
                account,
                auth_token,
            } if !refuses => {
                let account = account.unwrap();
                match cloud.accounts.get(&account) {
                    Some((known, _)) if known.ct_eq(&auth_token) => {
                        cloud.accounts.remove(&account);
                        machine.deleted(())
                    }
                    _ => machine.refused(),
                }
            }
            _ => machine.refused(),
        };
        answered.unwrap();
    }
}

impl Wire for MemoryWire {
    fn send(&mut self, bytes: &[u8]) -> Result<(), StreamEnd> {
        if self.end.is_some() {
            // As on a socket: what is sent after the end is lost, and one learns of it later.
            return Ok(());
        }
        let room = if let Fault::SendOnly(len) = self.fault {
            len - self.sent
        } else {
            usize::MAX
        };
        let arrives = bytes.get(..room).unwrap_or(bytes);
        self.sent += arrives.len();
        let mut rest = arrives;
        while !rest.is_empty() {
            let taken = self.machine.handle_input(Input::Bytes(rest));
            rest = &rest[taken..];
            self.pump();
        }
        if arrives.len() < bytes.len() {
            self.machine.handle_input(Input::Cut);
            self.pump();
            return Err(StreamEnd::Cut);
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, StreamEnd> {
        let room = if let Fault::ReceiveOnly(len) = self.fault {
            len - self.received
        } else {
            usize::MAX
        };
        let len = buffer.len().min(self.to_client.len()).min(room);
        if len > 0 {
            for (place, byte) in buffer.iter_mut().zip(self.to_client.drain(..len)) {
                *place = byte;
            }
            self.received += len;
            return Ok(Received::Bytes(len));
        }
        if room == 0 {
            self.machine.handle_input(Input::Cut);
            self.pump();
            return Err(StreamEnd::Cut);
        }
        self.end.clone().unwrap_or(Err(StreamEnd::Silent(30)))
    }

    fn close(&mut self) {
        self.machine.handle_input(Input::CloseNotify);
    }
}

/// Randomness that is the same in every run of a test and another one in each use, and no time.
pub struct Calm {
    rng: Dice,
    pub slept: Vec<Duration>,
}

impl Default for Calm {
    fn default() -> Self {
        Self::new()
    }
}

impl Calm {
    pub fn new() -> Self {
        thread_local! {
            static MADE: Cell<u64> = const { Cell::new(0) };
        }
        MADE.set(MADE.get() + 1);
        Self {
            rng: Dice(MADE.get()),
            slept: Vec::new(),
        }
    }
}

impl Env for Calm {
    fn rng(&mut self) -> &mut dyn CryptoRng {
        &mut self.rng
    }

    fn sleep(&mut self, time: Duration) {
        self.slept.push(time);
    }
}

/// SplitMix64, which is no source for keys outside of tests.
pub struct Dice(pub u64);

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64()
            .map(|wide| u32::try_from(wide >> 32).unwrap())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Ok(mixed ^ (mixed >> 31))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for piece in bytes.chunks_mut(8) {
            let random = self.try_next_u64()?.to_le_bytes();
            piece.copy_from_slice(&random[..piece.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Dice {}

/// The number of the account that a key is for.
pub fn account_of(key: &SyncKey) -> Option<AccountNumber> {
    AccountNumber::from_bytes(key.account())
}

/// The auth token of an account.
pub fn auth_token_of(key: &SyncKey) -> AuthToken {
    AuthToken::new(*key.derive_auth_token().as_bytes())
}

/// The server, as `sync setup` names it.
pub fn endpoint() -> Endpoint {
    Endpoint {
        host: "cloud.example".to_owned(),
        port: 1,
        trust: Trust::System,
    }
}

/// The error of the server, or of the way there.
#[track_caller]
pub fn remote_error<T: std::fmt::Debug>(result: Result<T, SyncError>) -> RemoteError {
    match result {
        Err(SyncError::Remote(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Whether an error is the full disk of a [`Device`].
pub fn is_disk_full<T>(result: &Result<T, SyncError>) -> bool {
    matches!(result, Err(SyncError::Save(error)) if error.is::<DiskFull>())
}

/// Agreement to whatever is held back.
pub fn agreed() -> Options {
    deciding(Decision::AgreeToAll)
}

/// The policy, and what a person said.
pub fn deciding(decision: Decision) -> Options {
    let policy = Policy {
        decision,
        ..Policy::default()
    };
    Options {
        policy,
        ..Options::default()
    }
}

/// What a sync held back.
#[track_caller]
pub fn held_back<T: std::fmt::Debug>(result: Result<T, SyncError>) -> HeldBack {
    match result {
        Err(SyncError::HeldBack(held)) => *held,
        other => panic!("{other:?}"),
    }
}

/// Changes received, changes sent, conflicts resolved.
pub fn counts(report: &Report) -> (usize, usize, usize) {
    (report.received, report.sent, report.conflicts_resolved)
}

/// Two devices of one account: the first has one record with one field.
pub fn two_devices(cloud: &Rc<RefCell<Cloud>>) -> (Device, Device) {
    let named = |name: &str| Device {
        name: name.to_owned(),
        ..Device::default()
    };
    let (mut first, mut second) = (named("laptop"), named("phone"));
    first.set("mail", "password", "first");
    first.create(&mut Way::to(cloud)).unwrap();
    let key = first.key();
    second.join(&mut Way::to(cloud), key).unwrap();
    (first, second)
}

/// The vault of a device, and its file.
#[derive(Clone, Default)]
pub struct Device {
    pub vault: Vault,
    pub account: Option<Account>,
    pub file: (Vault, Option<Account>),
    pub baseline: Option<Baseline>,
    /// How often the file was written.
    pub writes: usize,
    pub is_full: bool,
    pub now: i64,
    pub name: String,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("disk full")]
pub struct DiskFull;

impl Device {
    pub fn set(&mut self, record: &str, field: &str, value: &str) {
        self.now += 1;
        let id = record.into();
        if self.vault.record(&id).is_none() {
            self.vault
                .create_record(record.into(), record, self.now)
                .unwrap();
        }
        self.vault.set(&id, field, value, self.now).unwrap();
    }

    /// The device, the way to the server and an [`Env`] as one client.
    pub fn client<'a>(&'a mut self, way: &'a mut Way, env: &'a mut Calm) -> SyncClient<'a> {
        SyncClient {
            replica: self,
            transport: way,
            env,
        }
    }

    pub fn sync(&mut self, way: &mut Way) -> Result<Report, SyncError> {
        self.sync_with(way, &Options::default())
    }

    pub fn sync_with(&mut self, way: &mut Way, options: &Options) -> Result<Report, SyncError> {
        self.client(way, &mut Calm::new()).sync(options)
    }

    pub fn preview(&mut self, way: &mut Way) -> Result<Preview, SyncError> {
        let policy = Policy::default();
        self.client(way, &mut Calm::new()).preview(&policy)
    }

    /// Makes an account, after a probe.
    pub fn create(&mut self, way: &mut Way) -> Result<Report, SyncError> {
        let mut calm = Calm::new();
        let probed = probe(&mut Way::to(&way.cloud), &mut calm)?;
        self.client(way, &mut calm).create(&probed, &endpoint())
    }

    /// Makes its account anew, after a probe.
    pub fn create_again(&mut self, way: &mut Way) -> Result<(Report, SameKey), SyncError> {
        let mut calm = Calm::new();
        let probed = probe(&mut Way::to(&way.cloud), &mut calm)?;
        let mut client = self.client(way, &mut calm);
        client.create_again(&probed, &endpoint().trust)
    }

    /// Joins the account of another device, after a probe.
    pub fn join(&mut self, way: &mut Way, key: SyncKey) -> Result<Report, SyncError> {
        self.join_with(way, key, &Options::default())
    }

    pub fn join_with(
        &mut self,
        way: &mut Way,
        key: SyncKey,
        options: &Options,
    ) -> Result<Report, SyncError> {
        let mut calm = Calm::new();
        let probed = probe(&mut Way::to(&way.cloud), &mut calm)?;
        let mut client = self.client(way, &mut calm);
        client.join(&probed, &endpoint(), key, options)
    }

    /// The key of its account.
    pub fn key(&self) -> SyncKey {
        self.account
            .as_ref()
            .unwrap()
            .key
            .granted()
            .unwrap()
            .clone()
    }

    /// The fingerprint that `sync status` shows.
    pub fn fingerprint(&self) -> String {
        let shape = self.account.as_ref().unwrap().shape;
        Content::of(&self.vault, shape).unwrap().fingerprint
    }

    pub fn rotate(&mut self, way: &mut Way, keep_since: Option<i64>) -> Result<Report, SyncError> {
        self.rotate_with(way, Reason::Renewal, keep_since, &Options::default())
    }

    pub fn rotate_with(
        &mut self,
        way: &mut Way,
        reason: Reason,
        keep_since: Option<i64>,
        options: &Options,
    ) -> Result<Report, SyncError> {
        let mut calm = Calm::new();
        self.client(way, &mut calm)
            .rotate(reason, keep_since, options)
    }

    pub fn upgrade(&mut self, way: &mut Way) -> Result<Report, SyncError> {
        let options = Options::default();
        self.client(way, &mut Calm::new()).upgrade(&options)
    }

    pub fn delete(&mut self, way: &mut Way) -> Result<(), SyncError> {
        self.client(way, &mut Calm::new()).delete()
    }

    /// What the server has, if it can be opened.
    pub fn remote(&self, cloud: &Rc<RefCell<Cloud>>) -> Vault {
        let key = &self.key();
        let cloud = cloud.borrow();
        let plaintext =
            passmate_vault::format::btoken::open(&cloud.accounts[&account_of(key).unwrap()].1, key);
        passmate_vault::format::decode_btoken(&plaintext.unwrap())
            .unwrap()
            .vault
    }
}

impl Replica for Device {
    fn vault(&self) -> &Vault {
        &self.vault
    }

    fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    fn now(&self) -> i64 {
        self.now
    }

    fn set_account(&mut self, account: Option<Account>) {
        self.account = account;
    }

    fn device_name(&self) -> DeviceText {
        DeviceText::first_of(&self.name)
    }

    fn baseline(&self) -> Option<&Baseline> {
        self.baseline.as_ref()
    }

    fn merge(&mut self, admitted: &Admitted) -> MergeSummary {
        self.baseline = admitted.baseline().cloned();
        admitted.merge_into(&mut self.vault)
    }

    fn resolve(&mut self) {
        let resolution = self.vault.resolution();
        self.vault.merge(&resolution);
    }

    fn truncate(&mut self, since: i64) {
        self.vault.cut_history(since, self.now).unwrap();
    }

    fn save(&mut self) -> Result<(), SaveError> {
        if self.file.0 == self.vault && self.file.1 == self.account {
            return Ok(());
        }
        if self.is_full {
            return Err(DiskFull.into());
        }
        self.writes += 1;
        self.file = (self.vault.clone(), self.account.clone());
        Ok(())
    }

    fn save_more(&mut self) -> Result<(), SaveError> {
        self.save()
    }
}
