//! What every command works with.

use std::path::PathBuf;

use passmate_agent::client::{Agent, Breaker, Client};
use passmate_agent::consent;
use passmate_agent::place::AgentPlace;
use passmate_agent::wire::{SyncStatus, VaultStatus};
use passmate_core::adopt::{self, Original};
use passmate_core::answer::{Consent, Halt, Need, Place, Question, Reply};
use passmate_core::api::VaultApi;
use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::recover;
use passmate_core::session::{OpenFor, VaultLocation};
use passmate_core::settings::{ClipboardSettings, Holding, SyncSettings};
use passmate_core::sync::HeldBack;
use passmate_core::sync_all::SyncOutcome;
use passmate_vault::Passphrase;
use passmate_vault::format::container::Params;

use crate::agent_start::start as start_agent;
use crate::held;
use crate::output::Output;
use crate::prompt::{Ask, PassphraseSource};

/// How often a person may mistype the passphrase before the last try.
const TRIES_LEFT: u32 = 2;

/// How many held back records a question names.
const LINES_MAX: usize = 12;

/// What a person says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Agreed,
    /// Not now and not later: what it brought is purged.
    Refused,
}

/// What a command works with.
pub(crate) struct App {
    pub(crate) location: VaultLocation,
    /// The key derivation of what is written.
    pub(crate) cost: Params,
    pub(crate) ask: Ask,
    pub(crate) out: Output,
    /// The profile, or the vault's path; `None` for the default vault.
    pub(crate) vault_name: Option<String>,
    /// The person named no other vault or profile.
    pub(crate) is_default_vault: bool,
    pub(crate) sync: SyncSettings,
    /// What the agent does with the vault.
    pub(crate) holding: Holding,
    /// Why the command needs what it needs.
    pub(crate) reason: Option<String>,
    /// How a value is copied.
    pub(crate) clipboard: ClipboardSettings,
    /// The service that knows breached passwords.
    pub(crate) breach_url: String,
    /// Whether a passphrase that a person types starts the agent.
    pub(crate) starts_agent: bool,
}

/// Called when a person is asked about a guarded record.
pub(crate) type Asking = Box<dyn FnMut(&consent::Question) + Send>;

/// An unlocked vault whose calls may be given up.
pub(crate) struct Opened {
    pub(crate) vault: Box<dyn VaultApi>,
    /// Gives up the call that is under way; `None` if the vault is in this process, where no call
    /// waits for a person.
    pub(crate) breaker: Option<Breaker>,
}

impl From<Client> for Opened {
    fn from(client: Client) -> Self {
        let breaker = client.breaker();
        let vault = Box::new(client);
        Self { vault, breaker }
    }
}

impl App {
    /// The unlocked vault: that of the agent if one runs, else one in this process.
    pub(crate) fn open(&self) -> Result<Box<dyn VaultApi>, Problem> {
        self.open_for(OpenFor::Reading)
    }

    /// The unlocked vault, for a command that changes it: its save will not take as long.
    pub(crate) fn open_to_change(&self) -> Result<Box<dyn VaultApi>, Problem> {
        self.open_for(OpenFor::Changing)
    }

    fn open_for(&self, what: OpenFor) -> Result<Box<dyn VaultApi>, Problem> {
        // A vault that the agent holds needs no look at its file.
        match self.open_in_agent(self.asking())? {
            Some(vault) => Ok(Box::new(vault)),
            None => {
                self.check_vault()?;
                self.open_here(what)
            }
        }
    }

    /// The unlocked vault, for a program that shows by itself what a person is asked.
    pub(crate) fn open_asking(&self, asking: Asking) -> Result<Opened, Problem> {
        if let Some(vault) = self.open_in_agent(asking)? {
            return Ok(vault.into());
        }
        self.check_vault()?;
        let vault = self.open_here(OpenFor::Changing)?;
        let breaker = None;
        Ok(Opened { vault, breaker })
    }

