//! The agent's side of the socket: a thread listens, one serves each client, one watches the time,
//! and one starts the syncs of the background, each in a thread of its own. The rules are:
//!  - only processes of this user are served;
//!  - the number of clients, the length of a frame and the time between its parts are bounded;
//!  - a client that sends nonsense, stalls or ends harms no other. One that means harm could end
//!    this process anyway, because it has the same user.

mod client_stream;
mod guarding;
mod slots;

use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use getrandom::SysRng;
use parking_lot::{Condvar, Mutex};
use passmate_core::answer::{Consent, Reply};
use passmate_core::api::{Changed, VaultApi};
use passmate_core::edit::Edit;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::session::Session;
use passmate_core::settings::SyncSettings;
use passmate_core::sync_all::{SyncOutcome, sync_after_change};
use passmate_vault::Passphrase;
use rand_core::TryRng;
use serde::Serialize;

use crate::consent::Consents;
#[cfg(target_os = "linux")]
use crate::desktop::{self, DesktopEvent, Watched};
use crate::dialogs::Decision;
use crate::peer::Peer;
use crate::place::{AgentPlace, Listening, SocketFile, is_own_peer};
use crate::ssh::connection::Connection;
use crate::ssh::{self, KeysOfVaults};
use crate::vaults::Vaults;
use crate::wire::{
    Answer, Call, DesktopStatus, END, GO_ON, Request, Status, Told, VERSION, read_frame,
    read_hello, read_len, write_hello,
};
use client_stream::{Calls, ClientStream};
use guarding::{Approving, Caller, Pass};
pub use slots::CLIENTS_MAX;
use slots::{Slot, Slots};

/// How long a client may take for the next part of its hello or of a frame.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client may ask for nothing.
const SILENCE_MAX: Duration = Duration::from_hours(1);
/// How often the time is looked at: a machine that slept is noticed then.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Tells the time since any fixed moment.
pub type Clock = dyn Fn() -> Duration + Send + Sync;

/// The time since the start of the machine. It goes on while the machine sleeps.
#[must_use]
pub fn boot_clock() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(CLOCK);
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
}

/// An agent that listens.
#[derive(Debug)]
pub struct Server {
    listening: Listening,
    agent: Arc<Agent>,
}

struct Agent {
    vaults: Arc<Vaults>,
    consents: Arc<Consents>,
    clock: Box<Clock>,
    socket: SocketFile,
    /// To wake the thread that listens.
    listener: UnixListener,
    ssh: ssh::Socket,
    /// For the clients of each socket: those of one keep none of the other waiting.
    slots: Arc<Slots>,
    ssh_slots: Arc<Slots>,
    /// The calls that run.
    calls: Calls,
    is_ended: AtomicBool,
    #[cfg(target_os = "linux")]
    watched: Mutex<Option<Watched>>,
    /// Wakes the threads that watch the time.
    ended: (Mutex<bool>, Condvar),
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").finish_non_exhaustive()
    }
}

