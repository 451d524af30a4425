//! An agent in a thread: its vaults hold the contract of every vault, and its socket stands what
//! comes.
#![cfg(test)]

#[cfg(target_os = "linux")]
mod consent;
#[cfg(target_os = "linux")]
mod desktop;
mod socket;
mod ssh;
#[path = "../../../core/tests/it/suite.rs"]
mod suite;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use passmate_agent::client::Agent;
use passmate_agent::place::AgentPlace;
use passmate_agent::serve::{Server, Stopper};
use passmate_agent::vaults::Vaults;
use passmate_core::api::VaultApi;
use passmate_core::session::{Session, VaultLocation};
use passmate_core::settings::{Holding, SyncSettings};
use passmate_vault::Passphrase;
use passmate_vault::format::container::Params;
use tempfile::TempDir;

/// A vault of an agent that runs in a thread.
struct OfAgent {
    dir: TempDir,
    /// Minutes of the agent's clock.
    minutes: Arc<AtomicU64>,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

fn location(path: PathBuf) -> VaultLocation {
    VaultLocation::new(path).with_params(Params::new(4, 1, 1).unwrap())
}

impl OfAgent {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let minutes = Arc::new(AtomicU64::new(0));
        let place = AgentPlace::at(dir.path().join("agent"));
        let vaults = Vaults::new(location);
        let clock = {
            let minutes = Arc::clone(&minutes);
            move || Duration::from_mins(minutes.load(Ordering::SeqCst))
        };
        let server = Server::bind(&place, vaults, clock).unwrap();
        let stopper = server.stopper();
        let thread = Some(thread::spawn(move || server.run()));
        let agent = Self {
            dir,
            minutes,
            stopper,
            thread,
        };
        Session::create(location(agent.path()), suite::passphrase()).unwrap();
        agent
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("vault.pmdb")
    }

    /// Waits until the agent has ended.
    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }

    fn place(&self) -> AgentPlace {
        AgentPlace::at(self.dir.path().join("agent"))
    }

    fn connect(&self) -> Agent {
        Agent::connect(&self.place()).unwrap().unwrap()
    }

    fn vault(&self) -> Box<dyn VaultApi> {
        let client = self.connect();
        Box::new(client.vault(&self.path(), SyncSettings::default()).unwrap())
    }
}

impl Drop for OfAgent {
    fn drop(&mut self) {
        self.stopper.stop();
        self.join();
    }
}

impl suite::Implementation for OfAgent {
    fn new() -> Self {
        Self::start()
    }

    fn open(&self, passphrase: Passphrase, settings: SyncSettings) -> Box<dyn VaultApi> {
        let mut agent = self.connect();
        agent
            .unlock(&self.path(), &passphrase, &Holding::default())
            .unwrap();
        Box::new(agent.vault(&self.path(), settings).unwrap())
    }
}

suite::for_implementation!(of_agent, crate::OfAgent);
