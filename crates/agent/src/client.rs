//! A vault that an agent holds.

use std::fmt;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use passmate_core::answer::{Consent, Halt, Reply};
use passmate_core::api::{Changed, ChangedPassphrase, LastSyncs, OneTimeCode, Standing, VaultApi};
use passmate_core::audit::{Audit, AuditRules};
use passmate_core::edit::{Edit, Edited};
use passmate_core::export::{ExportForm, Exported};
use passmate_core::generate::site::SiteRule;
use passmate_core::history::HistoryEntry;
use passmate_core::interchange::{Applied, Format, Imported};
use passmate_core::leak::scan::SecretValue;
use passmate_core::log_n::LogN;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::records::{DeletedEntry, RecordContent, RecordEntry, Which};
use passmate_core::search::Match;
use passmate_core::settings::{Holding, SyncSettings};
use passmate_core::share::link::Link;
use passmate_core::shared_folder::{FolderReport, Sealing};
use passmate_core::sync::{Reason, Report, SameKey};
use passmate_core::sync_all::{SyncAnswer, SyncPreview, SyncRequest, Synced};
use passmate_core::sync_setup::{ServerSetup, Ties, Untie, Untied};
use passmate_core::use_log::UseLog;
use passmate_proto::RequestCode;
use passmate_vault::{FolderKey, Passphrase, Pin, Trust};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::consent::Question;
use crate::dialogs::Decision;
use crate::place::AgentPlace;
use crate::wire::{
    Answer, Call, END, GO_ON, Request, SILENCE_MAX, Status, VERSION, VaultStatus, read_frame,
    read_hello, read_len, write_frame, write_hello,
};

/// How long the agent may take for a hello. One that is stopped takes for ever.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);
/// How often a connection that breaks at once is tried again: that of an agent that was killed does,
/// until the system has taken its socket away.
const RESETS_MAX: usize = 10;
/// The pause before that.
const RESET_PAUSE: Duration = Duration::from_millis(50);
/// How long a call may take: an import or a sync may be long, and other calls may be before it.
const CALL_MAX: Duration = Duration::from_mins(15);

/// A connection to the user's agent.
#[derive(Debug)]
pub struct Agent {
    place: AgentPlace,
    /// `None` once it broke.
    stream: Option<UnixStream>,
}

impl Agent {
    /// Connects to the user's agent; `None` if none runs. An agent of another version is told to
    /// lock all vaults and to end, and counts as none.
    ///
    /// # Errors
    /// The agent's folder is not safe, or the agent does not answer.
    pub fn connect(place: &AgentPlace) -> Result<Option<Self>, Problem> {
        for _ in 0..RESETS_MAX {
            match place.connect()?.map(greet) {
                None | Some(Ok(None)) => return Ok(None),
                Some(Ok(stream)) => {
                    let place = place.clone();
                    return Ok(Some(Self { place, stream }));
                }
                Some(Err(error)) if is_reset(&error) => thread::sleep(RESET_PAUSE),
                Some(Err(error)) if is_silence(&error) => return Err(silent(place.process(), "")),
                Some(Err(error)) => return Err(broken(place, &error)),
            }
        }
        Err(broken(place, &io::ErrorKind::ConnectionReset.into()))
    }

    /// Lets the agent hold a vault.
    ///
    /// # Errors
    /// The vault does not open, or the connection broke.
    pub fn unlock(
        &mut self,
        vault: &Path,
        passphrase: &Passphrase,
        holding: &Holding,
    ) -> Result<(), Problem> {
        self.ask(&Request::Unlock {
            vault: absolute(vault)?,
            passphrase: passphrase.clone(),
            holding: holding.clone(),
        })
    }

    /// Locks a vault, or all.
    ///
    /// # Errors
    /// The connection broke.
    pub fn lock(&mut self, vault: Option<&Path>) -> Result<(), Problem> {
        let vault = vault.map(absolute).transpose()?;
        self.ask(&Request::Lock { vault })
    }

    /// What the agent holds.
    ///
    /// # Errors
    /// The connection broke.
    pub fn status(&mut self) -> Result<Status, Problem> {
        self.ask(&Request::Status)
    }

    /// The questions about guarded records that wait for a person.
    ///
    /// # Errors
    /// The connection broke.
    pub fn questions(&mut self) -> Result<Vec<Question>, Problem> {
        self.ask(&Request::Questions)
    }