impl Server {
    /// Takes the place of the user's agent.
    ///
    /// # Errors
    /// Another agent runs there, or the place is not safe.
    pub fn bind(
        place: &AgentPlace,
        vaults: Vaults,
        clock: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Result<Self, Problem> {
        let listening = place.listen()?;
        let agent = Agent {
            vaults: Arc::new(vaults),
            consents: Arc::default(),
            clock: Box::new(clock),
            socket: listening.socket.clone(),
            listener: listening.again()?,
            ssh: ssh::Socket::listen(place.ssh_socket())?,
            slots: Arc::default(),
            ssh_slots: Arc::default(),
            calls: Calls::default(),
            is_ended: AtomicBool::new(false),
            #[cfg(target_os = "linux")]
            watched: Mutex::default(),
            ended: Default::default(),
        };
        Ok(Self {
            listening,
            agent: Arc::new(agent),
        })
    }

    /// Locks vaults when the machine sleeps and when the screen is locked, as far as the desktop
    /// tells.
    #[cfg(target_os = "linux")]
    pub fn watch_desktop(&self) {
        let agent = Arc::clone(&self.agent);
        let watched = desktop::watch(move |event| {
            agent.vaults.lock_where(|rule| match event {
                DesktopEvent::Sleeps => rule.on_sleep,
                DesktopEvent::ScreenLocked => rule.on_screen_lock,
            });
            agent.consents.forget();
        });
        *self.agent.watched.lock() = Some(watched);
    }

    /// This system does not tell.
    #[cfg(not(target_os = "linux"))]
    pub fn watch_desktop(&self) {}

    /// Serves until a client, or a [`Stopper`], ends the agent. All vaults are locked then.
    pub fn run(self) {
        let watched = Arc::clone(&self.agent);
        let watch = thread::spawn(move || watched.watch());
        let synced = Arc::clone(&self.agent);
        // Nobody waits for it at the end: a folder of a network may keep it.
        thread::spawn(move || synced.sync_in_background());
        thread::scope(|scope| {
            let agent = &self.agent;
            scope.spawn(|| agent.calls.give_signs());
            scope.spawn(|| agent.accept(&agent.ssh.listener, &agent.ssh_slots, Agent::serve_ssh));
            agent.accept(&self.listening.listener, &agent.slots, Agent::serve);
            agent.end();
        });
        // In a folder that was made anew, it is another agent's.
        if self.listening.socket.is_there() {
            self.agent.ssh.remove();
        }
        let _ = watch.join();
    }

    /// Ends the agent from another thread, for example when a signal comes.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.agent))
    }
}

/// Ends an agent.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Agent>);

impl Stopper {
    /// Locks all vaults and ends the agent.
    pub fn stop(&self) {
        self.0.end();
    }
}

/// How a client is served.
type Serve = fn(&Agent, UnixStream) -> io::Result<()>;

impl Agent {
    /// Serves the clients of a socket until the agent ends.
    fn accept(self: &Arc<Self>, listener: &UnixListener, slots: &Arc<Slots>, serve: Serve) {
        let is_ended = || self.is_ended.load(Ordering::Acquire);
        // Clients beyond the slots wait where the system keeps them.
        while let Some(slot) = slots.take(is_ended) {
            match listener.accept() {
                Ok(_) if is_ended() => break,
                Ok((stream, _)) => self.admit(stream, slot, serve),
                Err(_) if is_ended() => break,
                Err(_) => thread::sleep(ACCEPT_PAUSE),
            }
        }
    }

    /// Serves a client in a thread of its own.
    fn admit(self: &Arc<Self>, stream: UnixStream, slot: Slot, serve: Serve) {
        if !is_own_peer(&stream) {
            return;
        }
        let agent = Arc::clone(self);
        // A system without a thread to spare closes the connection.
        let _ = thread::Builder::new().spawn(move || {
            let _ = serve(&agent, stream);
            drop(slot);
        });
    }

    /// Serves a client of SSH.
    fn serve_ssh(&self, mut stream: UnixStream) -> io::Result<()> {
        let mut connection = Connection::new(Peer::of(&stream));
        let watched = stream.try_clone()?;
        let mut keys = KeysOfVaults {
            vaults: &self.vaults,
            now: &|| self.now(),
            approver: &Approving {
                agent: self,
                stream: &watched,
            },
        };
        ssh::serve(&mut stream, &mut connection, &mut keys)
    }