    /// The vault of the agent once more, beside a call that takes long; `None` if the agent does not
    /// hold it. Nobody is asked for a passphrase.
    pub(crate) fn open_beside(&self, asking: Asking) -> Option<Opened> {
        let agent = Agent::connect(&AgentPlace::of_user()?).ok().flatten()?;
        let vault = agent.vault(self.location.path(), self.sync_in_agent());
        let mut vault = vault.ok()?;
        vault.look().ok().flatten()?;
        Some(vault.with_reason(self.reason.clone(), asking).into())
    }

    /// Tells on standard error that a person is asked.
    fn asking(&self) -> Asking {
        let out = self.out.clone();
        Box::new(move |question| out.warn(&asking_text(question)))
    }

    /// The vault, unlocked in this process by a person who knows its passphrase. Whoever types a
    /// wrong one may try again.
    pub(crate) fn open_with_passphrase(&self) -> Result<Box<dyn VaultApi>, Problem> {
        self.check_vault()?;
        let nobody_types =
            self.ask.passphrase == PassphraseSource::Terminal && !self.ask.can_type_passphrase();
        self.open_here(OpenFor::Reading).map_err(|problem| {
            match nobody_types && problem.kind == ProblemKind::Locked {
                // Unlocking it in the agent would not help.
                true => problem.with_hint(
                    "run it on a terminal, or give --passphrase-file or --passphrase-command: this \
                     needs the passphrase though the vault may be unlocked",
                ),
                false => problem,
            }
        })
    }

    /// The vault of the agent; `None` if the command does without. A person who is asked for the
    /// passphrase unlocks it in the agent, which is started for that. A passphrase that comes from
    /// elsewhere, such as a file, is for one command alone.
    fn open_in_agent(&self, asking: Asking) -> Result<Option<Client>, Problem> {
        let Some(place) = AgentPlace::of_user() else {
            return Ok(None);
        };
        let is_typed = self.ask.can_type_passphrase();
        let agent = match Agent::connect(&place) {
            Ok(None) if is_typed && self.starts_agent => {
                self.check_vault()?;
                start_agent(&place).map(Some)
            }
            agent => agent,
        };
        let vault = agent.and_then(|agent| {
            let vault = agent.map(|agent| agent.vault(self.location.path(), self.sync_in_agent()));
            vault.transpose()
        });
        let looked = vault.and_then(|vault| {
            let Some(mut vault) = vault else {
                return Ok(None);
            };
            let status = vault.look()?;
            Ok(Some((vault, status)))
        });
        let (mut vault, status) = match looked {
            Ok(Some(looked)) => looked,
            Ok(None) => return Ok(None),
            Err(problem) => {
                let message = escape(&problem.message);
                self.out
                    .warn(&format!("this command does without the agent: {message}"));
                return Ok(None);
            }
        };
        match status {
            Some(status) => self.tell_of_sync(&status.sync),
            None if !is_typed => return Ok(None),
            None => {
                self.check_vault()?;
                self.with_passphrase(|passphrase| vault.unlock(passphrase, &self.holding))?;
            }
        }
        Ok(Some(vault.with_reason(self.reason.clone(), asking)))
    }

    /// Lets the agent hold the vault under a passphrase that was typed just now, so that nobody has
    /// to type it again. It is started if `starts` says so. Returns whether it does.
    pub(crate) fn let_agent_hold(&self, passphrase: &Passphrase, starts: bool) -> bool {
        let Some(place) = AgentPlace::of_user() else {
            return false;
        };
        let hold = || {
            let agent = match Agent::connect(&place)? {
                None if starts => Some(start_agent(&place)?),
                agent => agent,
            };
            agent.map_or(Ok(false), |mut agent| {
                agent.unlock(self.location.path(), passphrase, &self.holding)?;
                Ok(true)
            })
        };
        hold().unwrap_or_else(|problem: Problem| {
            let message = escape(&problem.message);
            self.out
                .warn(&format!("the agent does not hold the vault: {message}"));
            false
        })
    }