    /// Answers a question. Only to refuse it, the master passphrase of its vault is not needed.
    ///
    /// # Errors
    /// The passphrase is wrong or missing, nobody waits for the answer any more, or the connection broke.
    pub fn answer(
        &mut self,
        number: u64,
        decision: Decision,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), Problem> {
        self.ask(&Request::Answer {
            number,
            decision,
            passphrase: passphrase.cloned(),
        })
    }

    /// Locks all vaults and ends the agent.
    ///
    /// # Errors
    /// The connection broke.
    pub fn end(&mut self) -> Result<(), Problem> {
        self.ask(&Request::End)
    }

    /// A vault of the agent. It may be locked.
    ///
    /// # Errors
    /// The vault's path cannot be told to the agent.
    pub fn vault(self, vault: &Path, settings: SyncSettings) -> Result<Client, Problem> {
        Ok(Client {
            agent: self,
            vault: absolute(vault)?,
            settings,
            reason: None,
            asking: None,
        })
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, Problem> {
        self.call(request, &mut |_| {}, None)
            .map_err(Halt::into_problem)
    }

    fn call<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        saved: &mut dyn FnMut(&Edited),
        asking: Option<&mut Asking>,
    ) -> Reply<T> {
        let stream = self.stream.take();
        let mut stream =
            stream.ok_or_else(|| broken(&self.place, &io::ErrorKind::NotConnected.into()))?;
        let reply = exchange(&mut stream, request, saved, asking)
            .map_err(|error| broken(&self.place, &error))?;
        self.stream = Some(stream);
        reply
    }
}

