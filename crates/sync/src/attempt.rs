//! One sync, over as many exchanges as it needs: what happens between a fetch and an upload.

use std::sync::Arc;

use passmate_proto::{BTOKEN_LEN_MAX_DEFAULT, CLIENT_BTOKEN_LEN_MAX_DEFAULT};
use passmate_vault::compat::Original;
use passmate_vault::format::{Btoken, BtokenShape};
use passmate_vault::{
    Account, Baseline, OwnDevice, RollCall, SeenChanges, Shape, SyncKey, Trust, Vault,
    derive_read_hash, format,
};
use rand_core::CryptoRng;

use crate::account::replace_account;
use crate::admit::{Admitted, admit, would_hold_back};
use crate::error::{RemoteError, SyncError};
use crate::exchange::{Ended, Greeting};
use crate::held::HeldBack;
use crate::options::{Decision, Options, Policy, Room};
use crate::replica::Replica;
use crate::report::{Preview, Report};
use crate::roll_call::{device_of, is_due, united, with_own_entry};
use crate::rollback::Rollback;
use crate::wire::Certificate;

/// What the entry of a device takes at most in a btoken, in bytes.
pub(crate) const OWN_ENTRY_LEN_MAX: usize = 512;

/// One sync: the vault, and what its exchanges have in common.
pub(crate) struct Attempt<'a> {
    replica: &'a mut dyn Replica,
    key: SyncKey,
    options: Options,
    /// The account to save in the vault once its btoken was opened.
    joining: Option<Account>,
    /// The vault has the account, but no fetch has proved yet that it exists.
    account_in_doubt: bool,
    report: Report,
    upload: Option<Upload>,
    /// Records were saved already: what is saved after them belongs to the same change.
    has_saved: bool,
    /// Send nothing more, after this many uploads.
    only_look: Option<u32>,
    /// The vault as it would be after the sync, and what would be held back.
    preview: Option<(Vault, Option<Box<HeldBack>>, Option<Baseline>)>,
    is_preview: bool,
}

/// The last upload, until a fetch tells what became of it.
struct Upload {
    /// The part of the vault that it contains.
    part: Vault,
    /// The changes of the whole vault.
    change_count: usize,
    /// The number of changes that the server did not have.
    missing: usize,
    /// The ids of these changes.
    sent: SeenChanges,
    /// The roll call in it, and this device; `None` in an account that has no roll call.
    roll_call: Option<(RollCall, OwnDevice)>,
    /// The length of the btoken in bytes.
    len: usize,
    /// It was sent whole and not confirmed.
    in_doubt: bool,
}

impl<'a> Attempt<'a> {
    /// For the account of the vault.
    pub(crate) fn new(replica: &'a mut dyn Replica, key: SyncKey, confirmed: bool) -> Self {
        Self {
            replica,
            key,
            options: Options::default(),
            joining: None,
            account_in_doubt: !confirmed,
            report: Report::default(),
            upload: None,
            has_saved: false,
            only_look: None,
            preview: None,
            is_preview: false,
        }
    }

    /// For an account that other devices use and that the vault joins.
    pub(crate) fn joining(replica: &'a mut dyn Replica, key: SyncKey, account: Account) -> Self {
        Self {
            joining: Some(account),
            ..Self::new(replica, key, true)
        }
    }

    pub(crate) fn with(self, options: Options) -> Self {
        Self {
            has_saved: options.continued,
            options,
            ..self
        }
    }

    pub(crate) const fn key(&self) -> &SyncKey {
        &self.key
    }

    /// Changes nothing, here or on the server.
    pub(crate) fn preview_only(self) -> Self {
        Self {
            is_preview: true,
            ..self
        }
    }

    /// The server greeted.
    pub(crate) fn note_greeting(&mut self, greeting: &Greeting) {
        self.report.greeting = greeting.clone();
    }

    pub(crate) fn note_unknown(&mut self) {
        if let Some(upload) = &mut self.upload {
            upload.in_doubt = true;
        }
    }

    /// Sends nothing more; `uploads` is the number of unconfirmed uploads.
    pub(crate) fn only_look(&mut self, uploads: u32) {
        self.only_look = Some(uploads);
    }