    /// How the agent holds the vault, if it does.
    pub(crate) fn look_in_agent(&self) -> Option<VaultStatus> {
        let agent = Agent::connect(&AgentPlace::of_user()?).ok().flatten()?;
        let vault = agent.vault(self.location.path(), self.sync_in_agent());
        vault.ok()?.look().ok().flatten()
    }

    /// A change need not wait for a sync that the agent does in the background.
    fn sync_in_agent(&self) -> SyncSettings {
        SyncSettings {
            auto: self.sync.auto && self.holding.sync_every.is_none(),
            ..self.sync.clone()
        }
    }

    /// Tells a person what the agent could not do without one.
    fn tell_of_sync(&self, sync: &SyncStatus) {
        if !self.ask.has_person() {
            return;
        }
        if let Some((_, SyncOutcome::Waits(problem))) = &sync.last {
            let message = escape(&problem.message);
            self.out.warn(&format!(
                "a sync in the background waits for you: {message}; `passmate sync` asks"
            ));
        }
    }

    fn check_vault(&self) -> Result<(), Problem> {
        // Nobody should type a passphrase for a vault that does not exist.
        recover::check(&self.location).map_err(|problem| {
            if self.location.exists()
                || !recover::find(&self.location).is_empty()
                || self.originals().is_empty()
            {
                return problem;
            }
            problem.with_hint(
                "`passmate init` makes one, and offers to import what the original program has",
            )
        })
    }

    fn open_here(&self, what: OpenFor) -> Result<Box<dyn VaultApi>, Problem> {
        let session = self.with_passphrase(|passphrase| {
            recover::open(what, self.location.clone(), passphrase.clone())
        })?;
        Ok(Box::new(session.with_sync_settings(self.sync.clone())))
    }

    /// Makes a call with the master passphrase. Whoever types a wrong one may try again.
    pub(crate) fn with_passphrase<T>(
        &self,
        mut call: impl FnMut(&Passphrase) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let mut prompt = match &self.vault_name {
            Some(name) => format!("Master passphrase of {name}: "),
            None => "Master passphrase: ".to_owned(),
        };
        let mut tries_left = match self.ask.passphrase {
            PassphraseSource::Terminal => TRIES_LEFT,
            _ => 0,
        };
        loop {
            let passphrase = self.ask.passphrase(&prompt)?;
            match call(&passphrase) {
                Err(problem) if problem.kind == ProblemKind::WrongPassphrase && tries_left > 0 => {
                    self.out.warn("wrong passphrase, try again");
                    if !self.ask.has_person() {
                        // A window shows this alone.
                        prompt = format!("Wrong passphrase. {prompt}");
                    }
                    tries_left -= 1;
                }
                Err(problem) if problem.kind == ProblemKind::WrongPassphrase => {
                    return Err(match self.ask.passphrase.origin() {
                        Some(origin) => problem.with_hint(format!(
                            "check {origin}, and whether this is the vault you mean"
                        )),
                        None => problem,
                    });
                }
                done => return done,
            }
        }
    }