fn exchange<T: DeserializeOwned>(
    stream: &mut UnixStream,
    request: &Request,
    saved: &mut dyn FnMut(&Edited),
    mut asking: Option<&mut Asking>,
) -> io::Result<Reply<T>> {
    write_frame(stream, request)?;
    let begun = Instant::now();
    while begun.elapsed() < CALL_MAX {
        let len = read_len(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        match read_frame(stream, len)? {
            Answer::Alive => {}
            Answer::Asking(question) => {
                if let Some(asking) = &mut asking {
                    asking(&question);
                }
            }
            Answer::Saved(edited) => saved(&edited),
            Answer::Done(reply) => return Ok(reply),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Says hello; `None` if the agent is of another version, which ends then.
fn greet(mut stream: UnixStream) -> io::Result<Option<UnixStream>> {
    stream.set_read_timeout(Some(HELLO_PATIENCE))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    write_hello(&mut stream, VERSION)?;
    let version = read_hello(&mut stream)?;
    let choice = if version == VERSION { GO_ON } else { END };
    stream.write_all(&[choice])?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    Ok((version == VERSION).then_some(stream))
}

fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

fn broken(place: &AgentPlace, error: &io::Error) -> Problem {
    if is_silence(error) {
        let saved = "; a change that was under way may be saved or not";
        return silent(place.process(), saved);
    }
    Problem::new(
        ProblemKind::Other,
        format!("the connection to the agent broke: {error}"),
        "run it again; a change that was under way may be saved or not, and `passmate history` \
         tells; `passmate agent status` says whether the agent runs",
    )
}

/// An agent that is stopped, or that the system keeps from running.
fn silent(process: Option<u32>, change: &str) -> Problem {
    let (message, hint) = match process {
        Some(process) => (
            format!("the agent (process {process}) does not answer"),
            format!(
                "if it was stopped, `kill -CONT {process}` lets it go on; `kill -9 {process}` ends \
                 it, and with it what it holds unlocked{change}"
            ),
        ),
        None => (
            "the agent does not answer".to_owned(),
            format!("end its process, `passmate agent run`{change}"),
        ),
    };
    Problem::new(ProblemKind::Other, message, hint)
}

/// The agent has another working folder.
fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    let path = std::path::absolute(path).map_err(|error| {
        Problem::new(
            ProblemKind::File,
            format!("the working folder cannot be told: {error}"),
            "name the file by its whole path",
        )
    })?;
    if path.to_str().is_some() {
        return Ok(path);
    }
    Err(Problem::usage(
        "the agent cannot hold a vault whose path is not UTF-8 text",
        "give the file another name, or end the agent with `passmate agent stop`",
    ))
}

/// Breaks the connection of a [`Client`] from another thread. A call that waits for a person is not
/// made then: its question is withdrawn.
#[derive(Debug)]
pub struct Breaker(UnixStream);

impl Breaker {
    /// Breaks the connection.
    pub fn break_off(self) {
        // One that is broken already needs nothing.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// A vault that an agent holds.
pub struct Client {
    agent: Agent,
    vault: PathBuf,
    settings: SyncSettings,
    reason: Option<String>,
    asking: Option<Box<Asking>>,
}

/// Called with a question before a person is asked.
type Asking = dyn FnMut(&Question) + Send;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("vault", &self.vault)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// The same vault, with a reason for the person who is asked about a use, and what to do while
    /// they are.
    #[must_use]
    pub fn with_reason(
        self,
        reason: Option<String>,
        asking: impl FnMut(&Question) + Send + 'static,
    ) -> Self {
        Self {
            reason,
            asking: Some(Box::new(asking)),
            ..self
        }
    }

    /// What breaks the connection while a call is under way; `None` if it is broken already.
    #[must_use]
    pub fn breaker(&self) -> Option<Breaker> {
        let stream = self.agent.stream.as_ref()?;
        stream.try_clone().ok().map(Breaker)
    }

    /// Unlocks the vault in the agent.
    ///
    /// # Errors
    /// The vault does not open, or the connection broke.
    pub fn unlock(&mut self, passphrase: &Passphrase, holding: &Holding) -> Result<(), Problem> {
        self.agent.unlock(&self.vault, passphrase, holding)
    }

    /// How the agent holds the vault; `None` if it is locked.
    ///
    /// # Errors
    /// The connection broke.
    pub fn look(&mut self) -> Result<Option<VaultStatus>, Problem> {
        self.agent.ask(&Request::Look {
            vault: self.vault.clone(),
        })
    }

    /// Counts the vault as used, so that it stays unlocked as after a command. Returns whether it is
    /// unlocked.
    ///
    /// # Errors
    /// The connection broke.
    pub fn note_use(&mut self) -> Result<bool, Problem> {
        self.agent.ask(&Request::Use {
            vault: self.vault.clone(),
        })
    }

    fn call<T: DeserializeOwned>(&mut self, call: Call) -> Reply<T> {
        self.call_with(call, &mut |_| {})
    }

    fn call_with<T: DeserializeOwned>(
        &mut self,
        call: Call,
        saved: &mut dyn FnMut(&Edited),
    ) -> Reply<T> {
        let request = Request::Call {
            vault: self.vault.clone(),
            settings: self.settings.clone(),
            reason: self.reason.clone(),
            call: Box::new(call),
        };
        let asking = self.asking.as_deref_mut();
        self.agent.call(&request, saved, asking)
    }
}

impl VaultApi for Client {
    fn list(&mut self) -> Reply<Vec<RecordEntry>> {
        self.call(Call::List)
    }

    fn uses(&mut self) -> Reply<UseLog> {
        self.call(Call::Uses)
    }

    fn trash(&mut self) -> Reply<Vec<DeletedEntry>> {
        self.call(Call::Trash)
    }

    fn record(&mut self, path: &str) -> Reply<RecordContent> {
        self.call(Call::Record { path: path.into() })
    }

    fn records(&mut self, which: &Which) -> Reply<Vec<RecordContent>> {
        let which = which.clone();
        self.call(Call::Records { which })
    }

    fn secret_values(&mut self, with_former: bool) -> Reply<Vec<SecretValue>> {
        self.call(Call::SecretValues { with_former })
    }

    fn fields(&mut self, path: &str) -> Reply<Vec<String>> {
        self.call(Call::Fields { path: path.into() })
    }

    fn search(&mut self, query: &str, max: usize) -> Reply<Vec<Match>> {
        let query = query.into();
        self.call(Call::Search { query, max })
    }

    fn continuations(&mut self, begin: &str) -> Reply<Vec<String>> {
        let begin = begin.into();
        self.call(Call::Continuations { begin })
    }

    fn history(&mut self, path: &str, field: Option<&str>) -> Reply<Vec<HistoryEntry>> {
        let (path, field) = (path.into(), field.map(Into::into));
        self.call(Call::History { path, field })
    }

    fn one_time_code(&mut self, path: &str, field: Option<&str>) -> Reply<OneTimeCode> {
        let (path, field) = (path.into(), field.map(Into::into));
        self.call(Call::OneTimeCode { path, field })
    }

    fn password_rule(&mut self, path: &str) -> Reply<Option<SiteRule>> {
        self.call(Call::PasswordRule { path: path.into() })
    }

    fn qr_text(&mut self, path: &str, field: Option<&str>) -> Reply<Zeroizing<String>> {
        let (path, field) = (path.into(), field.map(Into::into));
        self.call(Call::QrText { path, field })
    }

    fn audit(&mut self, rules: &AuditRules) -> Reply<Audit> {
        // The agent has another working folder.
        let breached = rules.breached.as_deref().map(absolute).transpose()?;
        let rules = AuditRules {
            breached,
            ..rules.clone()
        };
        self.call(Call::Audit { rules })
    }

    fn change(
        &mut self,
        change: &Edit,
        consent: &Consent,
        saved: &mut dyn FnMut(&Edited),
    ) -> Reply<Changed> {
        let (change, consent) = (change.clone(), consent.clone());
        self.call_with(Call::Change { change, consent }, saved)
    }

    fn preview_import(&mut self, format: Format, imported: &Imported) -> Reply<Applied> {
        let imported = imported.clone();
        self.call(Call::PreviewImport { format, imported })
    }

    fn export(&mut self, form: ExportForm) -> Reply<Exported> {
        self.call(Call::Export { form })
    }

    fn change_passphrase(
        &mut self,
        passphrase: Option<&Passphrase>,
        log_n: Option<LogN>,
    ) -> Reply<ChangedPassphrase> {
        let passphrase = passphrase.cloned();
        self.call(Call::ChangePassphrase { passphrase, log_n })
    }

    fn sync(&mut self, request: &SyncRequest) -> Reply<SyncAnswer> {
        let request = request.clone();
        self.call(Call::Sync { request })
    }

    fn preview_sync(&mut self) -> Reply<SyncPreview> {
        self.call(Call::PreviewSync)
    }

    fn last_syncs(&mut self) -> Reply<LastSyncs> {
        self.call(Call::LastSyncs)
    }

    fn standing(&mut self) -> Reply<Standing> {
        self.call(Call::Standing)
    }

    fn ties(&mut self) -> Reply<Ties> {
        self.call(Call::Ties)
    }

    fn set_up_server(&mut self, setup: &ServerSetup) -> Reply<Synced<Report>> {
        let setup = setup.clone();
        self.call(Call::SetUpServer { setup })
    }

    fn set_up_again(&mut self, trust: Option<&Trust>) -> Reply<(SameKey, Synced<Report>)> {
        let trust = trust.cloned();
        self.call(Call::SetUpAgain { trust })
    }

    fn request_account(&mut self, setup: &ServerSetup) -> Reply<RequestCode> {
        let setup = setup.clone();
        self.call(Call::RequestAccount { setup })
    }

    fn set_up_folder(
        &mut self,
        folder: &Path,
        sealing: &Sealing,
        request: &SyncRequest,
    ) -> Reply<Synced<FolderReport>> {
        self.call(Call::SetUpFolder {
            folder: absolute(folder)?,
            sealing: sealing.clone(),
            request: request.clone(),
        })
    }

    fn folder_key(&mut self) -> Reply<FolderKey> {
        self.call(Call::FolderKey)
    }

    fn sync_key(&mut self) -> Reply<Link> {
        self.call(Call::SyncKey)
    }

    fn trust_next(&mut self, pin: Pin) -> Reply<Trust> {
        self.call(Call::TrustNext { pin })
    }

    fn rotate(
        &mut self,
        reason: Reason,
        keep_since: Option<i64>,
        consent: &Consent,
    ) -> Reply<Synced<Report>> {
        self.call(Call::Rotate {
            reason,
            keep_since,
            consent: consent.clone(),
        })
    }

    fn upgrade(&mut self, consent: &Consent) -> Reply<(bool, Synced<Report>)> {
        let consent = consent.clone();
        self.call(Call::Upgrade { consent })
    }

    fn untie(&mut self, what: Untie, delete: bool, consent: &Consent) -> Reply<Untied> {
        self.call(Call::Untie {
            what,
            delete,
            consent: consent.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::write_frame;

    #[test]
    fn signs_of_life_are_waited_through_and_silence_names_the_process() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        for _ in 0..3 {
            write_frame(&mut theirs, &Answer::<u8>::Alive).unwrap();
        }
        write_frame(&mut theirs, &Answer::<u8>::Done(Ok(7))).unwrap();
        let mut ask = || exchange::<u8>(&mut ours, &Request::Status, &mut |_| {}, None);
        assert_eq!(ask().unwrap().unwrap(), 7);
        theirs.set_nonblocking(true).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let place = AgentPlace::at(dir.path().join("agent"));
        let _listening = place.listen().unwrap();
        ours.set_nonblocking(true).unwrap();
        let error = exchange::<u8>(&mut ours, &Request::Status, &mut |_| {}, None).unwrap_err();
        let problem = broken(&place, &error);
        let process = std::process::id();
        assert_eq!(
            problem.message,
            format!("the agent (process {process}) does not answer")
        );
        assert!(problem.hint.contains(&format!("kill -9 {process}")));
    }
}