    /// Adds to the final error what it leaves in doubt.
    pub(crate) fn qualify(&self, error: RemoteError) -> RemoteError {
        if self.account_in_doubt {
            RemoteError::AccountUnknown(Box::new(error))
        } else if self.upload.as_ref().is_some_and(|upload| upload.in_doubt) {
            RemoteError::OutcomeUnknown(Box::new(error))
        } else {
            error
        }
    }

    /// Whether the last upload was longer than the server's stated or assumed limit.
    pub(crate) fn is_too_large(&self) -> bool {
        self.upload
            .as_ref()
            .is_some_and(|upload| is_longer(upload.len, self.limit()))
    }

    pub(crate) fn too_large(&self) -> RemoteError {
        let len = self.upload.as_ref().map_or(0, |upload| upload.len);
        RemoteError::TooLarge {
            len,
            limit: self.limit(),
            known: self.report.greeting.btoken_len_max().is_some(),
        }
    }

    /// A server that shows its next key has changed its key: the old one is not trusted any more.
    fn note_certificate(&mut self, certificate: Certificate) -> Result<(), SyncError> {
        self.report.valid = certificate.valid;
        if self.is_preview {
            return Ok(());
        }
        let Some(account) = self.replica.account() else {
            return Ok(());
        };
        if let (Trust::Pins { next, .. }, Some(shown)) = (&account.trust, certificate.pin)
            && *next == Some(shown)
        {
            let trust = Trust::Pins {
                current: shown,
                next: None,
            };
            let account = Account {
                trust,
                ..account.clone()
            };
            replace_account(self.replica, Some(account))?;
        }
        Ok(())
    }

    /// The exchange succeeded.
    pub(crate) fn note_done(&mut self, ended: &Ended) -> Result<(), SyncError> {
        self.note_confirmed()?;
        self.note_certificate(ended.certificate)
    }

    /// The upload is on the server: from now on its changes must stay there.
    fn note_confirmed(&mut self) -> Result<(), SyncError> {
        let Some(upload) = &self.upload else {
            return Ok(());
        };
        self.report
            .delta
            .note_sent(&upload.sent, self.replica.now());
        self.report.btoken_len = upload.len;
        let Some(mut account) = self.replica.account().cloned() else {
            return Ok(());
        };
        if account.key.granted() != Some(&self.key) {
            return Ok(());
        }
        let is_new = account.seen.note(&upload.part);
        if is_new && !self.report.delta.is_empty() {
            account.last = Some(self.report.delta.clone());
        }
        if let Some((roll_call, device)) = &upload.roll_call {
            account.devices = roll_call.clone();
            account.device = Some(device.clone());
        }
        if is_new || upload.roll_call.is_some() {
            self.replica.set_account(Some(account));
            self.save()?;
        }
        Ok(())
    }

    fn save(&mut self) -> Result<(), SyncError> {
        let saved = if self.has_saved {
            self.replica.save_more()
        } else {
            self.replica.save()
        };
        self.has_saved = self.options.continued || self.report.received > 0;
        saved.map_err(SyncError::Save)
    }

    /// The rollback, if the server returned older data.
    pub(crate) fn rollback(&self) -> Option<Rollback> {
        self.report.rollback
    }

    /// Compares the fetched changes with those that this device has seen there, and records those
    /// that were admitted.
    fn note_seen(&mut self, remote: &Vault, admitted: &Admitted) {
        self.note_missing(remote);
        let Some(mut account) = self.replica.account().cloned() else {
            return;
        };
        // The next btoken leaves out what the desktop client cannot read, so that is not missed.
        let kept = admitted.kept_of(remote);
        let is_new = account.seen.note(&account.shape.part_of(&kept));
        let has_delta = !self.report.delta.is_empty();
        if has_delta {
            account.last = Some(self.report.delta.clone());
        }
        if is_new || has_delta {
            self.replica.set_account(Some(account));
        }
    }

    fn note_missing(&mut self, remote: &Vault) {
        let Some(account) = self.replica.account() else {
            return;
        };
        let vault = self.replica.vault();
        let shape = self.shape();
        let mut missing = account.seen.without(&shape.seen_of(remote));
        if shape == Shape::Desktop && !missing.is_empty() {
            // This device misses only what it would write itself.
            missing = missing.common_with(&SeenChanges::of(&shape.part_of(vault)));
        }
        // Where an original program takes part, a purged change is not written.
        missing = missing.without(&SeenChanges::purged_in(vault));
        if !missing.is_empty() && remote.history_since().is_some() {
            // A truncated change is no loss.
            missing = missing.common_with(&SeenChanges::of(&vault.truncated_with(remote)));
        }
        if !missing.is_empty() && self.report.rollback.is_none() {
            let times = missing.times_in(vault);
            self.report.rollback = Some(Rollback {
                changes: missing.len(),
                times,
            });
        }
    }

