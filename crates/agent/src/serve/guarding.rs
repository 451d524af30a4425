//! What is handed out passes here: a person is asked about guarded records, and each use is logged.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use passmate_core::answer::{Halt, Reply};
use passmate_core::guard::{Touched, guarded, is_guarded};
use passmate_core::problem::Problem;
use passmate_core::records::RecordContent;
use passmate_core::session::Session;
use passmate_core::settings::SyncSettings;
use passmate_core::use_log::UseEntry;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Agent, Told};
use crate::consent::{Question, Use};
use crate::peer::Peer;
use crate::ssh::approver::{self, Approver};
use crate::wire::{Call, write_frame};

/// Who makes a call, and of which vault.
pub(super) struct Caller<'a> {
    pub(super) peer: &'a Peer,
    pub(super) vault: &'a Path,
    pub(super) reason: Option<String>,
}

/// What a call does with the secrets of records, and which; `None` if it gives none away. A record
/// that is read is looked at afterwards instead.
pub(super) fn touch_of(call: &Call) -> Option<(&'static str, Touched)> {
    let named = |path: &String| Touched::Named(vec![path.clone()]);
    Some(match call {
        Call::OneTimeCode { path, .. } => ("make a one-time code of", named(path)),
        Call::QrText { path, .. } => ("show as a QR code", named(path)),
        Call::History { path, .. } => ("read the history of", named(path)),
        Call::Change { change, .. } => match Touched::by(change) {
            Touched::Nothing => return None,
            touched => ("change", touched),
        },
        // With a key that the caller knows, what is sent there is the caller's.
        Call::SetUpServer { .. } | Call::SetUpFolder { .. } => {
            ("send a whole vault elsewhere with", Touched::All)
        }
        // Who chooses the list may guess.
        Call::Audit { rules } if rules.breached.is_some() => {
            ("compare with a list all passwords with", Touched::All)
        }
        Call::Export { .. } => ("export the whole vault with", Touched::All),
        Call::ChangePassphrase { .. } => ("change the passphrase of a vault with", Touched::All),
        Call::SecretValues { .. } => ("look for the values of a vault with", Touched::All),
        Call::FolderKey => ("read the key of the shared folder with", Touched::All),
        Call::SyncKey => ("read the sync key of a vault with", Touched::All),
        Call::List
        | Call::Uses
        | Call::Trash
        | Call::Record { .. }
        | Call::Records { .. }
        | Call::Continuations { .. }
        | Call::Search { .. }
        | Call::Fields { .. }
        | Call::PasswordRule { .. }
        | Call::Audit { .. }
        | Call::PreviewImport { .. }
        | Call::Sync { .. }
        | Call::PreviewSync
        | Call::LastSyncs
        | Call::Standing
        | Call::Ties
        | Call::SetUpAgain { .. }
        | Call::RequestAccount { .. }
        | Call::TrustNext { .. }
        | Call::Rotate { .. }
        | Call::Upgrade { .. }
        | Call::Untie { .. } => return None,
    })
}

impl Agent {
    /// Asks a person about guarded records, and logs the use.
    fn agree(
        &self,
        caller: &Caller<'_>,
        what: &str,
        touched: &Touched,
        guarded: Vec<String>,
        asking: impl FnOnce(&Question),
        is_gone: impl Fn() -> bool,
    ) -> Result<(), Problem> {
        let mut agreed = Ok(());
        if !guarded.is_empty() {
            let used = Use {
                peer: caller.peer.clone(),
                vault: caller.vault.to_owned(),
                records: guarded,
                what: what.to_owned(),
                reason: caller.reason.clone(),
            };
            let dialogs = self.vaults.dialogs(caller.vault);
            agreed = self
                .consents
                .ask(&used, dialogs, self.now(), asking, is_gone);
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let entry = UseEntry {
            time: time.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(0)),
            what: what.to_owned(),
            records: match touched {
                Touched::Named(names) => names.clone(),
                Touched::All | Touched::Nothing => Vec::new(),
            },
            by: caller.peer.to_string(),
            reason: caller.reason.clone(),
            allowed: agreed.is_ok(),
        };
        self.vaults.log(caller.vault, &entry);
        agreed
    }

    /// Asks and logs before a call that hands out or changes more than it can tell afterwards.
    pub(super) fn agree_before(
        &self,
        caller: &Caller<'_>,
        settings: &SyncSettings,
        what: &str,
        touched: &Touched,
        is_change: bool,
        stream: &mut UnixStream,
    ) -> io::Result<Reply<()>> {
        let of = |session: &mut Session| Ok(guarded(session.vault(), touched));
        let guarded = match self
            .vaults
            .call(caller.vault, settings.clone(), || self.now(), of)
        {
            Ok(guarded) => guarded,
            Err(halt) => return Ok(Err(halt)),
        };
        // A change of what nobody guards is in the history of the vault.
        if is_change && guarded.is_empty() {
            return Ok(Ok(()));
        }
        let watched = stream.try_clone()?;
        let mut sent = Ok(());
        let agreed = self.agree(
            caller,
            what,
            touched,
            guarded,
            |question| {
                sent = write_frame(stream, &Told::Asking(question));
            },
            || has_ended(&watched),
        );
        sent?;
        Ok(agreed.map_err(Halt::from))
    }

    /// Reads records, and asks and logs before they are handed out.
    pub(super) fn records(
        &self,
        caller: &Caller<'_>,
        settings: SyncSettings,
        read: impl FnOnce(&mut Session) -> Reply<Vec<RecordContent>>,
        stream: &mut UnixStream,
    ) -> io::Result<Reply<Vec<RecordContent>>> {
        let records = match self
            .vaults
            .call(caller.vault, settings, || self.now(), read)
        {
            Ok(records) if !records.is_empty() => records,
            reply => return Ok(reply),
        };
        let paths = |records: &mut dyn Iterator<Item = &RecordContent>| -> Vec<String> {
            records.map(|record| record.path.clone()).collect()
        };
        let named = paths(&mut records.iter());
        let guarded = paths(&mut records.iter().filter(|record| is_guarded(record)));
        let touched = Touched::Named(named);
        let watched = stream.try_clone()?;
        let mut sent = Ok(());
        let agreed = self.agree(
            caller,
            "read",
            &touched,
            guarded,
            |question| {
                sent = write_frame(stream, &Told::Asking(question));
            },
            || has_ended(&watched),
        );
        sent?;
        Ok(agreed.map(|()| records).map_err(Halt::from))
    }
}

/// Decides about the keys of SSH. What a program on another machine asks for is refused.
pub(super) struct Approving<'a>(pub(super) &'a Agent);

impl Approver for Approving<'_> {
    fn approves(&self, used: &approver::Use) -> bool {
        let Self(agent) = self;
        let caller = Caller {
            peer: &used.peer,
            vault: &used.vault,
            reason: None,
        };
        let touched = Touched::Named(vec![used.record.clone()]);
        let of = |session: &mut Session| Ok(guarded(session.vault(), &touched));
        let settings = SyncSettings::default();
        let guarded = agent.vaults.call(&used.vault, settings, || agent.now(), of);
        let what = used.purpose.text();
        guarded.is_ok_and(|guarded| {
            !used.is_forwarded
                && agent
                    .agree(&caller, &what, &touched, guarded, |_| {}, || false)
                    .is_ok()
        })
    }
}

/// Whether the client on the other side has closed the connection.
fn has_ended(stream: &UnixStream) -> bool {
    let mut watched = [PollFd::new(stream, PollFlags::empty())];
    poll(&mut watched, Some(&Timespec::default())).is_ok_and(|ended| ended > 0)
}
