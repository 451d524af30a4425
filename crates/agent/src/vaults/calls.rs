//! Calls of unlocked vaults: which wait for each other, and which work on a second session.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::MutexGuard;
use passmate_core::answer::{Halt, Need, Reply};
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::session::{Session, SessionError};
use passmate_core::settings::SyncSettings;

use super::Vaults;
use super::held::Held;
use crate::background::Places;

impl Vaults {
    /// Makes a call with a vault that is unlocked. Other calls of the vault wait until it ends.
    ///
    /// # Errors
    /// [`Need::Locked`], the call's own, or that it panicked.
    pub fn call<T>(
        &self,
        vault: &Path,
        settings: SyncSettings,
        now: impl Fn() -> Duration,
        call: impl FnOnce(&mut Session) -> Reply<T>,
    ) -> Reply<T> {
        let held = self.used(vault, &now)?;
        let (mut slot, mut session) = self.take(&held, settings, &now)?;
        let reply = self.guard(&held, || call(&mut session))?;
        held.times.lock().used = now();
        if !held.is_locked() {
            session.prepare_save();
            *slot = Some(session);
        }
        reply
    }

    /// Makes a call that may wait for a network. It gets a second session of the vault, so that
    /// other calls go on meanwhile.
    ///
    /// # Errors
    /// As those of [`call`](Self::call).
    pub fn call_apart<T>(
        &self,
        vault: &Path,
        settings: SyncSettings,
        now: impl Fn() -> Duration,
        call: impl FnOnce(&mut Session) -> Reply<T>,
    ) -> Reply<T> {
        let held = self.used(vault, &now)?;
        let _turn = held.network.lock();
        self.apart(&held, settings, now, call)
    }

    /// Syncs as [`call_apart`](Self::call_apart). A sync that ran before it and whose server did not
    /// answer has failed for this one too: nobody waits for the same server twice.
    ///
    /// # Errors
    /// As those of [`call`](Self::call).
    pub fn call_sync<T>(
        &self,
        vault: &Path,
        settings: SyncSettings,
        now: impl Fn() -> Duration,
        call: impl FnOnce(&mut Session) -> Reply<T>,
    ) -> Reply<T> {
        let held = self.used(vault, &now)?;
        let begun = now();
        let _turn = match held.network.try_lock() {
            Some(turn) => turn,
            None => {
                let turn = held.network.lock();
                if let Some(problem) = held.schedule.lock().failed_since(begun) {
                    return Err(problem.into());
                }
                turn
            }
        };
        self.apart(&held, settings, now, call)
    }

    fn apart<T>(
        &self,
        held: &Arc<Held>,
        settings: SyncSettings,
        now: impl Fn() -> Duration,
        call: impl FnOnce(&mut Session) -> Reply<T>,
    ) -> Reply<T> {
        let (reply, fork) = self.on_fork(held, settings, &now, call)?;
        held.take_over(fork, now());
        reply
    }

    /// Makes a call with a second session of the vault, which is returned too.
    fn on_fork<T>(
        &self,
        held: &Arc<Held>,
        settings: SyncSettings,
        now: &impl Fn() -> Duration,
        call: impl FnOnce(&mut Session) -> Reply<T>,
    ) -> Reply<(Reply<T>, Session)> {
        let mut fork = self.fork(held, settings, now)?;
        let reply = self.guard(held, || call(&mut fork))?;
        held.times.lock().used = now();
        Ok((reply, fork))
    }

    /// Makes a call that reads for long, such as an audit. It gets a second session of the vault, so
    /// that other calls go on meanwhile. What it changes is lost.
    ///
    /// # Errors
    /// As those of [`call`](Self::call).
    pub fn call_beside<T>(
        &self,
        vault: &Path,
        settings: SyncSettings,
        now: impl Fn() -> Duration,
        call: impl FnOnce(&mut Session) -> Reply<T>,
    ) -> Reply<T> {
        let held = self.used(vault, &now)?;
        let _turn = held.reading.lock();
        let (reply, _) = self.on_fork(&held, settings, &now, call)?;
        reply
    }

    /// A vault that is held, and used now.
    pub(super) fn used(&self, vault: &Path, now: &impl Fn() -> Duration) -> Reply<Arc<Held>> {
        self.lock_expired(now());
        let (name, _) = self.name(vault);
        let held = self.held.lock().get(&name).cloned();
        let held = held.ok_or(Halt::Needs(Need::Locked))?;
        held.times.lock().used = now();
        Ok(held)
    }

    /// Takes the session of a vault out of its slot, with what other programs stored meanwhile.
    fn take<'a>(
        &self,
        held: &'a Arc<Held>,
        settings: SyncSettings,
        now: &impl Fn() -> Duration,
    ) -> Reply<(MutexGuard<'a, Option<Session>>, Session)> {
        const LOCKED: Halt = Halt::Needs(Need::Locked);
        let mut slot = held.session.lock();
        if let Some(again) = held.again.lock().take() {
            *slot = Some(again);
        }
        // It may have been locked while another call ran.
        if held.is_locked() || held.ends() <= now() {
            *slot = None;
        }
        let session = slot.take().ok_or(LOCKED)?;
        let mut session = session.with_sync_settings(settings);
        match session.refresh() {
            Ok(()) => {
                let places = Places::of(&session);
                held.schedule.lock().set_places(places, now());
                Ok((slot, session))
            }
            Err(SessionError::PassphraseChanged) => {
                self.forget(held);
                Err(LOCKED)
            }
            Err(error @ SessionError::AnotherVault { .. }) => {
                self.forget(held);
                Err(error.into())
            }
            // The vault stays open: its file may be back in a moment.
            Err(error) => {
                *slot = Some(session);
                Err(error.into())
            }
        }
    }

    pub(super) fn fork(
        &self,
        held: &Arc<Held>,
        settings: SyncSettings,
        now: &impl Fn() -> Duration,
    ) -> Reply<Session> {
        let (mut slot, session) = self.take(held, settings, now)?;
        let fork = session.fork();
        *slot = Some(session);
        Ok(fork)
    }

    /// Makes a call; if it panics, the vault is locked.
    pub(super) fn guard<T>(
        &self,
        held: &Arc<Held>,
        call: impl FnOnce() -> T,
    ) -> Result<T, Problem> {
        catch_unwind(AssertUnwindSafe(call)).map_err(|_| {
            self.forget(held);
            Problem::new(
                ProblemKind::Other,
                "the agent met a fault in itself and locked the vault",
                "unlock it again; what was saved before is there",
            )
        })
    }
}