    /// Truncated changes need not be on the server any more.
    fn forget_dropped(&mut self) {
        let Some(mut account) = self.replica.account().cloned() else {
            return;
        };
        account.seen = account
            .seen
            .common_with(&SeenChanges::of(self.replica.vault()));
        self.replica.set_account(Some(account));
    }

    /// Computes what the sync would do if a person agreed.
    fn preview(&mut self, remote: &Arc<Vault>, admitted: &Admitted) {
        let held = would_hold_back(Arc::clone(remote), self.replica.entry(), &self.policy());
        self.note_missing(&remote.truncated_with(self.replica.vault()));
        let ours = self.replica.vault();
        let mut merged = ours.clone();
        let summary = admitted.merge_into(&mut merged);
        let shape = self.shape();
        let sent = SeenChanges::of(&shape.part_of(ours)).without(&shape.seen_of(remote));
        self.report.sent = shape.count_missing(ours, remote);
        self.report.note(summary);
        self.report.delta.sent = sent;
        self.preview = Some((merged, held, admitted.baseline().cloned()));
    }

    /// The report of a preview, and the vault as it would be.
    pub(crate) fn into_preview(mut self) -> Preview {
        let preview = self.preview.take();
        let unchanged = || {
            let baseline = self.replica.baseline().cloned();
            (self.replica.vault().clone(), None, baseline)
        };
        let (vault, held, baseline) = preview.unwrap_or_else(unchanged);
        Preview {
            vault,
            held,
            baseline,
            report: self.into_report(),
        }
    }

    /// The report of a sync whose last upload, if there is one, was confirmed.
    pub(crate) fn into_report(self) -> Report {
        let mut report = self.report;
        report.common = self.replica.vault().change_count();
        if let Some(upload) = self.upload {
            report.sent += upload.missing;
            report.common = upload.change_count;
        }
        report
    }

