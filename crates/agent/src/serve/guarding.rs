//! What is handed out passes here: a person is asked about guarded records, and each use is logged.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use passmate_core::answer::{Halt, Reply};
use passmate_core::guard::{Guarded, Touched, guarded, guarded_one};
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::records::RecordContent;
use passmate_core::session::Session;
use passmate_core::settings::SyncSettings;
use passmate_core::use_log::UseEntry;

use super::client_stream::{ClientStream, has_ended};
use super::{Agent, Told};
use crate::consent::{Question, Use};
use crate::peer::Peer;
use crate::ssh::approver::{self, Approver};
use crate::wire::Call;

/// Who makes a call, and of which vault.
pub(super) struct Caller<'a> {
    pub(super) peer: &'a Peer,
    pub(super) vault: &'a Path,
    pub(super) reason: Option<String>,
}

/// The right to make one call: what it touches, and which guarded records people agreed to. A name
/// may mean another record once they have, so it is looked at again under the lock of the call.
pub(super) struct Pass {
    touched: Touched,
    /// The ids.
    agreed: BTreeSet<String>,
}

impl Pass {
    fn to_nothing_guarded() -> Self {
        Self {
            touched: Touched::Nothing,
            agreed: BTreeSet::new(),
        }
    }

    /// A call that is made only if it touches no other guarded record.
    pub(super) fn checked<T>(
        self,
        call: impl FnOnce(&mut Session) -> Reply<T>,
    ) -> impl FnOnce(&mut Session) -> Reply<T> {
        move |session| {
            let touched = guarded(session.vault(), &self.touched);
            if touched.iter().any(|one| !self.agreed.contains(&one.id)) {
                return Err(Problem::new(
                    ProblemKind::InUse,
                    "the vault changed while a person was asked, and the call means another record \
                     now",
                    "run the command again",
                )
                .into());
            }
            call(session)
        }
    }
}

/// What a call does with the secrets of records, and which; `None` if it gives none away. A record
/// that is read is looked at afterwards instead.
fn touch_of(call: &Call) -> Option<(&'static str, Touched)> {
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
        // Who chooses the list, the records or the import may guess.
        Call::Audit { .. } => ("compare all passwords with", Touched::All),
        Call::PreviewImport { .. } => ("compare an import with", Touched::All),
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
        guarded: Vec<Guarded>,
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
        call: &Call,
        client: &ClientStream,
    ) -> io::Result<Reply<Pass>> {
        let Some((what, touched)) = touch_of(call) else {
            return Ok(Ok(Pass::to_nothing_guarded()));
        };
        let of = |session: &mut Session| Ok(guarded(session.vault(), &touched));
        let guarded = match self
            .vaults
            .call(caller.vault, settings.clone(), || self.now(), of)
        {
            Ok(guarded) => guarded,
            Err(halt) => return Ok(Err(halt)),
        };
        let pass = Pass {
            agreed: guarded.iter().map(|guarded| guarded.id.clone()).collect(),
            touched,
        };
        // A change of what nobody guards is in the history of the vault.
        if matches!(call, Call::Change { .. }) && guarded.is_empty() {
            return Ok(Ok(pass));
        }
        let mut sent = Ok(());
        let agreed = self.agree(
            caller,
            what,
            &pass.touched,
            guarded,
            |question| {
                sent = client.tell(&Told::Asking(question));
            },
            || client.has_ended(),
        );
        sent?;
        Ok(agreed.map(|()| pass).map_err(Halt::from))
    }

    /// Reads records, and asks and logs before they are handed out.
    pub(super) fn records(
        &self,
        caller: &Caller<'_>,
        settings: SyncSettings,
        read: impl FnOnce(&mut Session) -> Reply<Vec<RecordContent>>,
        client: &ClientStream,
    ) -> io::Result<Reply<Vec<RecordContent>>> {
        let records = match self
            .vaults
            .call(caller.vault, settings, || self.now(), read)
        {
            Ok(records) if !records.is_empty() => records,
            reply => return Ok(reply),
        };
        let guarded = records.iter().filter_map(guarded_one).collect();
        let named = records.iter().map(|record| record.path.clone());
        let touched = Touched::Named(named.collect());
        let mut sent = Ok(());
        let agreed = self.agree(
            caller,
            "read",
            &touched,
            guarded,
            |question| {
                sent = client.tell(&Told::Asking(question));
            },
            || client.has_ended(),
        );
        sent?;
        Ok(agreed.map(|()| records).map_err(Halt::from))
    }
}

/// Decides about the keys of SSH. What a program on another machine asks for is refused.
pub(super) struct Approving<'a> {
    pub(super) agent: &'a Agent,
    /// The client's connection.
    pub(super) stream: &'a UnixStream,
}

impl Approver for Approving<'_> {
    fn approves(&self, used: &approver::Use) -> bool {
        let Self { agent, stream } = self;
        let caller = Caller {
            peer: &used.peer,
            vault: &used.vault,
            reason: None,
        };
        let touched = Touched::Named(vec![used.record.clone()]);
        let guarded = used.guarded.iter().cloned().collect();
        let what = used.purpose.text();
        let is_gone = || has_ended(stream);
        let agree = || agent.agree(&caller, &what, &touched, guarded, |_| {}, is_gone);
        !used.is_forwarded && agree().is_ok()
    }
}
