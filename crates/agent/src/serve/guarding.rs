//! What is handed out passes here: a person is asked about guarded records, and each use is logged.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use passmate_core::answer::{Halt, Reply};
use passmate_core::edit::Edit;
use passmate_core::guard::{Guarded, Touched, guarded, guarded_one, named};
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::records::RecordContent;
use passmate_core::session::Session;
use passmate_core::settings::SyncSettings;
use passmate_core::sync_all::SyncRequest;
use passmate_core::use_log::UseEntry;
use passmate_vault::login::{FieldRole, role_of};

use super::Agent;
use super::client_stream::{ClientStream, has_ended};
use crate::consent::{Question, Use};
use crate::peer::Peer;
use crate::ssh::approver::{self, Approver};
use crate::wire::Call;
use crate::wire::Told;

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
    /// What is logged once the call came through.
    pub(super) agreed_use: Option<AgreedUse>,
}

/// What people agreed to, or nobody had to.
pub(super) struct AgreedUse {
    /// For the log.
    entry: UseEntry,
    /// What they were asked.
    used: Option<Use>,
}

impl Pass {
    fn to_nothing_guarded() -> Self {
        Self {
            touched: Touched::Nothing,
            agreed: BTreeSet::new(),
            agreed_use: None,
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

/// What a call does with the secrets of records, and which.
struct Touch {
    /// As in "wants to read".
    what: &'static str,
    /// What stands before the guarded records of a call that touches all.
    link: &'static str,
    touched: Touched,
}

impl Touch {
    const fn all(what: &'static str, link: &'static str) -> Self {
        Self {
            what,
            link,
            touched: Touched::All,
        }
    }

    /// What is said before the names of records; without any, it stands alone.
    fn what(&self, has_records: bool) -> String {
        match self.link {
            link if has_records && !link.is_empty() => format!("{} {link}", self.what),
            _ => self.what.to_owned(),
        }
    }
}

/// What an edit does to its record, as in "wants to change". That a record may lose its guard is said.
fn deed_of(change: &Edit) -> &'static str {
    match change {
        Edit::Delete { .. } => "delete",
        Edit::Move { .. } => "move",
        Edit::Copy { .. } => "copy",
        Edit::Purge { .. } => "remove for good values of",
        Edit::Set { field, .. } | Edit::Unset { field, .. }
            if role_of(field) == Some(FieldRole::Tags) =>
        {
            "change the tags, and so the guard, of"
        }
        _ => "change",
    }
}

/// What is done with records.
struct Deed {
    what: String,
    /// Whether an agreement to it may hold for a while.
    may_last: bool,
}

impl Deed {
    const fn that_may_last(what: String) -> Self {
        Self {
            what,
            may_last: true,
        }
    }
}

/// What a call touches; `None` if it gives nothing away. A record that is read is looked at afterwards
/// instead.
fn touch_of(call: &Call) -> Option<Touch> {
    let one = |what, path: &String| Touch {
        what,
        link: "",
        touched: Touched::Named(vec![path.clone()]),
    };
    Some(match call {
        Call::OneTimeCode { path, .. } => one("make a one-time code of", path),
        Call::QrText { path, .. } => one("show as a QR code", path),
        Call::History { path, .. } => one("read the history of", path),
        Call::Change { change, .. } => match (Touched::by(change), change) {
            (Touched::Nothing, _) => return None,
            (Touched::All, Edit::Undo) => Touch::all("undo something", "that may concern"),
            (Touched::All, Edit::Redo) => Touch::all("redo something", "that may concern"),
            (Touched::All, _) => Touch::all("import records", "that may change"),
            (touched, change) => Touch {
                what: deed_of(change),
                link: "",
                touched,
            },
        },
        // With a key that the caller knows, what is sent there is the caller's.
        Call::SetUpServer { .. } | Call::SetUpFolder { .. } => {
            Touch::all("send the whole vault elsewhere", "with")
        }
        Call::Audit { rules } if rules.online.is_some() => Touch::all(
            "ask a service on the network about all passwords",
            "with those of",
        ),
        // Who chooses the list, the records or the import may guess.
        Call::Audit { .. } => Touch::all("compare all passwords", "with those of"),
        Call::PreviewImport { .. } => Touch::all("compare an import", "with"),
        Call::Export { .. } => Touch::all("export the whole vault", "with"),
        Call::ChangePassphrase { .. } => Touch::all("change the passphrase", "of a vault with"),
        Call::SecretValues { .. } => Touch::all("look for all values in files", "with those of"),
        Call::FolderKey => Touch::all("read the key of the shared folder", "of a vault with"),
        Call::SyncKey => Touch::all("read the sync key", "of a vault with"),
        Call::Sync {
            request: SyncRequest { consent, .. },
        }
        | Call::Rotate { consent, .. }
        | Call::Upgrade { consent }
            if consent.takes_guard() =>
        {
            Touch::all("take the guard by a sync", "from records such as")
        }
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
    /// Asks a person about guarded records. What they refuse is logged; what they agree to is returned.
    fn agree(
        &self,
        caller: &Caller<'_>,
        deed: Deed,
        records: Vec<String>,
        guarded: Vec<Guarded>,
        asking: impl FnOnce(&Question),
        is_gone: impl Fn() -> bool,
    ) -> Result<AgreedUse, Problem> {
        let Deed { what, may_last } = deed;
        let mut agreed = Ok(());
        let mut used = None;
        if !guarded.is_empty() {
            let used = used.insert(Use {
                peer: caller.peer.clone(),
                vault: caller.vault.to_owned(),
                records: guarded,
                what: what.clone(),
                reason: caller.reason.clone(),
                may_last,
            });
            let window = self.vaults.window(caller.vault);
            agreed = self.consents.ask(used, window, self.now(), asking, is_gone);
        }
        let entry = entry(caller, what, records, agreed.is_ok());
        match agreed {
            Ok(()) => Ok(AgreedUse { entry, used }),
            Err(problem) => {
                self.vaults.log(caller.vault, &entry);
                Err(problem)
            }
        }
    }

    /// Asks before a call that hands out or changes more than it can tell afterwards.
    pub(super) fn agree_before(
        &self,
        caller: &Caller<'_>,
        settings: &SyncSettings,
        call: &Call,
        client: &ClientStream,
    ) -> io::Result<Reply<Pass>> {
        let Some(touch) = touch_of(call) else {
            return Ok(Ok(Pass::to_nothing_guarded()));
        };
        let of = |session: &mut Session| {
            let vault = session.vault();
            Ok((guarded(vault, &touch.touched), named(vault, &touch.touched)))
        };
        let looked = self
            .vaults
            .call(caller.vault, settings.clone(), || self.now(), of);
        let (guarded, named) = match looked {
            Ok(found) => found,
            Err(halt) => return Ok(Err(halt)),
        };
        let what = touch.what(!guarded.is_empty());
        let mut pass = Pass {
            agreed: guarded.iter().map(|guarded| guarded.id.clone()).collect(),
            touched: touch.touched,
            agreed_use: None,
        };
        // A change of what nobody guards is in the history of the vault.
        if matches!(call, Call::Change { .. }) && guarded.is_empty() {
            return Ok(Ok(pass));
        }
        let records = match named.is_empty() {
            true => guarded.iter().map(|one| one.path.clone()).collect(),
            false => named,
        };
        let mut sent = Ok(());
        let is_change = matches!(call, Call::Change { .. });
        let agreed = self.agree(
            caller,
            Deed {
                what,
                may_last: !is_change && pass.touched != Touched::All,
            },
            records,
            guarded,
            |question| {
                sent = client.tell(&Told::Asking(question));
            },
            || client.has_ended(),
        );
        sent?;
        Ok(agreed.map_err(Halt::from).map(|agreed| {
            pass.agreed_use = Some(agreed);
            pass
        }))
    }

    /// Logs a use that came through. One that asks something else first needs no other agreement.
    pub(super) fn log_use<T>(&self, vault: &Path, agreed: Option<AgreedUse>, reply: &Reply<T>) {
        match (agreed, reply) {
            (Some(agreed), Ok(_)) => self.vaults.log(vault, &agreed.entry),
            (
                Some(AgreedUse {
                    used: Some(used), ..
                }),
                Err(Halt::Needs(_)),
            ) => {
                self.consents.keep_unused(used, self.now());
            }
            _ => {}
        }
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
        let mut sent = Ok(());
        let agreed = self.agree(
            caller,
            Deed::that_may_last("read".to_owned()),
            named.collect(),
            guarded,
            |question| {
                sent = client.tell(&Told::Asking(question));
            },
            || client.has_ended(),
        );
        sent?;
        Ok(agreed.map_err(Halt::from).map(|agreed| {
            self.vaults.log(caller.vault, &agreed.entry);
            records
        }))
    }
}

/// What the log says of a use.
fn entry(caller: &Caller<'_>, what: String, records: Vec<String>, allowed: bool) -> UseEntry {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    UseEntry {
        time: time.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(0)),
        what,
        records,
        by: caller.peer.to_string(),
        reason: caller.reason.clone(),
        allowed,
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
        let from_elsewhere = "it came from another machine";
        let caller = Caller {
            peer: &used.peer,
            vault: &used.vault,
            reason: used.is_forwarded.then(|| from_elsewhere.to_owned()),
        };
        let records = vec![used.record.clone()];
        let guarded = used.guarded.iter().cloned().collect();
        let what = used.purpose.text();
        if used.is_forwarded {
            let refused = entry(&caller, what, records, false);
            agent.vaults.log(&used.vault, &refused);
            return false;
        }
        let agreed = agent.agree(
            &caller,
            Deed::that_may_last(what),
            records,
            guarded,
            |_| {},
            || has_ended(stream),
        );
        agreed.is_ok_and(|agreed| {
            agent.vaults.log(&used.vault, &agreed.entry);
            true
        })
    }
}