    /// What the original programs left for a person who named no vault.
    pub(crate) fn originals(&self) -> Vec<Original> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        home.filter(|home| home.is_absolute() && self.is_default_vault)
            .map(|home| adopt::find(&home))
            .unwrap_or_default()
    }

    /// What the person agreed to beforehand.
    pub(crate) fn consent(&self) -> Consent {
        if self.ask.yes {
            Consent::to_everything()
        } else {
            Consent::none()
        }
    }

    /// Makes a call, asks what it asks, and makes it again with the answer.
    pub(crate) fn with_consent<T>(
        &self,
        mut call: impl FnMut(&Consent) -> Reply<T>,
    ) -> Result<T, Problem> {
        let mut consent = self.consent();
        loop {
            match call(&consent) {
                Err(Halt::Needs(Need::Confirmation(question))) => {
                    match self.ask_about(&question)? {
                        Answer::Agreed => consent.give(question),
                        Answer::Refused => consent.refuse(question),
                    }
                }
                reply => return reply.map_err(Halt::into_problem),
            }
        }
    }

    /// Asks a person.
    ///
    /// # Errors
    /// They want neither, or there is nobody to ask.
    pub(crate) fn ask_about(&self, question: &Question) -> Result<Answer, Problem> {
        match question {
            Question::HeldBack { place, held }
                if self.ask.has_person() && (!self.ask.yes || held.takes_guard()) =>
            {
                self.out.warn(&question.to_string());
                self.ask_about_held(place, held)
            }
            Question::HeldBack { .. } => Err(Need::Confirmation(question.clone()).into()),
            Question::ReplaceRemote { why } => {
                self.out.warn(&why.message);
                self.confirm_replace().map(|()| Answer::Agreed)
            }
            _ if !self.ask.has_person() && !self.ask.yes => {
                Err(Need::Confirmation(question.clone()).into())
            }
            _ => {
                let asked = self.ask.confirm(&question.to_string());
                asked.map(|()| Answer::Agreed)
            }
        }
    }

    fn ask_about_held(&self, place: &Place, held: &HeldBack) -> Result<Answer, Problem> {
        let lines = held::lines(held);
        let can_be_refused = place.can_be_refused();
        // Nothing else lists what a file would do.
        let shown = if can_be_refused {
            LINES_MAX
        } else {
            lines.len()
        };
        for line in lines.iter().take(shown) {
            self.out.note(line);
        }
        if let Some(more) = lines.len().checked_sub(shown).filter(|more| *more > 0) {
            self.out.note(&format!(
                "and {more} more: `passmate sync --held` lists all"
            ));
        }
        if !can_be_refused {
            let asked = self.ask.confirm("Go on?");
            return asked.map(|()| Answer::Agreed);
        }
        loop {
            let typed = self
                .ask
                .line("Accept it (y), refuse it for good (r), or leave it for later (Enter)? ")?;
            match typed.to_lowercase().as_str() {
                "y" | "yes" => return Ok(Answer::Agreed),
                "r" | "refuse" => return Ok(Answer::Refused),
                "" | "n" | "no" => break,
                _ => self.out.warn("type y, r or Enter"),
            }
        }
        Err(Problem::new(
            ProblemKind::Cancelled,
            format!(
                "what comes from {} was left for later",
                escape(&place.to_string())
            ),
            "no record was changed by it; if a device was lost or stolen, run `passmate sync rotate \
             --lost`",
        ))
    }

    /// What is on the server is gone for good after this, so a mere yes is not enough.
    fn confirm_replace(&self) -> Result<(), Problem> {
        const WORD: &str = "replace";
        let cancelled =
            |message: &str| Problem::new(ProblemKind::Cancelled, message, "nothing was changed");
        if !self.ask.has_person() {
            return Err(cancelled(
                "--replace-remote wants a word typed in on a terminal",
            ));
        }
        let typed = self.ask.line(&format!(
            "What the server has will be gone. Type {WORD} to store this vault there: "
        ))?;
        if typed.as_str() == WORD {
            Ok(())
        } else {
            Err(cancelled("cancelled"))
        }
    }

    /// The answer of a command that has none: an empty object where JSON is wanted.
    pub(crate) fn done(&self) -> Result<(), Problem> {
        self.out.done()
    }
}

/// What a person reads while a program waits for an agreement.
pub(crate) fn asking_text(question: &consent::Question) -> String {
    let text = escape(&question.text);
    let how = match question.has_window {
        true => "Answer in the window, or with `passmate agent approve` in another terminal.",
        false => "Answer with `passmate agent approve` in another terminal.",
    };
    format!("a person must agree: {text} {how}")
}