    /// Serves one client until it leaves or breaks the protocol.
    fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        let peer = Peer::of(&stream);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let version = read_hello(&mut stream)?;
        write_hello(&mut stream, VERSION)?;
        let mut choice = [0];
        stream.read_exact(&mut choice)?;
        match choice {
            [END] => {
                self.end();
                return Ok(());
            }
            [GO_ON] if version == VERSION => {}
            _ => return Ok(()),
        }
        let client = Arc::new(ClientStream::new(stream));
        loop {
            client.set_read_timeout(SILENCE_MAX)?;
            let Some(len) = read_len(&mut client.reader())? else {
                return Ok(());
            };
            client.set_read_timeout(PATIENCE)?;
            let request = read_frame(&mut client.reader(), len)?;
            let _running = self.calls.begin(&client);
            self.answer(request, &peer, &client)?;
        }
    }

    #[cfg(target_os = "linux")]
    fn desktop_status(&self) -> DesktopStatus {
        let watched = self.watched.lock().clone().unwrap_or_default();
        DesktopStatus {
            tells_of_sleep: watched.tells_of_sleep(),
            tells_of_screen_lock: watched.tells_of_screen_lock(),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn desktop_status(&self) -> DesktopStatus {
        DesktopStatus::default()
    }

    fn now(&self) -> Duration {
        (self.clock)()
    }

    fn answer(&self, request: Request, peer: &Peer, client: &ClientStream) -> io::Result<()> {
        match request {
            Request::Unlock {
                vault,
                passphrase,
                holding,
            } => {
                let now = self.now();
                let unlocked = self.vaults.unlock(&vault, &passphrase, holding, now);
                // Time may have locked it before.
                self.consents.forget();
                self.wake();
                done(client, unlocked.map_err(Into::into))
            }
            Request::Lock { vault } => {
                self.vaults.lock(vault.as_deref());
                self.consents.forget();
                done(client, Ok(()))
            }
            Request::Status => {
                let status = Status {
                    pid: std::process::id(),
                    vaults: self.vaults.status(self.now()),
                    desktop: self.desktop_status(),
                };
                done(client, Ok(status))
            }
            Request::Look { vault } => done(client, Ok(self.vaults.look(&vault, self.now()))),
            Request::Use { vault } => done(client, Ok(self.vaults.note_use(&vault, self.now()))),
            Request::End => {
                self.vaults.lock(None);
                let answered = done(client, Ok(()));
                self.end();
                answered
            }
            Request::Questions => done(client, Ok(self.consents.pending())),
            Request::Answer {
                number,
                decision,
                passphrase,
            } => done(client, self.decide(number, decision, passphrase.as_ref())),
            Request::Call {
                vault,
                settings,
                reason,
                call,
            } => {
                let caller = Caller {
                    peer,
                    vault: &vault,
                    reason,
                };
                self.call(&caller, settings, *call, client)
            }
        }
    }

    fn decide(
        &self,
        number: u64,
        decision: Decision,
        passphrase: Option<&Passphrase>,
    ) -> Reply<()> {
        let vault = self.consents.vault_of(number).ok_or_else(|| {
            Problem::new(
                ProblemKind::NotFound,
                "nobody waits for this answer any more",
                "`passmate agent approve` shows the questions that wait",
            )
        })?;
        match passphrase {
            Some(passphrase) => self.vaults.check(&vault, passphrase)?,
            // A program that refuses for the person gets nothing by it.
            None if decision == Decision::Refused => {}
            None => {
                return Err(Problem::new(
                    ProblemKind::WrongPassphrase,
                    "an agreement needs the master passphrase",
                    "answer with `passmate agent approve`",
                )
                .into());
            }
        }
        self.consents.decide(number, decision);
        Ok(())
    }

    fn call(
        &self,
        caller: &Caller<'_>,
        settings: SyncSettings,
        call: Call,
        client: &ClientStream,
    ) -> io::Result<()> {
        let vault = caller.vault;
        let mut pass = match self.agree_before(caller, &settings, &call, client)? {
            Ok(pass) => pass,
            Err(halt) => return done(client, Reply::<()>::Err(halt)),
        };
        let agreed = pass.agreed_use.take();
        /// Makes a call, with the method of [`Vaults`] for its kind, and answers with what it returns.
        macro_rules! answer {
            (|$session:ident| $call:expr) => {
                answer!(call, |$session| $call)
            };
            ($kind:ident, |$session:ident| $call:expr) => {{
                let reply = self.vaults.$kind(
                    vault,
                    settings,
                    || self.now(),
                    pass.checked(|$session| {
                        let $session: &mut dyn VaultApi = $session;
                        $call
                    }),
                );
                self.log_use(vault, agreed, &reply);
                done(client, reply)
            }};
        }
        match call {
            Call::List => answer!(|vault| vault.list()),
            Call::Trash => answer!(|vault| vault.trash()),
            Call::Uses => answer!(|vault| vault.uses()),
            Call::Record { path } => {
                let read = |vault: &mut Session| Ok(vec![VaultApi::record(vault, &path)?]);
                let reply = self.records(caller, settings, read, client)?;
                done(client, reply.map(|mut records| records.swap_remove(0)))
            }
            Call::Fields { path } => answer!(|vault| vault.fields(&path)),
            Call::Search { query, max } => answer!(|vault| vault.search(&query, max)),
            Call::Continuations { begin } => answer!(|vault| vault.continuations(&begin)),
            Call::History { path, field } => {
                answer!(|vault| vault.history(&path, field.as_deref()))
            }
            Call::OneTimeCode { path, field } => {
                answer!(|vault| vault.one_time_code(&path, field.as_deref()))
            }
            Call::PasswordRule { path } => answer!(|vault| vault.password_rule(&path)),
            Call::Records { which } => {
                let read = |vault: &mut Session| VaultApi::records(vault, &which);
                let reply = self.records(caller, settings, read, client)?;
                done(client, reply)
            }
            Call::SecretValues { with_former } => {
                answer!(call_beside, |vault| vault.secret_values(with_former))
            }
            Call::QrText { path, field } => {
                answer!(|vault| vault.qr_text(&path, field.as_deref()))
            }
            Call::Audit { rules } => answer!(call_beside, |vault| vault.audit(&rules)),
            Call::Change { change, consent } => {
                let (reply, told) = self.change(vault, settings, pass, &change, &consent, client);
                // It is made, even if the client has gone since.
                self.log_use(vault, agreed, &reply);
                told?;
                done(client, reply)
            }
            Call::PreviewImport { format, imported } => {
                answer!(call_beside, |vault| vault.preview_import(format, &imported))
            }
            Call::Export { form } => answer!(call_beside, |vault| vault.export(form)),
            Call::ChangePassphrase { passphrase, log_n } => {
                answer!(|vault| vault.change_passphrase(passphrase.as_ref(), log_n))
            }
            Call::Sync { request } => {
                let reply = self.vaults.call_sync(
                    vault,
                    settings,
                    || self.now(),
                    pass.checked(|vault| VaultApi::sync(vault, &request)),
                );
                self.log_use(vault, agreed, &reply);
                if let Ok(answer) = &reply {
                    let outcome = SyncOutcome::from(answer);
                    self.vaults.note_sync(vault, outcome, self.now());
                }
                done(client, reply)
            }
            Call::PreviewSync => answer!(call_apart, |vault| vault.preview_sync()),
            Call::LastSyncs => answer!(|vault| vault.last_syncs()),
            Call::Standing => answer!(|vault| vault.standing()),
            Call::Ties => answer!(|vault| vault.ties()),
            Call::SetUpServer { setup } => answer!(call_apart, |vault| vault.set_up_server(&setup)),
            Call::SetUpAgain { trust } => {
                answer!(call_apart, |vault| vault.set_up_again(trust.as_ref()))
            }
            Call::RequestAccount { setup } => {
                answer!(call_apart, |vault| vault.request_account(&setup))
            }
            Call::SetUpFolder {
                folder,
                sealing,
                request,
            } => answer!(call_apart, |vault| vault
                .set_up_folder(&folder, &sealing, &request)),
            Call::FolderKey => answer!(|vault| vault.folder_key()),
            Call::SyncKey => answer!(|vault| vault.sync_key()),
            Call::TrustNext { pin } => answer!(|vault| vault.trust_next(pin)),
            Call::Rotate {
                reason,
                keep_since,
                consent,
            } => answer!(call_apart, |vault| vault
                .rotate(reason, keep_since, &consent)),
            Call::Upgrade { consent } => answer!(call_apart, |vault| vault.upgrade(&consent)),
            Call::Untie {
                what,
                delete,
                consent,
            } => answer!(call_apart, |vault| vault.untie(what, delete, &consent)),
        }
    }

    /// Changes records. The sync after it, if the client waits for one, keeps no other call waiting.
    /// Also returns whether the client could be told that the change is saved.
    fn change(
        &self,
        vault: &Path,
        settings: SyncSettings,
        pass: Pass,
        change: &Edit,
        consent: &Consent,
        client: &ClientStream,
    ) -> (Reply<Changed>, io::Result<()>) {
        let now = || self.now();
        let alone = SyncSettings {
            auto: false,
            ..settings.clone()
        };
        let mut told = Ok(());
        let change = |vault: &mut Session| {
            VaultApi::change(vault, change, consent, &mut |edited| {
                told = client.tell(&Told::Saved(edited));
            })
        };
        let reply = self.vaults.call(vault, alone, now, pass.checked(change));
        let mut changed = match reply {
            Ok(changed) if changed.edited.changes > 0 => changed,
            reply => return (reply, told),
        };
        if settings.auto {
            let sync = |vault: &mut Session| Ok(sync_after_change(vault));
            // The change is saved, whatever becomes of its sync.
            if let Ok(synced) = self.vaults.call_apart(vault, settings, now, sync) {
                changed.synced = synced;
            }
        } else if !settings.offline {
            self.vaults.note_change(vault, self.now());
            self.wake();
        }
        (Ok(changed), told)
    }

    /// Starts the syncs that are due, until the agent ends.
    fn sync_in_background(self: &Arc<Self>) {
        let mut folders_looked = self.now();
        loop {
            let now = self.now();
            if now.saturating_sub(folders_looked) >= LOOK_EVERY {
                self.vaults.look_at_folders(now);
                folders_looked = now;
            }
            for job in self.vaults.due_syncs(|| self.now()) {
                let agent = Arc::clone(self);
                // A system without a thread to spare leaves the vault as it is.
                let _ = thread::Builder::new().spawn(move || {
                    let share = f64::from(SysRng.try_next_u32().unwrap_or(0)) / f64::from(u32::MAX);
                    job.run(|| agent.now(), share);
                });
            }
            let (ended, wake) = &self.ended;
            let mut is_ended = ended.lock();
            let next = self.vaults.next_sync_in(self.now());
            if !*is_ended {
                let pause = next.map_or(LOOK_EVERY, |next| next.min(LOOK_EVERY));
                wake.wait_for(&mut is_ended, pause);
            }
            if *is_ended {
                return;
            }
        }
    }

    /// A sync may be due.
    fn wake(&self) {
        let (ended, wake) = &self.ended;
        let _ended = ended.lock();
        wake.notify_all();
    }

    /// Locks vaults in time, until the agent ends.
    fn watch(&self) {
        let (ended, wake) = &self.ended;
        let mut is_ended = ended.lock();
        while !*is_ended {
            self.vaults.lock_expired(self.now());
            // Nobody can reach an agent whose socket is gone, not even to lock it.
            if !self.socket.is_there() {
                drop(is_ended);
                self.end();
                return;
            }
            wake.wait_for(&mut is_ended, LOOK_EVERY);
        }
    }

    fn end(&self) {
        self.vaults.lock(None);
        let (ended, wake) = &self.ended;
        *ended.lock() = true;
        wake.notify_all();
        if !self.is_ended.swap(true, Ordering::AcqRel) {
            // Linux wakes the listener by this, others by a connection.
            let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Read);
            let _ = UnixStream::connect(&self.socket.path);
            self.ssh.wake();
            self.calls.end();
        }
    }
}

fn done<T: Serialize>(client: &ClientStream, reply: Reply<T>) -> io::Result<()> {
    client.tell(&Answer::Done(reply))
}