    /// Merges the fetched btoken and returns the btoken to store instead, if any.
    pub(crate) fn take_in(
        &mut self,
        sealed: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<Vec<u8>>, SyncError> {
        let found = match self.open(sealed) {
            // A btoken that cannot be opened has nothing for this device.
            Err(_) if self.options.replace_remote => None,
            opened => Some(opened?),
        };
        let is_replaced = found.is_none();
        let found_shape = found.as_ref().map(|found| found.shape);
        let (remote, devices) = found.map_or_else(
            || (Arc::default(), RollCall::new()),
            |found| (Arc::new(found.vault), found.devices),
        );
        self.report.btoken_len = sealed.len();
        let shape = self.shape_after(found_shape);
        let has_roll_call = shape != Shape::Desktop;
        if has_roll_call && found_shape == Some(BtokenShape::Passmate2) {
            self.check_devices(&devices);
        }
        if let (Shape::Desktop, Some(since)) = (shape, self.replica.vault().history_since()) {
            return Err(RemoteError::HistoryCut { since }.into());
        }
        let policy = self.policy();
        let admitted = admit(Arc::clone(&remote), self.replica.entry(), &policy)
            .map_err(SyncError::HeldBack)?;
        admitted.note(&mut self.report);
        if self.is_preview {
            self.preview(&remote, &admitted);
            return Ok(None);
        }
        let kept = remote.truncated_with(self.replica.vault());
        let before = self.upload.take();
        let arrived = before.as_ref().is_some_and(|upload| {
            let part = upload.part.truncated_with(&remote);
            part.history_since() == remote.history_since()
                && shape.count_missing(&part, &remote) == 0
        });
        if let Some(upload) = before.as_ref().filter(|_| arrived) {
            self.report.sent += upload.missing;
            self.report
                .delta
                .note_sent(&upload.sent, self.replica.now());
        }

        self.keep_account(shape)?;
        if has_roll_call {
            self.note_devices(&devices, rng);
        }
        if !is_replaced {
            self.note_seen(&kept, &admitted);
        }
        let summary = self.replica.merge(&admitted);
        if summary.dropped > 0 {
            self.forget_dropped();
        }
        self.report.note(summary);
        if shape == Shape::Desktop {
            self.replica.resolve();
        }
        self.save()?;
        self.account_in_doubt = false;
        if self
            .replica
            .account()
            .is_none_or(|account| account.key.granted() != Some(&self.key))
        {
            return Err(SyncError::SetUpChanged);
        }

        let missing = shape.count_missing(self.replica.vault(), &remote);
        // An upgraded account must not keep the desktop client's format.
        let is_upgrade = found_shape == Some(BtokenShape::Desktop) && shape != Shape::Desktop;
        let is_cut = self.replica.vault().history_since() != remote.history_since();
        let read = has_roll_call.then(|| derive_read_hash(Some(sealed)));
        if missing == 0 && !is_upgrade && !is_cut && !admitted.leaves_out() {
            return match read {
                Some(_) if self.only_look.is_none() && self.is_entry_due(&devices) => {
                    self.renew_entry(shape, read, rng)
                }
                _ => Ok(None),
            };
        }
        if let Some(uploads) = self.only_look {
            return Err(RemoteError::Unconfirmed(uploads).into());
        }
        // The server read an upload above its limit and then cut the connection.
        if let Some(Upload { len, .. }) = before.filter(|_| !arrived)
            && is_longer(len, self.limit())
        {
            return Err(RemoteError::TooLarge {
                len,
                limit: self.limit(),
                known: false,
            }
            .into());
        }
        let sent =
            SeenChanges::of(&shape.part_of(self.replica.vault())).without(&shape.seen_of(&remote));
        let remote = admitted.kept_of(&remote);
        self.seal(shape, missing, sent, Some(&remote), read, rng)
    }

    fn open(&self, sealed: &[u8]) -> Result<Btoken, RemoteError> {
        let plaintext = format::btoken::open(sealed, &self.key).map_err(RemoteError::Unopenable)?;
        format::decode_btoken(&plaintext).map_err(RemoteError::NoVault)
    }

    /// Compares the roll call with the one that this device knows: an entry that went back shows an
    /// older or another history, even if no change is missing.
    fn check_devices(&mut self, found: &RollCall) {
        let account = self.replica.account().filter(|_| self.joining.is_none());
        let device = account.and_then(|account| Some((account, account.device.as_ref()?)));
        if let Some((account, device)) = device {
            let anomalies = account.devices.check(found, device.id);
            if self.report.anomalies.is_empty() {
                self.report.anomalies = anomalies;
            }
        }
    }

    /// Remembers the devices of a btoken, and what this device is called in the next one.
    fn note_devices(&mut self, found: &RollCall, rng: &mut dyn CryptoRng) {
        let Some(account) = self.replica.account() else {
            return;
        };
        let device = device_of(account, &self.replica.device_name(), rng);
        let devices = united(&account.devices, found, self.replica.now());
        if account.device.as_ref() != Some(&device) || account.devices != devices {
            let account = Account {
                device: Some(device),
                devices,
                ..account.clone()
            };
            self.replica.set_account(Some(account));
        }
    }

    fn is_entry_due(&self, found: &RollCall) -> bool {
        let account = self.replica.account();
        let device = account.and_then(|account| Some((account, account.device.as_ref()?)));
        device.is_some_and(|(account, device)| {
            let (name, now) = (self.replica.device_name(), self.replica.now());
            is_due(device, &account.devices, found, &name, now)
        })
    }

    /// The btoken with a new entry of this device and nothing else that is new. It is not worth an
    /// error.
    fn renew_entry(
        &mut self,
        shape: Shape,
        read: Option<[u8; 32]>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<Vec<u8>>, SyncError> {
        match self.seal(shape, 0, SeenChanges::new(), None, read, rng) {
            Err(SyncError::Remote(RemoteError::TooLarge { .. })) => Ok(None),
            sealed => sealed,
        }
    }

    /// A preview shows what would come if a person agreed to everything.
    fn policy(&self) -> Policy {
        let policy = self.options.policy.clone();
        let mut policy = with_limit(policy, &self.report.greeting, self.replica.account());
        if self.is_preview {
            policy.decision = Decision::Preview;
        }
        policy
    }

    /// The account's shape, as far as the vault knows.
    fn shape(&self) -> Shape {
        let account = self.joining.as_ref().or_else(|| self.replica.account());
        account.map_or(Shape::Modern, |account| account.shape)
    }

    /// The account's shape, given the shape of its btoken.
    fn shape_after(&self, found: Option<BtokenShape>) -> Shape {
        match (found, self.shape()) {
            (Some(BtokenShape::Desktop), _) if self.joining.is_some() => Shape::Desktop,
            // Another device upgraded it.
            (Some(BtokenShape::Passmate2), Shape::Desktop) => Shape::Upgraded,
            // An account never returns to an earlier shape: that would be old data.
            (_, shape) => shape,
        }
    }

    fn seal(
        &mut self,
        shape: Shape,
        missing: usize,
        sent: SeenChanges,
        remote: Option<&Vault>,
        read: Option<[u8; 32]>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<Vec<u8>>, SyncError> {
        let change_count = self.replica.vault().change_count();
        let vault = self.replica.vault();
        // A purge cannot be written for the desktop client. What this device has purged stays there
        // as long as the account is shared: other devices may count on it.
        let part = match (shape, remote) {
            (Shape::Desktop, Some(remote)) => vault.part_beside(Original::Desktop, remote),
            _ => shape.part_of(vault).into_owned(),
        };
        let account = self.replica.account();
        let device = account.and_then(|account| Some((account, account.device.as_ref()?)));
        let roll_call = device.zip(read).map(|((account, device), read)| {
            let (name, now) = (self.replica.device_name(), self.replica.now());
            with_own_entry(device, &account.devices, &name, now, read, rng)
        });
        let none = RollCall::new();
        let devices = roll_call.as_ref().map_or(&none, |(devices, _)| devices);
        let plaintext =
            format::encode_btoken_as(shape, &part, devices).map_err(RemoteError::Unsealable)?;
        let sealed = format::btoken::seal(&plaintext, &self.key, rng);
        let len = sealed.len();
        // Store no btoken that no device would accept.
        let stated = self.report.greeting.btoken_len_max().unwrap_or(u32::MAX);
        let limit = stated.min(CLIENT_BTOKEN_LEN_MAX_DEFAULT);
        if is_longer(len, limit) {
            return Err(RemoteError::TooLarge {
                len,
                limit,
                known: true,
            }
            .into());
        }
        self.upload = Some(Upload {
            part,
            change_count,
            missing,
            sent,
            roll_call,
            len,
            in_doubt: false,
        });
        Ok(Some(sealed))
    }

    /// The account's btoken was opened, so account and key are right: save them in the vault.
    fn keep_account(&mut self, shape: Shape) -> Result<(), SyncError> {
        let account = match (self.replica.account(), self.joining.take()) {
            (None, Some(joining)) => Account {
                confirmed: true,
                shape,
                ..joining
            },
            (Some(account), None) if account.key.granted() == Some(&self.key) => {
                if account.confirmed && account.shape == shape {
                    return Ok(());
                }
                Account {
                    confirmed: true,
                    shape,
                    ..account.clone()
                }
            }
            _ => return Err(SyncError::SetUpChanged),
        };
        self.replica.set_account(Some(account));
        Ok(())
    }

    /// The longest btoken that the server accepts, stated or assumed.
    fn limit(&self) -> u32 {
        limit_of(&self.report.greeting)
    }
}

fn limit_of(greeting: &Greeting) -> u32 {
    let stated = greeting.btoken_len_max();
    stated.unwrap_or(BTOKEN_LEN_MAX_DEFAULT)
}

/// The policy of a sync with a server that greeted like this: what makes the vault too large for it
/// is held back.
pub(crate) fn with_limit(policy: Policy, greeting: &Greeting, account: Option<&Account>) -> Policy {
    let devices = account.map(|account| &account.devices);
    let roll_call = devices.map(|devices| format::encode_btoken_with(&Vault::new(), devices));
    let roll_call = roll_call.and_then(Result::ok).map_or(0, |text| text.len());
    let limit = usize::try_from(limit_of(greeting)).unwrap_or(usize::MAX);
    Policy {
        // A device that has no entry yet gets one.
        room: Some(Room {
            btoken_len_max: limit.saturating_sub(roll_call + OWN_ENTRY_LEN_MAX),
            shape: account.map_or(Shape::Modern, |account| account.shape),
        }),
        ..policy
    }
}

pub(crate) fn is_longer(len: usize, limit: u32) -> bool {
    u32::try_from(len).map_or(true, |len| len > limit)
}
